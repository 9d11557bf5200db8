"""Default sizes of networks, by the shape of the data.

| Longest side | Transformers: hidden, depth, heads | U-Nets: base channels, blocks a level |
| --- | --- | --- |
| up to 16 | 128, 4, 4 | 32, 1 |
| up to 32 | 256, 8, 4 | 64, 2 |
| more | 384, 12, 6, as DiT-S | 64, 2 |

The patch size is the smallest from 2 on that divides both sides and gives at most 256 patches, as in DiT's and U-ViT's
published sizes; 1 if that would give fewer than 16. A U-Net halves sides that are even and larger than 8, or for images
up to 32 larger than 4. The width of an MLP is four times that of a point, at least 128 and at most 1024. Given fields
are kept, and dependent ones follow them: heads divide a given width.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

_MULTS: Final = {1: (1,), 2: (1, 2), 3: (1, 2, 2), 4: (1, 2, 2, 2), 5: (1, 1, 2, 2, 4), 6: (1, 1, 2, 2, 4, 4)}
_PIXELS: Final = 1024
"""Largest number of pixels of a level with attention."""


def sized_fields(kind: str, shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the fields of a network's config that define its size.

    Args:
        kind: as in ``BackboneConfig``.
        shape: of one example, ``(h, w, c)`` or ``(d,)``.
        given: fields that are given.
    """
    if kind == "mlp":
        return {"hidden": min(1024, max(128, 1 << (4 * shape[0] - 1).bit_length()))}
    return _unet(kind, shape, given) if kind in ("unet", "edm2") else _transformer(kind, shape, given)


def _transformer(kind: str, shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    side = max(shape[:2])
    hidden, depth, heads = (128, 4, 4) if side <= 16 else (256, 8, 4) if side <= 32 else (384, 12, 6)
    patch = given.get("patch", patch_of(shape[0], shape[1]))
    if kind == "mmdit":
        heads = given.get("heads", heads)
        head_dim = given.get("head_dim", 4 * -(-hidden // (4 * heads)))
        patches = -(-side // patch)
        return {
            "patch": patch, "depth": depth, "heads": heads, "head_dim": head_dim, "context_features": heads * head_dim,
            "pooled_features": heads * head_dim, "max_size": patches, "sample_size": max(side, patch),
        }  # fmt: skip
    if "hidden" in given:
        divisors = [n for n in range(1, given["hidden"] + 1) if given["hidden"] % n == 0]
        heads = min(divisors, key=lambda n: abs(math.log(given["hidden"] / n / 64)))
    elif "heads" in given:
        step = math.lcm(4, given["heads"])
        hidden = step * -(-hidden // step)
    return {"patch": patch, "hidden": hidden, "depth": depth + (kind == "uvit"), "heads": heads}


def patch_of(height: int, width: int) -> int:
    """Choose the side of a patch."""
    common = math.gcd(height, width)
    divisors = [n for n in range(1, common + 1) if common % n == 0]

    def patches(patch: int) -> int:
        return height * width // patch**2

    fine = [n for n in divisors if n > 1 and 16 <= patches(n) <= 256]
    return fine[0] if fine else min(divisors, key=lambda n: (patches(n) < 16, patches(n) > 1024, abs(patches(n) - 256)))


def _unet(kind: str, shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    height, width, _ = shape
    small = max(height, width) <= 16
    base = given.get("base_channels", 32 if small else 64)
    least, levels = 4 if max(height, width) <= 32 else 8, 1
    while levels < 6 and height % 2**levels == width % 2**levels == 0 and min(height, width) >= least * 2**levels:
        levels += 1
    mults = given.get("channel_mults", _MULTS[levels])
    pixels = [height * width // 4**level for level in range(len(mults))]
    attention = () if small else tuple(level for level, count in enumerate(pixels) if count <= 256)
    head = next(n for n in (64, 32, 16, 8, 4, 2, 1) if base % n == 0)
    if kind == "edm2":
        return {
            "base_channels": base, "channel_mults": mults, "num_blocks": 1 if small else 2,
            "attention_levels": attention, "head_dim": head,
        }  # fmt: skip
    return {
        "base_channels": base, "channel_mults": mults, "num_res_blocks": 1 if small else 2,
        "attention_levels": attention, "middle_attention": pixels[-1] <= _PIXELS, "head_dim": head,
        "groups": next(n for n in (32, 16, 8, 4, 2, 1) if base % n == 0 and (4 * n <= base or n == 1)),
        "resample": "pool" if small else "conv",
    }  # fmt: skip
