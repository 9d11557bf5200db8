r"""The noising process of a model: its tables, draws of $q(x_t \mid x_0)$, and one ancestral step back.

Symbols: $x_t = \alpha_t x_0 + \sigma_t \epsilon$; on DDPM's chain $\alpha_t = \sqrt{\bar\alpha_t}$ and
$\sigma_t = \sqrt{1 - \bar\alpha_t}$ with $\bar\alpha_t = \prod_{i \le t} (1 - \beta_i)$; timesteps are integers in
``0 ... noise_steps - 1``.
"""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Real

from artifex.generative_models.models.diffusion.checks import check_finite, check_range
from artifex.generative_models.models.diffusion.rngs import next_key
from artifex.generative_models.models.diffusion.sampling import tableau
from artifex.kernels import linear_step
from artifex.samplers import DDPM
from artifex.schedules import Discrete, Epsilon, NoiseLevel, Prediction, Schedule, add_noise, diffuse, grid
from artifex.schedules.arrays import HostArray

X = Float[Array, "b *d"]
Steps = Int[Array, "*b"]
Time = Real[Array, "*b"]


def per_sample(values: Array, batch: int) -> Array:
    """Broadcast one value, or one per sample, to ``(batch,)``."""
    return jnp.broadcast_to(values, (batch,))


class DiffusionProcess:
    r"""The noising process of a model, and its reversal by one step.

    Attributes:
        schedule: the path from data to noise.
        prediction: the meaning of the network's output.
        limit: clean data lie in [-limit, limit]; None if unbounded.
        rngs: draws noise where a method is called without ``rngs``.
    """

    schedule: Schedule
    prediction: Prediction = Epsilon()
    limit: ClassVar[float | None] = 1.0
    rngs: nnx.Rngs

    @property
    def chain(self) -> Discrete:
        """The schedule as a chain of betas.

        Raises:
            AttributeError: if it is of another kind.
        """
        if not isinstance(self.schedule, Discrete):
            raise AttributeError(f"{type(self.schedule).__name__} is no chain of betas")
        return self.schedule

    @property
    def betas(self) -> Float[Array, " n"]:
        r"""$\beta_t$, ``(noise_steps,)``."""
        return jnp.asarray(self.chain.betas, jnp.float32)

    @property
    def alphas(self) -> Float[Array, " n"]:
        r"""$1 - \beta_t$, ``(noise_steps,)``."""
        return jnp.asarray(1 - self.chain.betas, jnp.float32)

    @property
    def alphas_cumprod(self) -> Float[Array, " n"]:
        r"""$\bar\alpha_t$, ``(noise_steps,)``."""
        return jnp.asarray(self.chain.alphas_cumprod, jnp.float32)

    @property
    def sqrt_alphas_cumprod(self) -> Float[Array, " n"]:
        r"""$\sqrt{\bar\alpha_t}$, ``(noise_steps,)``."""
        return jnp.asarray(np.sqrt(self.chain.alphas_cumprod), jnp.float32)

    @property
    def sqrt_one_minus_alphas_cumprod(self) -> Float[Array, " n"]:
        r"""$\sqrt{1 - \bar\alpha_t}$, ``(noise_steps,)``."""
        return jnp.asarray(np.sqrt(1 - self.chain.alphas_cumprod), jnp.float32)

    @property
    def posterior_variance(self) -> Float[Array, " n"]:
        r"""Variance of $q(x_{t-1} \mid x_t, x_0)$, ``(noise_steps,)``; 0 at ``t = 0``."""
        return jnp.asarray(self.chain.posterior_variance, jnp.float32)

    @property
    def noise_steps(self) -> int:
        """The number of timesteps."""
        return self.chain.steps

    def q_sample(self, x_start: X, t: Time, noise: X | None = None, *, rngs: nnx.Rngs | None = None) -> X:
        r"""Draw from $q(x_t \mid x_0)$: $\alpha_t x_0 + \sigma_t \epsilon$.

        Args:
            x_start: $x_0$, ``(batch, ...)``.
            t: one timestep, or one per sample.
            noise: $\epsilon$, of the shape of ``x_start``; drawn if None.
            rngs: draws the noise; the model's own if None.

        Raises:
            ValueError: for a timestep out of range, or data with NaN or infinity.
        """
        check_finite(x_start=x_start)
        level = self.level(t, x_start)
        if noise is not None:
            check_finite(noise=noise)
            return diffuse(x_start, noise, level)
        return add_noise(x_start, level, next_key(rngs or self.rngs, "sample"))[0]

    def p_sample(
        self, model_output: X, x_t: X, t: Steps, *, rngs: nnx.Rngs | None = None, clip_denoised: bool = True
    ) -> X:
        r"""Draw from $p(x_{t-1} \mid x_t)$; at ``t = 0`` return its mean.

        Args:
            model_output: predicted noise, ``(batch, ...)``.
            x_t: noisy data, of the same shape.
            t: one timestep, or one per sample.
            rngs: draws the noise; the model's own if None.
            clip_denoised: clip the predicted $x_0$ to [-1, 1].

        Raises:
            ValueError: for a timestep out of range, or data with NaN or infinity.
        """
        check_finite(model_output=model_output, x_t=x_t)
        steps = self._timesteps(t, x_t)
        x0 = self.prediction.to_x0(model_output, x_t, self.level(steps, x_t))
        x0 = jnp.clip(x0, -self.limit, self.limit) if clip_denoised and self.limit is not None else x0
        rows = tableau(DDPM(), self.schedule, self.times(self.noise_steps))
        index = self.noise_steps - 1 - steps
        weights = jnp.asarray(rows.evaluate[:, [0, 2]], jnp.float32)[index]
        noise_scale = jnp.asarray(rows.noise, jnp.float32)[index]
        return linear_step([x_t, x0], weights, noise_scale=noise_scale, key=next_key(rngs or self.rngs, "sample"))

    def predict_start_from_noise(self, x_t: X, t: Time, noise: X) -> X:
        r"""$x_0 = (x_t - \sigma_t \epsilon) / \alpha_t$.

        Args:
            x_t: noisy data, ``(batch, ...)``.
            t: one timestep, or one per sample.
            noise: $\epsilon$, of the shape of ``x_t``.

        Raises:
            ValueError: for a timestep out of range, or data with NaN or infinity.
        """
        check_finite(x_t=x_t, noise=noise)
        return Epsilon().to_x0(noise, x_t, self.level(t, x_t))

    def level(self, t: Time, x: X) -> NoiseLevel[Array]:
        """Return the noise level of timesteps ``t`` for each sample of ``x``.

        Args:
            t: one timestep, or one per sample.
            x: data, ``(batch, ...)``.

        Raises:
            ValueError: for a timestep out of range.
        """
        return self.schedule.at(self._timesteps(t, x))

    def times(self, steps: int) -> HostArray:
        """Return the schedule's times for sampling in ``steps`` network calls, noise first, then the end."""
        return grid.trailing(self.noise_steps, steps)

    def _timesteps(self, t: Steps, x: X) -> Int[Array, " b"]:
        """One timestep per sample of ``x``, checked."""
        t = jnp.asarray(t)
        if not jnp.issubdtype(t.dtype, jnp.integer):
            raise ValueError(f"timesteps must be integers, got dtype {t.dtype}")
        if t.shape not in ((), x.shape[:1]):
            raise ValueError(f"timesteps must be one, or one a sample {x.shape[:1]}, got shape {t.shape}")
        check_range("timesteps", t, 0, self.noise_steps - 1)
        return per_sample(t, x.shape[0])
