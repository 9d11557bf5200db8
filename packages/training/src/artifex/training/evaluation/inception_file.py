"""Inception v3's features, from a file of weights: the features of published FIDs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from safetensors import SafetensorError, safe_open

from artifex.backbones.interop.checkpoint import CheckpointError, refuse_pickle
from artifex.training.evaluation import inception_v3
from artifex.training.evaluation.features import Extractor, Samples

SIDE: Final = 299
WANTED: Final = (
    "a safetensors file of Inception v3 as FID uses it: the 2015 TensorFlow network in PyTorch's names, "
    "Conv2d_1a_3x3.conv.weight to fc.bias, with 1008 classes, as the state dict that pytorch-fid reads"
)


def inception(path: str | Path) -> Extractor:
    """Load the extractor of Inception v3's 2048 features and the probabilities of its 1008 classes.

    Images of any size, in [-1, 1], are resized to 299 by linear interpolation without antialiasing; a single channel is
    repeated. Probabilities are those of the logits without their bias, as the Inception score was first computed.

    Args:
        path: a safetensors file of the state dict that pytorch-fid reads; ``num_batches_tracked`` may be in it.

    Raises:
        CheckpointError: if there is no such file, it is a pickle or broken, or its arrays do not fit this network.
    """
    parameters = {name: jnp.asarray(array) for name, array in _read(Path(path)).items()}

    def extract(images: Samples) -> tuple[Float[Array, "b 2048"], Float[Array, "b 1008"]]:
        if images.ndim != 4 or images.shape[3] not in (1, 3):
            raise ValueError(f"images must have shape (b, h, w, 3) or (b, h, w, 1), got {images.shape}")
        low, high = float(images.min()), float(images.max())
        if low < -1.01 or high > 1.01:
            raise ValueError(f"images must be in [-1, 1], got values from {low:.4g} to {high:.4g}")
        pooled, probabilities = _extract(parameters, _resize(jnp.asarray(images, jnp.float32)))
        return pooled, probabilities

    return Extractor("Inception v3 (FID, 2015)", extract)


@jax.jit
def _resize(images: Float[Array, "b h w c"]) -> Float[Array, "b 299 299 3"]:
    sized = jax.image.resize(images, (len(images), SIDE, SIDE, images.shape[3]), "bilinear", antialias=False)
    return jnp.broadcast_to(sized, (*sized.shape[:3], 3))


@jax.jit
def _extract(
    parameters: Mapping[str, Array], images: Float[Array, "b 299 299 3"]
) -> tuple[Float[Array, "b 2048"], Float[Array, "b 1008"]]:
    """Evaluate the network, separately from resizing so that it is compiled once for all image sizes."""
    pooled = inception_v3.features(parameters, images)
    logits = jnp.matmul(pooled, parameters["fc.weight"].T, precision="highest")
    return pooled, jax.nn.softmax(logits)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of the file, in float32, after checking all shapes."""
    refuse_pickle(path)
    if not path.is_file():
        raise CheckpointError(f"no file {path}; expected {WANTED}")
    try:
        with safe_open(path, "np") as file:
            got = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _check(path, got)
            return {name: file.get_tensor(name).astype(np.float32) for name in inception_v3.shapes()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is cut short, or no safetensors file at all: {error}") from error


def _check(path: Path, got: Mapping[str, tuple[int, ...]]) -> None:
    expected = inception_v3.shapes()
    for problem, names in (
        ("lacks", [name for name in expected if name not in got]),
        (
            "also has",
            [n for n in got if n not in expected and not n.endswith("num_batches_tracked")],
        ),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CheckpointError(f"{path} {problem} {', '.join(names[:3])}{more}; expected {WANTED}")
    for name, shape in expected.items():
        if got[name] != shape:
            raise CheckpointError(f"{name} must have shape {shape}, got {got[name]} in {path}; expected {WANTED}")
