"""A named implementation runs or raises with a reason."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.kernels import ImplementationName, UnsupportedKernelError, attention, platform
from artifex.kernels.attention import support
from artifex.kernels.attention.cudnn import cudnn
from artifex.kernels.attention.reference import reference


def of_heads(tokens: int = 8, width: int = 64, dtype: str = "bfloat16") -> Array:
    return jnp.zeros((1, tokens, 1, width), dtype)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pallas", "Pallas compiles for gpu and tpu, and this process runs on cpu"),
        ("triton", "Triton compiles for gpu, and this process runs on cpu"),
        ("cudnn", "cuDNN runs on gpu, and this process runs on cpu"),
    ],
)
def test_on_a_cpu(name: ImplementationName, reason: str) -> None:
    q = of_heads()
    with pytest.raises(UnsupportedKernelError, match=f"attention can't run its '{name}' implementation here: {reason}"):
        attention(q, q, q, implementation=name)


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(platform, "find_spec", lambda name: name)
    monkeypatch.setattr(support, "compute_capability", lambda: (9, 0))


@pytest.mark.slow
@pytest.mark.usefixtures("hopper")
def test_on_a_gpu() -> None:
    q = of_heads()
    none = (None, None, None, False, 0.5)
    assert support.pallas(q, q, q, *none) is None
    assert support.triton(q, q, q, *none) is None
    assert support.cudnn(q, q, q, *none) is None
    assert "no gradient of the log-sum-exp" in support.cudnn_with_lse(q, q, q, *none)
    wide = of_heads(width=264)
    assert support.triton(wide, wide, wide, *none) == (
        "a head must be at most 256 wide to fit in registers, and is 264"
    )
    assert "up to 128, a multiple of 8, and they are 264" in str(support.cudnn(wide, wide, wide, *none))
    assert "multiple of 8, and they are 64 and 60" in str(support.cudnn(q, q, of_heads(width=60), *none))
    assert "for even numbers, not for 7 tokens, 8 keys" in str(
        support.cudnn(of_heads(7), q, q, jnp.zeros((1, 1, 7, 8)), None, None)
    )
    assert support.cudnn(of_heads(7), q, q, *none) is None
    assert "as a mask of tokens x keys" in str(support.cudnn(q, q, q, None, None, (q, q)))
    single = of_heads(dtype="float32")
    assert "takes float16 and bfloat16, and q is float32" in str(support.cudnn(single, single, single, *none))
    with jax.enable_x64(True):
        double = of_heads(dtype="float64")
        for check in (support.pallas, support.triton):
            assert check(double, double, double) == "it sums in float32, and q is float64"


@pytest.mark.usefixtures("hopper")
def test_numbers_beyond_32_bits() -> None:
    q = of_heads(46341, width=1)
    assert "46341 tokens and 46341 keys" in str(support.triton(q, q, q))


@pytest.mark.parametrize("capability", [None, (7, 5)])
def test_cudnn_wants_an_ampere(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(support, "compute_capability", lambda: capability)
    q = of_heads()
    assert "needs an NVIDIA GPU of compute capability 8.0" in str(support.cudnn(q, q, q, None, None, None))


@pytest.mark.slow
@pytest.mark.parametrize("is_causal", [False, True])
def test_cudnn_is_asked_for_the_same_attention(monkeypatch: pytest.MonkeyPatch, is_causal: bool) -> None:
    """XLA stands in for cuDNN, which no machine without a GPU can run: it too gives unseen tokens a mean, not zeros."""
    asked = jax.nn.dot_product_attention

    def instead(q: Array, k: Array, v: Array, bias: Array, mask: Array, **options: object) -> Array:
        assert options.pop("implementation") == "cudnn"
        return asked(q, k, v, bias, mask, scale=0.5, is_causal=is_causal)

    monkeypatch.setattr(jax.nn, "dot_product_attention", instead)
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, n, 3, 8)), jnp.float32) for n in (6, 4, 4))
    bias = jnp.asarray(np.where(rng.random((1, 3, 6, 4)) < 0.3, -np.inf, rng.normal(size=(1, 3, 6, 4))), jnp.float32)
    bias = bias.at[:, :, 2].set(-jnp.inf)
    mask = jnp.asarray(rng.random((2, 1, 1, 4)) < 0.5).at[1].set(False)

    def both(implementation: Callable[..., tuple[Array, Array]]) -> tuple[Array, Array]:
        def loss(q: Array, k: Array, v: Array, bias: Array) -> tuple[Array, Array]:
            out, _ = implementation(q, k, v, bias, mask, None, is_causal, 0.5)
            return jnp.sum(out**2), out

        grads, out = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(q, k, v, bias)
        return grads, out

    got, want = both(cudnn), both(reference)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want)
    np.testing.assert_array_equal(got[1][1], np.zeros((6, 3, 8)))


def test_a_tpu_holds_so_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    q, many = of_heads(4096), of_heads(8192)
    assert support.pallas(q, q, q) is None
    assert support.pallas(many, q, q) == "all tokens of a head must fit in 16 MiB, and 8192 take 24"
