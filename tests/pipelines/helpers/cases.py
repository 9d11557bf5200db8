"""Calls of small pipelines, whose results are compared with diffusers'."""

from dataclasses import dataclass, field
from typing import Any, Final

LATENT: Final[dict[str, Any]] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "steps_offset": 1,
}  # fmt: skip
DDIM: Final[dict[str, Any]] = {**LATENT, "clip_sample": False, "set_alpha_to_one": False}
SCHEDULERS: Final[dict[str, dict[str, Any]]] = {
    "ddim": {"_class_name": "DDIMScheduler", **DDIM},
    "ddim-v": {"_class_name": "DDIMScheduler", **DDIM, "prediction_type": "v_prediction"},
    "ddim-zero": {
        "_class_name": "DDIMScheduler", **DDIM, "prediction_type": "v_prediction", "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": True,
    },
    "ddim-pixels": {"_class_name": "DDIMScheduler"},
    "ddpm-pixels": {"_class_name": "DDPMScheduler"},
    "euler": {"_class_name": "EulerDiscreteScheduler", **LATENT, "timestep_spacing": "leading"},
    "euler-v": {"_class_name": "EulerDiscreteScheduler", **LATENT, "prediction_type": "v_prediction"},
    "dpm": {"_class_name": "DPMSolverMultistepScheduler", **LATENT},
    "dpm-v": {"_class_name": "DPMSolverMultistepScheduler", **LATENT, "prediction_type": "v_prediction"},
    "unipc": {"_class_name": "UniPCMultistepScheduler", **LATENT},
}  # fmt: skip
PROMPT: Final = "a lighthouse at the house, dawn"
NEGATIVE: Final = "the light"


@dataclass(frozen=True)
class Case:
    """A folder, a scheduler, and the options of a call.

    Attributes:
        folder: a name in ``folders.FOLDERS``.
        scheduler: a name in ``SCHEDULERS``.
        options: of the call, as ``Options``; ``image`` and ``mask`` are sizes of pictures, ``class`` is a class.
    """

    folder: str
    scheduler: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The folder, the scheduler and all options."""
        return "-".join([self.folder, self.scheduler, *(f"{k}={v}" for k, v in self.options.items())]).replace(" ", "")


def case(folder: str, scheduler: str, steps: int = 4, **options: Any) -> Case:  # noqa: ANN401
    """A case."""
    return Case(folder, scheduler, {"steps": steps, **options})


SIZE: Final = (16, 24)
CASES: Final = [
    # Text to image: each solver at 1, 4 and 20 steps; epsilon and v; guidance, negative prompt, rescale, clip-skip.
    *(case("sd", s, n, guidance=5.0) for s in ("ddim", "euler", "dpm", "unipc") for n in (1, 4, 20)),
    case("sd", "dpm", 4, guidance=1.0),
    case("sd", "ddim", 4, guidance=1.0),
    case("sd", "euler", 4, guidance=7.5, negative=NEGATIVE, rescale=0.5),
    case("sd", "ddim", 4, guidance=1.0, clip_skip=1),
    case("sd", "unipc", 4, guidance=5.0, size=SIZE),
    case("sd", "ddim-v", 4, guidance=5.0, negative=NEGATIVE),
    case("sd", "ddim-zero", 4, guidance=5.0, rescale=0.7),
    case("sd", "euler-v", 4, guidance=5.0),
    case("sd", "dpm-v", 4, guidance=5.0, rescale=0.7),
    # Image to image.
    case("sd", "ddim", 5, guidance=5.0, image=(16, 16), strength=0.8),
    case("sd", "euler", 10, guidance=5.0, image=(16, 16), strength=0.3),
    case("sd", "dpm", 5, guidance=5.0, image=SIZE, strength=0.5, negative=NEGATIVE),
    case("sd", "unipc", 5, guidance=1.0, image=(16, 16), strength=0.8),
    # Inpainting by the mask, and by a network that reads it.
    case("sd", "ddim", 5, guidance=5.0, image=(16, 16), mask=(16, 16), strength=0.8),
    case("sd", "euler", 5, guidance=5.0, image=(16, 16), mask=(16, 16), strength=0.8),
    case("sd", "dpm", 5, guidance=1.0, image=(16, 16), mask=(16, 16), strength=0.6),
    case("sd", "unipc", 5, guidance=5.0, image=(32, 24), mask=(32, 24), strength=0.8, size=(16, 16)),
    case("sd-inpaint", "ddim", 4, guidance=5.0, image=(16, 16), mask=(16, 16), strength=1.0),
    case("sd-inpaint", "euler", 5, guidance=5.0, image=(16, 16), mask=(16, 16), strength=0.6, negative=NEGATIVE),
    # InstructPix2Pix.
    case("pix2pix", "ddim", 4, guidance=5.0, image_guidance=1.5, image=(16, 16)),
    case("pix2pix", "euler", 4, guidance=5.0, image_guidance=1.2, image=SIZE, negative=NEGATIVE),
    # Stable Diffusion XL: empty prompts as zeros or as texts, sizes, rescale, modes.
    case("xl", "euler", 4, guidance=5.0),
    case("xl", "euler", 4, guidance=5.0, negative=NEGATIVE, original_size=(40, 30), crop=(3, 5), target_size=(20, 18)),
    case("xl", "ddim", 4, guidance=5.0, rescale=0.6, clip_skip=1),
    case("xl", "dpm", 4, guidance=1.0, size=SIZE),
    case("xl", "unipc", 4, guidance=5.0),
    case("xl-texts", "euler", 4, guidance=5.0),
    case("xl", "euler", 5, guidance=5.0, image=(16, 16), strength=0.4),
    case("xl", "euler", 5, guidance=5.0, image=(16, 16), mask=(16, 16), strength=0.8),
    case("xl-inpaint", "euler", 4, guidance=5.0, image=(16, 16), mask=(16, 16), strength=1.0),
    # The refiner, and base and refiner in one walk.
    case("xl-refiner", "euler", 5, guidance=5.0, image=(16, 16), strength=0.4, negative=NEGATIVE, aesthetic_score=8.0),
    case("xl-refiner", "ddim", 5, guidance=5.0, image=(16, 16), strength=0.4),
    case("xl", "euler", 10, guidance=5.0, end=0.8),
    case("xl-refiner", "euler", 10, guidance=5.0, begin=0.8),
    case("xl", "dpm", 10, guidance=5.0, end=0.8),
    # Without text.
    case("ddpm", "ddpm-pixels", 4),
    case("ddpm", "ddim-pixels", 4),
    case("dit", "ddim", 4, guidance=4.0, cls=5),
    case("dit", "dpm", 4, guidance=1.0, cls=17),
]
