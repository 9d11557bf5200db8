"""The configuration of every model."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_serializer, field_validator

Shape = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


def _freeze(value: object) -> object:
    """``value`` with tuples in place of lists."""
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value


class ModelConfig(BaseModel):
    """Name of a model, shape of its data, and its parameters; immutable and hashable.

    Attributes:
        name: any name.
        model_class: the configured class, for instance ``"DDPMModel"``.
        input_dim: shape of one sample, for images ``(H, W, C)``.
        hidden_dims: widths of the network's levels; None for the model's default.
        output_dim: size or shape of the output; None for that of the input.
        activation: name of the network's activation; None for the model's default.
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
        """Return the configuration as YAML; ``from_yaml`` reads it back equal."""
        out: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        return out

    @classmethod
    def from_yaml(cls, text: str) -> "ModelConfig":
        """Read a configuration written by ``to_yaml``.

        Raises:
            pydantic.ValidationError: if the text is no configuration.
        """
        return cls.model_validate(yaml.safe_load(text))
