"""Inception v3 up to its 2048 features, in the 2015 variant that defines FID.

It differs from the usual network in three places: averages at a border exclude padding, the last block pools by maximum
and the one before by average, and there are 1008 classes. Names and axes of its arrays are those of the PyTorch port
that pytorch-fid reads.

References: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567; Heusel et al. 2017, https://arxiv.org/abs/1706.08500
"""

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

LEAST: Final = 75
"""The smallest side of an image."""
CLASSES: Final = 1008
EPSILON: Final = 1e-3
"""Epsilon of batch normalization."""

Maps = Float[Array, "b _ _ _"]
Parameters = Mapping[str, Array]


class Layer(NamedTuple):
    """A convolution, normalization and ReLU; padded to keep the size unless it strides or ``valid``."""

    name: str
    width: int
    sides: tuple[int, int] = (1, 1)
    stride: int = 1
    valid: bool = False

    @property
    def padding(self) -> tuple[int, int]:
        """Padding on either side of height and width."""
        return (0, 0) if self.valid or self.stride > 1 else (self.sides[0] // 2, self.sides[1] // 2)


@runtime_checkable
class LayerFunction(Protocol):
    """The application of a layer, by its full name, to its input."""

    def __call__(self, name: str, layer: Layer, x: Maps) -> Maps: ...  # noqa: D102


def features(parameters: Parameters, images: Float[Array, "b h w 3"]) -> Float[Array, "b 2048"]:
    """Compute the means over the last block's maps.

    Args:
        parameters: by the names of ``shapes``.
        images: in [-1, 1], with sides of at least 75; FID's are of 299.
    """

    def apply(name: str, layer: Layer, x: Maps) -> Maps:
        kernel, bn = parameters[f"{name}.conv.weight"], f"{name}.bn"
        padding = [(p, p) for p in layer.padding]
        strides, axes = (layer.stride, layer.stride), ("NHWC", "OIHW", "NHWC")
        y = jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=axes, precision="highest")
        scale = parameters[f"{bn}.weight"] * jax.lax.rsqrt(parameters[f"{bn}.running_var"] + EPSILON)
        return nnx.relu((y - parameters[f"{bn}.running_mean"]) * scale + parameters[f"{bn}.bias"])

    return _network(apply, images)


@cache
def shapes() -> Mapping[str, tuple[int, ...]]:
    """Return the shape of every array, by name."""
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, layer: Layer, x: Maps) -> Maps:
        found[f"{name}.conv.weight"] = (layer.width, x.shape[3], *layer.sides)
        found.update(
            {f"{name}.bn.{part}": (layer.width,) for part in ("weight", "bias", "running_mean", "running_var")}
        )
        sizes = zip(x.shape[1:3], layer.padding, layer.sides, strict=True)
        return jnp.zeros((len(x), *((n + 2 * p - k) // layer.stride + 1 for n, p, k in sizes), layer.width))

    pooled = jax.eval_shape(lambda x: _network(note, x), jnp.zeros((1, LEAST, LEAST, 3)))
    return found | {"fc.weight": (CLASSES, pooled.shape[1]), "fc.bias": (CLASSES,)}


def _network(apply: LayerFunction, x: Maps) -> Float[Array, "b 2048"]:
    def chain(x: Maps, block: str, *layers: Layer) -> Maps:
        for layer in layers:
            x = apply(block + layer.name, layer, x)
        return x

    def narrow(x: Maps, block: str, pooled: int) -> Maps:
        return _join(
            chain(x, block, Layer("branch1x1", 64)),
            chain(x, block, Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, (5, 5))),
            chain(x, block, Layer("branch3x3dbl_1", 64), *(Layer(f"branch3x3dbl_{i}", 96, (3, 3)) for i in (2, 3))),
            chain(_average(x), block, Layer("branch_pool", pooled)),
        )

    def long(x: Maps, block: str, width: int) -> Maps:
        row, column = (1, 7), (7, 1)
        return _join(
            chain(x, block, Layer("branch1x1", 192)),
            chain(
                x, block,
                Layer("branch7x7_1", width), Layer("branch7x7_2", width, row), Layer("branch7x7_3", 192, column),
            ),
            chain(
                x, block,
                Layer("branch7x7dbl_1", width), Layer("branch7x7dbl_2", width, column),
                Layer("branch7x7dbl_3", width, row), Layer("branch7x7dbl_4", width, column),
                Layer("branch7x7dbl_5", 192, row),
            ),
            chain(_average(x), block, Layer("branch_pool", 192)),
        )  # fmt: skip

    def wide(x: Maps, block: str, pooled: Maps) -> Maps:
        once = chain(x, block, Layer("branch3x3_1", 384))
        twice = chain(x, block, Layer("branch3x3dbl_1", 448), Layer("branch3x3dbl_2", 384, (3, 3)))
        return _join(
            chain(x, block, Layer("branch1x1", 320)),
            chain(once, block, Layer("branch3x3_2a", 384, (1, 3))),
            chain(once, block, Layer("branch3x3_2b", 384, (3, 1))),
            chain(twice, block, Layer("branch3x3dbl_3a", 384, (1, 3))),
            chain(twice, block, Layer("branch3x3dbl_3b", 384, (3, 1))),
            chain(pooled, block, Layer("branch_pool", 192)),
        )

    x = chain(
        x, "",
        Layer("Conv2d_1a_3x3", 32, (3, 3), 2),
        Layer("Conv2d_2a_3x3", 32, (3, 3), valid=True),
        Layer("Conv2d_2b_3x3", 64, (3, 3)),
    )  # fmt: skip
    x = chain(_halve(x), "", Layer("Conv2d_3b_1x1", 80), Layer("Conv2d_4a_3x3", 192, (3, 3), valid=True))
    x = _halve(x)
    for block, pooled in (("Mixed_5b.", 32), ("Mixed_5c.", 64), ("Mixed_5d.", 64)):
        x = narrow(x, block, pooled)
    x = _join(
        chain(x, "Mixed_6a.", Layer("branch3x3", 384, (3, 3), 2)),
        chain(
            x, "Mixed_6a.",
            Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, (3, 3)), Layer("branch3x3dbl_3", 96, (3, 3), 2),
        ),
        _halve(x),
    )  # fmt: skip
    for block, width in (("Mixed_6b.", 128), ("Mixed_6c.", 160), ("Mixed_6d.", 160), ("Mixed_6e.", 192)):
        x = long(x, block, width)
    x = _join(
        chain(x, "Mixed_7a.", Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, (3, 3), 2)),
        chain(
            x, "Mixed_7a.",
            Layer("branch7x7x3_1", 192), Layer("branch7x7x3_2", 192, (1, 7)), Layer("branch7x7x3_3", 192, (7, 1)),
            Layer("branch7x7x3_4", 192, (3, 3), 2),
        ),
        _halve(x),
    )  # fmt: skip
    x = wide(x, "Mixed_7b.", _average(x))
    x = wide(x, "Mixed_7c.", _largest(x))
    return jnp.mean(x, axis=(1, 2))


def _join(*branches: Maps) -> Maps:
    return jnp.concatenate(branches, axis=-1)


def _average(x: Maps) -> Maps:
    pooled: Maps = nnx.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)  # type: ignore[no-untyped-call]
    return pooled


def _largest(x: Maps) -> Maps:
    pooled: Maps = nnx.max_pool(x, (3, 3), padding="SAME")  # type: ignore[no-untyped-call]
    return pooled


def _halve(x: Maps) -> Maps:
    pooled: Maps = nnx.max_pool(x, (3, 3), strides=(2, 2))  # type: ignore[no-untyped-call]
    return pooled
