"""The sampler of each class of diffusers, from its fields."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.config_fields import Fields
from artifex.generative_models.interop.scheduler.singlestep import SinglestepOnGrid
from artifex.samplers import (
    DDIM,
    DDPM,
    DEIS,
    DPM2,
    LMS,
    PNDM,
    DDIMInversion,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSDE,
    Euler,
    EulerAncestral,
    Heun,
    MultistepConsistency,
    Sampler,
    UniPC,
)
from artifex.samplers.ddpm import VarianceType

OTHERS: Final[Mapping[str, str]] = {"deis": "dpmsolver++"}
"""``algorithm_type`` of another class, and what diffusers makes of it."""


def _ddpm(fields: Fields) -> Sampler:
    kinds: Mapping[str, VarianceType] = {
        "fixed_small": "fixed_small",
        "fixed_small_log": "fixed_small",
        "fixed_large": "fixed_large",
        "fixed_large_log": "fixed_large",
        "learned_range": "learned_range",
    }
    return DDPM(kinds[fields.choice("variance_type", tuple(kinds), "fixed_small")])


def _pndm(fields: Fields) -> Sampler:
    return PNDM() if fields.flag("skip_prk_steps", False) else PNDM(warmup="runge-kutta")


def _algorithm(fields: Fields, *allowed: str) -> str:
    name = fields.choice("algorithm_type", (*allowed, *OTHERS), "dpmsolver++")
    return OTHERS.get(name, name)


def _solver_type(fields: Fields) -> Literal["midpoint", "heun"]:
    name = fields.choice("solver_type", ("midpoint", "heun", "logrho", "bh1", "bh2"), "midpoint")
    return "heun" if name == "heun" else "midpoint"


def _order(fields: Fields) -> int:
    return fields.choice_of("solver_order", (1, 2, 3), 2)


def _multi(fields: Fields) -> Sampler:
    return _multistep(fields, _algorithm(fields, "dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"))


def edm_multi(fields: Fields) -> Sampler:
    """The method of ``EDMDPMSolverMultistepScheduler``."""
    return _multistep(fields, _algorithm(fields, "dpmsolver++", "sde-dpmsolver++"))


def _multistep(fields: Fields, algorithm: str) -> Sampler:
    order, make = _order(fields), DPMSolverPPMultistep if algorithm.endswith("++") else DPMSolverMultistep
    return make(
        order=order,
        eta=float(algorithm.startswith("sde")),
        solver_type=_solver_type(fields),
        diffusers_compat=order == 3,
        lower_order_final=None if fields.flag("lower_order_final", True) else False,
        euler_at_final=fields.flag("euler_at_final", False),
    )


def _single(fields: Fields) -> Sampler:
    algorithm = _algorithm(fields, "dpmsolver++", "dpmsolver", "sde-dpmsolver++")
    return SinglestepOnGrid(
        order=_order(fields),
        predict_x0=algorithm.endswith("++"),
        eta=float(algorithm.startswith("sde")),
        solver_type=_solver_type(fields),
        lower_order_final=fields.flag("lower_order_final", False),
    )


def _unipc(fields: Fields) -> Sampler:
    if fields.take("solver_p", None) is not None:
        raise CheckpointError("solver_p must be null: no predictor but UniPC's own is supported")
    name = fields.choice("solver_type", ("bh1", "bh2", "midpoint", "heun", "logrho"), "bh2")
    return UniPC(
        order=_order(fields),
        solver_type="bh1" if name == "bh1" else "bh2",
        predict_x0=fields.flag("predict_x0", True),
        lower_order_final=fields.flag("lower_order_final", True),
        disable_corrector=fields.integers("disable_corrector", ()),
    )


def _deis(fields: Fields) -> Sampler:
    fields.choice("algorithm_type", ("deis", "dpmsolver", "dpmsolver++"), "deis")
    fields.choice("solver_type", ("logrho", "midpoint", "heun", "bh1", "bh2"), "logrho")
    lower = fields.flag("lower_order_final", True)
    return DEIS(_order(fields), "logrho", lower_order_final=None if lower else False)


METHODS: Final[Mapping[str, Callable[[Fields], Sampler]]] = {
    "DDPMScheduler": _ddpm,
    "DDIMScheduler": lambda _: DDIM(),
    "DDIMInverseScheduler": lambda _: DDIMInversion(),
    "PNDMScheduler": _pndm,
    "EulerDiscreteScheduler": lambda _: Euler(),
    "EulerAncestralDiscreteScheduler": lambda _: EulerAncestral(),
    "HeunDiscreteScheduler": lambda _: Heun("ratio"),
    "KDPM2DiscreteScheduler": lambda _: DPM2(),
    "KDPM2AncestralDiscreteScheduler": lambda _: DPM2(eta=1.0),
    "LMSDiscreteScheduler": lambda _: LMS(),
    "DPMSolverSDEScheduler": lambda _: DPMSolverPPSDE(),
    "DPMSolverMultistepScheduler": _multi,
    "DPMSolverSinglestepScheduler": _single,
    "UniPCMultistepScheduler": _unipc,
    "DEISMultistepScheduler": _deis,
    "LCMScheduler": lambda _: MultistepConsistency(),
}
"""Those that walk a chain of betas."""
