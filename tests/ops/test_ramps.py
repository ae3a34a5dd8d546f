"""Ramps: their ends, and values between."""

from __future__ import annotations

import math

import pytest

from semisup.ops.ramps import gaussian_ramp, ramp


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, math.exp(-5)), (0.1, math.exp(-1.25)), (0.2, 1.0), (0.9, 1.0)]
)
def test_a_gaussian_ramp(fraction: float, expected: float) -> None:
    assert gaussian_ramp(fraction, 0.2) == pytest.approx(expected)
    assert gaussian_ramp(fraction, 0.0) == 1.0


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 0.0), (0.1, 0.0), (0.35, 0.5), (0.6, 1.0), (0.9, 1.0)]
)
def test_a_straight_ramp(fraction: float, expected: float) -> None:
    assert ramp(fraction, 0.1) == pytest.approx(expected)
