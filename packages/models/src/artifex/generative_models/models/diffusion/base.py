r"""The diffusion model that all others build on.

Symbols: $\bar\alpha_t = \prod_{i \le t} (1 - \beta_i)$ and
$x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$;
timesteps are integers in ``0 ... noise_steps - 1``.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.backbones import Backbone
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.parameters import DiffusionParameters, parse
from artifex.generative_models.models.diffusion.walk import (
    SampleOptions,
    WalkOptions,
    check_options,
    draw,
    is_traced,
    network_denoiser,
    per_sample,
)
from artifex.guidance import Conditional
from artifex.kernels import linear_step
from artifex.samplers import Ddpm, Sampler, prior, sample
from artifex.schedules import Clipped, Denoiser, Discrete, Epsilon, Host, NoiseLevel, add_noise, grid, mix

X = Float[Array, "b *d"]
Steps = Int[Array, "*b"]
Outputs = dict[str, Array]
BackboneFn = Callable[..., Backbone]
"""Called as ``backbone_fn(config, rngs=rngs)``; its module as ``(x, t, cond, deterministic=...)``."""


class DiffusionModel(nnx.Module):
    """A network that predicts noise, with the process that adds it and the walk that takes it away.

    Args:
        config: shape of the data and parameters; see ``parameters.DiffusionParameters``.
        backbone_fn: makes the network, called as ``backbone_fn(config, rngs=rngs)``.
        rngs: initialises the network; where a method is given none, it draws from a stream that starts here.

    Attributes:
        schedule: the chain, as a schedule.
        backbone: the network.

    Raises:
        ValueError: for unknown or ill-typed parameters.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    parameters_type: ClassVar[type[DiffusionParameters]] = DiffusionParameters
    prediction: ClassVar[Epsilon] = Epsilon()

    def __init__(self, config: ModelConfig, backbone_fn: BackboneFn, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.parameters = parse(self.parameters_type, config)
        self.setup_noise_schedule()
        self.backbone = backbone_fn(config, rngs=rngs)
        self.rngs = nnx.Rngs(draw(rngs, "sample"))

    def setup_noise_schedule(self) -> None:
        """Sets ``schedule`` from the parameters; ``betas`` and all that follows from them are read off it."""
        self.schedule: Discrete = self.parameters.schedule()

    @property
    def betas(self) -> Float[Array, " n"]:
        r"""$\beta_t$, ``(noise_steps,)``."""
        return jnp.asarray(self.schedule.betas, jnp.float32)

    @property
    def alphas(self) -> Float[Array, " n"]:
        r"""$1 - \beta_t$, ``(noise_steps,)``."""
        return jnp.asarray(1 - self.schedule.betas, jnp.float32)

    @property
    def alphas_cumprod(self) -> Float[Array, " n"]:
        r"""$\bar\alpha_t$, ``(noise_steps,)``."""
        return jnp.asarray(self.schedule.alphas_cumprod, jnp.float32)

    @property
    def sqrt_alphas_cumprod(self) -> Float[Array, " n"]:
        r"""$\sqrt{\bar\alpha_t}$, ``(noise_steps,)``."""
        return jnp.asarray(np.sqrt(self.schedule.alphas_cumprod), jnp.float32)

    @property
    def sqrt_one_minus_alphas_cumprod(self) -> Float[Array, " n"]:
        r"""$\sqrt{1 - \bar\alpha_t}$, ``(noise_steps,)``."""
        return jnp.asarray(np.sqrt(1 - self.schedule.alphas_cumprod), jnp.float32)

    @property
    def posterior_variance(self) -> Float[Array, " n"]:
        r"""Variance of $q(x_{t-1} \mid x_t, x_0)$, ``(noise_steps,)``; 0 at ``t = 0``."""
        return jnp.asarray(self.schedule.posterior_variance, jnp.float32)

    def __call__(
        self,
        x: X,
        timesteps: Steps,
        *,
        rngs: nnx.Rngs | None = None,
        training: bool = False,
        **kwargs: Any,  # noqa: ANN401 -- the network's own
    ) -> Outputs:
        """The noise that the network sees in ``x``.

        Args:
            x: noisy data, ``(batch, *input_dim)``.
            timesteps: one, or one a sample, ``(batch,)``.
            rngs: accepted so that all methods are called alike; dropout draws from the network's own stream.
            training: whether dropout is active.
            **kwargs: ``conditioning``, one condition a sample, for a network that takes one; all else goes to the
                network as it is.

        Returns:
            ``predicted_noise`` beside the ``x_t`` and ``timesteps`` that it belongs to.

        Raises:
            ValueError: for timesteps out of range, or a network whose output is not of its input's shape.
        """
        cond = kwargs.pop("conditioning", None)
        t = self._steps(timesteps, x)
        network: Callable[..., X] = self.backbone
        out = network(x, t.astype(jnp.float32), cond, deterministic=not training, **kwargs)
        if out.shape != x.shape:
            raise ValueError(f"the backbone must give an output of its input's shape {x.shape}, got {out.shape}")
        return {"predicted_noise": out, "x_t": x, "timesteps": t}

    def q_sample(self, x_start: X, t: Steps, noise: X | None = None, *, rngs: nnx.Rngs | None = None) -> X:
        r"""A draw of $q(x_t \mid x_0)$: $\sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon$.

        Args:
            x_start: $x_0$, ``(batch, ...)``.
            t: one timestep, or one a sample.
            noise: $\epsilon$, of the shape of ``x_start``; drawn where None.
            rngs: draws the noise; the model's own where None.
        """
        level = self._level(t, x_start)
        if noise is not None:
            return mix(x_start, noise, level)
        return add_noise(x_start, level, draw(rngs or self.rngs, "sample"))[0]

    def p_sample(
        self, model_output: X, x_t: X, t: Steps, *, rngs: nnx.Rngs | None = None, clip_denoised: bool = True
    ) -> X:
        r"""A draw of $p(x_{t-1} \mid x_t)$; at ``t = 0`` its mean.

        Args:
            model_output: predicted noise, ``(batch, ...)``.
            x_t: noisy data, of the same shape.
            t: one timestep, or one a sample.
            rngs: draws the noise; the model's own where None.
            clip_denoised: whether the predicted $x_0$ is held to [-1, 1].
        """
        steps = self._steps(t, x_t)
        x0 = self.predict_start_from_noise(x_t, steps, model_output)
        x0 = jnp.clip(x0, -1, 1) if clip_denoised else x0
        rows = Ddpm().tableau(self.schedule, grid.every(self.schedule.steps))
        place = self.schedule.steps - 1 - steps
        weights = jnp.asarray(rows.evaluate[:, [0, 2]], jnp.float32)[place]
        noise_scale = jnp.asarray(rows.noise, jnp.float32)[place]
        return linear_step([x_t, x0], weights, noise_scale=noise_scale, key=draw(rngs or self.rngs, "sample"))

    def generate(
        self,
        n_samples: int = 1,
        *,
        rngs: nnx.Rngs | None = None,
        shape: tuple[int, ...] | None = None,
        clip_denoised: bool = True,
        **kwargs: Unpack[WalkOptions],
    ) -> X:
        """Samples from noise, along the whole chain.

        Args:
            n_samples: how many, at least 1.
            rngs: draws all noise; the model's own where None.
            shape: of one sample; ``config.input_dim`` where None.
            clip_denoised: whether every predicted $x_0$ is held to [-1, 1].
            **kwargs: see ``walk.WalkOptions``.

        Returns:
            ``(n_samples, *shape)``.

        Raises:
            ValueError: for a count below 1, or initial noise of another shape or with a number that is not finite.
            TypeError: for an unknown argument.
        """
        sampler, times = self._method()
        return self._walk(sampler, times, n_samples, shape, rngs, {**kwargs, "clip_denoised": clip_denoised})

    def predict_start_from_noise(self, x_t: X, t: Steps, noise: X) -> X:
        r"""$x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\, \epsilon) / \sqrt{\bar\alpha_t}$.

        Args:
            x_t: noisy data, ``(batch, ...)``.
            t: one timestep, or one a sample.
            noise: $\epsilon$, of the shape of ``x_t``.
        """
        return self.prediction.clean(noise, x_t, self._level(t, x_t))

    def loss_fn(
        self,
        batch: Array | Mapping[str, Array],
        model_outputs: Mapping[str, Array],
        *,
        rngs: nnx.Rngs | None = None,
        **kwargs: object,
    ) -> Outputs:
        r"""Mean of $\|\epsilon - \epsilon_\theta(x_t, t)\|^2$ over all elements.

        The noise is ``batch["noise"]`` where given; else it is found again in what the network saw:
        $\epsilon = (x_t - \sqrt{\bar\alpha_t}\, x_0) / \sqrt{1 - \bar\alpha_t}$.

        Args:
            batch: clean data, or a mapping with ``"x"`` (clean data), ``"noise"``, or both.
            model_outputs: what calling the model gave.
            rngs: accepted so that all methods are called alike.
            **kwargs: likewise; not read.

        Returns:
            ``loss`` and ``mse``, numbers.

        Raises:
            ValueError: if the noise is neither given nor to be found.
        """
        predicted = model_outputs["predicted_noise"]
        mse = jnp.mean(jnp.square(predicted - self._true_noise(batch, model_outputs)))
        return {"loss": mse, "mse": mse}

    def _true_noise(self, batch: Array | Mapping[str, Array], outputs: Mapping[str, Array]) -> X:
        given: Mapping[str, Array] = batch if isinstance(batch, Mapping) else {"x": batch}
        if "noise" in given:
            return given["noise"]
        missing = [key for key, held in (("x", given), ("x_t", outputs), ("timesteps", outputs)) if key not in held]
        if missing:
            raise ValueError(
                f"the loss needs batch['noise'], or batch['x'] and the outputs of calling the model; missing: {missing}"
            )
        level = self._level(outputs["timesteps"], given["x"])
        weights = jnp.stack([1 / level.sigma, -level.alpha / level.sigma], axis=-1)
        return linear_step([outputs["x_t"], given["x"]], weights)

    def _method(self) -> tuple[Sampler, Host]:
        """How ``generate`` walks."""
        return Ddpm(), grid.every(self.schedule.steps)

    def _walk(
        self,
        sampler: Sampler,
        times: Host,
        n_samples: int,
        shape: tuple[int, ...] | None,
        rngs: nnx.Rngs | None,
        options: SampleOptions,
    ) -> X:
        """``n_samples`` walks along ``times``, in one compiled call."""
        check_options(options, SampleOptions.__annotations__)
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, got {n_samples}")
        full = (n_samples, *(self.config.input_dim if shape is None else shape))
        start_key, walk_key = jax.random.split(draw(rngs or self.rngs, "sample"))
        tableau = sampler.tableau(self.schedule, times)
        start = options.get("initial_noise")
        if start is None:
            start = prior(tableau, full, start_key)
        elif start.shape != full:
            raise ValueError(f"initial_noise must be of shape {full}, got {start.shape}")
        denoise = self._denoiser(options, n_samples)
        return sample(Clipped(denoise) if options.get("clip_denoised", True) else denoise, tableau, start, walk_key)

    def _denoiser(self, options: WalkOptions, batch: int) -> Denoiser:
        """The network as a denoiser, guided to the condition if there is one."""
        network = network_denoiser(self.backbone, self.prediction)
        guidance, cond = options.get("guidance"), options.get("conditioning")
        if cond is None:
            if guidance is not None:
                raise ValueError("guidance needs a condition to steer to: conditioning must be given, got None")
            return network
        if cond.shape[:1] != (batch,):
            raise ValueError(f"conditioning must hold one condition for each of {batch} samples, got {cond.shape}")
        steer = Conditional[Array]() if guidance is None else guidance
        return steer(network, cond)

    def _steps(self, t: Steps, x: X) -> Int[Array, " b"]:
        """``t`` as one timestep a sample, checked as far as it is known."""
        t = jnp.asarray(t)
        if not jnp.issubdtype(t.dtype, jnp.integer):
            raise ValueError(f"timesteps must be integers, got dtype {t.dtype}")
        if t.shape not in ((), x.shape[:1]):
            raise ValueError(f"timesteps must be one, or one a sample {x.shape[:1]}, got shape {t.shape}")
        last = self.schedule.steps - 1
        if not is_traced(t) and t.size and not (t.min() >= 0 and t.max() <= last):
            raise ValueError(f"timesteps must be in [0, {last}], got values from {t.min()} to {t.max()}")
        return per_sample(t, x.shape[0])

    def _level(self, t: Steps, x: X) -> NoiseLevel[Array]:
        return self.schedule.at(self._steps(t, x).astype(jnp.float32))
