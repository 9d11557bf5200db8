"""Every rule against its paper's formula, in the paper's own terms and in float64."""

from collections.abc import Callable, Mapping
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.guidance import APG, CFGRescale, CFGZeroStar, ClassifierFree, LinearRule, Rule
from artifex.schedules import X0, Epsilon, FlowVelocity, NoiseLevel
from artifex.schedules.arrays import HostArray
from tests.guidance.exact import ALPHA, HERE, LABELS, SIGMA, X, call, clean, denoise, eps, on_device, with_variance

pytestmark = pytest.mark.slow

C, U = denoise(X, HERE, LABELS), denoise(X, HERE, None)
Y = jnp.asarray(LABELS)


def dot(a: HostArray, b: HostArray) -> HostArray:
    return np.asarray(np.sum(a * b, axis=1, keepdims=True))


def spread(a: HostArray) -> HostArray:
    return np.asarray(np.std(a, axis=1, keepdims=True))


def linear(c: HostArray, u: HostArray) -> HostArray:
    """Ho and Salimans, on the noise."""
    noise = [eps(x0) for x0 in (c, u)]
    return clean(noise[1] + 3 * (noise[0] - noise[1]))


def rescaled_velocity(c: HostArray, u: HostArray) -> HostArray:
    """Lin et al., on the velocity."""
    v = [ALPHA * eps(x0) - SIGMA * x0 for x0 in (c, u)]
    g = v[1] + 3 * (v[0] - v[1])
    g = 0.7 * g * spread(v[0]) / spread(g) + 0.3 * g
    return ALPHA * X - SIGMA * g


def rescaled_noise(c: HostArray, u: HostArray) -> HostArray:
    noise = [eps(x0) for x0 in (c, u)]
    g = noise[1] + 3 * (noise[0] - noise[1])
    return clean(0.7 * g * spread(noise[0]) / spread(g) + 0.3 * g)


def apg(c: HostArray, u: HostArray) -> HostArray:
    """Sadat et al., on the clean data, the longest steps shortened."""
    step = c - u
    step = step * np.minimum(1, 0.5 / np.sqrt(dot(step, step)))
    along = dot(step, c) / dot(c, c) * c
    return c + (3 - 1) * (step - along + 0.2 * along)


def cfg_zero(c: HostArray, u: HostArray) -> HostArray:
    """Fan et al., on the flow's velocity, which points to the data there."""
    v = [x0 - eps(x0) for x0 in (c, u)]
    s = dot(*v) / dot(v[1], v[1])
    g = (1 - 3) * s * v[1] + 3 * v[0]
    return (X + SIGMA * g) / (ALPHA + SIGMA)


FORMULAS: Final[Mapping[str, tuple[Rule, Callable[[HostArray, HostArray], HostArray]]]] = {
    "linear": (LinearRule(3.0), linear),
    "rescaled": (CFGRescale(3.0), rescaled_velocity),
    "rescaled noise": (CFGRescale(3.0, prediction=Epsilon()), rescaled_noise),
    "apg": (APG(3.0, 0.2, 0.5), apg),
    "cfg zero": (CFGZeroStar(3.0), cfg_zero),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_is_the_papers_formula(name: str) -> None:
    rule, formula = FORMULAS[name]
    with jax.enable_x64(True):
        got = call(ClassifierFree(rule, jnp.array(2))(denoise, jnp.asarray(LABELS)))
    np.testing.assert_allclose(got, formula(C, U), atol=1e-12)


@pytest.mark.parametrize("rule", [LinearRule, CFGRescale, APG, CFGZeroStar])
def test_scale_1_gives_the_strong_one(rule: Callable[[Array], Rule]) -> None:
    """As data, where it can't be known."""
    got = call(ClassifierFree(rule(jnp.asarray(1.0)), jnp.array(2))(denoise, Y))
    np.testing.assert_allclose(got, C, atol=1e-5)


@pytest.mark.parametrize("rule", [CFGRescale(3.0, 0.0), APG(3.0, 1.0)])
def test_with_nothing_to_mend_it_is_the_linear_rule(rule: Rule) -> None:
    got = call(ClassifierFree(rule, jnp.array(2))(denoise, Y))
    np.testing.assert_allclose(got, linear(C, U), atol=1e-5)


def two(seed: int = 1) -> tuple[Array, Array, Array]:
    """A strong, a weak and a noisy sample of 3x4 numbers, four of each."""
    a, b, c = np.random.default_rng(seed).normal(size=(3, 4, 3, 4))
    return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32), jnp.asarray(c, jnp.float32)


def test_rescaled_whole_has_the_spread_of_the_strong_one() -> None:
    strong, weak, x_t = two()
    got = CFGRescale(5.0, 1.0, X0()).combine(strong, weak, x_t, on_device())
    np.testing.assert_allclose(jnp.std(got, axis=(1, 2)), jnp.std(strong, axis=(1, 2)), rtol=1e-5)


def test_apg_moves_across_the_strong_one_and_no_farther_than_allowed() -> None:
    strong, weak, x_t = two()
    moved = np.asarray(APG(5.0, radius=0.3).combine(strong, weak, x_t, on_device()) - strong)
    np.testing.assert_allclose(np.sum(moved * strong, axis=(1, 2)), 0, atol=1e-4)
    assert np.all(np.sqrt(np.sum(moved**2, axis=(1, 2))) <= 4 * 0.3 + 1e-4)
    still = APG(5.0, radius=0.3).combine(strong, strong, x_t, on_device())
    np.testing.assert_array_equal(still, strong)


def test_cfg_zero_is_blind_to_the_length_of_the_weak_velocity() -> None:
    """So that one that only falls short moves nothing, whatever the scale."""
    strong, _, x_t = two()
    level, flow = NoiseLevel(*(jnp.full(4, v) for v in (7.0, 0.4, 0.6))), FlowVelocity()
    v = flow.target(strong, (x_t - 0.4 * strong) / 0.6, level)
    weak = flow.to_x0(0.3 * v, x_t, level)
    np.testing.assert_allclose(CFGZeroStar(7.0).combine(strong, weak, x_t, level), strong, atol=1e-4)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_learned_variance_is_combined_linearly_beside_it(name: str) -> None:
    rule, formula = FORMULAS[name]
    got = call(ClassifierFree(rule, jnp.array(2))(with_variance, Y))
    v = np.tanh(U) + 3 * (np.tanh(C) - np.tanh(U))
    np.testing.assert_allclose(got, np.concatenate([formula(C, U), v], axis=-1), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearRule(float("nan")), "one finite number, or one per sample, got nan"),
        (lambda: CFGRescale(float("inf")), "one finite number, or one per sample, got inf"),
        (lambda: CFGRescale(2.0, 1.5), r"phi must be in \[0, 1\], got 1\.5"),
        (lambda: APG(float("nan")), "one finite number, or one per sample, got nan"),
        (lambda: APG(2.0, radius=0.0), r"radius must be positive, got 0\.0"),
        (lambda: CFGZeroStar(float("nan")), "one finite number, or one per sample, got nan"),
    ],
)
def test_what_does_not_fit(make: Callable[[], Rule], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
