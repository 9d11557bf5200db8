"""Networks before their parameters exist."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jax.stages import Wrapped
from jaxtyping import Array, Float, Int, Key, Real

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
from artifex.training.sharding.sharding import parameter_shardings, replicated, rules_of

NetworkConfig = UNetConfig | DiTConfig | MMDiTConfig | UViTConfig | EDM2Config | MLPConfig
X = Float[Array, "b *d"]
Time = Real[Array, " b"]
Label = Int[Array, " b"]


class LabeledMMDiT(nnx.Module):
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


@dataclass(frozen=True)
class NetworkPlan:
    """A network without parameters: its config, and the number of labels that it takes.

    Attributes:
        kind: as in ``BackboneConfig``.
        config: the network's own.
        num_classes: number of labels, None for no condition.
    """

    kind: str
    config: NetworkConfig
    num_classes: int | None

    def init(self, key: Key[Array, ""], mesh: Mesh | None = None) -> nnx.Module:
        """Initialize the network in one compiled call.

        Args:
            key: of the parameters.
            mesh: of several devices: each initializes its own shards, see ``parameter_shardings``; the numbers are
                those of one device. None is one device.

        Raises:
            ValueError: as ``rules_of`` and ``parameter_shardings`` do.
        """
        graphdef = nnx.graphdef(nnx.eval_shape(self._module, key))
        parameters, rest = self.jit_init(mesh)(key)
        if mesh is not None:
            rest = jax.tree.map(lambda leaf: leaf.addressable_data(0), rest)
        module: nnx.Module = nnx.merge(graphdef, parameters, rest)
        return module

    def abstract(self) -> nnx.Module:
        """Return the network with shapes in place of arrays; nothing is computed."""
        module: nnx.Module = nnx.eval_shape(self._module, jax.random.key(0))
        return module

    def jit_init(self, mesh: Mesh | None) -> Wrapped:
        """Compile ``init``: from a key to the parameters and the remaining state, such as that of dropout's stream."""

        def init(key: Key[Array, ""]) -> tuple[nnx.State[Any, Any], nnx.State[Any, Any]]:
            _, *states = nnx.split(self._module(key), nnx.Param, ...)
            return states[0], states[1]

        shardings = None
        if mesh is not None:
            network = nnx.eval_shape(self._module, jax.random.key(0))
            rules = rules_of(type(network), mesh)
            shardings = parameter_shardings(nnx.state(network, nnx.Param), mesh, rules), replicated(mesh)
        # It runs once, so compilation is its cost, most of which on a CPU is optimization.
        options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
        return jax.jit(init, out_shardings=shardings, compiler_options=options)

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
            raise ValueError(f"backbone: {self.kind} must return data of shape {shape}, got {out.shape[1:]}")

    def _module(self, key: Key[Array, ""]) -> nnx.Module:
        rngs = init_rngs(key)
        match self.config:
            case UNetConfig():
                return UNet(self.config, rngs=rngs)
            case DiTConfig():
                return DiT(self.config, rngs=rngs)
            case MMDiTConfig():
                return LabeledMMDiT(self.config, self.num_classes, rngs=rngs)
            case UViTConfig():
                return UViT(self.config, rngs=rngs)
            case EDM2Config():
                return EDM2UNet(self.config, rngs=rngs)
            case MLPConfig():
                return MLP(self.config, rngs=rngs)
