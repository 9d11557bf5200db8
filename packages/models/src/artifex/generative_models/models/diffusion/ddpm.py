"""Denoising diffusion probabilistic models."""

from collections.abc import Mapping
from typing import Literal, Unpack

from flax import nnx

from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel
from artifex.generative_models.models.diffusion.checks import check_finite
from artifex.generative_models.models.diffusion.networks import NetworkOptions, network_fn
from artifex.generative_models.models.diffusion.process import Steps, X
from artifex.generative_models.models.diffusion.rngs import next_key
from artifex.generative_models.models.diffusion.sampling import SampleOptions
from artifex.samplers import DDIM, Sampler, sample
from artifex.schedules import add_noise

Scheduler = Literal["ddpm", "ddim"]


class DDPMModel(DiffusionModel):
    """DDPM, sampled ancestrally or by DDIM.

    Args:
        config: shape of the data and parameters; see ``parameters.DiffusionParameters``.
        rngs: as in ``DiffusionModel``.
        **kwargs: see ``networks.NetworkOptions``; the default network is ``networks.network``.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, **kwargs: Unpack[NetworkOptions]) -> None:
        super().__init__(config, network_fn(kwargs), rngs=rngs)

    def forward_diffusion(self, x: X, t: Steps, *, rngs: nnx.Rngs | None = None) -> tuple[X, X]:
        r"""Draw from $q(x_t \mid x_0)$, and return the noise as well.

        Args:
            x: clean data, ``(batch, ...)``.
            t: one timestep, or one per sample.
            rngs: draws the noise; the model's own if None.

        Raises:
            ValueError: for a timestep out of range, or data with NaN or infinity.
        """
        check_finite(x=x)
        return add_noise(x, self.level(t, x), next_key(rngs or self.rngs, "sample"))

    def denoise_step(
        self, x_t: X, t: Steps, predicted_noise: X, clip_denoised: bool = True, *, rngs: nnx.Rngs | None = None
    ) -> X:
        r"""Draw from $p(x_{t-1} \mid x_t)$: ``p_sample`` with its arguments in another order."""
        return self.p_sample(predicted_noise, x_t, t, rngs=rngs, clip_denoised=clip_denoised)

    def sample(
        self,
        n_samples_or_shape: int | tuple[int, ...],
        scheduler: Scheduler = "ddpm",
        steps: int | None = None,
        *,
        rngs: nnx.Rngs | None = None,
        clip_denoised: bool = True,
        **kwargs: Unpack[SampleOptions],
    ) -> X:
        """Sample from noise.

        Args:
            n_samples_or_shape: number of samples, or the whole shape ``(batch, ...)``.
            scheduler: ``"ddpm"`` draws from the posterior of the respaced chain, ``"ddim"`` is deterministic.
            steps: network calls, in [1, noise_steps]; None for all.
            rngs: draws all noise; the model's own if None.
            clip_denoised: clip every predicted $x_0$ to [-1, 1].
            **kwargs: see ``sampling.SampleOptions``.

        Raises:
            ValueError: for an unknown scheduler or steps out of range, and as ``generate``.
        """
        samplers: Mapping[str, Sampler] = {"ddpm": self._ancestral, "ddim": DDIM()}
        if scheduler not in samplers:
            raise ValueError(f"scheduler must be 'ddpm' or 'ddim', got {scheduler!r}")
        count, shape = _split_shape(n_samples_or_shape)
        times = self.times(self.noise_steps if steps is None else steps)
        return self._to_data(sample(*self._plan(samplers[scheduler], times, count, shape, rngs, clip_denoised, kwargs)))


def _split_shape(n_samples_or_shape: int | tuple[int, ...]) -> tuple[int, tuple[int, ...] | None]:
    """Number of samples, and the shape of one if given."""
    if not isinstance(n_samples_or_shape, tuple | list):
        return n_samples_or_shape, None
    if len(n_samples_or_shape) < 2:
        raise ValueError(f"a shape must be (batch, ...), got {n_samples_or_shape}")
    return n_samples_or_shape[0], tuple(n_samples_or_shape[1:])
