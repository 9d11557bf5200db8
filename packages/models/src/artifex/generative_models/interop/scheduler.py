"""diffusers' ``scheduler_config.json``: one class there is a schedule, a prediction, a sampler and a grid here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.fields import Fields
from artifex.samplers import (
    Ddim,
    Ddpm,
    DpmPlusMulti,
    DpmSolverMulti,
    Euler,
    EulerAncestral,
    Pndm,
    Sampler,
    Tableau,
    UniPc,
)
from artifex.schedules import (
    Clean,
    Discrete,
    Epsilon,
    Flow,
    Host,
    Prediction,
    RectifiedFlow,
    Schedule,
    Velocity,
    betas,
    grid,
)

CLEAN: Final = -1.0
PREDICTIONS: Final[Mapping[str, Prediction]] = {"epsilon": Epsilon(), "sample": Clean(), "v_prediction": Velocity()}
FIXED: Final[Mapping[str, tuple[object, ...]]] = {
    "trained_betas": (None,),
    "thresholding": (False,),
    "dynamic_thresholding_ratio": (0.995,),
    "sample_max_value": (1.0,),
    "interpolation_type": ("linear",),
    "timestep_type": ("discrete",),
    "use_karras_sigmas": (False, None),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
    "use_flow_sigmas": (False, None),
    "flow_shift": (1.0,),
    "sigma_min": (None,),
    "sigma_max": (None,),
    "lambda_min_clipped": ("-Infinity", float("-inf")),
    "variance_type": (None, "fixed_small"),
    "use_dynamic_shifting": (False, None),
    "time_shift_type": ("exponential",),
    "shift_terminal": (None,),
    "disable_corrector": ((),),
    "solver_p": (None,),
    "euler_at_final": (False,),
    "skip_prk_steps": (True, False),
    "base_shift": (0.5,),
    "max_shift": (1.15,),
    "base_image_seq_len": (256,),
    "max_image_seq_len": (4096,),
    "invert_sigmas": (False,),
    "stochastic_sampling": (False,),
}


@dataclass(frozen=True)
class Scheduler:
    """What a scheduler of diffusers is here.

    Attributes:
        schedule: The path from data to noise.
        prediction: What the network's output means.
        sampler: The method.
        times: The grid of a number of steps.
        clip: Predicted data are held to ``[-clip, clip]``; None for no bounds. ``DDIMScheduler`` goes on with the noise
            of the prediction as it was before; here noise and clean data stay those of one ``x_t``.
        time_scale: A network of the pipeline is told the schedule's time multiplied by this.
    """

    schedule: Schedule
    prediction: Prediction
    sampler: Sampler
    times: Callable[[int], Host]
    clip: float | None = None
    time_scale: float = 1.0

    def tableau(self, steps: int) -> Tableau[Host]:
        """The walk of a number of steps.

        Raises:
            ValueError: If the schedule has not so many.
        """
        return self.sampler.tableau(self.schedule, self.times(steps))


def read_scheduler(config: Mapping[str, object]) -> Scheduler:
    """Read the fields of ``scheduler_config.json``.

    Args:
        config: The fields: of ``DDIMScheduler``, ``DDPMScheduler``, ``PNDMScheduler``, ``EulerDiscreteScheduler``,
            ``EulerAncestralDiscreteScheduler``, ``DPMSolverMultistepScheduler``, ``UniPCMultistepScheduler`` or
            ``FlowMatchEulerDiscreteScheduler``.

    Raises:
        CheckpointError: If the class or one of its options has no counterpart here.
    """
    kind = config.get("_class_name")
    # Fields that a pipeline of another class left behind are not read there either.
    fields = Fields(dict(config))
    if kind == "FlowMatchEulerDiscreteScheduler":
        return _flow(fields)
    if not isinstance(kind, str) or kind not in SAMPLERS:
        known = ", ".join((*SAMPLERS, "FlowMatchEulerDiscreteScheduler"))
        raise CheckpointError(f"_class_name of a scheduler must be one of {known}; got {kind!r}")
    n = fields.integer("num_train_timesteps", 1000)
    start, end = fields.number("beta_start", 1e-4), fields.number("beta_end", 0.02)
    shape = fields.choice("beta_schedule", ("linear", "scaled_linear", "squaredcos_cap_v2"), "linear")
    table = {
        "linear": lambda: betas.linear(n, start, end),
        "scaled_linear": lambda: betas.scaled_linear(n, start, end),
        "squaredcos_cap_v2": lambda: betas.cosine(n),
    }[shape]()
    if fields.flag("rescale_betas_zero_snr", False):
        table = betas.rescale_zero_terminal_snr(table)
    prediction = PREDICTIONS[fields.choice("prediction_type", tuple(PREDICTIONS), "epsilon")]
    sampler = SAMPLERS[kind](fields)
    clip = None
    if kind in ("DDIMScheduler", "DDPMScheduler"):
        bound = fields.number("clip_sample_range", 1.0)
        clip = bound if fields.flag("clip_sample", True) else None
    for key in ("clip_sample", "clip_sample_range"):  # read by those two alone
        fields.take(key, None)
    times = _times(kind, n, fields)
    fields.done(FIXED)
    return Scheduler(Discrete(table), prediction, sampler, times, clip)


def _times(kind: str, n: int, fields: Fields) -> Callable[[int], Host]:
    """The grid by class, spacing and last time; see the table of steps in the documentation's parity page."""
    continuous = kind in ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")
    solver = kind in ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
    usual = "linspace" if continuous or solver else "leading"
    spacing = fields.choice("timestep_spacing", ("leading", "trailing", "linspace"), usual)
    offset = fields.integer("steps_offset", 0)
    to_one = fields.flag("set_alpha_to_one", kind != "PNDMScheduler")
    final = fields.choice("final_sigmas_type", ("zero", "sigma_min"), "zero")
    end = CLEAN if (final == "zero" if continuous or solver else to_one or kind == "DDPMScheduler") else 0.0

    def times(steps: int) -> Host:
        if spacing == "trailing":
            return grid.trailing(n, steps, end=end)
        if solver:
            # One step more, of which the last network call is left out: the walk may end at its time.
            more = grid.leading(n, steps + 1, offset) if spacing == "leading" else grid.linspace(n, steps + 1)
            return np.append(more[:steps], end)
        if spacing == "leading":
            return grid.leading(n, steps, offset, end)
        return grid.linspace(n, steps, end, whole=not continuous)

    return times


def _ddpm(fields: Fields) -> Sampler:
    kinds = {"fixed_small": Ddpm("small"), "fixed_large": Ddpm("large"), "learned_range": Ddpm("learned")}
    return kinds[fields.choice("variance_type", tuple(kinds), "fixed_small")]


def _pndm(fields: Fields) -> Sampler:
    return Pndm() if fields.flag("skip_prk_steps", False) else Pndm(warmup="runge-kutta")


def _dpm(fields: Fields) -> Sampler:
    algorithms = ("dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver")
    algorithm = fields.choice("algorithm_type", algorithms, "dpmsolver++")
    order, eta = fields.choice_of("solver_order", (1, 2, 3), 2), float(algorithm.startswith("sde"))
    slope = fields.choice("solver_type", ("midpoint", "heun", "bh1", "bh2"), "midpoint")
    lower = fields.flag("lower_order_final", True)
    make = DpmPlusMulti if algorithm.endswith("++") else DpmSolverMulti
    return make(
        order=order,
        eta=eta,
        slope="heun" if slope == "heun" else "midpoint",
        compat=order == 3,
        lower_final=None if lower else False,
    )


def _unipc(fields: Fields) -> Sampler:
    return UniPc(
        order=fields.choice_of("solver_order", (1, 2, 3), 2),
        variant="bh1" if fields.choice("solver_type", ("bh1", "bh2", "midpoint", "heun"), "bh2") == "bh1" else "bh2",
        extrapolates="data" if fields.flag("predict_x0", True) else "noise",
        lower_final=fields.flag("lower_order_final", True),
    )


SAMPLERS: Final[Mapping[str, Callable[[Fields], Sampler]]] = {
    "DDIMScheduler": lambda _: Ddim(),
    "DDPMScheduler": _ddpm,
    "PNDMScheduler": _pndm,
    "EulerDiscreteScheduler": lambda _: Euler(),
    "EulerAncestralDiscreteScheduler": lambda _: EulerAncestral(),
    "DPMSolverMultistepScheduler": _dpm,
    "UniPCMultistepScheduler": _unipc,
}


def _flow(fields: Fields) -> Scheduler:
    n, shift = fields.integer("num_train_timesteps", 1000), fields.number("shift", 1.0)
    fields.done(FIXED)

    def times(steps: int) -> Host:
        # The first and last training time, in between evenly; the least is shifted before the rest is spread.
        ends = grid.shifted(np.array([1.0, 1.0 / n]), shift)
        return np.append(grid.shifted(np.linspace(ends[0], ends[1], steps), shift), 0.0)

    return Scheduler(RectifiedFlow(), Flow(), Euler(), times, time_scale=float(n))
