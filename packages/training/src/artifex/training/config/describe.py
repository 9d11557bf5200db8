"""A configuration as YAML with the meaning of each field in comments."""

import inspect
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import yaml
from pydantic import BaseModel

from artifex.training.config.backbones import KINDS, BackboneConfig, network_config, open_fields, presets
from artifex.training.section import kind, models

WIDTH: Final = 110


def described(config: BaseModel) -> str:
    """Dump ``config`` as YAML, with the meaning of each field and the alternatives to each value in comments."""
    return "\n".join(_lines(config, 0)) + "\n"


def meanings(model: type) -> Mapping[str, str]:
    """Collect the descriptions of a class's fields from its docstring and those of its bases."""
    out = dict[str, str]()
    for base in reversed(model.__mro__):
        doc = inspect.getdoc(base) if base.__module__.startswith("artifex") else None
        part = re.search(r"^Attributes:\n((?:    .*\n?|\n)*)", doc or "", re.MULTILINE)
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", part[1] if part else "", re.MULTILINE):
            out[name] = " ".join(text.split())
    return out


def summary(model: type) -> str:
    """Return the first line of a class's docstring."""
    return (inspect.getdoc(model) or "").partition("\n")[0]


def _lines(config: BaseModel, depth: int) -> Iterator[str]:
    pad, descriptions, plain = "  " * depth, meanings(type(config)), config.model_dump(mode="json")
    for attribute, field in type(config).model_fields.items():
        name = field.alias or attribute
        value, options = getattr(config, attribute), list(models(field.annotation))
        for line in textwrap.wrap(descriptions.get(name, ""), WIDTH - 2 * depth):
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
    """Describe the network's remaining fields, and every alternative network with its fields."""
    size = "sized for 8x8 images or points" if chosen.preset is None else f"as in {chosen.preset}"
    yield f"further fields of {chosen.kind}, {size}; channels, size and classes are the data's"
    yield from _fields(chosen.kind, chosen.preset, leave=chosen.fields)
    for other in KINDS:
        if other != chosen.kind:
            sizes = ", ".join(presets(other))
            line = f"or kind: {other}" + (f"   preset: {sizes}, or null, sized for the data, here 8x8" if sizes else "")
            yield from textwrap.wrap(line, WIDTH - 8, subsequent_indent="    ")
            yield from _fields(other, None)


def _fields(kind: str, preset: str | None, leave: Collection[str] = ()) -> Iterator[str]:
    """Describe the fields of a network."""
    descriptions = meanings(type(network_config(kind)))
    for name, value in open_fields(kind, preset).items():
        if name not in leave:
            yield from _field(name, f" {_flow(value)}", descriptions[name])


def _option(model: type[BaseModel]) -> Iterator[str]:
    """Describe an alternative kind and its fields."""
    yield from textwrap.wrap(f"or kind: {kind(model)}   {summary(model)}", WIDTH - 8, subsequent_indent="    ")
    descriptions = meanings(model)
    for name, field in model.model_fields.items():
        if name != "kind":
            default = "" if field.is_required() else f" {_flow(field.default)}"
            yield from _field(name, default, descriptions.get(name, ""))


def _field(name: str, value: str, meaning: str) -> list[str]:
    return textwrap.wrap(f"{name}:{value}   {meaning}", WIDTH - 8, initial_indent="    ", subsequent_indent="        ")


def _flow(value: object) -> str:
    """Dump a value on one line."""
    value = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    value = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n...\n").strip()
