"""How far a set of made images lies from a set of real ones, in the space of some features.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
NeurIPS 2017, https://arxiv.org/abs/1706.08500. Each set is taken for a Gaussian; between the two
lies the distance that Frechet gave in 1957.

The root of the covariances' product is never formed. With A and B the centred features divided by
the root of N - 1, so that C_a = A'A and C_b = B'B, the eigenvalues of C_a C_b are the squared
singular values of AB', and the trace of the root is the sum of these. It exists for any sets, with
fewer images than features too, has no imaginary part, and takes far less time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from semisup.system.words import counted


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """|mu_a - mu_b|^2 + Tr(C_a + C_b - 2 (C_a C_b)^(1/2)), mu and C the sets' mean and covariance.

    The features are those of whatever network the caller has at hand, a local backbone, and the
    number depends on it: it ranks runs measured with the same network on equally many images, and
    **compares with nothing published**. "FID" is this distance of the 2,048 pooled features of
    one particular Inception-v3, on 50,000 images.

    With few images the distance comes out too large, the more so the fewer they are: covariances of
    a small sample are too far apart. Take the same number on both sides, and several times D.

    Computed in float64; covariances divide by N - 1. A distance that rounding puts below 0 is 0.

    Args:
        features_a: ND, one row an image.
        features_b: MD, of the other set; N and M at least 2.

    Returns:
        At least 0, in squared units of the features; 0 for equal sets, up to rounding.

    Raises:
        ValueError: a set has fewer than two rows, is no matrix or is not finite; the sets differ in
            D.
    """
    a, b = _matrix(features_a, "features_a"), _matrix(features_b, "features_b")
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"the sets have {a.shape[1]} and {b.shape[1]} features: take both from one network"
        )
    shift = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    a, b = _factor(a), _factor(b)
    root = torch.linalg.svdvals(a @ b.T).sum()
    distance = shift + a.square().sum() + b.square().sum() - 2 * root
    return max(float(distance), 0.0)


def _matrix(features: Tensor, name: str) -> Tensor:
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(
            f"{name} must be a row of features for each image, not of shape {tuple(features.shape)}"
        )
    if len(features) < 2:
        raise ValueError(
            f"{name} has {counted(len(features), 'image')}: a covariance takes two at least"
        )
    matrix = features.detach().cpu().double()
    if not matrix.isfinite().all():
        raise ValueError(f"{name} is not finite: the network has overflowed")
    return matrix


def _factor(features: Tensor) -> Tensor:
    """A matrix F of D columns and at most D rows, with F'F the covariance of the features (ND)."""
    centred = (features - features.mean(dim=0)) / math.sqrt(len(features) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    triangle: Tensor = torch.linalg.qr(centred, mode="r").R
    return triangle
