from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, Int

from artifex.schedules import X0, Discrete, Epsilon, NoiseLevel, Prediction, V, betas
from artifex.training import Objective
from artifex.training.step.objective import Draws

pytestmark = pytest.mark.slow

CHAIN = Discrete(betas.linear(100))


def known(x: Float[Array, "b *d"], t: Float[Array, " b"], cond: Int[Array, " b"] | None) -> Float[Array, "b *d"]:
    """A network whose formula is repeated in NumPy below."""
    assert cond is not None
    return 0.3 * x + (0.01 * t.astype(x.dtype) + 0.1 * cond.astype(x.dtype))[:, None, None]


def cosine_weight(level: NoiseLevel[jax.Array]) -> Array:
    return level.alpha**2 + 0.5


@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        (Epsilon(), lambda x0, eps, alpha, sigma: eps),
        (X0(), lambda x0, eps, alpha, sigma: x0),
        (V(), lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_that_of_numpy_in_float64(
    prediction: Prediction, target: Callable[..., np.ndarray], weighted: bool
) -> None:
    rng = np.random.default_rng(0)
    x0, eps = rng.uniform(-1, 1, (4, 3, 2)), rng.normal(size=(4, 3, 2))
    t, cond = np.array([0, 17, 50, 99]), np.array([0, 1, 2, 3])
    # The linear path written again, without a line of this project.
    bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 100))[t][:, None, None]
    alpha, sigma = np.sqrt(bar), np.sqrt(1 - bar)
    out = 0.3 * (alpha * x0 + sigma * eps) + (0.01 * t + 0.1 * cond)[:, None, None]
    expected = ((out - target(x0, eps, alpha, sigma)) ** 2).mean((1, 2))
    expected = expected * (bar[:, 0, 0] + 0.5) if weighted else expected

    objective = Objective(CHAIN, prediction, num_classes=3, weight=cosine_weight if weighted else None)
    draws = Draws(jnp.asarray(t, jnp.float32), jnp.asarray(eps, jnp.float32), jnp.asarray(cond))
    assert np.allclose(objective.losses(known, jnp.asarray(x0, jnp.float32), draws), expected, rtol=2e-6)


def test_the_loss_is_the_mean_over_its_own_draws() -> None:
    objective = Objective(CHAIN, V(), num_classes=3)
    x0, cond, key = jnp.ones((8, 3, 2)), jnp.arange(8) % 3, jax.random.key(5)
    losses = objective.losses(known, x0, objective.draw(x0, cond, key))
    assert np.isclose(objective.loss(known, x0, cond, key), np.mean(np.asarray(losses, np.float64)))
    assert objective.loss(known, x0, cond, key) != objective.loss(known, x0, cond, jax.random.key(6))


def test_the_network_that_knows_the_answer_has_no_loss() -> None:
    objective = Objective(CHAIN, V())
    x0, key = jax.random.normal(jax.random.key(0), (8, 4)), jax.random.key(1)
    draws = objective.draw(x0, None, key)
    level = CHAIN.at(draws.t)

    def oracle(x: Float[Array, "b *d"], t: Float[Array, " b"], cond: Int[Array, " b"] | None) -> Float[Array, "b *d"]:
        eps = (x - level.alpha[:, None] * x0) / level.sigma[:, None]
        return level.alpha[:, None] * eps - level.sigma[:, None] * x0

    assert np.all(objective.losses(oracle, x0, draws) < 1e-9)


def test_noise_is_standard_normal_and_independent_of_time() -> None:
    draws = Objective(CHAIN, V()).draw(jnp.zeros((4000, 5)), None, jax.random.key(0))
    eps = np.asarray(draws.eps, np.float64)
    # Six standard errors of each estimate.
    assert abs(eps.mean()) < 6 / np.sqrt(eps.size)
    assert abs(eps.var() - 1) < 6 * np.sqrt(2 / eps.size)
    assert np.all(np.abs(np.corrcoef(eps.T) - np.eye(5)) < 6 / np.sqrt(4000))
    assert abs(np.corrcoef(np.asarray(draws.t), eps[:, 0])[0, 1]) < 6 / np.sqrt(4000)


@pytest.mark.parametrize("seed", range(5))
def test_times_are_spread_evenly_over_the_steps(seed: int) -> None:
    """By default a batch of n for n steps has every step once."""
    n = CHAIN.steps
    draws = Objective(CHAIN, V()).draw(jnp.zeros((n, 1)), None, jax.random.key(seed))
    assert np.array_equal(np.sort(draws.t), np.arange(n))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_right_share_of_labels_is_replaced_by_the_null_label(share: float) -> None:
    n = 10_000
    cond = jnp.arange(n) % 3
    draws = Objective(CHAIN, V(), num_classes=3, class_dropout=share).draw(jnp.zeros((n, 1)), cond, jax.random.key(0))
    hidden = np.asarray(draws.cond == 3)
    assert abs(hidden.mean() - share) <= 6 * np.sqrt(share * (1 - share) / n)
    assert draws.cond is not None
    assert np.array_equal(draws.cond[~hidden], cond[~hidden])


def test_without_labels_the_network_gets_none() -> None:
    x0, key = jnp.zeros((2, 1)), jax.random.key(0)
    assert Objective(CHAIN, V()).draw(x0, jnp.zeros(2, jnp.int32), key).cond is None
    assert Objective(CHAIN, V(), num_classes=3).draw(x0, None, key).cond is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"class_dropout": 1.5}, r"class_dropout must be in \[0, 1\], got 1.5"),
        ({"class_dropout": float("nan")}, r"class_dropout must be in \[0, 1\], got nan"),
    ],
)
def test_impossible_objectives_are_refused(arguments: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Objective(CHAIN, V(), **arguments)  # type: ignore[arg-type]


def test_a_path_without_steps_needs_times() -> None:
    class Path:
        def at(self, t: object) -> object:
            return t

        def inverse_logsnr(self, logsnr: object) -> object:
            return logsnr

        def times(self, steps: int) -> object:
            return steps

    with pytest.raises(ValueError, match="times must be given for Path, which has no steps; got None"):
        Objective(Path(), V())  # type: ignore[arg-type]


def test_an_output_of_another_shape_is_refused() -> None:
    objective, x0 = Objective(CHAIN, V()), jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"output of its input's shape \(2, 3\), got \(2, 1\)"):
        objective.loss(lambda x, t, cond: x[:, :1], x0, None, jax.random.key(0))
