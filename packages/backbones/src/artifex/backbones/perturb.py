"""A network with a part of it switched off: the weak one that guidance steers away from."""

from collections.abc import Sequence
from typing import TypeVar

from flax import nnx

from artifex.backbones.blocks import SelfAttention
from artifex.backbones.dit import DiTBlock
from artifex.backbones.mmdit import MMDiTBlock

B = TypeVar("B")
M = TypeVar("M", bound=nnx.Module)


def perturbed(backbone: B, *, identity_attention: Sequence[str] = (), skip: Sequence[str] = ()) -> B:
    """``backbone`` with the same arrays, and other code in the modules that are named.

    A name is a path within the network, such as ``"blocks.3"`` of a `DiT` or ``"trunk.middle"`` of a `UNet`.

    Args:
        backbone: Any network of this package; it stays as it is.
        identity_attention: Where every self-attention lets each token see itself alone.
        skip: Blocks of a `DiT` or an `MMDiT` that are left out.

    Raises:
        ValueError: If there is no such attention or block within a module that is named.
        TypeError: If the network is no module.

    References:
        Ahn et al. 2024 (attention), https://arxiv.org/abs/2403.17377; Hyung et al. 2024 (layers),
        https://arxiv.org/abs/2411.18664
    """
    copy: B = nnx.merge(*nnx.split(backbone))
    if not isinstance(copy, nnx.Module):
        raise TypeError(f"only a module has parts that can be switched off, got {type(copy).__name__}")
    modules = {".".join(map(str, path)): module for path, module in nnx.iter_modules(copy)}
    attentions = {path: module for path, module in modules.items() if isinstance(module, SelfAttention)}
    blocks = {path: module for path, module in modules.items() if isinstance(module, DiTBlock | MMDiTBlock)}
    for attention in _within(attentions, "self-attention", identity_attention):
        attention.identity = True
    for block in _within(blocks, "block to leave out", skip):
        block.skip = True
    return copy


def _within(found: dict[str, M], kind: str, names: Sequence[str]) -> list[M]:
    """All modules whose paths these names are a part of."""
    chosen = []
    for name in names:
        below = [module for path, module in found.items() if f".{name}." in f".{path}."]
        if not below:
            raise ValueError(f"there is no {kind} at {name!r}; they are at {sorted(found)}")
        chosen += below
    return chosen
