"""Configurations from and to YAML, with errors of one line."""

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
    """An invalid configuration; the message is one line, with the setting and its value."""


class _Loader(yaml.SafeLoader):
    """The safe loader, in which 1e-3 is a number, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_config(path: Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read the configuration of a YAML file.

    Args:
        path: the file.
        overrides: ``key=value``, each a dotted path and a value in YAML: ``optimizer.learning_rate=1e-3``. They apply
            in their order, after the file.

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
    """Parse the configuration in YAML ``text``; see ``read_config``."""
    try:
        tree = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise ConfigError("no YAML that can be read: it is nested too deeply") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"a configuration must be keys and values, got {_short(tree)}")
    version = tree.get("version", VERSION)
    if version != VERSION:
        known = isinstance(version, int) and not isinstance(version, bool)
        origin = f"; it is of {'a newer' if version > VERSION else 'an earlier'} version of Artifex" if known else ""
        raise ConfigError(
            f"version must be {VERSION}, the format that this version reads, got {_short(version)}{origin}"
        )
    for override in overrides:
        _override(tree, override)
    return validated(RunConfig, tree)


def validated(model: type[C], tree: Mapping[str, object]) -> C:
    """Validate ``tree`` as a configuration.

    Raises:
        ConfigError: of one line, with everything that is invalid.
    """
    try:
        return model.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        messages = dict.fromkeys(_message(model, one) for one in error.errors())
        raise ConfigError("; ".join(messages)) from None


def dump_config(config: BaseModel) -> str:
    """Dump the configuration as YAML, with every default; ``parse_config`` is the inverse."""
    out: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return out


def write_config(config: BaseModel, path: Path) -> None:
    """Write the configuration to a YAML file, atomically."""
    with replacing(path) as file:
        file.write(dump_config(config).encode())


def _override(tree: dict[str, Any], override: str) -> None:
    """Set one value in ``tree``; another kind of a section clears the fields of the previous one."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set expects key=value, for instance optimizer.learning_rate=1e-3, got {override!r}")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise ConfigError(f"--set {path}: the value must be YAML, got {text!r}") from None
    part = tree
    for i, key in enumerate(keys[:-1]):
        inner = part.get(key)
        if isinstance(inner, str):
            inner = {"kind": inner}
        if inner is not None and not isinstance(inner, dict):
            raise ConfigError(f"--set {path}: {'.'.join(keys[: i + 1])} must be a section, got {_short(inner)}")
        part[key] = inner or {}
        part = part[key]
    if keys[-1] == "kind" and part is not tree and part.get("kind") != value:
        part.clear()
    part[keys[-1]] = value


def _message(model: type[BaseModel], error: ErrorDetails) -> str:
    """Format an error: the setting, what is expected, what was got."""
    keys, section = _location(model, error["loc"])
    name, context = ".".join(keys), error.get("ctx", {})
    got = f"got {_short(error['input'])}"
    match error["type"]:
        case "extra_forbidden":
            near = get_close_matches(keys[-1], list(section.model_fields), n=1, cutoff=0)
            known = ".".join((*keys[:-1], *near))
            return f"{name} is not known; the nearest known is {known}"
        case "missing":
            return f"{name} must be given"
        case "union_tag_not_found":
            return f"{name}.kind must be given"
        case "union_tag_invalid":
            kinds = context["expected_tags"].replace("'", "")
            return f"{name}.kind must be one of {kinds}, got {context['tag']!r}"
        case "value_error":
            message = str(context["error"])
            return f"{name}: {message}" if name else message
        case "literal_error":
            return f"{name} must be {context['expected']}, {got}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{name} must be a section, {got}"
        case "path_type":
            return f"{name} must be a path, {got}"
        case "tuple_type":
            return f"{name} must be a list, {got}"
        case _:
            message = error["msg"].replace("Input should be", "must be")
            return f"{name} {message[0].lower()}{message[1:]}, {got}"


def _location(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel]]:
    """Return a setting's keys in the configuration, without pydantic's tags, and the section it is in."""
    keys, section = list[str](), model
    options: list[type[BaseModel]] = [model]
    inside: object = None
    for part in loc:
        tagged = [option for option in options if kind(option) == part]
        if len(options) > 1 and tagged:
            section, options = tagged[0], tagged
            continue
        if not options and isinstance(part, str) and not is_mapping(inside):
            continue  # the type that was tried, of several
        keys.append(str(part))
        inside = None
        if len(options) == 1:
            section = options[0]
            field = section.model_fields.get(str(part))
            inside = None if field is None else field.annotation
            options = list(models(inside))
    return keys, section


def _short(value: object) -> str:
    """Format a value, truncated to fit on a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
