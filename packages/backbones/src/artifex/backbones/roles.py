r"""Roles of parameters, for optimizers that treat them differently.

Muon (Jordan et al. 2024) is for matrices between hidden activations; the first and the last layer, tables, embeddings
and projections of a condition (adaLN), biases and norms are left to AdamW.

A class declares the roles of its layers in an attribute ``roles``, as ``ROLES`` does for the networks here: a mapping
from patterns of ``fnmatch`` for the dotted path of a layer or a parameter below it to a ``Role``. Outer declarations
take precedence. The role of other parameters follows from names and the class of the layer:

| Parameter | Role |
| --- | --- |
| named ``bias``, ``scale``, ``gamma``, ``beta`` or ``gain``, or of one axis | ``vector`` |
| an ``nnx.Embed``; any name with ``emb`` in its path | ``embedding`` |
| a name with ``modulation``, ``adaln``, ``ada_ln`` or ``film`` in its path | ``modulation`` |
| a direct layer of the root named ``stem``, ``first``, ``conv_in`` ..., or of unusual input width | ``input`` |
| likewise ``out``, ``head``, ``last``, ``conv_out`` ..., or of unusual output width | ``output`` |
| any other parameter named ``kernel`` or ``weight``; that of ``qkv`` or ``kv`` is fused | ``hidden`` |
| any other parameter | ``embedding`` |

References: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; Bernstein and Newhouse 2024,
https://arxiv.org/abs/2409.20325
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

from flax import nnx

from artifex.backbones.autoencoder_kl import AutoencoderKL, Decoder, Encoder
from artifex.backbones.clip_text import CLIPText, CLIPTextLayer
from artifex.backbones.dit import DiT, DiTBlock
from artifex.backbones.edm2 import EDM2Block, EDM2UNet
from artifex.backbones.embeddings import LabelEmbedding, TimeEmbedding
from artifex.backbones.layers import CrossAttention, SelfAttention
from artifex.backbones.mlp import MLP, MLPBlock
from artifex.backbones.mmdit import FeedForward, MMDiT, MMDiTBlock, QKVProjection
from artifex.backbones.spatial_transformer import SpatialTransformer, TransformerBlock
from artifex.backbones.t5 import T5Encoder, T5Layer
from artifex.backbones.unet_blocks import ResBlock
from artifex.backbones.unet_conditional import PooledEmbedding
from artifex.backbones.unet_core import Level, UNetCore
from artifex.backbones.uvit import UViT, UViTBlock


@dataclass(frozen=True)
class Role:
    """The role of a parameter.

    Attributes:
        name: ``hidden`` is one or several matrices between hidden activations.
        fused: number of matrices concatenated in a hidden kernel, such as 3 for queries, keys and values.
    """

    name: Literal["hidden", "input", "output", "embedding", "modulation", "vector"]
    fused: int = 1


HIDDEN: Final = Role("hidden")
PAIR: Final = Role("hidden", fused=2)
QKV: Final = Role("hidden", fused=3)
INPUT: Final = Role("input")
OUTPUT: Final = Role("output")
EMBEDDING: Final = Role("embedding")
MODULATION: Final = Role("modulation")
VECTOR: Final = Role("vector")

_ENDS: Final = {"stem": INPUT, "modulation": MODULATION, "out": OUTPUT}
ROLES: Final[Mapping[type[nnx.Module], Mapping[str, Role]]] = {
    TimeEmbedding: {"first": EMBEDDING, "second": EMBEDDING},
    LabelEmbedding: {"table": EMBEDDING},
    PooledEmbedding: {"first": EMBEDDING, "second": EMBEDDING},
    SelfAttention: {"qkv": QKV, "out": HIDDEN},
    CrossAttention: {"q": HIDDEN, "kv": PAIR, "out": HIDDEN},
    DiT: _ENDS,
    DiTBlock: {"mlp_in": HIDDEN, "mlp_out": HIDDEN, "modulation": MODULATION},
    MMDiT: {**_ENDS, "pooled_first": EMBEDDING, "pooled_second": EMBEDDING, "context": INPUT},
    MMDiTBlock: {"modulation": MODULATION, "text_modulation": MODULATION},
    QKVProjection: {"qkv": QKV, "out": HIDDEN},
    FeedForward: {"proj_in": HIDDEN, "proj_out": HIDDEN},
    UViT: {"stem": INPUT, "positions": EMBEDDING, "out": OUTPUT, "final_conv": OUTPUT},
    UViTBlock: {"skip_linear": HIDDEN, "mlp_in": HIDDEN, "mlp_out": HIDDEN},
    UNetCore: {"stem": INPUT, "out": OUTPUT},
    Level: {"resample": HIDDEN},
    ResBlock: {"conv1": HIDDEN, "emb": MODULATION, "conv2": HIDDEN, "skip": HIDDEN},
    SpatialTransformer: {"proj_in": HIDDEN, "proj_out": HIDDEN},
    TransformerBlock: {"mlp_in": PAIR, "mlp_out": HIDDEN},
    EDM2UNet: {"embed": EMBEDDING, "labels": EMBEDDING, "stem": INPUT, "out": OUTPUT},
    EDM2Block: {
        "conv1": HIDDEN, "emb": MODULATION, "conv2": HIDDEN, "skip": HIDDEN, "qkv": QKV, "out": HIDDEN,
    },
    MLP: {"stem": INPUT, "out": OUTPUT},
    Encoder: {"stem": INPUT, "out": OUTPUT},
    Decoder: {"stem": INPUT, "out": OUTPUT},
    AutoencoderKL: {"quant_conv": OUTPUT, "post_quant_conv": INPUT},
    MLPBlock: {"first": HIDDEN, "emb": MODULATION, "second": HIDDEN},
    CLIPText: {"tokens": EMBEDDING, "positions": EMBEDDING, "project": OUTPUT},
    CLIPTextLayer: {"qkv": QKV, "out": HIDDEN, "mlp_in": HIDDEN, "mlp_out": HIDDEN},
    T5Encoder: {"tokens": EMBEDDING, "bias_table": EMBEDDING},
    T5Layer: {
        "qkv": QKV, "out": HIDDEN, "gate_in": PAIR, "mlp_in": HIDDEN, "mlp_out": HIDDEN, "bias_table": EMBEDDING,
    },
}  # fmt: skip
"""Roles of the layers of each class; the layers inside of them have their own."""

_VECTORS: Final = ("bias", "scale", "gamma", "beta", "gain")
_KERNELS: Final = ("kernel", "weight")
_FIRST: Final = ("stem", "first", "input", "conv_in", "proj_in", "in_proj", "patchify")
_LAST: Final = ("out", "last", "output", "conv_out", "proj_out", "out_proj", "head", "final", "unpatchify")
_FUSED: Final = {"qkv": QKV, "to_qkv": QKV, "kv": PAIR, "to_kv": PAIR}


@dataclass(frozen=True)
class Matrices:
    """The matrices in a hidden kernel; all other axes are batch axes, such as that of stacked layers.

    Attributes:
        reduction: input axes, as negative indices into ``shape``.
        output: output axes, as negative indices into ``shape``.
        shape: the shape to reshape the kernel to first, which separates fused matrices.
    """

    reduction: tuple[int, ...]
    output: tuple[int, ...]
    shape: tuple[int, ...]


def parameter_roles(network: nnx.Module) -> dict[str, Role]:
    """The role of every ``nnx.Param`` by its dotted path; abstract arrays suffice."""
    return {path: role for path, role, *_ in _parameters(network)}


def hidden_matrices(network: nnx.Module) -> dict[str, Matrices]:
    """The matrices in each hidden kernel, by its path.

    A convolution's kernel ``(k, k, in, out)`` is one matrix ``(k k in, out)``, and several axes for heads are taken
    together. Fused kernels, grouped convolutions and stacked layers hold several matrices.

    Raises:
        ValueError: if a fused kernel does not split evenly.
    """
    return {
        path: _matrices(path, owner, role, shape)
        for path, role, owner, shape in _parameters(network)
        if role.name == "hidden"
    }


def _parameters(network: nnx.Module) -> Iterator[tuple[str, Role, object, tuple[int, ...]]]:
    """Path, role, layer and shape of each parameter."""
    nodes = dict(nnx.iter_graph(network))
    ends = _ends(network)
    for path, node in nodes.items():
        if isinstance(node, nnx.Param):
            owners = [nodes.get(path[:i]) for i in range(len(path))]
            shape = tuple(node.get_raw_value().shape)
            role = _declared(path, owners) or _by_name(path, owners[-1], shape, ends)
            yield ".".join(map(str, path)), role, owners[-1], shape


def _declared(path: tuple[object, ...], owners: list[object]) -> Role | None:
    """The role that the outermost class declares for a parameter or its layer."""
    if path[-1] in _VECTORS:
        return VECTOR
    for depth, owner in enumerate(owners):
        if not isinstance(owner, nnx.Module):
            continue
        declared = getattr(type(owner), "roles", None) or ROLES.get(type(owner), {})
        parameter = ".".join(map(str, path[depth:]))
        layer = ".".join(map(str, path[depth:-1]))
        for pattern, role in declared.items():
            if fnmatchcase(parameter, pattern) or (layer and fnmatchcase(layer, pattern)):
                found: Role = role
                return found
    return None


def _by_name(path: tuple[object, ...], owner: object, shape: tuple[int, ...], ends: Mapping[str, Role]) -> Role:
    """The role by the table in the module's docstring."""
    name, words = str(path[-1]), [str(part).lower() for part in path]
    if len(shape) < 2:
        return VECTOR
    if isinstance(owner, nnx.Embed) or any("emb" in word for word in words):
        return EMBEDDING
    if any(part in word for word in words for part in ("modulation", "adaln", "ada_ln", "film")):
        return MODULATION
    if name not in _KERNELS:
        return EMBEDDING
    if isinstance(owner, nnx.Conv) and owner.feature_group_count > 1 and shape[-2] == 1:
        return VECTOR  # a depthwise filter is one vector per channel
    layer = ".".join(words[:-1])
    if layer in ends:
        return ends[layer]
    return _FUSED.get(words[-2] if len(words) > 1 else "", HIDDEN)


def _ends(network: nnx.Module) -> dict[str, Role]:
    """Roles of the first and last layers among the direct layers of the root."""
    own = vars(network)
    if isinstance(network, nnx.Sequential):
        own = {f"layers.{i}": part for i, part in enumerate(network.layers)}
    layers = {name.lower(): _widths(part) for name, part in own.items() if _is_layer(part)}
    layers = {name: widths for name, widths in layers.items() if "emb" not in name}
    counts = Counter(width for widths in layers.values() for width in widths)
    hidden = max(counts, key=lambda width: (counts[width], width), default=0)
    out = {name: OUTPUT for name, widths in layers.items() if name in _LAST or widths[1] != hidden}
    return out | {name: INPUT for name, widths in layers.items() if name in _FIRST or widths[0] != hidden}


def _widths(layer: nnx.Module) -> tuple[int, int]:
    """The input and output width of a layer."""
    shape = next(getattr(layer, name).get_raw_value().shape for name in _KERNELS if hasattr(layer, name))
    ins, outs = _axes(layer, len(shape))
    channels = not isinstance(
        layer, nnx.LinearGeneral
    )  # the kernel size of a convolution is not part of its input width
    first = -outs - 1 if channels else -outs - ins
    return math.prod(shape[first:-outs]), math.prod(shape[-outs:])


def _is_layer(part: object) -> bool:
    return isinstance(part, nnx.Module) and any(isinstance(getattr(part, name, None), nnx.Param) for name in _KERNELS)


def _matrices(path: str, owner: object, role: Role, shape: tuple[int, ...]) -> Matrices:
    ins, outs = _axes(owner, len(shape))
    fused = role.fused
    if isinstance(owner, nnx.Conv) and owner.feature_group_count > 1:
        fused = owner.feature_group_count
    reduction, output = tuple(range(-ins - outs, -outs)), tuple(range(-outs, 0))
    if fused == 1:
        return Matrices(reduction, output, shape)
    if outs > 1 and shape[-outs] == fused:
        return Matrices(reduction, output[1:], shape)
    if shape[-1] % fused:
        raise ValueError(f"{path} must hold {fused} matrices along its last axis, got shape {shape}")
    cut = (*shape[:-1], fused, shape[-1] // fused)
    return Matrices(tuple(axis - 1 for axis in reduction), (*(axis - 1 for axis in output[:-1]), -1), cut)


def _axes(owner: object, rank: int) -> tuple[int, int]:
    """The numbers of input and output axes of a kernel; axes before them are of stacked layers."""
    if isinstance(owner, nnx.LinearGeneral):
        return _count(owner.in_features), _count(owner.out_features)
    if isinstance(owner, nnx.Linear):
        return 1, 1
    if isinstance(owner, nnx.Conv | nnx.ConvTranspose):
        return _count(owner.kernel_size) + 1, 1
    return (3, 1) if rank > 3 else (1, 1)


def _count(sizes: object) -> int:
    return len(sizes) if isinstance(sizes, tuple | list) else 1
