r"""The diffusion model that all others build on.

Symbols: $x_t = \alpha_t x_0 + \sigma_t \epsilon$; on the chain of DDPM $\alpha_t = \sqrt{\bar\alpha_t}$ and
$\sigma_t = \sqrt{1 - \bar\alpha_t}$ with $\bar\alpha_t = \prod_{i \le t} (1 - \beta_i)$; timesteps are integers in
``0 ... noise_steps - 1``.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Unpack, cast

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Real
from typing_extensions import TypeVar

from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.networks import BackboneFn, check_output
from artifex.generative_models.models.diffusion.parameters import DiffusionParameters, Parameters, parse
from artifex.generative_models.models.diffusion.walk import (
    PureBackbone,
    SampleOptions,
    State,
    Walk,
    WalkOptions,
    begin,
    check_condition,
    check_finite,
    check_options,
    check_range,
    draw,
    drop_labels,
    per_sample,
    table,
)
from artifex.guidance import Conditional, Guidance, bind
from artifex.kernels import linear_step
from artifex.samplers import DDPM, Sampler, Tableau, sample
from artifex.schedules import (
    X0,
    Clipped,
    Denoiser,
    Discrete,
    Epsilon,
    Estimate,
    HostArray,
    NetworkDenoiser,
    NoiseLevel,
    Prediction,
    Schedule,
    add_noise,
    diffuse,
    grid,
    split_variance,
    vlb_term,
)

X = Float[Array, "b *d"]
Steps = Int[Array, "*b"]
Time = Real[Array, "*b"]
Outputs = dict[str, Array]
Out = TypeVar("Out", bound=Array | Mapping[str, Array], default=Outputs)


def predicted_noise(outputs: Array | Mapping[str, Array]) -> X:
    """The predicted noise in what calling a model gave.

    Raises:
        ValueError: if there is none in it.
    """
    if not isinstance(outputs, Mapping):
        return outputs
    if "predicted_noise" not in outputs:
        raise ValueError(f"a model's outputs must hold 'predicted_noise', got {sorted(outputs)}")
    return outputs["predicted_noise"]


class DiffusionModel(nnx.Module, Generic[Out]):
    """A network that predicts noise, with the process that adds it and the walk that takes it away.

    ``Out`` is what calling the model gives and ``loss_fn`` takes; a subclass that names another overrides both.

    Args:
        config: shape of the data and parameters; see ``parameters.DiffusionParameters``.
        backbone_fn: makes the network, called as ``backbone_fn(config, rngs=rngs)``.
        rngs: initialises the network; where a method is given none, it draws from a stream that starts here.

    Attributes:
        config: as given.
        parameters: those of ``config``, typed.
        schedule: the path from data to noise.
        backbone: the network.

    Raises:
        ValueError: for unknown or ill-typed parameters, or an ``output_dim`` that is not the input's.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    parameters_type: ClassVar[type[Parameters]] = DiffusionParameters
    limit: ClassVar[float | None] = 1.0
    """X0 states of the walk lie in [-limit, limit]; None where they may lie anywhere."""

    prediction: Prediction = Epsilon()

    def __init__(self, config: ModelConfig, backbone_fn: BackboneFn, *, rngs: nnx.Rngs) -> None:
        check_output(config)
        self.config = config
        self.parameters = parse(self.parameters_type, config)
        self.setup_noise_schedule()
        self.backbone = backbone_fn(config, rngs=rngs)
        self.rngs = nnx.Rngs(draw(rngs, "sample"))

    def setup_noise_schedule(self) -> None:
        """Sets ``schedule`` from the parameters; ``betas`` and all that follows from them are read off it."""
        self.schedule: Schedule = self.parameters.schedule()

    @property
    def chain(self) -> Discrete:
        """The schedule of a model whose process is a chain of betas.

        Raises:
            AttributeError: if it is none.
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

    @property
    def learns_variance(self) -> bool:
        """Whether the network gives twice the channels: predicted noise, then where the variance of a step lies."""
        return False

    @property
    def guidance(self) -> Guidance[Array] | None:
        """How a condition steers the walk where a method is not told; None follows it as it is."""
        return None

    def __call__(
        self,
        x: X,
        timesteps: Time,
        *,
        rngs: nnx.Rngs | None = None,
        training: bool = False,
        **kwargs: Any,  # noqa: ANN401 -- the network's own
    ) -> Out:
        """The noise that the network sees in ``x``.

        Args:
            x: noisy data, ``(batch, *input_dim)``.
            timesteps: one, or one a sample, ``(batch,)``; the network is called with one a sample, of int32.
            rngs: draws which labels are dropped; the model's own where None. The network's dropout has its own stream.
            training: whether dropout is active and a share ``class_dropout_prob`` of the labels becomes the null label.
            **kwargs: ``conditioning``, one condition a sample, for a network that takes one; all else goes to the
                network as it is.

        Returns:
            ``predicted_noise`` beside the ``x_t`` and ``timesteps`` that it belongs to, and ``predicted_variance``
            where the network learns it: its place, from -1, the least, to 1, the most.

        Raises:
            ValueError: for timesteps or labels out of range, or a network whose output is not of its input's shape.
        """
        cond = kwargs.pop("conditioning", None)
        if cond is not None:
            check_condition(cond, x.shape[0], self.parameters.num_classes)
            cond = drop_labels(cond, self.parameters, rngs or self.rngs) if training else cond
        out = self._network(x, self._level(timesteps, x), cond, deterministic=not training, **kwargs)
        return cast("Out", self._outputs(out, x, timesteps))

    def q_sample(self, x_start: X, t: Time, noise: X | None = None, *, rngs: nnx.Rngs | None = None) -> X:
        r"""A draw of $q(x_t \mid x_0)$: $\alpha_t x_0 + \sigma_t \epsilon$.

        Args:
            x_start: $x_0$, ``(batch, ...)``.
            t: one timestep, or one a sample.
            noise: $\epsilon$, of the shape of ``x_start``; drawn where None.
            rngs: draws the noise; the model's own where None.

        Raises:
            ValueError: for a timestep out of range, or data that are known not to be finite.
        """
        check_finite(x_start=x_start)
        level = self._level(t, x_start)
        if noise is not None:
            check_finite(noise=noise)
            return diffuse(x_start, noise, level)
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

        Raises:
            ValueError: for a timestep out of range, or data that are known not to be finite.
        """
        check_finite(model_output=model_output, x_t=x_t)
        steps = self._steps(t, x_t)
        x0 = self.prediction.to_x0(model_output, x_t, self._level(steps, x_t))
        x0 = jnp.clip(x0, -self.limit, self.limit) if clip_denoised and self.limit is not None else x0
        rows = table(DDPM(), self.schedule, self._times(self.noise_steps))
        place = self.noise_steps - 1 - steps
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
            ValueError: for a count below 1, labels out of range, guidance without a condition, or initial noise or
                conditions of another shape or with a number that is not finite.
            TypeError: for an unknown argument.
        """
        check_options(kwargs, WalkOptions.__annotations__)
        options: SampleOptions = {**kwargs, "clip_denoised": clip_denoised}
        sampler, times = self._method()
        return self._finish(sample(*self._walk(sampler, times, n_samples, shape, rngs, options)))

    def predict_start_from_noise(self, x_t: X, t: Time, noise: X) -> X:
        r"""$x_0 = (x_t - \sigma_t \epsilon) / \alpha_t$.

        Args:
            x_t: noisy data, ``(batch, ...)``.
            t: one timestep, or one a sample.
            noise: $\epsilon$, of the shape of ``x_t``.

        Raises:
            ValueError: for a timestep out of range, or data that are known not to be finite.
        """
        check_finite(x_t=x_t, noise=noise)
        return Epsilon().to_x0(noise, x_t, self._level(t, x_t))

    def loss_fn(
        self,
        batch: Array | Mapping[str, Array],
        model_outputs: Out | Mapping[str, Array],
        *,
        rngs: nnx.Rngs | None = None,
        **kwargs: Any,  # noqa: ANN401 -- a subclass's own
    ) -> Outputs:
        r"""Mean of $\|\epsilon - \epsilon_\theta(x_t, t)\|^2$ over all elements.

        Where a variance is learned, a thousandth of the variational bound is added, which trains that alone.

        The noise is ``batch["noise"]`` where given; else it is found again in what the network saw:
        $\epsilon = (x_t - \alpha_t x_0) / \sigma_t$.

        Args:
            batch: clean data, or a mapping with ``"x"`` (clean data), ``"noise"``, or both.
            model_outputs: what calling the model gave; the predicted noise alone will do where the noise is given.
            rngs: accepted so that all methods are called alike.
            **kwargs: likewise; not read.

        Returns:
            ``loss`` and ``mse``, numbers; with a learned variance also ``bound``, that of the whole chain in bits a
            number, but for its ends.

        Raises:
            ValueError: if the noise is neither given nor to be found, or of another shape than the predicted one, or
                ``model_outputs`` holds no predicted noise.
        """
        given: Mapping[str, Array] = batch if isinstance(batch, Mapping) else {"x": batch}
        outputs: Mapping[str, Array] = model_outputs if isinstance(model_outputs, Mapping) else {}
        predicted, noise = predicted_noise(model_outputs), self._true_noise({**outputs, **given})
        if noise.shape != predicted.shape:
            raise ValueError(
                f"the noise must be of the shape of the predicted one, {predicted.shape}, got {noise.shape}"
            )
        mse = jnp.mean(jnp.square(predicted - noise))
        if "predicted_variance" not in outputs:
            return {"loss": mse, "mse": mse}
        x_t, t = outputs["x_t"], outputs["timesteps"]
        level, before = self._level(t, x_t), self.schedule.at(t.astype(jnp.float32) - 1)
        clean, estimate = (Epsilon().to_x0(eps, x_t, level) for eps in (noise, predicted))
        steps = vlb_term(clean, estimate, outputs["predicted_variance"], level, before)
        bound = self.noise_steps * jnp.mean(steps) / math.log(2)
        return {"loss": mse + 1e-3 * bound, "mse": mse, "bound": bound}

    def _outputs(self, out: Estimate, x: X, timesteps: Time) -> Outputs:
        """The network's output under its names, with what it belongs to."""
        noise, variance = split_variance(out, x)
        outputs = {"predicted_noise": noise, "x_t": x, "timesteps": per_sample(jnp.asarray(timesteps), x.shape[0])}
        return outputs if variance is None else {**outputs, "predicted_variance": variance}

    def _true_noise(self, known: Mapping[str, Array]) -> X:
        """The noise in ``x_t``."""
        if "noise" in known:
            return known["noise"]
        missing = [key for key in ("x", "x_t", "timesteps") if key not in known]
        if missing:
            raise ValueError(
                f"the loss needs batch['noise'], or batch['x'] and the outputs of calling the model; missing: {missing}"
            )
        return X0().to_eps(known["x"], known["x_t"], self._level(known["timesteps"], known["x_t"]))

    def _network(
        self,
        x_t: X,
        level: NoiseLevel[Array],
        cond: Array | None,
        *,
        deterministic: bool = True,
        **kwargs: Any,  # noqa: ANN401
    ) -> Estimate:
        """The network's output, called as in a walk."""
        x, t = self.prediction.inputs(x_t, level)
        out: Estimate = self.backbone(x, t, cond, deterministic=deterministic, **kwargs)
        expected = (*x_t.shape[:-1], (1 + self.learns_variance) * x_t.shape[-1])
        if out.shape != expected:
            raise ValueError(f"the backbone must give an output of shape {expected} for {x_t.shape}, got {out.shape}")
        return out

    def _method(self) -> tuple[Sampler, HostArray]:
        """How ``generate`` walks."""
        return self._ancestral, self._times(self.noise_steps)

    @property
    def _ancestral(self) -> Sampler:
        """The chain's own sampler."""
        return DDPM("learned_range" if self.learns_variance else "fixed_small")

    def _times(self, steps: int) -> HostArray:
        """The times of a walk of ``steps`` network calls; all ``noise_steps`` of them are the timesteps."""
        return grid.trailing(self.noise_steps, steps)

    def _state(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what is walked, for a sample of ``shape``."""
        return shape

    def _finish(self, x: X) -> X:
        """What a walk's end is as samples."""
        return x

    def _walk(
        self,
        sampler: Sampler,
        times: HostArray,
        n_samples: int,
        shape: tuple[int, ...] | None,
        rngs: nnx.Rngs | None,
        options: SampleOptions,
    ) -> Walk:
        """``n_samples`` walks along ``times``, ready to begin."""
        check_options(options)
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, got {n_samples}")
        full = (n_samples, *self._state(self.config.input_dim if shape is None else shape))
        tableau = table(sampler, self.schedule, times)
        drawn, key = begin(tableau, draw(rngs or self.rngs, "sample"), full)
        noise = options.get("initial_noise")
        start = drawn if noise is None else noise
        if start.shape != full:
            raise ValueError(f"initial_noise must be of shape {full}, got {start.shape}")
        denoise = self._denoiser(options, full, tableau)
        if options.get("clip_denoised", True) and self.limit is not None:
            denoise = Clipped(denoise, self.limit)
        return Walk(denoise, tableau, start, key)

    def _denoiser(self, options: WalkOptions, shape: tuple[int, ...], tableau: Tableau[HostArray]) -> Denoiser:
        """The network as a denoiser of states of ``shape``, guided along ``tableau`` if there is a condition."""
        graphdef, state = nnx.split(self.backbone)
        network = NetworkDenoiser[State, Array](PureBackbone(graphdef), self.prediction, state, self.learns_variance)
        guidance, cond = options.get("guidance", self.guidance), options.get("conditioning")
        if cond is not None:
            check_condition(cond, shape[0], self.parameters.num_classes)
        steer = Conditional[Array]() if guidance is None else bind(guidance, tableau)
        return steer(network, cond)

    def _steps(self, t: Steps, x: X) -> Int[Array, " b"]:
        """``t`` as one timestep a sample, checked as far as it is known."""
        t = jnp.asarray(t)
        if not jnp.issubdtype(t.dtype, jnp.integer):
            raise ValueError(f"timesteps must be integers, got dtype {t.dtype}")
        if t.shape not in ((), x.shape[:1]):
            raise ValueError(f"timesteps must be one, or one a sample {x.shape[:1]}, got shape {t.shape}")
        check_range("timesteps", t, 0, self.noise_steps - 1)
        return per_sample(t, x.shape[0])

    def _level(self, t: Time, x: X) -> NoiseLevel[Array]:
        """The levels of timesteps ``t``, one a sample."""
        return self.schedule.at(self._steps(t, x))
