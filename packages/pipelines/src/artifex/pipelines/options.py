"""The options of a pipeline's call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import numpy as np
from jaxtyping import Array, Float

from artifex.guidance import Guidance
from artifex.kernels.ranges import check_number, check_whole
from artifex.pipelines.condition import Condition
from artifex.pipelines.pictures import Picture
from artifex.pipelines.walk import Grid, Progress
from artifex.samplers import Sampler
from artifex.schedules.arrays import HostArray

SEEDS: Final = 2**32

SPECIAL: Final = frozenset(
    ("image_guidance", "original_size", "crop", "target_size", "aesthetic_score", "negative_aesthetic_score")
)
"""Options of some families only."""


class Options(TypedDict, total=False):
    """Keyword arguments of a pipeline; which of them a family takes is in its description.

    Attributes:
        negative: what the pictures should not show, one text for all prompts or one for each; None is nothing.
        count: pictures of each prompt, at least 1.
        seed: the first picture's seed, at least 0; picture i of a prompt depends on the prompt and ``seed + i`` alone.
        steps: steps of the sampler, at least 1.
        guidance: scale of classifier-free guidance, 1 for none; or any guidance of ``artifex.guidance``, whose missing
            null condition is the negative prompt.
        rescale: fraction of the guided output that is scaled back to the standard deviation of the conditional one,
            in [0, 1].
        sampler: a method, or its name in ``artifex.samplers.SAMPLERS``; the folder's own if absent.
        grid: times, noise first; a function from ``steps`` to them; or a name in ``artifex.pipelines.GRIDS``; the
            folder's own if absent.
        size: height and width of the pictures in pixels; that of training if absent.
        image: a picture to begin from, one for all prompts or one for each; a path or a Pillow image.
        mask: white where ``image`` is painted over, black where it is kept; of the size of ``image``.
        strength: fraction of the steps that are walked from ``image``, in (0, 1].
        begin: fraction of the noise at which the walk begins, 0 for pure noise; then ``latents`` are needed.
        end: fraction of the noise at which it ends, 1 for clean pictures.
        latents: the state in which the walk begins, ``(pictures, height, width, channels)`` of the
            latents.
        image_guidance: scale of the guidance towards ``image``, for networks that edit pictures.
        original_size: height and width that the pictures had before they were resized, as a condition of Stable
            Diffusion XL; ``size`` if absent.
        crop: top and left of the crop, likewise.
        target_size: height and width after the crop, likewise; ``size`` if absent.
        aesthetic_score: of the pictures, about 1 to 10, as a condition of the refiner.
        negative_aesthetic_score: of what the pictures should not look like, likewise.
        clip_skip: last layers of the text encoder to leave out.
        long: whether prompts longer than the encoder's window are read in several windows.
        weighted: whether ``(words:1.3)`` in a prompt is a weight.
        batch_size: pictures that are drawn together, at least 1; 1 if absent. More can be faster on an accelerator, and
            change results by rounding.
        tile: side of the tiles, in pixels, in which larger pictures are decoded.
        progress: called after each step of a picture with the number of steps done.
    """

    negative: str | Sequence[str] | None
    count: int
    seed: int
    steps: int
    guidance: float | Guidance[Condition]
    rescale: float
    sampler: str | Sampler | None
    grid: str | Grid | HostArray | None
    size: tuple[int, int] | None
    image: Picture | Sequence[Picture] | None
    mask: Picture | None
    strength: float | None
    begin: float
    end: float
    latents: Float[Array | np.ndarray, "b *z"] | None
    image_guidance: float
    original_size: tuple[int, int] | None
    crop: tuple[int, int]
    target_size: tuple[int, int] | None
    aesthetic_score: float
    negative_aesthetic_score: float
    clip_skip: int
    long: bool
    weighted: bool
    batch_size: int
    tile: int | None
    progress: Progress | None


@dataclass(frozen=True)
class Settings:
    """``Options`` with all values; the ranges of numbers are checked."""

    negative: str | Sequence[str] | None = None
    count: int = 1
    seed: int = 0
    steps: int = 50
    guidance: float | Guidance[Condition] = 7.5
    rescale: float = 0.0
    sampler: str | Sampler | None = None
    grid: str | Grid | HostArray | None = None
    size: tuple[int, int] | None = None
    image: Picture | Sequence[Picture] | None = None
    mask: Picture | None = None
    strength: float | None = None
    begin: float = 0.0
    end: float = 1.0
    latents: Float[Array | np.ndarray, "b *z"] | None = None
    image_guidance: float = 1.5
    original_size: tuple[int, int] | None = None
    crop: tuple[int, int] = (0, 0)
    target_size: tuple[int, int] | None = None
    aesthetic_score: float = 6.0
    negative_aesthetic_score: float = 2.5
    clip_skip: int = 0
    long: bool = False
    weighted: bool = False
    batch_size: int = 1
    tile: int | None = 1024
    progress: Progress | None = None

    def __post_init__(self) -> None:
        for name in ("count", "steps", "batch_size"):
            check_whole(name, getattr(self, name), 1)
        check_whole("seed", self.seed, 0, SEEDS - self.count)
        check_whole("clip_skip", self.clip_skip, 0)
        if isinstance(self.guidance, int | float):
            check_number("guidance", self.guidance)
        for name in ("image_guidance", "aesthetic_score", "negative_aesthetic_score"):
            check_number(name, getattr(self, name))
        for name in ("size", "original_size", "target_size", "crop"):
            pair = getattr(self, name)
            if pair is not None and not (isinstance(pair, tuple | list) and len(pair) == 2):
                raise ValueError(
                    f"{name} must be {'top and left' if name == 'crop' else 'height and width'}, got {pair}"
                )
            for side in pair or ():
                check_whole(name, side, 0 if name == "crop" else 1)
        check_number("rescale", self.rescale, 0, 1)
        check_number("begin", self.begin, 0, 1, "[)")
        check_number("end", self.end, 0, 1, "(]")
        if self.begin >= self.end:
            raise ValueError(f"begin must be below end, got {self.begin} and {self.end}")
        if self.strength is not None:
            check_number("strength", self.strength, 0, 1)
            if self.image is None:
                raise ValueError("strength needs an image to begin from, got none")
        if self.mask is not None and self.image is None:
            raise ValueError("mask needs an image to paint over, got none")
        if self.begin > 0 and self.latents is None:
            raise ValueError(f"begin = {self.begin} needs latents with that much noise left, got none")


def one_for_each(name: str, value: Any, count: int, kinds: tuple[type, ...]) -> list[Any]:  # noqa: ANN401 -- any option
    """A value for each of ``count`` prompts: the same for all, or one of a sequence.

    Raises:
        ValueError: for another number of values, or a value of another type.
    """
    values = [value] * count if isinstance(value, kinds) else list(value) if isinstance(value, Sequence) else None
    if values is not None and len(values) != count:
        raise ValueError(f"{name} must be one for all {count} prompts or one for each, got {len(values)}")
    if values is None or not all(isinstance(one, kinds) for one in values):
        allowed = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{name} must be of {allowed}, one or one for each prompt, got {value!r}")
    return values
