"""Conditions of a pipeline's network: a text or a class, and latents beside the noisy ones."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from artifex.backbones import TextCondition
from artifex.backbones.functional import FunctionalModule, State

X = Float[Array, "b *d"]
Time = Float[Array, " b"] | Int[Array, " b"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Condition:
    """The condition of a network that may read an image beside the noisy latents.

    Attributes:
        cond: what the network itself takes: a text, labels, or None.
        beside: latents, ``(batch, height, width, channels)``, that are concatenated behind the channels of $x_t$: the
            picture to edit, or a mask with the masked picture; None for most networks.
    """

    cond: TextCondition | Int[Array, " b"] | None
    beside: Float[Array, "b h w k"] | None = None


@dataclass(frozen=True)
class ConditionedNetwork:
    """A network as a pure function of ``(parameters, x, t, condition)``.

    Attributes:
        network: the network's code.
    """

    network: FunctionalModule[Array]

    def __call__(self, state: State, x: X, t: Time, condition: Condition | None) -> Array:
        """Call the network with the latents beside ``x`` concatenated to it."""
        if condition is None:
            return self.network(state, x, t)
        if condition.beside is not None:
            x = jnp.concatenate([x, condition.beside.astype(x.dtype)], axis=-1)
        return self.network(state, x, t, condition.cond)

    def perturbed(
        self, *, identity_attention: tuple[str, ...] = (), skip: tuple[str, ...] = ()
    ) -> "ConditionedNetwork":
        """The same network with parts switched off; see ``artifex.backbones.perturbed``."""
        return replace(self, network=self.network.perturbed(identity_attention=identity_attention, skip=skip))
