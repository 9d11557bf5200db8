"""A configuration as YAML that says what each field means."""

import inspect
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import yaml
from pydantic import BaseModel

from artifex.training.config import networks
from artifex.training.config.choices import BackboneConfig
from artifex.training.section import kind, models

WIDTH: Final = 110


def described(config: BaseModel) -> str:
    """``config`` as YAML, each field under what it means; what else could be named stands there as comments."""
    return "\n".join(_lines(config, 0)) + "\n"


def meanings(model: type) -> Mapping[str, str]:
    """What the docstrings of a class and its bases say of its fields."""
    out = dict[str, str]()
    for base in reversed(model.__mro__):
        doc = inspect.getdoc(base) if base.__module__.startswith("artifex") else None
        part = re.search(r"^Attributes:\n((?:    .*\n?|\n)*)", doc or "", re.MULTILINE)
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", part[1] if part else "", re.MULTILINE):
            out[name] = " ".join(text.split())
    return out


def summary(model: type) -> str:
    """The first line of a class's docstring."""
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
    if isinstance(config, BackboneConfig):
        yield from (f"{pad}# {line}" for line in _networks(config))


def _networks(chosen: BackboneConfig) -> Iterator[str]:
    """What else can be set of the network, as it is; and of every other that could be named instead."""
    size = "sized for 8x8 images or points" if chosen.preset is None else f"as in {chosen.preset}"
    yield f"further fields of {chosen.kind}, {size}; channels, size and classes are the data's"
    yield from _fields(chosen.kind, chosen.preset, leave=chosen.fields)
    for other in networks.KINDS:
        if other != chosen.kind:
            sizes = ", ".join(networks.presets(other))
            line = f"or kind: {other}" + (f"   preset: {sizes}, or null, by the data, here 8x8" if sizes else "")
            yield from textwrap.wrap(line, WIDTH - 8, subsequent_indent="    ")
            yield from _fields(other, None)


def _fields(kind: str, preset: str | None, leave: Collection[str] = ()) -> Iterator[str]:
    """The fields of a network, each on a line."""
    told = meanings(type(networks.config_of(kind)))
    for name, value in networks.open_fields(kind, preset).items():
        if name not in leave:
            yield from _field(name, f" {_flow(value)}", told[name])


def _option(model: type[BaseModel]) -> Iterator[str]:
    """A kind that could be named instead, on a line, and its fields."""
    yield from textwrap.wrap(f"or kind: {kind(model)}   {summary(model)}", WIDTH - 8, subsequent_indent="    ")
    told = meanings(model)
    for name, field in model.model_fields.items():
        if name != "kind":
            default = "" if field.is_required() else f" {_flow(field.default)}"
            yield from _field(name, default, told.get(name, ""))


def _field(name: str, value: str, meaning: str) -> list[str]:
    return textwrap.wrap(f"{name}:{value}   {meaning}", WIDTH - 8, initial_indent="    ", subsequent_indent="        ")


def _flow(value: object) -> str:
    """A value on one line."""
    value = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    value = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n...\n").strip()
