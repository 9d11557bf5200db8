"""The space of a walk: latents as a diffusion model has them, shifted and scaled, or pixels."""

from typing import Any, Final, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from artifex.backbones import AutoencoderKL
from artifex.kernels import linear_step
from artifex.kernels.ranges import check_whole
from artifex.pipelines.program import Program

Pixels = Float[Array, "b height width c"]
Latents = Float[Array, "b *z"]
OVERLAP: Final = 4
"""Tiles overlap by a fourth of their size."""


@runtime_checkable
class Space(Protocol):
    """The space in which a pipeline walks."""

    @property
    def factor(self) -> int:
        """The ratio of the sizes of picture and latents, on each side."""
        ...

    @property
    def channels(self) -> int:
        """Channels of latents."""
        ...

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of the latents of one picture."""
        ...

    def encode(
        self, pixels: Pixels, keys: Key[Array, " b"] | None = None, *, tile: int | None = None, raw: bool = False
    ) -> Latents:
        """Encode pictures.

        Args:
            pixels: in [-1, 1], both sizes divisible by ``factor``.
            keys: one for each picture, to draw from the posterior; None takes its mean.
            tile: side of the tiles, in pixels, for pictures larger than it; None encodes them whole.
            raw: whether to leave out shift and scale.
        """
        ...

    def decode(self, latents: Latents, *, tile: int | None = None) -> Pixels:
        """Decode to pixels, which may exceed [-1, 1]; ``tile`` as in ``encode``."""
        ...


class PixelSpace:
    """The pixels themselves, for networks without an autoencoder.

    Args:
        channels: of a picture.
    """

    factor: Final = 1

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """See ``Space``."""
        return height, width, self.channels

    def encode(
        self, pixels: Pixels, keys: Key[Array, " b"] | None = None, *, tile: int | None = None, raw: bool = False
    ) -> Latents:
        """The pixels."""
        return pixels

    def decode(self, latents: Latents, *, tile: int | None = None) -> Pixels:
        """The latents."""
        return latents


class LatentSpace:
    r"""An autoencoder and the scale of its latents: $(z - \mathrm{shift}) \cdot \mathrm{scale}$, by channel.

    Args:
        autoencoder: the network; its config has shift and scale.
    """

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        self.config = config = autoencoder.config
        self._graph, self.parameters = nnx.split(autoencoder)
        mean = config.latents_mean or (config.shift_factor,) * config.latent_channels
        std = config.latents_std or (1.0,) * config.latent_channels
        self._shift = jnp.asarray(mean, jnp.float32)
        self._scale = config.scaling_factor / jnp.asarray(std, jnp.float32)
        self._encode = Program(self._encoded)
        self._decode = Program(self._decoded)

    @property
    def factor(self) -> int:
        """See ``Space``."""
        return self.config.factor

    @property
    def channels(self) -> int:
        """See ``Space``."""
        return self.config.latent_channels

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """See ``Space``."""
        return height // self.factor, width // self.factor, self.channels

    def encode(
        self, pixels: Pixels, keys: Key[Array, " b"] | None = None, *, tile: int | None = None, raw: bool = False
    ) -> Latents:
        """See ``Space``."""
        out: Array = self._encode(self.parameters, pixels, keys, tile=tile, raw=raw)
        return out

    def decode(self, latents: Latents, *, tile: int | None = None) -> Pixels:
        """See ``Space``."""
        out: Array = self._decode(self.parameters, latents, tile=tile)
        return out

    def _encoded(self, parameters: Any, x: Pixels, keys: Array | None, *, tile: int | None, raw: bool) -> Latents:  # noqa: ANN401
        network = nnx.merge(self._graph, parameters, copy=True)
        if tile is not None and max(x.shape[1:3]) > tile:
            mean, logvar = network.encode_tiled(x, tile=tile, overlap=tile // OVERLAP)
        else:
            mean, logvar = network.encode(x)
        z = drawn(mean, logvar, keys)
        scaled: Array = z if raw else (z - self._shift) * self._scale
        return scaled

    def _decoded(self, parameters: Any, latents: Latents, *, tile: int | None) -> Pixels:  # noqa: ANN401
        network = nnx.merge(self._graph, parameters, copy=True)
        z = latents / self._scale + self._shift
        if tile is None or max(z.shape[1:3]) * self.factor <= tile:
            out: Array = network.decode(z)
        else:
            side = tile // self.factor
            out = network.decode_tiled(z, tile=side, overlap=side // OVERLAP)
        return out


def drawn(mean: Latents, logvar: Latents, keys: Key[Array, " b"] | None) -> Latents:
    """A draw from a posterior for each key, or its mean."""
    if keys is None:
        return mean
    noise = linear_step([jnp.zeros_like(mean)], jnp.zeros(1), noise_scale=1.0, key=keys)
    return mean + jnp.exp(0.5 * logvar) * noise


def check_tile(tile: int | None, factor: int) -> None:
    """Raise a ValueError unless tiles and their overlaps are whole latents."""
    if tile is not None:
        check_whole("tile", tile, 1)
        if tile % (OVERLAP * factor):
            raise ValueError(f"tile must be a multiple of {OVERLAP * factor} pixels, got {tile}")
