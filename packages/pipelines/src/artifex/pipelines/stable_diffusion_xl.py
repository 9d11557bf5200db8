"""Stable Diffusion XL, base and refiner."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import jax
import jax.numpy as jnp

from artifex.backbones import TextCondition, UNetConditional
from artifex.backbones.interop import CheckpointError
from artifex.generative_models.interop import Scheduler
from artifex.pipelines.base import Prompt
from artifex.pipelines.condition import Condition
from artifex.pipelines.inpainting import InpaintingPipeline
from artifex.pipelines.latents import Space
from artifex.pipelines.options import SPECIAL, Settings
from artifex.pipelines.text import ClipEncoder, check_features, common_windows, present, texts_of


class StableDiffusionXL(InpaintingPipeline):
    """Stable Diffusion XL: two text encoders (the refiner has one), and the pictures' sizes as a condition.

    Base and refiner share a walk, split at a fraction of its noise:

        latents = base.latents(prompt, steps=40, end=0.8)
        pictures = refiner(prompt, steps=40, begin=0.8, latents=latents)

    Args:
        unet: the network.
        scheduler: schedule, prediction, sampler and grid.
        space: the autoencoder's latents.
        encoders: the text encoders, the last of which gives the vector of the whole text.
        zeros_for_empty: whether no negative prompt is zeros, rather than the empty text.

    Raises:
        CheckpointError: if the parts don't fit each other.

    References: Podell et al. 2023, https://arxiv.org/abs/2307.01952
    """

    taken: ClassVar = InpaintingPipeline.taken | (SPECIAL - {"image_guidance"})
    defaults = Settings(guidance=5.0)
    strength: ClassVar = 0.3

    def __init__(
        self,
        unet: UNetConditional,
        scheduler: Scheduler,
        space: Space,
        encoders: Sequence[ClipEncoder],
        *,
        zeros_for_empty: bool = True,
    ) -> None:
        super().__init__(unet, scheduler, space)
        config = unet.config
        check_features("the text encoders", sum(e.config.hidden for e in encoders), config.context_features)
        pooled = encoders[-1].config.projection
        # A longer vector of the text makes up for fewer numbers: the two are concatenated.
        numbers = {ids: (config.pooled_features or 0) + (config.ids - ids) * config.id_features for ids in (6, 5)}
        fitting = [ids for ids, features in numbers.items() if features == pooled]
        if pooled is None or not fitting:
            raise CheckpointError(
                f"the last text encoder must have a projection to {numbers[6]}, or to {numbers[5]} with an aesthetic "
                f"score, got {pooled}"
            )
        self.takes_score = fitting[0] == 5
        self.encoders: list[ClipEncoder] | None = list(encoders)
        self.zeros_for_empty = zeros_for_empty

    def conditions(
        self, prompts: list[Prompt], negatives: list[str | None], settings: Settings, size: tuple[int, int]
    ) -> list[tuple[Condition, Condition]]:
        """See ``Pipeline``."""
        found = []
        for text, negative in zip(texts_of(prompts), negatives, strict=True):
            windows = common_windows(present(self.encoders), (text, negative or ""), settings)
            condition = self._condition(text, settings, windows, size, settings.aesthetic_score)
            if negative is None and self.zeros_for_empty:
                null = jax.tree.map(jnp.zeros_like, replace(condition, ids=None))
                null = replace(null, ids=self._ids(settings, size, settings.negative_aesthetic_score))
            else:
                null = self._condition(negative or "", settings, windows, size, settings.negative_aesthetic_score)
            found.append((Condition(condition), Condition(null)))
        return found

    def drop_encoders(self) -> None:
        """See ``Pipeline``."""
        self.encoders = None

    def _condition(
        self, text: str, settings: Settings, windows: int, size: tuple[int, int], score: float
    ) -> TextCondition:
        """The last layer but one of all encoders, side by side, and the last one's vector of the whole text."""
        skip = 1 + settings.clip_skip
        found = [e(text, settings, skip=skip, norm=False, windows=windows) for e in present(self.encoders)]
        hidden = jnp.concatenate([one.hidden for one in found], axis=-1)
        return TextCondition(hidden, found[-1].pooled, self._ids(settings, size, score))

    def _ids(self, settings: Settings, size: tuple[int, int], score: float) -> jax.Array:
        original = (*(settings.original_size or size), *settings.crop)
        last = (score,) if self.takes_score else settings.target_size or size
        return jnp.asarray([[*original, *last]], jnp.float32)
