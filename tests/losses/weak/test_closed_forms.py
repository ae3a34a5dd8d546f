"""Terms of weak labels on images so small that their values can be written down."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from semisup.losses.weak.dense_crf import dense_crf
from semisup.losses.weak.gated_crf import gated_crf
from semisup.losses.weak.normalised_cut import normalised_cut
from semisup.losses.weak.presence import objectness_loss, presence_loss
from semisup.losses.weak.tree_energy import tree_energy, tree_means


def of_shares(rows: list[list[float]]) -> Tensor:
    """Logits of one image of one row, whose pixels have these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).T[None, :, None].log()


def line(*levels: float) -> Tensor:
    """A grey picture of one row."""
    return torch.tensor(levels, dtype=torch.float64).expand(1, 3, 1, len(levels))


def known(*pixels: bool) -> Tensor:
    return torch.tensor(pixels)[None, None]


TWO = of_shares([[0.9, 0.1], [0.2, 0.8]])
DIFFER = 1 - (0.9 * 0.2 + 0.1 * 0.8)
"""1 - <S_1, S_2>."""


def test_gated_crf_of_two_pixels() -> None:
    kernel = math.exp(-1 / (2 * 6**2) - 3 * 4**2 / (2 * 5.75**2))
    loss = gated_crf(TWO, line(10, 14), known(True, True))
    assert loss.item() == pytest.approx(kernel * DIFFER)  # two ordered pairs, of two pixels
    assert gated_crf(TWO, line(10, 14), known(True, False)) == 0
    near = gated_crf(TWO, line(10, 10), known(True, True), radius=1, position_sigma=0.5)
    assert near.item() == pytest.approx(math.exp(-2) * DIFFER)


def test_gated_crf_is_the_sum_over_a_window() -> None:
    drawn = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 4, 5, generator=drawn, dtype=torch.float64)
    image = 9 * torch.randn(2, 3, 4, 5, generator=drawn, dtype=torch.float64)
    valid = torch.rand(2, 4, 5, generator=drawn) > 0.3
    shares, places = logits.softmax(1), list(product(range(4), range(5)))
    total = 0.0
    for number, (y, x), (v, u) in product(range(2), places, places):
        near = abs(y - v) <= 2 and abs(x - u) <= 2 and (y, x) != (v, u)
        if near and valid[number, y, x] and valid[number, v, u]:
            colours = (image[number, :, y, x] - image[number, :, v, u]).square().sum() / 5.75**2
            kernel = (-(colours + ((y - v) ** 2 + (x - u) ** 2) / 6**2) / 2).exp()
            agree = (shares[number, :, y, x] * shares[number, :, v, u]).sum()
            total += float(kernel * (1 - agree))
    loss = gated_crf(logits, image, valid, radius=2)
    assert loss.item() == pytest.approx(total / int(valid.sum()))


def test_dense_crf_and_the_cut_of_two_pixels() -> None:
    kernel = math.exp(-1 / (2 * 100**2) - 3 * 12**2 / (2 * 15**2))
    both = known(True, True)
    own = [0.9**2 + 0.1**2, 0.2**2 + 0.8**2]
    total = 2 + 2 * kernel
    share = (1 - own[0] + 1 - own[1] + 2 * kernel * DIFFER) / total
    assert dense_crf(TWO, line(10, 22), both).item() == pytest.approx(share)
    cut = 0.0
    for one, other in ((0.9, 0.2), (0.1, 0.8)):
        held = (1 + kernel) * (one + other)
        cut += 1 - (one**2 + other**2 + 2 * kernel * one * other) / held
    assert normalised_cut(TWO, line(10, 22), both).item() == pytest.approx(cut)


@pytest.mark.parametrize("classes", [2, 4])
def test_shares_have_their_ranges(classes: int) -> None:
    valid = known(*[True] * 6)
    image = line(0, 0, 0, 255, 255, 255)
    equal = torch.zeros(1, classes, 1, 6, dtype=torch.float64)
    assert dense_crf(equal, image, valid).item() == pytest.approx(1 - 1 / classes)
    assert normalised_cut(equal, image, valid).item() == pytest.approx(classes - 1)
    one = equal.clone()
    one[:, 0] = 60.0
    assert dense_crf(one, image, valid).item() == pytest.approx(0, abs=1e-9)
    assert gated_crf(one, image, valid).item() == pytest.approx(0, abs=1e-9)


def test_tree_energy_of_two_pixels() -> None:
    factor = math.exp(-3 * 4**2 / (2 * 5.75**2))
    first = (0.9 + factor * 0.2) / (1 + factor)
    second = (0.2 + factor * 0.9) / (1 + factor)
    both = known(True, True)
    means = tree_means(TWO.softmax(1), line(10, 14), both, 5.75)
    torch.testing.assert_close(means[0, 0, 0], torch.tensor([first, second], dtype=torch.float64))
    loss = tree_energy(TWO, line(10, 14), both, known(True, False))
    assert loss.item() == pytest.approx(2 * (0.9 - first))
    loss = tree_energy(TWO, line(10, 14), both, both)
    assert loss.item() == pytest.approx(0.9 - first + second - 0.2)


def test_a_second_filter_is_of_what_the_first_one_gave() -> None:
    both = known(True, True)
    features = torch.tensor([[[[0.0, 0.5]]]], dtype=torch.float64)
    factor = math.exp(-(0.5**2))
    first = tree_means(TWO.softmax(1), line(10, 14), both, 5.75)[0, 0, 0]
    wanted = (first[0] + factor * first[1]) / (1 + factor)
    loss = tree_energy(TWO, line(10, 14), both, known(True, False), features=features)
    assert loss.item() == pytest.approx(2 * (0.9 - float(wanted)))


def test_presence_and_absence_look_at_the_most_probable_pixel() -> None:
    logits = of_shares([[0.7, 0.2, 0.1], [0.3, 0.1, 0.6], [0.01, 0.98, 0.01]])
    tags = torch.tensor([[True, False, True]])
    presence, absence = presence_loss(logits, tags, known(True, True, True))
    assert presence.item() == pytest.approx(-(math.log(0.7) + math.log(0.6)) / 2)
    assert absence.item() == pytest.approx(-math.log(1 - 0.98))
    presence, absence = presence_loss(logits, tags, known(True, True, False))
    assert absence.item() == pytest.approx(-math.log(1 - 0.2))
    everything = torch.ones(1, 3, dtype=torch.bool)
    assert presence_loss(logits, everything, known(True, True, True))[1] == 0
    assert presence_loss(logits, ~everything, known(True, True, True))[0] == 0


def test_each_image_counts_the_same_to_its_tags() -> None:
    one = of_shares([[0.7, 0.2, 0.1]])
    other = of_shares([[0.5, 0.3, 0.2]])
    tags = torch.tensor([[True, False, False], [True, True, True]])
    valid = torch.ones(2, 1, 1, dtype=torch.bool)
    presence, absence = presence_loss(torch.cat([one, other]), tags, valid)
    second = -(math.log(0.5) + math.log(0.3) + math.log(0.2)) / 3
    assert presence.item() == pytest.approx((-math.log(0.7) + second) / 2)
    assert absence.item() == pytest.approx(-(math.log(0.8) + math.log(0.9)) / 2)


def test_an_image_whose_tags_nobody_knows_takes_no_part() -> None:
    logits = of_shares([[0.7, 0.2, 0.1]])
    tags = torch.tensor([[True, False, False], [False, False, False]])
    valid = torch.ones(2, 1, 1, dtype=torch.bool)
    both = torch.cat([logits, of_shares([[0.1, 0.1, 0.8]])]).requires_grad_()
    found = presence_loss(both, tags, valid)
    alone = presence_loss(logits, tags[:1], valid[:1])
    assert [one.item() for one in found] == pytest.approx([one.item() for one in alone])
    (slope,) = torch.autograd.grad(sum(found), both)
    assert slope[1].abs().sum() == 0
    presence, absence = presence_loss(both, torch.zeros_like(tags), valid)
    assert presence.item() == absence.item() == 0


def test_objectness_is_a_cross_entropy_of_background_with_a_prior() -> None:
    logits = of_shares([[0.7, 0.2, 0.1], [0.3, 0.1, 0.6]])
    prior = torch.tensor([[[0.25, 0.9]]], dtype=torch.float64)
    wanted = -(0.25 * math.log(0.7) + 0.75 * math.log(0.3))
    assert objectness_loss(logits, prior, known(True, False)).item() == pytest.approx(wanted)
