import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import LabelEmbedding, sincos_2d, timestep_embedding

TIMES = np.array([0, 1, 250, 999])


@pytest.mark.slow
def test_times_follow_ddpm() -> None:
    omega = np.exp(-np.log(10_000.0) * np.arange(8) / 7)
    phase = TIMES[:, None].astype(np.float64) * omega
    got = timestep_embedding(jnp.asarray(TIMES), 16)
    np.testing.assert_allclose(got, np.concatenate([np.sin(phase), np.cos(phase)], axis=1), atol=1e-4)


def test_times_follow_adm() -> None:
    omega = np.exp(-np.log(10_000.0) * np.arange(8) / 8)
    phase = TIMES[:, None].astype(np.float64) * omega
    got = timestep_embedding(jnp.asarray(TIMES), 16, cosine_first=True, freq_shift=0.0)
    np.testing.assert_allclose(got, np.concatenate([np.cos(phase), np.sin(phase)], axis=1), atol=1e-4)


@pytest.mark.slow
def test_times_may_be_fractions_and_are_embedded_in_float32() -> None:
    got = timestep_embedding(jnp.array([0.5, 1.25], jnp.bfloat16), 4)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got[:, 0], np.sin([0.5, 1.25]), atol=1e-6)


def test_the_shift_leaves_frequencies() -> None:
    with pytest.raises(ValueError, match=r"freq_shift must be below features / 2 = 2, got 2\.0"):
        timestep_embedding(jnp.zeros(1), 4, freq_shift=2.0)


@pytest.mark.parametrize("features", [2, 7])
def test_times_need_an_even_length(features: int) -> None:
    with pytest.raises(ValueError, match=f"features must be even and at least 4, got {features}"):
        timestep_embedding(jnp.zeros(1), features)


def test_positions_follow_mae() -> None:
    features, height, width = 12, 3, 5
    table = sincos_2d(features, height, width)
    assert table.shape == (height * width, features)
    quarter = features // 4
    for y in range(height):
        for x in range(width):
            for i in range(quarter):
                omega = 10_000.0 ** (-i / quarter)
                expected = [np.sin(x * omega), np.cos(x * omega), np.sin(y * omega), np.cos(y * omega)]
                np.testing.assert_allclose(table[y * width + x, i::quarter], expected, atol=1e-6)


def test_positions_need_a_multiple_of_four() -> None:
    with pytest.raises(ValueError, match="features must be a positive multiple of 4, got 6"):
        sincos_2d(6, 2, 2)


@pytest.mark.slow
def test_the_null_label_has_a_vector_of_its_own() -> None:
    embed = LabelEmbedding(10, 8, rngs=nnx.Rngs(0))
    table = embed.table[...]
    assert table.shape == (11, 8)
    np.testing.assert_array_equal(embed(jnp.array([10, 3])), table[jnp.array([10, 3])])
    assert len(np.unique(np.asarray(table), axis=0)) == 11


def test_times_may_be_whole() -> None:
    whole = jnp.asarray(TIMES)
    np.testing.assert_array_equal(timestep_embedding(whole, 8), timestep_embedding(whole.astype(jnp.float32), 8))
