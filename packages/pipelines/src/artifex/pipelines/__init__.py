"""From a published folder and a prompt to pictures.

The names are imported at their first use, so that ``artifex --help`` starts without JAX.
"""

# ruff: noqa: F403, F405
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifex.pipelines.exports import *

__all__ = [
    "GRIDS",
    "ClassConditional",
    "ClipEncoder",
    "Condition",
    "EncodedPrompts",
    "InstructPix2Pix",
    "LatentSpace",
    "Options",
    "Pipeline",
    "PixelSpace",
    "StableDiffusion",
    "StableDiffusionXL",
    "Unconditional",
    "contact_sheet",
    "from_model",
    "load_pipeline",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module("artifex.pipelines.exports"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
