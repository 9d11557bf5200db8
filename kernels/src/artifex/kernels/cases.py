"""Named sizes of real models, for tests and benchmarks."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class AttentionCase:
    """One attention layer of a model.

    Attributes:
        name: the model, the side of its images or of the layer's grid, and the kind of keys.
        tokens: queries.
        keys: keys and values.
        heads: heads.
        head_dim: width of a head.
        batch: samples in a usual batch on an accelerator.
        few: samples that a CPU gets through in a fraction of a second.
    """

    name: str
    tokens: int
    keys: int
    heads: int
    head_dim: int
    batch: int
    few: int


ATTENTION: Final = (
    AttentionCase("dit-xl-2-256", tokens=256, keys=256, heads=16, head_dim=72, batch=32, few=2),
    AttentionCase("dit-xl-2-512", tokens=1024, keys=1024, heads=16, head_dim=72, batch=32, few=1),
    AttentionCase("sd-unet-64", tokens=4096, keys=4096, heads=8, head_dim=40, batch=8, few=1),
    AttentionCase("sd-unet-64-text", tokens=4096, keys=77, heads=8, head_dim=40, batch=8, few=1),
    AttentionCase("sd-unet-32", tokens=1024, keys=1024, heads=8, head_dim=80, batch=8, few=1),
    AttentionCase("sd-unet-16", tokens=256, keys=256, heads=8, head_dim=160, batch=8, few=2),
    AttentionCase("sd-unet-8", tokens=64, keys=64, heads=8, head_dim=160, batch=8, few=2),
    AttentionCase("cifar-unet-16", tokens=256, keys=256, heads=1, head_dim=256, batch=128, few=8),
    AttentionCase("digits-unet-4", tokens=16, keys=16, heads=4, head_dim=16, batch=128, few=128),
)
"""DiT-XL/2 (Peebles and Xie 2023), the U-Nets of Stable Diffusion 1 (Rombach et al. 2022) and of DDPM on 32 x 32 pixels
(Ho et al. 2020), and a small one for 8 x 8 digits."""


@dataclass(frozen=True)
class LinearStepCase:
    """One update of a sampler.

    Attributes:
        name: the data and the method.
        shape: of one sample.
        terms: arrays that are summed.
        noise: whether fresh noise joins them.
        clip: bound of the result.
        batch: samples in a usual batch on an accelerator.
        few: samples that a CPU gets through in a fraction of a second.
    """

    name: str
    shape: tuple[int, ...]
    terms: int
    noise: bool
    clip: float | None
    batch: int
    few: int


LINEAR_STEP: Final = (
    LinearStepCase("latent-32-ddim", (32, 32, 4), terms=2, noise=False, clip=None, batch=256, few=32),
    LinearStepCase("latent-32-ddpm", (32, 32, 4), terms=2, noise=True, clip=None, batch=256, few=32),
    LinearStepCase("latent-64-dpm-solver-2m", (64, 64, 4), terms=3, noise=False, clip=None, batch=64, few=16),
    LinearStepCase("latent-64-unipc", (64, 64, 4), terms=4, noise=False, clip=None, batch=64, few=16),
    LinearStepCase("pixels-256-guided", (256, 256, 3), terms=2, noise=False, clip=1.0, batch=32, few=4),
    LinearStepCase("cifar-ddpm", (32, 32, 3), terms=2, noise=True, clip=1.0, batch=128, few=32),
    LinearStepCase("digits-ddim", (8, 8, 1), terms=2, noise=False, clip=None, batch=128, few=128),
)
"""Deterministic and ancestral steps, multistep solvers and a guided combination, on latents and on pixels."""


@dataclass(frozen=True)
class GuidedCombineCase:
    """One guided evaluation of a model.

    Attributes:
        name: the data and the method.
        shape: of one sample.
        rescale: whether each sample is rescaled.
        threshold: whether each sample is thresholded.
        batch: samples in a usual batch on an accelerator.
        few: samples that a CPU gets through in a fraction of a second.
    """

    name: str
    shape: tuple[int, ...]
    rescale: bool
    threshold: bool
    batch: int
    few: int


GUIDED_COMBINE: Final = (
    GuidedCombineCase("latent-32-plain", (32, 32, 4), rescale=False, threshold=False, batch=256, few=32),
    GuidedCombineCase("latent-64-rescale", (64, 64, 4), rescale=True, threshold=False, batch=64, few=16),
    GuidedCombineCase("pixels-64-threshold", (64, 64, 3), rescale=False, threshold=True, batch=128, few=8),
    GuidedCombineCase("pixels-256-threshold", (256, 256, 3), rescale=False, threshold=True, batch=32, few=1),
)
"""Latents of DiT-XL/2 and Stable Diffusion, pixels of a cascade's base and of its upsampler."""


@dataclass(frozen=True)
class AdalnCase:
    """One gated residual and modulated norm of a diffusion transformer.

    Attributes:
        name: the model and the side of its images.
        tokens: patches of an image.
        channels: width of a token.
        batch: samples in a usual batch on an accelerator.
        few: samples that a CPU gets through in a fraction of a second.
    """

    name: str
    tokens: int
    channels: int
    batch: int
    few: int


ADALN: Final = (
    AdalnCase("dit-xl-2-256", tokens=256, channels=1152, batch=32, few=2),
    AdalnCase("dit-xl-2-512", tokens=1024, channels=1152, batch=32, few=1),
    AdalnCase("digits-dit", tokens=16, channels=96, batch=128, few=128),
)
"""DiT-XL/2, and a small one for 8 x 8 digits."""


@dataclass(frozen=True)
class GroupNormSiluCase:
    """One norm before a convolution of a U-Net.

    Attributes:
        name: the model and the side of the layer's grid.
        side: height and width of the image.
        channels: number of channels.
        groups: number of groups.
        modulated: whether the condition scales and shifts.
        batch: samples in a usual batch on an accelerator.
        few: samples that a CPU gets through in a fraction of a second.
    """

    name: str
    side: int
    channels: int
    groups: int
    modulated: bool
    batch: int
    few: int


GROUP_NORM_SILU: Final = (
    GroupNormSiluCase("sd-unet-64", side=64, channels=320, groups=32, modulated=False, batch=8, few=1),
    GroupNormSiluCase("sd-unet-32", side=32, channels=640, groups=32, modulated=False, batch=8, few=1),
    GroupNormSiluCase("sd-unet-16", side=16, channels=1280, groups=32, modulated=False, batch=8, few=2),
    GroupNormSiluCase("cifar-unet-32", side=32, channels=128, groups=32, modulated=True, batch=128, few=8),
    GroupNormSiluCase("cifar-unet-16", side=16, channels=256, groups=32, modulated=True, batch=128, few=8),
    GroupNormSiluCase("digits-unet-8", side=8, channels=32, groups=8, modulated=True, batch=128, few=128),
)
"""The U-Nets of Stable Diffusion 1, of improved DDPM on 32 x 32 pixels (Nichol and Dhariwal 2021), and of digits."""


@dataclass(frozen=True)
class QkNormRopeCase:
    """Queries and keys of one layer of a transformer.

    Attributes:
        name: the model and the side of its images.
        tokens: of a sample.
        heads: number of heads.
        head_dim: width of a head.
        axes: number of axes of positions.
        batch: samples in a usual batch on an accelerator.
        few: samples that a CPU gets through in a fraction of a second.
    """

    name: str
    tokens: int
    heads: int
    head_dim: int
    axes: int
    batch: int
    few: int


QK_NORM_ROPE: Final = (
    QkNormRopeCase("dit-xl-2-256", tokens=256, heads=16, head_dim=72, axes=2, batch=32, few=2),
    QkNormRopeCase("dit-xl-2-512", tokens=1024, heads=16, head_dim=72, axes=2, batch=32, few=1),
    QkNormRopeCase("dit-b-2-256-in-a-row", tokens=256, heads=12, head_dim=64, axes=1, batch=32, few=2),
    QkNormRopeCase("digits-dit", tokens=16, heads=4, head_dim=24, axes=2, batch=128, few=128),
)
"""Sizes of DiT, with rows and columns or the index in a sequence as positions."""


@dataclass(frozen=True)
class ConvCase:
    """One convolution of a U-Net by a 3x3 kernel, with a zero on each side.

    Attributes:
        name: the model and the side of the layer's images.
        side: height and width of the input.
        channels: of the input.
        out: channels of the output.
        batch: samples in a usual batch on an accelerator.
        few: samples that a CPU gets through in a fraction of a second.
    """

    name: str
    side: int
    channels: int
    out: int
    batch: int
    few: int


CONV: Final = (
    ConvCase("sd-unet-64", side=64, channels=320, out=320, batch=8, few=1),
    ConvCase("cifar-unet-32", side=32, channels=128, out=128, batch=128, few=4),
    ConvCase("cifar-unet-16", side=16, channels=256, out=256, batch=128, few=4),
    ConvCase("cifar-unet-4", side=4, channels=512, out=256, batch=128, few=4),
    ConvCase("digits-unet-8", side=8, channels=32, out=32, batch=128, few=64),
    ConvCase("digits-unet-4", side=4, channels=32, out=64, batch=128, few=64),
)
"""Residual blocks of the U-Nets of Stable Diffusion 1, of DDPM on 32 x 32 pixels, and of digits."""

UPSAMPLE_CONV: Final = (
    ConvCase("sd-unet-32-up", side=32, channels=640, out=640, batch=8, few=1),
    ConvCase("cifar-unet-16-up", side=16, channels=256, out=256, batch=128, few=4),
    ConvCase("digits-unet-4-up", side=4, channels=64, out=64, batch=128, few=64),
)
"""The upsampling layers of the same networks."""
