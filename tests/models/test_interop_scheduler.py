"""Schedulers read from diffusers' configs; times and samples are those of diffusers 0.42 for the same fields.

The samples are from ``tests/parity/make_reference.py``, with its formulas in float64.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pytest

from artifex.backbones.interop import CheckpointError
from artifex.generative_models.interop import read_scheduler
from artifex.samplers import DDIM, DDPM, PNDM, DPMSolverPPMultistep, Euler, EulerAncestral, Sampler, UniPC
from artifex.schedules import X0, Epsilon, FlowVelocity, Prediction, V
from tests.parity.reference import SAMPLES, START, walk

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


@pytest.mark.parametrize(
    ("kind", "fields", "sampler", "times"),
    [
        ("DDIMScheduler", {**SD, "steps_offset": 1, "set_alpha_to_one": False}, DDIM(), [751, 501, 251, 1, 0]),
        ("DDPMScheduler", {"variance_type": "fixed_large"}, DDPM("fixed_large"), [750, 500, 250, 0, -1]),
        ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}, PNDM(), [751, 501, 251, 1, 0]),
        ("EulerDiscreteScheduler", {}, Euler(), [999, 832.5, 666, 499.5, 333, 166.5, 0, -1]),
        (
            "EulerAncestralDiscreteScheduler",
            {"timestep_spacing": "trailing"},
            EulerAncestral(),
            [999, 749, 499, 249, -1],
        ),
        ("DPMSolverMultistepScheduler", {}, DPMSolverPPMultistep(), [999, 749, 500, 250, -1]),
        ("UniPCMultistepScheduler", {"timestep_spacing": "leading"}, UniPC(), [800, 600, 400, 200, -1]),
    ],
)
def test_class_and_spacing(kind: str, fields: dict[str, object], sampler: Sampler, times: list[float]) -> None:
    found = read_scheduler({"_class_name": kind, "num_train_timesteps": 1000, **fields})
    assert found.sampler == sampler
    np.testing.assert_allclose(found.times(len(times) - 1), times)
    assert found.tableau(4).rows >= 4
    assert found.time_scale == 1.0


def test_flow_matching_tells_the_network_a_thousandfold_time() -> None:
    found = read_scheduler(
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0, "num_train_timesteps": 1000}
    )
    assert isinstance(found.prediction, FlowVelocity)
    np.testing.assert_allclose(
        found.times(4) * found.time_scale,
        [1000.0, 857.6923217773438, 602.1505737304688, 8.928571701049805, 0.0],
        rtol=1e-6,
    )


TO_NOISE: Final = {"final_sigmas_type": "sigma_min"}
LINEAR: Final = {"timestep_spacing": "linspace"}
TRAILING: Final = {"timestep_spacing": "trailing"}
LEADING: Final = {"timestep_spacing": "leading"}
MULTI, UNIPC = "DPMSolverMultistep", "UniPCMultistep"
SAMPLED: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "ddpm leading": ("DDPM", {}),
    "ddpm trailing": ("DDPM", TRAILING),
    "ddpm linspace": ("DDPM", LINEAR),
    "ddpm large": ("DDPM", {"variance_type": "fixed_large"}),
    "ddpm learned": ("DDPM", {"variance_type": "learned_range"}),
    "ddpm zero-snr": ("DDPM", {**TRAILING, "rescale_betas_zero_snr": True}),
    "ddim leading": ("DDIM", {}),
    "ddim trailing": ("DDIM", TRAILING),
    "ddim offset": ("DDIM", {"steps_offset": 1, "set_alpha_to_one": False}),
    "ddim zero-snr": ("DDIM", {**TRAILING, "rescale_betas_zero_snr": True}),
    "euler leading": ("EulerDiscrete", LEADING),
    "euler trailing": ("EulerDiscrete", TRAILING),
    "euler a leading": ("EulerAncestralDiscrete", LEADING),
    "euler a trailing": ("EulerAncestralDiscrete", TRAILING),
    "euler sigma-min": ("EulerDiscrete", {**TRAILING, **TO_NOISE}),
    "pndm": ("PNDM", {"skip_prk_steps": True, "set_alpha_to_one": True}),
    "pndm runge-kutta": ("PNDM", {"set_alpha_to_one": True}),
    "pndm offset": ("PNDM", {"skip_prk_steps": True, "steps_offset": 1}),
    "dpm++ 2m leading": (MULTI, LEADING),
    "dpm++ 2m trailing": (MULTI, TRAILING),
    "dpm++ 2m linspace": (MULTI, LINEAR),
    "dpm++ 1m": (MULTI, {"solver_order": 1}),
    "dpm++ 3m": (MULTI, {"solver_order": 3}),
    "dpm++ 2m heun": (MULTI, {"solver_type": "heun"}),
    "dpm++ 2m sde": (MULTI, {"algorithm_type": "sde-dpmsolver++"}),
    "dpm-solver 2m": (MULTI, {**TO_NOISE, "algorithm_type": "dpmsolver"}),
    "dpm-solver 3m": (MULTI, {**TO_NOISE, "algorithm_type": "dpmsolver", "solver_order": 3}),
    "dpm-solver 2m sde": (MULTI, {**TO_NOISE, "algorithm_type": "sde-dpmsolver"}),
    "unipc-2 leading": (UNIPC, LEADING),
    "unipc-2 trailing": (UNIPC, TRAILING),
    "unipc-1": (UNIPC, {"solver_order": 1}),
    "unipc-3": (UNIPC, {"solver_order": 3}),
    "unipc-3 bh1": (UNIPC, {**TO_NOISE, "solver_type": "bh1", "solver_order": 3}),
    "unipc-3 noise bh1": (UNIPC, {**TO_NOISE, "predict_x0": False, "solver_type": "bh1", "solver_order": 3}),
    "flow euler": ("FlowMatchEulerDiscrete", {}),
    "flow euler shifted": ("FlowMatchEulerDiscrete", {"shift": 3.0}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_samples_are_those_of_diffusers(name: str) -> None:
    kind, fields = SAMPLED[name]
    compared = 0
    for (prediction, steps), theirs in SAMPLES["wide"][name].items():
        if kind == "PNDM" and prediction != "epsilon":  # see the parity page
            continue
        chain = {} if prediction == "flow" else {**SD, "prediction_type": prediction}
        if kind not in ("DDPM", "DDIM"):
            chain.pop("clip_sample", None)
        found = read_scheduler({"_class_name": f"{kind}Scheduler", **chain, **fields})
        table = found.tableau(steps)
        ours = walk(table, np.asarray(table.level.t, np.float64) * found.time_scale, prediction, START)
        np.testing.assert_allclose(ours, theirs, atol=1e-9 * np.abs(theirs).max())
        compared += 1
    assert compared >= 4


@pytest.mark.parametrize(("text", "kind"), [("epsilon", Epsilon), ("v_prediction", V)])
def test_predictions_bounds_and_tables(text: str, kind: type[Prediction]) -> None:
    found = read_scheduler({"_class_name": "DDIMScheduler", "prediction_type": text, "clip_sample_range": 2.0})
    assert isinstance(found.prediction, kind)
    assert found.clip == 2.0
    assert read_scheduler({"_class_name": "DDIMScheduler", "clip_sample": False}).clip is None
    level = read_scheduler({"_class_name": "DDIMScheduler", **SD}).schedule.at(np.array(999.0))
    np.testing.assert_allclose(level.alpha**2, 0.004660098513, rtol=1e-9)
    zero = read_scheduler({"_class_name": "DDIMScheduler", **SD, "rescale_betas_zero_snr": True})
    np.testing.assert_allclose(zero.schedule.at(np.array(999.0)).alpha, 0.0)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("SASolver", {}, "_class_name of a scheduler must be one of DDPMScheduler, .*; got 'SASolverScheduler'"),
        ("DDIM", {"fancy": 1}, "fields that are not known: fancy"),
        ("DDIM", {"beta_schedule": "sigmoid"}, "beta_schedule must be one of"),
        ("DDIM", {"num_train_timesteps": 0}, "DDIMScheduler: n must be at least 1, got 0"),
        (
            "DDIM",
            {"trained_betas": [0.1]},
            r"trained_betas must hold num_train_timesteps = 1000 numbers, got shape \(1,\)",
        ),
        ("DDIM", {"trained_betas": ["a"]}, "trained_betas must be a list of numbers, got"),
        ("DDIM", {"num_train_timesteps": 2, "trained_betas": [0.1, 3.0]}, r"DDIMScheduler: betas must lie in \(0, 1\)"),
        (
            "DDIM",
            {"thresholding": True, "sample_max_value": 0.5},
            "DDIMScheduler: limit must be positive, finite and at",
        ),
        ("DDIM", {"prediction_type": "flow_prediction"}, "prediction_type 'flow_prediction' needs use_flow_sigmas"),
        ("DDPM", {"variance_type": "learned"}, "variance_type must be one of .*; got|got 'learned'"),
        ("DDIMInverse", {"timestep_spacing": "linspace"}, "timestep_spacing must be one of .*'trailing'"),
        (
            "EulerDiscrete",
            {"use_karras_sigmas": True, "use_beta_sigmas": True},
            "only one of use_karras_sigmas, use_beta",
        ),
        ("EulerDiscrete", {"use_karras_sigmas": True, "sigma_max": 700.0}, "sigma_max must be in .* got 700.0"),
        (MULTI, {"algorithm_type": "euler"}, "algorithm_type must be one of"),
        (MULTI, {"solver_order": 4}, "solver_order must be one of"),
        (MULTI, {"lambda_min_clipped": "low"}, "lambda_min_clipped must be a number, got 'low'"),
        (MULTI, {"lambda_min_clipped": 50.0}, "lambda_min_clipped must be below 4.6"),
        (
            MULTI,
            {"use_flow_sigmas": True, "prediction_type": "v_prediction"},
            "'v_prediction' has no meaning with use_flow",
        ),
        (MULTI, {"use_flow_sigmas": True, "use_karras_sigmas": True}, "use_karras_sigmas has no meaning with use_flow"),
        (UNIPC, {"solver_p": {}}, "solver_p must be null"),
        (UNIPC, {"shift_terminal": 0.1}, "shift_terminal is only supported with use_flow_sigmas"),
        ("EDMEuler", {"prediction_type": "v_prediction"}, "sigma_data must be 1 with prediction_type 'v_prediction'"),
        ("FlowMatchEulerDiscrete", {"invert_sigmas": True}, "invert_sigmas must be false"),
        ("LCM", {"timestep_scaling": 1.0}, "timestep_scaling must be 10"),
        ("LCM", {"original_inference_steps": 0}, r"original_inference_steps must be in \[1, 1000\], got 0"),
    ],
)
def test_what_has_no_counterpart_is_refused(kind: str, fields: dict[str, object], text: str) -> None:
    with pytest.raises(CheckpointError, match=text) as error:
        read_scheduler({"_class_name": f"{kind}Scheduler", **fields})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "fields", "most"),
    [
        (MULTI, {}, 1000),
        (MULTI, {"lambda_min_clipped": -2.0}, 877),
        ("DPMSolverSinglestep", {}, 1000),
        (UNIPC, LEADING, 1000),
        ("DEISMultistep", TRAILING, 1000),
        ("DDIM", {"steps_offset": 1}, 1000),
        ("PNDM", {"skip_prk_steps": True}, 1000),
        ("EulerDiscrete", {}, 1000),
        ("HeunDiscrete", {"use_karras_sigmas": True}, 1000),
        ("LCM", {}, 50),
    ],
)
def test_all_steps_of_a_chain_and_none_more(kind: str, fields: dict[str, object], most: int) -> None:
    found = read_scheduler({"_class_name": f"{kind}Scheduler", **SD, **fields})
    times = found.times(most)
    assert len(times) in (most, most + 1)
    assert np.all(np.diff(times) < 0)
    assert found.tableau(most).rows >= most
    for steps in (0, most + 1):
        with pytest.raises(ValueError, match=rf"steps must be in \[1, {most}\], got {steps}$"):
            found.tableau(steps)


def test_fields_of_another_class_change_nothing() -> None:
    plain = read_scheduler({"_class_name": "DDIMScheduler", **SD})
    left = {"use_karras_sigmas": True, "skip_prk_steps": True, "final_sigmas_type": "sigma_min", "solver_order": 9}
    null = {"trained_betas": None, "steps_offset": None, "timestep_spacing": None, "prediction_type": None}
    found = read_scheduler({"_class_name": "DDIMScheduler", "_diffusers_version": "0.6.0", **SD, **left, **null})
    np.testing.assert_array_equal(found.times(20), plain.times(20))
    assert (found.sampler, found.prediction, found.schedule) == (plain.sampler, plain.prediction, plain.schedule)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"predict_epsilon": True}, Epsilon),
        ({"predict_epsilon": False}, X0),
        ({"predict_epsilon": False, "prediction_type": "v_prediction"}, V),
        ({"prediction_type": "original_sample"}, X0),
    ],
)
def test_spellings_of_a_prediction(fields: dict[str, object], kind: type[Prediction]) -> None:
    assert isinstance(read_scheduler({"_class_name": "DDPMScheduler", **fields}).prediction, kind)


@pytest.mark.parametrize(
    ("kind", "text", "learned"),
    [
        ("DDPM", "learned_range", True),
        ("DDPM", "fixed_large_log", False),
        (MULTI, "learned", True),
        (MULTI, "learned_range", True),
        (MULTI, "fixed_small", False),
        ("DPMSolverSinglestep", "learned_range", True),
        (UNIPC, "learned_range", False),
    ],
)
def test_a_variance_beside_the_output(kind: str, text: str, learned: bool) -> None:
    assert read_scheduler({"_class_name": f"{kind}Scheduler", "variance_type": text}).learned_variance is learned


def test_a_grid_that_depends_on_the_image() -> None:
    """The shift of FLUX's config: from e^0.5 for 256 tokens to e^1.15 for 4096."""
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}
    with pytest.raises(ValueError, match=r"use_dynamic_shifting: .* give read_scheduler image_seq_len"):
        read_scheduler(config).tableau(4)
    for tokens, mu in ((256, 0.5), (4096, 1.15), (2176, 0.825)):
        times = read_scheduler(config, image_seq_len=tokens).times(4)
        t = np.linspace(1, 1 / 1000, 4)
        np.testing.assert_allclose(times[:-1], np.exp(mu) / (np.exp(mu) + 1 / t - 1), rtol=1e-12)
