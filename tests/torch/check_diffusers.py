"""Every case against diffusers itself: outputs, gradients, and writing; see ``requirements.txt`` for how to run."""

from pathlib import Path
from typing import Any

import diffusers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from artifex.backbones.interop import Pipeline, load_diffusers, save_diffusers
from artifex.backbones.interop.conversion import arrays
from artifex.backbones.interop.diffusers import CONVERSIONS
from tests.backbones.test_golden import State, close, outputs
from tests.torch import cases


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_there_and_back(case: cases.Case, tmp_path: Path) -> None:
    theirs, given = cases.build(case), cases.inputs(case)
    given["t"] = given["t"].clamp(max=151.0)  # see `cases.inputs`
    theirs.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        expected = cases.outputs(case, theirs, given)
    ours = load_diffusers(tmp_path / "theirs")
    assert not isinstance(ours, Pipeline)

    graph, state = nnx.split(ours)
    params, rest = nnx.split_state(state, nnx.Param, ...)
    inputs = {key: jnp.asarray(value.numpy()) for key, value in given.items()}

    def squares(params: State) -> tuple[jax.Array, dict[str, jax.Array]]:
        found = outputs(graph, nnx.merge_state(params, rest), inputs)
        return sum((jnp.vdot(value, value) for value in found.values()), jnp.zeros(())), found

    compiled = jax.jit(jax.grad(squares, has_aux=True), compiler_options={"xla_backend_optimization_level": 0})
    grads, found = compiled(params)
    for key, value in expected.items():
        close(np.asarray(found[key]), value.numpy(), float(value.std()))
    gradients = {key: value.numpy() for key, value in cases.gradients(case, theirs, given).items()}
    conversion: Any = next(conversion for conversion in CONVERSIONS if isinstance(ours, conversion.network))
    got = arrays(conversion, nnx.merge(graph, grads, rest))
    std = float(np.concatenate([value.ravel() for value in gradients.values()]).std())
    for key, value in gradients.items():
        close(got[key], value, std)

    save_diffusers(ours, tmp_path / "ours")
    again = getattr(diffusers, case.kind).from_pretrained(tmp_path / "ours")
    before, after = theirs.state_dict(), again.state_dict()
    assert set(before) == set(after)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    # Weights are equal; PyTorch rounds by where they lie in memory, so its own way there and back may be off by 1e-6.
    with torch.no_grad():
        for key, value in cases.outputs(case, again.eval(), given).items():
            assert float((value - expected[key]).abs().max()) <= 1e-5 * float(expected[key].std()), key
