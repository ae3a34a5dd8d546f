"""Minimum spanning trees of images, and sums along them, beside plain loops over all paths."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from semisup.ops.tree import (
    Forest,
    edge_differences,
    minimum_spanning_forest,
    tree_sums,
    with_parents,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def everywhere(features: Tensor) -> Tensor:
    return torch.ones(len(features), *features.shape[2:], dtype=torch.bool)


def parents_of(forest: Forest) -> list[int]:
    """The pixel above each pixel, of all images; a root is its own."""
    above: list[int] = forest.order[forest.parent][forest.place].tolist()
    return above


def edges_of(forest: Forest) -> set[tuple[int, int]]:
    return {(min(i, p), max(i, p)) for i, p in enumerate(parents_of(forest)) if i != p}


def chain(pixel: int, parents: list[int]) -> list[int]:
    found = [pixel]
    while parents[found[-1]] != found[-1]:
        found.append(parents[found[-1]])
    return found


def by_paths(values: Tensor, factors: Tensor, forest: Forest) -> Tensor:
    """The sums by walking from each pixel to each other one."""
    batch, channels, height, width = values.shape
    parents, own = parents_of(forest), factors.flatten()
    rows = values.movedim(1, -1).reshape(-1, channels)
    sums = torch.zeros_like(rows)
    pixels = height * width
    for i, j in product(range(len(rows)), repeat=2):
        if i // pixels == j // pixels:
            one, other = chain(i, parents), chain(j, parents)
            edges = [n for n in one if n not in other] + [n for n in other if n not in one]
            sums[i] += rows[j] * own[edges].prod()
    return sums.view(batch, height, width, channels).movedim(-1, 1)


def kruskal(features: Tensor) -> set[tuple[int, int]]:
    """The edges of the trees, one edge after the other: vertical before horizontal ones."""
    batch, _, height, width = features.shape
    found = set()
    for number in range(batch):
        image, first = features[number], number * height * width
        places = list(product(range(height), range(width)))
        edges = [((y, x), (y + 1, x)) for y, x in places if y + 1 < height]
        edges += [((y, x), (y, x + 1)) for y, x in places if x + 1 < width]
        edges.sort(key=lambda e: float((image[:, *e[0]] - image[:, *e[1]]).square().sum()))
        group = {place: {place} for place in places}
        for one, other in edges:
            if group[one] is not group[other]:
                group[one] |= group[other]
                for place in group[other]:
                    group[place] = group[one]
                ends = first + one[0] * width + one[1], first + other[0] * width + other[1]
                found.add(ends)
    return found


@pytest.mark.parametrize("levels", [1000, 3, 1])
@pytest.mark.parametrize("size", [(5, 6), (1, 7), (7, 1), (1, 1)])
def test_the_trees_are_those_of_kruskals_rule_where_edges_tie_too(
    size: tuple[int, int], levels: int
) -> None:
    features = (drawn(2, 3, *size) * levels).floor()
    forest = minimum_spanning_forest(features, everywhere(features))
    assert edges_of(forest) == kruskal(features)


def test_nodes_stand_level_by_level_behind_their_parents() -> None:
    features = drawn(3, 2, 5, 6)
    forest = minimum_spanning_forest(features, everywhere(features))
    parents = parents_of(forest)
    levels = [len(chain(int(pixel), parents)) - 1 for pixel in forest.order]
    assert levels == sorted(levels)
    begins = [levels.index(level) for level in range(max(levels) + 1)]
    assert [*forest.levels] == [*begins, 3 * 5 * 6]
    assert forest.levels[1] == 3
    for node, children in enumerate(forest.children.tolist()):
        wanted = [n for n in range(len(parents)) if forest.parent[n] == node and n >= 3]
        assert [child for child in children if child < len(parents)] == wanted


def test_the_root_is_in_the_middle_of_the_longest_path() -> None:
    """A picture of one row is a path: from its middle half as many levels are seen."""
    features = drawn(1, 1, 1, 9)
    assert len(minimum_spanning_forest(features, everywhere(features)).levels) - 1 == 5


@pytest.mark.parametrize("size", [(5, 6), (1, 7), (1, 1)])
def test_sums_are_those_of_a_loop_over_all_paths(size: tuple[int, int]) -> None:
    features = drawn(2, 3, *size)
    forest = minimum_spanning_forest(features, everywhere(features))
    values, factors = drawn(2, 4, *size, seed=1), drawn(2, *size, seed=2)
    found = tree_sums(values, factors, forest)
    torch.testing.assert_close(found, by_paths(values, factors, forest), rtol=1e-12, atol=1e-12)


def test_gradients_of_values_and_factors_are_those_of_finite_differences() -> None:
    features = drawn(2, 3, 3, 4)
    forest = minimum_spanning_forest(features, everywhere(features))
    values = drawn(2, 2, 3, 4, seed=1).requires_grad_()
    factors = drawn(2, 3, 4, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, w: tree_sums(v, w, forest), (values, factors))
    assert torch.autograd.gradcheck(lambda v: tree_sums(v, factors.detach(), forest), (values,))


def test_gradients_of_features_pass_through_their_edges() -> None:
    features = drawn(2, 3, 3, 4).requires_grad_()
    forest = minimum_spanning_forest(features, everywhere(features))
    assert torch.autograd.gradcheck(lambda f: edge_differences(f, forest), (features,))
    differences, parents = edge_differences(features, forest).flatten(), parents_of(forest)
    rows = features.detach().movedim(1, -1).reshape(-1, 3)
    for pixel, above in enumerate(parents):
        wanted = (rows[pixel] - rows[above]).square().sum()
        torch.testing.assert_close(differences[pixel].detach(), wanted)


def test_no_path_between_valid_pixels_leads_through_padding() -> None:
    features = drawn(2, 3, 6, 6)
    valid = everywhere(features)
    valid[0, :, 4:] = False
    valid[1, :2] = False
    features = features.masked_fill(~valid[:, None], 0.0)  # padding is even, a short way round
    forest = minimum_spanning_forest(features, valid)
    inner = features[0:1, :, :, :4], features[1:2, :, 2:]
    for number, part in enumerate(inner):
        alone = minimum_spanning_forest(part, everywhere(part))
        width, top = part.shape[-1], 2 * number

        def at(pixel: int, number: int = number, top: int = top, width: int = width) -> int:
            return number * 36 + (pixel // width + top) * 6 + pixel % width

        wanted = {(at(i), at(j)) for i, j in edges_of(alone)}
        assert wanted <= edges_of(forest)
    inside = with_parents(valid, forest).flatten()
    parents, flat = parents_of(forest), valid.flatten()
    for pixel, above in enumerate(parents):
        assert inside[pixel] == bool(flat[pixel] and flat[above])


def test_trees_do_not_depend_on_their_batch_or_the_precision() -> None:
    features = (255 * drawn(3, 3, 9, 8)).floor()
    whole = edges_of(minimum_spanning_forest(features.float(), everywhere(features)))
    parts = set()
    for number in range(3):
        one = features[number : number + 1]
        edges = edges_of(minimum_spanning_forest(one, everywhere(one)))
        parts |= {(i + 72 * number, j + 72 * number) for i, j in edges}
    assert whole == parts
