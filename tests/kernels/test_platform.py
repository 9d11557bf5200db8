from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jaxtyping import Array

from artifex.kernels import platform
from artifex.kernels.platform import Target, no_pallas_reason, no_triton_reason, pallas_call, shaped
from tests.kernels.lowering import Platform, lowered


def doubled(x: Array, target: Target | None = None) -> Array:
    def kernel(x: jax.Ref, out: jax.Ref) -> None:
        out[...] = 2 * x[...]

    row = pl.BlockSpec((8, 128), lambda i: (i, 0))
    call = pallas_call(
        kernel,
        target,
        grid=(2,),
        in_specs=[row],
        out_specs=[row],
        out_shape=[shaped((16, 128), x.dtype)],
        name="double",
    )
    return call(x)[0]


@pytest.mark.slow
def test_pallas_interpreted() -> None:
    x = jnp.arange(16 * 128.0).reshape(16, 128)
    np.testing.assert_array_equal(jax.jit(partial(doubled, target="interpret"))(x), 2 * x)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "machine", "call"), [("gpu", "cuda", "triton"), ("tpu", "tpu", "tpu_custom_call")])
def test_pallas_lowered_for_a_device_that_is_not_there(target: Target, machine: Platform, call: str) -> None:
    (name,) = lowered(partial(doubled, target=target), shaped((16, 128), jnp.float32), platform=machine)
    assert call in name


def test_platform_follows_the_default_device() -> None:
    assert platform.platform() == jax.default_backend()
    for device in ("cpu", jax.devices("cpu")[0]):
        with jax.default_device(device):
            assert platform.platform() == "cpu"


@pytest.mark.parametrize(("platform", "runs"), [("gpu", True), ("tpu", True), ("cpu", False)])
def test_where_pallas_runs(monkeypatch: pytest.MonkeyPatch, platform: str, runs: bool) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert no_pallas_reason() == (None if runs else "Pallas compiles for gpu and tpu, and this process runs on cpu")


def test_where_triton_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert no_triton_reason() == "Triton compiles for gpu, and this process runs on tpu"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(platform, "find_spec", lambda name: None)
    assert "pip install 'artifex-kernels[triton]'" in str(no_triton_reason())
    monkeypatch.setattr(platform, "find_spec", lambda name: name)
    assert no_triton_reason() is None
