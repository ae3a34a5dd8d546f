"""Sums along the minimum spanning tree of an image's pixels.

Song et al., "Learnable tree filter for structure-preserving feature transform", NeurIPS 2019,
https://arxiv.org/abs/1909.12513. The pixels of an image and their neighbours above, below, left and
right are a graph whose edges weigh what the two pixels differ by. Its minimum spanning tree has one
path between any two pixels, which goes around what looks different. With a factor w_e on each edge
of the tree,

    F_i = sum_j v_j prod of w_e over the edges between i and j

is computed for all i in two passes over the levels of the tree, from the leaves to the root and
back (A is what lies below a pixel, c its children, p its parent):

    A_i = v_i + sum_c w_c A_c               F_root = A_root,  F_i = A_i + w_i (F_p - w_i A_i)

The matrix is symmetric, so the gradient for v is the same two passes over that of F, g; and with
the A and F of both

    dL/dw_i = A_i(g) (F_p(v) - w_i A_i(v)) + A_i(v) (F_p(g) - w_i A_i(g))      summed over channels

The tree is made by scipy on the CPU, one image after the other; a GPU waits for it. The passes are
made where the values are, one level of all images at a time, and give the same bits each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHILDREN = 4
"""Most neighbours of a pixel, and so most children: a root may have as many."""


@dataclass(frozen=True, slots=True)
class Forest:
    """The minimum spanning trees of a batch of images, with their pixels in the order of levels.

    Node 0 of the order is the first root; a node stands behind its parent. Row N of a table of
    values stands for nobody and is 0.

    Attributes:
        order: N int64, where each node's pixel is among all B x H x W pixels.
        place: N int64, which node each pixel is.
        parent: N int64, the node above; of a root itself.
        children: N x 4 int64, the nodes below, N where there are fewer.
        levels: where each level begins, and N; level 0 holds the B roots.
    """

    order: Tensor
    place: Tensor
    parent: Tensor
    children: Tensor
    levels: Sequence[int]


def minimum_spanning_forest(features: Tensor, valid: Tensor) -> Forest:
    """The tree of each image by the squared distances between the features of neighbours.

    Of edges that weigh the same the vertical ones come first, then those further up, then those
    further left: so the tree is the same on every machine. Edges at pixels that are not valid come
    last: no path between two valid pixels leads through them, unless there is no other.

    Args:
        features: BCHW; no gradient passes.
        valid: BHW bool.

    Returns:
        On the device of the features.
    """
    values = features.detach().to("cpu", torch.float64)
    height, width = values.shape[-2:]
    pixels = height * width
    known = valid.cpu()
    down = (values[:, :, 1:] - values[:, :, :-1]).square().sum(1)
    down = down.masked_fill(~(known[:, 1:] & known[:, :-1]), math.inf).flatten(1)
    right = (values[..., 1:] - values[..., :-1]).square().sum(1)
    right = right.masked_fill(~(known[..., 1:] & known[..., :-1]), math.inf).flatten(1)
    places = np.arange(pixels, dtype=np.int32).reshape(height, width)
    ends = (
        np.concatenate([places[:-1].ravel(), places[:, :-1].ravel()]),
        np.concatenate([places[1:].ravel(), places[:, 1:].ravel()]),
    )
    trees = [_tree(one.numpy(), ends, pixels) for one in torch.cat([down, right], 1)]
    parent = np.concatenate([one + number * pixels for number, (one, _) in enumerate(trees)])
    depth = np.concatenate([depth for _, depth in trees])
    # By level, and within one by the parents' pixels: any order that is the same each time.
    order = np.lexsort((parent, depth))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    above = place[parent[order]]
    levels = np.searchsorted(depth[order], np.arange(depth.max() + 2)).tolist()
    device = features.device
    return Forest(
        order=torch.from_numpy(order).to(device),
        place=torch.from_numpy(place).to(device),
        parent=torch.from_numpy(above).to(device),
        children=torch.from_numpy(_children(above)).to(device),
        levels=levels,
    )


def _tree(weights: Any, ends: tuple[Any, Any], pixels: int) -> tuple[Any, Any]:
    """Parents and depths of the pixels of one image, seen from the middle of its longest path."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    if pixels == 1:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    # Ranks in place of weights: no two are equal, and none is 0, which would be no edge.
    ranks = np.empty(len(weights), np.float64)
    ranks[np.argsort(weights, kind="stable")] = np.arange(1, len(weights) + 1)
    tree = minimum_spanning_tree(csr_array((ranks, ends), shape=(pixels, pixels)))
    one_end, parents = _seen_from(tree, _seen_from(tree, 0)[0][-1])
    furthest, depth = one_end[-1], _depths(parents)
    middle = furthest
    for _ in range(depth[furthest] // 2):
        middle = parents[middle]
    parents = _seen_from(tree, middle)[1]
    return parents, _depths(parents)


def _seen_from(tree: Any, root: int) -> tuple[Any, Any]:
    """Pixels from near to far, and the parent of each; a root is its own."""
    from scipy.sparse.csgraph import breadth_first_order

    order, parents = breadth_first_order(tree, root, directed=False)
    parents[root] = root
    return order, parents.astype(np.int64)


def _depths(parents: Any) -> Any:
    """How many edges each pixel is away from the root, by doubling its steps."""
    places = np.arange(len(parents))
    depth, above = (parents != places).astype(np.int64), parents
    while True:
        further = depth + depth[above]
        if (further == depth).all():
            return depth
        depth, above = further, above[above]


def _children(parent: Any) -> Any:
    """N x 4: the nodes below each node, in order, and N where there are fewer."""
    nodes = np.arange(len(parent))
    below = nodes[parent != nodes]
    below = below[np.argsort(parent[below], kind="stable")]
    of = parent[below]
    children = np.full((len(parent), _CHILDREN), len(parent), np.int64)
    children[of, np.arange(len(of)) - np.searchsorted(of, of)] = below
    return children


def tree_sums(values: Tensor, factors: Tensor, forest: Forest) -> Tensor:
    """F of the head of this file, of each pixel; gradients pass to values and factors.

    Args:
        values: BCHW, float32 or float64.
        factors: BHW, of the edge from each pixel to the one above it; of a root without meaning.
        forest: of the same images.

    Returns:
        BCHW.
    """
    channels = values.shape[1]
    rows = values.movedim(1, -1).reshape(-1, channels)[forest.order]
    of_edges = factors.reshape(-1)[forest.order]
    sums: Tensor = _TreeSums.apply(rows, of_edges, forest)
    batch, _, height, width = values.shape
    return sums[forest.place].view(batch, height, width, channels).movedim(-1, 1)


def edge_differences(features: Tensor, forest: Forest) -> Tensor:
    """Squared distance of each pixel's features from those of the pixel above it in the tree.

    Args:
        features: BCHW; gradients pass.
        forest: of the same images.

    Returns:
        BHW; 0 at a root.
    """
    own = features.movedim(1, -1).flatten(0, 2)
    squares = (own - own[_above(forest)]).square().sum(1)
    return squares.view(features.shape[0], *features.shape[2:])


def with_parents(known: Tensor, forest: Forest) -> Tensor:
    """BHW bool: where `known` (BHW bool) holds for a pixel and for the one above it."""
    own = known.flatten()
    return (own & own[_above(forest)]).view(known.shape)


def _above(forest: Forest) -> Tensor:
    """N int64: the pixel above each pixel in the tree; of a root itself."""
    return forest.order[forest.parent][forest.place]


class _TreeSums(torch.autograd.Function):
    """`tree_sums` of rows in the order of the levels: N x C values and N factors."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factors: Tensor, forest: Forest) -> Tensor:
        below, sums = _passes(values, factors, forest)
        ctx.forest = forest
        ctx.save_for_backward(factors, below, sums)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        factors, below, sums = ctx.saved_tensors
        forest: Forest = ctx.forest
        of_below, of_sums = _passes(gradients[0].contiguous(), factors, forest)
        if not ctx.needs_input_grad[1]:
            return of_sums, None, None
        own = factors[:, None]
        of_factors = of_below * (sums[forest.parent] - own * below)
        of_factors += below * (of_sums[forest.parent] - own * of_below)
        of_factors = of_factors.sum(1)
        of_factors[: forest.levels[1]] = 0.0
        return of_sums, of_factors, None


def _passes(values: Tensor, factors: Tensor, forest: Forest) -> tuple[Tensor, Tensor]:
    """A and F of the head of this file, N x C each."""
    levels = forest.levels
    below = torch.cat([values, values.new_zeros(1, values.shape[1])])
    of_edges = torch.cat([factors, factors.new_zeros(1)])[:, None]
    for start, end in reversed([*pairwise(levels[:-1])]):
        children = forest.children[start:end].flatten()
        parts = (of_edges[children] * below[children]).view(end - start, _CHILDREN, -1)
        below[start:end] += parts.sum(1)
    below = below[:-1]
    own = factors[:, None]
    kept = below * (1 - own * own)
    sums = below.clone()
    for start, end in pairwise(levels[1:]):
        above = sums[forest.parent[start:end]]
        torch.addcmul(kept[start:end], own[start:end], above, out=sums[start:end])
    return below, sums
