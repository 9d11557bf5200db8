"""The fields that each class of diffusers reads; others in its config were left by another class."""

from collections.abc import Mapping
from typing import Final

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.config_fields import Fields

CHAIN: Final = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
SPACED: Final = ("timestep_spacing", "steps_offset")
SPREAD: Final = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "sigma_min", "sigma_max")
HELD: Final = ("thresholding", "dynamic_thresholding_ratio", "sample_max_value")
CLIPPED: Final = ("clip_sample", "clip_sample_range")
ZERO_SNR: Final = ("rescale_betas_zero_snr",)
TO_ONE: Final = ("set_alpha_to_one",)
FINAL: Final = ("final_sigmas_type",)
BY_SIZE: Final = (
    "use_dynamic_shifting",
    "time_shift_type",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
)
SOLVER: Final = ("solver_order", "solver_type", "lower_order_final", "use_flow_sigmas", "flow_shift", *BY_SIZE)
DPM: Final = (*SOLVER, "algorithm_type", "lambda_min_clipped", "variance_type", *FINAL)
EDM: Final = ("sigma_min", "sigma_max", "sigma_data", "sigma_schedule", "prediction_type", "rho", *FINAL)
EULER: Final = (*CHAIN, *SPACED, *SPREAD)

OWN: Final[Mapping[str, frozenset[str]]] = {
    "DDPMScheduler": frozenset((*CHAIN, *SPACED, *HELD, *CLIPPED, *ZERO_SNR, "variance_type")),
    "DDIMScheduler": frozenset((*CHAIN, *SPACED, *HELD, *CLIPPED, *ZERO_SNR, *TO_ONE)),
    "DDIMInverseScheduler": frozenset((*CHAIN, *SPACED, *CLIPPED, *ZERO_SNR, *TO_ONE, "set_alpha_to_zero")),
    "PNDMScheduler": frozenset((*CHAIN, *SPACED, *TO_ONE, "skip_prk_steps")),
    "EulerDiscreteScheduler": frozenset((*EULER, *ZERO_SNR, *FINAL, "interpolation_type", "timestep_type")),
    "EulerAncestralDiscreteScheduler": frozenset((*CHAIN, *SPACED, *ZERO_SNR)),
    "HeunDiscreteScheduler": frozenset((*EULER, *CLIPPED)),
    "KDPM2DiscreteScheduler": frozenset(EULER),
    "KDPM2AncestralDiscreteScheduler": frozenset(EULER),
    "LMSDiscreteScheduler": frozenset(EULER),
    "DPMSolverSDEScheduler": frozenset(EULER),
    "DPMSolverMultistepScheduler": frozenset(
        (*CHAIN, *SPACED, *SPREAD, *HELD, *DPM, *ZERO_SNR, "euler_at_final", "use_lu_lambdas")
    ),
    "DPMSolverSinglestepScheduler": frozenset((*CHAIN, *SPREAD, *HELD, *DPM)),
    "UniPCMultistepScheduler": frozenset(
        (
            *(*CHAIN, *SPACED, *SPREAD, *HELD, *SOLVER, *ZERO_SNR, *FINAL),
            *("predict_x0", "disable_corrector", "solver_p", "shift_terminal"),
        )
    ),
    "DEISMultistepScheduler": frozenset((*CHAIN, *SPACED, *SPREAD, *HELD, *SOLVER, "algorithm_type")),
    "EDMEulerScheduler": frozenset(EDM),
    "EDMDPMSolverMultistepScheduler": frozenset(
        (*EDM, *HELD, "solver_order", "algorithm_type", "solver_type", "lower_order_final", "euler_at_final")
    ),
    "FlowMatchEulerDiscreteScheduler": frozenset(
        ("num_train_timesteps", "shift", "shift_terminal", "invert_sigmas", "stochastic_sampling", *SPREAD, *BY_SIZE)
    ),
    "FlowMatchHeunDiscreteScheduler": frozenset(("num_train_timesteps", "shift")),
    "LCMScheduler": frozenset((*CHAIN, *HELD, *CLIPPED, *ZERO_SNR, "original_inference_steps", "timestep_scaling")),
}
"""The fields that a class looks at. Those of its constructor that change nothing are not among them."""

KNOWN: Final = frozenset.union(
    *OWN.values(),
    frozenset(
        (
            *("noise_sampler_seed", "predict_epsilon", "tensor_format", "timestep_values", "snr_shift_scale"),
            *("predictor_order", "corrector_order", "tau_func", "scale_factors", "upscale_mode"),
        )
    ),
)
"""Every field that some scheduler of diffusers writes, today's and earlier ones'."""


def own_fields(kind: str, config: Mapping[str, object]) -> Fields:
    """The fields of ``config`` that ``kind`` reads; null is the same as absent.

    Raises:
        CheckpointError: for fields of no scheduler.
    """
    given = {key: value for key, value in config.items() if value is not None and not key.startswith("_")}
    unknown = sorted(set(given) - KNOWN)
    if unknown:
        raise CheckpointError(f"fields that are not known: {', '.join(unknown)}")
    own = {key: value for key, value in given.items() if key in OWN[kind]}
    # the predecessor of prediction_type
    if given.get("predict_epsilon") is False and "prediction_type" in OWN[kind]:
        own.setdefault("prediction_type", "sample")
    return Fields(own)
