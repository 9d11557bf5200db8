"""A configuration as YAML that says what each field means."""

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Final

import yaml
from pydantic import BaseModel

from artifex.training.section import kind, models

WIDTH: Final = 110


def described(config: BaseModel) -> str:
    """``config`` as YAML, each field under what it means; what else could be named stands there as comments."""
    return "\n".join(_lines(config, 0)) + "\n"


def meanings(model: type[BaseModel]) -> Mapping[str, str]:
    """What the docstrings of a model and its bases say of its fields."""
    out = dict[str, str]()
    for base in reversed(model.__mro__):
        doc = inspect.getdoc(base) if issubclass(base, BaseModel) and base.__module__.startswith("artifex") else None
        part = re.search(r"^Attributes:\n((?:    .*\n?|\n)*)", doc or "", re.MULTILINE)
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", part[1] if part else "", re.MULTILINE):
            out[name] = " ".join(text.split())
    return out


def summary(model: type[BaseModel]) -> str:
    """The first line of a model's docstring."""
    return (inspect.getdoc(model) or "").partition("\n")[0]


def _lines(config: BaseModel, depth: int) -> Iterator[str]:
    pad, told, plain = "  " * depth, meanings(type(config)), config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        value, options = getattr(config, name), list(models(field.annotation))
        for line in textwrap.wrap(told.get(name, ""), WIDTH - 2 * depth):
            yield f"{pad}# {line}"
        if isinstance(value, BaseModel):
            yield f"{pad}{name}:"
            yield from _lines(value, depth + 1)
        else:
            yield f"{pad}{name}: {_flow(plain[name])}"
        for option in options:
            if kind(option) is not None and not isinstance(value, option) and len(options) > 1:
                yield from (f"{pad}  # {line}" for line in _option(option))
    for name in config.model_extra or {}:
        yield f"{pad}{name}: {_flow(plain[name])}"


def _option(model: type[BaseModel]) -> Iterator[str]:
    """A kind that could be named instead, on a line, and its fields."""
    yield from textwrap.wrap(f"or kind: {kind(model)}   {summary(model)}", WIDTH - 8, subsequent_indent="    ")
    told = meanings(model)
    for name, field in model.model_fields.items():
        if name != "kind":
            default = "" if field.is_required() else f" {_flow(field.default)}"
            line = f"{name}:{default}   {told.get(name, '')}"
            yield from textwrap.wrap(line, WIDTH - 8, initial_indent="    ", subsequent_indent="        ")


def _flow(value: object) -> str:
    """A value on one line."""
    value = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n...\n").strip()
