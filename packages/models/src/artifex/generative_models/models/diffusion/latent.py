r"""Latent diffusion: an autoencoder, and a diffusion model of its latents.

$$q(z \mid x) = \mathcal N(\mu(x), e^{\ell(x)}),\qquad z' = s\, z,\quad z'_t = \alpha_t z' + \sigma_t \epsilon$$

with $s$ the ``scale_factor``. Outside of the walk latents are unscaled.

References: Rombach et al. 2022, https://arxiv.org/abs/2112.10752
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from math import gcd, prod
from typing import Any, ClassVar, Literal, Protocol, Unpack, overload, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.backbones import AutoencoderKL, AutoencoderKLConfig
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel, Outputs, Time
from artifex.generative_models.models.diffusion.networks import BackboneFn, NetworkOptions, check_activation, network
from artifex.generative_models.models.diffusion.parameters import LatentParameters, Parameters, parse
from artifex.generative_models.models.diffusion.walk import SampleOptions, State, check_options, draw
from artifex.samplers import sample, sample_trajectory
from artifex.schedules import NoiseLevel, add_noise

X = Float[Array, "b *d"]
Z = Float[Array, "b *z"]
Flat = Float[Array, "b z"]
Stage = Literal["autoencoder", "diffusion", "joint"]


@runtime_checkable
class Autoencoder(Protocol):
    """Data to a Gaussian over latents, and back; neither side is scaled."""

    def encode(self, x: X) -> tuple[Z, Z]:
        """Mean and log-variance of the latent of ``x``."""
        ...

    def decode(self, z: Z) -> X:
        """The data of a latent."""
        ...


AutoencoderFn = Callable[..., Autoencoder]
"""Called as ``autoencoder_fn(config, rngs=rngs)``."""


class LatentOptions(NetworkOptions, total=False):
    """What the constructor of ``LDMModel`` takes beside its own arguments.

    Attributes:
        backbone_fn: as for other models; its config's ``input_dim`` is the latent's shape.
        autoencoder_fn: makes the autoencoder, called as ``autoencoder_fn(config, rngs=rngs)``.
    """

    autoencoder_fn: AutoencoderFn | None


class SimpleEncoder(nnx.Module):
    """An MLP from data to mean and log-variance of a flat latent.

    Args:
        input_dim: shape of one sample.
        latent_dim: numbers of a latent.
        hidden_dims: widths of the hidden layers, in order; 32, 64 where None.
        rngs: initialises the layers.
    """

    def __init__(
        self, input_dim: tuple[int, ...], latent_dim: int, hidden_dims: Sequence[int] | None = None, *, rngs: nnx.Rngs
    ) -> None:
        widths = (prod(input_dim), *((32, 64) if hidden_dims is None else hidden_dims), 2 * latent_dim)
        self.input_dim = tuple(input_dim)
        self.layers = nnx.List(_layers(widths, rngs))

    def __call__(self, x: X) -> tuple[Flat, Flat]:
        """Mean and log-variance, ``(batch, latent_dim)`` each; the log-variance is kept in [-30, 20].

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
        latent_dim: numbers of a latent.
        output_dim: shape of one sample.
        hidden_dims: widths of the hidden layers, in order; 64, 32 where None.
        rngs: initialises the layers.
    """

    def __init__(
        self, latent_dim: int, output_dim: tuple[int, ...], hidden_dims: Sequence[int] | None = None, *, rngs: nnx.Rngs
    ) -> None:
        self.output_dim = tuple(output_dim)
        self.latent_dim = latent_dim
        widths = (latent_dim, *((64, 32) if hidden_dims is None else hidden_dims), prod(output_dim))
        self.layers = nnx.List(_layers(widths, rngs))

    def __call__(self, z: Flat) -> X:
        """The data, ``(batch, *output_dim)``.

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
    """``SimpleEncoder`` and ``SimpleDecoder`` together."""

    def __init__(self, encoder: SimpleEncoder, decoder: SimpleDecoder) -> None:
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: X) -> tuple[Flat, Flat]:
        """See ``SimpleEncoder``."""
        return self.encoder(x)

    def decode(self, z: Flat) -> X:
        """See ``SimpleDecoder``."""
        return self.decoder(z)


def autoencoder(config: ModelConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """The autoencoder that ``LatentParameters`` describe.

    Raises:
        ValueError: for settings that it does not have, or data that it can't take.
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


class LDMModel(DiffusionModel):
    """A diffusion model of an autoencoder's latents.

    Its process runs on scaled latents: these are what ``q_sample``, ``p_sample``, ``predict_start_from_noise`` and
    ``initial_noise`` mean. Calling the model and its loss are on data, and ``sample`` and ``generate`` give data.

    Args:
        config: shape of the data and parameters; see ``parameters.LatentParameters``.
        rngs: as in ``DiffusionModel``.
        **kwargs: see ``LatentOptions``; ``networks.network`` says what the default network of the latents is.

    Attributes:
        autoencoder: with ``encode`` and ``decode``.
        latent_shape: of one latent.

    References: Rombach et al. 2022, https://arxiv.org/abs/2112.10752
    """

    parameters_type: ClassVar[type[Parameters]] = LatentParameters
    parameters: LatentParameters
    limit: ClassVar[float | None] = None

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, **kwargs: Unpack[LatentOptions]) -> None:
        check_options(kwargs, LatentOptions.__annotations__)
        self.autoencoder = (kwargs.get("autoencoder_fn") or autoencoder)(config, rngs=rngs)
        self.latent_shape = _latent_shape(self.autoencoder, config.input_dim)
        inner = config.model_copy(update={"input_dim": self.latent_shape, "output_dim": None, "activation": None})
        backbone_fn: BackboneFn = kwargs.get("backbone_fn") or network
        super().__init__(config, lambda _, rngs: backbone_fn(inner, rngs=rngs), rngs=rngs)

    def encode(self, x: X) -> tuple[Z, Z]:
        """Mean and log-variance of the latents of ``x``, unscaled: ``(batch, *latent_shape)`` each."""
        return self.autoencoder.encode(x)

    def decode(self, z: Z) -> X:
        """The data of unscaled latents."""
        return self.autoencoder.decode(z)

    def reparameterize(self, mean: Z, logvar: Z, *, rngs: nnx.Rngs) -> Z:
        r"""A draw of the latent: $\mu + e^{\ell / 2} \epsilon$.

        Args:
            mean: of the latent.
            logvar: logarithm of its variance, of the same shape.
            rngs: draws the noise.
        """
        return mean + jnp.exp(logvar / 2) * jax.random.normal(draw(rngs, "sample"), mean.shape, mean.dtype)

    def __call__(
        self,
        x: X,
        timesteps: Time,
        *,
        rngs: nnx.Rngs | None = None,
        training: bool = False,
        **kwargs: Any,  # noqa: ANN401 -- the network's own
    ) -> Outputs:
        """One pass of all parts over clean data: encoded, decoded, and its latents start_from and looked at.

        The diffusion's gradient does not reach the autoencoder, which it would teach latents that are easy to predict.

        Args:
            x: clean data, ``(batch, *input_dim)``.
            timesteps: one, or one a sample.
            rngs: draws latents, noise and which labels are dropped; the model's own where None.
            training: as in ``DiffusionModel``.
            **kwargs: as in ``DiffusionModel``.

        Returns:
            ``predicted_noise``, ``noise``, ``x_t`` and ``timesteps`` of the scaled latents; ``latents``, unscaled, with
            their ``mean`` and ``logvar``, and ``reconstruction``, data again.
        """
        rngs = rngs or self.rngs
        mean, logvar = self.encode(x)
        latents = self.reparameterize(mean, logvar, rngs=rngs)
        state = jax.lax.stop_gradient(latents) * self.parameters.scale_factor
        x_t, noise = add_noise(state, self._level(timesteps, state), draw(rngs, "sample"))
        seen = super().__call__(x_t, timesteps, rngs=rngs, training=training, **kwargs)
        reconstruction = self.decode(latents)
        own = {"latents": latents, "mean": mean, "logvar": logvar, "reconstruction": reconstruction}
        return {**seen, "noise": noise, **own}

    def loss_fn(
        self,
        batch: Array | Mapping[str, Array],
        model_outputs: Mapping[str, Array],
        *,
        rngs: nnx.Rngs | None = None,
        stage: Stage = "joint",
        **kwargs: object,
    ) -> Outputs:
        r"""The autoencoder's terms and the diffusion's.

        $$L_\mathrm{autoencoder} = \tfrac1d \lVert \hat x - x \rVert^2
          + \tfrac{w}{d}\, \mathrm{KL}\big(q(z \mid x)\, \Vert\, \mathcal N(0, I)\big),\qquad
          L_\mathrm{diffusion} = \mathrm{mean}\, \lVert \epsilon - \epsilon_\theta \rVert^2$$

        Args:
            batch: clean data with d numbers a sample, or a mapping with them at ``"x"``, which may hold the noise of
                the scaled latents at ``"noise"``; else it is that of ``model_outputs``.
            model_outputs: what calling the model gave.
            rngs: accepted so that all methods are called alike.
            stage: what is trained: the ``"autoencoder"`` alone, the ``"diffusion"`` alone, or both.
            **kwargs: not read.

        Returns:
            ``loss``, the terms of the stage; ``mse``, the diffusion's; ``reconstruction`` and ``kl``, the other's.

        Raises:
            ValueError: for an unknown stage.
        """
        if stage not in ("autoencoder", "diffusion", "joint"):
            raise ValueError(f"stage must be 'autoencoder', 'diffusion' or 'joint', got {stage!r}")
        x = batch["x"] if isinstance(batch, Mapping) else batch
        given = {"noise": batch["noise"]} if isinstance(batch, Mapping) and "noise" in batch else {}
        mse = super().loss_fn(given, model_outputs)["mse"]
        reconstruction = jnp.mean(jnp.square(model_outputs["reconstruction"] - x))
        mean, logvar = model_outputs["mean"], model_outputs["logvar"]
        kl = jnp.sum(jnp.square(mean) + jnp.exp(logvar) - 1 - logvar) / (2 * x.size)
        of_autoencoder = reconstruction + self.parameters.kl_weight * kl
        loss = {"autoencoder": of_autoencoder, "diffusion": mse, "joint": of_autoencoder + mse}[stage]
        return {"loss": loss, "mse": mse, "reconstruction": reconstruction, "kl": kl}

    @overload
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        return_trajectory: Literal[False] = False,
        **kwargs: Unpack[SampleOptions],
    ) -> X: ...
    @overload
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        return_trajectory: Literal[True],
        **kwargs: Unpack[SampleOptions],
    ) -> list[X]: ...
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        return_trajectory: bool = False,
        **kwargs: Unpack[SampleOptions],
    ) -> X | list[X]:
        """Samples from noise in latents, along the whole chain, decoded.

        Args:
            num_samples: how many, at least 1.
            rngs: draws all noise; the model's own where None.
            return_trajectory: whether the state after every step, decoded, is given as well.
            **kwargs: see ``walk.SampleOptions``; latents have no range that they could be clipped to.

        Returns:
            ``(num_samples, *input_dim)``, or a list of ``noise_steps`` such arrays, of which the last are the samples.

        Raises:
            ValueError: as ``generate``.
        """
        sampler, times = self._method()
        walk = self._walk(sampler, times, num_samples, None, rngs, kwargs)
        return list(self._decoded(sample_trajectory(*walk)[1])) if return_trajectory else self._finish(sample(*walk))

    def _state(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.latent_shape if shape == self.config.input_dim else _latent_shape(self.autoencoder, shape)

    def _finish(self, x: Z) -> X:
        return self._decoded(x[None])[0]

    def _decoded(self, states: Float[Array, "m b *z"]) -> Float[Array, "m b *d"]:
        """The data of scaled latents, one batch after the other."""
        graphdef, state = nnx.split(self.autoencoder)
        out: Array = _decode(graphdef, state, states, jnp.asarray(self.parameters.scale_factor))
        return out

    def _level(self, t: Time, x: Z) -> NoiseLevel[Array]:
        if x.ndim != len(self.latent_shape) + 1 or x.shape[-1] != self.latent_shape[-1]:
            raise ValueError(
                f"the process runs on scaled latents, of shape (batch, *{self.latent_shape}), got {x.shape}"
            )
        return super()._level(t, x)


@partial(jax.jit, static_argnums=0)
def _decode(
    graphdef: nnx.GraphDef[Autoencoder], state: State, states: Float[Array, "m b *z"], scale: Float[Array, ""]
) -> Float[Array, "m b *d"]:
    decoder: Autoencoder = nnx.merge(graphdef, state, copy=True)
    out: Array = jax.lax.map(lambda z: decoder.decode(z / scale), states)
    return out


def _latent_shape(model: Autoencoder, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the latent of a sample of ``shape``."""
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)  # type: ignore[no-untyped-call]
    out: tuple[int, ...] = jax.eval_shape(model.encode, x)[0].shape[1:]
    return out
