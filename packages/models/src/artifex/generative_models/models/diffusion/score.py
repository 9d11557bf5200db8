r"""Score-based models: the reverse of a stochastic equation whose noise explodes.

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
from artifex.generative_models.models.diffusion.base import DiffusionModel, Time
from artifex.generative_models.models.diffusion.networks import NetworkOptions, network_fn
from artifex.generative_models.models.diffusion.parameters import Parameters, ScoreParameters
from artifex.generative_models.models.diffusion.walk import SampleOptions, check_finite, check_range, per_sample
from artifex.samplers import DDPM, sample, sample_trajectory
from artifex.schedules import Epsilon, HostArray, NoiseLevel, Score, grid

X = Float[Array, "b *d"]

TOLD: Final = 999.0
"""What a network is told at ``t = 1``: the last of the 1,000 steps that time embeddings are made for."""


@dataclass(frozen=True)
class ScaledNoise(Epsilon):
    r"""The noise, of which ``scaling`` times as much is believed; the network is told $999\, t$.

    Attributes:
        scaling: positive.
    """

    scaling: float = 1.0

    def inputs(self, x_t: X, level: NoiseLevel[jax.Array]) -> tuple[X, Float[Array, " b"]]:
        r"""$x_t$ and $999\, t$."""
        return x_t, TOLD * jnp.broadcast_to(level.t, x_t.shape[:1])

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$x_t - \sigma\, \mathrm{scaling}\, \mathrm{out}$."""
        return super().to_x0(self.scaling * out, x_t, level)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\mathrm{scaling}\, \mathrm{out}$."""
        return self.scaling * out


class ScoreDiffusionModel(DiffusionModel):
    r"""A model of $\nabla_x \log p_t(x)$, sampled along the reverse stochastic equation.

    Time is a number in [0, 1]; where other models take an integer timestep $i$ this one does as well, for
    $t = i / (\mathrm{noise\_steps} - 1)$. The network predicts noise and is told $999\, t$. The loss, the squared
    error of that noise, is the score's own with the weight $\sigma^2$.

    Args:
        config: shape of the data and parameters; see ``parameters.ScoreParameters``.
        rngs: as in ``DiffusionModel``.
        **kwargs: see ``networks.NetworkOptions``; ``networks.network`` says what the default one is.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    parameters_type: ClassVar[type[Parameters]] = ScoreParameters
    parameters: ScoreParameters

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, **kwargs: Unpack[NetworkOptions]) -> None:
        super().__init__(config, network_fn(kwargs), rngs=rngs)
        self.prediction = ScaledNoise(self.parameters.score_scaling)

    @property
    def noise_steps(self) -> int:
        """The number of integer timesteps, and of the steps of ``generate``."""
        return self.parameters.noise_steps

    def score(self, x: X, t: Time) -> X:
        r"""$\nabla_x \log p_t(x) = -\epsilon_\theta(x, t) / \sigma_t$, times ``score_scaling``.

        Args:
            x: noisy data, ``(batch, ...)``.
            t: times in [0, 1], one or one a sample.

        Raises:
            ValueError: for a time out of range, or data that are known not to be finite.
        """
        check_finite(x=x)
        level = self._level(t, x)
        eps = self.prediction.to_eps(self._network(x, level, None), x, level)
        return Score().target(x, eps, level)

    @overload
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        num_steps: int = 1000,
        return_trajectory: Literal[False] = False,
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
        **kwargs: Unpack[SampleOptions],
    ) -> list[X]: ...
    def sample(
        self,
        num_samples: int,
        *,
        rngs: nnx.Rngs | None = None,
        num_steps: int = 1000,
        return_trajectory: bool = False,
        **kwargs: Unpack[SampleOptions],
    ) -> X | list[X]:
        r"""Samples along the reverse equation, from $\mathcal N(0, \sigma_\mathrm{max}^2)$ at $t = 1$ to clean data.

        A step draws from the posterior under $\hat x_0 = x + \sigma^2 \nabla \log p$, which is exact in the noise it
        adds; times are evenly spaced, and the last step leads from $t = 0$ to $\hat x_0$ itself.

        Args:
            num_samples: how many, at least 1.
            rngs: draws all noise; the model's own where None.
            num_steps: network calls, at least 1.
            return_trajectory: whether the state after every step is given as well.
            **kwargs: see ``walk.SampleOptions``; here $\hat x_0$ is not clipped unless asked for.

        Returns:
            ``(num_samples, *input_dim)``, or a list of ``num_steps`` such arrays, of which the last are the samples.

        Raises:
            ValueError: as ``generate``, and for fewer steps than 1.
        """
        options: SampleOptions = {"clip_denoised": False, **kwargs}
        walk = self._walk(DDPM(), self._times(num_steps), num_samples, None, rngs, options)
        return list(sample_trajectory(*walk)[1]) if return_trajectory else sample(*walk)

    def _times(self, steps: int) -> HostArray:
        return grid.logsnr_uniform(self.schedule, steps, 1.0, 0.0)

    def _level(self, t: Time, x: X) -> NoiseLevel[Array]:
        t = jnp.asarray(t)
        if jnp.issubdtype(t.dtype, jnp.integer):
            return self.schedule.at(self._steps(t, x).astype(jnp.float32) / max(self.noise_steps - 1, 1))
        if t.shape not in ((), x.shape[:1]):
            raise ValueError(f"t must be one time, or one a sample {x.shape[:1]}, got shape {t.shape}")
        check_range("t", t, 0, 1)
        return self.schedule.at(per_sample(t, x.shape[0]))
