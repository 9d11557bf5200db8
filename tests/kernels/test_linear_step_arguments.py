"""Arguments of linear_step that don't fit."""

from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from jax.typing import ArrayLike

from artifex.kernels import linear_step, sample_keys

X: Final = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("terms", "weights", "options", "message"),
    [
        ([], [], {}, "terms must hold at least one array, got none"),
        ([X, X[:1]], [1.0, 1.0], {}, r"terms must be of one shape \(batch, ...\), got \[\(2, 3\), \(1, 3\)\]"),
        ([X[0, 0]], [1.0], {}, r"terms must be of one shape \(batch, ...\), got \[\(\)\]"),
        ([X, X.astype(int)], [1.0, 1.0], {}, r"terms\[1\] must be of dtype float16, .* or float64, got int32"),
        ([X, X], [1.0], {}, r"weights must be of shape \(2,\) or \(2, 2\), one column a term, got \(1,\)"),
        ([X], [[1.0], [1.0], [1.0]], {}, r"weights must be of shape \(1,\) or \(2, 1\), .*, got \(3, 1\)"),
        ([X], [1.0], {"noise_scale": 1.0}, "noise_scale and key go together, got no key"),
        ([X], [1.0], {"key": 0}, "noise_scale and key go together, got a key alone"),
        ([X], [1.0], {"noise_scale": [1.0, 1.0, 1.0], "key": 0}, r"noise_scale must be .* shape \(2,\), got \(3,\)"),
        ([X], [1.0], {"noise_scale": 1.0, "key": (0, 3)}, r"one key or 2 keys, one a sample, got keys of shape \(3,\)"),
        ([X], [1.0], {"clip": 0.0}, "clip must be positive and finite, got 0.0"),
        ([X], [1.0], {"clip": float("nan")}, "clip must be positive and finite, got nan"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_bad_input(terms: list[npt.NDArray[Any]], weights: ArrayLike, options: dict[str, Any], message: str) -> None:
    if "key" in options:
        seed, *split = np.atleast_1d(options["key"])
        key = jax.random.key(seed)
        options = options | {"key": jax.random.split(key, tuple(split)) if split else key}
    if "noise_scale" in options:
        options = options | {"noise_scale": jnp.asarray(options["noise_scale"])}
    with pytest.raises(ValueError, match=message):
        linear_step([jnp.asarray(x) for x in terms], jnp.asarray(weights), **options)


@pytest.mark.usefixtures("unhooked")
def test_an_unknown_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="noise must be one of key, philox, got 'rbg'"):
        linear_step([jnp.asarray(X)], jnp.ones(1), noise="rbg")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [np.zeros(2, np.float32), np.zeros((), np.uint32), np.zeros(2, np.int32)])
@pytest.mark.usefixtures("unhooked")
def test_a_key_must_be_a_key(key: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"key must come from jax.random.key or PRNGKey, got"):
        sample_keys(jnp.asarray(key), 2)
