r"""Guidance under its documented names: towards a condition, by the network itself or by a classifier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel, Out, Time, predicted_noise
from artifex.generative_models.models.diffusion.networks import BackboneFn
from artifex.generative_models.models.diffusion.walk import (
    Pure,
    State,
    WalkOptions,
    check_condition,
    check_finite,
    check_null,
    table,
)
from artifex.guidance import ByStep, Classifier, ClassifierFree, Guidance, Scale, bind
from artifex.guidance import apply_guidance as combine
from artifex.guidance import cosine_guidance_schedule as cosine_guidance_schedule
from artifex.guidance import linear_guidance_schedule as linear_guidance_schedule
from artifex.guidance.scales import check_scale
from artifex.samplers import DDPM, Tableau
from artifex.schedules import X0, Denoiser, Estimate, HostArray, NoiseLevel, expand, map_x0, split_variance

X = Float[Array, "b *d"]
GuidanceScale = float | Array | Callable[[int, int], float | Array]
"""One number, one a sample, or a schedule called as ``(step, total_steps)``, such as ``linear_guidance_schedule``."""
GuidanceMethod = Literal["classifier_free", "classifier"]


def scale_of(guidance_scale: GuidanceScale) -> Scale:
    """What the guidance package knows as a scale."""
    if not callable(guidance_scale):
        return guidance_scale
    schedule = guidance_scale
    return ByStep(lambda _steps, total, _start, _end: jnp.asarray([schedule(step, total) for step in range(total)]))


def apply_guidance(
    noise_pred_cond: Array | Mapping[str, Array],
    noise_pred_uncond: Array | Mapping[str, Array],
    guidance_scale: float | Array,
) -> X:
    r"""$\epsilon_u + w (\epsilon_c - \epsilon_u)$.

    Args:
        noise_pred_cond: $\epsilon_c$, ``(batch, ...)``, or what calling a model with a condition gave.
        noise_pred_uncond: $\epsilon_u$, of the same shape, or what calling it without gave.
        guidance_scale: w, one number or one a sample; 0 is unconditional, 1 conditional.

    Raises:
        ValueError: if the two differ in shape, there is not one scale or one a sample, a scale is known not to be
            finite, or what calling a model gave holds no ``predicted_noise``.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598
    """
    cond, uncond = (predicted_noise(p) for p in (noise_pred_cond, noise_pred_uncond))
    scale = jnp.asarray(guidance_scale, cond.dtype)
    if scale.shape not in ((), cond.shape[:1]):
        raise ValueError(f"guidance_scale must be one, or one a sample {cond.shape[:1]}, got shape {scale.shape}")
    check_finite(guidance_scale=scale)
    return combine(cond, uncond, expand(scale, cond))


@dataclass(frozen=True)
class ClassifierFreeGuidance:
    r"""$\epsilon_\theta(x_t, \varnothing) + w\, (\epsilon_\theta(x_t, c) - \epsilon_\theta(x_t, \varnothing))$.

    Attributes:
        guidance_scale: w, see ``GuidanceScale``; 1 follows the condition and costs no second evaluation.
        unconditional_conditioning: the condition that means none, for one sample or one a sample; None is the model's
            own.

    Raises:
        ValueError: if the scale is not finite.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598
    """

    guidance_scale: GuidanceScale = 7.5
    unconditional_conditioning: Any | None = None

    def __post_init__(self) -> None:
        check_scale(scale_of(self.guidance_scale))

    def guidance(self, model: DiffusionModel[Out]) -> Guidance[Array]:
        """This guidance as ``guidance=`` of a sampling method of ``model``.

        Raises:
            ValueError: for an ``unconditional_conditioning`` that is no label of the model, nor its null label.
        """
        null = self.unconditional_conditioning
        classes = model.parameters.num_classes
        if null is not None and classes is not None:
            check_null(jnp.asarray(null), classes)
        null = classes if null is None else null
        return ClassifierFree(scale_of(self.guidance_scale), None if null is None else jnp.asarray(null))

    def __call__(
        self,
        model: DiffusionModel[Out],
        x: X,
        t: Time,
        conditioning: Array,
        *,
        rngs: nnx.Rngs | None = None,
        **kwargs: Any,  # noqa: ANN401 -- the network's own
    ) -> X:
        """The guided noise.

        Args:
            model: any diffusion model.
            x: noisy data, ``(batch, ...)``.
            t: one timestep, or one a sample.
            conditioning: one condition a sample.
            rngs: accepted so that all are called alike.
            **kwargs: go to the network as they are.

        Raises:
            ValueError: for timesteps or labels out of range, or data that are known not to be finite.
        """
        check_finite(x=x)
        return split_variance(self.estimate(model, x, t, conditioning, **kwargs), x)[0]

    def estimate(
        self,
        model: DiffusionModel[Out],
        x: X,
        t: Time,
        conditioning: Array,
        **kwargs: Any,  # noqa: ANN401 -- the network's own
    ) -> Estimate:
        """The guided noise, and beside it the guided variance of a network that learns one."""
        check_condition(conditioning, x.shape[0], model.parameters.num_classes)

        # the weights sum to 1, so the rule says the same on noise as on x0
        def noise(x_t: X, level: NoiseLevel[jax.Array], cond: Array | None) -> Estimate:
            out = model._network(x_t, level, cond, **kwargs)
            return map_x0(lambda said: model.prediction.to_eps(said, x_t, level), out, x_t)

        return bind(self.guidance(model), whole_chain(model))(noise, conditioning)(x, model._level(t, x))


@dataclass(frozen=True)
class ClassifierGuidance:
    r"""$\epsilon_\theta(x_t) - w\, \sigma_t \nabla_{x_t} \log p_\phi(y \mid x_t)$.

    Attributes:
        classifier: trained on noisy data; called as ``(x_t, t)`` it gives logits, ``(batch, classes)``; t is one time a
            sample, as the model's network gets it.
        guidance_scale: w, see ``GuidanceScale``.
        class_label: y where a call names none.

    Raises:
        ValueError: if the scale is not finite.

    References: Dhariwal and Nichol 2021, https://arxiv.org/abs/2105.05233
    """

    classifier: nnx.Module
    guidance_scale: GuidanceScale = 1.0
    class_label: int | None = None

    def __post_init__(self) -> None:
        check_scale(scale_of(self.guidance_scale))

    def guidance(self, model: DiffusionModel[Out]) -> Guidance[Array]:
        """This guidance as ``guidance=`` of a sampling method of ``model``; its condition is the label."""
        logits = jax.tree_util.Partial(*self._pure)  # type: ignore[no-untyped-call]
        return Classifier(logits, scale_of(self.guidance_scale))

    def check_labels(self, labels: Array, shape: tuple[int, ...], time: DTypeLike = jnp.int32) -> None:
        """Raises a ValueError unless the classifier gives logits for data of ``shape``, and has these labels.

        Args:
            labels: one a sample.
            shape: of the data, ``(batch, ...)``.
            time: the dtype of the times that the classifier is called with.
        """
        batch = shape[0]
        x = jax.ShapeDtypeStruct(shape, jnp.float32)  # type: ignore[no-untyped-call]
        t = jax.ShapeDtypeStruct((batch,), time)  # type: ignore[no-untyped-call]
        logits = jax.eval_shape(_logits, *self._pure, x, t)
        if logits.ndim != 2 or logits.shape[0] != batch:
            raise ValueError(f"the classifier must give logits of shape ({batch}, classes), got {logits.shape}")
        check_condition(labels, batch, logits.shape[1])

    def __call__(
        self,
        model: DiffusionModel[Out],
        x: X,
        t: Time,
        *,
        rngs: nnx.Rngs | None = None,
        class_label: int | Array | None = None,
        **kwargs: Any,  # noqa: ANN401 -- the network's own
    ) -> X:
        """The guided noise.

        Args:
            model: any diffusion model.
            x: noisy data, ``(batch, ...)``.
            t: one timestep, or one a sample.
            rngs: accepted so that all are called alike.
            class_label: y, one or one a sample; the label given at construction where None.
            **kwargs: ``conditioning``, for a network that takes a condition of its own; all else goes to the network
                as it is.

        Raises:
            ValueError: without a label, for timesteps or labels out of range, a classifier whose output has another
                shape, or data that are known not to be finite.
        """
        label = self.class_label if class_label is None else class_label
        if label is None:
            raise ValueError("class_label must be given, here or at construction, got None")
        check_finite(x=x)
        labels = jnp.broadcast_to(jnp.asarray(label), x.shape[:1])
        level, condition = model._level(t, x), kwargs.pop("conditioning", None)
        self.check_labels(labels, x.shape, level.t.dtype)

        def clean(x_t: X, level: NoiseLevel[jax.Array], cond: Array | None) -> Estimate:
            out = model._network(x_t, level, condition, **kwargs)
            return map_x0(lambda said: model.prediction.to_x0(said, x_t, level), out, x_t)

        guided = bind(self.guidance(model), whole_chain(model))(clean, labels)
        return X0().to_eps(split_variance(guided(x, level), x)[0], x, level)

    @property
    def _pure(self) -> tuple[Pure, State]:
        classifier: Any = self.classifier
        graphdef, state = nnx.split(classifier)
        return Pure(graphdef), state


_logits = jax.jit(Pure.__call__, static_argnums=0)


def whole_chain(model: DiffusionModel[Out]) -> Tableau[HostArray]:
    """The walk along all timesteps, by which a schedule of scales knows the step of a single one."""
    return table(DDPM(), model.schedule, model._times(model.noise_steps))


class GuidedDiffusionModel(DiffusionModel):
    """A diffusion model whose ``generate`` is guided to its ``conditioning``.

    Args:
        config: as in ``DiffusionModel``.
        backbone_fn: as in ``DiffusionModel``; with ``"classifier_free"`` its network takes a condition, and is told
            ``num_classes``, or None where the parameters name none, for no condition.
        rngs: as in ``DiffusionModel``.
        guidance_method: ``"classifier_free"``, ``"classifier"``, or None, which follows a condition as it is.
        guidance_scale: see ``GuidanceScale``.
        classifier: for ``"classifier"``, see ``ClassifierGuidance``; the condition is then its label, and the network
            is called without.

    Raises:
        ValueError: as ``DiffusionModel``, for an unknown method, a scale that is not finite, or if a classifier and its
            method don't come together.
    """

    def __init__(
        self,
        config: ModelConfig,
        backbone_fn: BackboneFn,
        *,
        rngs: nnx.Rngs,
        guidance_method: GuidanceMethod | None = None,
        guidance_scale: GuidanceScale = 7.5,
        classifier: nnx.Module | None = None,
    ) -> None:
        super().__init__(config, backbone_fn, rngs=rngs)
        if guidance_method not in (None, "classifier_free", "classifier"):
            raise ValueError(
                f"guidance_method must be 'classifier_free', 'classifier' or None, got {guidance_method!r}"
            )
        if (classifier is not None) != (guidance_method == "classifier"):
            raise ValueError(
                "a classifier goes with guidance_method 'classifier', got "
                f"{type(classifier).__name__} and {guidance_method!r}"
            )
        check_scale(scale_of(guidance_scale))
        self.guidance_method = guidance_method
        self.guidance_scale = guidance_scale
        self.classifier = classifier

    @property
    def guidance(self) -> Guidance[Array] | None:
        """The guidance that the constructor was told."""
        if self.classifier is not None:
            return ClassifierGuidance(self.classifier, self.guidance_scale).guidance(self)
        if self.guidance_method is not None:
            return ClassifierFreeGuidance(self.guidance_scale).guidance(self)
        return None

    def _denoiser(self, options: WalkOptions, shape: tuple[int, ...], tableau: Tableau[HostArray]) -> Denoiser:
        labels = options.get("conditioning")
        if self.classifier is not None and labels is not None:
            time = jax.dtypes.canonicalize_dtype(tableau.level.t.dtype)
            ClassifierGuidance(self.classifier).check_labels(labels, shape, time)
        return super()._denoiser(options, shape, tableau)
