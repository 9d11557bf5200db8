r"""The probability-flow ODE with adaptive steps, and log-likelihoods along it.

With $\lambda = \log(\alpha / \sigma)$ as time and $z = x / \sqrt{\alpha^2 + \sigma^2}$ as state, the equation is the
same for every path, and its solution keeps one scale from noise to data:

$$\frac{dz}{d\lambda} = a\,(\hat x_0 - a z),\qquad a^2 = \frac{\alpha^2}{\alpha^2 + \sigma^2}$$

Step sizes are each sample's own, so a sample does not depend on its batch. Requires ``artifex-samplers[ode]``.

References: Song et al. 2021, https://arxiv.org/abs/2011.13456; Chen et al. 2018, https://arxiv.org/abs/1806.07366
"""

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from artifex.kernels import sample_keys
from artifex.kernels.ranges import check_positive, check_whole
from artifex.samplers.closure import closure_converted
from artifex.schedules import Denoiser, NoiseLevel, Schedule, split_variance
from artifex.schedules.arrays import HostArray, record, static
from artifex.schedules.shapes import AnyKey, X


def probability_flow(
    denoise: Denoiser,
    schedule: Schedule,
    x: X,
    start: float,
    end: float,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 4096,
) -> X:
    """Integrate the probability flow from ``start`` to ``end``, in either direction.

    Args:
        denoise: gives $x_0$ from ``x`` and its level.
        schedule: the path.
        x: the state at ``start``, ``(batch, ...)``.
        start: a time of the schedule with a finite log-SNR.
        end: another such time.
        rtol: relative tolerance of a step, positive.
        atol: absolute tolerance, for a state of unit scale, positive.
        max_steps: at least 1; exceeding it raises an error.

    Raises:
        ImportError: without diffrax.
        ValueError: if the log-SNR at ``start`` or ``end`` is not finite, or for values outside those ranges.
    """
    _check_steps(rtol, atol, max_steps)
    _diffrax()
    level = _ends(schedule, start, end)
    scale = np.hypot(level.alpha, level.sigma)
    span, tolerances = jnp.asarray(level.logsnr / 2, x.dtype), jnp.asarray([rtol, atol], x.dtype)
    z, _ = _solve(denoise, schedule, x / float(scale[0]), None, span, tolerances, 0, int(max_steps))
    out: X = z * float(scale[1])
    return out


def log_likelihood(
    denoise: Denoiser,
    schedule: Schedule,
    x: X,
    start: float,
    end: float,
    *,
    key: AnyKey | None = None,
    probes: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 4096,
) -> Float[Array, " b"]:
    r"""The log-density of the model at data ``x``, in nats, by the change of variables along the flow.

    $$\log p(x) = \log p_\mathrm{start}(z) + \int_{\lambda_\mathrm{end}}^{\lambda_\mathrm{start}}
      \nabla \cdot \frac{dz}{d\lambda}\, d\lambda + d \log a,\qquad
      p_\mathrm{start} = \mathcal N(0, \sigma^2 / (\alpha^2 + \sigma^2))$$

    It is the density of data with the noise $\sigma / \alpha$ that the path has at ``end``.

    Args:
        denoise: gives $x_0$ from a state and its level.
        schedule: the path.
        x: data, ``(batch, ...)``.
        start: the time of pure noise, with a finite log-SNR.
        end: the time of data, with a finite log-SNR.
        key: for Hutchinson's estimate of the divergence, one key or one per sample; None computes it exactly, by one
            derivative per dimension of the data.
        probes: number of random directions that Hutchinson's estimate averages, at least 1.
        rtol: relative tolerance of a step, positive.
        atol: absolute tolerance, likewise.
        max_steps: at least 1; exceeding it raises an error.

    Raises:
        ImportError: without diffrax.
        ValueError: if the log-SNR at ``start`` or ``end`` is not finite, or for values outside those ranges.

    References: Grathwohl et al. 2019, https://arxiv.org/abs/1810.01367
    """
    check_whole("probes", probes, 1)
    _check_steps(rtol, atol, max_steps)
    _diffrax()
    level, dims = _ends(schedule, end, start), math.prod(x.shape[1:])
    a, spread = (float(v) for v in (level.alpha[0], level.sigma[1]) / np.hypot(level.alpha, level.sigma))
    span, tolerances = jnp.asarray(level.logsnr / 2, x.dtype), jnp.asarray([rtol, atol], x.dtype)
    keys = None if key is None else sample_keys(key, x.shape[0])
    z, gain = _solve(denoise, schedule, a * x, keys, span, tolerances, int(probes), int(max_steps))
    flat = jnp.reshape(z, (z.shape[0], -1)) / spread
    prior = -0.5 * jnp.sum(flat**2, axis=1) - dims * (0.5 * math.log(2 * math.pi) + math.log(spread))
    out: Float[Array, " b"] = prior + gain + dims * math.log(a)
    return out


def bits_per_dim(log_likelihood: Float[Array, " b"], dims: int, bin_width: float = 1.0) -> Float[Array, " b"]:
    r"""$-(\log p / d + \log w) / \log 2$: the code length per dimension of data in bins of width ``w``.

    Args:
        log_likelihood: in nats.
        dims: d, the dimensions of a sample, at least 1.
        bin_width: w, positive; ``2 / 256`` for 8-bit images scaled to [-1, 1].

    Raises:
        ValueError: for values outside those ranges.
    """
    check_whole("dims", dims, 1)
    check_positive("bin_width", bin_width)
    return -(log_likelihood / dims + math.log(bin_width)) / math.log(2)


def _check_steps(rtol: float, atol: float, max_steps: int) -> None:
    check_positive("rtol", rtol)
    check_positive("atol", atol)
    check_whole("max_steps", max_steps, 1)


def _diffrax() -> ModuleType:
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(
            "adaptive steps need diffrax, which is not installed: pip install 'artifex-samplers[ode]'"
        ) from error
    module: ModuleType = diffrax
    return module


def _ends(schedule: Schedule, start: float, end: float) -> NoiseLevel[HostArray]:
    level = schedule.at(np.asarray([start, end], np.float64))
    if not np.all(np.isfinite(level.logsnr)):
        raise ValueError(f"the log-SNR at start and end must be finite, got {level.logsnr[0]} and {level.logsnr[1]}")
    return level


def _solve(
    denoise: Denoiser,
    schedule: Schedule,
    z: X,
    keys: Key[Array, " b"] | None,
    span: Float[Array, "2"],
    tolerances: Float[Array, "2"],
    probes: int,
    max_steps: int,
) -> tuple[X, Float[Array, " b"]]:
    """The state at the end of ``span``, and the integral of the flow's divergence if ``probes`` is not 0."""
    one: Any = jax.ShapeDtypeStruct(z.shape[1:], z.dtype)  # type: ignore[no-untyped-call]
    many: Any = jax.ShapeDtypeStruct((probes, *z.shape[1:]), z.dtype)  # type: ignore[no-untyped-call]
    slope = closure_converted(
        _Slope(denoise, schedule, probes > 0), span[0], one, None if keys is None else many, beside=(z, keys)
    )
    out: tuple[Array, Array] = _integrate(slope, z, keys, span, tolerances, probes, max_steps)
    return out


@record
class _Slope:
    r"""$dz / d\lambda$ of one sample, and its divergence or 0."""

    denoise: Denoiser
    schedule: Schedule = static()
    divergence: bool = static()

    def __call__(
        self, lam: Float[Array, ""], z: Float[Array, "*d"], directions: Float[Array, "p *d"] | None
    ) -> tuple[Float[Array, "*d"], Float[Array, ""]]:
        r"""The slope of state ``z`` at $\lambda$ = ``lam``."""
        level = self.schedule.at(self.schedule.inverse_logsnr(jnp.reshape(2 * lam, (1,))))
        scale = jnp.hypot(level.alpha, level.sigma)[0]
        a = jnp.sqrt(jax.nn.sigmoid(2 * lam))

        def flow(z: Array) -> Array:
            x = (scale * z)[None]
            return a * (split_variance(self.denoise(x, level), x)[0][0] - a * z)

        return _with_divergence(flow, z, directions) if self.divergence else (flow(z), jnp.zeros((), z.dtype))


@partial(jax.jit, static_argnames=("probes", "max_steps"))
def _integrate(
    slope: Callable[[Array, Array, Array | None], tuple[Array, Array]],
    z: X,
    keys: Key[Array, " b"] | None,
    span: Float[Array, "2"],
    tolerances: Float[Array, "2"],
    probes: int,
    max_steps: int,
) -> tuple[X, Float[Array, " b"]]:
    diffrax = _diffrax()

    def solve(z: Array, key: Array | None) -> tuple[Array, Array]:
        directions = None if key is None else jax.random.rademacher(key, (probes, *z.shape), z.dtype)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda lam, state, _: slope(lam, state[0], directions)),
            diffrax.Tsit5(),
            t0=span[0],
            t1=span[1],
            dt0=None,
            y0=(z, jnp.zeros((), z.dtype)),
            stepsize_controller=diffrax.PIDController(rtol=tolerances[0], atol=tolerances[1]),
            max_steps=max_steps,
        )
        return solution.ys[0][0], solution.ys[1][0]

    out: tuple[Array, Array] = jax.vmap(solve)(z, keys)
    return out


def _with_divergence(flow: Callable[[Array], Array], z: Array, directions: Array | None) -> tuple[Array, Array]:
    """The flow and its divergence: exact, or the mean of ``v . J v`` over ``directions``."""
    slope, push = jax.linearize(flow, z)
    if directions is None:
        basis = jnp.eye(z.size, dtype=z.dtype).reshape(z.size, *z.shape)
        return slope, jnp.sum(jax.vmap(push)(basis) * basis)
    return slope, jnp.sum(jax.vmap(push)(directions) * directions) / len(directions)
