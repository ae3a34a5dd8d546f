"""semisup runs --mlflow: finished runs as runs of MLflow, each of them once."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.finished import finished_run

from semisup.cli.main import cli
from semisup.studies.output import mlflow as export

POINTS = [
    {"step": 5, "loss": 2.0, "val_iou/tv (old)": 0.25},
    {"step": 10, "loss": None, "val_iou/tv [old]": 0.5},
    {"step": 10, "final": True, "score/miou": 0.5},
]


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of MLflow in a folder, which needs no server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    pytest.importorskip("mlflow", reason="needs semisup[mlflow]")
    return (tmp_path / "store").as_uri()


def make_runs(out: Path) -> None:
    """A finished run, and one that was stopped."""
    made = {"commit": "c" * 40, "dirty": False}
    data = {"reported": {"files_sha256": "f" * 64}}
    place = out / "scenes/first/aa-s3"
    settings = {"data.names": "x" * 800}
    finished_run(
        place, "aa", 3, 0.5, settings, POINTS, recipe="scenes/first", git=made, data=data,
        per_class={"a": {"iou": 0.75}, "b": {"iou": None}}, checkpoint={"step": 10},
    )  # fmt: skip
    stopped = finished_run(out / "scenes/first/aa-s4", "aa", 4)
    (stopped / "result.json").rename(stopped / "run.json")


def command(out: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["runs", "--out", str(out), *words], prog_name="semisup")


def client_of(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def kept(uri: str, name: str = "semisup") -> list[Any]:
    client = client_of(uri)
    place = client.get_experiment_by_name(name)
    return [] if place is None else list(client.search_runs([place.experiment_id]))


def test_a_run_has_its_recipe_its_log_its_scores_and_its_files(tmp_path: Path, uri: str) -> None:
    make_runs(tmp_path / "runs")
    done = command(tmp_path / "runs", "--mlflow", uri)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == (
        "MLflow, experiment semisup: 1 added, 1 left out, since they are not finished"
    )
    (run,) = kept(uri)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "scenes/first 1/8 s3"
    assert run.info.end_time - run.info.start_time == 7000
    assert run.data.params["data.split"] == "1/8"
    assert run.data.params["train.seed"] == "3"
    assert run.data.params["labelled_images"] == "25"
    assert run.data.params["data.names"] == "x" * 499 + "…"
    assert run.data.tags["mlflow.source.git.commit"] == "c" * 40
    assert run.data.tags["semisup.recipe_digest"] == "aa"
    assert run.data.tags["semisup.data_reported_sha256"] == "f" * 64
    assert run.data.metrics == {
        "loss": 2.0,
        "val_iou/tv _old_": 0.25,
        "val_iou/tv _old__2": 0.5,  # another class, though MLflow's letters do not tell
        "score/miou": 0.5,
        "final/miou": 0.5,
        "final/miou_last": 0.25,
        "final/train_seconds": 7,
        "final/iou/a": 0.75,
    }
    client = client_of(uri)
    points = {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in ("loss", "final/miou")
    }
    assert points == {"loss": [(5, 2.0)], "final/miou": [(10, 0.5)]}
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {
        "recipe.toml",
        "result.json",
    }


def test_a_second_export_adds_nothing_and_a_changed_result_takes_its_place(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    make_runs(tmp_path / "runs")
    command(tmp_path / "runs", "--mlflow", uri)
    (first,) = kept(uri, "mine")
    done = command(tmp_path / "runs", "finished", "--mlflow", uri)
    assert done.stdout.splitlines()[-1] == "MLflow, experiment mine: 1 there already"
    assert [one.info.run_id for one in kept(uri, "mine")] == [first.info.run_id]
    path = tmp_path / "runs/scenes/first/aa-s3/result.json"
    result = json.loads(path.read_text())
    result["scores"]["selected"]["miou"] = 0.625
    path.write_text(json.dumps(result))
    done = command(tmp_path / "runs", "finished", "--mlflow", uri)
    assert done.stdout.splitlines()[-1] == "MLflow, experiment mine: 1 replaced"
    (second,) = kept(uri, "mine")
    assert second.data.metrics["final/miou"] == 0.625


def test_an_export_that_was_cut_off_is_done_again(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(tmp_path / "runs")

    def cut(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export, "_log", cut)
        done = command(tmp_path / "runs", "finished", "--mlflow", uri)
    assert done.exit_code == 1
    assert done.stderr == f"semisup: --mlflow {uri}: cannot be written (No space left on device).\n"
    done = command(tmp_path / "runs", "finished", "--mlflow", uri)
    assert done.stdout.splitlines()[-1] == "MLflow, experiment semisup: 1 replaced"
    (run,) = kept(uri)
    assert run.data.metrics["final/miou"] == 0.5


def test_copies_of_a_run_are_one_and_must_agree(tmp_path: Path, uri: str) -> None:
    for name in ("one", "other"):
        make_runs(tmp_path / name)
    both = [str(tmp_path / name) for name in ("one", "other")]
    done = command(tmp_path, *both, "finished", "--mlflow", uri)
    assert done.stdout.splitlines()[-1] == "MLflow, experiment semisup: 1 added"
    path = tmp_path / "other/scenes/first/aa-s3/result.json"
    path.write_text(path.read_text() + "\n")
    done = command(tmp_path, *both, "finished", "--mlflow", uri)
    assert done.exit_code == 1
    assert "are the same run with different results" in done.stderr
    assert done.stderr.count("\n") == 1


def test_long_logs_are_sent_in_calls_that_mlflow_takes(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [{"step": n, "loss": float(n)} for n in range(25)]
    finished_run(tmp_path / "runs/r/aa-s0", scalars=points)
    monkeypatch.setattr(export, "MOST_METRICS", 10)
    monkeypatch.setattr(export, "MOST_PARAMETERS", 2)
    assert command(tmp_path / "runs", "--mlflow", uri).exit_code == 0
    (run,) = kept(uri)
    client = client_of(uri)
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [one.value for one in history] == list(range(25))
    assert len(run.data.params) == 5


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("gopher://x", "is no address that MLflow knows"),
        ("http://127.0.0.1:9", "does not answer. Start it with 'mlflow server'"),
        ("mlruns", "is a folder, which MLflow keeps no runs in any more"),
    ],
)
@pytest.mark.usefixtures("uri")
def test_a_store_that_does_not_answer_is_told_in_one_line(
    tmp_path: Path, address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    make_runs(tmp_path / "runs")
    begun = time.monotonic()
    done = command(tmp_path / "runs", "--mlflow", address)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"semisup: --mlflow {address}: {said}")
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - begun < 20


def test_without_mlflow_one_line_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec("json")  # stands for a package that is installed
    for gone, words in (("mlflow", "semisup[mlflow]"), ("sqlalchemy", "pip install mlflow")):
        monkeypatch.setattr(
            export.importlib.util,
            "find_spec",
            lambda name, gone=gone: None if name == gone else there,
        )
        done = command(tmp_path, "--mlflow", "sqlite:///mlflow.db")
        assert done.exit_code == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
