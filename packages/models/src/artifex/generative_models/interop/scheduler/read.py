"""The reader of ``scheduler_config.json``."""

from collections.abc import Mapping
from typing import Final

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.config_fields import Fields
from artifex.generative_models.interop.scheduler.chain import read_chain, read_clip, read_prediction, read_threshold
from artifex.generative_models.interop.scheduler.edm import read_edm
from artifex.generative_models.interop.scheduler.flow import read_flow
from artifex.generative_models.interop.scheduler.methods import METHODS
from artifex.generative_models.interop.scheduler.own import OWN, own_fields
from artifex.generative_models.interop.scheduler.value import Scheduler
from artifex.generative_models.interop.scheduler.walks import ancestral_walk, distilled_walk, euler_walk, solver_walk
from artifex.samplers import DDPM, UniPC
from artifex.schedules import V

ANCESTORS: Final = ("DDPMScheduler", "DDIMScheduler", "DDIMInverseScheduler", "PNDMScheduler")
EDMS: Final = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
FLOWS: Final = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
SOLVERS: Final = (
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
)


def read_scheduler(config: Mapping[str, object], *, image_seq_len: int | None = None) -> Scheduler:
    """Read the fields of ``scheduler_config.json``.

    As in diffusers, a field of another class has no effect, null is the default, ``algorithm_type: deis`` is
    ``dpmsolver++`` and a ``solver_type`` of another class is the default; classes without ``sigma_min`` and
    ``sigma_max`` read them all the same when they spread noise levels; ``fixed_large_log``, which gives NaN there, is
    ``fixed_large``. ``predict_epsilon: false``, the predecessor of ``prediction_type``, is ``sample``.

    Some pipelines pass noise levels of their own to the scheduler, such as FLUX's ``grid.shifted(np.linspace(1, 1 / k,
    k), s)`` followed by 0; use them in place of the grid here.

    Args:
        config: the fields of one of the classes on the documentation's parity page.
        image_seq_len: number of tokens of an image, for ``use_dynamic_shifting``; without it a grid that depends on it
            raises a ValueError.

    Raises:
        CheckpointError: if the class, a field or a value has no counterpart here; the error names it.
    """
    kind = config.get("_class_name")
    if not isinstance(kind, str) or kind not in OWN:
        raise CheckpointError(f"_class_name of a scheduler must be one of {', '.join(OWN)}; got {kind!r}")
    fields = own_fields(kind, config)
    try:
        found = _read(kind, fields, image_seq_len)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{kind}: {error}") from None
    fields.done({})
    return found


def _read(kind: str, fields: Fields, image_seq_len: int | None) -> Scheduler:
    if kind in EDMS:
        return read_edm(kind, fields)
    if kind in FLOWS:
        return read_flow(kind, fields, image_seq_len)
    chain, threshold, clip = read_chain(kind, fields), read_threshold(fields), read_clip(kind, fields)
    flow = fields.flag("use_flow_sigmas", False)
    prediction, sampler = read_prediction(fields, flow), METHODS[kind](fields)
    if kind in SOLVERS:
        learned = fields.take("variance_type", None) in ("learned", "learned_range")
        schedule, walk = solver_walk(kind, chain, fields, flow, image_seq_len)
        if isinstance(sampler, UniPC) and not sampler.predict_x0:
            threshold = None  # it has no effect there
        scale = float(chain.steps) if flow else 1.0
        return Scheduler(schedule, prediction, sampler, walk, None, scale, threshold, learned)
    schedule = chain
    if kind in ANCESTORS:
        walk = ancestral_walk(kind, chain, fields)
    elif kind == "LCMScheduler":
        walk = distilled_walk(chain, fields)
    else:
        schedule, walk = euler_walk(kind, chain, fields, isinstance(prediction, V))
    learned = sampler == DDPM("learned_range")
    return Scheduler(schedule, prediction, sampler, walk, clip, threshold=threshold, learned_variance=learned)
