"""The configuration that every model is built from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_serializer, field_validator

Shape = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


def _freeze(value: object) -> object:
    """``value`` with every list in it as a tuple."""
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value


class ModelConfig(BaseModel):
    """What a model is called, the shape of its data and its parameters; immutable and hashable.

    Attributes:
        name: a name for people.
        model_class: the class that it configures, for instance ``"DDPMModel"``.
        input_dim: shape of one sample, for images ``(H, W, C)``.
        hidden_dims: widths of the network's levels; None leaves them to the model.
        output_dim: size or shape of the output; None means that of the input.
        activation: name of the network's activation; None leaves it to the model.
        parameters: the model's own parameters, read by its class; see ``models.diffusion.parameters``.

    Raises:
        pydantic.ValidationError: for an unknown field or a value of the wrong type.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model_class: str
    input_dim: Shape
    hidden_dims: Shape | None = None
    output_dim: PositiveInt | Shape | None = None
    activation: str | None = None
    parameters: Mapping[str, object] = Field(default_factory=dict)

    @field_validator("parameters")
    @classmethod
    def _immutable(cls, value: Mapping[str, object]) -> Mapping[str, object]:
        return MappingProxyType({key: _freeze(item) for key, item in value.items()})

    @field_serializer("parameters")
    def _plain(self, value: Mapping[str, object]) -> dict[str, object]:
        return dict(value)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def __deepcopy__(self, memo: dict[int, object] | None = None) -> "ModelConfig":
        return self  # nothing in it can change

    def __reduce__(self) -> tuple[object, ...]:
        return type(self).model_validate, (self.model_dump(),)

    def to_yaml(self) -> str:
        """The configuration as YAML; ``from_yaml`` reads it back equal."""
        out: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        return out

    @classmethod
    def from_yaml(cls, text: str) -> "ModelConfig":
        """The configuration that ``to_yaml`` wrote.

        Raises:
            pydantic.ValidationError: if the text holds anything else than a configuration.
        """
        return cls.model_validate(yaml.safe_load(text))
