"""The variational bound of an ancestral step: the loss of a learned variance."""

import jax
import jax.numpy as jnp

from artifex.schedules.level import NoiseLevel, expand
from artifex.schedules.shapes import X


def vlb_term(x0: X, estimate: X, v: X, t: NoiseLevel[jax.Array], s: NoiseLevel[jax.Array]) -> X:
    r"""$\mathrm{KL}\big(q(x_s \mid x_t, x_0)\ \Vert\ p(x_s \mid x_t)\big)$ elementwise, in nats.

    $$\tfrac12 \big(r - 1 + e^{-r} + e^{-r} (\mathrm{SNR}_s - \mathrm{SNR}_t)\, (x_0 - \hat x_0)^2\big),\qquad
      r = \tfrac{1 + v}{2} \log \frac{\sigma_t^2}{\sigma_s^2}$$

    where $p$ has the posterior's mean under $\hat x_0$ and the learned variance between the least ($v = -1$) and the
    largest ($v = 1$). A step to clean data draws no noise: its term is 0.

    Args:
        x0: clean data, ``(batch, ...)``.
        estimate: $\hat x_0$; no gradient goes through it.
        v: position of the log-variance between its bounds.
        t: the levels of $x_t$, one per sample.
        s: the levels at the end of the step, with less noise.

    References: Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """
    ends = s.sigma <= 0
    sigma = jnp.where(ends, t.sigma, s.sigma)
    r = (1 + v) / 2 * expand(2 * jnp.log(t.sigma / sigma), v)
    snr = expand((s.alpha / sigma) ** 2 - (t.alpha / t.sigma) ** 2, x0)
    error = jnp.square(x0 - jax.lax.stop_gradient(estimate))
    return jnp.where(expand(ends, v), 0, (r - 1 + jnp.exp(-r) * (1 + snr * error)) / 2)
