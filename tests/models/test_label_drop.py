r"""Labels dropped in training, which train the null label of classifier-free guidance.

Of n labels each is dropped with probability p: their number is binomial, within $np \pm 4.5 \sqrt{np(1 - p)}$ except in
one run of 150,000; and the gradient of the null label's row is the closed form of a loss that is linear in it.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.generative_models.models.diffusion import (
    ClassifierFreeGuidance,
    DDIMModel,
    DDPMModel,
    DiffusionModel,
    DiTModel,
    GuidedDiffusionModel,
    LDMModel,
    ModelConfig,
    ScoreDiffusionModel,
)

pytestmark = pytest.mark.slow

HostArray = np.ndarray[Any, np.dtype[Any]]
COUNT: Final = 4096
CLASSES: Final = 3
SHAPE: Final = (2, 2, 1)
LABELS: Final = np.arange(COUNT) % CLASSES


class Rows(nnx.Module):
    """A network that returns the row of a label's table; row c is initialized to c."""

    def __init__(self) -> None:
        self.table = nnx.Param(jnp.arange(CLASSES + 1.0))

    def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
        assert cond is not None
        return jnp.zeros_like(x) + self.table[...][cond].reshape(-1, *(1,) * (x.ndim - 1))


def rows(config: ModelConfig, *, rngs: nnx.Rngs) -> Rows:
    return Rows()


KINDS: Final[dict[str, Callable[..., Any]]] = {
    "base": lambda config: DiffusionModel(config, rows, rngs=nnx.Rngs(0)),
    "ddpm": lambda config: DDPMModel(config, backbone_fn=rows, rngs=nnx.Rngs(0)),
    "ddim": lambda config: DDIMModel(config, backbone_fn=rows, rngs=nnx.Rngs(0)),
    "score": lambda config: ScoreDiffusionModel(config, backbone_fn=rows, rngs=nnx.Rngs(0)),
    "ldm": lambda config: LDMModel(config, backbone_fn=rows, rngs=nnx.Rngs(0)),
    "dit": lambda config: DiTModel(config, backbone_fn=rows, rngs=nnx.Rngs(0)),
    "guided": lambda config: GuidedDiffusionModel(config, rows, rngs=nnx.Rngs(0), guidance_method="classifier_free"),
}


@lru_cache
def made(kind: str, rate: float | None = None) -> Any:  # noqa: ANN401
    given = {"num_classes": CLASSES} | ({} if rate is None else {"class_dropout_prob": rate})
    return KINDS[kind](ModelConfig(name="drop", model_class=kind, input_dim=SHAPE, parameters=given))


def network_labels(
    kind: str, rate: float | None = None, *, training: bool = True, seed: int | None = None
) -> HostArray:
    """The labels of the network's call for ``LABELS``."""
    model, x, t = made(kind, rate), jnp.zeros((COUNT, *SHAPE)), jnp.zeros(COUNT, jnp.int32)
    if kind == "dit":
        out = model(x, t, jnp.asarray(LABELS), deterministic=not training)
    else:
        rngs = None if seed is None else nnx.Rngs(seed)
        out = model(x, t, conditioning=jnp.asarray(LABELS), training=training, rngs=rngs)["predicted_noise"]
    return np.asarray(out).reshape(COUNT, -1)[:, 0].astype(int)


def check(labels: HostArray, rate: float) -> None:
    dropped = labels == CLASSES
    np.testing.assert_array_equal(labels[~dropped], LABELS[~dropped])
    assert abs(dropped.sum() - rate * COUNT) <= 4.5 * np.sqrt(COUNT * rate * (1 - rate))


@pytest.mark.parametrize("kind", KINDS)
def test_rate(kind: str) -> None:
    check(network_labels(kind), 0.1)
    np.testing.assert_array_equal(network_labels(kind, training=False), LABELS)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_other_rates(rate: float) -> None:
    check(network_labels("ddpm", rate), rate)
    check(network_labels("dit", rate), rate)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"dit"}))
def test_draws(kind: str) -> None:
    np.testing.assert_array_equal(network_labels(kind, seed=1), network_labels(kind, seed=1))
    assert np.any(network_labels(kind, seed=1) != network_labels(kind, seed=2))
    # without rngs the model's own stream advances
    assert np.any(network_labels(kind) != network_labels(kind))


def test_nothing_is_drawn_without_dropping() -> None:
    model = made("ddpm", 0.0)
    before = jax.tree.leaves(nnx.state(model.rngs))
    network_labels("ddpm", 0.0)
    for a, b in zip(before, jax.tree.leaves(nnx.state(model.rngs)), strict=True):
        assert bool(jnp.all(a == b))


def test_the_null_label_learns() -> None:
    # sum over samples of out, which is row c of the table: the gradient of a row is its number of samples
    @nnx.jit
    @nnx.grad
    def slope(model: DDPMModel, rngs: nnx.Rngs) -> Array:
        x, t = jnp.zeros((COUNT, *SHAPE)), jnp.zeros(COUNT, jnp.int32)
        out = model(x, t, conditioning=jnp.asarray(LABELS), training=True, rngs=rngs)
        return jnp.sum(out["predicted_noise"]) / 4

    found = np.asarray(slope(made("ddpm", 0.5), nnx.Rngs(0))["backbone"]["table"][...])
    assert found.sum() == COUNT
    assert abs(found[CLASSES] - COUNT / 2) <= 4.5 * np.sqrt(COUNT / 4)


def test_guided_calls_drop_nothing() -> None:
    model, x, t = made("ddpm", 1.0), jnp.zeros((COUNT, *SHAPE)), jnp.zeros(COUNT, jnp.int32)
    out = ClassifierFreeGuidance(1.0)(model, x, t, jnp.asarray(LABELS))
    np.testing.assert_array_equal(out.reshape(COUNT, -1)[:, 0], LABELS)


def test_conditions_that_are_no_labels_stay() -> None:
    class Vector(nnx.Module):
        def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
            assert cond is not None
            return cond

    config = ModelConfig(name="drop", model_class="x", input_dim=(2,), parameters={"class_dropout_prob": 1.0})
    model = DiffusionModel(config, lambda config, rngs: Vector(), rngs=nnx.Rngs(0))
    x = jnp.ones((4, 2))
    np.testing.assert_array_equal(
        model(x, jnp.zeros(4, jnp.int32), conditioning=x, training=True)["predicted_noise"], x
    )


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_range(rate: float) -> None:
    with pytest.raises(ValueError, match="class_dropout_prob"):
        made("ddpm", rate)


@pytest.mark.parametrize("null", [CLASSES + 1, -1, 0.5])
def test_null_label_out_of_range(null: float) -> None:
    with pytest.raises(ValueError, match="unconditional_conditioning must be"):
        ClassifierFreeGuidance(2.0, null).guidance(made("ddpm"))


@pytest.mark.parametrize("kind", KINDS)
def test_config_by_place_and_by_name(kind: str) -> None:
    cls = type(made(kind))
    backbone_fn: Any = rows
    for args, named in (((made(kind).config,), {}), ((), {"config": made(kind).config})):
        assert cls(*args, **named, backbone_fn=backbone_fn, rngs=nnx.Rngs(0)).config.input_dim == SHAPE
