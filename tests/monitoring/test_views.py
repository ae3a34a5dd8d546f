"""What a person sees while a run goes on, on a terminal and in a pipe."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from semisup.catalog import METHODS
from semisup.monitoring.clock import Clock
from semisup.monitoring.live import LiveView
from semisup.monitoring.plain import PlainView
from semisup.monitoring.view import Record
from semisup.monitoring.words import shorter, small_curve, time_left

SIZES = [(80, 24), (120, 40)]

LOGGED = {
    "loss_segmentation": 0.123456,
    "loss_adversarial": 0.652,
    "loss_adversarial_unlabelled": 0.6523,
    "loss_self_taught": 0.01,
    "self_taught_share": 0.412,
    "loss_discriminator": 0.6,
    "loss_gradient_penalty": 0.0,
    "d_real": 0.56,
    "d_fake": 0.44,
    "d_accuracy": 0.61,
    "d_hard": 0.5,
}
"""What `adversarial` logs."""

OF_OPTIMISERS = {
    f"{name}/{player}": 1e-3
    for name in ("lr", "gradient_norm", "update_ratio", "weight_growth")
    for player in ("segmenter", "discriminator")
}


def record(step: int = 50, steps: int = 700, **changes: Any) -> Record:
    story = METHODS["adversarial"].story
    health = "healthy: discriminator right at 61%"
    return Record(step, steps, {**LOGGED, **OF_OPTIMISERS, **changes}, 81.26, 75.2, story, health)


def plain() -> tuple[PlainView, io.StringIO]:
    file = io.StringIO()
    return PlainView(Console(file=file, width=20)), file


# Plain lines


def test_a_plain_view_writes_one_line_an_event() -> None:
    view, file = plain()
    view.opened("base", Path("runs/base/1-s0"))
    view.opened("[tiny]", Path("runs/tiny/0-s0"))
    view.phase("training")
    view.stepped(2, 200)
    view.paced(2, 200, 0.2134)
    view.logged(Record(50, 200, {"loss_segmentation": 0.123456, "lr/[x]": 1e-4}, 81.26, 3675.0))
    view.scored({"val/miou": 0.4321, "val_iou/cat": 0.5})
    view.logged(Record(60, 200, {"loss_[x]": 0.1}, 81.26, 75.0))
    view.note("[note]")
    view.warned("the [discriminator] has won")
    assert file.getvalue() == (
        "[tiny]: runs/tiny/0-s0\n"
        "training ...\n"
        "step   2/200  0.213 s a step  0:42 left\n"
        "step  50/200  81.3 images/s  1:01:15 left  loss 0.123\n"
        "mIoU 0.4321 on val\n"
        "step  60/200  81.3 images/s  1:15 left  mIoU 0.4321  loss_[x] 0.1\n"
        "[note]\n"
        "warning: the [discriminator] has won\n"
    )


def test_a_plain_line_is_never_longer_than_100_and_cuts_no_name() -> None:
    view, file = plain()
    view.logged(record(12_000, 20_000))
    view.scored({"test/miou": 0.4321})
    view.logged(record(12_000, 20_000))
    view.logged(Record(1, 2, {"loss_" + 99 * "x": 1.0, "loss_b": 2.0}, 8.0, 1.0))
    first, _, second, third = file.getvalue().splitlines()
    assert first.endswith(" left  loss 0.123  d_accuracy 0.61  self_taught_share 0.412")
    assert second.endswith("  mIoU 0.4321  loss 0.123  d_accuracy 0.61")
    assert third == "step 1/2  8.0 images/s  0:01 left  mIoU 0.4321  loss_b 2"
    assert all(len(line) <= 100 for line in (first, second, third))


@pytest.mark.parametrize("name", METHODS)
def test_a_plain_line_of_every_method_holds_two_of_its_story(name: str) -> None:
    story = METHODS[name].story
    assert 1 <= len(story) <= 3
    assert len(set(story)) == len(story)
    view, file = plain()
    view.scored({"test/miou": 0.4321})
    view.logged(Record(1200, 20_000, dict.fromkeys(story, 0.1234), 81.26, 75.2, story))
    line = file.getvalue().splitlines()[-1]
    shown = [told for told in story if f"  {shorter(told)} 0.123" in line]
    assert len(shown) >= min(2, len(story)), line
    assert len({shorter(told) for told in story}) == len(story)


def test_training_is_announced_once_a_run() -> None:
    view, file = plain()
    for phase in ("preparing", "training", "scoring", "training", "scoring"):
        view.phase(phase)
    view.opened("next", Path("runs/next"))
    view.phase("training")
    assert file.getvalue().count("training ...") == 2


def test_the_pace_is_not_said_after_a_log_point_said_more() -> None:
    view, file = plain()
    view.logged(record(1, 9))
    before = file.getvalue()
    view.paced(2, 9, 1.0)
    assert file.getvalue() == before


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0.0, "0:00 left"),
        (59.6, "1:00 left"),
        (3599.0, "59:59 left"),
        (3600.0, "1:00:00 left"),
        (100 * 3600.0, "4 d 4 h left"),
        (math.inf, "time left unknown"),
    ],
)
def test_time_left_is_short(seconds: float, says: str) -> None:
    assert time_left(seconds) == says


def test_the_clock_times_single_steps_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = Clock(0, 10, 4)
    now[0] += 30.0
    assert clock.step() == 30.0
    with clock.pause():
        now[0] += 5.0
    now[0] += 2.0
    assert clock.step() == 2.0


# Small curves


@pytest.mark.parametrize(
    ("values", "width", "curve"),
    [
        ([], 9, ""),
        ([1.0], 0, ""),
        ([3.0], 9, "▁"),
        ([2.0, 2.0], 9, "▁▁"),
        ([0.0, 1.0, 2.0, 6.0, 7.0], 9, "▁▂▃▇▇"),
        ([0.0, 0.0, 4.0, 4.0, 8.0, 8.0], 3, "▁▄▇"),
        ([0.0, math.nan, 8.0], 9, "▁ ▇"),
        ([math.inf, math.nan], 9, ""),
    ],
)
def test_a_small_curve_goes_from_the_lowest_to_the_highest(
    values: list[float], width: int, curve: str
) -> None:
    assert small_curve(values, width) == curve


# The live view


def screen(view: LiveView, width: int, height: int) -> list[str]:
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system=None, width=width, height=height
    )
    with console.capture() as capture:
        console.print(view._render())
    return capture.get().splitlines()


def watched(points: int = 5, scores: Mapping[str, float] = {}) -> LiveView:
    view = LiveView()
    view.opened(
        "scenes/gan_segmentation_weak_unet_1-8",
        Path("runs/scenes/gan_segmentation_weak_unet_1-8/5ccc6c38f1-s0"),
    )
    view.stepped(350, 700)
    for point in range(points):
        view.logged(record(50 * point, loss_segmentation=2.0 - 0.3 * point))
    for score in (0.2, 0.3, 0.4321):
        view.scored({"held_out/miou": score, **scores})
    return view


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nothing_of_a_live_view_is_cut(width: int, height: int) -> None:
    lines = screen(watched(), width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "…" not in text
    for name in LOGGED:
        assert any(line.split()[:1] == [name] for line in lines), name
    for part in (
        "5ccc6c38f1-s0",
        "350/700",
        "81.3 images/s",
        "1:15 left",
        "mIoU on held_out",
        "0.4321",
        "▁▄▇",
        "healthy: discriminator right at 61%",
        "semisup monitor",
    ):
        assert part in text, part
    assert "lr/" not in text


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_live_view_says_something_before_the_first_step_and_after_two(
    width: int, height: int
) -> None:
    view = LiveView()
    view.opened("quickstart", Path("runs/quickstart/0-s0"))
    assert "the first step takes longest" in "\n".join(screen(view, width, height))
    view.stepped(2, 150)
    view.paced(2, 150, 1.5)
    text = "\n".join(screen(view, width, height))
    assert "2/150" in text
    assert "1.5 s a step" in text
    assert "3:42 left" in text


def test_the_most_telling_rows_come_first_and_a_low_screen_shows_these() -> None:
    lines = screen(watched(), 80, 12)
    names = [line.split()[0] for line in lines[4:] if line.strip()]
    assert names[:3] == ["mIoU", "loss_segmentation", "d_accuracy"]
    assert len(lines) <= 12


def test_a_live_view_forgets_the_run_before() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, highlight=False, width=100)
    view = LiveView()
    with view.over(console):
        view.opened("baseline", Path("runs/baseline/1-s0"))
        view.phase("training")
        view.logged(Record(200, 200, {"loss_of_another": 9.0}, 1.0, 0.0))
        view.scored({"val/of_another": 0.4321})
        view.opened("tiny", Path("runs/tiny/0-s0"))
        view.phase("preparing")
        view.note("weights: 12 of [12] loaded")
        view.warned("'[player]' stands still")
        view.phase("training")
        shown = "\n".join(screen(view, 100, 30))
    assert "0-s0" in shown
    assert "baseline" not in shown
    assert "of_another" not in shown
    assert "weights: 12 of [12] loaded" in file.getvalue()
    assert "warning: '[player]' stands still" in file.getvalue()


def test_names_in_a_live_view_are_no_markup() -> None:
    name = "[red]car[/blue]"
    view = LiveView()
    view.opened(name, Path(name))
    view.logged(Record(1, 2, {name: 0.5, "loss": 1.0}, 1.0, 1.0, (name,), name))
    view.scored({name: 0.5})
    assert "\n".join(screen(view, 100, 30)).count(name) == 5


def test_a_terminal_without_such_letters_gets_no_curves() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, force_terminal=True, width=80, height=24)
    console.print(watched()._render())  # and no UnicodeEncodeError
    file.flush()
