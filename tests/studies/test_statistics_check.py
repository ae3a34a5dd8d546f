"""How often intervals and tests are right, on studies whose true score is known.

The quick tests take a few hundred studies, the slow ones the 10,000 of docs/statistics.md.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "statistics_check.py"


@pytest.fixture(scope="module")
def check() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def within(share: float, expected: float, margin: float, studies: int) -> bool:
    """Whether a share is as near as it should be, with four standard errors of the simulation."""
    error: float = (expected * (1 - expected) / studies) ** 0.5
    return abs(share - expected) <= margin + 4 * error


SIZES = [400, pytest.param(10_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("studies", SIZES)
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_over_seeds_cover(check: dict[str, Any], seeds: int, studies: int) -> None:
    assert within(check["over_seeds_covers"]("normal", seeds, studies), 0.95, 0.002, studies)


@pytest.mark.parametrize("studies", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_over_seeds_and_images_cover(
    check: dict[str, Any], seeds: int, studies: int
) -> None:
    found = check["over_both_covers"](check["Population"](0.3), seeds, 2, studies)
    assert within(found["over both"], 0.95, 0.015, studies)
    assert found["images alone"] < 0.93
    assert found["percentiles of both"] < found["the same, widened"]


@pytest.mark.parametrize("studies", SIZES)
@pytest.mark.parametrize("law", ["normal", "heavy tails (t, 3 degrees)", "skewed (exponential)"])
def test_the_paired_test_finds_nothing_where_nothing_is(
    check: dict[str, Any], law: str, studies: int
) -> None:
    share = check["false_positives"](law, 10, studies)["sign-flip"]
    assert within(share, check["attainable"](10), 0.002, studies)


def test_what_few_pairs_attain(check: dict[str, Any]) -> None:
    assert check["attainable"](5) == 0.0
    assert check["attainable"](6) == 0.03125
    assert check["attainable"](8) == pytest.approx(6 / 128)
    assert check["false_positives"]("normal", 5, 200)["sign-flip"] == 0.0


@pytest.mark.parametrize("studies", SIZES)
@pytest.mark.parametrize("better", [0, 3])
def test_holm_keeps_the_rate_of_a_family(check: dict[str, Any], better: int, studies: int) -> None:
    found = check["family_wise"](10, 7, better, studies)
    assert found["Holm"] <= 0.05 + 4 * (0.05 * 0.95 / studies) ** 0.5
    assert found["uncorrected"] > 0.1


@pytest.mark.parametrize("studies", SIZES)
def test_intervals_of_a_superiority_cover(check: dict[str, Any], studies: int) -> None:
    for paired, over in ((True, 0.05), (False, 0.02)):
        truth, share = check["superiority_covers"](1.0, 10, paired=paired, studies=studies)
        assert truth == pytest.approx(0.7602, abs=1e-4)
        assert 0.93 - 4 * (0.05 * 0.95 / studies) ** 0.5 < share <= min(1.0, 0.95 + over + 0.04)


@pytest.mark.parametrize("studies", SIZES)
def test_detectable_differences_are_found_in_four_of_five_studies(
    check: dict[str, Any], studies: int
) -> None:
    found = check["power"](10, studies)
    assert within(found["t"], 0.8, 0.002, studies)
    assert within(found["sign-flip"], 0.78, 0.03, studies)


@pytest.mark.parametrize("studies", SIZES)
def test_parts_of_the_variance_are_right_on_average(check: dict[str, Any], studies: int) -> None:
    for nested, rest in ((False, 2.0), (True, 0.0)):
        found = check["variance_found"](10, 10, nested=nested, studies=studies)
        noise = 4 * 4 * (2 / 9 / studies) ** 0.5
        assert found["split"] == pytest.approx(4.0, abs=0.05 + noise)
        assert found["seed"] == pytest.approx(1.0, abs=0.05 + noise)
        assert found["rest"] == pytest.approx(rest, abs=0.05 + noise)


def test_a_page_gets_the_tables_that_it_marks(
    check: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- checked: power -->\nold\n<!-- end -->\nb\n")
    words = ["statistics_check.py", "--studies", "20", "--page", str(page)]
    monkeypatch.setattr("sys.argv", words)
    check["main"]()
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("a\n<!-- checked: power -->\n| pairs |")
    assert text.endswith("<!-- end -->\nb\n")
