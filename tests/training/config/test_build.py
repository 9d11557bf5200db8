from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import EDM, VE, VP, CosineVP, Discrete, RectifiedFlow, Schedule, Shifted, SubVP, V, betas
from artifex.training import RunConfig, parse_config
from artifex.training.config.predictions import PredictionName

SCHEDULES: dict[str, Schedule] = {
    "discrete": Discrete(betas.cosine(1000)),
    "{kind: discrete, betas: linear, steps: 50, end: 0.1}": Discrete(betas.linear(50, end=0.1)),
    "{kind: discrete, betas: linear, zero_terminal_snr: true}": Discrete(
        betas.rescale_zero_terminal_snr(betas.linear(1000))
    ),
    "{kind: discrete, shift: 2}": Discrete(betas.shifted(betas.cosine(1000), 2)),
    "vp": VP(),
    "{kind: vp, beta_max: 10}": VP(beta_max=10),
    "{kind: vp, shift: 2}": Shifted(VP(), 2),
    "sub_vp": SubVP(),
    "{kind: cosine_vp, logsnr_min: -20}": CosineVP(logsnr_min=-20),
    "ve": VE(),
    "edm": EDM(),
    "{kind: rectified_flow, shift: 3}": RectifiedFlow(3),
}
KINDS = ("discrete", "vp", "sub_vp", "cosine_vp", "ve", "edm", "rectified_flow")


def config(**parts: object) -> RunConfig:
    return RunConfig.model_validate({"data": {"kind": "digits"}, **parts})


@pytest.mark.parametrize("text", SCHEDULES)
def test_schedules_are_those_of_their_names(text: str) -> None:
    assert parse_config(f"data: digits\nschedule: {text}").schedule.build() == SCHEDULES[text]


@pytest.mark.parametrize("table", betas.TABLES)
def test_every_table_of_betas_can_be_named(table: str) -> None:
    if table in ("from_alphas_cumprod", "from_alpha_bar", "rescale_zero_terminal_snr", "shifted"):
        return
    made = config(schedule={"kind": "discrete", "betas": table, "steps": 20}).schedule.build()
    assert made == Discrete(getattr(betas, table)(20))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_networks_are_told_times_of_the_order_of_1000(kind: str) -> None:
    """EDM2's are of the order of 1."""
    for prediction, backbone, top in (("v", "unet", 1000), ("epsilon", "edm2", 1), ("edm", "unet", 1000)):
        chosen = config(schedule=kind, prediction=prediction, backbone={"kind": backbone})
        path = chosen.schedule.build()
        last = jnp.array([{"discrete": 999.0, "edm": 80.0}.get(kind, 1.0)])
        model_time = chosen.build_prediction().inputs(jnp.ones((1, 2)), path.at(last))[1]
        if prediction == "edm":
            # a quarter of log(sigma / alpha), which no path here brings above 40
            assert 0 < model_time <= 10_000
        else:
            assert np.isclose(model_time, top, rtol=2e-3)


@pytest.mark.slow
def test_weights_are_on_the_error_of_the_output() -> None:
    """On a variance-preserving path, by hand from the papers' formulas."""
    level = Discrete(betas.cosine(1000)).at(jnp.array([100.0, 500.0, 900.0]))
    alpha2, sigma2 = np.asarray(level.alpha, np.float64) ** 2, np.asarray(level.sigma, np.float64) ** 2
    snr = alpha2 / sigma2
    expected = {
        ("v", "min_snr"): np.minimum(snr, 5) / (snr + 1),
        ("epsilon", "min_snr"): np.minimum(snr, 5) / snr,
        ("x0", "truncated_snr"): np.maximum(snr, 1),
        ("epsilon", "sigmoid"): 1 / (1 + snr),
        ("epsilon", "p2"): 1 / (1 + snr),
        ("x0", "soft_min_snr"): 5 * snr / (5 + snr),
        ("score", None): sigma2,
        ("x0", "edm"): snr + 4,
        ("x0", "uniform"): snr,
    }
    for (prediction, name), value in expected.items():
        chosen = config(prediction=prediction, weight=name).build_weight()
        assert chosen is not None
        assert np.allclose(chosen(level), value, rtol=1e-4), (prediction, name)
    for prediction, name in (("v", None), ("v", "unit"), ("epsilon", "uniform"), ("score", "unit")):
        assert config(prediction=prediction, weight=name).build_weight() is None


@pytest.mark.slow
def test_times_are_by_schedule_unless_they_are_named() -> None:
    def quantiles(**parts: object) -> np.ndarray:
        import jax

        return np.sort(np.asarray(config(**parts).build_times()(jax.random.key(0), 1000)))

    assert np.array_equal(quantiles(schedule={"kind": "discrete", "steps": 1000}), np.arange(1000))
    assert np.allclose(quantiles(schedule="vp")[[0, 500, 999]], [0, 0.5, 1], atol=2e-3)
    assert np.isclose(quantiles(schedule="rectified_flow")[841], 1 / (1 + np.exp(-1)), atol=4e-3)
    assert np.isclose(np.log(quantiles(schedule="edm")[841]), -1.2 + 1.2, atol=2e-2)
    assert np.isclose(quantiles(schedule="vp", times={"kind": "uniform", "low": 0.5})[0], 0.5, atol=1e-3)
    spread = quantiles(schedule="vp", times={"kind": "uniform", "low_discrepancy": False})
    assert not np.allclose(spread, np.linspace(0, 1, 1000), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_prediction_has_a_finite_loss_on_every_schedule(kind: str) -> None:
    import jax

    x0, labels = jnp.linspace(-1, 1, 16).reshape(8, 2), jnp.arange(8) % 3
    for prediction in get_args(PredictionName):
        chosen = config(schedule=kind, prediction=prediction).build_objective(3)
        draws = chosen.draw(x0, labels, jax.random.key(1))
        losses = chosen.losses(lambda x, t, cond: x * 0, x0, draws)
        assert jnp.isfinite(losses).all(), prediction
        assert float(losses.mean()) > 0


def test_the_default_objective_is_plain_velocity_on_the_cosine_chain() -> None:
    chosen = config().build_objective(10)
    assert (chosen.prediction, chosen.weight, chosen.num_classes, chosen.class_dropout) == (V(), None, 10, 0.1)
