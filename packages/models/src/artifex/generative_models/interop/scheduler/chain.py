"""The common part of the schedulers of a discrete chain: the chain, the prediction, bounds of the data."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.config_fields import Fields
from artifex.kernels import DynamicThreshold
from artifex.schedules import X0, Discrete, Epsilon, FlowVelocity, Prediction, V, betas
from artifex.schedules.arrays import HostArray

PREDICTIONS: Final[Mapping[str, Prediction]] = {
    "epsilon": Epsilon(),
    "sample": X0(),
    "original_sample": X0(),
    "v_prediction": V(),
}
LATENT: Final = (
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverSDEScheduler",
    "LCMScheduler",
)
"""Classes whose betas go from 0.00085 to 0.012 where nothing else is given."""
SHAPES: Final = ("linear", "scaled_linear", "squaredcos_cap_v2")
MORE_SHAPES: Final[Mapping[str, tuple[str, ...]]] = {
    "DDPMScheduler": ("sigmoid", "laplace"),
    "HeunDiscreteScheduler": ("exp",),
}
FLOOR: Final = 2.0**-24
r"""The value that diffusers takes for $\\bar\\alpha = 0$ where it needs a finite noise level."""


def read_chain(kind: str, fields: Fields) -> Discrete:
    """The chain of betas, float64."""
    n = fields.integer("num_train_timesteps", 1000)
    start, end = (0.00085, 0.012) if kind in LATENT else (1e-4, 0.02)
    start, end = fields.number("beta_start", start), fields.number("beta_end", end)
    allowed = (*SHAPES, *MORE_SHAPES.get(kind, ()))
    shape = fields.choice("beta_schedule", allowed, "scaled_linear" if kind == "LCMScheduler" else "linear")
    trained = fields.take("trained_betas", None)
    table = _shaped(shape, n, start, end) if trained is None else _trained(trained, n)
    if fields.flag("rescale_betas_zero_snr", False):
        table = betas.rescale_zero_terminal_snr(table)
    return Discrete(table)


def _shaped(shape: str, n: int, start: float, end: float) -> HostArray:
    if shape == "linear":
        return betas.linear(n, start, end)
    if shape == "scaled_linear":
        return betas.scaled_linear(n, start, end)
    if shape == "sigmoid":
        return betas.sigmoid(n, start, end)
    if shape == "laplace":
        return betas.from_alpha_bar(_laplace, n)
    return betas.from_alpha_bar(lambda u: np.exp(-12 * u), n) if shape == "exp" else betas.cosine(n)


def _laplace(u: HostArray) -> HostArray:
    r"""The root of a sigmoid of $\lambda$, kept finite at both ends."""
    half = -0.5 * np.copysign(1, 0.5 - u) * np.log(1 - 2 * np.abs(0.5 - u) + 1e-6)
    out: HostArray = np.sqrt(1 / (1 + np.exp(-half)))
    return out


def _trained(values: object, n: int) -> HostArray:
    try:
        table = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise CheckpointError(f"trained_betas must be a list of numbers, got {values!r}") from None
    if table.shape != (n,):
        raise CheckpointError(f"trained_betas must hold num_train_timesteps = {n} numbers, got shape {table.shape}")
    return table


def read_prediction(fields: Fields, flow: bool = False) -> Prediction:
    """The prediction, on a chain or, with ``flow``, on a straight path."""
    name = fields.choice("prediction_type", (*PREDICTIONS, "flow_prediction"), "epsilon")
    if flow and name == "v_prediction":
        raise CheckpointError("prediction_type 'v_prediction' has no meaning with use_flow_sigmas")
    if name == "flow_prediction":
        if not flow:
            raise CheckpointError("prediction_type 'flow_prediction' needs use_flow_sigmas")
        return FlowVelocity()
    return PREDICTIONS[name]


def read_clip(kind: str, fields: Fields) -> float | None:
    """The bound of clipped data."""
    bound = fields.number("clip_sample_range", 1.0)
    usual = kind in ("DDPMScheduler", "DDIMScheduler", "DDIMInverseScheduler")
    return bound if fields.flag("clip_sample", usual) else None


def read_threshold(fields: Fields) -> DynamicThreshold | None:
    """The range of dynamic thresholding."""
    quantile, ceiling = fields.number("dynamic_thresholding_ratio", 0.995), fields.number("sample_max_value", 1.0)
    return DynamicThreshold(quantile, 1.0, ceiling) if fields.flag("thresholding", False) else None


def ratios(chain: Discrete) -> HostArray:
    r"""$\sigma / \alpha$ of every step, finite at zero terminal SNR, ``(n,)``."""
    power = np.append(chain.alphas_cumprod[:-1], chain.alphas_cumprod[-1] or FLOOR)
    noise = chain.at(np.arange(chain.steps, dtype=np.float64)).sigma ** 2
    noise[-1] = min(noise[-1], 1 - power[-1])
    out: HostArray = np.sqrt(noise / power)
    return out
