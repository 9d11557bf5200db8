"""The networks that models make where none is given."""

from functools import reduce
from math import gcd

from flax import nnx

from artifex.backbones import Backbone, UNet, UNetConfig
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.parameters import DiffusionParameters


def unet(config: ModelConfig, *, rngs: nnx.Rngs) -> Backbone:
    """A U-Net whose levels have the widths ``config.hidden_dims`` (64, 128 where None), with attention at the last.

    Raises:
        ValueError: if the data are no images ``(H, W, C)``.
    """
    if len(config.input_dim) != 3:
        raise ValueError(
            f"the default network takes images: input_dim must be (H, W, C), got {config.input_dim}; give backbone_fn"
        )
    widths = config.hidden_dims or (64, 128)
    base = reduce(gcd, widths)
    classes = config.parameters.get("num_classes")
    return UNet(
        UNetConfig(
            in_channels=config.input_dim[-1],
            base_channels=base,
            channel_mults=tuple(width // base for width in widths),
            attention_levels=(len(widths) - 1,),
            head_dim=None,
            groups=gcd(32, base),
            num_res_blocks=1,
            num_classes=DiffusionParameters.model_validate({"num_classes": classes}).num_classes,
        ),
        rngs=rngs,
    )
