"""Training with bfloat16 inside of the network: it learns as float32 does, and keeps what is too small for bfloat16."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Int

from artifex.schedules import Discrete, V, betas
from artifex.training import BackboneConfig, Network, Objective, init_state, make_train_step
from artifex.training.ema import EMA
from tests.training.helpers.tiny import same

NETWORKS: dict[str, dict[str, object]] = {
    "dit": {"hidden": 32, "heads": 2, "depth": 1},
    "unet": {"base_channels": 8, "channel_mults": [1], "groups": 4, "head_dim": None,
             "attention_levels": [], "num_res_blocks": 1},
}  # fmt: skip
STEPS, RATE, LITTLE = 40, 2e-3, 1e-7


class Run(NamedTuple):
    """A run whose last update is tiny.

    Attributes:
        first: parameters before the first step.
        losses: of each step.
        state: after the last step.
        before: parameters before the last step.
    """

    first: Any
    losses: np.ndarray
    state: Any
    before: Any


@cache
def run(kind: str, compute: str) -> Run:
    """Forty steps by Adam on two images, and one more at a rate of 1e-7; draws are those of every other run."""
    backbone = BackboneConfig.model_validate({"kind": kind, **NETWORKS[kind]})
    network = Network(backbone.build((8, 8, 1), 2, compute).init(jax.random.key(0)))
    objective = Objective(Discrete(betas.cosine(1000)), V(), num_classes=2)
    optimizer = optax.adam(lambda k: jnp.where(k < STEPS, RATE, LITTLE))
    step = make_train_step(network, objective, optimizer, EMA(0.9))
    rows = jnp.sign(jax.random.normal(jax.random.key(1), (2, 8, 8, 1)))

    def one(state: Any, k: Int[Array, ""]) -> tuple[Any, Any]:  # noqa: ANN401
        labels = jnp.arange(16) % 2
        return step(state, rows[labels], labels)[0], state.parameters

    first = init_state(network, optimizer, EMA(0.9), STEPS + 1)
    # It runs once: what it costs is its compilation.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    scan = jax.jit(lambda state: jax.lax.scan(one, state, jnp.arange(STEPS + 1)), compiler_options=options)
    last, path = scan(first)
    return Run(network.parameters, np.asarray(last.losses), last, jax.tree.map(lambda leaf: leaf[-1], path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_bfloat16_learns_as_float32_does(kind: str) -> None:
    """A number rounded to bfloat16 is off by up to 2^-9 of itself; the error of the output is of that order, as parts
    of many are as often rounded up as down, and so is that of the loss, its mean square: each is held to four times it,
    and their mean over the last ten steps, in which errors of single steps fall out, to once. The rate is one at which
    two runs that differ by as much don't part."""
    exact, short = run(kind, "float32"), run(kind, "bfloat16")
    assert same(exact.first, short.first)
    assert exact.losses[-10:].mean() < 0.95 * exact.losses[:3].mean()
    off = short.losses / exact.losses - 1
    assert 0 < abs(off).max() < 2**-7
    assert abs(short.losses[-10:].mean() / exact.losses[-10:].mean() - 1) < 2**-9


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_updates_too_small_for_bfloat16_are_kept(kind: str) -> None:
    """By Adam a weight moves by about the rate, 1e-7; from 2^-10 on, bfloat16 has no numbers closer than 2^-17."""
    last = run(kind, "bfloat16")
    kept = last.state.parameters, last.state.average, last.state.optimizer[0].mu, last.state.optimizer[0].nu
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype(jnp.float32)}
    before, after = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(p)]) for p in (last.before, kept[0]))
    known = (abs(before) > 2**-10) & (abs(before) < 0.5)
    before, after = before[known], after[known]
    assert np.mean(before != after) > 0.8
    assert 0 < abs(after - before).max() < 2 * LITTLE
    short = before.astype(jnp.bfloat16)
    np.testing.assert_array_equal(short + (after - before).astype(jnp.bfloat16), short)
