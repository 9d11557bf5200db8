"""Networks as pure functions of their trained parameters."""

from dataclasses import dataclass
from typing import Any

from flax import nnx
from jaxtyping import Array

from artifex.backbones import functional
from artifex.schedules import Estimate
from artifex.training.step.objective import Label, Time, X

Parameters = nnx.State[Any, Any]
"""The arrays of a module's ``nnx.Param``."""


class Network:
    """A module split once into its trained parameters and the rest.

    It compares and hashes by identity, so that a denoiser of its ``apply`` is a cheap key of compiled programs.

    Attributes:
        parameters: the arrays of the module's ``nnx.Param``.
        kind: the class of the module.
    """

    def __init__(self, module: nnx.Module) -> None:
        self._function, state = functional(module)
        self.parameters: Parameters
        self.parameters, self._rest = nnx.split_state(state, nnx.Param, ...)
        self.kind = type(module)

    def module(self, parameters: Parameters) -> nnx.Module:
        """Return a module with these parameters."""
        module: Any = self._function.module(self._state(parameters))
        out: nnx.Module = module
        return out

    def apply(self, parameters: Parameters, x: X, t: Time, cond: Label | None) -> Estimate:
        """Evaluate the network without dropout."""
        out: Estimate = self._function(self._state(parameters), x, t, cond, deterministic=True)
        return out

    def apply_training(self, parameters: Parameters, key: Array, x: X, t: Time, cond: Label | None) -> Estimate:
        """Evaluate the network with dropout drawn from ``key``."""
        out: Estimate = self._function(self._state(parameters), x, t, cond, key=key, deterministic=False)
        return out

    def training(self, parameters: Parameters, key: Array) -> "TrainingNetwork":
        """Bind parameters, and the key that dropout is drawn from."""
        return TrainingNetwork(self, parameters, key)

    def _state(self, parameters: Parameters) -> Parameters:
        return nnx.merge_state(parameters, self._rest)


@dataclass(frozen=True, eq=False)
class TrainingNetwork:
    """A network with parameters, called with dropout.

    Attributes:
        network: the network.
        parameters: its parameters.
        key: of dropout.
    """

    network: Network
    parameters: Parameters
    key: Array

    def __call__(self, x: X, t: Time, cond: Label | None) -> Estimate:
        """Evaluate the network."""
        return self.network.apply_training(self.parameters, self.key, x, t, cond)

    @property
    def module(self) -> nnx.Module:
        """A module with the parameters."""
        return self.network.module(self.parameters)
