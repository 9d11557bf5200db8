"""Inception v3 against pytorch-fid 0.3.0 in float64, with the same weights (``tests/torch/inception.py`` wrote it)."""

from pathlib import Path
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from artifex.backbones.interop import CheckpointError
from artifex.training.evaluation import Extractor, inception, inception_v3
from tests.training.evaluation import inceptions

GOLDEN = np.load(Path(__file__).parent / "golden.npz")
WEIGHTS: Final = inceptions.weights(inception_v3.shapes())


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    save_file(WEIGHTS | {"Conv2d_1a_3x3.bn.num_batches_tracked": np.array(7)}, path)
    return inception(path)


def test_the_published_number_of_parameters() -> None:
    """That of torchvision's network with 1008 classes and no auxiliary ones; running statistics are none."""
    shapes = inception_v3.shapes()
    assert sum(int(np.prod(shape)) for name, shape in shapes.items() if "running" not in name) == 23_850_960
    assert len([name for name in shapes if name.endswith("conv.weight")]) == 94


@pytest.mark.slow
def test_the_same_features_in_float64() -> None:
    """Layer by layer the same sums: nothing is left between the two but float64's own rounding."""
    expected = GOLDEN["as they are.features"][:1]
    with jax.enable_x64(True):
        parameters = {name: jnp.asarray(array, jnp.float64) for name, array in WEIGHTS.items()}
        found = inception_v3.features(parameters, jnp.asarray(inceptions.images(75)[:1], jnp.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * expected.std())


def rounding() -> float:
    """The relative rounding of a feature in float32, the largest of thousands.

    A sum of n rounded terms in any order is off by a random walk of n steps of half a unit in the last place, which is
    sqrt(n) 2^-24; those of the layers are independent, so their squares add up. Four standard deviations hold 9,999 of
    10,000 numbers.
    """
    lengths = (np.prod(shape[1:]) for name, shape in inception_v3.shapes().items() if name.endswith("conv.weight"))
    return 4 * 2.0**-24 * float(np.sqrt(sum(lengths)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["enlarged", "reduced"])
def test_the_same_features_and_probabilities(extractor: Extractor, name: str) -> None:
    features, probabilities = GOLDEN[f"{name}.features"], GOLDEN[f"{name}.probabilities"]
    found = extractor(inceptions.images({"enlarged": 40, "reduced": 310}[name]))
    assert found.rows is not None
    assert found.probabilities is not None
    off = rounding() * features.std()
    np.testing.assert_allclose(found.rows, features, rtol=0, atol=off)
    # A logit is off by the errors of the features, weighted and independent, and a probability by as much of itself.
    np.testing.assert_allclose(
        found.probabilities, probabilities, rtol=off * np.linalg.norm(WEIGHTS["fc.weight"], axis=1).max()
    )


@pytest.mark.slow
def test_one_channel_is_taken_for_three(extractor: Extractor) -> None:
    gray = inceptions.images(40)[..., :1]
    np.testing.assert_array_equal(extractor(gray).exact, extractor(np.repeat(gray, 3, axis=3)).exact)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (inceptions.images(40) * 127.5 + 127.5, r"images must be in \[-1, 1\], got values from .* to 25"),
        (
            inceptions.images(40)[..., :2],
            r"images must have shape \(b, h, w, 3\) or \(b, h, w, 1\), got \(2, 40, 49, 2",
        ),
    ],
    ids=["bytes", "channels"],
)
def test_images_that_are_not_taken(extractor: Extractor, images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extractor(images)


def test_files_of_another_network(tmp_path: Path) -> None:
    def refused(arrays: dict[str, np.ndarray] | None, message: str, name: str = "w.safetensors") -> None:
        if arrays is not None:
            save_file(arrays, tmp_path / name)
        with pytest.raises(CheckpointError, match=message):
            inception(tmp_path / name)

    refused(None, "no file .*; expected a safetensors file of Inception v3 as FID uses it: .* pytorch-fid reads")
    refused(None, "is a pickle", "pt_inception-2015-12-05-6726825d.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x80\x00")
    refused(None, "is cut short, or no safetensors file at all", "cut.safetensors")
    right = {name: np.zeros(shape, np.float16) for name, shape in inception_v3.shapes().items()}
    torchvisions = right | {"fc.weight": np.zeros((1000, 2048), np.float16)}
    refused(torchvisions, r"fc.weight must have shape \(1008, 2048\), got \(1000, 2048\) in .*; expected a safetensors")
    refused(right | {"AuxLogits.fc.bias": right["fc.bias"]}, "also has AuxLogits.fc.bias; expected")
    del right["Mixed_7c.branch_pool.bn.bias"]
    refused(right, "lacks Mixed_7c.branch_pool.bn.bias; expected a safetensors")
