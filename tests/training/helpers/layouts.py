"""One run on eight simulated devices, laid out in every way; what came of it, as JSON.

It is a program of its own, since the number of devices is fixed when JAX starts: see ``test_mesh.py``.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, SingleDeviceSharding
from jax.stages import Compiled
from PIL import Image

from artifex.backbones import MLP, DiTConfig, MLPConfig
from artifex.samplers import sample
from artifex.schedules import Discrete, NetworkDenoiser, V, betas
from artifex.training import (
    Checkpointer,
    Learner,
    Network,
    Objective,
    RunConfig,
    Trainer,
    TrainingConfig,
    TrainState,
    digits,
    init_state,
    make_train_step,
    write_config,
)
from artifex.training.config import DiscreteSchedule
from artifex.training.config.network_plan import NetworkPlan
from artifex.training.config.optimizer import make_optimizer
from artifex.training.config.sampling import SamplingConfig
from artifex.training.run import sampling
from artifex.training.run.preview import Preview
from artifex.training.run.sampling import SampleGenerator
from artifex.training.sharding.batches import global_batch
from artifex.training.sharding.mesh import MeshConfig, make_mesh
from artifex.training.sharding.sharding import shard
from artifex.training.step.state import abstract_state, jit_init_state
from tests.training.helpers.tiny import Turning, same

LAYOUTS = {
    "one": None,
    "data": MeshConfig(),
    "fsdp": MeshConfig(data=1, fsdp=8),
    "data x fsdp": MeshConfig(data=2, fsdp=4),
    "data x tensor": MeshConfig(data=4, tensor=2),
}
CONFIG = TrainingConfig(steps=50, batch_size=40)
NETWORK = DiTConfig(in_channels=1, hidden=64, depth=1, heads=4, num_classes=10, learn_sigma=False)
KEY = jax.random.key(0)
COLLECTIVE = re.compile(
    r"= (\S+|\(.*?\)) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)

# Ten samples of 16 tokens, as they are or as rows: no parameter has that shape.
TOKENS = re.compile(r"f32\[(?:10,16|160),64\]")


class Run(NamedTuple):
    """The results of one layout.

    Attributes:
        start: the state before the first step, on the host.
        live_bytes: bytes of it, and of the network that it was made of, on the first device.
        memory: of the program that made it, from ``memory_of``; None for one device.
        state: after all steps.
        like: what to restore into.
        program: of a step.
    """

    start: TrainState
    live_bytes: int
    memory: dict[str, int] | None
    state: TrainState
    like: TrainState
    program: str


def live_bytes() -> int:
    """Bytes on the first device."""
    shards = [
        shard.data
        for array in jax.live_arrays()  # type: ignore[no-untyped-call]
        for shard in array.addressable_shards
    ]
    here = {x.unsafe_buffer_pointer(): x.nbytes for x in shards if x.devices() == {jax.devices()[0]}}
    return sum(here.values())


def memory_of(program: Compiled) -> dict[str, int]:
    """Bytes on each device of what a program is given, of what it gives, and of what it needs in between."""
    found = program.memory_analysis()
    assert found is not None
    return {
        "taken": found.argument_size_in_bytes,
        "given": found.output_size_in_bytes,
        "temporary": found.temp_size_in_bytes,
    }


def trained(make: Callable[[Mesh | None], nnx.Module], config: MeshConfig | None) -> Run:
    """All steps, laid out by ``config``, of a network made for its mesh."""
    before = live_bytes()
    mesh = None if config is None else make_mesh(config)
    network, average, data = Network(make(mesh)), CONFIG.ema.build(), digits()
    optimizer = make_optimizer(CONFIG.optimizer, CONFIG.steps)
    like, shardings = abstract_state(network, optimizer, average, CONFIG.steps, mesh)
    if shardings is None:
        state, memory = init_state(network, optimizer, average, CONFIG.steps), None
    else:
        begin = jit_init_state(optimizer, average, CONFIG.steps, shardings)
        compiled = begin.lower(shard(network.parameters, shardings.parameters)).compile()
        state, memory = compiled(shard(network.parameters, shardings.parameters)), memory_of(compiled)
    start, taken = jax.tree.map(np.asarray, state), live_bytes() - before
    objective = Objective(Discrete(betas.cosine(1000)), V(), num_classes=10)
    step = make_train_step(network, objective, optimizer, average, shardings=shardings)
    program = step.lower(state, *global_batch(data.batch(0, CONFIG.batch_size, 0), mesh)).compile()  # type: ignore[attr-defined]
    for k in range(CONFIG.steps):
        state, _ = program(state, *global_batch(data.batch(k, CONFIG.batch_size, 0), mesh))
    return Run(start, taken, memory, state, like, program.as_text())


def read_elsewhere(folder: Path) -> float:
    """A run whose batch eight devices can't share, read on them; how much its samples differ from those of one."""
    config = RunConfig.model_validate(
        {"data": {"kind": "toy", "size": 60}, "backbone": {"kind": "mlp", "hidden": 8, "depth": 1}, "batch_size": 6}
    )
    network = Network(MLP(MLPConfig(hidden=8, depth=1, num_classes=2), rngs=nnx.Rngs(0)))
    state = init_state(network, make_optimizer(config.optimizer, config.steps), config.ema.build(), config.steps)
    with Checkpointer(folder / "checkpoint") as checkpointer:
        checkpointer.save(1, state, {"seconds": 0, "config": config.model_dump(mode="json"), "data": {}})
    write_config(config, folder / "config.yaml")
    trained = Trainer.from_folder(folder, any_devices=True).load()
    assert len(jax.tree.leaves(trained.state.parameters)[0].devices()) == 8
    drawing = SampleGenerator.from_config(SamplingConfig(steps=2), config.schedule, (2,), 2)
    one, eight = (
        next(drawing.draw(denoiser, 5, drawing.labels(5), KEY, 5))
        for denoiser in (
            NetworkDenoiser(network.apply, trained.objective.prediction, network.parameters), trained.denoiser,
        )
    )  # fmt: skip
    return float(abs(eight - one).max())


def drawn(state: TrainState, folder: Path) -> dict[str, object]:
    """A preview of ten samples by one device and by those where ``state`` lies: their shares, and what differs."""
    objective = Objective(Discrete(betas.cosine(1000)), V())
    drawing = SampleGenerator.from_config(SamplingConfig(steps=3), DiscreteSchedule(), (8, 8, 1), None)
    shares, pictures = list[tuple[int, ...]](), list[np.ndarray]()

    def watched(*arguments: Any) -> jax.Array:  # noqa: ANN401
        out = sample(*arguments)
        shares.append(out.addressable_shards[0].data.shape[:1])
        return out

    for name, at, config in (("alone", jax.tree.map(np.asarray, state), None), ("shared", state, LAYOUTS["fsdp"])):
        mesh = None if config is None else make_mesh(config)
        preview = Preview(folder / name, drawing, 10, Learner(Turning(64), objective, CONFIG, mesh=mesh), KEY)
        with patch.object(sampling, "sample", watched):
            preview(at)
        pictures.append(np.asarray(Image.open(folder / name / f"{CONFIG.steps:08d}.png"), np.int32))
    differ = abs(pictures[0] - pictures[1]).max()
    return {"shares": shares, "differ": int(differ), "contrast": int(np.ptp(pictures[0]))}


def main(folder: Path) -> None:
    plan = NetworkPlan("dit", NETWORK, NETWORK.num_classes)
    out: dict[str, object] = {}
    starts, likes, finals = dict[str, object](), dict[str, TrainState](), dict[str, object]()
    for name, config in LAYOUTS.items():
        starts[name], taken, memory, state, like, program = trained(partial(plan.init, KEY), config)
        assert same(starts[name], starts["one"]), name
        with Checkpointer(folder / name) as checkpointer:
            checkpointer.save(CONFIG.steps, state, {})
        likes[name], finals[name] = like, jax.tree.map(np.asarray, state)
        collectives = COLLECTIVE.findall(program)
        specs = [getattr(leaf.sharding, "spec", ()) for leaf in jax.tree.leaves(state.parameters)]
        out[name] = {
            "losses": np.asarray(state.losses).tolist(),
            "kernel": state.parameters["blocks"][0]["mlp_in"]["kernel"][...].addressable_shards[0].data.shape,
            "bytes": sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state)),
            "bytes at the start": taken,
            "memory of the start": memory,
            "cut along fsdp": sum("fsdp" in spec for spec in specs),
            "collectives": Counter(kind for _, kind in collectives),
            "tokens": sum(len(TOKENS.findall(shape)) for shape, kind in collectives if kind == "all-reduce"),
        }  # fmt: skip
    for name, final in finals.items():
        with Checkpointer(folder / name) as checkpointer:
            for other, like in likes.items():
                read = checkpointer.restore(like, CONFIG.steps)
                assert same(read, final), f"{name} as {other}"
                where = [x.sharding or SingleDeviceSharding(jax.devices()[0]) for x in jax.tree.leaves(like)]
                assert [x.sharding for x in jax.tree.leaves(read)] == where
    # A network of the user's own, made whole.
    turning = {name: trained(lambda _: Turning(64), LAYOUTS[name]).state for name in ("one", "fsdp")}
    pictures = drawn(turning["fsdp"], folder)
    kernels = [leaf for leaf in jax.tree.leaves(turning["fsdp"].parameters) if leaf.ndim == 2]
    report = {
        "losses": {name: np.asarray(state.losses).tolist() for name, state in turning.items()},
        "cut": [list(kernel.sharding.spec) for kernel in kernels],
        "lengths": [(np.linalg.norm(kernel, axis=0) / len(kernel) ** 0.5).tolist() for kernel in kernels],
    }
    elsewhere = read_elsewhere(folder / "elsewhere")
    drawing = memory_of(plan.jit_init(make_mesh(MeshConfig(data=1, fsdp=8))).lower(KEY).compile())
    print(json.dumps({"dit": out, "turning": report, "drawing": drawing, "elsewhere": elsewhere, "pictures": pictures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
