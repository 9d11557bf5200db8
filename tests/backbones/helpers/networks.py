"""One small instance of every network, and the functions that tests evaluate them by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

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
    UNetConditional,
    UNetConditionalConfig,
    UNetConfig,
    UViT,
    UViTConfig,
)

Condition = jax.Array | TextCondition
State = nnx.State[Any, Any]
Graph = nnx.GraphDef[Any]

T = jnp.array([10, 500])
LABELS = jnp.array([3, 7])
RNG = np.random.default_rng(5)
TEXT = TextCondition(jnp.asarray(RNG.normal(size=(2, 3, 6)), jnp.float32))
POOLED = TextCondition(TEXT.context, jnp.asarray(RNG.normal(size=(2, 5)), jnp.float32))

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""These tests cost compile time, not run time."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network to test.

    Attributes:
        build: its class.
        config: its config.
        cond: conditions of two samples.
        other: conditions of which only the first differs from ``cond``.
        shape: of a sample.
    """

    build: Callable[..., Any]
    config: Any
    cond: Condition
    other: Condition
    shape: tuple[int, ...] = (4, 4, 1)

    @property
    def has_classes(self) -> bool:
        """True for a condition by labels."""
        return self.cond is LABELS

    def make(self, **changes: object) -> Any:  # noqa: ANN401
        """A network, with changes of its config."""
        return self.build(replaced(self.config, **changes), rngs=nnx.Rngs(0))

    def sample(self) -> jax.Array:
        """Two samples."""
        return jnp.asarray(np.random.default_rng(2).normal(size=(2, *self.shape)), jnp.float32)


def replaced(config: Any, **changes: object) -> Any:  # noqa: ANN401
    """A config with changes."""
    return type(config)(**{**vars(config), **changes})


def labeled(build: Callable[..., Any], config: object, shape: tuple[int, ...] = (4, 4, 1)) -> Network:
    """A network conditioned on labels, of 10 classes."""
    return Network(build, config, LABELS, LABELS.at[0].set(4), shape)


def texted(build: Callable[..., Any], config: object, text: TextCondition) -> Network:
    """A network conditioned on text."""
    pooled = None if text.pooled is None else text.pooled.at[0].add(1.0)
    return Network(build, config, text, TextCondition(text.context.at[0].add(1.0), pooled))


NETWORKS: Final[Mapping[str, Network]] = {
    "unet": labeled(UNet, UNetConfig(in_channels=1, base_channels=8, channel_mults=(1, 2), num_res_blocks=1,
                                      attention_levels=(), head_dim=8, groups=4, num_classes=10)),
    "dit": labeled(DiT, DiTConfig(in_channels=1, patch=2, hidden=16, depth=1, heads=2, learn_sigma=False,
                                   num_classes=10)),
    "mlp": labeled(MLP, MLPConfig(features=3, hidden=8, depth=1, num_classes=10), (3,)),
    "uvit": labeled(UViT, UViTConfig(in_channels=1, size=4, hidden=8, depth=3, heads=2, num_classes=10)),
    "edm2": labeled(EDM2UNet, EDM2Config(in_channels=1, base_channels=8, channel_mults=(1,), num_blocks=1, head_dim=8,
                                          attention_levels=(), num_classes=10)),
    "unet-conditional": texted(
        UNetConditional,
        UNetConditionalConfig(in_channels=1, out_channels=1, base_channels=8, channel_mults=(1,), num_res_blocks=1,
                              depths=(0,), heads=(2,), context_features=6, groups=4), TEXT),
    "mmdit": texted(MMDiT, MMDiTConfig(in_channels=1, heads=2, head_dim=4, depth=1, context_features=6,
                                       pooled_features=5, max_size=2, sample_size=4), POOLED),
}  # fmt: skip
"""All networks of the package; ``test_networks`` checks that none is missing."""


@cache
def trained(network: Network, **changes: object) -> tuple[Graph, State]:
    """A network with random parameters, none of which is zero."""
    rng = np.random.default_rng(1)

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        scale = 0.2 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)

    graph, state = nnx.split(nnx.eval_shape(lambda: network.make(**changes)))
    return graph, jax.tree.map(fill, state)


@cache
def forward(network: Network, **changes: object) -> Callable[..., jax.Array]:
    """The compiled network, ``(state, x, t, cond) -> out``."""
    graph, _ = trained(network, **changes)

    def run(state: State, x: jax.Array, t: jax.Array, cond: Condition | None) -> jax.Array:
        out: jax.Array = nnx.merge(graph, state)(x, t, cond)
        return out

    return jit(run)


def loss(network: Network, graph: Graph, state: State, x: jax.Array) -> jax.Array:
    """The mean squared distance of the output to 1."""
    return jnp.mean((nnx.merge(graph, state)(x, T, network.cond) - 1.0) ** 2)


@cache
def gradient(network: Network) -> Callable[[State, jax.Array], tuple[jax.Array, State]]:
    """The compiled loss and its gradient."""
    return jit(jax.value_and_grad(partial(loss, network, trained(network)[0])))
