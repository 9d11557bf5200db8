r"""Score-based models: the reverse of the variance-exploding SDE.

$$dx = \sqrt{\frac{d\sigma^2}{dt}}\, dw,\qquad
  \sigma(t) = \sigma_\mathrm{min} (\sigma_\mathrm{max} / \sigma_\mathrm{min})^t,\quad t \in [0, 1]$$
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Unpack, overload

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel
from artifex.generative_models.models.diffusion.checks import check_finite, check_range
from artifex.generative_models.models.diffusion.networks import NetworkOptions, network_fn
from artifex.generative_models.models.diffusion.parameters import Parameters, ScoreParameters
from artifex.generative_models.models.diffusion.process import Time, X, per_sample
from artifex.generative_models.models.diffusion.sampling import SampleOptions
from artifex.samplers import DDPM, sample, sample_trajectory
from artifex.schedules import Epsilon, NoiseLevel, Score, grid
from artifex.schedules.arrays import HostArray

MAX_TIMESTEP: Final = 999.0
"""The network's time at ``t = 1``: the last of the 1,000 steps that time embeddings are made for."""


@dataclass(frozen=True)
class ScaledNoise(Epsilon):
    r"""Noise multiplied by ``scaling``; the network's time is $999\, t$.

    Attributes:
        scaling: factor of the network's output, positive.
    """

    scaling: float = 1.0

    def inputs(self, x_t: X, level: NoiseLevel[jax.Array]) -> tuple[X, Float[Array, " b"]]:
        r"""$x_t$ and $999\, t$."""
        return x_t, MAX_TIMESTEP * jnp.broadcast_to(level.t, x_t.shape[:1])

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$x_t - \sigma\, \mathrm{scaling}\, \mathrm{out}$."""
        return super().to_x0(self.scaling * out, x_t, level)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\mathrm{scaling}\, \mathrm{out}$."""
        return self.scaling * out


class ScoreDiffusionModel(DiffusionModel):
    r"""A model of $\nabla_x \log p_t(x)$, sampled by the reverse SDE.

    Time is a number in [0, 1]; an integer timestep $i$, as other models take, stands for
    $t = i / (\mathrm{noise\_steps} - 1)$. The network predicts noise at time $999\, t$. The loss, the squared
    error of that noise, is denoising score matching with the weight $\sigma^2$.

    Args:
        config: shape of the data and parameters; see ``parameters.ScoreParameters``.
        rngs: as in ``DiffusionModel``.
        **kwargs: see ``networks.NetworkOptions``; the default network is ``networks.network``.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    parameters_type: ClassVar[type[Parameters]] = ScoreParameters
    parameters: ScoreParameters

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, **kwargs: Unpack[NetworkOptions]) -> None:
        super().__init__(config, network_fn(kwargs), rngs=rngs)
        self.prediction = ScaledNoise(self.parameters.score_scaling)

    @property
    def noise_steps(self) -> int:
        """The number of integer timesteps, and of steps of ``generate``."""
        return self.parameters.noise_steps

    def score(self, x: X, t: Time) -> X:
        r"""$\nabla_x \log p_t(x) = -\epsilon_\theta(x, t) / \sigma_t$, times ``score_scaling``.

        Args:
            x: noisy data, ``(batch, ...)``.
            t: times in [0, 1], one or one per sample.

        Raises:
            ValueError: for a time out of range, or data with NaN or infinity.
        """
        check_finite(x=x)
        level = self.level(t, x)
        eps = self.prediction.to_eps(self.predict(x, level), x, level)
        return Score().target(x, eps, level)

    @overload
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        num_steps: int = 1000,
        return_trajectory: Literal[False] = False,
        clip_denoised: bool = False,
        **kwargs: Unpack[SampleOptions],
    ) -> X: ...
    @overload
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        num_steps: int = 1000,
        return_trajectory: Literal[True],
        clip_denoised: bool = False,
        **kwargs: Unpack[SampleOptions],
    ) -> list[X]: ...
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        num_steps: int = 1000,
        return_trajectory: bool = False,
        clip_denoised: bool = False,
        **kwargs: Unpack[SampleOptions],
    ) -> X | list[X]:
        r"""Sample by the reverse SDE, from $\mathcal N(0, \sigma_\mathrm{max}^2)$ at $t = 1$ to clean data.

        A step draws from the posterior given $\hat x_0 = x + \sigma^2 \nabla \log p$, which adds the exact amount of
        noise; times are evenly spaced, and the last step goes from $t = 0$ to $\hat x_0$ itself.

        Args:
            num_samples: number of samples, at least 1.
            rngs: draws all noise; the model's own if None.
            num_steps: network calls, at least 1.
            return_trajectory: return the state after every step.
            clip_denoised: clip every $\hat x_0$ to [-1, 1].
            **kwargs: see ``sampling.SampleOptions``.

        Returns:
            ``(num_samples, *input_dim)``, or a list of ``num_steps`` such arrays, the last one the samples.

        Raises:
            ValueError: as ``generate``, and for fewer steps than 1.
        """
        plan = self._plan(DDPM(), self.times(num_steps), num_samples, None, rngs, clip_denoised, kwargs)
        return list(sample_trajectory(*plan)[1]) if return_trajectory else sample(*plan)

    def times(self, steps: int) -> HostArray:
        """Return the times of ``steps`` network calls, evenly spaced from 1 to 0, then the end."""
        return grid.logsnr_uniform(self.schedule, steps, 1.0, 0.0)

    def level(self, t: Time, x: X) -> NoiseLevel[Array]:
        """Return the noise level of times in [0, 1], or of integer timesteps, for each sample of ``x``.

        Raises:
            ValueError: for a time out of range or of the wrong shape.
        """
        t = jnp.asarray(t)
        if jnp.issubdtype(t.dtype, jnp.integer):
            return self.schedule.at(self._timesteps(t, x).astype(jnp.float32) / max(self.noise_steps - 1, 1))
        if t.shape not in ((), x.shape[:1]):
            raise ValueError(f"t must be one time, or one a sample {x.shape[:1]}, got shape {t.shape}")
        check_range("t", t, 0, 1)
        return self.schedule.at(per_sample(t, x.shape[0]))
