"""How far a set of made images lies from a set of real ones, in the space of some features.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
NeurIPS 2017, https://arxiv.org/abs/1706.08500. Each set is taken for a Gaussian; between the two
lies the distance that Frechet gave in 1957.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor

_RIDGE = 1e-6
_LARGEST_IMAGINARY = 1e-3


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """|mu_a - mu_b|^2 + Tr(C_a + C_b - 2 (C_a C_b)^(1/2)), mu and C the sets' mean and covariance.

    The features are those of whatever network the caller has at hand, a local backbone, and the
    number depends on it: it ranks runs that were judged by the same network on equally many images,
    and **compares with nothing published**. "FID" is this distance of the 2,048 pooled features of
    one particular Inception-v3, on 50,000 images.

    With few images the distance comes out too large, the more so the fewer they are: covariances of
    a small sample are too far apart. Take the same number on both sides, and several times D.

    Computed in float64; covariances divide by N - 1. Where one of them is singular (no more images
    than features, features that never vary or repeat one another) and only there, a ridge of 1e-6
    of the mean variance is added to the diagonals of both, without which the root need not exist.
    It moves the distance by less than 2e-3 of the variance of both sets, over all features. The
    imaginary part that rounding leaves in the root is dropped, and so is a distance below 0.

    Args:
        features_a: ND, one row an image.
        features_b: MD, of the other set; N and M at least 2.

    Returns:
        At least 0, in squared units of the features; 0 for equal sets, up to rounding.

    Raises:
        ValueError: a set has fewer than two rows, is no matrix or is not finite; the sets differ in
            D; the root cannot be computed.
    """
    a, b = _matrix(features_a, "features_a"), _matrix(features_b, "features_b")
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"the sets have {a.shape[1]} and {b.shape[1]} features: take both from one network"
        )
    shift = a.mean(axis=0) - b.mean(axis=0)
    trace = _covariance_distance(_covariance(a), _covariance(b))
    return max(float(shift @ shift + trace), 0.0)


def _matrix(features: Tensor, name: str) -> NDArray[np.float64]:
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(
            f"{name} must be a row of features for each image, not of shape {tuple(features.shape)}"
        )
    if len(features) < 2:
        raise ValueError(f"{name} has {len(features)} images: a covariance takes two at least")
    matrix: NDArray[np.float64] = features.detach().double().cpu().numpy()
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} is not finite: the network has overflowed")
    return matrix


def _covariance(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """DD."""
    return np.atleast_2d(np.cov(features, rowvar=False))


def _covariance_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Tr(a + b - 2 (a b)^(1/2)) of two covariances DD."""
    size = len(a)
    variance = float(np.trace(a) + np.trace(b)) / (2 * size)
    if variance == 0.0:  # two points
        return 0.0
    if min(np.linalg.matrix_rank(c, hermitian=True) for c in (a, b)) < size:
        ridge = _RIDGE * variance * np.eye(size)
        a, b = a + ridge, b + ridge
    root = np.trace(sqrtm(a @ b))
    if not np.isfinite(root) or abs(root.imag) > _LARGEST_IMAGINARY * size * variance:
        raise ValueError(f"the root of the covariances' product is no real matrix (trace {root})")
    return float(np.trace(a) + np.trace(b) - 2.0 * root.real)
