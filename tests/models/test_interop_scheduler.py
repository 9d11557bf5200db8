"""What is read of diffusers' schedulers; the times are those that diffusers 0.42 printed for the same fields.

So are the samples: those that ``tests/parity/make_reference.py`` made, with its formulas in float64.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pytest

from artifex.backbones.interop import CheckpointError
from artifex.generative_models.interop import read_scheduler
from artifex.samplers import Ddim, Ddpm, DpmPlusMulti, Euler, EulerAncestral, Pndm, Sampler, UniPc
from artifex.schedules import Epsilon, Flow, Prediction, Velocity
from tests.parity.reference import SAMPLES, START, walk

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


@pytest.mark.parametrize(
    ("kind", "fields", "sampler", "times"),
    [
        ("DDIMScheduler", {**SD, "steps_offset": 1, "set_alpha_to_one": False}, Ddim(), [751, 501, 251, 1, 0]),
        ("DDPMScheduler", {"variance_type": "fixed_large"}, Ddpm("large"), [750, 500, 250, 0, -1]),
        ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}, Pndm(), [751, 501, 251, 1, 0]),
        ("EulerDiscreteScheduler", {}, Euler(), [999, 832.5, 666, 499.5, 333, 166.5, 0, -1]),
        (
            "EulerAncestralDiscreteScheduler",
            {"timestep_spacing": "trailing"},
            EulerAncestral(),
            [999, 749, 499, 249, -1],
        ),
        ("DPMSolverMultistepScheduler", {}, DpmPlusMulti(), [999, 749, 500, 250, -1]),
        ("UniPCMultistepScheduler", {"timestep_spacing": "leading"}, UniPc(), [800, 600, 400, 200, -1]),
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
    assert isinstance(found.prediction, Flow)
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


@pytest.mark.parametrize(("said", "kind"), [("epsilon", Epsilon), ("v_prediction", Velocity)])
def test_predictions_bounds_and_tables(said: str, kind: type[Prediction]) -> None:
    found = read_scheduler({"_class_name": "DDIMScheduler", "prediction_type": said, "clip_sample_range": 2.0})
    assert isinstance(found.prediction, kind)
    assert found.clip == 2.0
    assert read_scheduler({"_class_name": "DDIMScheduler", "clip_sample": False}).clip is None
    level = read_scheduler({"_class_name": "DDIMScheduler", **SD}).schedule.at(np.array(999.0))
    np.testing.assert_allclose(level.alpha**2, 0.004660098513, rtol=1e-9)
    zero = read_scheduler({"_class_name": "DDIMScheduler", **SD, "rescale_betas_zero_snr": True})
    np.testing.assert_allclose(zero.schedule.at(np.array(999.0)).alpha, 0.0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"_class_name": "EDMEulerScheduler"}, "must be one of DDIMScheduler, .*; got 'EDMEulerScheduler'"),
        ({"_class_name": "DDIMScheduler", "thresholding": True}, "thresholding must be False"),
        ({"_class_name": "DDIMScheduler", "trained_betas": [0.1]}, "trained_betas must be None"),
        ({"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"}, "beta_schedule must be one of"),
        ({"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True}, "use_karras_sigmas must be False"),
        ({"_class_name": "DDIMScheduler", "fancy": 1}, "fields that are not known: fancy"),
    ],
)
def test_what_has_no_counterpart_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_scheduler(fields)
