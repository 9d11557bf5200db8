"""Sections of a configuration: frozen and strict."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


class Section(BaseModel):
    """A section of a run's configuration: immutable; unknown fields, NaN and values of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _frozen(cls, value: object) -> object:
        """Convert lists, as YAML has them, to tuples."""
        return {name: _tuples(part) for name, part in value.items()} if isinstance(value, Mapping) else value


def _tuples(value: object) -> object:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def kinds(default: str | None = None, **more: str) -> BeforeValidator:
    """Make a validator for sections with a ``kind``: a bare string is the kind with its defaults.

    Args:
        default: the kind if fields are given and no kind; None requires one.
        more: further fields of the default kind.
    """

    def complete(value: object) -> object:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, Mapping) and "kind" not in value and default is not None:
            return {"kind": default, **more, **value}
        return value

    return BeforeValidator(complete)


def models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that a field of this annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from models(get_args(annotation)[0])
    elif get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        for part in get_args(annotation):
            yield from models(part)


def is_mapping(annotation: object) -> bool:
    """Return True if a field of this annotation is a mapping with keys of its own."""
    return get_origin(annotation) is Mapping


def kind(model: type[BaseModel]) -> str | None:
    """Return the kind that distinguishes a model from the others of its union; None if it is in none."""
    field = model.model_fields.get("kind")
    choices = () if field is None else get_args(field.annotation)
    return str(choices[0]) if len(choices) == 1 else None
