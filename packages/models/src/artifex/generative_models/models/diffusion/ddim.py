"""Denoising diffusion implicit models."""

from typing import ClassVar, Unpack

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.generative_models.models.diffusion.base import Steps
from artifex.generative_models.models.diffusion.ddpm import DDPMModel
from artifex.generative_models.models.diffusion.parameters import DDIMParameters, Parameters
from artifex.generative_models.models.diffusion.walk import (
    SampleOptions,
    WalkOptions,
    check_finite,
    check_options,
    draw,
    per_sample,
    table,
    value,
)
from artifex.kernels import linear_step
from artifex.samplers import DDIM, DDIMInversion, Sampler, ddim_weights, sample
from artifex.schedules import HostArray, grid

X = Float[Array, "b *d"]


class DDIMModel(DDPMModel):
    """A DDPM that is sampled in few steps.

    Args:
        config: shape of the data and parameters; see ``parameters.DDIMParameters``.
        rngs: as in ``DiffusionModel``.
        **kwargs: as in ``DDPMModel``.

    References: Song et al. 2021, https://arxiv.org/abs/2010.02502
    """

    parameters_type: ClassVar[type[Parameters]] = DDIMParameters
    parameters: DDIMParameters

    def get_ddim_timesteps(self, ddim_steps: int) -> Int[Array, " n"]:
        """The timesteps of a walk, falling: those where the network is called, then 0, the end.

        Args:
            ddim_steps: network calls, in [1, noise_steps].

        Returns:
            ``(ddim_steps + 1,)``; 50 of 1000 gives 999, 979 ... 19, 0.

        Raises:
            ValueError: for ``ddim_steps`` out of range.
        """
        return jnp.maximum(jnp.asarray(self._times(ddim_steps), jnp.int32), 0)

    def ddim_step(
        self,
        x_t: X,
        t: Steps,
        t_prev: Steps,
        predicted_noise: X,
        eta: float | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> X:
        r"""One step from ``t`` to ``t_prev``.

        $$x_s = \sqrt{\bar\alpha_s}\, \hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\, \epsilon_\theta + \sigma z,\quad
          \sigma^2 = \eta^2\, \frac{1 - \bar\alpha_s}{1 - \bar\alpha_t} (1 - \bar\alpha_t / \bar\alpha_s)$$

        Args:
            x_t: noisy data, ``(batch, ...)``.
            t: its timestep, one or one a sample.
            t_prev: the next one, in [-1, t); -1 is clean data.
            predicted_noise: $\epsilon_\theta$, of the shape of ``x_t``.
            eta: in [0, 1]; the configured one where None.
            rngs: draws the noise; the model's own where None.

        Raises:
            ValueError: for timesteps or an eta out of range, or data that are known not to be finite.
        """
        check_finite(x_t=x_t, predicted_noise=predicted_noise)
        ddim = DDIM(self._eta(eta))
        steps = self._steps(t, x_t)
        before = per_sample(jnp.asarray(t_prev), x_t.shape[0])
        known, last = value(steps), value(before)
        if known is not None and last is not None and not np.all((last >= -1) & (last < known)):
            raise ValueError(f"t_prev must be in [-1, t), got t = {t} and t_prev = {t_prev}")
        level = self._level(steps, x_t)
        keep, clean, noise = ddim_weights(level, self.schedule.at(before.astype(jnp.float32)), ddim.eta)
        x0 = self.prediction.to_x0(predicted_noise, x_t, level)
        weights = jnp.stack([keep, clean], axis=-1)
        if ddim.eta == 0:
            return linear_step([x_t, x0], weights)
        return linear_step([x_t, x0], weights, noise_scale=noise, key=draw(rngs or self.rngs, "sample"))

    def ddim_sample(
        self,
        n_samples: int,
        steps: int | None = None,
        eta: float | None = None,
        *,
        rngs: nnx.Rngs | None = None,
        **kwargs: Unpack[SampleOptions],
    ) -> X:
        """Samples from noise.

        Args:
            n_samples: how many, at least 1.
            steps: network calls, in [1, noise_steps]; the configured number where None.
            eta: in [0, 1]; the configured one where None.
            rngs: draws all noise; the model's own where None.
            **kwargs: see ``walk.SampleOptions``.

        Raises:
            ValueError: for values out of range, and as ``generate``.
        """
        times = self._times(self.parameters.ddim_steps if steps is None else steps)
        return self._finish(sample(*self._walk(DDIM(self._eta(eta)), times, n_samples, None, rngs, kwargs)))

    def ddim_reverse(self, x0: X, ddim_steps: int, *, rngs: nnx.Rngs | None = None, **kwargs: Unpack[WalkOptions]) -> X:
        """The noise from which ``ddim_sample`` with as many steps makes ``x0`` again, nearly: the error is of order 1.

        Args:
            x0: clean data, one sample of shape ``config.input_dim`` or a batch of them.
            ddim_steps: network calls, in [1, noise_steps].
            rngs: accepted so that all methods are called alike; nothing is drawn.
            **kwargs: see ``walk.WalkOptions``; there is no initial noise to give.

        Returns:
            Noise of the shape of ``x0``.

        Raises:
            ValueError: for steps out of range, a wrong rank, or data that are known not to be finite.
            TypeError: for an unknown argument, or initial noise.
        """
        check_options(kwargs, WalkOptions.__annotations__)
        if "initial_noise" in kwargs:
            raise TypeError("initial_noise is what ddim_reverse gives; it takes none")
        rank = len(self.config.input_dim)
        if x0.ndim not in (rank, rank + 1):
            raise ValueError(f"x0 must be of shape {self.config.input_dim} or a batch of that, got {x0.shape}")
        batch = x0 if x0.ndim > rank else x0[None]
        times = self._times(ddim_steps)
        denoise = self._denoiser(kwargs, batch.shape, table(DDIM(), self.schedule, times))
        noise = sample(denoise, table(DDIMInversion(), self.schedule, times), batch)
        return noise.reshape(x0.shape)

    def _method(self) -> tuple[Sampler, HostArray]:
        return DDIM(self.parameters.eta), self._times(self.parameters.ddim_steps)

    def _eta(self, eta: float | None) -> float:
        return self.parameters.eta if eta is None else eta

    def _times(self, steps: int) -> HostArray:
        spacing = grid.trailing if self.parameters.skip_type == "uniform" else grid.quadratic
        return spacing(self.noise_steps, steps)
