"""Backbones by name: which fields of a network can be given, and the plan of the network that they name."""

import dataclasses
import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, get_type_hints

import jax.numpy as jnp
from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator

from artifex.backbones import DiTConfig, EDM2Config, MLPConfig, MMDiTConfig, UNetConfig, UViTConfig
from artifex.training.config.network_plan import NetworkConfig, NetworkPlan
from artifex.training.config.sizes import sized_fields
from artifex.training.section import Section

_CONFIGS: Final[Mapping[str, type[NetworkConfig]]] = {
    "unet": UNetConfig,
    "dit": DiTConfig,
    "mmdit": MMDiTConfig,
    "uvit": UViTConfig,
    "edm2": EDM2Config,
    "mlp": MLPConfig,
}
KINDS: Final = tuple(_CONFIGS)
# Set elsewhere: dtypes by ``precision``; a learned variance is not what ``Objective`` trains.
_SET_ELSEWHERE: Final = ("dtype", "param_dtype", "learn_sigma")
_OF_THE_DATA: Final = ("in_channels", "features", "size", "num_classes")


class BackboneConfig(Section):
    """The network.

    Further fields are those of the network's own config (``UNetConfig`` and so on) and override the preset. Channels,
    size and number of classes are those of the data unless they are given.

    Attributes:
        kind: unet, dit, mmdit, uvit, edm2 or mlp.
        preset: a published size: digits, ddpm_cifar10, s_2, xl_2 ...; null is a size that fits the data.
    """

    model_config = ConfigDict(extra="allow")

    kind: Literal["unet", "dit", "mmdit", "uvit", "edm2", "mlp"]
    preset: str | None = None

    @model_validator(mode="after")
    def _known(self) -> "BackboneConfig":
        check_fields(self.kind, self.preset, self.fields)
        return self

    @property
    def fields(self) -> dict[str, object]:
        """The given fields beside kind and preset."""
        return dict(self.model_extra or {})

    def build(self, shape: tuple[int, ...], num_classes: int | None, compute: str) -> NetworkPlan:
        """Plan the network for data of a shape.

        Args:
            shape: of one example: ``(h, w, c)``, or ``(d,)`` for points.
            num_classes: number of labels of the data; None where it has none.
            compute: dtype of the computation; parameters are float32.

        Raises:
            ValueError: if network and data do not fit.
        """
        given = check_fields(self.kind, self.preset, self.fields)
        rank = 1 if self.kind == "mlp" else 3
        if len(shape) != rank:
            data, other = ("points (d,)", "mlp") if len(shape) == 1 else ("images (h, w, c)", "unet")
            raise ValueError(f"backbone.kind {self.kind!r} does not take the data's {data}, {shape}; {other!r} does")
        decided: dict[str, object] = {"in_channels": shape[-1], "features": shape[-1], "size": shape[0]}
        for name, value in decided.items():
            if given.get(name, value) != value:
                raise ValueError(f"backbone.{name} must be {value}, as in the data of shape {shape}, got {given[name]}")
        classes = given.get("num_classes", num_classes)
        if classes is not None and (num_classes is None or classes < num_classes):
            raise ValueError(f"backbone.num_classes must be null or at least the data's {num_classes}, got {classes}")
        base = network_config(self.kind, self.preset)
        fixed = {"num_classes": classes, "learn_sigma": False, "null_class": True, "dtype": jnp.dtype(compute)}
        size = sized_fields(self.kind, shape, given) if self.preset is None else {}
        names = {field.name for field in dataclasses.fields(base)}
        try:
            chosen = {k: v for k, v in {**size, **decided, **fixed, **given}.items() if k in names}
            config = dataclasses.replace(base, **chosen)
        except ValueError as error:
            raise ValueError(f"backbone: {error}") from error
        out = NetworkPlan(self.kind, config, classes)
        out.check(shape)
        return out


def presets(kind: str) -> list[str]:
    """List the published sizes of a network."""
    names = vars(_CONFIGS[kind]).items()
    return [name for name, value in names if isinstance(value, classmethod) and not name.startswith("_")]


def known_fields(kind: str) -> list[str]:
    """List the fields of a network that can be given beside ``kind`` and ``preset``."""
    names = [field.name for field in dataclasses.fields(_CONFIGS[kind]) if field.name not in _SET_ELSEWHERE]
    return [*names, "num_classes"] if kind == "mmdit" else names


def network_config(kind: str, preset: str | None = None) -> NetworkConfig:
    """Return the network's own config: a published size, or its defaults, which are published sizes too."""
    config: NetworkConfig = _CONFIGS[kind]() if preset is None else getattr(_CONFIGS[kind], preset)()
    return config


def open_fields(kind: str, preset: str | None = None) -> dict[str, Any]:
    """Return the fields, with values, that are not decided by the data or another section.

    Without a preset the values are those for images of 8x8, as the digits are, or points of the plane.
    """
    config = network_config(kind, preset)
    if preset is None:
        config = dataclasses.replace(config, **sized_fields(kind, (2,) if kind == "mlp" else (8, 8, 1), {}))
    return {name: getattr(config, name) for name in known_fields(kind) if name not in _OF_THE_DATA}


def check_fields(kind: str, preset: str | None, fields: Mapping[str, object]) -> dict[str, Any]:
    """Convert ``fields`` to the types of the network's own config.

    Raises:
        ValueError: for an unknown preset or field, naming the nearest, and for a value of another type.
    """
    if preset is not None and preset not in presets(kind):
        names = ", ".join(presets(kind)) or "null: there are none"
        raise ValueError(f"preset must be, for {kind}, {names}; got {preset!r}")
    known = known_fields(kind)
    hints = {**get_type_hints(_CONFIGS[kind]), "num_classes": int | None}
    out = {}
    for name, value in fields.items():
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0)[0]
            raise ValueError(f"{name} is not known of {kind}; the nearest known is {near}")
        try:
            out[name] = TypeAdapter(hints[name]).validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            message = error.errors()[0]["msg"].replace("Input should be", "must be")
            raise ValueError(f"{name} {message[0].lower() + message[1:]}, got {value!r}") from None
    return out
