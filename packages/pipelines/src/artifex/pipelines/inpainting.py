"""Networks that may read a mask and a masked picture beside the latents."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from PIL import Image

from artifex.backbones.interop import CheckpointError
from artifex.generative_models.interop import Scheduler
from artifex.pipelines.base import Latents, Pipeline
from artifex.pipelines.latents import Space
from artifex.pipelines.options import Settings
from artifex.pipelines.pictures import to_mask, to_pixels
from artifex.pipelines.walk import Start


class InpaintingPipeline(Pipeline):
    """A pipeline that paints over a part of a picture, with any network.

    A network of as many channels as the latents paints by keeping the rest of the latents on their noisy path. One with
    twice as many and one more was trained for it, and reads the mask and the masked picture.

    Args:
        network: see ``Pipeline``.
        scheduler: see ``Pipeline``.
        space: see ``Pipeline``.

    Raises:
        CheckpointError: if the network has another number of channels.

    References: Rombach et al. 2021, https://arxiv.org/abs/2112.10752
    """

    def __init__(self, network: Any, scheduler: Scheduler, space: Space) -> None:  # noqa: ANN401 -- any backbone
        super().__init__(network, scheduler, space)
        channels, latent = network.config.in_channels, space.channels
        if channels not in (latent, 2 * latent + 1):
            raise CheckpointError(
                f"the network must take {latent} channels, or {2 * latent + 1} with mask and picture, got {channels}"
            )
        self.reads_mask = channels != latent

    def begin(
        self,
        settings: Settings,
        picture: Image.Image | None,
        mask: Image.Image | None,
        size: tuple[int, int],
        seeds: list[int],
        latents: Latents | None,
    ) -> tuple[Start, Array | None]:
        """See ``Pipeline``."""
        if not self.reads_mask:
            return super().begin(settings, picture, mask, size, seeds, latents)
        if picture is None or mask is None:
            raise ValueError("this network paints over a part of a picture: image and mask must be given")
        pixels, painted = to_pixels(picture, size), to_mask(mask, size)
        masked = self.encoded(pixels * (1 - painted[..., None]), seeds, settings.tile)
        small = jnp.asarray(self.at_latents(painted))
        beside = jnp.concatenate([jnp.broadcast_to(small, (*masked.shape[:3], 1)), masked], axis=-1)
        clean = None if settings.strength == 1 else self.encoded(pixels, seeds, settings.tile)
        return Start(latents=latents, clean=clean), beside
