"""The base class of all diffusion models."""

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Unpack, cast

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array
from typing_extensions import TypeVar

from artifex.backbones import functional
from artifex.backbones.functional import State
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.checks import check_condition, check_options
from artifex.generative_models.models.diffusion.loss import noise_mse, predicted_noise, variational_bound
from artifex.generative_models.models.diffusion.networks import BackboneFn, check_output
from artifex.generative_models.models.diffusion.parameters import DiffusionParameters, Parameters, parse
from artifex.generative_models.models.diffusion.process import DiffusionProcess, Time, X, per_sample
from artifex.generative_models.models.diffusion.rngs import drop_labels, next_key
from artifex.generative_models.models.diffusion.sampling import SampleOptions, SamplingPlan, first_state, tableau
from artifex.guidance import Conditional, Guidance, bind
from artifex.kernels.ranges import check_whole
from artifex.samplers import DDPM, Sampler, Tableau, sample
from artifex.schedules import X0, Clipped, Denoiser, Estimate, NetworkDenoiser, NoiseLevel, split_variance
from artifex.schedules.arrays import HostArray

Outputs = dict[str, Array]
Out = TypeVar("Out", bound=Array | Mapping[str, Array], default=Outputs)


class DiffusionModel(DiffusionProcess, nnx.Module, Generic[Out]):
    """A network that predicts the noise of a diffusion process, with its loss and its sampler.

    ``Out`` is the type that calling the model returns and ``loss_fn`` takes; a subclass with another overrides both.

    Args:
        config: shape of the data and parameters; see ``parameters.DiffusionParameters``.
        backbone_fn: makes the network, called as ``backbone_fn(config, rngs=rngs)``.
        rngs: initializes the network, and the stream that methods draw from when called without ``rngs``.

    Attributes:
        config: the configuration.
        parameters: those of ``config``, typed.
        schedule: the path from data to noise.
        backbone: the network.

    Raises:
        ValueError: for unknown or ill-typed parameters, or an ``output_dim`` that is not the input's.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    parameters_type: ClassVar[type[Parameters]] = DiffusionParameters

    def __init__(self, config: ModelConfig, backbone_fn: BackboneFn, *, rngs: nnx.Rngs) -> None:
        check_output(config)
        self.config = config
        self.parameters = parse(self.parameters_type, config)
        self.setup_noise_schedule()
        self.backbone = backbone_fn(config, rngs=rngs)
        self.rngs = nnx.Rngs(next_key(rngs, "sample"))

    def setup_noise_schedule(self) -> None:
        """Set ``schedule`` from the parameters; ``betas`` and the other tables are computed from it."""
        self.schedule = self.parameters.schedule()

    @property
    def learns_variance(self) -> bool:
        """True if the network returns twice the channels: predicted noise, then the interpolated log-variance."""
        return False

    @property
    def guidance(self) -> Guidance[Array] | None:
        """The guidance of sampling methods called without one; None follows the condition without guidance."""
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
        """Predict the noise in ``x``.

        Args:
            x: noisy data, ``(batch, *input_dim)``.
            timesteps: one, or one per sample; the network gets ``(batch,)`` of int32.
            rngs: draws which labels are dropped; the model's own if None. The network's dropout has its own stream.
            training: activate dropout, and replace labels by the null label with probability ``class_dropout_prob``.
            **kwargs: ``conditioning``, one condition per sample, for a conditional network; all others are passed to
                the network.

        Returns:
            ``predicted_noise`` with its ``x_t`` and ``timesteps``, and ``predicted_variance`` if the network learns
            one, which interpolates the log-variance from its least, at -1, to its most, at 1.

        Raises:
            ValueError: for timesteps or labels out of range, or a network output of the wrong shape.
        """
        cond = kwargs.pop("conditioning", None)
        if cond is not None:
            check_condition(cond, x.shape[0], self.parameters.num_classes)
            cond = drop_labels(cond, self.parameters, rngs or self.rngs) if training else cond
        out = self.predict(x, self.level(timesteps, x), cond, deterministic=not training, **kwargs)
        return cast("Out", self.named_outputs(out, x, timesteps))

    def generate(
        self,
        n_samples: int = 1,
        *,
        rngs: nnx.Rngs | None = None,
        shape: tuple[int, ...] | None = None,
        clip_denoised: bool = True,
        **kwargs: Unpack[SampleOptions],
    ) -> X:
        """Sample from noise with the model's default sampler.

        Args:
            n_samples: number of samples, at least 1.
            rngs: draws all noise; the model's own if None.
            shape: of one sample; ``config.input_dim`` if None.
            clip_denoised: clip every predicted $x_0$ to [-1, 1].
            **kwargs: see ``sampling.SampleOptions``.

        Returns:
            ``(n_samples, *shape)``.

        Raises:
            ValueError: for a count below 1, labels out of range, guidance without a condition, or initial noise or
                conditions of the wrong shape or with NaN or infinity.
            TypeError: for an unknown argument.
        """
        sampler, times = self.default_method()
        return self._to_data(sample(*self._plan(sampler, times, n_samples, shape, rngs, clip_denoised, kwargs)))

    def loss_fn(
        self,
        batch: Array | Mapping[str, Array],
        model_outputs: Out | Mapping[str, Array],
        *,
        rngs: nnx.Rngs | None = None,
        **kwargs: Any,  # noqa: ANN401 -- a subclass's own
    ) -> Outputs:
        r"""Mean of $\|\epsilon - \epsilon_\theta(x_t, t)\|^2$ over all elements.

        With a learned variance, a thousandth of the variational bound is added; it trains the variance alone.

        The noise is ``batch["noise"]`` if given, else recovered: $\epsilon = (x_t - \alpha_t x_0) / \sigma_t$.

        Args:
            batch: clean data, or a mapping with ``"x"`` (clean data), ``"noise"``, or both.
            model_outputs: the outputs of calling the model; the predicted noise is enough if the noise is given.
            rngs: not used.
            **kwargs: not used.

        Returns:
            Scalars ``loss`` and ``mse``; with a learned variance also ``bound``, the variational bound of the whole
            chain without its end terms, in bits per element.

        Raises:
            ValueError: if the noise is not given and not recoverable, its shape is not that of the predicted noise, or
                ``model_outputs`` has no predicted noise.
        """
        given: Mapping[str, Array] = batch if isinstance(batch, Mapping) else {"x": batch}
        outputs: Mapping[str, Array] = model_outputs if isinstance(model_outputs, Mapping) else {}
        predicted, noise = predicted_noise(model_outputs), self._true_noise({**outputs, **given})
        mse = noise_mse(noise, predicted)
        if "predicted_variance" not in outputs:
            return {"loss": mse, "mse": mse}
        t = outputs["timesteps"]
        level, previous = self.level(t, outputs["x_t"]), self.schedule.at(t.astype(jnp.float32) - 1)
        bound = variational_bound(noise, outputs, level, previous, self.noise_steps)
        return {"loss": mse + 1e-3 * bound, "mse": mse, "bound": bound}

    def predict(
        self,
        x_t: X,
        level: NoiseLevel[Array],
        conditioning: Array | None = None,
        *,
        deterministic: bool = True,
        **kwargs: Any,  # noqa: ANN401 -- the network's own
    ) -> Estimate:
        """Return the network's output for ``x_t``: that of ``prediction``, then the variance if it is learned.

        Args:
            x_t: noisy data, ``(batch, ...)``.
            level: noise level of each sample.
            conditioning: one condition per sample.
            deterministic: deactivate dropout.
            **kwargs: passed to the network.

        Raises:
            ValueError: for a network output of the wrong shape.
        """
        x, t = self.prediction.inputs(x_t, level)
        out: Estimate = self.backbone(x, t, conditioning, deterministic=deterministic, **kwargs)
        self._check_output(out, x_t)
        return out

    def denoiser(
        self,
        conditioning: Array | None = None,
        *,
        guidance: Guidance[Array] | None = None,
        tableau: Tableau[HostArray] | None = None,
    ) -> Denoiser:
        """Return the model as a denoiser for ``artifex.samplers``, with its network in evaluation mode.

        Args:
            conditioning: one condition per sample; None for an unconditional denoiser.
            guidance: how the condition steers; if None the model's own guidance, if any.
            tableau: the sampler's table, needed for scales that vary by step.
        """
        apply, state = functional(self.backbone)
        network = NetworkDenoiser[State, Array](apply, self.prediction, state, self.learns_variance)
        chosen = self.guidance if guidance is None else guidance
        steer = Conditional[Array]() if chosen is None else chosen
        return (steer if tableau is None else bind(steer, tableau))(network, conditioning)

    def named_outputs(self, out: Estimate, x: X, timesteps: Time) -> Outputs:
        """Name the parts of the network's output, and add the inputs that it belongs to.

        Raises:
            ValueError: for a network output of the wrong shape.
        """
        self._check_output(out, x)
        noise, variance = split_variance(out, x)
        outputs = {"predicted_noise": noise, "x_t": x, "timesteps": per_sample(jnp.asarray(timesteps), x.shape[0])}
        return outputs if variance is None else {**outputs, "predicted_variance": variance}

    def _check_output(self, out: Estimate, x_t: X) -> None:
        expected = (*x_t.shape[:-1], (1 + self.learns_variance) * x_t.shape[-1])
        if out.shape != expected:
            raise ValueError(f"the backbone must give an output of shape {expected} for {x_t.shape}, got {out.shape}")

    def _true_noise(self, known: Mapping[str, Array]) -> X:
        """The noise in ``x_t``, given or recovered."""
        if "noise" in known:
            return known["noise"]
        missing = [key for key in ("x", "x_t", "timesteps") if key not in known]
        if missing:
            raise ValueError(
                f"the loss needs batch['noise'], or batch['x'] and the outputs of calling the model; missing: {missing}"
            )
        return X0().to_eps(known["x"], known["x_t"], self.level(known["timesteps"], known["x_t"]))

    def default_method(self) -> tuple[Sampler, HostArray]:
        """The sampler and times of ``generate``."""
        return self._ancestral, self.times(self.noise_steps)

    @property
    def _ancestral(self) -> Sampler:
        """The ancestral sampler, with the learned variance if there is one."""
        return DDPM("learned_range" if self.learns_variance else "fixed_small")

    def _state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the diffused state for a sample of ``shape``."""
        return shape

    def _to_data(self, x: X) -> X:
        """The samples of final states."""
        return x

    def _check_condition(self, condition: Array, shape: tuple[int, ...], tableau: Tableau[HostArray]) -> None:
        """Raise a ValueError for a condition that sampling states of ``shape`` can't take."""
        check_condition(condition, shape[0], self.parameters.num_classes)

    def _plan(
        self,
        sampler: Sampler,
        times: HostArray,
        n_samples: int,
        shape: tuple[int, ...] | None,
        rngs: nnx.Rngs | None,
        clip_denoised: bool,
        options: SampleOptions,
    ) -> SamplingPlan:
        check_options(options, SampleOptions.__annotations__)
        check_whole("n_samples", n_samples, 1)
        for size in shape or ():
            check_whole("shape", size, 1)
        full = (int(n_samples), *self._state_shape(self.config.input_dim if shape is None else shape))
        table = tableau(sampler, self.schedule, times)
        start, key = first_state(table, next_key(rngs or self.rngs, "sample"), full, options.get("initial_noise"))
        denoise = self._denoiser(table, full, options)
        if clip_denoised and self.limit is not None:
            denoise = Clipped(denoise, self.limit)
        return SamplingPlan(denoise, table, start, key)

    def _denoiser(self, tableau: Tableau[HostArray], shape: tuple[int, ...], options: SampleOptions) -> Denoiser:
        """``denoiser`` for sampling states of ``shape``, its condition checked."""
        condition = options.get("conditioning")
        if condition is not None:
            self._check_condition(condition, shape, tableau)
        return self.denoiser(condition, guidance=options.get("guidance"), tableau=tableau)
