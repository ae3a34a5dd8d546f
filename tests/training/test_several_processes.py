"""Several processes train what one would: gradients, losses, scores, stops and errors."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import semisup
from semisup.catalog import METHODS

PROGRAM = Path(__file__).with_name("rank_program.py")
Found = Callable[[str, int], dict[str, Any]]


def fork(folder: Path, checks: dict[int, list[str]]) -> None:
    """Number of processes -> checks: children of this process, which has imported all they need.

    Of a program where there is a GPU: what has used one may not be forked.
    """
    if torch.cuda.is_available():
        call(str(PROGRAM), str(folder), *(f"{n}:{','.join(names)}" for n, names in checks.items()))
        return
    ranks = program()
    for number, names in checks.items():
        ranks.forked(folder, number, names)


def call(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ
        | {"PYTHONPATH": str(Path(semisup.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """(check, 1 or 2 processes) -> what they found; each number is launched once."""
    folder = tmp_path_factory.mktemp("ranks")
    two = ["gradients", "scores", "messages", "resume"]
    two += ["trust", "scoring", "unused", "fewer", "trouble", "criteria"]
    fork(folder, {2: two, 1: ["gradients", "scores", "fewer", "criteria"]})
    return loader(folder)


@pytest.fixture(scope="module")
def found_by_four(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """(check, 1 or 4 processes) -> what they found, of what the number of processes may change."""
    folder = tmp_path_factory.mktemp("four_ranks")
    fork(folder, {number: ["gradients", "scores"] for number in (1, 4)})
    return loader(folder)


def loader(folder: Path) -> Found:
    def load(check: str, processes: int) -> dict[str, Any]:
        state: dict[str, Any] = torch.load(folder / f"{check}-{processes}.pt", weights_only=True)
        return state

    return load


def test_gradients_are_those_of_one_process_at_the_same_global_batch(found: Found) -> None:
    assert_gradients_are_equal(found, 2)


@pytest.mark.slow
def test_gradients_of_four_are_those_of_one_process_too(found_by_four: Found) -> None:
    assert_gradients_are_equal(found_by_four, 4)


def assert_gradients_are_equal(found: Found, processes: int) -> None:
    alone, together = found("gradients", 1), found("gradients", processes)
    assert alone.keys() == together.keys()
    moved = 0
    for key, expected in alone.items():
        torch.testing.assert_close(together[key], expected, rtol=1e-5, atol=1e-5, msg=key)
        moved += bool(expected.abs().max() > 1e-3)
    assert moved > 30  # so there was something to compare


def test_supervised_losses_are_those_of_one_process(found: Found) -> None:
    alone, together = found("criteria", 1), found("criteria", 2)
    assert len(alone) == 10
    for key, expected in alone.items():
        torch.testing.assert_close(together[key], expected, rtol=1e-12, atol=1e-14, msg=key)


@functools.cache
def program() -> ModuleType:
    """`rank_program.py`, imported: it lies beside this file, where no test can be imported from."""
    spec = importlib.util.spec_from_file_location("rank_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_is_compared_or_says_why_not() -> None:
    """A new method belongs into `GAMES`, or into `NOT_GAMES` with a reason."""
    compared = {name for name, _ in program().GAMES.values()}
    left_out = set(program().NOT_GAMES)
    assert compared | left_out == set(METHODS)
    assert not compared & left_out


@pytest.mark.slow
def test_games_are_those_of_one_process_at_the_same_global_batch(tmp_path: Path) -> None:
    """Every method of several players, its terms all on: gradients of a step, weights after
    three."""
    fork(tmp_path, {1: ["games"], 2: ["games"]})
    alone, together = (
        torch.load(tmp_path / f"games-{processes}.pt", weights_only=True) for processes in (1, 2)
    )
    assert alone.keys() == together.keys()
    moved: dict[str, float] = {}
    for key, expected in alone.items():
        case, what, name = key.split("/", 2)
        if name == "scalar/sample_diversity":  # of neighbours in each process's own part
            continue
        torch.testing.assert_close(together[key], expected, rtol=1e-5, atol=1e-5, msg=key)
        if what == "gradient" and not name.startswith("scalar/"):
            player = f"{case}/{name.split('.')[0]}"
            moved[player] = max(moved.get(player, 0.0), float(expected.abs().max()))
    players = Counter(player.split("/")[0] for player in moved)
    assert len(players) == len(program().GAMES)
    assert min(players.values()) >= 2
    still = {player for player, most in moved.items() if most <= 1e-3}
    assert still == {"mean_teacher, code/teacher"}, moved  # it follows before the first step


@pytest.mark.slow
def test_the_losses_of_50_steps_are_those_of_one_process(tmp_path: Path) -> None:
    """What equal gradients of a step come to; .ci/run runs it too."""
    fork(tmp_path, {2: ["losses"], 1: ["losses"]})
    found = loader(tmp_path)
    alone, together = found("losses", 1), found("losses", 2)
    for method in ("supervised", "adversarial"):
        pairs = [
            [json.loads(line) for line in run[method].splitlines()] for run in (alone, together)
        ]
        assert len(pairs[0]) == len(pairs[1]) == 50
        for one, other in zip(*pairs, strict=True):
            assert one.keys() == other.keys()
            assert one == pytest.approx(other, abs=1e-4, rel=1e-4)


@pytest.mark.slow
def test_torchrun_starts_the_same_processes(found: Found, tmp_path: Path) -> None:
    """As users start them; `fork` tells its children the same, and imports torch once."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call(*torchrun, str(PROGRAM), str(tmp_path), "gradients", "scores")
    for check in ("gradients", "scores"):
        assert_same(loader(tmp_path)(check, 2), found(check, 2))


def test_every_image_is_scored_once_and_the_scores_are_equal(found: Found) -> None:
    assert_scores_are_equal(found, 2)


@pytest.mark.slow
def test_every_image_is_scored_once_by_four(found_by_four: Found) -> None:
    assert_scores_are_equal(found_by_four, 4)


def assert_scores_are_equal(found: Found, processes: int) -> None:
    alone, together = found("scores", 1), found("scores", processes)
    assert len(together["opened"]) == processes
    opened = [name for part in together["opened"] for name in part]
    assert sorted(opened) == alone["opened"][0]
    assert len(set(opened)) == len(opened) == 41
    assert torch.equal(together["confusion"], alone["confusion"])
    assert torch.equal(together["counts"], alone["counts"])
    one, other = alone["summary"], together["summary"]
    assert one.pop("miou_interval_95") == other.pop("miou_interval_95")
    assert 0.05 < one["miou"] < 0.9  # so a pixel counted twice would show
    assert other == pytest.approx(one, abs=1e-12)


def test_accumulated_batches_send_nothing_before_the_last(found: Found) -> None:
    assert found("messages", 2)["sent"] == 2 * 2  # two steps of two players, one bucket each


def test_a_signal_to_one_rank_stops_all_and_they_end_as_if_never_stopped(found: Found) -> None:
    state = found("resume", 2)
    for stop in (1, 4):
        first, second = state[f"stopped-{stop}"]
        assert (
            first
            == second
            == (
                f"stopped by a signal after step {stop + 1} of 7; saved. "
                "The same command goes on from there.",
                143,
            )
        )
    assert_same(state["whole"], state["stopped"])
    assert_same(state["whole-random"], state["stopped-random"])
    assert state["whole"]["scalars"].count("\n") > 4


def test_ranks_have_dropout_of_their_own_and_running_statistics_in_common(found: Found) -> None:
    state = found("resume", 2)
    one, other = state["whole-random"]
    assert not torch.equal(one, other)
    first, second = state["whole-buffers"]
    assert any("running_mean" in name for name in first)
    assert_same(first, second)


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other


def test_all_ranks_know_the_trust_and_a_stop_changes_nothing(found: Found) -> None:
    state = found("trust", 2)
    assert state["whole"] == state["stopped"]
    looks = [json.loads(line) for line in state["whole"].splitlines() if "trusted_share" in line]
    assert [look["step"] for look in looks] == [3, 6, 7]
    for name in ("whole", "stopped"):
        first, second = state[f"{name}-known"]
        assert first == second
        assert [look["trusted_share"] for look in first["last"]] == [
            look["trusted_share"] for look in looks[-2:]
        ]
    assert all("after step 3" in text for text in state["stopped-2"])


def test_a_signal_to_one_rank_that_scores_stops_all_after_the_score(found: Found) -> None:
    first, second = found("scoring", 2)["told"]
    assert first == second
    assert "stopped by a signal after step 2 of 7; saved." in first


def test_a_part_that_one_rank_alone_reaches_is_averaged_and_one_that_none_reaches_is_left(
    found: Found,
) -> None:
    for one, two, none in found("unused", 2)["gradients"]:
        assert one.tolist() == [3.0, 3.0]  # (1 + 2) / 2, twice
        assert two.tolist() == [4.0, 4.0]  # (4 + 0) / 2, twice
        assert none is None


def test_a_run_goes_on_with_fewer_processes_and_logs_what_all_have_seen(found: Found) -> None:
    state = found("fewer", 1)
    assert state["processes"] == [2, 1]
    one, other = json.loads(state["fewer"]), json.loads(state["alone"])
    assert one["step"] == 6
    assert one == pytest.approx(other, rel=1e-5)


def test_a_loss_that_is_not_finite_on_one_rank_ends_all_with_its_player_and_step(
    found: Found,
) -> None:
    told = found("trouble", 2)["bad loss"]
    assert told[0] == told[1]
    assert "the loss of 'segmenter' is not finite since step 2" in told[0]


def test_an_error_of_the_first_is_told_once(found: Found) -> None:
    assert found("trouble", 2)["from first"] == [
        ("shelf.txt: is empty", False),
        ("shelf.txt: is empty", True),
    ]


def test_the_first_goes_first(found: Found) -> None:
    assert found("trouble", 2)["order"] == [0, 2]


def test_buffers_are_those_of_the_first(found: Found) -> None:
    assert [part.tolist() for part in found("trouble", 2)["buffers"]] == [[5.0] * 3] * 2
