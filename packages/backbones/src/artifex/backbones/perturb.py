"""Networks with parts switched off, as weak networks for guidance."""

from collections.abc import Sequence
from typing import TypeVar

from flax import nnx

from artifex.backbones.dit import DiTBlock
from artifex.backbones.layers import SelfAttention
from artifex.backbones.mmdit import MMDiTBlock

B = TypeVar("B")
M = TypeVar("M", bound=nnx.Module)


def perturbed(backbone: B, *, identity_attention: Sequence[str] = (), skip: Sequence[str] = ()) -> B:
    """Copy a network with parts switched off; the arrays are shared.

    Parts are named by their path within the network: ``"blocks.3"`` of a ``DiT``, ``"core.middle"`` of a ``UNet``.

    Args:
        backbone: a network of this package; it is left unchanged.
        identity_attention: modules in which every self-attention map is replaced by the identity.
        skip: blocks of a ``DiT`` or an ``MMDiT`` to leave out.

    Raises:
        ValueError: if a named module contains no self-attention, or no such block.
        TypeError: if the network is not an ``nnx.Module``.

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
    """The modules whose paths contain one of the names."""
    chosen = []
    for name in names:
        below = [module for path, module in found.items() if f".{name}." in f".{path}."]
        if not below:
            raise ValueError(f"there is no {kind} at {name!r}; they are at {sorted(found)}")
        chosen += below
    return chosen
