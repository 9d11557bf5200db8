"""Kernels on eight simulated devices, a mesh of four by two for samples and heads, against one device; as JSON.

A program of its own, run by ``run_program``, since the number of devices is fixed when JAX starts. Its argument is the
implementation to interpret, or ``cuda`` for a Triton kernel lowered for eight GPUs.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from artifex.kernels import partitioning, platform
from artifex.kernels.guided_combine.threshold import DynamicThreshold

COLLECTIVE: Final = re.compile(r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")
ROWS, TOKENS, WHOLE = P("data"), P("data", None, "tensor"), P()  # type: ignore[no-untyped-call]
Implementation = Callable[..., Any]


Found = dict[str, dict[str, Any]]


def run_program(implementation: str) -> Found:
    """The output of the program ``tests.kernels.meshes``."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # As in tests/training/sharding/test_mesh.py.
        "NPROC": "32",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8 "
        "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false",
    }
    command = [sys.executable, "-m", "tests.kernels.meshes", implementation]
    child = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, timeout=300, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    out: Found = json.loads(child.stdout)
    return out


def check_numbers(found: Found) -> None:
    """Noise and all: sums over samples or heads alone are made in another order."""
    assert {name: case["off"] for name, case in found.items()} == dict.fromkeys(found, 0)
    assert max(case["gradients off"] for case in found.values()) < 1e-6


class Case(NamedTuple):
    """A kernel, arguments that it is differentiated by and others, and where they lie."""

    f: Callable[..., Array]
    moving: tuple[tuple[Array, P], ...]
    rest: tuple[tuple[Array, P], ...] = ()


def implementations(name: str) -> dict[str, Implementation]:
    """By kernel."""
    if name == "pallas":
        from artifex.kernels.adaln.pallas import pallas as adaln
        from artifex.kernels.attention.pallas import pallas as attention
        from artifex.kernels.group_norm_silu.pallas import pallas as group_norm_silu
        from artifex.kernels.guided_combine.pallas import pallas as guided_combine
        from artifex.kernels.linear_step.pallas import pallas as linear_step
        from artifex.kernels.qk_norm_rope.pallas import pallas as qk_norm_rope

        found = adaln, attention, group_norm_silu, guided_combine, linear_step, qk_norm_rope
        return {f.__module__.split(".")[-2]: partial(f, target="interpret") for f in found}
    from artifex.kernels.adaln import triton as adaln_triton
    from artifex.kernels.attention import triton as attention_triton
    from artifex.kernels.group_norm_silu import triton as group_norm_silu_triton
    from artifex.kernels.guided_combine import triton as guided_combine_triton
    from artifex.kernels.linear_step import triton as linear_step_triton
    from artifex.kernels.qk_norm_rope import triton as qk_norm_rope_triton
    from tests.kernels.triton import interpreter

    modules = (
        adaln_triton,
        attention_triton,
        group_norm_silu_triton,
        guided_combine_triton,
        linear_step_triton,
        qk_norm_rope_triton,
    )
    return {m.__name__.split(".")[-2]: partial(m.triton, launch=interpreter.launch) for m in modules}


def cases(kernels: dict[str, Implementation]) -> dict[str, Case]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    b, t, s, h, d, c = 8, 6, 5, 4, 8, 16
    q, k, v = normal(b, t, h, d), normal(b, s, h, d), normal(b, s, h, d)
    x, w, image = normal(b, t, c), normal(b, c), normal(b, 3, 3, c)
    rows, each = normal(b, 200), jnp.asarray(rng.uniform(size=b), jnp.float32)
    visible, segments = jnp.asarray(rng.random((b, 1, 1, s)) < 0.8), jnp.asarray(rng.integers(0, 2, (b, t)))
    words, angles = jax.random.key_data(jax.random.split(jax.random.key(1), b)), normal(1, t, 1, d // 2)

    def attention(q: Array, k: Array, v: Array, bias: Array, mask: Array, segments: Array) -> Array:
        pair = segments, segments[:, :s]
        out, lse = kernels["attention"](q, k, v, bias, mask, pair, False, 0.3)
        both: Array = out + jnp.where(jnp.isneginf(lse), 0, lse).swapaxes(1, 2)[..., None]
        return both

    def plain_attention(q: Array, k: Array, v: Array) -> Array:
        out: Array = kernels["attention"](q, k, v, None, None, None, False, 0.3)[0]
        return out

    def adaln(x: Array, branch: Array, w: Array, scale: Array) -> Array:
        h, y = kernels["adaln"](x, branch, w, scale, w, 1e-6)
        return jnp.stack([h, y], 1)

    def group_norm_silu(x: Array, weight: Array, bias: Array) -> Array:
        y: Array = kernels["group_norm_silu"](x, weight, bias, 4, 1e-6, True)
        return y

    def guided_combine(c: Array, u: Array, scale: Array) -> Array:
        y: Array = kernels["guided_combine"](c, u, scale, scale, DynamicThreshold(0.9))
        return y

    def linear_step(x: Array, y: Array, weights: Array, scale: Array, words: Array) -> Array:
        keys = jax.random.wrap_key_data(words)
        out: Array = kernels["linear_step"]([x, y], weights, scale, keys, 3.0, "key")
        return out

    def qk_norm_rope(x: Array, gain: Array, angles: Array) -> Array:
        y: Array = kernels["qk_norm_rope"](x, gain, jnp.cos(angles), jnp.sin(angles), "layer", 1e-6)
        return y

    def deep(x: Array, w: Array) -> Array:
        def layer(h: Array, _: None) -> tuple[Array, None]:
            y: Array = kernels["adaln"](h, h, w, w, w, 1e-6)[1]
            return y, None

        y: Array = lax.scan(jax.checkpoint(layer), x, None, length=2)[0]
        return y

    apart = P(None, None, "data")  # type: ignore[no-untyped-call]
    models = P("tensor", "data")  # type: ignore[no-untyped-call]
    shared = P(None, "tensor")  # type: ignore[no-untyped-call]
    return {
        "attention": Case(
            attention,
            ((q, TOKENS), (k, TOKENS), (v, TOKENS), (normal(1, h, 1, s), shared)),
            ((visible, ROWS), (segments, ROWS)),
        ),
        "adaln": Case(adaln, ((x, ROWS), (x + 1, ROWS), (w, ROWS), (w + 1, ROWS))),
        "group_norm_silu": Case(group_norm_silu, ((image, ROWS), (w, ROWS), (w + 1, ROWS))),
        "guided_combine": Case(guided_combine, ((rows, ROWS), (rows**2, ROWS), (each, ROWS))),
        "linear_step": Case(
            linear_step, ((rows, ROWS), (rows**2, ROWS), (normal(b, 2), ROWS), (each, ROWS)), ((words, ROWS),)
        ),
        "qk_norm_rope": Case(qk_norm_rope, ((q, TOKENS), (normal(d), WHOLE)), ((angles, WHOLE),)),
        "in a scan, under vmap": Case(
            jax.vmap(deep), ((jnp.stack([x, x + 1]), models), (jnp.stack([w, w + 1]), models))
        ),
        "cut along other axes": Case(plain_attention, ((q, ROWS), (k, apart), (v, apart))),
    }


class ByShardMap:
    """In the place of ``custom_partitioning``, in which JAX loses the callbacks that an interpreter lives by."""

    def __init__(self, f: Callable[..., tuple[Array, ...]]) -> None:
        self.f = f

    def def_partition(self, partition: Callable[..., Any], sharding_rule: Callable[..., str]) -> None:
        self.partition, self.rule = partition, sharding_rule

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        mesh = the_mesh()
        given, out = arrays, jax.eval_shape(self.f, *arrays)
        along = {"b": "data", "h": "tensor"}

        def lying(of: str, shapes: tuple[Array | jax.ShapeDtypeStruct, ...]) -> list[jax.ShapeDtypeStruct]:
            specs = [P(*(along.get(name) for name in names.split())) for names in of.split(", ")]  # type: ignore[no-untyped-call]
            return [
                jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))  # type: ignore[no-untyped-call]
                for x, spec in zip(shapes, specs, strict=True)
            ]

        before, behind = self.rule(mesh, given, out).split(" -> ")
        _, share, outs, ins = self.partition(mesh, lying(before, given), lying(behind, out))
        specs = tuple(x.spec for x in ins), tuple(x.spec for x in outs)
        run = jax.shard_map(share, mesh=mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False)
        filled: tuple[Array, ...] = run(*arrays)
        return filled


def the_mesh() -> Mesh:
    return Mesh(np.asarray(jax.devices()).reshape(4, 2), ("data", "tensor"))


def against_one_device(case: Case, substitute: type) -> dict[str, object]:
    """Errors of values and gradients, the collectives, and the share of the result on each device."""

    def both_ways(moving: tuple[Array, ...], rest: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        out, pull = jax.vjp(lambda *x: case.f(*x, *rest), *moving)
        return out, pull(jnp.cos(3 * out))

    def lying(mesh: Mesh | None) -> tuple[tuple[Array, ...], ...]:
        where = jax.devices()[0]
        return tuple(
            tuple(jax.device_put(x, where if mesh is None else NamedSharding(mesh, spec)) for x, spec in arrays)
            for arrays in (case.moving, case.rest)
        )

    want, d_want = jax.jit(both_ways)(*lying(None))
    jax.clear_caches()  # type: ignore[no-untyped-call]  # what was traced for one device
    with patch.object(partitioning, "custom_partitioning", substitute):
        program = jax.jit(both_ways).lower(*lying(the_mesh())).compile()
    got, d_got = program(*lying(the_mesh()))
    return {
        "off": float(np.max(np.abs(np.asarray(got) - np.asarray(want)))),
        "gradients off": max(off(a, b) for a, b in zip(d_got, d_want, strict=True)),
        "collectives": sorted(set(COLLECTIVE.findall(program.as_text() or ""))),
        "share": got.addressable_shards[0].data.size / got.size,
    }


def off(got: Array, want: Array) -> float:
    """The largest difference, by the largest number."""
    a, b = np.asarray(got), np.asarray(want)
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


def lowered_for_gpus() -> Found:
    """The custom calls of adaln and its gradient, and of the share of a device."""
    from artifex.kernels.adaln.triton import triton

    def both_ways(x: Array, v: Array) -> tuple[Array, ...]:
        launch = partial(platform.launch, compute_capability=90)
        out, pull = jax.vjp(lambda x, v: triton(x, x, v, v, v, 1e-6, launch=launch)[1], x, v)
        d_x, d_v = pull(out)
        return d_x, d_v

    def calls() -> list[str]:
        sharding = NamedSharding(the_mesh(), ROWS)
        arrays = (jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding) for shape in ((8, 6, 16), (8, 16)))  # type: ignore[no-untyped-call]
        text = jax.jit(both_ways).trace(*arrays).lower(lowering_platforms=("cuda",)).as_text()
        return re.findall(r"custom_call @([\w$.]+)", text)

    whole = calls()
    jax.clear_caches()  # type: ignore[no-untyped-call]
    with patch.object(partitioning, "custom_partitioning", ByShardMap):
        return {"adaln": {"whole": whole, "share": calls()}}


def main(implementation: str) -> None:
    if implementation == "cuda":
        print(json.dumps(lowered_for_gpus()))
        return
    substitute = custom_partitioning if implementation == "pallas" else ByShardMap
    kernels = implementations(implementation)
    found = {name: case for name, case in cases(kernels).items() if implementation == "pallas" or name in kernels}
    print(json.dumps({name: against_one_device(case, substitute) for name, case in found.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
