"""Figures of a comparison, and the log of a run as arrays."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.finished import finished_run

from semisup.errors import RunError
from semisup.studies.comparison import Comparison, compare
from semisup.studies.history import read_history
from semisup.studies.kept import read_runs
from semisup.studies.output.charts import courses_of, draw, figure_of

STEPS = (10, 20, 30)


def log(level: float, seed: int, scalar: str) -> list[dict[str, Any]]:
    """A log with a score at every checkup, and the reported one at the end."""
    lines: list[dict[str, Any]] = [{"step": 10, "loss_segmentation": 1.5}]
    lines += [{"step": n, "checkup": True, scalar: level + n / 1000 + seed / 100} for n in STEPS]
    return [*lines, {"step": 30, "final": True, "score/miou": level + 0.5}]


def comparison_of(tmp_path: Path, scalar: str = "held_out/miou") -> Comparison:
    runs = []
    for name, level in (("plain", 0.2), ("better_$x", 0.4)):
        for seed in range(3):
            place = tmp_path / name / str(seed)
            finished_run(place, name, seed, level + seed / 10, scalars=log(level, seed, scalar))
            runs += [run.named(name) for run in read_runs([place])]
    return compare(runs)


@pytest.mark.parametrize("scalar", ["held_out/miou", "val/miou", "score/miou"])
def test_a_course_has_the_scores_of_all_seeds(tmp_path: Path, scalar: str) -> None:
    name, courses = courses_of(comparison_of(tmp_path, scalar))
    assert name == scalar
    assert list(courses) == ["plain", "better_$x"]
    assert courses["plain"][20] == pytest.approx([0.22, 0.23, 0.24])
    last = [0.23, 0.24, 0.25] if scalar != "score/miou" else [0.7] * 3
    assert courses["plain"][30] == pytest.approx(last)


def test_lines_are_means_and_bands_go_from_the_lowest_to_the_highest(tmp_path: Path) -> None:
    left, right = figure_of(comparison_of(tmp_path)).axes
    assert left.get_lines()[0].get_ydata() == pytest.approx([0.22, 0.23, 0.24])
    band = left.collections[0].get_datalim(left.transData).intervaly
    assert tuple(band) == pytest.approx((0.21, 0.25))
    assert "held-out" in left.get_ylabel()
    dots, bar, mean = right.get_lines()[:3]
    assert dots.get_xdata() == pytest.approx([0.2, 0.3, 0.4])
    assert bar.get_xdata() == pytest.approx((0.3 - 0.2484, 0.3 + 0.2484), abs=1e-3)
    assert mean.get_xdata() == pytest.approx([0.3])
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["plain", r"better_\$x"]


def test_without_scores_on_the_way_there_are_the_scores_alone(tmp_path: Path) -> None:
    finished_run(tmp_path / "run")
    assert len(figure_of(compare(read_runs([tmp_path]))).axes) == 1


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_a_figure_is_written_the_same_each_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"scores.{kind}"
    comparison = comparison_of(tmp_path / "runs")
    draw(comparison, path)
    first = path.read_bytes()
    if kind == "png":
        with Image.open(path) as picture:
            assert picture.width == 1800
    if kind != "svg":  # whose ids are random
        draw(comparison, path)
        assert path.read_bytes() == first


def test_a_history_has_every_scalar_and_nan_for_what_was_not_finite(tmp_path: Path) -> None:
    lines = [*log(0.1, 0, "score/miou"), {"step": 40, "loss_segmentation": None}]
    history = read_history(finished_run(tmp_path / "run", scalars=lines))
    assert list(history) == ["loss_segmentation", "score/miou"]
    loss = history["loss_segmentation"]
    assert loss.steps.tolist() == [10, 40]
    np.testing.assert_array_equal(loss.values, [1.5, np.nan])
    final = pytest.approx([0.11, 0.12, 0.6])  # the last one counts once
    assert history["score/miou"].values == final


def test_a_run_without_a_log_has_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path) == {}


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "scalars.jsonl").write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo')
    assert read_history(tmp_path)["loss"].steps.tolist() == [1]


@pytest.mark.parametrize("line", ["{", "[]", '{"loss": 1}', '{"step": 1, "loss": "x"}', "\0"])
def test_a_damaged_log_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "scalars.jsonl"
    path.write_text(f"{json.dumps({'step': 1})}\n{line}\n")
    with pytest.raises(RunError, match=re.escape(f"{path}, line 2: ")):
        read_history(tmp_path)
