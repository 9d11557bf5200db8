"""Denoising diffusion implicit models."""

from typing import ClassVar, Unpack

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int

from artifex.generative_models.models.diffusion.checks import check_finite, check_options, concrete
from artifex.generative_models.models.diffusion.ddpm import DDPMModel
from artifex.generative_models.models.diffusion.parameters import DDIMParameters, Parameters
from artifex.generative_models.models.diffusion.process import Steps, X, per_sample
from artifex.generative_models.models.diffusion.rngs import next_key
from artifex.generative_models.models.diffusion.sampling import SampleOptions, tableau
from artifex.kernels import linear_step
from artifex.samplers import DDIM, DDIMInversion, Sampler, sample
from artifex.samplers.authoring import ddim_weights
from artifex.schedules import grid
from artifex.schedules.arrays import HostArray


class DDIMModel(DDPMModel):
    """DDPM sampled by DDIM in few steps.

    Args:
        config: shape of the data and parameters; see ``parameters.DDIMParameters``.
        rngs: as in ``DiffusionModel``.
        **kwargs: as in ``DDPMModel``.

    References: Song et al. 2021, https://arxiv.org/abs/2010.02502
    """

    parameters_type: ClassVar[type[Parameters]] = DDIMParameters
    parameters: DDIMParameters

    def get_ddim_timesteps(self, ddim_steps: int) -> Int[Array, " n"]:
        """Timesteps of DDIM in descending order: those of the network calls, then 0.

        Args:
            ddim_steps: network calls, in [1, noise_steps].

        Returns:
            ``(ddim_steps + 1,)``; 50 of 1000 gives 999, 979 ... 19, 0.

        Raises:
            ValueError: for ``ddim_steps`` out of range.
        """
        return jnp.maximum(jnp.asarray(self.times(ddim_steps), jnp.int32), 0)

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
            t: its timestep, one or one per sample.
            t_prev: the next one, in [-1, t); -1 is clean data.
            predicted_noise: $\epsilon_\theta$, of the shape of ``x_t``.
            eta: in [0, 1]; the configured one if None.
            rngs: draws the noise; the model's own if None.

        Raises:
            ValueError: for timesteps or an eta out of range, or data with NaN or infinity.
        """
        check_finite(x_t=x_t, predicted_noise=predicted_noise)
        ddim = DDIM(self._eta(eta))
        steps = self._timesteps(t, x_t)
        previous = per_sample(jnp.asarray(t_prev), x_t.shape[0])
        now, then = concrete(steps), concrete(previous)
        if now is not None and then is not None and not np.all((then >= -1) & (then < now)):
            raise ValueError(f"t_prev must be in [-1, t), got t = {t} and t_prev = {t_prev}")
        level = self.level(steps, x_t)
        of_x_t, of_x0, noise = ddim_weights(level, self.schedule.at(previous.astype(jnp.float32)), ddim.eta)
        x0 = self.prediction.to_x0(predicted_noise, x_t, level)
        weights = jnp.stack([of_x_t, of_x0], axis=-1)
        if ddim.eta == 0:
            return linear_step([x_t, x0], weights)
        return linear_step([x_t, x0], weights, noise_scale=noise, key=next_key(rngs or self.rngs, "sample"))

    def ddim_sample(
        self,
        n_samples: int,
        steps: int | None = None,
        eta: float | None = None,
        *,
        rngs: nnx.Rngs | None = None,
        clip_denoised: bool = True,
        **kwargs: Unpack[SampleOptions],
    ) -> X:
        """Sample from noise.

        Args:
            n_samples: number of samples, at least 1.
            steps: network calls, in [1, noise_steps]; the configured number if None.
            eta: in [0, 1]; the configured one if None.
            rngs: draws all noise; the model's own if None.
            clip_denoised: clip every predicted $x_0$ to [-1, 1].
            **kwargs: see ``sampling.SampleOptions``.

        Raises:
            ValueError: for values out of range, and as ``generate``.
        """
        times = self.times(self.parameters.ddim_steps if steps is None else steps)
        plan = self._plan(DDIM(self._eta(eta)), times, n_samples, None, rngs, clip_denoised, kwargs)
        return self._to_data(sample(*plan))

    def ddim_reverse(
        self, x0: X, ddim_steps: int, *, rngs: nnx.Rngs | None = None, **kwargs: Unpack[SampleOptions]
    ) -> X:
        """Encode ``x0`` as the noise from which ``ddim_sample`` recovers it; the error is of first order in the step.

        Args:
            x0: clean data, one sample of shape ``config.input_dim`` or a batch of them.
            ddim_steps: network calls, in [1, noise_steps].
            rngs: not used.
            **kwargs: ``conditioning`` and ``guidance`` of ``sampling.SampleOptions``.

        Returns:
            Noise of the shape of ``x0``.

        Raises:
            ValueError: for steps out of range, a wrong rank, or data with NaN or infinity.
            TypeError: for an unknown argument, or initial noise.
        """
        check_options(kwargs, SampleOptions.__annotations__)
        if "initial_noise" in kwargs:
            raise TypeError("ddim_reverse returns the initial noise; it takes none")
        rank = len(self.config.input_dim)
        if x0.ndim not in (rank, rank + 1):
            raise ValueError(f"x0 must be of shape {self.config.input_dim} or a batch of that, got {x0.shape}")
        batch = x0 if x0.ndim > rank else x0[None]
        times = self.times(ddim_steps)
        denoise = self._denoiser(tableau(DDIM(), self.schedule, times), batch.shape, kwargs)
        noise = sample(denoise, tableau(DDIMInversion(), self.schedule, times), batch)
        return noise.reshape(x0.shape)

    def times(self, steps: int) -> HostArray:
        """Return the times of ``steps`` network calls, spaced as ``skip_type``, then the end."""
        spacing = grid.trailing if self.parameters.skip_type == "uniform" else grid.quadratic
        return spacing(self.noise_steps, steps)

    def default_method(self) -> tuple[Sampler, HostArray]:
        """DDIM, and the times of ``ddim_steps``."""
        return DDIM(self.parameters.eta), self.times(self.parameters.ddim_steps)

    def _eta(self, eta: float | None) -> float:
        return self.parameters.eta if eta is None else eta
