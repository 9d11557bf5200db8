"""Walks schedulers of diffusers from their configs alone, and writes what they give to ``schedulers.npz``.

The environment is that of ``make_reference.py``; run

    ../peers/bin/python -m tests.parity.make_scheduler_reference

from the repository's root. Every walk starts from the same noise and calls the network ``tanh(x W)``, whatever its
output is taken for, in float64. What diffusers can't do is NaN.
"""

import copy
import inspect
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias
from unittest.mock import patch

import numpy as np

from tests.parity.make_reference import NOISE, START, HostArray, Tensor, W, array, diffusers, tensor, torch, widened

Config = dict[str, Any]
Peer: TypeAlias = Any

OUT: Final = Path(__file__).with_name("schedulers.npz")
STEPS: Final = (1, 2, 3, 10)
SEQUENCE: Final = 1024
"""Tokens of the image that dynamic shifting is for."""
EULER: Final = (
    "EulerDiscrete",
    "HeunDiscrete",
    "KDPM2Discrete",
    "KDPM2AncestralDiscrete",
    "LMSDiscrete",
    "DPMSolverSDE",
)
SOLVERS: Final = ("DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep", "DEISMultistep")
ANCESTORS: Final = ("DDPM", "DDIM", "DDIMInverse", "PNDM")
EDMS: Final = ("EDMEuler", "EDMDPMSolverMultistep")
FLOWS: Final = ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete")
CLASSES: Final = (*ANCESTORS, *EULER, "EulerAncestralDiscrete", *SOLVERS, *EDMS, *FLOWS, "LCM")
LATENT: Final = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
SPREADS: Final = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
SIGMA_MIN: Final = {"final_sigmas_type": "sigma_min"}
FLOW: Final = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
SIZED: Final = {"use_dynamic_shifting": True, "base_shift": 0.4, "max_shift": 1.3, "max_image_seq_len": 8192}
HELD: Final = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 1.5}
ODD: Final = {"num_train_timesteps": 20, "beta_start": 0.01, "beta_end": 0.3}
TRAINED: Final = {"num_train_timesteps": 40, "trained_betas": np.linspace(0.002, 0.2, 40).tolist()}
VIDEO: Final = {  # as published for Stable Video Diffusion
    **LATENT,
    "interpolation_type": "linear",
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "trained_betas": None,
    "use_karras_sigmas": True,
}


def named(name: str, *options: Config, **more: Config) -> Iterator[tuple[str, Config]]:
    """Configs of one class, each beside the betas of Stable Diffusion."""
    for option in options:
        title = " ".join(f"{key}={value}" if not isinstance(value, list) else key for key, value in option.items())
        yield f"{name}: {title}", {**LATENT, **option}
    for title, option in more.items():
        yield f"{name}: {title}", {**LATENT, **option}


def spread(name: str) -> Iterator[tuple[str, Config]]:
    """Every way to spread noise levels."""
    yield from named(name, *({way: True} for way in SPREADS))
    yield from named(name, *({way: True, "sigma_min": 0.05, "sigma_max": 10.0} for way in SPREADS))


def cases() -> Iterator[tuple[str, Config]]:
    """Configs by name, the class first."""
    for name in CLASSES:
        yield f"{name}: as saved", dict(getattr(diffusers, f"{name}Scheduler")().config)
    for name in (*ANCESTORS, *EULER, "EulerAncestralDiscrete", "UniPCMultistep", "DPMSolverMultistep", "DEISMultistep"):
        yield from named(name, {"timestep_spacing": "leading", "steps_offset": 1}, {"timestep_spacing": "trailing"})
    for name in (*ANCESTORS, *EULER, "EulerAncestralDiscrete", *SOLVERS, "LCM"):
        yield from named(name, {"prediction_type": "v_prediction"}, {"prediction_type": "sample"}, TRAINED)
        yield from named(name, {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"})
    for name in ("DDPM", "DDIM", "PNDM"):
        yield from named(name, {"timestep_spacing": "linspace"})
    for name in (*EULER, *SOLVERS):
        yield from spread(name)
    for name in ("DDIM", "PNDM", "DDIMInverse"):
        yield from named(name, {"set_alpha_to_one": False}, {"set_alpha_to_one": True})
    for name in (
        "DDPM",
        "DDIM",
        "LCM",
        "EulerDiscrete",
        "EulerAncestralDiscrete",
        "DPMSolverMultistep",
        "UniPCMultistep",
    ):
        yield from named(
            name, {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
        )
    for name in ("DDPM", "DDIM", *SOLVERS, "LCM"):
        yield from named(name, held=HELD)
    for name in ("DDPM", "DDIM", "HeunDiscrete", "LCM"):
        yield from named(name, {"clip_sample": True, "clip_sample_range": 0.7})
    yield from named("DDPM", *({"beta_schedule": shape} for shape in ("sigmoid", "laplace")))
    yield from named("DDPM", *({"variance_type": kind} for kind in ("fixed_large", "fixed_small_log")))
    yield from named("HeunDiscrete", {"beta_schedule": "exp"})
    yield from named("PNDM", {"skip_prk_steps": True}, {"skip_prk_steps": True, "steps_offset": 1})
    yield from named("DDIMInverse", {"set_alpha_to_zero": False})
    yield from named("EulerDiscrete", SIGMA_MIN, {**SIGMA_MIN, "timestep_spacing": "trailing"}, video=VIDEO)
    yield from named("EulerDiscrete", {"prediction_type": "original_sample"}, {"interpolation_type": "log_linear"})
    yield from named("EulerDiscrete", {"interpolation_type": "log_linear", "use_karras_sigmas": True, **SIGMA_MIN})
    yield from named("EulerDiscrete", {"timestep_type": "continuous", "prediction_type": "v_prediction"})
    for name in ("DPMSolverMultistep", "UniPCMultistep"):
        yield from named(name, SIGMA_MIN, *({way: True, **SIGMA_MIN} for way in SPREADS))
    yield from named("DPMSolverMultistep", {"use_lu_lambdas": True}, {"use_lu_lambdas": True, SPREADS[1]: True})
    for order in (1, 2, 3):
        for kind in ("dpmsolver++", "sde-dpmsolver++"):
            given = {"solver_order": order, "algorithm_type": kind}
            yield from named("DPMSolverMultistep", given, {**given, **SIGMA_MIN, "euler_at_final": True})
            yield from named("DPMSolverSinglestep", given, {**given, "solver_type": "heun"}, {**given, **SIGMA_MIN})
        for kind in ("dpmsolver", "sde-dpmsolver")[: 2 if order < 3 else 1]:
            given = {"solver_order": order, "algorithm_type": kind, **SIGMA_MIN}
            yield from named("DPMSolverMultistep", given, {**given, "solver_type": "heun"})
        given = {"solver_order": order, "algorithm_type": "dpmsolver", **SIGMA_MIN}
        yield from named("DPMSolverSinglestep", given, {**given, "solver_type": "heun", "lower_order_final": True})
        yield from named("DEISMultistep", {"solver_order": order}, {"solver_order": order, "lower_order_final": False})
        yield from named("UniPCMultistep", {"solver_order": order}, {"solver_order": order, "predict_x0": False})
        yield from named("UniPCMultistep", {"solver_order": order, "solver_type": "bh1", **SIGMA_MIN})
        yield from named("UniPCMultistep", {"solver_order": order, "lower_order_final": False, **SIGMA_MIN})
        yield from named("EDMDPMSolverMultistep", {"solver_order": order}, {"solver_order": order, **SIGMA_MIN})
    yield from named("DPMSolverMultistep", {"lower_order_final": False, **SIGMA_MIN})
    yield from named("DPMSolverMultistep", {"algorithm_type": "deis", "solver_type": "logrho", **SIGMA_MIN})
    yield from named("DPMSolverMultistep", {"solver_type": "bh1"})
    yield from named("DPMSolverSinglestep", {"algorithm_type": "deis", "solver_type": "bh2", **SIGMA_MIN})
    yield from named("UniPCMultistep", {"solver_type": "midpoint"}, {"solver_type": "logrho"})
    yield from named("UniPCMultistep", {"disable_corrector": [0, 2]}, {"disable_corrector": list(range(10))})
    yield from named("DEISMultistep", {"algorithm_type": "dpmsolver++", "solver_type": "heun"})
    for name in ("DPMSolverMultistep", "DPMSolverSinglestep"):
        yield from named(name, {"lambda_min_clipped": -2.0}, {"lambda_min_clipped": -5.1})
    yield from named("DPMSolverMultistep", {"lambda_min_clipped": -2.0, "timestep_spacing": "leading"})
    yield from named("DPMSolverMultistep", {"lambda_min_clipped": -2.0, "timestep_spacing": "trailing"})
    for name in SOLVERS:
        yield from named(name, flow=FLOW, sized={**FLOW, **SIZED}, clean={**FLOW, "prediction_type": "sample"})
    yield from named("UniPCMultistep", terminal={**FLOW, "shift_terminal": 0.1}, karras={**FLOW, SPREADS[0]: True})
    yield from named("UniPCMultistep", linear={**FLOW, **SIZED, "time_shift_type": "linear"})
    yield from named("EDMEuler", {"sigma_schedule": "exponential"}, {"rho": 3.0, "sigma_data": 1.0}, SIGMA_MIN)
    yield from named("EDMEuler", {"prediction_type": "v_prediction", "sigma_data": 1.0, "sigma_max": 120.0})
    yield from named("EDMDPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}, {"solver_type": "heun"}, held=HELD)
    yield from named("EDMDPMSolverMultistep", {"sigma_schedule": "exponential", "sigma_min": 0.01})
    for name in FLOWS:
        yield from named(name, {"shift": 3.0})
    name = FLOWS[0]
    yield from named(name, {"shift": 3.0, "shift_terminal": 0.1}, {"stochastic_sampling": True}, sized=SIZED)
    yield from named(name, *({way: True, "shift": 3.0} for way in SPREADS))
    yield from named(name, linear={**SIZED, "time_shift_type": "linear", "shift_terminal": 0.02})
    yield from named("LCM", {"original_inference_steps": 20})
    for name in (*ANCESTORS, *EULER, "EulerAncestralDiscrete", *SOLVERS):
        yield from named(name, every=ODD, every_trailing={**ODD, "timestep_spacing": "trailing"})


def frame(name: str, config: Mapping[str, object]) -> str:
    """The scale of the class's state; see ``make_reference.Scheduler``."""
    if name in EDMS:
        return "ve" if config.get("prediction_type") == "v_prediction" else "edm"
    return "ve" if name in (*EULER, "EulerAncestralDiscrete") else "vp"


def walked(made: Peer, name: str, config: Config, steps: int) -> tuple[HostArray, HostArray]:
    """The sample and the model times. Thresholding needs an axis beside the channels'."""
    scheduler, kind = copy.deepcopy(made), type(made)
    sized = bool(config.get("use_dynamic_shifting"))
    scheduler.set_timesteps(steps, **({"mu": shift_of(config)} if sized else {}))
    sigmas, scaled = array(getattr(scheduler, "sigmas", ())), frame(name, config)
    model_times: list[float] = []
    start = {"ve": (sigmas[:1] ** 2 + 1) ** 0.5, "edm": sigmas[:1]}.get(scaled, 1.0)
    x = tensor(START * start)[:, None]

    def draw(*_: object, **__: object) -> Tensor:
        return tensor(NOISE[(len(model_times) - 1) // kind.order])[:, None]

    noise = iter(tensor(NOISE)[:, :, None])
    scheduler.noise_sampler = lambda *_: next(noise)  # one scheduler has it
    with patch.object(sys.modules[kind.__module__], "randn_tensor", draw, create=True):
        for t in scheduler.timesteps:
            model_times.append(float(t))
            model_input = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            x = scheduler.step(torch.tanh(model_input @ tensor(W)), t, x, return_dict=False)[0]
    last = sigmas[min(scheduler.step_index, len(sigmas) - 1)] if scaled == "ve" else 0.0
    return array(x)[:, 0] / (last**2 + 1) ** 0.5, np.asarray(model_times)


def shift_of(config: Mapping[str, Any]) -> float:
    """The exponent of dynamic shifting: ``calculate_shift`` of diffusers' pipelines, which want all of transformers."""
    least, largest = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (high - low) / (largest - least)
    return float(SEQUENCE * slope + low - slope * least)


def main() -> None:
    """Walks all cases and writes the file."""
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    configs: dict[str, Config] = {}
    runs: dict[str, tuple[HostArray, HostArray]] = {}
    for title, config in cases():
        name = title.split(":")[0]
        configs[title] = {**config, "_class_name": f"{name}Scheduler"}
        with widened():
            made = getattr(diffusers, f"{name}Scheduler").from_config(config)
        for steps in (20,) if ": every" in title else STEPS:
            try:
                with widened(), np.errstate(all="ignore"):
                    sample, model_times = walked(made, name, config, steps)
            except (AssertionError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
                print(f"{title}, {steps} steps: {type(error).__name__}: {str(error)[:100]}")
                sample, model_times = np.full_like(START, np.nan), np.zeros(0)
            runs[f"{title}/{steps}"] = sample, model_times
    taken = {
        f"{name}Scheduler": sorted(set(inspect.signature(getattr(diffusers, f"{name}Scheduler").__init__).parameters))
        for name in CLASSES
    }
    np.savez_compressed(
        OUT,
        allow_pickle=False,
        w=W,
        start=START,
        noise=NOISE,
        configs=np.array(json.dumps(configs)),
        fields=np.array(json.dumps(taken)),
        runs=np.array(list(runs)),
        samples=np.stack([sample for sample, _ in runs.values()]),
        told=np.concatenate([model_times for _, model_times in runs.values()]).astype(np.float32),
        told_lengths=np.array([len(model_times) for _, model_times in runs.values()]),
    )
    broken = [run for run, (sample, _) in runs.items() if not np.all(np.isfinite(sample))]
    print(f"{len(runs)} walks of {len(configs)} configs, {OUT.stat().st_size / 1024:.0f} KiB; not finite: {broken}")


if __name__ == "__main__":
    main()
