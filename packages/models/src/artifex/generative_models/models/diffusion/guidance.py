"""The documented guidance: classifier-free, or by a classifier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.backbones import FunctionalModule, functional
from artifex.backbones.functional import State
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel, Out
from artifex.generative_models.models.diffusion.checks import check_condition, check_finite, check_null
from artifex.generative_models.models.diffusion.loss import predicted_noise
from artifex.generative_models.models.diffusion.networks import BackboneFn
from artifex.generative_models.models.diffusion.process import Time, X
from artifex.generative_models.models.diffusion.sampling import tableau
from artifex.guidance import ByStep, Classifier, ClassifierFree, Guidance, Scale, bind
from artifex.guidance import apply_guidance as combine
from artifex.guidance import cosine_guidance_schedule as cosine_guidance_schedule
from artifex.guidance import linear_guidance_schedule as linear_guidance_schedule
from artifex.guidance.scales import check_scale
from artifex.samplers import DDPM, Tableau
from artifex.schedules import X0, Estimate, NoiseLevel, expand, map_x0, split_variance
from artifex.schedules.arrays import HostArray

GuidanceScale = float | Array | Callable[[int, int], float | Array]
"""One number, one per sample, or a schedule called as ``(step, total_steps)``, such as ``linear_guidance_schedule``."""
GuidanceMethod = Literal["classifier_free", "classifier"]


def scale_of(guidance_scale: GuidanceScale) -> Scale:
    """The scale as the guidance package takes it."""
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
        noise_pred_cond: $\epsilon_c$, ``(batch, ...)``, or a model's outputs under a condition.
        noise_pred_uncond: $\epsilon_u$, of the same shape, or a model's outputs without one.
        guidance_scale: w, one number or one per sample; 0 is unconditional, 1 conditional.

    Raises:
        ValueError: for different shapes, a scale of the wrong shape or not finite, or outputs without noise.

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
        guidance_scale: w, see ``GuidanceScale``; 1 is conditional and costs one evaluation.
        unconditional_conditioning: the null condition, one or one per sample; the model's own if None.

    Raises:
        ValueError: if the scale is not finite.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598
    """

    guidance_scale: GuidanceScale = 7.5
    unconditional_conditioning: Any | None = None

    def __post_init__(self) -> None:
        check_scale(scale_of(self.guidance_scale))

    def guidance(self, model: DiffusionModel[Out]) -> Guidance[Array]:
        """Return this guidance for the ``guidance`` argument of the sampling methods of ``model``.

        Raises:
            ValueError: for an ``unconditional_conditioning`` other than a label of the model or its null label.
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
        """Predict the guided noise.

        Args:
            model: any diffusion model.
            x: noisy data, ``(batch, ...)``.
            t: one timestep, or one per sample.
            conditioning: one condition per sample.
            rngs: not used.
            **kwargs: passed to the network.

        Raises:
            ValueError: for timesteps or labels out of range, or data with NaN or infinity.
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
        """Predict the guided noise, with the guided variance if the network learns one."""
        check_condition(conditioning, x.shape[0], model.parameters.num_classes)

        # the weights sum to 1, so the rule is the same for noise as for x0
        def noise(x_t: X, level: NoiseLevel[jax.Array], cond: Array | None) -> Estimate:
            out = model.predict(x_t, level, cond, **kwargs)
            return map_x0(lambda output: model.prediction.to_eps(output, x_t, level), out, x_t)

        return bind(self.guidance(model), whole_chain(model))(noise, conditioning)(x, model.level(t, x))


@dataclass(frozen=True)
class ClassifierGuidance:
    r"""$\epsilon_\theta(x_t) - w\, \sigma_t \nabla_{x_t} \log p_\phi(y \mid x_t)$.

    Attributes:
        classifier: trained on noisy data; called as ``(x_t, t)`` with t as the model's network gets it, it returns
            logits, ``(batch, classes)``.
        guidance_scale: w, see ``GuidanceScale``.
        class_label: y, unless a call has its own.

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
        """Return this guidance for the sampling methods of ``model``; their ``conditioning`` is the label."""
        logits = jax.tree_util.Partial(*self._functional)  # type: ignore[no-untyped-call]
        return Classifier(logits, scale_of(self.guidance_scale))

    def check_labels(self, labels: Array, shape: tuple[int, ...], time: DTypeLike = jnp.int32) -> None:
        """Raise a ValueError unless the classifier returns logits for data of ``shape``, and has these labels.

        Args:
            labels: one per sample.
            shape: of the data, ``(batch, ...)``.
            time: the dtype of the classifier's times.
        """
        batch = shape[0]
        x = jax.ShapeDtypeStruct(shape, jnp.float32)  # type: ignore[no-untyped-call]
        t = jax.ShapeDtypeStruct((batch,), time)  # type: ignore[no-untyped-call]
        logits = jax.eval_shape(_logits, *self._functional, x, t)
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
        """Predict the guided noise.

        Args:
            model: any diffusion model.
            x: noisy data, ``(batch, ...)``.
            t: one timestep, or one per sample.
            rngs: not used.
            class_label: y, one or one per sample; the label given at construction if None.
            **kwargs: ``conditioning``, for a conditional network; all others are passed to the network.

        Raises:
            ValueError: without a label, for timesteps or labels out of range, a classifier with output of the wrong
                shape, or data with NaN or infinity.
        """
        label = self.class_label if class_label is None else class_label
        if label is None:
            raise ValueError("class_label must be given, here or at construction, got None")
        check_finite(x=x)
        labels = jnp.broadcast_to(jnp.asarray(label), x.shape[:1])
        level, condition = model.level(t, x), kwargs.pop("conditioning", None)
        self.check_labels(labels, x.shape, level.t.dtype)

        def clean(x_t: X, level: NoiseLevel[jax.Array], cond: Array | None) -> Estimate:
            out = model.predict(x_t, level, condition, **kwargs)
            return map_x0(lambda output: model.prediction.to_x0(output, x_t, level), out, x_t)

        guided = bind(self.guidance(model), whole_chain(model))(clean, labels)
        return X0().to_eps(split_variance(guided(x, level), x)[0], x, level)

    @property
    def _functional(self) -> tuple[FunctionalModule[Array], State]:
        classifier: Any = self.classifier
        return functional(classifier)


_logits = jax.jit(FunctionalModule.__call__, static_argnums=0)


def whole_chain(model: DiffusionModel[Out]) -> Tableau[HostArray]:
    """The table of sampling along all timesteps, to which scales that vary by step are bound."""
    return tableau(DDPM(), model.schedule, model.times(model.noise_steps))


class GuidedDiffusionModel(DiffusionModel):
    """A diffusion model with guidance of its own.

    Args:
        config: as of ``DiffusionModel``.
        backbone_fn: as of ``DiffusionModel``; for ``"classifier_free"`` the network must take a condition. Its null
            condition is the label ``num_classes``, or None if the parameters have no ``num_classes``.
        rngs: as of ``DiffusionModel``.
        guidance_method: ``"classifier_free"``, ``"classifier"``, or None for a conditional model without guidance.
        guidance_scale: see ``GuidanceScale``.
        classifier: for ``"classifier"``, see ``ClassifierGuidance``; the condition is then its label, and the network
            is unconditional.

    Raises:
        ValueError: as ``DiffusionModel``, for an unknown method, a scale not finite, or a classifier of another method.
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
        """The guidance of ``guidance_method``."""
        if self.classifier is not None:
            return ClassifierGuidance(self.classifier, self.guidance_scale).guidance(self)
        if self.guidance_method is not None:
            return ClassifierFreeGuidance(self.guidance_scale).guidance(self)
        return None

    def _check_condition(self, condition: Array, shape: tuple[int, ...], tableau: Tableau[HostArray]) -> None:
        if self.classifier is not None:
            time = jax.dtypes.canonicalize_dtype(tableau.level.t.dtype)
            ClassifierGuidance(self.classifier).check_labels(condition, shape, time)
        super()._check_condition(condition, shape, tableau)
