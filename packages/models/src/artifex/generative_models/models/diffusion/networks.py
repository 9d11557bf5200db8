"""Default networks of the models."""

from collections.abc import Callable
from functools import reduce
from math import gcd
from typing import TypedDict, Unpack

from flax import nnx
from jax.typing import DTypeLike

from artifex.backbones import MLP, Backbone, DiT, DiTConfig, MLPConfig, UNet, UNetConfig
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.checks import check_options
from artifex.generative_models.models.diffusion.parameters import DiTParameters, parse

BackboneFn = Callable[..., Backbone]
"""Called as ``backbone_fn(config, rngs=rngs)``; its module as ``(x, t, cond, deterministic=...)``."""


class NetworkOptions(TypedDict, total=False):
    """Keyword arguments of the constructors of models with a default network.

    Attributes:
        backbone_fn: makes the network, called as ``backbone_fn(config, rngs=rngs)``; the default network if None or
            absent.
    """

    backbone_fn: BackboneFn | None


def network_fn(options: NetworkOptions) -> BackboneFn:
    """The ``backbone_fn`` of a constructor's options, or the default one.

    Raises:
        TypeError: for an unknown option.
    """
    check_options(options, NetworkOptions.__annotations__)
    return options.get("backbone_fn") or network


def check_output(config: ModelConfig) -> None:
    """Raise a ValueError if ``config.output_dim`` is not the input's."""
    if config.output_dim not in (None, config.input_dim, config.input_dim[-1]):
        raise ValueError(
            f"output_dim must be input_dim = {config.input_dim} or its last number, for a model predicts the noise in "
            f"its input; got {config.output_dim}"
        )


def check_activation(config: ModelConfig, *names: str) -> None:
    """Raise a ValueError if ``config.activation`` is none of ``names``, those of the default network."""
    if config.activation not in (None, *names):
        raise ValueError(
            f"the default network's activation is {names[0]!r}, got {config.activation!r}; give backbone_fn"
        )


class DiTOptions(TypedDict, total=False):
    """Keyword arguments of ``DiTModel`` for its default network.

    Attributes:
        remat: recompute every block in the backward pass instead of keeping its activations.
        scan: trace all blocks as one loop: a smaller program, no faster one.
        dtype: of the computation.
        param_dtype: of the parameters.
    """

    remat: bool
    scan: bool
    dtype: DTypeLike
    param_dtype: DTypeLike


def dit(config: ModelConfig, *, rngs: nnx.Rngs, **kwargs: Unpack[DiTOptions]) -> Backbone:
    """The diffusion transformer of ``DiTParameters``.

    Raises:
        ValueError: for data other than images ``(H, W, C)`` of ``img_size``, patches that do not divide it, or
            settings of another kind of network.
    """
    p = parse(DiTParameters, config)
    if len(config.input_dim) != 3:
        raise ValueError(f"a DiT takes images: input_dim must be (H, W, C), got {config.input_dim}; give backbone_fn")
    if "img_size" in p.model_fields_set and config.input_dim[:2] != (p.img_size, p.img_size):
        raise ValueError(f"img_size must be the side of input_dim = {config.input_dim}, got {p.img_size}")
    if config.input_dim[0] % p.patch_size or config.input_dim[1] % p.patch_size:
        raise ValueError(f"patch_size must divide both sides of {config.input_dim}, got {p.patch_size}")
    if config.hidden_dims is not None:
        raise ValueError(f"hidden_dims must be None for a DiT, whose width is hidden_size, got {config.hidden_dims}")
    check_activation(config, "gelu")
    return DiT(
        DiTConfig(
            in_channels=config.input_dim[-1],
            patch=p.patch_size,
            hidden=p.hidden_size,
            depth=p.depth,
            heads=p.num_heads,
            mlp_ratio=p.mlp_ratio,
            learn_sigma=p.learn_sigma,
            dropout=p.dropout_rate,
            num_classes=p.num_classes,
            **kwargs,
        ),
        rngs=rngs,
    )


def network(config: ModelConfig, *, rngs: nnx.Rngs) -> Backbone:
    """The default network: a U-Net for images ``(H, W, C)``, an MLP for vectors ``(D,)``.

    ``config.hidden_dims`` are the widths of the U-Net's levels (64, 128 if None), with attention at the last level, or
    those of the MLP's blocks, which must be equal (three of 128 if None).

    Raises:
        ValueError: for data of another rank, or unsupported settings.
    """
    check_activation(config, "silu", "swish")
    classes = config.parameters.get("num_classes")
    assert classes is None or isinstance(classes, int)
    if len(config.input_dim) == 3:
        return unet(config.input_dim[-1], config.hidden_dims or (64, 128), classes, rngs=rngs)
    if len(config.input_dim) == 1:
        widths = config.hidden_dims or (128, 128, 128)
        if len(set(widths)) != 1:
            raise ValueError(f"hidden_dims must be all of one width for the default network of vectors, got {widths}")
        shape = MLPConfig(features=config.input_dim[0], hidden=widths[0], depth=len(widths), num_classes=classes)
        return MLP(shape, rngs=rngs)
    raise ValueError(f"input_dim must be (H, W, C) or (D,) for a default network, got {config.input_dim}")


def unet(channels: int, widths: tuple[int, ...], num_classes: int | None, *, rngs: nnx.Rngs) -> UNet:
    """A U-Net with levels of these widths."""
    base = reduce(gcd, widths)
    return UNet(
        UNetConfig(
            in_channels=channels,
            base_channels=base,
            channel_mults=tuple(width // base for width in widths),
            attention_levels=(len(widths) - 1,),
            head_dim=None,
            groups=gcd(32, base),
            num_res_blocks=1,
            num_classes=num_classes,
        ),
        rngs=rngs,
    )
