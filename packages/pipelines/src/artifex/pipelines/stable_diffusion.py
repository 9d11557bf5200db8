"""Stable Diffusion 1 and 2: text to image, image to image, inpainting."""

from artifex.backbones import TextCondition, UNetConditional
from artifex.generative_models.interop import Scheduler
from artifex.pipelines.base import Prompt
from artifex.pipelines.condition import Condition
from artifex.pipelines.inpainting import InpaintingPipeline
from artifex.pipelines.latents import Space
from artifex.pipelines.options import Settings
from artifex.pipelines.text import ClipEncoder, check_features, common_windows, present, texts_of


class StableDiffusion(InpaintingPipeline):
    """Stable Diffusion 1 and 2.

    Args:
        unet: the network.
        scheduler: schedule, prediction, sampler and grid.
        space: the autoencoder's latents.
        encoder: the text encoder.

    Raises:
        CheckpointError: if the parts don't fit each other.

    References: Rombach et al. 2021, https://arxiv.org/abs/2112.10752
    """

    def __init__(self, unet: UNetConditional, scheduler: Scheduler, space: Space, encoder: ClipEncoder) -> None:
        super().__init__(unet, scheduler, space)
        check_features("text_encoder", encoder.config.hidden, unet.config.context_features)
        self.encoder: ClipEncoder | None = encoder

    def conditions(
        self, prompts: list[Prompt], negatives: list[str | None], settings: Settings, size: tuple[int, int]
    ) -> list[tuple[Condition, Condition]]:
        """See ``Pipeline``."""
        return encode_pairs(present(self.encoder), prompts, negatives, settings)

    def drop_encoders(self) -> None:
        """See ``Pipeline``."""
        self.encoder = None


def encode_pairs(
    encoder: ClipEncoder, prompts: list[Prompt], negatives: list[str | None], settings: Settings
) -> list[tuple[Condition, Condition]]:
    """The conditions of prompts and of their negative prompts, both in as many windows as the longer one takes."""

    def encoded(text: str, windows: int) -> Condition:
        return Condition(TextCondition(encoder(text, settings, skip=settings.clip_skip, windows=windows).hidden))

    pairs = [(text, negative or "") for text, negative in zip(texts_of(prompts), negatives, strict=True)]
    windows = [common_windows([encoder], pair, settings) for pair in pairs]
    return [(encoded(text, n), encoded(negative, n)) for (text, negative), n in zip(pairs, windows, strict=True)]
