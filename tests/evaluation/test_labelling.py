"""Pseudo-masks of probabilities: closed forms of the rule."""

from __future__ import annotations

import pytest
import torch

from semisup.evaluation.labelling.rule import pseudo_mask
from semisup.types import IGNORE

PROBABILITIES = torch.tensor(
    [[0.50, 0.10, 0.34, 0.00], [0.30, 0.80, 0.33, 0.00], [0.20, 0.10, 0.33, 1.00]]
)[:, None]
"""Of three classes at four pixels of a row."""


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (0.0, [0, 1, 0, 2]),
        (0.5, [0, 1, IGNORE, 2]),  # a probability of the threshold itself is taught
        (0.81, [IGNORE, IGNORE, IGNORE, 2]),
        (1.0, [IGNORE, IGNORE, IGNORE, 2]),
    ],
)
def test_a_pixel_is_void_below_the_threshold(threshold: float, labels: list[int]) -> None:
    made = pseudo_mask(PROBABILITIES, threshold)
    assert made.labels.tolist() == [labels]
    assert made.confidence.tolist() == [[128, 204, 87, 255]], "of the probability, void or not"
    assert {made.labels.dtype, made.confidence.dtype} == {torch.uint8}


def test_tags_exclude_all_other_classes_and_share_out_their_probability() -> None:
    made = pseudo_mask(PROBABILITIES, 0.6, tags={1})
    # 0.5 / 0.8 = 0.625; 0.8 / 0.9; 0.34 / 0.67 = 0.507; of the last nothing is left
    assert made.labels.tolist() == [[0, 1, IGNORE, IGNORE]]
    assert made.confidence.tolist() == [[159, 227, 129, 0]]
    of_nothing = pseudo_mask(PROBABILITIES, 0.0, tags=())
    assert of_nothing.labels.tolist() == [[0, 0, 0, IGNORE]], "background is in every image"
    assert of_nothing.confidence.tolist() == [[255, 255, 255, 0]]


def test_numbers_that_are_not_finite_teach_nothing() -> None:
    made = pseudo_mask(torch.full((3, 1, 2), float("nan")), 0.0)
    assert made.labels.unique().tolist() == [IGNORE]
    assert made.confidence.unique().tolist() == [0]
