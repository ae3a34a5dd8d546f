"""Calibration of probabilities: worked examples, and counts of batches that are added up."""

from __future__ import annotations

import math

import pytest
import torch

from semisup.metrics.calibration import BINS, calibration_counts, calibration_error


@pytest.mark.parametrize(
    ("confidence", "right", "expected"),
    [
        ([1.0, 1.0, 1.0], [1, 1, 1], 0.0),
        ([1.0, 1.0, 1.0, 1.0], [1, 0, 0, 1], 0.5),
        ([0.5, 0.5], [1, 0], 0.0),
        # Bins of 0.97 and 0.99, half right, and of 0.41, right: (2 |.5 - .98| + .59) / 3.
        ([0.97, 0.99, 0.41], [1, 0, 1], (0.96 + 0.59) / 3),
        ([0.0, 0.0], [0, 0], 0.0),
        # Too sure and too unsure do not cancel between bins, and do within one.
        ([0.9, 0.1], [0, 1], 0.9),
        ([0.91, 0.89], [0, 1], 0.4),
    ],
)
def test_worked_examples(confidence: list[float], right: list[int], expected: float) -> None:
    counts = calibration_counts(torch.tensor(confidence), torch.tensor(right) == 1)
    assert calibration_error(counts) == pytest.approx(expected, abs=1e-6)


def test_counts_of_batches_are_added_up() -> None:
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(200, generator=generator)
    right = torch.rand(200, generator=generator) < confidence
    whole = calibration_counts(confidence, right)
    parts = [calibration_counts(confidence[i::3], right[i::3]) for i in range(3)]
    assert whole.shape == (3, BINS)
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), whole)
    assert whole[0].sum() == 200
    order = torch.randperm(200, generator=generator)
    assert calibration_error(calibration_counts(confidence[order], right[order])) == pytest.approx(
        calibration_error(whole)
    )


def test_probabilities_that_are_true_have_next_to_no_error() -> None:
    generator = torch.Generator().manual_seed(1)
    confidence = torch.rand(100_000, generator=generator)
    right = torch.rand(100_000, generator=generator) < confidence
    assert calibration_error(calibration_counts(confidence, right)) < 0.01
    # Sharpened, they are too sure where they are above a half and not sure enough below it.
    sharp = torch.sigmoid(3 * torch.logit(confidence))
    assert calibration_error(calibration_counts(sharp, right)) > 0.1


def test_without_predictions_there_is_no_error_to_state() -> None:
    counts = calibration_counts(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    assert math.isnan(calibration_error(counts))
