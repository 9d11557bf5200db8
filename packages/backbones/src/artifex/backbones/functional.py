"""Modules as pure functions of their state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import jax
from flax import nnx
from jaxtyping import Array, Key

from artifex.backbones.perturb import perturbed

Out = TypeVar("Out")
State = nnx.State[Any, Any]


@dataclass(frozen=True)
class FunctionalModule(Generic[Out]):
    """The code of a module without its arrays.

    It is equal for equal modules, so ``jax.jit`` compiles once for all of them.

    Attributes:
        graphdef: of the module.
        identity_attention: see ``artifex.backbones.perturbed``.
        skip: see ``artifex.backbones.perturbed``.
    """

    graphdef: nnx.GraphDef[Callable[..., Out]]
    identity_attention: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def module(self, state: State) -> Callable[..., Out]:
        """A module with the arrays of ``state``."""
        module = nnx.merge(self.graphdef, state, copy=True)
        if self.identity_attention or self.skip:
            module = perturbed(module, identity_attention=self.identity_attention, skip=self.skip)
        return module

    def __call__(self, state: State, *args: object, key: Key[Array, ""] | None = None, **kwargs: object) -> Out:
        """Call the module with ``args`` and ``kwargs``.

        Args:
            state: the arrays of the module.
            args: passed to the module.
            key: reseeds the module's random streams, such as dropout's.
            kwargs: passed to the module.
        """
        module = self.module(state)
        if key is not None:
            # nnx.reseed finds a stream by its tag, the name that its layer's nnx.Rngs had for it.
            streams = (node for _, node in nnx.iter_graph(module) if isinstance(node, nnx.RngStream))
            tags = sorted({str(stream.key.tag) for stream in streams})
            keys: dict[str, Any] = {tag: jax.random.fold_in(key, i) for i, tag in enumerate(tags)}
            nnx.reseed(module, **keys)
        return module(*args, **kwargs)

    def perturbed(self, *, identity_attention: Sequence[str] = (), skip: Sequence[str] = ()) -> "FunctionalModule[Out]":
        """The same network with parts switched off; see ``artifex.backbones.perturbed``."""
        return replace(self, identity_attention=tuple(identity_attention), skip=tuple(skip))


def functional(module: Callable[..., Out]) -> tuple[FunctionalModule[Out], State]:
    """Split a module into a pure function and its arrays.

        apply, parameters = functional(model)
        out = apply(parameters, x, t, cond)  # as model(x, t, cond)

    ``apply`` is hashable, and fits ``artifex.schedules.NetworkDenoiser``. The parameters include what is not trained:
    constants, and with dropout the state of random streams. To train, split them once more,

        trained, rest = nnx.split_state(parameters, nnx.Param, ...)
        out = apply(nnx.merge_state(trained, rest), x, t, cond, deterministic=False, key=key)

    Args:
        module: an ``nnx.Module``; it is left unchanged.
    """
    graphdef, state = nnx.split(module)
    return FunctionalModule(graphdef), state
