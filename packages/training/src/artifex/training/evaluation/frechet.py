r"""The Fréchet distance of two Gaussians fitted to features; FID where these are Inception's.

$$d^2 = |\mu_1 - \mu_2|^2 + \mathrm{tr}\,\Sigma_1 + \mathrm{tr}\,\Sigma_2
  - 2\,\mathrm{tr}\,(\Sigma_1^{1/2}\,\Sigma_2\,\Sigma_1^{1/2})^{1/2}$$

The last trace is the sum of the singular values of $\Sigma_1^{1/2}\Sigma_2^{1/2}$. So both roots are those of
symmetric matrices, by their eigenvectors; the root of the product $\Sigma_1\Sigma_2$, which is not symmetric and need
not be found for singular covariances, is never taken.

References: Dowson and Landau 1982, https://doi.org/10.1016/0047-259X(82)90077-X; Heusel et al. 2017,
https://arxiv.org/abs/1706.08500
"""

import numpy as np
from jaxtyping import Float, Float64

from artifex.training.evaluation.features import Features, together
from artifex.training.evaluation.record import Score


def frechet_distance(
    mean1: Float[np.ndarray, " d"],
    covariance1: Float[np.ndarray, "d d"],
    mean2: Float[np.ndarray, " d"],
    covariance2: Float[np.ndarray, "d d"],
) -> float:
    """The squared distance of two Gaussians, at least 0; singular covariances are as good as others.

    Args:
        mean1: of the first, ``(d,)``.
        covariance1: of the first, ``(d, d)``, symmetric and positive semi-definite.
        mean2: of the second.
        covariance2: of the second.

    Raises:
        ValueError: for shapes that don't fit, numbers that are not finite, a covariance that is not symmetric or has
            an eigenvalue below 0 by more than rounding.
    """
    d = mean1.size
    for name, array, shape in (
        ("mean1", mean1, (d,)),
        ("covariance1", covariance1, (d, d)),
        ("mean2", mean2, (d,)),
        ("covariance2", covariance2, (d, d)),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got NaN or inf")
    root1, root2 = _root("covariance1", covariance1), _root("covariance2", covariance2)
    shared = np.linalg.svd(root1.T @ root2, compute_uv=False).sum() if root1.size and root2.size else 0.0
    offset = mean1.astype(np.float64) - mean2.astype(np.float64)
    return max(0.0, float(offset @ offset + np.trace(covariance1) + np.trace(covariance2) - 2 * shared))


def fid(generated: Features, real: Features, *, allow_few: bool = False) -> Score:
    r"""The Fréchet distance of two sets of features.

    It grows as the sets get smaller, by about a constant over their size, and has no unbiased estimate: compare
    scores of equal sample counts only.

    Args:
        generated: of generated samples.
        real: of real ones.
        allow_few: take sets of no more samples than features, whose covariance is singular and whose distance is far
            above that of larger sets.

    Raises:
        ValueError: for sets of two extractors, or of too few samples.
    """
    together(generated, real)
    check_counts(generated.count, real.count, generated.width, allow_few=allow_few)
    ours, theirs = generated.statistics, real.statistics
    value = frechet_distance(ours.mean, ours.covariance, theirs.mean, theirs.covariance)
    return Score("fid", value, None, "lower", generated.extractor, generated.count, real.count)


def check_counts(generated: int, real: int, width: int, *, allow_few: bool = False) -> None:
    """Raise a ValueError if one of the sets is too small for features of this width; see ``fid``."""
    least = 2 if allow_few else width + 1
    for name, count in (("generated", generated), ("real", real)):
        if count < least:
            raise ValueError(
                f"{name} must be at least {least} samples for features of width {width}, got {count}; the metric kid "
                "has no bias with few"
            )


def _root(name: str, covariance: Float[np.ndarray, "d d"]) -> Float64[np.ndarray, "d r"]:
    """A root R with R R^T the covariance, without the columns that are 0 within rounding."""
    exact = covariance.astype(np.float64)
    if not np.allclose(exact, exact.T, rtol=1e-6, atol=1e-6 * float(np.abs(exact).max(initial=0.0))):
        raise ValueError(f"{name} must be symmetric, got one that differs from its transpose")
    values, vectors = np.linalg.eigh((exact + exact.T) / 2)
    rounding = len(exact) * np.finfo(np.float64).eps * max(float(np.abs(values).max()), 0.0)
    # Covariances kept in float32 have eigenvalues that are off by its rounding.
    if values[0] < -max(rounding, 1e-6 * float(values[-1])):
        raise ValueError(f"{name} must be positive semi-definite, got the eigenvalue {values[0]:.3g}")
    kept = values > rounding
    root: Float64[np.ndarray, "d r"] = vectors[:, kept] * np.sqrt(values[kept])
    return root
