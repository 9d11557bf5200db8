"""Embeddings of times, labels and positions."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Label, Time
from artifex.kernels.ranges import check_number, check_positive, check_whole

XAVIER = nnx.initializers.xavier_uniform()


def timestep_embedding(
    t: Time, features: int, *, max_period: float = 10_000.0, cosine_first: bool = False, freq_shift: float = 1.0
) -> Float[Array, "b f"]:
    r"""Sinusoids of the time, with periods spaced geometrically from $2\pi$ to about ``max_period`` times that.

    $$\omega_i = P^{-i/(h-s)},\quad e = [\sin \omega_i t, \cos \omega_i t],\quad
      i = 0 \dots h-1,\ h = \text{features}/2$$

    DDPM has the sines first and the shift $s = 1$; ADM, DiT and Stable Diffusion have the cosines first and $s = 0$.

    Args:
        t: times, ``(batch,)``, of the order of 0 to 1000.
        features: length of each vector, even and at least 4.
        max_period: the base $P$ of the frequencies, positive.
        cosine_first: whether the cosines come first.
        freq_shift: the shift $s$, below ``features / 2``.

    Returns:
        Vectors ``(batch, features)`` in float32, as bfloat16 cannot represent phases of the order of 1000.

    Raises:
        ValueError: if ``features`` is odd or below 4, ``max_period`` not positive, or ``freq_shift`` not below half the
            features.

    References:
        Ho et al. 2020, https://arxiv.org/abs/2006.11239; Dhariwal and Nichol 2021, https://arxiv.org/abs/2105.05233
    """
    check_positive("max_period", max_period)
    if features < 4 or features % 2:
        raise ValueError(f"features must be even and at least 4, got {features}")
    half = features // 2
    check_number("freq_shift", freq_shift)
    if not freq_shift < half:
        raise ValueError(f"freq_shift must be below features / 2 = {half}, got {freq_shift}")
    omega = np.power(max_period, -np.arange(half) / (half - freq_shift)).astype(np.float32)
    phase = t.astype(jnp.float32)[:, None] * omega[None]
    sin, cos = jnp.sin(phase), jnp.cos(phase)
    return jnp.concatenate([cos, sin] if cosine_first else [sin, cos], axis=-1)


def sincos_2d(features: int, height: int, width: int, *, base: int | None = None) -> Float[np.ndarray, "n f"]:
    r"""Fixed position vectors of a ``height x width`` grid, row by row.

    $$p(y, x) = [\sin x\omega_i, \cos x\omega_i, \sin y\omega_i, \cos y\omega_i],\quad \omega_i = 10000^{-i/q},\
      i = 0 \dots q-1,\ q = \text{features}/4$$

    Args:
        features: length of each vector, a multiple of 4.
        height: rows of the grid.
        width: columns of the grid.
        base: rows and columns of the grid whose span every other grid is stretched to; None is a spacing of 1.

    Returns:
        A float32 NumPy array ``(height * width, features)``.

    Raises:
        ValueError: if ``features`` is not a positive multiple of 4, or a size is below 1.

    References:
        He et al. 2021 (MAE), https://arxiv.org/abs/2111.06377; Peebles and Xie 2022, https://arxiv.org/abs/2212.09748
    """
    if features < 4 or features % 4:
        raise ValueError(f"features must be a positive multiple of 4, got {features}")
    check_whole("height", height, 1)
    check_whole("width", width, 1)
    if base is not None:
        check_whole("base", base, 1)
    quarter = features // 4
    omega = np.power(10_000.0, -np.arange(quarter) / quarter)
    y, x = (axis.reshape(-1, 1) * omega for axis in np.mgrid[:height, :width])
    if base is not None:
        y, x = y * (base / height), x * (base / width)
    return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1).astype(np.float32)


class LabelEmbedding(nnx.Module):
    """A learned vector per class and, with ``null``, one at index ``num_classes`` for "no class".

    To drop labels for classifier-free guidance, replace them with ``num_classes``.
    """

    def __init__(
        self,
        num_classes: int,
        features: int,
        *,
        null: bool = True,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.num_classes = num_classes
        self.dtype = dtype
        init = nnx.initializers.normal(0.02)
        self.table = nnx.Param(init(rngs.params(), (num_classes + null, features), jnp.dtype(param_dtype)))

    def __call__(self, labels: Label) -> Float[Array, "b f"]:
        """Look up labels in ``[0, num_classes]``."""
        return self.table[...].astype(self.dtype)[labels]


class TimeEmbedding(nnx.Module):
    r"""A two-layer MLP of the sinusoids of the time, plus the vector of the label if the network has classes.

    $$c = W_2\,\text{silu}(W_1 e(t)) + E[\text{label}]$$
    """

    def __init__(
        self,
        sinusoids: int,
        features: int,
        num_classes: int | None,
        *,
        null: bool = True,
        cosine_first: bool = False,
        freq_shift: float = 1.0,
        std: float | None = None,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        init = XAVIER if std is None else nnx.initializers.normal(std)
        self.sinusoids, self.cosine_first, self.freq_shift = sinusoids, cosine_first, freq_shift
        self.first = nnx.Linear(sinusoids, features, kernel_init=init, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.second = nnx.Linear(features, features, kernel_init=init, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.labels = (
            None
            if num_classes is None
            else LabelEmbedding(num_classes, features, null=null, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        )

    def __call__(self, t: Time, labels: Label | None = None) -> Float[Array, "b f"]:
        """Embed times and, if the network has classes, labels as ``resolve_labels`` returns them."""
        e = timestep_embedding(t, self.sinusoids, cosine_first=self.cosine_first, freq_shift=self.freq_shift)
        c = self.second(nnx.silu(self.first(e)))
        return c if self.labels is None or labels is None else c + self.labels(labels)
