"""Configurations from YAML and to it; whatever is wrong with one is said in one line."""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from artifex.training.config.run import VERSION, RunConfig
from artifex.training.files import replacing
from artifex.training.section import is_mapping, kind, models

C = TypeVar("C", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that can't be used; the message is one line, with the place and what it holds."""


class _Loader(yaml.SafeLoader):
    """Safe, and 1e-3 is a number, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_config(path: Path, overrides: Iterable[str] = ()) -> RunConfig:
    """The configuration of a YAML file.

    Args:
        path: the file.
        overrides: ``key=value``, each a place by its dots and a value in YAML: ``optimizer.learning_rate=1e-3``. In
            their order, after the file.

    Raises:
        ConfigError: for a file that can't be read, is no YAML, or holds anything but a configuration.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} could not be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} must be text in UTF-8, got byte {error.object[error.start]:#x}") from error
    try:
        return parse_config(text, overrides)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_config(text: str, overrides: Iterable[str] = ()) -> RunConfig:
    """The configuration that YAML ``text`` holds; see ``read_config``."""
    try:
        tree = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise ConfigError("no YAML that can be read: its parts lie too deep in each other") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"a configuration must be keys and values, got {_short(tree)}")
    version = tree.get("version", VERSION)
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        advice = "; it is of a newer artifex" if newer else ""
        raise ConfigError(
            f"version must be {VERSION}, the format that this artifex reads, got {_short(version)}{advice}"
        )
    for override in overrides:
        _override(tree, override)
    return validated(RunConfig, tree)


def validated(model: type[C], tree: Mapping[str, object]) -> C:
    """``tree`` as a configuration.

    Raises:
        ConfigError: for all that is wrong with it, in one line.
    """
    try:
        return model.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        said = dict.fromkeys(_say(model, tree, one) for one in error.errors())
        raise ConfigError("; ".join(said)) from None


def dump_config(config: BaseModel) -> str:
    """The configuration as YAML, with every default; ``parse_config`` reads it back equal."""
    out: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return out


def write_config(config: BaseModel, path: Path) -> None:
    """Write ``dump_config`` of it, whole or not at all."""
    with replacing(path) as file:
        file.write(dump_config(config).encode())


def _override(tree: dict[str, Any], override: str) -> None:
    """Set one value in ``tree``; another kind of a part forgets the fields of the one before."""
    place, equals, text = override.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set expects key=value, for instance optimizer.learning_rate=1e-3, got {override!r}")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise ConfigError(f"--set {place}: the value must be YAML, got {text!r}") from None
    part = tree
    for i, key in enumerate(keys[:-1]):
        inner = part.get(key)
        if isinstance(inner, str):
            inner = {"kind": inner}
        if inner is not None and not isinstance(inner, dict):
            raise ConfigError(f"--set {place}: {'.'.join(keys[: i + 1])} must have parts, got {_short(inner)}")
        part[key] = inner or {}
        part = part[key]
    if keys[-1] == "kind" and part is not tree and part.get("kind") != value:
        part.clear()
    part[keys[-1]] = value


def _say(model: type[BaseModel], tree: Mapping[str, object], error: ErrorDetails) -> str:
    """One thing that is wrong: where, what is expected, what was got."""
    place, home = _place(model, error["loc"])
    where, context = ".".join(place), error.get("ctx", {})
    got = f"got {_short(error['input'])}"
    match error["type"]:
        case "extra_forbidden":
            near = get_close_matches(place[-1], list(home.model_fields) if home else [], n=1, cutoff=0)
            known = ".".join((*place[:-1], *near))
            return f"{where} is not known; the nearest known is {known}"
        case "missing":
            return f"{where} must be given"
        case "union_tag_not_found":
            return f"{where}.kind must be given"
        case "union_tag_invalid":
            kinds = context["expected_tags"].replace("'", "")
            return f"{where}.kind must be one of {kinds}, got {context['tag']!r}"
        case "value_error":
            said = str(context["error"])
            return f"{where}: {said}" if where else said
        case "literal_error":
            return f"{where} must be {context['expected']}, {got}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{where} must have parts, {got}"
        case "path_type":
            return f"{where} must be a path, {got}"
        case "tuple_type":
            return f"{where} must be a list, {got}"
        case _:
            said = error["msg"].replace("Input should be", "must be")
            return f"{where} {said[0].lower()}{said[1:]}, {got}"


def _place(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel] | None]:
    """A place by the names that a configuration has, without pydantic's tags, and the model it is in."""
    place, home = list[str](), model
    options: list[type[BaseModel]] = [model]
    inside: object = None
    for part in loc:
        tagged = [option for option in options if kind(option) == part]
        if len(options) > 1 and tagged:
            home, options = tagged[0], tagged
            continue
        if not options and isinstance(part, str) and not is_mapping(inside):
            continue  # which of several types was tried
        place.append(str(part))
        inside = None
        if len(options) == 1:
            home = options[0]
            field = home.model_fields.get(str(part))
            inside = None if field is None else field.annotation
            options = list(models(inside))
    return place, home


def _short(value: object) -> str:
    """A value as far as it fits on a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
