"""docs/curves.py: the curves of pseudo-labels are those of the kept runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.finished import finished_run

from semisup.errors import RunError
from semisup.studies.curves import QUALITY, courses_of, draw_quality, main, mean_line
from semisup.studies.kept import Run, read_runs, write_kept

STEPS = (50, 100, 150)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Two arms of three seeds; one teaches nothing, and one has a seed without labels at first."""
    runs = []
    for arm, level in (("plain", 0.0), ("fixmatch", 0.1), ("cps", 0.3)):
        for seed in range(3):
            scalars: list[dict[str, Any]] = [{"step": 50, "loss_segmentation": 1.0}]
            for step in STEPS if level else ():
                point = {"step": step, "checkup": True, "trusted_share": level + step / 1000 + seed}
                if step > 50 or seed:
                    point |= {"self_taught_accuracy": level + seed / 10, "self_taught_ece": level}
                scalars.append(point)
            folder = finished_run(tmp_path / arm / str(seed), arm, seed, scalars=scalars)
            runs += [run.named(arm) for run in read_runs([folder])]
    write_kept(tmp_path / "kept.jsonl", runs)
    return tmp_path / "kept.jsonl"


def test_courses_have_the_values_of_all_seeds(kept: Path) -> None:
    courses = courses_of(read_runs([kept]))
    assert list(courses) == ["cps", "fixmatch"]
    assert courses["cps"]["trusted_share"] == {
        50: [0.35, 1.35, 2.35],
        100: [0.4, 1.4, 2.4],
        150: [0.45, 1.45, 2.45],
    }
    assert courses["fixmatch"]["self_taught_accuracy"][50] == [0.2, 0.3]
    steps, means = mean_line(courses["fixmatch"]["self_taught_accuracy"])
    assert steps == [50, 100, 150]
    assert means == pytest.approx([0.25, 0.2, 0.2])


def test_a_panel_has_the_mean_the_band_and_the_other_arms(kept: Path) -> None:
    figure = draw_quality(courses_of(read_runs([kept])))
    panels = figure.axes
    assert len(panels) == 2 * len(QUALITY)
    first = panels[0]
    assert first.get_title(loc="left") == "cps"
    other, own = first.get_lines()
    assert own.get_ydata() == pytest.approx([1.35, 1.4, 1.45])
    assert other.get_ydata() == pytest.approx([1.15, 1.2, 1.25])
    [band] = first.collections
    lowest, highest = band.get_datalim(first.transData).intervaly
    assert (lowest, highest) == pytest.approx((0.35, 2.45))


def test_the_picture_is_as_wide_as_a_phone_at_twice_its_pixels(kept: Path, tmp_path: Path) -> None:
    main(str(tmp_path / "curves.png"), [str(kept)])
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width == 2 * 390


def test_runs_without_pseudo_labels_are_refused(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run")
    with pytest.raises(RunError, match="no run has curves of pseudo-labels"):
        courses_of(read_runs([folder]))
    with pytest.raises(SystemExit, match=re.escape(f"{tmp_path / 'none.jsonl'}: cannot be read")):
        main(str(tmp_path / "curves.png"), [str(tmp_path / "none.jsonl")])


def test_arms_without_a_name_have_that_of_their_recipe() -> None:
    content = {"arm": "", "recipe": "r", "curves": {"self_taught_ece": [[1, 0.5]]}}
    assert list(courses_of([Run("here", content)])) == ["r"]


@pytest.mark.parametrize("number", range(len(QUALITY)))
def test_colours_differ_in_grey_too(number: int) -> None:
    """From the white page and from the grey of the other arms."""
    colour = QUALITY[number][2]
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    assert 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
