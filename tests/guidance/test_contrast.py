"""Away from a weaker network, from the same one perturbed, and from several things at once."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import Backbone, DiT, DiTConfig, functional, perturbed
from artifex.guidance import APG, Autoguidance, ClassifierFree, Combined, PerturbedAttention, SkipLayers
from artifex.schedules import ConditionalDenoiser, Epsilon, NetworkDenoiser, NoiseLevel
from artifex.schedules.arrays import T
from tests.guidance.exact import (
    ALPHA,
    HERE,
    LABELS,
    MEANS,
    SIGMA,
    SPREAD,
    Counted,
    X,
    call,
    clean,
    denoise,
    numbers,
    on_device,
)

pytestmark = pytest.mark.slow

Y = jnp.asarray(LABELS)


def blurred(x_t: T, level: NoiseLevel[T], cond: T | None) -> T:
    """A worse network: it takes either class to be three times as wide as it is."""
    assert cond is not None
    mean: T = numbers(x_t).asarray(MEANS, x_t.dtype)[cond]
    alpha, wide = level.alpha[:, None], 9 * SPREAD**2
    return mean + alpha * wide / (alpha**2 * wide + level.sigma[:, None] ** 2) * (x_t - alpha * mean)


def test_autoguidance_is_its_closed_form() -> None:
    with jax.enable_x64(True):
        got = call(Autoguidance(2.5, blurred)(denoise, jnp.asarray(LABELS)))
    mean = MEANS[LABELS]
    gains = [ALPHA * s**2 / ((ALPHA * s) ** 2 + SIGMA**2) for s in (SPREAD, 3 * SPREAD)]
    strong, weak = (mean + gain * (X - ALPHA * mean) for gain in gains)
    np.testing.assert_allclose(got, weak + 2.5 * (strong - weak), atol=1e-12)


def test_any_rule_goes_with_any_kind() -> None:
    got = call(Autoguidance(APG(2.5), blurred)(denoise, Y))
    strong, weak = (jnp.asarray(d(X, HERE, LABELS), jnp.float32) for d in (denoise, blurred))
    want = APG(2.5).combine(strong, weak, strong, on_device())
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_together_adds_up_and_predicts_the_strong_one_once() -> None:
    strong, weak = Counted(), Counted()

    def weaker(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        return 0.5 * weak(x_t, level, cond)

    both: Combined[Array] = Combined((ClassifierFree(3.0, jnp.array(2)), Autoguidance(1.5, weaker)))
    got = call(both(strong, Y))
    c, u = denoise(X, HERE, LABELS), denoise(X, HERE, None)
    np.testing.assert_allclose(got, c + 2 * (c - u) + 0.5 * (c - 0.5 * c), atol=1e-5)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert (strong.batches, weak.batches) == ([8], [4])
    off: Combined[Array] = Combined((ClassifierFree(1.0), Autoguidance(1.0, weaker)))
    np.testing.assert_allclose(call(off(denoise, Y)), c, atol=1e-6)


@dataclass(frozen=True)
class Switchable:
    """A network of one number, which its parts change."""

    attention: int = 1
    blocks: int = 1

    def __call__(self, p: Array, x: Array, t: Array, cond: Array | None) -> Array:
        return x * p * self.attention + self.blocks

    def perturbed(self, *, identity_attention: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> "Switchable":
        return Switchable(1 - len(identity_attention), 1 - len(skip))


def test_perturbed_is_away_from_the_same_parameters_with_other_code() -> None:
    network: NetworkDenoiser[Array, Array] = NetworkDenoiser(Switchable(), Epsilon(), jnp.asarray(0.5))
    strong = clean(0.5 * X + 1)
    for guidance, weak in (
        (PerturbedAttention[Array](("a",)), clean(np.ones_like(X))),
        (SkipLayers[Array](("a",), 4.0), clean(0.5 * X)),
    ):
        guided = guidance(network, Y)
        np.testing.assert_allclose(call(guided), strong + 3 * (strong - weak), atol=1e-5)
        assert len(jax.tree.leaves(guided)) == 3  # p, the labels and w: no second copy of p


def test_a_models_network_is_perturbed_from_within() -> None:
    """The code that would run is that of the perturbed network, and not that of the network itself."""
    config = DiTConfig(in_channels=1, patch=2, hidden=8, depth=2, heads=2, learn_sigma=False, num_classes=2)
    dit, x = nnx.eval_shape(lambda: DiT(config, rngs=nnx.Rngs(0))), jnp.zeros((4, 4, 4, 1))

    def denoiser(network: Backbone) -> ConditionalDenoiser[Array]:
        apply, state = functional(network)
        return NetworkDenoiser(apply, Epsilon(), state)

    def code(network: ConditionalDenoiser[Array]) -> str:
        return str(jax.make_jaxpr(lambda network, *args: network(*args))(network, x, on_device(), Y))

    whole = denoiser(dit)
    alone = denoiser(perturbed(dit, identity_attention=["blocks.1"]))
    short = denoiser(perturbed(dit, skip=["blocks.0"]))
    assert code(PerturbedAttention[Array](("blocks.1",)).weak(whole, Y)[0]) == code(alone)
    assert code(SkipLayers[Array](("blocks.0",)).weak(whole, Y)[0]) == code(short)
    assert len({code(whole), code(alone), code(short)}) == 3


def test_what_needs_no_condition() -> None:
    def narrower(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        return 0.5 * denoise(x_t, level, cond)

    free = denoise(X, HERE, None)
    np.testing.assert_allclose(call(Autoguidance[Array](3.0, narrower)(denoise, None)), 2 * free, atol=1e-5)
    both: Combined[Array] = Combined((Autoguidance(3.0, narrower), ClassifierFree(2.0)))
    with pytest.raises(ValueError, match="needs a condition to steer to"):
        call(both(denoise, None))


def test_what_does_not_fit() -> None:
    with pytest.raises(TypeError, match=r"only a NetworkDenoiser whose apply has a method perturbed .*, got Partial"):
        call(PerturbedAttention[Array](("middle",))(denoise, Y))
    with pytest.raises(ValueError, match=r"layers must name at least one, got \(\)"):
        SkipLayers[Array](())
    with pytest.raises(ValueError, match="one finite number, or one per sample, got nan"):
        Autoguidance(float("nan"), blurred)
