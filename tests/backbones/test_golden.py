"""Outputs and gradients of diffusers 0.42 and PyTorch 2.13, stored by ``tests/torch/golden.py``."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.typing import DTypeLike
from safetensors.numpy import load_file

from artifex.backbones import AutoencoderKL, TextCondition
from artifex.backbones.interop import Pipeline, load_diffusers, save_diffusers
from artifex.backbones.interop.conversion import arrays
from artifex.backbones.interop.diffusers import BY_NAME, CONVERSIONS, Model

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(path.parent.name for path in FOLDER.glob("*/truth.safetensors"))
State = nnx.State[Any, Any]
Arrays = dict[str, jax.Array]


def load(name: str, dtype: DTypeLike | None = None) -> Model:
    model = load_diffusers(FOLDER / name, dtype=dtype)
    assert not isinstance(model, Pipeline)
    return model


def part(truth: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in truth.items() if key.startswith(prefix)}


def outputs(graph: nnx.GraphDef[Model], state: State, given: Arrays) -> Arrays:
    """The outputs of the network, in diffusers' layout."""
    model = nnx.merge(graph, state)
    image = partial(jnp.moveaxis, source=1, destination=-1)
    if isinstance(model, AutoencoderKL):
        mean, logvar = model.encode(image(given["x"]))
        found = {"mean": mean, "logvar": logvar, "decoded": model.decode(image(given["z"]))}
    else:
        text = "context" in given
        cond: Any = TextCondition(given["context"], given.get("pooled"), given.get("ids")) if text else given.get("y")
        found = {"out": model(image(given["x"]), given["t"], cond)}
    return {key: jnp.moveaxis(value, -1, 1) for key, value in found.items()}


def close(got: np.ndarray, expected: np.ndarray, std: float) -> None:
    assert got.shape == expected.shape
    assert float(np.abs(got - expected).max()) <= 1e-4 * std


def test_every_family_has_a_case() -> None:
    kinds = {json.loads((FOLDER / name / "config.json").read_text())["_class_name"] for name in CASES}
    assert kinds == set(BY_NAME)


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_pytorch(name: str) -> None:
    truth = load_file(FOLDER / name / "truth.safetensors")
    given = {key: jnp.asarray(value) for key, value in part(truth, "in.").items()}
    graph, state = nnx.split(load(name, dtype=jnp.float32))
    params, rest = nnx.split_state(state, nnx.Param, ...)
    gradients = part(truth, "grad.")

    def squares(params: State) -> tuple[jax.Array, Arrays]:
        found = outputs(graph, nnx.merge_state(params, rest), given)
        return sum((jnp.vdot(value, value) for value in found.values()), jnp.zeros(())), found

    run = jax.grad(squares, has_aux=True) if gradients else lambda params: (None, squares(params)[1])
    # What this costs is compiling, not computing.
    grads, found = jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})(params)
    expected = part(truth, "out.")
    assert set(found) == set(expected)
    for key, value in expected.items():
        close(np.asarray(found[key]), value, float(value.std()))
    if gradients:
        model = nnx.merge(graph, grads, rest)
        conversion: Any = next(conversion for conversion in CONVERSIONS if isinstance(model, conversion.network))
        got = arrays(conversion, model)
        std = float(np.concatenate([value.ravel() for value in gradients.values()]).std())
        for key, value in gradients.items():
            close(got[key], value, std)


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_back_is_bit_identical(name: str, tmp_path: Path) -> None:
    save_diffusers(load(name), tmp_path)
    weights = "diffusion_pytorch_model.safetensors"
    before, after = load_file(FOLDER / name / weights), load_file(tmp_path / weights)
    assert set(before) == set(after)
    for key, value in before.items():
        assert after[key].dtype == value.dtype
        np.testing.assert_array_equal(after[key], value)
