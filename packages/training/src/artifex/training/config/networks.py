"""Networks by name, sized for the data."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, get_type_hints

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jax.stages import Wrapped
from jaxtyping import Array, Float, Int, Key, Real
from pydantic import TypeAdapter, ValidationError

from artifex.backbones import (
    MLP,
    DiT,
    DiTConfig,
    EDM2Config,
    EDM2UNet,
    MLPConfig,
    MMDiT,
    MMDiTConfig,
    TextCondition,
    UNet,
    UNetConfig,
    UViT,
    UViTConfig,
    init_rngs,
)
from artifex.training.config.choices import BackboneConfig
from artifex.training.config.sizes import sized_fields
from artifex.training.sharding.mesh import everywhere, parameter_shardings, rules_of

NetworkConfig = UNetConfig | DiTConfig | MMDiTConfig | UViTConfig | EDM2Config | MLPConfig
X = Float[Array, "b *d"]
Time = Real[Array, " b"]
Label = Int[Array, " b"]


class LabelledMMDiT(nnx.Module):
    """An ``MMDiT`` whose text is one learned vector a label; the label ``num_classes`` is the null label.

    Args:
        config: of the network inside.
        num_classes: number of labels; None for no condition, which is one vector for all.
        rngs: for the parameters.
    """

    def __init__(self, config: MMDiTConfig, num_classes: int | None, *, rngs: nnx.Rngs) -> None:
        self.network = MMDiT(config, rngs=rngs)
        self.null = num_classes or 0
        self.context = nnx.Embed(self.null + 1, config.context_features, rngs=rngs)
        self.pooled = nnx.Embed(self.null + 1, config.pooled_features, rngs=rngs)

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> X:
        """Evaluate the network; see ``artifex.backbones.Backbone``."""
        labels = jnp.full(x.shape[:1], self.null) if cond is None else cond
        text = TextCondition(self.context(labels)[:, None], self.pooled(labels))
        return self.network(x, t, text, deterministic=deterministic)


_CONFIGS: Final[Mapping[str, type[NetworkConfig]]] = {
    "unet": UNetConfig,
    "dit": DiTConfig,
    "mmdit": MMDiTConfig,
    "uvit": UViTConfig,
    "edm2": EDM2Config,
    "mlp": MLPConfig,
}
KINDS: Final = tuple(_CONFIGS)
# Said elsewhere: dtypes by ``precision``; a variance is not what ``Objective`` trains.
_ELSEWHERE: Final = ("dtype", "param_dtype", "learn_sigma")
_OF_THE_DATA: Final = ("in_channels", "features", "size", "num_classes")


def presets(kind: str) -> list[str]:
    """The published sizes of a network."""
    names = vars(_CONFIGS[kind]).items()
    return [name for name, value in names if isinstance(value, classmethod) and not name.startswith("_")]


def known_fields(kind: str) -> list[str]:
    """What can be given of a network beside ``kind`` and ``preset``."""
    names = [field.name for field in dataclasses.fields(_CONFIGS[kind]) if field.name not in _ELSEWHERE]
    return [*names, "num_classes"] if kind == "mmdit" else names


def config_of(kind: str, preset: str | None = None) -> NetworkConfig:
    """The network's own config: a published size of it, or its defaults, which are published sizes too."""
    made: NetworkConfig = _CONFIGS[kind]() if preset is None else getattr(_CONFIGS[kind], preset)()
    return made


def open_fields(kind: str, preset: str | None = None) -> dict[str, Any]:
    """Fields of a network that neither the data nor another part of the configuration decides, with values.

    Without a preset they are those for images of 8x8, as the digits are, or points of the plane.
    """
    config = config_of(kind, preset)
    if preset is None:
        config = dataclasses.replace(config, **sized_fields(kind, (2,) if kind == "mlp" else (8, 8, 1), {}))
    return {name: getattr(config, name) for name in known_fields(kind) if name not in _OF_THE_DATA}


def check_fields(kind: str, preset: str | None, fields: Mapping[str, object]) -> dict[str, Any]:
    """The ``fields`` as the network's own config has them.

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
            said = error.errors()[0]["msg"].replace("Input should be", "must be")
            raise ValueError(f"{name} {said[0].lower() + said[1:]}, got {value!r}") from None
    return out


@dataclass(frozen=True)
class Plan:
    """A network that is not made yet: its config, and how many labels it knows.

    Attributes:
        kind: as in ``BackboneConfig``.
        config: the network's own.
        num_classes: number of labels, None for no condition.
    """

    kind: str
    config: NetworkConfig
    num_classes: int | None

    def make(self, key: Key[Array, ""], mesh: Mesh | None = None) -> nnx.Module:
        """The network, its parameters drawn from ``key`` in one compiled call.

        Args:
            key: what they are drawn from.
            mesh: of several devices: each draws what lies on it and no more, see ``parameter_shardings``; the numbers
                are those of one device. None is one device.

        Raises:
            ValueError: as ``rules_of`` and ``parameter_shardings`` do.
        """
        graphdef = nnx.graphdef(nnx.eval_shape(self._module, key))
        parameters, rest = self.drawing(mesh)(key)
        if mesh is not None:
            rest = jax.tree.map(lambda leaf: leaf.addressable_data(0), rest)
        module: nnx.Module = nnx.merge(graphdef, parameters, rest)
        return module

    def shapes(self) -> nnx.Module:
        """The network with shapes in place of arrays; nothing is computed."""
        module: nnx.Module = nnx.eval_shape(self._module, jax.random.key(0))
        return module

    def drawing(self, mesh: Mesh | None) -> Wrapped:
        """``make``, compiled: from a key to the parameters and what is none, such as the state of dropout's stream."""

        def draw(key: Key[Array, ""]) -> tuple[nnx.State[Any, Any], nnx.State[Any, Any]]:
            _, *states = nnx.split(self._module(key), nnx.Param, ...)
            return states[0], states[1]

        where = None
        if mesh is not None:
            network = nnx.eval_shape(self._module, jax.random.key(0))
            rules = rules_of(type(network), mesh)
            where = parameter_shardings(nnx.state(network, nnx.Param), mesh, rules), everywhere(mesh)
        # It runs once: what it costs is its compilation, on a CPU two thirds of it in optimising.
        options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
        return jax.jit(draw, out_shardings=where, compiler_options=options)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError if the network can't be called with data of this shape; nothing is computed."""

        def call(key: Key[Array, ""], x: X) -> X:
            module: Any = self._module(key)
            out: X = module(x, jnp.zeros(len(x)), None if self.num_classes is None else jnp.zeros(len(x), jnp.int32))
            return out

        example = jax.ShapeDtypeStruct((2, *shape), jnp.float32)  # type: ignore[no-untyped-call]
        try:
            out = jax.eval_shape(call, jax.random.key(0), example)
        except (ValueError, TypeError) as error:
            raise ValueError(f"backbone: {self.kind} can't take data of shape {shape}: {error}") from error
        if out.shape != example.shape:
            raise ValueError(f"backbone: {self.kind} must give data of shape {shape} back, got {out.shape[1:]}")

    def _module(self, key: Key[Array, ""]) -> nnx.Module:
        rngs = init_rngs(key)
        match self.config:
            case UNetConfig():
                return UNet(self.config, rngs=rngs)
            case DiTConfig():
                return DiT(self.config, rngs=rngs)
            case MMDiTConfig():
                return LabelledMMDiT(self.config, self.num_classes, rngs=rngs)
            case UViTConfig():
                return UViT(self.config, rngs=rngs)
            case EDM2Config():
                return EDM2UNet(self.config, rngs=rngs)
            case MLPConfig():
                return MLP(self.config, rngs=rngs)


def plan(backbone: BackboneConfig, shape: tuple[int, ...], num_classes: int | None, compute: str) -> Plan:
    """The network that ``backbone`` names, for data of ``shape``.

    Args:
        backbone: what is wanted.
        shape: of one example: ``(h, w, c)``, or ``(d,)`` for points.
        num_classes: labels of the data; None where it has none.
        compute: dtype to compute in; parameters are float32.

    Raises:
        ValueError: if network and data do not fit.
    """
    kind, given = backbone.kind, check_fields(backbone.kind, backbone.preset, backbone.fields)
    rank = 1 if kind == "mlp" else 3
    if len(shape) != rank:
        what, other = ("points (d,)", "mlp") if len(shape) == 1 else ("images (h, w, c)", "unet")
        raise ValueError(f"backbone.kind {kind!r} does not take the data's {what}, {shape}; {other!r} does")
    decided: dict[str, object] = {"in_channels": shape[-1], "features": shape[-1], "size": shape[0]}
    for name, value in decided.items():
        if given.get(name, value) != value:
            raise ValueError(f"backbone.{name} must be {value}, as in the data of shape {shape}, got {given[name]}")
    wanted = given.get("num_classes", num_classes)
    if wanted is not None and (num_classes is None or wanted < num_classes):
        raise ValueError(f"backbone.num_classes must be null or at least the data's {num_classes}, got {wanted}")
    base = config_of(kind, backbone.preset)
    fixed = {"num_classes": wanted, "learn_sigma": False, "null_class": True, "dtype": jnp.dtype(compute)}
    size = sized_fields(kind, shape, given) if backbone.preset is None else {}
    names = {field.name for field in dataclasses.fields(base)}
    try:
        chosen = {k: v for k, v in {**size, **decided, **fixed, **given}.items() if k in names}
        config = dataclasses.replace(base, **chosen)
    except ValueError as error:
        raise ValueError(f"backbone: {error}") from error
    out = Plan(kind, config, wanted)
    out.check(shape)
    return out
