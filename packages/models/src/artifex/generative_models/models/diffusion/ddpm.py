"""Denoising diffusion probabilistic models."""

from collections.abc import Mapping
from operator import index
from typing import Literal, Unpack

from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel
from artifex.generative_models.models.diffusion.networks import NetworkOptions, network_fn
from artifex.generative_models.models.diffusion.walk import SampleOptions, check_finite, draw
from artifex.samplers import DDIM, Sampler, sample
from artifex.schedules import add_noise

X = Float[Array, "b *d"]
Steps = Int[Array, "*b"]
Scheduler = Literal["ddpm", "ddim"]


class DDPMModel(DiffusionModel):
    """DDPM, sampled by its own chain or by DDIM.

    Args:
        config: shape of the data and parameters; see ``parameters.DiffusionParameters``.
        rngs: as in ``DiffusionModel``.
        **kwargs: see ``networks.NetworkOptions``; ``networks.network`` says what the default one is.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, **kwargs: Unpack[NetworkOptions]) -> None:
        super().__init__(config, network_fn(kwargs), rngs=rngs)

    def forward_diffusion(self, x: X, t: Steps, *, rngs: nnx.Rngs | None = None) -> tuple[X, X]:
        r"""A draw of $q(x_t \mid x_0)$, and the noise that is in it.

        Args:
            x: clean data, ``(batch, ...)``.
            t: one timestep, or one a sample.
            rngs: draws the noise; the model's own where None.

        Raises:
            ValueError: for a timestep out of range, or data that are known not to be finite.
        """
        check_finite(x=x)
        return add_noise(x, self._level(t, x), draw(rngs or self.rngs, "sample"))

    def denoise_step(
        self, x_t: X, t: Steps, predicted_noise: X, clip_denoised: bool = True, *, rngs: nnx.Rngs | None = None
    ) -> X:
        r"""A draw of $p(x_{t-1} \mid x_t)$: ``p_sample`` with its arguments in another order."""
        return self.p_sample(predicted_noise, x_t, t, rngs=rngs, clip_denoised=clip_denoised)

    def sample(
        self,
        n_samples_or_shape: int | tuple[int, ...],
        scheduler: Scheduler = "ddpm",
        steps: int | None = None,
        *,
        rngs: nnx.Rngs | None = None,
        **kwargs: Unpack[SampleOptions],
    ) -> X:
        """Samples from noise.

        Args:
            n_samples_or_shape: how many, or the whole shape ``(batch, ...)``.
            scheduler: ``"ddpm"`` draws from the posterior of the steps that are kept, ``"ddim"`` is deterministic.
            steps: network calls, in [1, noise_steps]; None takes all.
            rngs: draws all noise; the model's own where None.
            **kwargs: see ``walk.SampleOptions``.

        Raises:
            ValueError: for an unknown scheduler or steps out of range, and as ``generate``.
        """
        samplers: Mapping[str, Sampler] = {"ddpm": self._ancestral, "ddim": DDIM()}
        if scheduler not in samplers:
            raise ValueError(f"scheduler must be 'ddpm' or 'ddim', got {scheduler!r}")
        count, shape = _split_shape(n_samples_or_shape)
        times = self._times(self.noise_steps if steps is None else steps)
        return self._finish(sample(*self._walk(samplers[scheduler], times, count, shape, rngs, kwargs)))


def _split_shape(n_samples_or_shape: int | tuple[int, ...]) -> tuple[int, tuple[int, ...] | None]:
    """The number of samples, and the shape of one where it was given."""
    if not isinstance(n_samples_or_shape, tuple | list):
        return index(n_samples_or_shape), None
    if len(n_samples_or_shape) < 2:
        raise ValueError(f"a shape must be (batch, ...), got {n_samples_or_shape}")
    return n_samples_or_shape[0], tuple(n_samples_or_shape[1:])
