"""Warnings of planted and healthy courses of scalars, and those of real runs, resumed or not."""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from support.health import (
    FAILURES,
    HEALTHY,
    STEPS,
    USUAL,
    courses,
    spells,
    warnings_of,
)
from support.training import make_training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from semisup.errors import Interrupted
from semisup.monitoring.health.health import Health
from semisup.monitoring.view import Silent
from semisup.training import loop
from semisup.training.loop import train
from semisup.training.state import TrainingState
from semisup.types import Progress

Build = Callable[..., TrainingState]

GRADUAL = ("blind", "all real", "nearly all real", "all generated", "collapsed")
AT_ONCE = [name for name in FAILURES if name not in (*GRADUAL, "risen")]


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_is_wrong_from_the_first_step_is_warned_of_within_200_steps(name: str) -> None:
    values, expected = FAILURES[name]
    [(step, text)] = warnings_of(Health(), courses(HEALTHY | values, {}, 0))
    assert step < 200
    assert expected in text
    assert "since the start" in text


@pytest.mark.parametrize("name", HEALTHY)
def test_no_scalar_has_to_be_there(name: str) -> None:
    course = {key: value for key, value in HEALTHY.items() if key != name}
    assert warnings_of(Health(), courses(course, {}, 0, until=1000)) == []
    assert warnings_of(Health(), courses({name: HEALTHY[name]}, {}, 0, until=1000)) == []


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
    return {"loss_self_taught": 2.0 if on else 0.0, "self_taught_share": 0.8 if on else 0.0}


COURSES = (
    *(slow_discriminator, many_classes, head_start, swings),
    *(schedule, warm_up, long_walk, late_term),
)


@pytest.mark.parametrize(
    ("course", "every"),
    [*itertools.product(COURSES, [10, USUAL, 500]), (swings, 1)],
)
def test_a_healthy_run_is_never_warned_of(
    course: Callable[[int], dict[str, float]], every: int
) -> None:
    """A log point every step is tried of the course whose conditions come and go."""
    noise = random.Random(0)
    health = Health()
    dense = range(every, 1000 if every == 1 else 3000, every)
    for step in itertools.chain(dense, range(3000, STEPS - 999, 500)):
        values = HEALTHY | course(step)
        values = {k: v * noise.uniform(0.998, 1.002) for k, v in values.items()}
        assert health.check(step, STEPS, values) == []
    for step in range(STEPS - 1000 + USUAL, STEPS + 1, USUAL):
        assert health.check(step, STEPS, HEALTHY | course(step)) == []


MEASURED = {
    "quickstart/adversarial": (
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


def warned_of(name: str, **more: float) -> list[tuple[int, str]]:
    names, points = MEASURED[name]
    health = Health({"self_taught_weight": 0.1, "self_taught_start": 0.25})
    course = [
        (USUAL * number, dict(zip(names, values, strict=True)) | more)
        for number, values in enumerate(points, start=1)
    ]
    return warnings_of(health, course, USUAL * len(points))


def test_runs_that_were_measured_and_are_healthy() -> None:
    assert warned_of("gan_segmentation") == []
    known = {"labelled_accuracy": 0.97, "self_taught_accuracy": 0.98}
    assert warned_of("quickstart/adversarial", **known) == []


def test_the_adversarial_quickstart_accepts_more_than_is_right() -> None:
    """Of its pixels 0.834 are right at the end, and 0.913 are accepted."""
    for known in ({}, {"labelled_accuracy": 0.834, "self_taught_accuracy": 0.851}):
        [(step, text)] = warned_of("quickstart/adversarial", **known)
        assert step == 550
        assert text.startswith("nearly everything is self-taught since step 200")


def test_each_condition_is_warned_of_by_itself() -> None:
    bad = HEALTHY
    for name in ("won", "collapsed", "no gradient", "large steps", "wrong"):
        bad = bad | FAILURES[name][0]
    found = warnings_of(Health(), courses(HEALTHY, bad, 1000))
    assert len(found) == 5
    assert {step for step, _ in found} == {1150}


# State


def assert_resumes(course: list[tuple[int, Mapping[str, float]]], cuts: range | list[int]) -> None:
    """Cut at any of these log points, a course gives the two warnings of the whole one."""
    whole = warnings_of(Health(), course)
    assert len(whole) == 2
    for cut in cuts:
        first, second = Health(), Health()
        found = warnings_of(first, course[:cut])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))  # plain numbers
        assert second.state_dict() == first.state_dict()
        assert found + warnings_of(second, course[cut:]) == whole


@pytest.mark.parametrize("name", FAILURES)
def test_a_resumed_run_warns_as_the_whole_one(name: str) -> None:
    """Cut while the first warning is not yet due, and while it is not yet cleared."""
    bad = HEALTHY | FAILURES[name][0]
    course = spells((HEALTHY, 20), (bad, 20), (HEALTHY, 20), (bad, 20), every=10)
    assert_resumes(course, [27, 48])


@pytest.mark.parametrize("every", [10, USUAL])
def test_a_run_that_is_resumed_at_any_log_point_warns_as_the_whole_one(every: int) -> None:
    bad = HEALTHY | FAILURES["blind"][0]
    points = max(4, 200 // every)
    course = spells((HEALTHY, points), (bad, points), (HEALTHY, points), (bad, points), every=every)
    assert_resumes(course, range(len(course)))


def test_without_the_state_it_would_be_another_run() -> None:
    course = [*courses(HEALTHY, HEALTHY | FAILURES["won"][0], 300, until=600)]
    assert [step for step, _ in warnings_of(Health(), course)] == [450]
    assert [step for step, _ in warnings_of(Health(), course[8:])] != [450]


def test_what_the_loss_was_at_first_is_in_the_checkpoint() -> None:
    first, second = Health(), Health()
    first.check(50, 2000, {"loss_segmentation": 1.0, "weight_growth/segmenter": 2.2})
    assert first.state_dict()["firsts"] == {"loss_segmentation": 1.0}
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()


# In a run


class Warned(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warned(self, text: str) -> None:
        self.texts.append(text)


FILES = ("warnings.jsonl", "scalars.jsonl")
OPTIONS = {"steps": 160, "log_every": 50, "checkpoint_every": 35, "accumulate": 1, "batch": 1}


def planted(folder: Path) -> TrainingState:
    """A run whose method reports a game that is won, and whose discriminator gets no gradient.

    It is healthy otherwise.
    """
    run = make_training(folder, "adversarial", **OPTIONS, hold_out=False, ema=0.0)
    values = HEALTHY | FAILURES["won"][0]
    take, weights = run.method.step, list(run.method.discriminator.parameters())

    class Severed:
        """An update that gives the discriminator nothing to learn from."""

        def __init__(self, update: Any) -> None:
            self.update = update

        def __call__(self, player: str, loss: torch.Tensor, **options: Any) -> None:
            still = sum((0.0 * weight.sum() for weight in weights), loss.new_zeros(()))
            self.update(player, still if player == "discriminator" else loss, **options)

    def stepping(batch: Any, progress: Progress, update: Any) -> Mapping[str, torch.Tensor]:
        scalars = take(batch, progress, Severed(update))
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainingState:
    """A planted run from its first step to its last; its folder is left as it is."""
    run = planted(tmp_path_factory.mktemp("whole"))
    train(run)
    return run


def folder_of(run: TrainingState) -> Path:
    return run.checkpoints.folder.parent


def test_a_run_warns_on_the_screen_in_tensorboard_and_in_a_file(whole: TrainingState) -> None:
    folder = folder_of(whole)
    found = lines(folder)
    assert [line["step"] for line in found] == [150, 150]
    won, still = (line["warning"] for line in found)
    assert "the discriminator has won since the start (d_real 0.99," in won
    assert "'discriminator' stands still since the start" in still
    assert isinstance(whole.view, Warned)
    assert whole.view.texts == [won, still]
    assert board(folder) == [(150, won), (150, still)]
    assert "warning" not in (folder / "scalars.jsonl").read_text()


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
    act: Callable[[], None], error: type[BaseException], whole: TrainingState, tmp_path: Path
) -> None:
    shutil.copytree(folder_of(whole), tmp_path / "whole")
    for stop in (72, 155):  # the warning is given at 150, and the last checkpoint is that of 140
        run = planted(tmp_path / "again")
        before_step(run, stop, act)
        with pytest.raises(error):
            train(run)
    assert len(lines(tmp_path / "again")) == 2
    train(planted(tmp_path / "again"))
    expected, again = ([tmp_path / name / f for f in FILES] for name in ("whole", "again"))
    assert [file.read_bytes() for file in expected] == [file.read_bytes() for file in again]
    assert len(lines(tmp_path / "whole")) == 2
    assert set(board(tmp_path / "again")) == set(board(tmp_path / "whole"))
    states = [
        torch.load(tmp_path / name / "checkpoints" / "step-00000160.pt", weights_only=True)
        for name in ("whole", "again")
    ]
    assert states[0]["health"] == states[1]["health"]
    assert states[0]["health"]["courses"]["won"]["warned"]


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
