"""InstructPix2Pix: a picture edited by an instruction."""

from dataclasses import replace
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array
from PIL import Image

from artifex.backbones import UNetConditional
from artifex.backbones.interop import CheckpointError
from artifex.generative_models.interop import Scheduler
from artifex.guidance import Composed, Guidance
from artifex.pipelines.base import Latents, Pipeline, Prompt
from artifex.pipelines.condition import Condition
from artifex.pipelines.latents import Space
from artifex.pipelines.options import Options, Settings
from artifex.pipelines.pictures import to_pixels
from artifex.pipelines.stable_diffusion import encode_pairs
from artifex.pipelines.text import ClipEncoder, check_features, present
from artifex.pipelines.walk import Start


class InstructPix2Pix(Pipeline):
    r"""Stable Diffusion's network with the picture to edit beside the latents, guided by text and picture.

    $$x_0(\varnothing, \varnothing) + s_I \big(x_0(I, \varnothing) - x_0(\varnothing, \varnothing)\big)
      + s_T \big(x_0(I, T) - x_0(I, \varnothing)\big)$$

    $s_T$ is the option ``guidance``, a number, and $s_I$ ``image_guidance``.

    Args:
        unet: the network, of twice as many channels as the latents.
        scheduler: schedule, prediction, sampler and grid.
        space: the autoencoder's latents.
        encoder: the text encoder.

    Raises:
        CheckpointError: if the parts don't fit each other.

    References: Brooks et al. 2022, https://arxiv.org/abs/2211.09800
    """

    taken: ClassVar = (Pipeline.taken | {"image_guidance"}) - {"mask", "strength", "rescale"}
    edits_latents: ClassVar = False

    def __init__(self, unet: UNetConditional, scheduler: Scheduler, space: Space, encoder: ClipEncoder) -> None:
        super().__init__(unet, scheduler, space)
        check_features("text_encoder", encoder.config.hidden, unet.config.context_features)
        if unet.config.in_channels != 2 * space.channels:
            raise CheckpointError(f"unet must take {2 * space.channels} channels, got {unet.config.in_channels}")
        self.encoder: ClipEncoder | None = encoder

    def settings(self, options: Options) -> Settings:
        """See ``Pipeline``."""
        found = super().settings(options)
        if found.image is None:
            raise ValueError("this network edits a picture: image must be given")
        if not isinstance(found.guidance, int | float):
            raise ValueError(f"guidance must be a number for this network, got {found.guidance!r}")
        return found

    def conditions(
        self, prompts: list[Prompt], negatives: list[str | None], settings: Settings, size: tuple[int, int]
    ) -> list[tuple[Condition, Condition]]:
        """See ``Pipeline``."""
        return encode_pairs(present(self.encoder), prompts, negatives, settings)

    def begin(
        self,
        settings: Settings,
        picture: Image.Image | None,
        mask: Image.Image | None,
        size: tuple[int, int],
        seeds: list[int],
        latents: Latents | None,
    ) -> tuple[Start, Array | None]:
        """See ``Pipeline``: the walk begins in noise, and reads the mean of the picture's latents, not scaled."""
        assert picture is not None
        pixels = jnp.asarray(to_pixels(picture, size))[None]
        return Start(latents=latents), self.space.encode(pixels, tile=settings.tile, raw=True)

    def guidance(self, settings: Settings, null: Condition) -> Guidance[Condition]:
        """See the class."""
        assert isinstance(settings.guidance, int | float)
        assert null.beside is not None
        nothing = replace(null, beside=jnp.zeros_like(null.beside))
        scale = float(settings.guidance)
        return Composed(scale, ((null, settings.image_guidance - scale),), nothing)

    def drop_encoders(self) -> None:
        """See ``Pipeline``."""
        self.encoder = None
