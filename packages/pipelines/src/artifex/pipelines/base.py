"""The call that all families share: conditions, one walk for each picture, decoding."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from PIL import Image

from artifex.generative_models.interop import Scheduler
from artifex.guidance import Guidance
from artifex.pipelines.condition import Condition
from artifex.pipelines.grids import named_grid
from artifex.pipelines.guide import guided
from artifex.pipelines.latents import Space, check_tile
from artifex.pipelines.options import SPECIAL, Options, Settings, one_for_each
from artifex.pipelines.pictures import read_picture, to_mask, to_pictures, to_pixels
from artifex.pipelines.program import compiling_only
from artifex.pipelines.walk import Start, Walk
from artifex.samplers import Tableau
from artifex.schedules.arrays import HostArray

Latents = Float[Array, "b *z"]
Pixels = Float[Array, "b height width c"]
DEFAULT_SIDE: Final = 64
"""Side of the latents of a network that has no ``sample_size``."""
POSTERIOR: Final = 1
"""Folded into a picture's key for the noise of its encoding."""


Prompt = str | int | None
"""A text, a class, or nothing, as the family takes it."""


@dataclass(frozen=True)
class EncodedPrompts:
    """The condition and the null condition of each prompt, of batch 1."""

    pairs: list[tuple[Condition, Condition]]


Prompts = Prompt | Sequence[Prompt] | EncodedPrompts


class Pipeline(ABC):
    """From prompts to pictures.

    Pictures are drawn one after another, or ``batch_size`` at a time, each with keys of its own: a picture depends on
    its prompt and its seed alone. Every part is compiled once for its shapes; another prompt, seed or scale reuses the
    programs.

    Args:
        network: the network that denoises, an ``nnx.Module`` called with ``(x, t, cond)``.
        scheduler: schedule, prediction, sampler and grid.
        space: pixels, or the latents of an autoencoder.
        size: height and width of the pictures in training; by default that of the network's config.

    Attributes:
        taken: the options that this family takes.
        defaults: values of options other than those of ``Settings``.
    """

    taken: ClassVar[frozenset[str]] = frozenset(Options.__annotations__) - SPECIAL
    defaults: Settings = Settings()
    strength: ClassVar[float] = 0.8
    """The default of ``strength`` with an image and without a mask."""

    def __init__(
        self,
        network: Any,  # noqa: ANN401 -- any backbone
        scheduler: Scheduler,
        space: Space,
        *,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.walk, self.space = Walk(network, scheduler), space
        self.trained_size = _trained_size(network, space.factor) if size is None else size

    def __call__(self, prompt: Prompts = None, **options: Unpack[Options]) -> list[Image.Image]:
        """Draw pictures.

        Args:
            prompt: one text or several.
            options: see ``Options``.

        Returns:
            The pictures of the first prompt, then those of the second, and so on.

        Raises:
            ValueError: for an option that is not taken, or out of range.
            OSError: if a picture can't be read.
        """
        settings = self.settings(options)
        return to_pictures(np.asarray(self.decode(self._walk(prompt, settings), tile=settings.tile)))

    def latents(self, prompt: Prompts = None, **options: Unpack[Options]) -> Latents:
        """The latents of the pictures, ``(pictures, height, width, channels)``; see ``__call__``."""
        return self._walk(prompt, self.settings(options))

    def decode(self, latents: Latents, *, tile: int | None = None) -> Pixels:
        """Decode latents one by one to pixels in [-1, 1], with overshoots."""
        check_tile(tile, self.space.factor)
        return jnp.concatenate([self.space.decode(one[None], tile=tile) for one in latents])

    def compile(self, prompt: Prompts = None, **options: Unpack[Options]) -> None:
        """Compile all programs of a call ahead of it, given the options that it will have."""
        with compiling_only():
            self(prompt, **options)

    def encode(self, prompt: Prompt | Sequence[Prompt], **options: Unpack[Options]) -> EncodedPrompts:
        """Encode prompts alone; the result takes their place in a call with the same options.

        The options that matter are ``negative``, ``size``, ``clip_skip``, ``long`` and ``weighted``.
        """
        settings = self.settings(options)
        prompts = _listed(prompt)
        negatives = one_for_each("negative", settings.negative, len(prompts), (str, type(None)))
        return EncodedPrompts(self.conditions(prompts, negatives, settings, self.size(settings, None)))

    def drop_encoders(self) -> None:  # noqa: B027 -- families without text have none
        """Free the memory of the text encoders; from then on prompts must have been encoded by ``encode``."""

    def settings(self, options: Options) -> Settings:
        """All options, checked."""
        if unknown := sorted(set(options) - self.taken):
            raise ValueError(f"options must be among {', '.join(sorted(self.taken))}; got {', '.join(unknown)}")
        settings = replace(self.defaults, **options)
        check_tile(settings.tile, self.space.factor)
        return settings

    @abstractmethod
    def conditions(
        self, prompts: list[Prompt], negatives: list[str | None], settings: Settings, size: tuple[int, int]
    ) -> list[tuple[Condition, Condition]]:
        """The condition and the null condition of each prompt, of batch 1, for pictures of ``size``."""

    def guidance(self, settings: Settings, null: Condition) -> Guidance[Condition]:
        """The guidance towards a condition."""
        return guided(settings.guidance, null, settings.rescale, self.walk.scheduler.prediction)

    def size(self, settings: Settings, image: Image.Image | None) -> tuple[int, int]:
        """Height and width in pixels: those of the call, of the image, or of training.

        Raises:
            ValueError: if the autoencoder does not divide them.
        """
        factor = self.space.factor
        height: int
        width: int
        if settings.size is not None:
            height, width = settings.size
        elif image is not None:
            height, width = (side // factor * factor for side in (image.height, image.width))
        else:
            height, width = self.trained_size
        for name, side in (("height", height), ("width", width)):
            if side < factor or side % factor:
                raise ValueError(f"{name} must be a positive multiple of {factor}, got {side}")
        return height, width

    def _walk(self, prompt: Prompts, settings: Settings) -> Latents:
        encoded = prompt if isinstance(prompt, EncodedPrompts) else None
        prompts = [] if isinstance(prompt, EncodedPrompts) else _listed(prompt)
        count = len(prompts) if encoded is None else len(encoded.pairs)
        negatives = one_for_each("negative", settings.negative, count, (str, type(None)))
        images = one_for_each("image", settings.image, count, (str, Image.Image, type(None), Path))
        pictures = [None if image is None else read_picture(image) for image in images]
        mask = None if settings.mask is None else read_picture(settings.mask, gray=True)
        for picture in pictures:
            if mask is not None and picture is not None and mask.size != picture.size:
                raise ValueError(f"mask must have the size of the image, {picture.size}, got {mask.size}")
        size = self.size(settings, pictures[0])
        strength = settings.strength
        if strength is None and pictures[0] is not None and self.edits_latents:
            strength = self.strength if mask is None else 1.0
        settings = replace(settings, strength=strength)
        tableau = self.tableau(settings)
        self._check_latents(settings, size, count)
        pairs = self.conditions(prompts, negatives, settings, size) if encoded is None else encoded.pairs
        found = []
        for index, (picture, (condition, null)) in enumerate(zip(pictures, pairs, strict=True)):
            for seeds, part in _batches(settings, index):
                begun = self.begin(settings, picture, mask, size, seeds, part)
                found.append(self._draw(tableau, settings, condition, null, begun, seeds, size))
        return jnp.concatenate(found)

    @property
    def edits_latents(self) -> bool:
        """True if a walk may begin at the latents of an image."""
        return True

    def tableau(self, settings: Settings) -> Tableau[HostArray]:
        """The table of a call."""
        grid: Any = settings.grid
        if isinstance(grid, str):
            grid = named_grid(grid, self.walk.scheduler, settings.steps)
        return self.walk.plan(
            settings.steps,
            sampler=settings.sampler,
            grid=grid,
            strength=settings.strength,
            part=(settings.begin, settings.end),
        )

    def begin(
        self,
        settings: Settings,
        picture: Image.Image | None,
        mask: Image.Image | None,
        size: tuple[int, int],
        seeds: list[int],
        latents: Latents | None,
    ) -> tuple[Start, Array | None]:
        """The start of a walk, and the latents beside its own."""
        if picture is None:
            return Start(latents=latents), None
        clean = self.encoded(to_pixels(picture, size), seeds, settings.tile)
        if mask is None:
            return Start(latents=latents, clean=clean), None
        kept = 1 - jnp.asarray(self.at_latents(to_mask(mask, size)))
        # At full strength what is painted begins in pure noise.
        clean = clean if settings.strength is not None and settings.strength < 1 else kept * clean
        return Start(latents=latents, clean=clean, known=clean, mask=kept), None

    def at_latents(self, mask: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "1 h w 1"]:
        """A mask at the size of latents."""
        return mask[None, :: self.space.factor, :: self.space.factor, None]

    def encoded(self, pixels: Float[np.ndarray, "height width 3"], seeds: Sequence[int], tile: int | None) -> Latents:
        """Latents of a picture, drawn once for each seed."""
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), POSTERIOR))(_words(seeds))
        return jnp.concatenate([self.space.encode(jnp.asarray(pixels)[None], key[None], tile=tile) for key in keys])

    def _draw(
        self,
        tableau: Tableau[HostArray],
        settings: Settings,
        condition: Condition,
        null: Condition,
        begun: tuple[Start, Array | None],
        seeds: list[int],
        size: tuple[int, int],
    ) -> Latents:
        start, beside = begun
        count = len(seeds)
        condition, null = (_repeated(replace(c, beside=beside), count) for c in (condition, null))
        shape = (count, *self.space.shape(*size))
        guidance = self.guidance(settings, null)
        latents = self.walk(tableau, guidance, condition, start, seeds, shape, settings.progress)
        if start.known is None or start.mask is None or settings.end < 1:
            return latents
        return start.mask * start.known + (1 - start.mask) * latents  # many grids end with a little noise

    def _check_latents(self, settings: Settings, size: tuple[int, int], prompts: int) -> None:
        if settings.latents is None:
            return
        shape = (prompts * settings.count, *self.space.shape(*size))
        if settings.latents.shape != shape:
            raise ValueError(f"latents must be of shape {shape}, got {settings.latents.shape}")


def _batches(settings: Settings, prompt: int) -> Iterator[tuple[list[int], Latents | None]]:
    """The seeds of the pictures that are drawn together, and their given latents."""
    for first in range(0, settings.count, settings.batch_size):
        last = min(first + settings.batch_size, settings.count)
        latents = settings.latents
        if latents is not None:
            latents = jnp.asarray(latents)[prompt * settings.count + first : prompt * settings.count + last]
        yield [settings.seed + i for i in range(first, last)], latents


def _repeated(condition: Condition, count: int) -> Condition:
    """A condition of one picture, or of all, for ``count`` pictures."""
    out: Condition = jax.tree.map(lambda a: jnp.broadcast_to(a, (count, *a.shape[1:])), condition)
    return out


def _listed(prompt: Prompt | Sequence[Prompt]) -> list[Prompt]:
    if not isinstance(prompt, str | int | Sequence | None):
        raise ValueError(f"prompt must be one or a sequence of several, got {prompt!r}")
    prompts = list(prompt) if isinstance(prompt, Sequence) and not isinstance(prompt, str) else [prompt]
    if not prompts:
        raise ValueError("prompt must be one or several, got none")
    return prompts


def _trained_size(network: Any, factor: int) -> tuple[int, int]:  # noqa: ANN401 -- any backbone
    """Height and width in pixels of ``sample_size`` in a network's config, which may lack it."""
    found = getattr(getattr(network, "config", None), "sample_size", None) or DEFAULT_SIDE
    height, width = found if isinstance(found, tuple) else (found, found)
    return factor * height, factor * width


def _words(seeds: Sequence[int]) -> Array:
    return jnp.asarray(np.asarray(seeds, np.uint32))
