r"""The Fréchet distance of two Gaussians fitted to features; with Inception's features, FID.

$$d^2 = |\mu_1 - \mu_2|^2 + \mathrm{tr}\,\Sigma_1 + \mathrm{tr}\,\Sigma_2
  - 2\,\mathrm{tr}\,(\Sigma_1^{1/2}\,\Sigma_2\,\Sigma_1^{1/2})^{1/2}$$

The last trace is the sum of the singular values of $\Sigma_1^{1/2}\Sigma_2^{1/2}$. So both roots are those of
symmetric matrices, from their eigenvectors; the root of the product $\Sigma_1\Sigma_2$, which is not symmetric and may
not exist for singular covariances, is avoided.

References: Dowson and Landau 1982, https://doi.org/10.1016/0047-259X(82)90077-X; Heusel et al. 2017,
https://arxiv.org/abs/1706.08500
"""

import numpy as np
from jaxtyping import Float, Float64

from artifex.training.evaluation.features import Features, check_comparable
from artifex.training.evaluation.score import Score


def frechet_distance(
    mean1: Float[np.ndarray, " d"],
    covariance1: Float[np.ndarray, "d d"],
    mean2: Float[np.ndarray, " d"],
    covariance2: Float[np.ndarray, "d d"],
) -> float:
    """Compute the squared distance of two Gaussians, which may have singular covariances.

    Args:
        mean1: of the first, ``(d,)``.
        covariance1: of the first, ``(d, d)``, symmetric and positive semi-definite.
        mean2: of the second.
        covariance2: of the second.

    Raises:
        ValueError: for shapes that don't fit, values that are not finite, or a covariance that is not symmetric or has
            a negative eigenvalue beyond rounding.
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
    r"""Compute the Fréchet distance of two sets of features.

    Its bias is about inversely proportional to the size of the sets, and there is no unbiased estimator: compare scores
    of equal sample counts only.

    Args:
        generated: of generated samples.
        real: of real samples.
        allow_few: accept sets of no more samples than features, whose covariance is singular and whose distance is far
            above that of larger sets.

    Raises:
        ValueError: for sets of two extractors, or of too few samples.
    """
    check_comparable(generated, real)
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
    """Compute a root R with R R^T the covariance, without the columns that are 0 within rounding."""
    exact = covariance.astype(np.float64)
    if not np.allclose(exact, exact.T, rtol=1e-6, atol=1e-6 * float(np.abs(exact).max(initial=0.0))):
        raise ValueError(f"{name} must be symmetric, got one that differs from its transpose")
    values, vectors = np.linalg.eigh((exact + exact.T) / 2)
    rounding = len(exact) * np.finfo(np.float64).eps * max(float(np.abs(values).max()), 0.0)
    # Covariances stored in float32 have eigenvalues with its rounding errors.
    if values[0] < -max(rounding, 1e-6 * float(values[-1])):
        raise ValueError(f"{name} must be positive semi-definite, got the eigenvalue {values[0]:.3g}")
    kept = values > rounding
    root: Float64[np.ndarray, "d r"] = vectors[:, kept] * np.sqrt(values[kept])
    return root
