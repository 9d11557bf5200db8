"""Documented models by class."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal

import jax
from flax import nnx
from jaxtyping import Array, Key
from pydantic import ConfigDict, Field, PositiveInt, ValidationError, model_validator

from artifex.generative_models.models.diffusion import (
    DDIMModel,
    DDPMModel,
    DiffusionModel,
    DiTModel,
    GuidedDiffusionModel,
    LDMModel,
    ModelConfig,
    ScoreDiffusionModel,
)
from artifex.generative_models.models.diffusion.latent import Stage
from artifex.generative_models.models.diffusion.networks import network
from artifex.generative_models.models.diffusion.parameters import parse
from artifex.training.section import Section

Model = DiffusionModel[Any]
CLASSES: Final[Mapping[str, type[Model]]] = {
    "DiffusionModel": DiffusionModel,
    "DDPMModel": DDPMModel,
    "DDIMModel": DDIMModel,
    "ScoreDiffusionModel": ScoreDiffusionModel,
    "LDMModel": LDMModel,
    "DiTModel": DiTModel,
    "GuidedDiffusionModel": GuidedDiffusionModel,
}


class ModelSection(Section):
    """A documented model, trained with its own loss on its own schedule.

    Further fields are the parameters of the class, for instance noise_steps or hidden_size. The number of classes is
    the data's unless it is given.

    Attributes:
        class: DDPMModel, DDIMModel, ScoreDiffusionModel, LDMModel, DiTModel, GuidedDiffusionModel or DiffusionModel.
        hidden_dims: widths of the default network's levels; null is the model's default.
        activation: of the default network; null is the model's default.
        stage: of an LDMModel, what is trained: autoencoder, diffusion or joint; null is joint.
        guidance_method: of a GuidedDiffusionModel: classifier_free; null is none. classifier needs a classifier, which
            only Trainer.from_model takes.
        guidance_scale: of a GuidedDiffusionModel; null is the model's default.
    """

    model_config = ConfigDict(extra="allow", serialize_by_alias=True)

    class_: str = Field(alias="class")
    hidden_dims: tuple[PositiveInt, ...] | None = None
    activation: str | None = None
    stage: Stage | None = None
    guidance_method: Literal["classifier_free", "classifier"] | None = None
    guidance_scale: float | None = None

    @classmethod
    def from_model(cls, model: Model, stage: Stage | None = None) -> "ModelSection":
        """Describe a model; one of a class of its own can't be built from the section again."""
        config = model.config
        fields: dict[str, Any] = {"hidden_dims": config.hidden_dims, "activation": config.activation, "stage": stage}
        if isinstance(model, GuidedDiffusionModel):
            scale = model.guidance_scale
            fields["guidance_method"] = model.guidance_method
            fields["guidance_scale"] = float(scale) if isinstance(scale, int | float) else None
        fields |= config.parameters
        return cls.model_construct(None, class_=type(model).__name__, **fields)

    @model_validator(mode="after")
    def _known(self) -> "ModelSection":
        name = self.class_
        if name not in CLASSES:
            near = get_close_matches(name, CLASSES, n=1, cutoff=0)[0]
            raise ValueError(f"class must be one of {', '.join(CLASSES)}, got {name!r}; the nearest is {near}")
        known = list(CLASSES[name].parameters_type.model_fields)
        for option, owner in (("stage", LDMModel), *((o, GuidedDiffusionModel) for o in _GUIDANCE)):
            if CLASSES[name] is owner:
                known.append(option)
            elif getattr(self, option) is not None:
                raise ValueError(f"{option} must be null for {name}: it is an option of {owner.__name__}")
        for option in self.parameters:
            if option not in known:
                near = get_close_matches(option, [*known, "hidden_dims", "activation"], n=1, cutoff=0)[0]
                raise ValueError(f"{option} is not known of {name}; the nearest known is {near}")
        try:
            parse(CLASSES[name].parameters_type, self._config((1,), {"num_classes": 1}))
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{part}: " for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            raise ValueError(f"{where}{message[0].lower()}{message[1:]}, got {first['input']!r}") from None
        return self

    @property
    def parameters(self) -> dict[str, object]:
        """The given parameters of the class."""
        return dict(self.model_extra or {})

    def build(self, shape: tuple[int, ...], num_classes: int | None, key: Key[Array, ""]) -> Model:
        """Build the model.

        Args:
            shape: of one example of the data.
            num_classes: number of labels of the data; None where it has none.
            key: of the initial parameters.

        Raises:
            ValueError: if model and data do not fit.
        """
        if self.guidance_method == "classifier":
            raise ValueError("model.guidance_method classifier needs a classifier: use Trainer.from_model")
        classes: dict[str, object] = {} if num_classes is None else {"num_classes": num_classes}
        try:
            return self._make(self._config(shape, classes), nnx.Rngs(key))
        except (ValueError, TypeError) as error:
            raise ValueError(f"model: {self.class_} can't take data of shape {shape}: {error}") from error

    def abstract(self, shape: tuple[int, ...], num_classes: int | None) -> Model:
        """Return the model with shapes in place of arrays; raise as ``build`` does."""
        model: Model = nnx.eval_shape(lambda: self.build(shape, num_classes, jax.random.key(0)))
        return model

    def _config(self, shape: tuple[int, ...], defaults: Mapping[str, object]) -> ModelConfig:
        return ModelConfig(
            name="model", model_class=self.class_, input_dim=shape, hidden_dims=self.hidden_dims,
            activation=self.activation, parameters={**defaults, **self.parameters},
        )  # fmt: skip

    def _make(self, config: ModelConfig, rngs: nnx.Rngs) -> Model:
        model_class: Callable[..., Model] = CLASSES[self.class_]
        options: dict[str, object] = {} if self.class_ == "DiTModel" else {"backbone_fn": network}
        if self.class_ == "GuidedDiffusionModel":
            options["guidance_method"] = self.guidance_method
            options |= {} if self.guidance_scale is None else {"guidance_scale": self.guidance_scale}
        return model_class(config=config, rngs=rngs, **options)


_GUIDANCE: Final = ("guidance_method", "guidance_scale")


def check_data(model: Model, shape: tuple[int, ...], num_classes: int | None) -> None:
    """Raise a ValueError if a model does not fit data of this shape and number of classes."""
    if model.config.input_dim != shape:
        raise ValueError(f"model: input_dim must be the shape of the data, {shape}, got {model.config.input_dim}")
    classes = model.parameters.num_classes
    if classes is not None and (num_classes is None or classes < num_classes):
        raise ValueError(f"model: num_classes must be null or at least the data's {num_classes}, got {classes}")
