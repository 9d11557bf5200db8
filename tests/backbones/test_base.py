import jax
import jax.numpy as jnp
import pytest

from artifex.backbones.base import check_input, resolve_labels


@pytest.mark.parametrize(
    ("shape", "times", "message"),
    [
        ((2, 8, 3), (2,), r"x must have shape \(batch, height, width, 3\), got \(2, 8, 3\)"),
        ((2, 8, 8, 4), (2,), r"x must have shape \(batch, height, width, 3\), got \(2, 8, 8, 4\)"),
    ],
)
def test_wrong_samples_are_refused(shape: tuple[int, ...], times: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_input(jnp.zeros(shape), jnp.zeros(times), 4, 3)


def test_no_labels_are_the_null_label() -> None:
    assert resolve_labels(None, None, 3) is None
    labels = resolve_labels(None, 10, 3)
    assert labels is not None
    assert labels.tolist() == [10, 10, 10]


def test_labels_up_to_the_null_label_pass() -> None:
    given = jnp.array([0, 10, 3])
    assert resolve_labels(given, 10, 3) is given


@pytest.mark.parametrize(
    ("labels", "num_classes", "message"),
    [
        ([0, 1], None, "cond must be None for a network with num_classes=None, got labels"),
        ([0, 1, 2], 10, r"cond must have shape \(2,\), one label per sample, got \(3,\)"),
        ([0, 11], 10, r"labels must be in \[0, 10\], 10 being null, got 0 to 11"),
        ([-1, 4], 10, r"labels must be in \[0, 10\], 10 being null, got -1 to 4"),
    ],
)
def test_wrong_labels_are_refused(labels: list[int], num_classes: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_labels(jnp.array(labels), num_classes, 2)


def test_traced_labels_are_not_looked_at() -> None:
    @jax.jit
    def resolve(labels: jax.Array) -> jax.Array | None:
        return resolve_labels(labels, 10, 2)

    assert resolve(jnp.array([0, 11])) is not None
