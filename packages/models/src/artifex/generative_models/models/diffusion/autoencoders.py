"""Autoencoders of ``LDMModel``: between data and a Gaussian over unscaled latents."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import gcd, prod
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.backbones import AutoencoderKL, AutoencoderKLConfig
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.networks import check_activation
from artifex.generative_models.models.diffusion.parameters import LatentParameters, parse

X = Float[Array, "b *d"]
Z = Float[Array, "b *z"]
Flat = Float[Array, "b z"]


@runtime_checkable
class Autoencoder(Protocol):
    """Data to a Gaussian over latents, and back."""

    def encode(self, x: X) -> tuple[Z, Z]:
        """Return mean and log-variance of the latent of ``x``."""
        ...

    def decode(self, z: Z) -> X:
        """Return the data of a latent."""
        ...


AutoencoderFn = Callable[..., Autoencoder]
"""Called as ``autoencoder_fn(config, rngs=rngs)``."""


class SimpleEncoder(nnx.Module):
    """An MLP from data to mean and log-variance of a flat latent.

    Args:
        input_dim: shape of one sample.
        latent_dim: size of a latent.
        hidden_dims: widths of the hidden layers, in order; 32, 64 if None.
        rngs: initializes the layers.
    """

    def __init__(
        self, input_dim: tuple[int, ...], latent_dim: int, hidden_dims: Sequence[int] | None = None, *, rngs: nnx.Rngs
    ) -> None:
        widths = (prod(input_dim), *((32, 64) if hidden_dims is None else hidden_dims), 2 * latent_dim)
        self.input_dim = tuple(input_dim)
        self.layers = nnx.List(_layers(widths, rngs))

    def __call__(self, x: X) -> tuple[Flat, Flat]:
        """Return mean and log-variance, ``(batch, latent_dim)`` each; the log-variance is clipped to [-30, 20].

        Raises:
            ValueError: if ``x`` is not of shape ``(batch, *input_dim)``.
        """
        if x.shape[1:] != self.input_dim:
            raise ValueError(f"x must be of shape (batch, *{self.input_dim}), got {x.shape}")
        mean, logvar = jnp.split(_run(self.layers, x.reshape(x.shape[0], -1)), 2, axis=-1)
        return mean, jnp.clip(logvar, -30, 20)


class SimpleDecoder(nnx.Module):
    """An MLP from a flat latent to data.

    Args:
        latent_dim: size of a latent.
        output_dim: shape of one sample.
        hidden_dims: widths of the hidden layers, in order; 64, 32 if None.
        rngs: initializes the layers.
    """

    def __init__(
        self, latent_dim: int, output_dim: tuple[int, ...], hidden_dims: Sequence[int] | None = None, *, rngs: nnx.Rngs
    ) -> None:
        self.output_dim = tuple(output_dim)
        self.latent_dim = latent_dim
        widths = (latent_dim, *((64, 32) if hidden_dims is None else hidden_dims), prod(output_dim))
        self.layers = nnx.List(_layers(widths, rngs))

    def __call__(self, z: Flat) -> X:
        """Return the data, ``(batch, *output_dim)``.

        Raises:
            ValueError: if ``z`` is not of shape ``(batch, latent_dim)``.
        """
        if z.shape[1:] != (self.latent_dim,):
            raise ValueError(f"z must be of shape (batch, {self.latent_dim}), got {z.shape}")
        return _run(self.layers, z).reshape(z.shape[0], *self.output_dim)


def _layers(widths: tuple[int, ...], rngs: nnx.Rngs) -> list[nnx.Linear]:
    if min(widths) < 1:
        raise ValueError(f"all widths must be at least 1, got {widths}")
    return [nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(widths)]


def _run(layers: Iterable[nnx.Linear], x: Flat) -> Float[Array, "b y"]:
    *hidden, last = layers
    for layer in hidden:
        x = nnx.silu(layer(x))
    out: Array = last(x)
    return out


class SimpleAutoencoder(nnx.Module):
    """A ``SimpleEncoder`` with a ``SimpleDecoder``."""

    def __init__(self, encoder: SimpleEncoder, decoder: SimpleDecoder) -> None:
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: X) -> tuple[Flat, Flat]:
        """See ``SimpleEncoder``."""
        return self.encoder(x)

    def decode(self, z: Flat) -> X:
        """See ``SimpleDecoder``."""
        return self.decoder(z)


def autoencoder(config: ModelConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """The default autoencoder, from ``LatentParameters``.

    Raises:
        ValueError: for unsupported settings or shapes of data.
    """
    p = parse(LatentParameters, config)
    check_activation(config, "silu", "swish")
    if p.encoder_type == "simple":
        return SimpleAutoencoder(
            SimpleEncoder(config.input_dim, p.latent_dim, p.encoder_hidden_dims, rngs=rngs),
            SimpleDecoder(p.latent_dim, config.input_dim, p.decoder_hidden_dims, rngs=rngs),
        )
    if len(config.input_dim) != 3:
        raise ValueError(f"input_dim must be (H, W, C) for encoder_type 'vae', got {config.input_dim}")
    shape = AutoencoderKLConfig(
        in_channels=config.input_dim[-1],
        latent_channels=p.latent_dim,
        channels=p.encoder_hidden_dims,
        num_res_blocks=1,
        groups=gcd(32, *p.encoder_hidden_dims),
    )
    return AutoencoderKL(shape, rngs=rngs)


def latent_shape(model: Autoencoder, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the latent of a sample of ``shape``."""
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)  # type: ignore[no-untyped-call]
    out: tuple[int, ...] = jax.eval_shape(model.encode, x)[0].shape[1:]
    return out
