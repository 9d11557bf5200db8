"""Folders: the precision of their parts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.pipelines import LatentSpace, Pipeline, load_pipeline
from tests.pipelines.conftest import Folders


def dtypes(parameters: object) -> set[jnp.dtype]:
    """Of all parameters."""
    return {leaf.dtype for leaf in jax.tree.leaves(parameters)}


@pytest.mark.slow
def test_the_autoencoder_computes_in_float32(folders: Folders, read: Callable[[str], Pipeline]) -> None:
    """With ``force_upcast``, which diffusers writes by default, on weights in half precision."""
    pipe = load_pipeline(folders("sd"), dtype=jnp.bfloat16)
    assert isinstance(pipe.space, LatentSpace)
    assert jnp.dtype(pipe.space.config.dtype) == jnp.float32
    assert dtypes(pipe.walk.parameters) == {jnp.dtype(jnp.bfloat16)}
    latents = jax.random.normal(jax.random.key(0), (1, 8, 8, 4))
    full = read("sd").space
    assert isinstance(full, LatentSpace)
    rounded = jax.tree.map(lambda a: a.astype(jnp.bfloat16).astype(a.dtype), full.parameters)
    expected = full._decode(rounded, latents, tile=None)
    out = pipe.decode(latents)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(out), expected, atol=1e-5)
    (drawn,) = pipe("the house", steps=1)
    assert drawn.size == (16, 16)


def test_the_autoencoder_follows_without(folders: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("sd"), tmp_path / "sd"))
    config = json.loads((folder / "vae" / "config.json").read_text())
    assert config["force_upcast"]
    (folder / "vae" / "config.json").write_text(json.dumps({**config, "force_upcast": False}))
    pipe = load_pipeline(folder, dtype=jnp.bfloat16)
    assert isinstance(pipe.space, LatentSpace)
    assert jnp.dtype(pipe.space.config.dtype) == jnp.bfloat16
