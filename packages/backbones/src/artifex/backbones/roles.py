r"""Roles of a network's parameters, and which of them are matrices between hidden layers.

An optimizer may treat parameters by their role. Muon (Jordan et al. 2024) is for matrices that turn hidden activations
into hidden activations; it leaves to AdamW the first and the last layer, tables, what embeds a condition, projections
of the condition (adaLN), biases and norms.

A class states the roles of its own layers in ``roles``, as the networks here do in ``ROLES``: from a layer's or a
parameter's place below it, a pattern of ``fnmatch`` with dots, to its `Role`. Of two statements the outer one holds.
What nothing is stated for has its role by its layer's class and by names:

| What | Role |
| --- | --- |
| named ``bias``, ``scale``, ``gamma``, ``beta`` or ``gain``, or of one axis | ``vector`` |
| an ``nnx.Embed``; any name with ``emb`` in its path | ``embedding`` |
| a name with ``modulation``, ``adaln``, ``ada_ln`` or ``film`` in its path | ``modulation`` |
| of the root's own layers one named ``stem``, ``first``, ``conv_in`` ..., or not of its commonest width | ``input`` |
| likewise ``out``, ``head``, ``last``, ``conv_out`` ..., or with an output of another width | ``output`` |
| any other parameter named ``kernel`` or ``weight``; that of a ``qkv`` or ``kv`` is cut | ``hidden`` |
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

from artifex.backbones import mmdit
from artifex.backbones.autoencoder_kl import AutoencoderKL, Decoder, Encoder
from artifex.backbones.blocks import CrossAttention, SelfAttention
from artifex.backbones.dit import DiT, DiTBlock
from artifex.backbones.edm2 import EDM2Block, EDM2UNet
from artifex.backbones.embeddings import LabelEmbedding, TimeEmbedding
from artifex.backbones.mlp import MLP, MLPBlock
from artifex.backbones.mmdit import MMDiT, MMDiTBlock, Projection
from artifex.backbones.residual import ResBlock
from artifex.backbones.spatial_transformer import SpatialTransformer, TransformerBlock
from artifex.backbones.trunk import Level, Trunk
from artifex.backbones.unet_conditional import PooledEmbedding
from artifex.backbones.uvit import UViT, UViTBlock


@dataclass(frozen=True)
class Role:
    """The role of a parameter.

    Attributes:
        name: ``hidden`` is a matrix between hidden activations, or several.
        fused: how many matrices a hidden kernel holds side by side, as one of queries, keys and values holds three.
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
    DiTBlock: {"expand": HIDDEN, "contract": HIDDEN, "modulation": MODULATION},
    MMDiT: {**_ENDS, "pooled_first": EMBEDDING, "pooled_second": EMBEDDING, "context": INPUT},
    MMDiTBlock: {"modulation": MODULATION, "text_modulation": MODULATION},
    Projection: {"qkv": QKV, "out": HIDDEN},
    mmdit.MLP: {"expand": HIDDEN, "contract": HIDDEN},
    UViT: {"stem": INPUT, "positions": EMBEDDING, "out": OUTPUT, "smooth": OUTPUT},
    UViTBlock: {"join": HIDDEN, "expand": HIDDEN, "contract": HIDDEN},
    Trunk: {"stem": INPUT, "out": OUTPUT},
    Level: {"resample": HIDDEN},
    ResBlock: {"conv1": HIDDEN, "emb": MODULATION, "conv2": HIDDEN, "skip": HIDDEN},
    SpatialTransformer: {"enter": HIDDEN, "leave": HIDDEN},
    TransformerBlock: {"expand": PAIR, "contract": HIDDEN},
    EDM2UNet: {"embed": EMBEDDING, "labels": EMBEDDING, "stem": INPUT, "out": OUTPUT},
    EDM2Block: {
        "conv1": HIDDEN, "emb": MODULATION, "conv2": HIDDEN, "skip": HIDDEN, "qkv": QKV, "out": HIDDEN,
    },
    MLP: {"stem": INPUT, "out": OUTPUT},
    Encoder: {"stem": INPUT, "out": OUTPUT},
    Decoder: {"stem": INPUT, "out": OUTPUT},
    AutoencoderKL: {"quant_conv": OUTPUT, "post_quant_conv": INPUT},
    MLPBlock: {"first": HIDDEN, "emb": MODULATION, "second": HIDDEN},
}  # fmt: skip
"""Roles by class, of its own layers; those inside of a layer state their own."""

_VECTORS: Final = ("bias", "scale", "gamma", "beta", "gain")
_KERNELS: Final = ("kernel", "weight")
_FIRST: Final = ("stem", "first", "input", "conv_in", "proj_in", "in_proj", "enter", "patchify")
_LAST: Final = ("out", "last", "output", "conv_out", "proj_out", "out_proj", "head", "final", "leave", "unpatchify")
_FUSED: Final = {"qkv": QKV, "to_qkv": QKV, "kv": PAIR, "to_kv": PAIR}


@dataclass(frozen=True)
class Matrices:
    """The matrices in a hidden kernel; axes that are neither count them, as the layers of a scan do.

    Attributes:
        reduction: axes of what comes in, counted from the last axis of ``shape``.
        output: axes of what goes out, likewise.
        shape: that the kernel is reshaped to first, for matrices that lie side by side along its last axis.
    """

    reduction: tuple[int, ...]
    output: tuple[int, ...]
    shape: tuple[int, ...]


def parameter_roles(network: nnx.Module) -> dict[str, Role]:
    """The role of every ``nnx.Param`` by its path, joined by dots; only shapes are looked at."""
    return {path: role for path, role, *_ in _parameters(network)}


def hidden_matrices(network: nnx.Module) -> dict[str, Matrices]:
    """The matrices in each hidden kernel, by its path.

    A convolution's kernel ``(k, k, in, out)`` is one matrix ``(k k in, out)``; one of several axes for heads is one of
    their product; fused kernels, groups of a convolution and layers stacked for a scan are so many matrices.

    Raises:
        ValueError: if a fused kernel can't be cut evenly.
    """
    return {
        path: _matrices(path, owner, role, shape)
        for path, role, owner, shape in _parameters(network)
        if role.name == "hidden"
    }


def _parameters(network: nnx.Module) -> Iterator[tuple[str, Role, object, tuple[int, ...]]]:
    """Path, role, the layer it belongs to, and shape of each parameter."""
    nodes = dict(nnx.iter_graph(network))
    ends = _ends(network)
    for path, node in nodes.items():
        if isinstance(node, nnx.Param):
            owners = [nodes.get(path[:i]) for i in range(len(path))]
            shape = tuple(node.get_raw_value().shape)
            role = _stated(path, owners) or _by_name(path, owners[-1], shape, ends)
            yield ".".join(map(str, path)), role, owners[-1], shape


def _stated(path: tuple[object, ...], owners: list[object]) -> Role | None:
    """The role that the outermost class states for a parameter, or for its layer's kernel."""
    if path[-1] in _VECTORS:
        return VECTOR
    for depth, owner in enumerate(owners):
        if not isinstance(owner, nnx.Module):
            continue
        stated = getattr(type(owner), "roles", None) or ROLES.get(type(owner), {})
        place = ".".join(map(str, path[depth:]))
        layer = ".".join(map(str, path[depth:-1]))
        for pattern, role in stated.items():
            if fnmatchcase(place, pattern) or (layer and fnmatchcase(layer, pattern)):
                found: Role = role
                return found
    return None


def _by_name(path: tuple[object, ...], owner: object, shape: tuple[int, ...], ends: Mapping[str, Role]) -> Role:
    """The rule of the table above, for what nothing is stated for."""
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
        return VECTOR  # a depthwise filter is a vector for each channel
    layer = ".".join(words[:-1])
    if layer in ends:
        return ends[layer]
    return _FUSED.get(words[-2] if len(words) > 1 else "", HIDDEN)


def _ends(network: nnx.Module) -> dict[str, Role]:
    """Those of the layers that the root, or its one sequence of layers, has itself which begin or end it."""
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
    """The numbers of inputs and outputs of a layer at one place."""
    shape = next(getattr(layer, name).get_raw_value().shape for name in _KERNELS if hasattr(layer, name))
    ins, outs = _axes(layer, len(shape))
    channels = not isinstance(layer, nnx.LinearGeneral)  # those of a convolution; a plain layer has nothing else
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
        raise ValueError(f"{path} must hold {fused} matrices side by side, got shape {shape}")
    cut = (*shape[:-1], fused, shape[-1] // fused)
    return Matrices(tuple(axis - 1 for axis in reduction), (*(axis - 1 for axis in output[:-1]), -1), cut)


def _axes(owner: object, rank: int) -> tuple[int, int]:
    """The numbers of input and output axes of a kernel; those before them are of a stack."""
    if isinstance(owner, nnx.LinearGeneral):
        return _count(owner.in_features), _count(owner.out_features)
    if isinstance(owner, nnx.Linear):
        return 1, 1
    if isinstance(owner, nnx.Conv | nnx.ConvTranspose):
        return _count(owner.kernel_size) + 1, 1
    return (3, 1) if rank > 3 else (1, 1)


def _count(sizes: object) -> int:
    return len(sizes) if isinstance(sizes, tuple | list) else 1
