"""Warnings: planted courses of scalars, each told in time and once, and healthy ones in silence."""

from __future__ import annotations

import itertools
import json
import math
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from semisup.errors import Interrupted
from semisup.monitoring.health.health import GRACE, Health
from semisup.monitoring.view import Silent
from semisup.settings import OptimSettings, TrainSettings
from semisup.training import loop
from semisup.training.loop import train
from semisup.training.state import TrainingState
from semisup.types import Progress

Build = Callable[..., TrainingState]
Values = Mapping[str, float]

USUAL = TrainSettings(steps=1).log_every
STEPS = 20_000

HEALTHY = {
    "loss_segmentation": 0.6,
    "loss_generator": 0.9,
    "loss_discriminator": 0.6,
    "d_real": 0.7,
    "d_fake": 0.35,
    "d_accuracy": 0.75,
    "sample_diversity": 0.8,
    "self_taught_share": 0.4,
    "self_taught_accuracy": 0.9,
    "labelled_accuracy": 0.85,
    "lr/segmenter": 1e-3,
    "lr/generator": 2e-4,
    "gradient_norm/segmenter": 0.8,
    "gradient_norm/generator": 0.4,
    "update_ratio/segmenter": 1e-3,
    "update_ratio/generator": 2e-3,
    "weight_growth/segmenter": 1.02,
    "weight_growth/generator": 1.1,
}

FAILURES: dict[str, tuple[Values, str]] = {
    "won": ({"d_accuracy": 0.985, "d_real": 0.99, "d_fake": 0.03}, "discriminator has won"),
    "blind": ({"d_accuracy": 0.51, "d_real": 0.512, "d_fake": 0.508}, "discriminator is blind"),
    "swapped": ({"d_accuracy": 0.2, "d_real": 0.3, "d_fake": 0.7}, "made input for real"),
    "partly swapped": ({"d_accuracy": 0.5, "d_real": 0.45, "d_fake": 0.55}, "made input for real"),
    "all real": ({"d_accuracy": 0.5, "d_real": 0.99, "d_fake": 0.985}, "one answer"),
    "all made": ({"d_accuracy": 0.5, "d_real": 0.015, "d_fake": 0.01}, "one answer"),
    "nearly all real": ({"d_accuracy": 0.5, "d_real": 0.955, "d_fake": 0.99}, "one answer"),
    "collapsed": ({"sample_diversity": 0.05}, "have collapsed"),
    "all the same": ({"sample_diversity": 0.0}, "have collapsed"),
    "no gradient": ({"gradient_norm/generator": 0.0}, "'generator' stands still"),
    "no change": ({"update_ratio/segmenter": 1e-12}, "'segmenter' stands still"),
    "fp16 skips": (
        {"update_ratio/segmenter": 0.0, "gradient_norm/segmenter": math.inf},
        "'segmenter' stands still",
    ),
    "large steps": ({"update_ratio/generator": 0.15}, "'generator' runs away"),
    "large weights": ({"weight_growth/generator": 60.0}, "'generator' runs away"),
    "risen": ({"loss_generator": 90.0}, "loss_generator has run away"),
    "wrong": ({"self_taught_accuracy": 0.6}, "more often wrong"),
}


def courses(
    before: Values, after: Values, onset: int, *, every: int = USUAL, until: int = 0
) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, means of the window) of a run whose scalars change with step `onset`.

    What is measured at the log point alone, and not averaged, has changed at once.
    """
    for step in range(every, (until or onset + 1500) + 1, every):
        share = min(1.0, max(0.0, (step - onset) / every))
        yield (
            step,
            {
                name: _of_window(name, value, after.get(name, value), share)
                for name, value in before.items()
            },
        )


def _of_window(name: str, value: float, changed: float, share: float) -> float:
    if "/" in name or share in (0.0, 1.0):
        return changed if share > 0 else value
    return (1 - share) * value + share * changed


def tell(health: Health, course: Iterator[tuple[int, Values]]) -> list[tuple[int, str]]:
    return [(step, text) for step, values in course for text in health.look(step, STEPS, values)]


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("onset", [400, 1000, 1001, 1024, 1049, 12_001])
def test_a_failure_is_told_once_and_within_200_steps(name: str, onset: int) -> None:
    values, expected = FAILURES[name]
    told = tell(Health(), courses(HEALTHY, HEALTHY | values, onset))
    assert [text for _, text in told if expected not in text] == []
    assert len(told) == 1
    step, text = told[0]
    assert onset + 100 <= step < onset + 200
    told_since = int(text.split("since step ")[1].split()[0])
    assert onset - USUAL < told_since <= onset + USUAL
    assert all(f"{key} {value:.3g}" in text for key, value in values.items())
    assert text.endswith(".")
    assert text.count(". ") >= 1  # a remedy


GRADUAL = ("blind", "all real", "nearly all real", "all made", "collapsed")
AT_ONCE = [name for name in FAILURES if name not in (*GRADUAL, "risen")]


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_is_wrong_from_the_first_step_is_told_within_200_steps(name: str) -> None:
    values, expected = FAILURES[name]
    [(step, text)] = tell(Health(), courses(HEALTHY | values, {}, 0))
    assert step < 200
    assert expected in text
    assert "since the start" in text


@pytest.mark.parametrize("name", GRADUAL)
def test_a_side_that_never_learns_is_told_right_after_the_grace(name: str) -> None:
    values, expected = FAILURES[name]
    [(step, text)] = tell(Health(), courses(HEALTHY | values, {}, 0))
    assert step == GRACE
    assert expected in text


@pytest.mark.parametrize("every", [1, 5, 10, 20, 25, 50])
def test_the_time_to_a_warning_does_not_depend_on_how_dense_the_log_is(every: int) -> None:
    for values, _ in FAILURES.values():
        for onset in (500, 501, 517):
            [(step, _)] = tell(
                Health(), courses(HEALTHY, HEALTHY | values, onset, every=every, until=1000)
            )
            assert onset + 100 <= step < onset + 200


@pytest.mark.parametrize(
    ("share", "part", "expected"), [(0.0, 0.5, "nothing is"), (1.0, 0.75, "everything is")]
)
def test_self_teaching_that_chooses_nothing_is_told_late_in_the_run(
    share: float, part: float, expected: str
) -> None:
    values = HEALTHY | {"self_taught_share": share}
    early = tell(Health(), courses(values, {}, 0, until=STEPS))
    assert [step for step, _ in early] == [part * STEPS + USUAL]
    assert expected in early[0][1]
    onset = 15_001
    late = tell(Health(), courses(HEALTHY, values, onset))
    assert [expected in text for _, text in late] == [True]
    assert late[0][0] < onset + 200


def test_self_teaching_that_chooses_a_little_is_no_fault() -> None:
    for share in (0.001, 0.995):
        course = courses(HEALTHY | {"self_taught_share": share}, {}, 0, until=STEPS)
        assert tell(Health(), course) == []


def test_self_teaching_that_is_switched_off_or_begins_late_is_no_fault() -> None:
    course = {"loss_segmentation": 0.5, "loss_self_taught": 0.0, "self_taught_share": 0.0}

    def steps(**options: float) -> list[int]:
        return [step for step, _ in tell(Health(options), courses(course, {}, 0, until=STEPS))]

    assert steps(self_taught_weight=0.1) == [STEPS // 2 + USUAL]
    assert steps(self_taught_weight=0.0) == []
    assert steps(self_taught_weight=0.1, self_taught_start=0.75) == [STEPS * 3 // 4 + 150]
    assert steps(self_taught_weight=0.1, self_taught_start=1.0) == []


def test_self_taught_accuracy_is_held_against_a_half_where_no_other_is_known() -> None:
    course = {"self_taught_share": 0.4, "self_taught_accuracy": 0.55}
    assert tell(Health(), courses(course, {}, 0)) == []
    assert len(tell(Health(), courses(course | {"self_taught_accuracy": 0.45}, {}, 0))) == 1
    # Where hardly anything is taught, whole batches are without, and count as all wrong.
    rarely = {"self_taught_share": 0.05, "self_taught_accuracy": 0.1}
    assert tell(Health(), courses(rarely, {}, 0)) == []


def test_measured_trust_is_judged_where_it_is_of_some_weight() -> None:
    def told(**values: float) -> int:
        course = HEALTHY | FAILURES["wrong"][0] | values
        return len(tell(Health(), courses(course, {}, 0)))

    assert told(trusted_share=0.3) == 1
    assert told(trusted_share=0.3, self_taught_share=0.1) == 1  # measured: not a mean with zeros
    assert told(trusted_share=0.3, self_taught_share=0.0) == 0  # not begun
    assert told(trusted_share=0.02) == 0
    # Nearly everything is trusted, and a few pixels decide which is higher.
    assert told(trusted_share=0.99, labelled_accuracy=0.605) == 0
    assert told(trusted_share=0.99, labelled_accuracy=0.615) == 1


def test_a_game_that_is_switched_off_is_no_fault() -> None:
    names = ("loss_generator", "d_real", "d_fake", "d_accuracy", "sample_diversity")
    off = HEALTHY | dict.fromkeys(names, 0.0)
    assert tell(Health(), courses(off, {}, 0)) == []


@pytest.mark.parametrize("name", HEALTHY)
def test_no_scalar_has_to_be_there(name: str) -> None:
    course = {key: value for key, value in HEALTHY.items() if key != name}
    assert tell(Health(), courses(course, {}, 0, until=2000)) == []
    assert tell(Health(), courses({name: HEALTHY[name]}, {}, 0, until=2000)) == []


def test_accuracy_is_needed_for_a_winner() -> None:
    """A mean alone does not say how many pixels are on which side."""
    for name in ("won", "blind"):
        values = {k: v for k, v in FAILURES[name][0].items() if k != "d_accuracy"}
        assert tell(Health(), courses(values, {}, 0)) == []


# Healthy runs


# Courses that look ill at first sight: what differs from `HEALTHY` after so many steps.


def slow_discriminator(step: int) -> dict[str, float]:
    learnt = 1 - math.exp(-step / 4000)
    return {"d_real": 0.5 + 0.2 * learnt, "d_fake": 0.5 - 0.15 * learnt, "d_accuracy": 0.5}


def many_classes(step: int) -> dict[str, float]:
    # K + 1 equal logits: 149 of 150 say "real" until the last one is learnt.
    learnt = 1 - math.exp(-step / 4000)
    return {
        "d_real": 0.993 - 0.3 * learnt,
        "d_fake": 0.994 - 0.5 * learnt,
        "d_accuracy": 0.5 + 0.35 * learnt,
    }


def head_start(step: int) -> dict[str, float]:
    # The discriminator wins the first steps; then the generator makes something.
    ahead = math.exp(-step / 60)
    return {"d_real": 0.75 + 0.24 * ahead, "d_fake": 0.3 * (1 - ahead), "d_accuracy": 0.8}


def swings(step: int) -> dict[str, float]:
    # Either side is ahead for a while, never for long.
    ahead = step // 100 % 2
    return {
        "d_real": 0.99 if ahead else 0.51,
        "d_fake": 0.02 if ahead else 0.5,
        "d_accuracy": 0.99 if ahead else 0.5,
        "sample_diversity": 0.08 if ahead else 0.6,
        "loss_generator": 6.0 if ahead else 0.7,
        "update_ratio/generator": 0.06 if ahead else 0.004,
    }


def schedule(step: int) -> dict[str, float]:
    # Cosine, to the end: the last updates are lost in rounding.
    factor = (1 + math.cos(math.pi * step / STEPS)) / 2
    ratio = 4e-3 * factor if factor > 1e-4 else 0.0
    return {"lr/segmenter": 1e-3 * factor, "update_ratio/segmenter": ratio}


def warm_up(step: int) -> dict[str, float]:
    rise = min(1.0, step / 2000)
    return {"lr/segmenter": 1e-3 * rise, "update_ratio/segmenter": 8e-3 * rise}


def long_walk(step: int) -> dict[str, float]:
    # Batch norm without decay: the weights grow with the root of the steps.
    return {"weight_growth/segmenter": math.sqrt(1 + 0.0025 * step)}


def late_term(step: int) -> dict[str, float]:
    on = step > STEPS // 4
    return {"loss_self_taught": 2.0 if on else 0.0, "self_taught_share": 0.9 if on else 0.0}


COURSES = (
    *(slow_discriminator, many_classes, head_start, swings),
    *(schedule, warm_up, long_walk, late_term),
)


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("every", [1, 10, USUAL, 500])
def test_a_healthy_run_is_never_warned_of(
    course: Callable[[int], dict[str, float]], every: int
) -> None:
    noise = random.Random(0)
    health = Health()
    for step in itertools.chain(range(every, 3000, every), range(3000, STEPS - 999, 500)):
        values = HEALTHY | course(step)
        values = {k: v * noise.uniform(0.998, 1.002) for k, v in values.items()}
        assert health.look(step, STEPS, values) == []
    for step in range(STEPS - 1000 + USUAL, STEPS + 1, USUAL):
        assert health.look(step, STEPS, HEALTHY | course(step)) == []


MEASURED = {
    "quickstart": (
        ("d_real", "d_fake", "d_accuracy", "self_taught_share"),
        [
            *((0.507, 0.504, 0.524, 0.0), (0.527, 0.520, 0.501, 0.0), (0.529, 0.519, 0.541, 0.0)),
            *((0.528, 0.509, 0.616, 0.5), (0.531, 0.493, 0.703, 1.0), (0.543, 0.473, 0.780, 1.0)),
            *((0.561, 0.451, 0.821, 1.0), (0.578, 0.434, 0.836, 0.9991)),
            *((0.590, 0.421, 0.859, 0.988), (0.598, 0.413, 0.875, 0.959)),
            *((0.601, 0.413, 0.866, 0.964), (0.601, 0.407, 0.896, 0.928)),
            *((0.605, 0.410, 0.899, 0.918), (0.604, 0.408, 0.896, 0.913)),
        ],
    ),
    "gan_segmentation": (
        ("loss_generated", "loss_generator", "d_real", "d_fake", "d_accuracy", "sample_diversity"),
        [
            (2.294, 0.159, 0.859, 0.858, 0.500, 0.186),
            (1.384, 0.352, 0.737, 0.716, 0.473, 0.180),
            (0.999, 0.500, 0.677, 0.616, 0.481, 0.184),
            (0.823, 0.600, 0.642, 0.554, 0.585, 0.180),
            (0.728, 0.673, 0.647, 0.513, 0.682, 0.182),
            (0.662, 0.735, 0.671, 0.482, 0.826, 0.189),
        ],
    ),
}
"""Log points of two runs, every 50 steps; the second on crops of 48, for 300 steps."""


@pytest.mark.parametrize("name", MEASURED)
def test_runs_that_were_measured_and_are_healthy(name: str) -> None:
    names, points = MEASURED[name]
    health = Health({"self_taught_weight": 0.1, "self_taught_start": 0.25})
    for number, values in enumerate(points, start=1):
        scalars = dict(zip(names, values, strict=True))
        assert health.look(USUAL * number, USUAL * len(points), scalars) == []


def test_a_supervised_run_has_few_ways_to_go_wrong() -> None:
    own = {k: v for k, v in HEALTHY.items() if "segment" in k}
    for name, (values, _) in FAILURES.items():
        changed = own | {k: v for k, v in values.items() if k in own}
        told = tell(Health(), courses(own, changed, 1000, until=3000))
        assert len(told) == (name in ("no change", "fp16 skips"))


# Once


@pytest.mark.parametrize("name", FAILURES)
def test_it_is_told_again_only_after_it_was_well_for_as_long(name: str) -> None:
    def spells() -> Iterator[tuple[int, Values]]:
        # 10 bad log points, 2 good ones, 10 bad, 4 good, 10 bad.
        bad = HEALTHY | FAILURES[name][0]
        order = [HEALTHY] * 20 + [bad] * 10 + [HEALTHY] * 2 + [bad] * 10 + [HEALTHY] * 4
        for number, values in enumerate([*order, *[bad] * 10], start=1):
            yield USUAL * number, values

    steps = [step for step, _ in tell(Health(), spells())]
    assert steps == [USUAL * 23, USUAL * (46 + 3)]


def test_each_state_is_told_of_by_itself() -> None:
    bad = HEALTHY
    for name in ("won", "collapsed", "no gradient", "large steps", "wrong"):
        bad = bad | FAILURES[name][0]
    told = tell(Health(), courses(HEALTHY, bad, 1000))
    assert len(told) == 5
    assert {step for step, _ in told} == {1150}


def test_two_players_are_told_apart() -> None:
    bad = {"update_ratio/generator": 0.0, "update_ratio/segmenter": 0.0}
    told = tell(Health(), courses(HEALTHY, HEALTHY | bad, 1000))
    assert [text.split()[0] for _, text in told] == ["'segmenter'", "'generator'"]


# State


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("every", [10, USUAL])
def test_a_resumed_run_tells_what_the_whole_one_tells(name: str, every: int) -> None:
    bad = HEALTHY | FAILURES[name][0]
    course = [
        *courses(HEALTHY, bad, 333, every=every, until=700),
        *((step + 700, v) for step, v in courses(bad, HEALTHY, 200, every=every, until=900)),
        *((step + 1600, v) for step, v in courses(HEALTHY, bad, 77, every=every, until=400)),
    ]
    whole = tell(Health(), iter(course))
    assert len(whole) == 2
    for cut in range(0, len(course), 50 // every * 2 - 1):
        first, second = Health(), Health()
        told = tell(first, iter(course[:cut]))
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))  # plain numbers
        assert second.state_dict() == first.state_dict()
        told += tell(second, iter(course[cut:]))
        assert told == whole


def test_without_the_state_it_would_be_another_run() -> None:
    course = [*courses(HEALTHY, HEALTHY | FAILURES["won"][0], 300, until=600)]
    assert [step for step, _ in tell(Health(), iter(course))] == [450]
    assert [step for step, _ in tell(Health(), iter(course[8:]))] != [450]


# In a run


class Warned(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warned(self, text: str) -> None:
        self.texts.append(text)


FILES = ("warnings.jsonl", "scalars.jsonl")
OPTIONS = {"steps": 160, "log_every": 50, "checkpoint_every": 35, "accumulate": 1, "batch": 1}


def planted(training: Build, folder: Path) -> TrainingState:
    """A run whose method reports a game that is won, and is healthy otherwise."""
    run = training(folder, "adversarial", **OPTIONS, hold_out=False, ema=0.0)
    values = HEALTHY | FAILURES["won"][0]
    take = run.method.step

    def stepping(batch: Any, progress: Progress, update: Any) -> Mapping[str, torch.Tensor]:
        scalars = take(batch, progress, update)
        return {
            k: v if k.startswith("loss_") else torch.full_like(v, values.get(k, 1.0))
            for k, v in scalars.items()
        }

    run.method.step = stepping  # type: ignore[method-assign]
    run.view = Warned()
    return run


def before_step(run: TrainingState, step: int, act: Callable[[], None]) -> None:
    take = run.method.step

    def stepping(batch: Any, progress: Progress, update: Any) -> Any:
        if progress.step == step:
            act()
        return take(batch, progress, update)

    run.method.step = stepping  # type: ignore[method-assign]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "warnings.jsonl").read_text().splitlines()]


def board(folder: Path) -> list[tuple[int, str]]:
    found = EventAccumulator(str(folder)).Reload()
    texts = found.Tensors("warnings/text_summary")
    assert found.summary_metadata["warnings/text_summary"].plugin_data.plugin_name == "text"
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in texts]


def test_a_run_warns_on_the_screen_in_tensorboard_and_in_a_file(
    training: Build, tmp_path: Path
) -> None:
    run = planted(training, tmp_path)
    train(run)
    [line] = lines(tmp_path)
    assert line["step"] == 150
    assert "the discriminator has won since the start (d_real 0.99," in line["warning"]
    assert isinstance(run.view, Warned)
    assert run.view.texts == [line["warning"]]
    assert board(tmp_path) == [(150, line["warning"])]
    scalars = (tmp_path / "scalars.jsonl").read_text()
    assert "warning" not in scalars


def interrupt() -> None:
    signal.raise_signal(signal.SIGTERM)


def die() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("act", "error"),
    [
        pytest.param(interrupt, Interrupted, marks=pytest.mark.slow),
        (die, KeyboardInterrupt),
    ],
)
def test_a_run_that_is_stopped_or_killed_warns_as_if_it_were_whole(
    act: Callable[[], None], error: type[BaseException], training: Build, tmp_path: Path
) -> None:
    train(planted(training, tmp_path / "whole"))
    for stop in (72, 155):  # the warning is given at 150, and the last checkpoint is that of 140
        run = planted(training, tmp_path / "again")
        before_step(run, stop, act)
        with pytest.raises(error):
            train(run)
    assert len(lines(tmp_path / "again")) == 1
    train(planted(training, tmp_path / "again"))
    whole, again = ([tmp_path / name / f for f in FILES] for name in ("whole", "again"))
    assert [file.read_bytes() for file in whole] == [file.read_bytes() for file in again]
    assert len(lines(tmp_path / "whole")) == 1
    assert set(board(tmp_path / "again")) == set(board(tmp_path / "whole"))
    states = [
        torch.load(tmp_path / name / "checkpoints" / "step-00000160.pt", weights_only=True)
        for name in ("whole", "again")
    ]
    assert states[0]["health"] == states[1]["health"]
    assert states[0]["health"]["courses"]["won"]["told"]


def test_trust_that_is_misplaced_is_told_after_two_checkpoints_and_sound_trust_never(
    training: Build, tmp_path: Path
) -> None:
    options = OPTIONS | {"steps": 200, "checkpoint_every": 40, "hold_out": False, "ema": 0.0}
    options["lr"] = 2e-3  # so slow that there is something to be wrong about
    for name in ("trusting", "mistaken"):
        train(training(tmp_path / name, name, **options))
    text = (tmp_path / "mistaken" / FILES[1]).read_text()
    scalars = [json.loads(each) for each in text.splitlines()]
    looks = [line for line in scalars if "trusted_share" in line]
    assert [look["step"] for look in looks] == [40, 80, 120, 160, 200]
    assert all(look["self_taught_accuracy"] < look["labelled_accuracy"] for look in looks)
    assert not (tmp_path / "trusting" / FILES[0]).exists()
    [line] = lines(tmp_path / "mistaken")
    assert line["step"] == 200  # the second look is at 80; bad at 100, 150, 200
    assert "more often wrong than the rest since step 50" in line["warning"]
    best = max(looks[2:4], key=lambda x: x["self_taught_accuracy"] - x["labelled_accuracy"])
    assert f"(self_taught_accuracy {best['self_taught_accuracy']:.3g}," in line["warning"]

    killed = training(tmp_path / "again", "mistaken", **options)
    before_step(killed, 130, die)  # the last checkpoint is that of 120
    with pytest.raises(KeyboardInterrupt):
        train(killed)
    train(training(tmp_path / "again", "mistaken", **options))
    for file in FILES:
        assert (tmp_path / "again" / file).read_bytes() == (
            tmp_path / "mistaken" / file
        ).read_bytes()


def test_a_healthy_run_leaves_no_file(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path, "supervised", **OPTIONS)
    run.view = Warned()
    train(run)
    assert run.view.texts == []
    assert not (tmp_path / "warnings.jsonl").exists()
    assert "warnings/text_summary" not in EventAccumulator(str(tmp_path)).Reload().Tags()["tensors"]


def test_a_learning_rate_that_is_a_hundred_times_too_high_is_told(
    training: Build, tmp_path: Path
) -> None:
    told: dict[float, list[str]] = {}
    for rate in (3e-3, 3e-1):
        optimiser = OptimSettings(kind="adamw", lr=rate)
        run = training(tmp_path / str(rate), "supervised", optimiser=optimiser, **OPTIONS)
        run.view = view = Warned()
        train(run)
        told[rate] = view.texts
    assert told[3e-3] == []
    assert ["'segmenter' runs away" in text for text in told[3e-1]] == [True]


def test_a_player_whose_loss_is_detached_is_told(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path, "adversarial", **OPTIONS)
    run.view = view = Warned()
    judge = run.method.discriminator
    update = run.updates

    class Severed:
        """An update that gives the discriminator nothing to learn from."""

        def __call__(self, player: str, loss: torch.Tensor, **options: Any) -> None:
            still = sum((0.0 * weight.sum() for weight in judge.parameters()), loss.new_zeros(()))
            update(player, still if player == "discriminator" else loss, **options)

    take = run.method.step
    run.method.step = lambda batch, progress, _: take(batch, progress, Severed())  # type: ignore
    train(run)
    assert sum("'discriminator' stands still" in text for text in view.texts) == 1


def test_a_checkpoint_from_before_there_was_a_watch_is_taken(
    training: Build, tmp_path: Path
) -> None:
    run = training(tmp_path, steps=3)
    train(run)
    path = run.checkpoints.paths()[-1]
    state = torch.load(path, weights_only=True)
    for part in (state, state["updates"]):
        part.pop("health", None)
        part.pop("start", None)
    torch.save(state, path)
    assert train(training(tmp_path, steps=3)) == 0


def test_the_options_of_a_method_are_found(training: Build, tmp_path: Path) -> None:
    found = loop._options(training(tmp_path, "adversarial").method)
    assert (found["self_taught_weight"], found["self_taught_start"]) == (0.1, 0.25)
