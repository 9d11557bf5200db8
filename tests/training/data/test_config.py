import pytest
from pydantic import TypeAdapter, ValidationError

from artifex.training.data import DataConfig, ImageFolder

DATA: TypeAdapter[DataConfig] = TypeAdapter(DataConfig)


@pytest.mark.parametrize(
    "written",
    [
        {"kind": "digits", "augmentation": {"shift": 1}},
        {"kind": "toy", "name": "spirals", "size": 7, "seed": 3},
        {"kind": "mnist", "path": "a", "split": "test"},
        {"kind": "cifar", "path": "a", "labels": "cifar100_coarse"},
        {"kind": "folder", "path": "a", "size": [4, 6], "mode": "gray", "corrupt": "skip", "extensions": [".png"]},
        {"kind": "arrays", "path": "a.npy", "labels": "b.npy", "value_range": [0, 1]},
    ],
)
def test_what_is_written_is_read_again(written: dict[str, object]) -> None:
    config = DATA.validate_python(written)
    assert DATA.validate_json(DATA.dump_json(config)) == config
    dumped = DATA.dump_python(config, mode="json")
    assert {key: dumped[key] for key in written if key != "augmentation"} == {
        key: value for key, value in written.items() if key != "augmentation"
    }
    hash(config)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"kind": "imagenet"}, "'digits', 'toy', 'mnist', 'cifar', 'folder', 'arrays'"),
        ({"kind": "digits", "path": "a"}, "path\n  Extra inputs are not permitted"),
        ({"kind": "toy", "name": "swissroll"}, "'moons', 'spirals', 'checkerboard' or 'gaussians'"),
        ({"kind": "folder", "path": "a", "size": 0}, "greater than 0"),
        ({"kind": "folder", "path": "a", "extensions": []}, "at least 1 item"),
        ({"kind": "arrays", "path": "a.pkl"}, r"must end in \.npz or \.npy, got a\.pkl"),
        ({"kind": "arrays", "path": "a.npz", "labels": "b.npy"}, "named by labels_key"),
        ({"kind": "arrays", "path": "a.npz", "value_range": [1, 0]}, r"low below high, got \(1\.0, 0\.0\)"),
    ],
)
def test_other_configurations_are_refused(written: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DATA.validate_python(written)


def test_extensions_have_their_dot() -> None:
    with pytest.raises(ValidationError, match="must begin with a dot, got png"):
        ImageFolder.model_validate({"path": "a", "extensions": ["png"]})
