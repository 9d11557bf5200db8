"""Train, sample and evaluate diffusion models in JAX; the command artifex.

The names are imported at their first use, so that ``artifex --help`` starts without JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifex.training import exports
    from artifex.training.exports import *  # noqa: F403

    __all__ = exports.__all__


def __getattr__(name: str) -> object:
    exported = import_module("artifex.training.exports")
    if name == "__all__" or name in exported.__all__:
        value: object = getattr(exported, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("artifex.training.exports").__all__})
