r"""Loss weights by noise level.

A ``Weighting`` is the weight $w$ of $\|\hat x_0 - x_0\|^2$. Networks are trained on the error of their own output; at
one $x_t$ the two errors are proportional, so ``weight`` converts $w$ into the factor of the output's error that gives
the same loss for every prediction type.

SNR is $\alpha^2 / \sigma^2$, clipped to $10^{\pm 14}$: every weight is finite at both ends of every path.
"""

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.ranges import check_number, check_positive
from artifex.schedules.level import NoiseLevel
from artifex.schedules.prediction import Epsilon, Prediction

Weights = Float[Array, "*b"]

SMALLEST: Final = 1e-7
r"""The lower bound of $\alpha / \sigma$ and of $\sigma / \alpha$."""


@runtime_checkable
class Weighting(Protocol):
    r"""The weight of $\|\hat x_0 - x_0\|^2$ as a function of the level."""

    def __call__(self, level: NoiseLevel[jax.Array]) -> Weights:
        """One weight per level, finite and at least 0."""
        ...


def weight(weighting: Weighting, prediction: Prediction, level: NoiseLevel[jax.Array]) -> Weights:
    r"""The weight of the squared error of a network's output: $w\, (\partial x_0 / \partial\, \mathrm{out})^2$.

    Args:
        weighting: $w$.
        prediction: the type of the network's output.
        level: one level or many.
    """
    return weighting(level) * _slope(prediction, level) ** 2


@dataclass(frozen=True)
class Uniform:
    r"""Weight 1 on the error of one prediction type, whatever type the network predicts.

    For ``X0`` this is 1, for ``Epsilon`` the SNR, for ``V`` on a variance-preserving path SNR + 1, for
    ``EDMPreconditioned`` the weight of EDM.

    Attributes:
        of: the prediction type.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239 (``Epsilon``: its simple loss)
    """

    of: Prediction = Epsilon()  # noqa: RUF009 -- a frozen value

    def __call__(self, level: NoiseLevel[jax.Array]) -> Weights:
        r"""$(\partial\, \mathrm{out} / \partial x_0)^2$."""
        return _slope(self.of, level) ** -2


@dataclass(frozen=True)
class MinSNR:
    r"""$\min(\mathrm{SNR}, \gamma)$.

    Attributes:
        gamma: the largest weight, positive.

    Raises:
        ValueError: if ``gamma`` is not positive.

    References: Hang et al. 2023, https://arxiv.org/abs/2303.09556
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        check_positive("gamma", self.gamma)

    def __call__(self, level: NoiseLevel[jax.Array]) -> Weights:
        r"""$\min(\mathrm{SNR}, \gamma)$."""
        return jnp.minimum(_snr(level), self.gamma)


@dataclass(frozen=True)
class SoftMinSNR:
    r"""$\gamma\, \mathrm{SNR} / (\mathrm{SNR} + \gamma)$: a smooth ``MinSNR``.

    Attributes:
        gamma: the limit of the weight, positive.

    Raises:
        ValueError: if ``gamma`` is not positive.

    References: Crowson et al. 2024, https://arxiv.org/abs/2401.11605
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        check_positive("gamma", self.gamma)

    def __call__(self, level: NoiseLevel[jax.Array]) -> Weights:
        r"""$\gamma\, \mathrm{SNR} / (\mathrm{SNR} + \gamma)$."""
        snr = _snr(level)
        return self.gamma * (snr / (snr + self.gamma))


@dataclass(frozen=True)
class TruncatedSNR:
    r"""$\max(\mathrm{SNR}, 1)$: the error of $\epsilon$ or of $x_0$, whichever is larger.

    References: Salimans and Ho 2022, https://arxiv.org/abs/2202.00512
    """

    def __call__(self, level: NoiseLevel[jax.Array]) -> Weights:
        r"""$\max(\mathrm{SNR}, 1)$."""
        return jnp.maximum(_snr(level), 1)


@dataclass(frozen=True)
class P2:
    r"""$\mathrm{SNR} / (k + \mathrm{SNR})^\gamma$, which on the error of $\epsilon$ is $(k + \mathrm{SNR})^{-\gamma}$.

    Attributes:
        k: the SNR at the knee of the weight, positive.
        gamma: at least 0; larger values suppress fine detail.

    Raises:
        ValueError: for values outside those ranges.

    References: Choi et al. 2022, https://arxiv.org/abs/2204.00227
    """

    k: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        check_positive("k", self.k)
        check_number("gamma", self.gamma, 0)

    def __call__(self, level: NoiseLevel[jax.Array]) -> Weights:
        r"""$\mathrm{SNR} / (k + \mathrm{SNR})^\gamma$."""
        snr = _snr(level)
        return snr / (self.k + snr) ** self.gamma


@dataclass(frozen=True)
class EDM:
    r"""$(\sigma^2 + \sigma_\mathrm{data}^2) / (\sigma\, \sigma_\mathrm{data})^2$ with $\sigma^2 = 1 / \mathrm{SNR}$.

    On the error of ``EDMPreconditioned(sigma_data)`` it is 1.

    Attributes:
        sigma_data: standard deviation of the data, positive.

    Raises:
        ValueError: if ``sigma_data`` is not positive.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        check_positive("sigma_data", self.sigma_data)

    def __call__(self, level: NoiseLevel[jax.Array]) -> Weights:
        r"""$\mathrm{SNR} + \sigma_\mathrm{data}^{-2}$, the same function."""
        return _snr(level) + self.sigma_data**-2


@dataclass(frozen=True)
class Sigmoid:
    r"""$\mathrm{SNR} \cdot \mathrm{sigmoid}(b - \log \mathrm{SNR})$: the sigmoid itself on the error of $\epsilon$.

    Attributes:
        bias: $b$, the log-SNR at which the weight of the error of $\epsilon$ is one half, finite; lower values suppress
            more detail.

    Raises:
        ValueError: if ``bias`` is not finite.

    References: Kingma and Gao 2023, https://arxiv.org/abs/2303.00848; Hoogeboom et al. 2024,
        https://arxiv.org/abs/2410.19324
    """

    bias: float = 0.0

    def __post_init__(self) -> None:
        check_number("bias", self.bias)

    def __call__(self, level: NoiseLevel[jax.Array]) -> Weights:
        r"""$e^b\, \mathrm{sigmoid}(\log \mathrm{SNR} - b)$, the same function."""
        return jnp.exp(self.bias) * jax.nn.sigmoid(jnp.log(_snr(level)) - self.bias)


def _inner(level: NoiseLevel[jax.Array]) -> NoiseLevel[jax.Array]:
    """The level, moved off an end of its path."""
    return NoiseLevel(
        t=level.t,
        alpha=jnp.maximum(level.alpha, SMALLEST * level.sigma),
        sigma=jnp.maximum(level.sigma, SMALLEST * level.alpha),
    )


def _snr(level: NoiseLevel[jax.Array]) -> Weights:
    level = _inner(level)
    return (level.alpha / level.sigma) ** 2


def _slope(prediction: Prediction, level: NoiseLevel[jax.Array]) -> Weights:
    r"""$\partial x_0 / \partial\, \mathrm{out}$ at one $x_t$; $x_0$ is affine in the output."""
    flat = jax.tree.map(jnp.ravel, _inner(level))
    nothing = jnp.zeros_like(flat.alpha)
    return prediction.to_x0(jnp.ones_like(flat.alpha), nothing, flat).reshape(level.alpha.shape)
