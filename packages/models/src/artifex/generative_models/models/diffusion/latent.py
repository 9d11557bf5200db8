r"""Latent diffusion: a diffusion model of the latents of an autoencoder.

$$q(z \mid x) = \mathcal N(\mu(x), e^{\ell(x)}),\qquad z' = s\, z,\quad z'_t = \alpha_t z' + \sigma_t \epsilon$$

with $s$ the ``scale_factor``. Only the diffusion process sees scaled latents.

References: Rombach et al. 2022, https://arxiv.org/abs/2112.10752
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal, Unpack, overload

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.backbones.functional import State
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.autoencoders import (
    Autoencoder,
    AutoencoderFn,
    X,
    Z,
    autoencoder,
    latent_shape,
)
from artifex.generative_models.models.diffusion.autoencoders import SimpleDecoder as SimpleDecoder
from artifex.generative_models.models.diffusion.autoencoders import SimpleEncoder as SimpleEncoder
from artifex.generative_models.models.diffusion.base import DiffusionModel, Outputs
from artifex.generative_models.models.diffusion.checks import check_options
from artifex.generative_models.models.diffusion.networks import BackboneFn, NetworkOptions, network
from artifex.generative_models.models.diffusion.parameters import LatentParameters, Parameters
from artifex.generative_models.models.diffusion.process import Time
from artifex.generative_models.models.diffusion.rngs import next_key
from artifex.generative_models.models.diffusion.sampling import SampleOptions
from artifex.samplers import sample, sample_trajectory
from artifex.schedules import NoiseLevel, add_noise

Stage = Literal["autoencoder", "diffusion", "joint"]


class LatentOptions(NetworkOptions, total=False):
    """Keyword arguments of the constructor of ``LDMModel``.

    Attributes:
        backbone_fn: as of other models; its config's ``input_dim`` is the latent's shape.
        autoencoder_fn: makes the autoencoder, called as ``autoencoder_fn(config, rngs=rngs)``.
    """

    autoencoder_fn: AutoencoderFn | None


class LDMModel(DiffusionModel):
    """A diffusion model of an autoencoder's latents.

    ``q_sample``, ``p_sample``, ``predict_start_from_noise`` and ``initial_noise`` are of scaled latents. Calling the
    model and its loss take data, and ``sample`` and ``generate`` return data.

    Args:
        config: shape of the data and parameters; see ``parameters.LatentParameters``.
        rngs: as in ``DiffusionModel``.
        **kwargs: see ``LatentOptions``; the default network of the latents is ``networks.network``.

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
        self.latent_shape = latent_shape(self.autoencoder, config.input_dim)
        inner = config.model_copy(update={"input_dim": self.latent_shape, "output_dim": None, "activation": None})
        backbone_fn: BackboneFn = kwargs.get("backbone_fn") or network
        super().__init__(config, lambda _, rngs: backbone_fn(inner, rngs=rngs), rngs=rngs)

    def encode(self, x: X) -> tuple[Z, Z]:
        """Return mean and log-variance of the unscaled latents of ``x``, ``(batch, *latent_shape)`` each."""
        return self.autoencoder.encode(x)

    def decode(self, z: Z) -> X:
        """Return the data of unscaled latents."""
        return self.autoencoder.decode(z)

    def reparameterize(self, mean: Z, logvar: Z, *, rngs: nnx.Rngs) -> Z:
        r"""Draw the latent: $\mu + e^{\ell / 2} \epsilon$.

        Args:
            mean: of the latent.
            logvar: log-variance, of the same shape.
            rngs: draws the noise.
        """
        return mean + jnp.exp(logvar / 2) * jax.random.normal(next_key(rngs, "sample"), mean.shape, mean.dtype)

    def __call__(
        self,
        x: X,
        timesteps: Time,
        *,
        rngs: nnx.Rngs | None = None,
        training: bool = False,
        **kwargs: Any,  # noqa: ANN401 -- the network's own
    ) -> Outputs:
        """Encode clean data, decode it, and predict the noise in its noised latents.

        The diffusion's gradient is stopped before the autoencoder, whose latents would collapse to what is easy to
        predict.

        Args:
            x: clean data, ``(batch, *input_dim)``.
            timesteps: one, or one per sample.
            rngs: draws latents, noise and which labels are dropped; the model's own if None.
            training: as in ``DiffusionModel``.
            **kwargs: as in ``DiffusionModel``.

        Returns:
            ``predicted_noise``, ``noise``, ``x_t`` and ``timesteps`` of the scaled latents; ``latents``, unscaled, with
            their ``mean`` and ``logvar``, and ``reconstruction``, the decoded data.
        """
        rngs = rngs or self.rngs
        mean, logvar = self.encode(x)
        latents = self.reparameterize(mean, logvar, rngs=rngs)
        state = jax.lax.stop_gradient(latents) * self.parameters.scale_factor
        x_t, noise = add_noise(state, self.level(timesteps, state), next_key(rngs, "sample"))
        predicted = super().__call__(x_t, timesteps, rngs=rngs, training=training, **kwargs)
        reconstruction = self.decode(latents)
        own = {"latents": latents, "mean": mean, "logvar": logvar, "reconstruction": reconstruction}
        return {**predicted, "noise": noise, **own}

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
            batch: clean data with d elements per sample, or a mapping with it as ``"x"``, and optionally the noise of
                the scaled latents as ``"noise"``, by default that of ``model_outputs``.
            model_outputs: the outputs of calling the model.
            rngs: not used.
            stage: the terms in ``loss``: those of the ``"autoencoder"``, of the ``"diffusion"``, or both.
            **kwargs: not used.

        Returns:
            ``loss``, the terms of the stage; ``mse``, the diffusion's; ``reconstruction`` and ``kl``, the
            autoencoder's.

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
        autoencoder_loss = reconstruction + self.parameters.kl_weight * kl
        loss = {"autoencoder": autoencoder_loss, "diffusion": mse, "joint": autoencoder_loss + mse}[stage]
        return {"loss": loss, "mse": mse, "reconstruction": reconstruction, "kl": kl}

    @overload
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        return_trajectory: Literal[False] = False,
        clip_denoised: bool = True,
        **kwargs: Unpack[SampleOptions],
    ) -> X: ...
    @overload
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        return_trajectory: Literal[True],
        clip_denoised: bool = True,
        **kwargs: Unpack[SampleOptions],
    ) -> list[X]: ...
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        return_trajectory: bool = False,
        clip_denoised: bool = True,
        **kwargs: Unpack[SampleOptions],
    ) -> X | list[X]:
        """Sample latents from noise along the whole chain, and decode them.

        Args:
            num_samples: number of samples, at least 1.
            rngs: draws all noise; the model's own if None.
            return_trajectory: return the decoded state after every step.
            clip_denoised: no effect; latents are unbounded.
            **kwargs: see ``sampling.SampleOptions``.

        Returns:
            ``(num_samples, *input_dim)``, or a list of ``noise_steps`` such arrays, the last one the samples.

        Raises:
            ValueError: as ``generate``.
        """
        sampler, times = self.default_method()
        plan = self._plan(sampler, times, num_samples, None, rngs, clip_denoised, kwargs)
        return list(self._decoded(sample_trajectory(*plan)[1])) if return_trajectory else self._to_data(sample(*plan))

    def level(self, t: Time, x: Z) -> NoiseLevel[Array]:
        """Return the noise level of timesteps ``t`` for each scaled latent of ``x``.

        Raises:
            ValueError: for a timestep out of range, or data in place of latents.
        """
        if x.ndim != len(self.latent_shape) + 1 or x.shape[-1] != self.latent_shape[-1]:
            raise ValueError(
                f"the process runs on scaled latents, of shape (batch, *{self.latent_shape}), got {x.shape}"
            )
        return super().level(t, x)

    def _state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.latent_shape if shape == self.config.input_dim else latent_shape(self.autoencoder, shape)

    def _to_data(self, x: Z) -> X:
        return self._decoded(x[None])[0]

    def _decoded(self, states: Float[Array, "m b *z"]) -> Float[Array, "m b *d"]:
        """The data of scaled latents, one batch at a time."""
        graphdef, state = nnx.split(self.autoencoder)
        out: Array = _decode(graphdef, state, states, jnp.asarray(self.parameters.scale_factor))
        return out


@partial(jax.jit, static_argnums=0)
def _decode(
    graphdef: nnx.GraphDef[Autoencoder], state: State, states: Float[Array, "m b *z"], scale: Float[Array, ""]
) -> Float[Array, "m b *d"]:
    decoder: Autoencoder = nnx.merge(graphdef, state, copy=True)
    out: Array = jax.lax.map(lambda z: decoder.decode(z / scale), states)
    return out
