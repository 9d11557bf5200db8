"""Denoisers of every kind are seen with their present arrays, and compiled once.

One step of DDIM to clean data ends on the denoiser's own result, so each has its truth in NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from jaxtyping import Array

from artifex.guidance import Autoguidance, Classifier, ClassifierFree, Loss
from artifex.samplers import (
    DDIM,
    DDPM,
    Inpainted,
    log_likelihood,
    predictor_corrector,
    probability_flow,
    sample,
    sample_trajectory,
    sample_with_callback,
)
from artifex.schedules import (
    EDM,
    X0,
    Clipped,
    Denoiser,
    Discrete,
    DynamicallyThresholded,
    Mapped,
    NetworkDenoiser,
    NoiseLevel,
    betas,
)
from artifex.schedules.arrays import record
from tests.samplers.compilations import compilations

pytestmark = pytest.mark.slow

SIGMA: Final = 2.0
ONCE: Final = DDIM().tableau(EDM(), np.array([SIGMA, 0.0]))
X: Final = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], np.float32)
FIRST, SECOND = np.array([0.5, -2.0, 1.0], np.float32), np.array([3.0, 1.0, -0.25], np.float32)
Level = NoiseLevel[jax.Array]
Numbers = np.ndarray[Any, np.dtype[Any]]


class Holder:
    """Weights that change in place."""

    def __init__(self) -> None:
        self.w = jnp.asarray(FIRST)

    def __call__(self, x_t: Array, level: Level) -> Array:
        return self.w * x_t

    def method(self, x_t: Array, level: Level) -> Array:
        return self.w * x_t


class Module(nnx.Module):
    """As a Flax module."""

    def __init__(self) -> None:
        self.w = nnx.Param(jnp.asarray(FIRST))

    def __call__(self, x_t: Array, level: Level, cond: Array | None = None) -> Array:
        return self.w[...] * x_t

    def other(self, x_t: Array, level: Level) -> Array:
        return self.w[...] * x_t


class Rematerialised(Module):
    """With a transformation of Flax's own inside, which writes to the module."""

    def __call__(self, x_t: Array, level: Level, cond: Array | None = None) -> Array:
        out: Array = nnx.remat(lambda module, x: nnx.jit(lambda m, x: m.w[...] * x)(module, x))(self, x_t)
        return out


class Equinox(eqx.Module):
    """As an Equinox module, with a function and a number among its leaves."""

    w: Array
    activation: Callable[[Array], Array] = lambda x: x
    power: int = 1

    def __call__(self, x_t: Array, level: Level) -> Array:
        return self.activation(self.w * x_t) if self.power == 1 else x_t


class Linen(linen.Module):
    """As a Linen module."""

    @linen.compact
    def __call__(self, x_t: Array) -> Array:
        return self.param("w", linen.initializers.ones, (3,)) * x_t


def linen_apply(parameters: dict[str, Any], x_t: Array, t: Array, cond: None) -> Array:
    out: Any = Linen().apply({"params": parameters}, x_t)
    return jnp.asarray(out)


@record
class Inner:
    """A record of the project's own, around any denoiser."""

    denoiser: Denoiser

    def __call__(self, x_t: Array, level: Level) -> Array:
        return self.denoiser(x_t, level)


@dataclass(frozen=True)
class Frozen:
    """A value that holds what is none."""

    holder: Holder

    def __call__(self, parameters: None, x_t: Array, t: Array, cond: None) -> Array:
        return self.holder.w * x_t


@dataclass
class Case:
    """A denoiser of changing weights; ``plain`` is what it makes of w * x."""

    denoiser: Callable[[], Any]
    change: Callable[[Numbers], None]
    plain: Callable[[Numbers], Numbers] = lambda wx: wx


def held(make: Callable[[Holder], Any], plain: Callable[[Numbers], Numbers] = lambda wx: wx) -> Case:
    """A function that ``make`` builds again for each run, over weights that are replaced between runs."""
    holder = Holder()

    def change(w: Numbers) -> None:
        holder.w = jnp.asarray(w)

    return Case(lambda: make(holder), change, plain)


def same(make: Callable[[Holder], Any]) -> Case:
    """Made once."""
    holder = Holder()
    made = make(holder)

    def change(w: Numbers) -> None:
        holder.w = jnp.asarray(w)

    return Case(lambda: made, change)


def module(make: Callable[[Module], Any], kind: type[Module] = Module) -> Case:
    net = kind()
    return Case(lambda: make(net), lambda w: nnx.update(net, nnx.State({"w": nnx.Param(jnp.asarray(w))})))


def in_place() -> Case:
    w = FIRST.copy()
    return Case(lambda: lambda x_t, level: w * x_t, lambda new: np.copyto(w, new))


def global_weights(x_t: Array, level: Level) -> Array:
    return GLOBAL["w"] * x_t


GLOBAL: Final = {"w": jnp.asarray(FIRST)}


def haiku_like(parameters: dict[str, Any], key: None, x_t: Array) -> Array:
    """As ``hk.transform(f).apply``: parameters, a key and the arguments."""
    out: Array = parameters["linear"]["w"] * x_t
    return out


def loss_of(w: Array) -> Callable[[Array], Array]:
    return lambda x0: -jnp.sum(w * x0, axis=-1)


def logits_of(w: Array) -> Callable[[Array, Array], Array]:
    """Log-odds w . x between two classes."""
    return lambda x_t, t: jnp.stack([jnp.zeros(len(x_t)), x_t @ w], axis=-1)


def free(x_t: Array, level: Level, cond: Array | None) -> Array:
    return x_t if cond is None else cond[:, None] * x_t


def sigmoid(x: Numbers) -> Numbers:
    out: Numbers = 1 / (1 + np.exp(-x))
    return out


LABELS: Final = jnp.array([1.0, 2.0])
CASES: Final[dict[str, Callable[[], Case]]] = {
    "a function made once": lambda: same(lambda h: lambda x_t, level: h.w * x_t),
    "a function made anew": lambda: held(lambda h: lambda x_t, level: h.w * x_t),
    "a function of the module": lambda: Case(lambda: global_weights, lambda w: GLOBAL.update(w=jnp.asarray(w))),
    "two closures deep": lambda: held(lambda h: (lambda f: lambda x_t, level: f(x_t))(lambda x: h.w * x)),
    "NumPy, changed in place": in_place,
    "an object": lambda: same(lambda h: h),
    "a method": lambda: same(lambda h: h.method),
    "functools.partial": lambda: held(lambda h: partial(lambda w, x_t, level: w * x_t, h.w)),
    "tree_util.Partial": lambda: held(
        lambda h: jax.tree_util.Partial(lambda w, x_t, level: w * x_t, h.w)  # type: ignore[no-untyped-call]
    ),
    "under jit": lambda: same(lambda h: jax.jit(h.method)),
    "a loop inside": lambda: held(
        lambda h: lambda x_t, level: jax.lax.scan(lambda c, _: (h.w * c, None), x_t, None, length=1)[0]
    ),
    "gradients of its own inside": lambda: held(
        lambda h: lambda x_t, level: h.w * (jax.nn.relu(x_t) - jax.custom_jvp(jax.nn.relu)(-x_t))
    ),
    "nnx": lambda: module(lambda net: net),
    "nnx, its method": lambda: module(lambda net: net.other),
    "nnx, closed over": lambda: module(lambda net: lambda x_t, level: net(x_t, level)),
    "nnx, with its own transformations": lambda: module(lambda net: net, Rematerialised),
    "nnx as parameters": lambda: module(
        lambda net: NetworkDenoiser(lambda m, x_t, t, cond: m(x_t, t), X0(), net), Rematerialised
    ),
    "nnx, split": lambda: module(
        lambda net: NetworkDenoiser(
            lambda state, x_t, t, cond: nnx.merge(nnx.graphdef(net), state)(x_t, t), X0(), nnx.state(net)
        )
    ),
    "nnx under nnx.jit": lambda: module(lambda net: nnx.jit(lambda x_t, level: net(x_t, level))),
    "equinox": lambda: held(lambda h: Equinox(h.w)),
    "equinox under filter_jit": lambda: held(lambda h: eqx.filter_jit(Equinox(h.w))),
    "equinox, its method": lambda: held(lambda h: Equinox(h.w).__call__),
    "linen": lambda: held(lambda h: NetworkDenoiser(linen_apply, X0(), {"w": h.w})),
    "haiku": lambda: held(
        lambda h: NetworkDenoiser(lambda p, x_t, t, cond: haiku_like(p, None, x_t), X0(), {"linear": {"w": h.w}})
    ),
    "haiku, closed over": lambda: held(lambda h: lambda x_t, level: haiku_like({"linear": {"w": h.w}}, None, x_t)),
    "a network that closes over its weights": lambda: held(
        lambda h: NetworkDenoiser(lambda p, x_t, t, cond: h.w * x_t, X0(), None)
    ),
    "a frozen value of one that changes": lambda: same(lambda h: NetworkDenoiser(Frozen(h), X0(), None)),
    "a record around a function": lambda: held(lambda h: Inner(lambda x_t, level: h.w * x_t)),
    "a record around an object": lambda: same(lambda h: Inner(h)),
    "a record around a method": lambda: same(lambda h: Inner(h.method)),
    "a record around nnx": lambda: module(lambda net: Inner(net), Rematerialised),
    "clipped": lambda: held(lambda h: Clipped(h.method), lambda wx: np.clip(wx, -1, 1)),
    "thresholded": lambda: held(
        lambda h: DynamicallyThresholded(h.method, 1.0),
        lambda wx: wx / np.maximum(np.abs(wx).max(axis=1, keepdims=True), 1),
    ),
    "mapped": lambda: held(lambda h: Mapped(lambda x_t, level: x_t, lambda x0: h.w * x0)),
    "inpainted": lambda: held(
        lambda h: Inpainted(h.method, jnp.full((2, 3), 7.0), jnp.array([1.0, 0.0, 0.0])),
        lambda wx: np.concatenate([np.full((2, 1), 7.0), wx[:, 1:]], axis=1),
    ),
    "guided": lambda: held(
        lambda h: ClassifierFree[Any](3.0)(lambda x_t, level, cond: h.w * free(x_t, level, cond), LABELS),
        lambda wx: wx + 3 * (np.array([[0.0], [1.0]])) * wx,
    ),
    "a scale": lambda: held(
        lambda h: ClassifierFree[Any](lambda level: h.w[1] * jnp.ones(2))(free, LABELS),
    ),
    "autoguidance": lambda: held(
        lambda h: Autoguidance(2.0, lambda x_t, level, cond: h.w * x_t)(free, None), lambda wx: 2 * X - wx
    ),
    "a loss": lambda: held(lambda h: Loss(loss_of(h.w))(free, None)),
    "a classifier": lambda: held(lambda h: Classifier(logits_of(h.w))(free, jnp.array([1, 1]))),
}


def truth(name: str, case: Case, w: Numbers) -> Numbers:
    special: dict[str, Numbers] = {
        "a scale": X + w[1] * np.array([[0.0], [1.0]]) * X,
        "a loss": X + SIGMA**2 * w,
        "a classifier": X + SIGMA**2 * (1 - sigmoid(X @ w))[:, None] * w,
    }
    return special[name] if name in special else case.plain(w * X)


@pytest.mark.parametrize("name", CASES)
def test_present_weights_and_one_compilation(name: str) -> None:
    case = CASES[name]()
    for i, w in enumerate((FIRST, SECOND, FIRST)):
        case.change(w)
        made = case.denoiser()
        with compilations() as compiled:
            got = sample(made, ONCE, jnp.asarray(X))
        np.testing.assert_allclose(got, truth(name, case, w), rtol=1e-5, atol=1e-5, err_msg=f"weights {i}")
        assert i == 0 or len(compiled) == 0


GAUSS: Final = 0.5


def gaussian(holder: Holder) -> Denoiser:
    """E[x0 | x_t] of data N(w, 0.5^2), with alpha = 1; w is closed over."""

    def denoise(x_t: Array, level: Level) -> Array:
        noise = level.sigma[:, None] ** 2
        return (GAUSS**2 * jax.nn.relu(x_t) - GAUSS**2 * jax.nn.relu(-x_t) + noise * holder.w) / (GAUSS**2 + noise)

    return denoise


def carried(x: Numbers, w: Numbers, start: float, end: float) -> Numbers:
    """The image of ``x`` under the flow, which preserves the quantiles of a Gaussian."""
    out: Numbers = w + (x - w) * np.hypot(GAUSS, end) / np.hypot(GAUSS, start)
    return out


def log_density(x: Numbers, w: Numbers, start: float, end: float) -> Numbers:
    """By the change of variables along the flow, from pure noise at ``start``."""
    noise = carried(x, w, end, start)
    stretch = np.log(np.hypot(GAUSS, start) / np.hypot(GAUSS, end))
    out: Numbers = np.sum(-0.5 * (noise / start) ** 2 - np.log(start) - 0.5 * np.log(2 * np.pi) + stretch, axis=1)
    return out


def test_every_walk_sees_present_weights_and_is_compiled_once() -> None:
    holder, x, key = Holder(), jnp.asarray(X), jax.random.key(0)
    short = DDIM().tableau(EDM(), np.array([SIGMA, 1.0, 0.0]))
    noisy = DDPM().tableau(EDM(), np.array([SIGMA, 0.0]))
    calls: list[Numbers] = []

    def watch(index: Array, state: Array, clean: Array) -> None:
        calls.append(np.asarray(clean))

    for i, w in enumerate((FIRST, SECOND)):
        holder.w = jnp.asarray(w)
        with compilations() as compiled:
            _, kept = sample_trajectory(gaussian(holder), short, x)
            sample_with_callback(gaussian(holder), ONCE, x, callback=watch)
            jax.effects_barrier()  # type: ignore[no-untyped-call]
            renewed = predictor_corrector(gaussian(holder), noisy, x, key, corrections=0)
            ends = probability_flow(gaussian(holder), EDM(), x, SIGMA, 0.1)
            nats = log_likelihood(gaussian(holder), EDM(), x, 200.0, 0.1)
        first = (GAUSS**2 * X + SIGMA**2 * w) / (GAUSS**2 + SIGMA**2)
        np.testing.assert_allclose(kept[0], first + (X - first) / SIGMA, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(calls[-1], first, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(renewed, first, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ends, carried(X, w, SIGMA, 0.1), atol=1e-3)
        np.testing.assert_allclose(nats, log_density(X, w, 200.0, 0.1), atol=0.01)
        assert i == 0 or not compiled


def test_a_number_that_changed() -> None:
    scale = 2.0

    def denoise(x_t: Array, level: Level) -> Array:
        return scale * x_t

    np.testing.assert_allclose(sample(denoise, ONCE, jnp.asarray(X)), 2 * X)
    scale = -0.0
    assert np.signbit(np.asarray(sample(denoise, ONCE, jnp.ones((2, 3))))).all()
    scale = 0.0
    assert not np.signbit(np.asarray(sample(denoise, ONCE, jnp.ones((2, 3))))).any()


def test_an_optimizer_step_between_two_walks() -> None:
    net = Module()
    optimizer = nnx.Optimizer(net, optax.sgd(0.5), wrt=nnx.Param)
    grads = nnx.grad(lambda net: jnp.sum(net.w[...]))(net)
    before = sample(net, ONCE, jnp.asarray(X))
    optimizer.update(net, grads)
    np.testing.assert_allclose(before, FIRST * X, rtol=1e-6)
    np.testing.assert_allclose(sample(net, ONCE, jnp.asarray(X)), (FIRST - 0.5) * X, rtol=1e-6)


def test_under_the_users_own_transformations() -> None:
    """jit, grad and vmap around a walk, over what a function closes over."""

    def walk(w: Array, x: Array) -> Array:
        return sample(lambda x_t, level: w * jax.nn.relu(x_t), ONCE, x)

    x = jnp.asarray(X)
    positive = np.maximum(X, 0)
    for w in (FIRST, SECOND):
        np.testing.assert_allclose(jax.jit(walk)(w, x), w * positive, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda w: walk(w, x).sum())(jnp.asarray(FIRST)), positive.sum(axis=0))
    np.testing.assert_allclose(jax.grad(lambda x: walk(jnp.asarray(FIRST), x).sum())(x), FIRST * (X > 0))
    many = jax.vmap(walk, in_axes=(0, None))(jnp.stack([FIRST, SECOND]), x)
    np.testing.assert_allclose(many, np.stack([FIRST * positive, SECOND * positive]), rtol=1e-6)


def test_functions_that_differ_in_their_gradients_alone() -> None:
    """Compiled for one, a walk that is differentiated is not taken for the other."""

    def with_slope(slope: float) -> Denoiser:
        @jax.custom_jvp
        def twice(x: Array) -> Array:
            return 2 * x

        twice.defjvps(lambda tangent, out, x: slope * tangent)
        return lambda x_t, level: twice(x_t)

    x = jnp.asarray(X)
    for slope in (2.0, 5.0):
        denoise = with_slope(slope)
        np.testing.assert_allclose(sample(denoise, ONCE, x), 2 * X)
        slopes = jax.grad(lambda x, denoise=denoise: sample(denoise, ONCE, x).sum())(x)
        np.testing.assert_allclose(slopes, np.full_like(X, slope))


def test_a_chain_gives_a_function_its_timesteps() -> None:
    """As integers, into a table that the function closes over."""
    chain = Discrete(betas.linear(10))
    for table in (np.arange(10.0, dtype=np.float32), np.arange(10.0, dtype=np.float32)[::-1].copy()):
        denoise = partial(lambda table, x_t, level: jnp.asarray(table)[level.t][:, None] * x_t, table)
        got = sample(denoise, DDIM().tableau(chain, np.array([7.0, -1.0])), jnp.asarray(X))
        np.testing.assert_allclose(got, table[7] * X, rtol=1e-6)


class Stateful(nnx.Module):
    """Draws a new mask at each call, and counts means, while it trains."""

    def __init__(self) -> None:
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
        self.norm = nnx.BatchNorm(3, use_scale=False, use_bias=False, epsilon=0.0, rngs=nnx.Rngs(0))

    def __call__(self, x_t: Array, level: Level) -> Array:
        return self.dropout(self.norm(x_t))


def test_a_module_that_changes_itself_is_refused() -> None:
    net = Stateful()
    with pytest.raises(
        ValueError, match=r"call the module's eval\(\) first; got changes of .*dropout.*count"
    ) as raised:
        sample(net, ONCE, jnp.asarray(X))
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="a function can't close over a Flax module that changes its state"):
        sample(lambda x_t, level: net(x_t, level), ONCE, jnp.asarray(X))
    net.eval()  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(sample(net, ONCE, jnp.asarray(X)), X, rtol=1e-6)
    np.testing.assert_allclose(sample(lambda x_t, level: net(x_t, level), ONCE, jnp.asarray(X)), X, rtol=1e-6)


def test_records_and_values_are_not_traced_to_be_seen() -> None:
    traces: list[int] = []

    @dataclass(frozen=True)
    class Apply:
        def __call__(self, w: Array, x_t: Array, t: Array, cond: None) -> Array:
            traces.append(1)
            return w * x_t

    for w in (FIRST, SECOND):
        denoiser = Clipped(NetworkDenoiser(Apply(), X0(), jnp.asarray(w)))
        np.testing.assert_allclose(sample(denoiser, ONCE, jnp.asarray(X)), np.clip(w * X, -1, 1), rtol=1e-6)
    assert len(traces) == 1
