"""The permutohedral lattice: sums over all points, weighted by a Gaussian, in linear time.

Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice",
Eurographics 2010, https://doi.org/10.1111/j.1467-8659.2009.01645.x. Each point lies in a simplex of
a lattice in its feature space. Its value is shared out to the d + 1 corners by its barycentric
coordinates (splat), the corners exchange values with their neighbours along d + 1 axes (blur), and
each point reads its corners by the same coordinates (slice). All three are sums over rows of a
table, written as `embedding_bag`: one pass, no atomic additions, so the same bits each time.

Two things differ from the paper, both for accuracy (`ops/crf.py` says how accurate it is):

- The blur is finer and runs twice: 1/5, 3/5, 1/5 along each axis on a lattice whose spacing is 0.83
  of the paper's, instead of 1/4, 1/2, 1/4 once. It runs through the axes forward and then backward,
  so that what i sends to j is what j sends to i, and the matrix has no negative eigenvalue.
- The neighbours of the corners are in the lattice even where no point lies in a simplex of theirs.
  Otherwise what is blurred twice would be lost at the rim.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE = 0.2
"""What the blur takes from each of the two neighbours on an axis. Measured: the best of 0.15 to
0.25, for label agreement with all pairs on photographs."""

_PASSES = 2

_SCALE = math.sqrt(2 * _SIDE * _PASSES + 1 / 6)
"""Standard deviation of splat, blur and slice together, in units of d + 1 lattice steps: the
variances of the blur, 2 `_SIDE` each time, and of the two interpolations, 1/12 each, add up."""

_MULTIPLIER = 0x9E3779B97F4A7C15


class Lattice:
    """The lattice of some points, built once for any number of sums.

    Args:
        features: N x d floating point, in units of the standard deviation; d is small.

    Attributes:
        vertices: how many points of the lattice hold a value.
    """

    def __init__(self, features: Tensor) -> None:
        keys, weights, steps = _corners(features)
        ordered, order = keys.flatten().sort(stable=True)
        fresh = _first_of_equals(ordered)
        own = ordered[fresh]
        around = [own + step for step in steps] + [own - step for step in steps]
        known = torch.cat([own, *around]).sort().values
        known = known[_first_of_equals(known)]
        self.vertices = len(known)
        vertex = torch.searchsorted(known, own)[fresh.cumsum(0) - 1]
        corners = torch.empty_like(vertex).scatter_(0, order, vertex)
        self._corners = corners.view_as(keys).int()
        self._weights = weights
        self._points = (order // keys.shape[1]).int()
        self._shares = weights.flatten()[order]
        self._starts = torch.searchsorted(ordered, known).int()
        blurs = [_stencil(known, step, weights.dtype) for step in steps]
        self._blurs = blurs + blurs[::-1]

    def __call__(self, values: Tensor) -> Tensor:
        """The sum of the values of all points, weighted by a Gaussian of their distance.

        Args:
            values: N x K, of the dtype of the features.

        Returns:
            N x K, in an unknown unit that is the same for all points.
        """
        table = _sum_rows(values, self._points, self._shares, self._starts)
        for neighbours, weights in self._blurs:
            table = _sum_rows(table, neighbours, weights)
        return _sum_rows(table, self._corners, self._weights)


def _sum_rows(
    table: Tensor, index: Tensor, weights: Tensor, starts: Tensor | None = None
) -> Tensor:
    """Weighted sums of rows: of each row of `index`, or of its stretches from each of `starts`."""
    return F.embedding_bag(index, table, starts, mode="sum", per_sample_weights=weights)


def _first_of_equals(ordered: Tensor) -> Tensor:
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return first


def _corners(features: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """The corners of the simplex that each point lies in.

    Returns:
        Keys of the corners, N x (d + 1) int64; their barycentric coordinates; and what is added to
        a key to go one step along each of the d + 1 axes.
    """
    axes = features.shape[1] + 1
    exact = features.double()  # far from the origin float32 no longer tells corners apart
    lifted = exact @ _basis(exact) * (_SCALE * axes)
    # The nearest point whose coordinates are all multiples of d + 1, back on the plane of sum 0.
    nearest = (lifted / axes).round()
    excess = nearest.sum(1, keepdim=True).long()
    corner = torch.arange(axes, device=features.device)
    order = (lifted - axes * nearest).argsort(dim=1)
    place = torch.empty_like(order).scatter_(1, order, corner.expand_as(order)) - excess
    wrap = (place >= axes).long() - (place < 0).long()
    place -= axes * wrap
    nearest = (nearest + wrap).long()
    offsets = lifted - axes * nearest
    # Corner k lies k higher in every coordinate, and d + 1 lower in the k that have the smallest
    # offset. So keys and coordinates are running sums and differences in the order of the offsets.
    ascending = torch.empty_like(offsets).scatter_(1, place, offsets)
    differences = ascending.diff(dim=1) / axes
    weights = torch.cat([1 - differences.sum(1, keepdim=True), differences], dim=1)
    strides = _strides(axes)
    step = torch.tensor(strides, device=features.device)
    fallen = torch.empty_like(place).scatter_(1, place, step.expand_as(place)).cumsum(1)
    keys = (axes * nearest * step).sum(1, keepdim=True) + corner * step.sum()
    keys[:, 1:] -= axes * fallen[:, :-1]
    return (
        keys,
        weights.to(features.dtype),
        [_wrapped(axes * stride - sum(strides)) for stride in strides],
    )


def _basis(features: Tensor) -> Tensor:
    """d x (d + 1): orthonormal rows, each of sum 0."""
    count = features.shape[1]
    rows = features.new_zeros(count, count + 1)
    for i in range(1, count + 1):
        rows[i - 1, :i] = 1
        rows[i - 1, i] = -i
        rows[i - 1] /= math.sqrt(i * (i + 1))
    return rows


def _strides(axes: int) -> list[int]:
    """A key is the sum of the coordinates times these, modulo 2**64.

    It is linear, so a step on the lattice is a number to add, and it needs no bounds of the
    coordinates. That two of a million vertices share a key by accident has a chance of about 1e-7.
    """
    return [_wrapped(_MULTIPLIER**power) for power in range(1, axes + 1)]


def _wrapped(number: int) -> int:
    """The int64 of the same 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _stencil(known: Tensor, step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """For each vertex: itself and its two neighbours along one axis (M x 3), and their weights."""
    itself = torch.arange(len(known), device=known.device)
    found, weights = [itself], [torch.full_like(known, 1 - 2 * _SIDE, dtype=dtype)]
    for neighbour in (known + step, known - step):
        index = torch.searchsorted(known, neighbour).clamp_(max=len(known) - 1)
        found.append(index)
        weights.append(_SIDE * (known[index] == neighbour).to(dtype))
    return torch.stack(found, 1).int(), torch.stack(weights, 1)
