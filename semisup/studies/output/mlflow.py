"""Finished runs as runs of MLflow."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semisup.errors import RunError
from semisup.recipe.toml import read_toml
from semisup.runs.folder import RunFolder
from semisup.studies.history import read_history
from semisup.studies.kept import Run, read_folder, without_folders

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "semisup"
"""Name of the experiment, where MLFLOW_EXPERIMENT_NAME states none."""

IDENTITY = "semisup.run"
"""Tag by which a run is found again: recipe, digest, seed, labelled list and weights."""

RESULT = "semisup.result_sha256"
"""Tag of the file that the scores are of; set last, when all else is there."""

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of addresses that mlflow-skinny cannot open."""

MOST_METRICS, MOST_PARAMETERS, LONGEST = 1000, 100, 500
"""Of one call to MLflow, and characters of a parameter in its older releases."""

_NOT_ALLOWED = re.compile(r"[^\w\-./ ]")


@dataclass(frozen=True)
class Sent:
    """What an export has done.

    Attributes:
        experiment: name of MLflow's experiment.
        added: runs that were not there.
        replaced: runs whose result had changed, or whose export was cut off.
        there: runs that were there already, of the same result.
    """

    experiment: str
    added: int
    replaced: int
    there: int


def check_installed(uri: str) -> None:
    """See that what speaks to an address is installed, before anything is read.

    Args:
        uri: of MLflow's store.

    Raises:
        RunError: it is not; says what to install.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise RunError(
            "an export to MLflow needs its client. Install it with pip install 'semisup[mlflow]'."
        )
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme in DATABASES and importlib.util.find_spec("sqlalchemy") is None:
        raise RunError(
            f"--mlflow {uri}: a database needs all of MLflow. Install it with pip install mlflow, "
            "or give the address of a server."
        )


def send(folders: Sequence[Path], uri: str) -> Sent:
    """Export finished runs; those that are there already are not sent twice.

    A run has its recipe as parameters, its log as metrics with their steps, the final scores, what
    its data and its code are known by as tags, and recipe.toml and result.json as artifacts.

    Args:
        folders: of finished runs.
        uri: of MLflow's store, such as "http://localhost:5000".

    Raises:
        RunError: MLflow is not installed, does not answer or refuses; or a run cannot be read.
    """
    check_installed(uri)
    runs = _read(folders)
    # Nobody is told of an export but the store that was named, which is asked twice, not seven
    # times, where it does not answer.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    counts = {"added": 0, "replaced": 0, "there": 0}
    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(name)
        place = client.create_experiment(name) if known is None else known.experiment_id
        for identity, (folder, run) in runs.items():
            counts[_send(client, place, identity, folder, run)] += 1
    except MlflowException as error:
        raise RunError(f"--mlflow {uri}: {_short(str(error))}") from None
    except OSError as error:  # of a store in a folder
        raise RunError(f"--mlflow {uri}: cannot be written ({error.strerror or error}).") from None
    return Sent(name, **counts)


_MEANT = {
    "Max retries exceeded": "does not answer. Start it with 'mlflow server', or check the address.",
    "unsupported URI": "is no address that MLflow knows. Give one such as http://localhost:5000.",
    "MLFLOW_ALLOW_FILE_STORE": "is a folder, which MLflow keeps no runs in any more. Give the "
    "address of a server, or set MLFLOW_ALLOW_FILE_STORE=true.",
}
"""Words of an error of MLflow -> what it comes to."""


def _short(text: str) -> str:
    """An error of MLflow, whose reasons and remedies fill a page, in one line."""
    for words, meant in _MEANT.items():
        if words in text:
            return meant
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:299].rpartition(' ')[0]} …"


def _read(folders: Sequence[Path]) -> dict[str, tuple[Path, Run]]:
    """Identity -> folder and run; copies of one run count once.

    Raises:
        RunError: two folders are one run with different results.
    """
    found: dict[str, tuple[Path, Run]] = {}
    for folder in folders:
        run = read_folder(folder)
        identity = _identity(run)
        first, _ = found.setdefault(identity, (folder, run))
        if _digest(first) != _digest(folder):
            raise RunError(
                f"{first} and {folder}: are the same run with different results. Export one of "
                "them."
            )
    return found


def _identity(run: Run) -> str:
    list_, weights = run.split.get("sha256", ""), run.content.get("weights_sha256", "")
    of_run = f"{run.recipe}/{run.digest}-s{run.seed}"
    # Without a quotation mark, which would end it where it is searched for.
    return f"{of_run} {str(list_)[:8]} {str(weights)[:8]}".strip().replace("'", "_")


def _digest(folder: Path) -> str:
    return hashlib.sha256(RunFolder(folder).result.read_bytes()).hexdigest()


def _send(client: MlflowClient, place: str, identity: str, folder: Path, run: Run) -> str:
    """Send one run; returns what was done."""
    digest, done = _digest(folder), "added"
    for before in client.search_runs([place], f"tags.`{IDENTITY}` = '{identity}'"):
        if before.data.tags.get(RESULT) == digest:
            return "there"
        client.delete_run(before.info.run_id)
        done = "replaced"
    files = RunFolder(folder)
    when = int(files.result.stat().st_mtime * 1000)
    tags = {IDENTITY: identity, **_tags(run)}
    begun = when - int(1000 * run.train_seconds)
    name = f"{run.recipe} {run.settings.get('data.split', 'all')} s{run.seed}"
    sent = client.create_run(place, start_time=begun, tags=tags, run_name=name).info.run_id
    _log(client, sent, _parameters(files, run), list(_metrics(folder, run)), when)
    for path in (files.recipe, files.result):
        client.log_artifact(sent, str(path))
    client.set_terminated(sent, "FINISHED", end_time=when)
    client.set_tag(sent, RESULT, digest)
    return done


def _log(
    client: MlflowClient,
    run_id: str,
    parameters: Sequence[tuple[str, str]],
    metrics: Sequence[tuple[str, float, int]],
    when: int,
) -> None:
    """Log in calls that are not longer than MLflow takes them."""
    from mlflow.entities import Metric, Param

    for start in range(0, len(parameters), MOST_PARAMETERS):
        some = parameters[start : start + MOST_PARAMETERS]
        client.log_batch(run_id, params=[Param(key, value) for key, value in some])
    for start in range(0, len(metrics), MOST_METRICS):
        points = metrics[start : start + MOST_METRICS]
        client.log_batch(
            run_id, metrics=[Metric(key, value, when, step) for key, value, step in points]
        )


def _parameters(files: RunFolder, run: Run) -> list[tuple[str, str]]:
    """The recipe, key by key; a long value is cut, and whole in recipe.toml."""
    settings = {**without_folders(read_toml(files.recipe)), "train.seed": run.seed}
    names = _allowed(settings)
    texts = {names[key]: str(value) for key, value in settings.items()}
    texts |= {"recipe": run.recipe, "labelled_images": str(run.split["labelled"])}
    return [
        (key, text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
        for key, text in texts.items()
    ]


def _metrics(folder: Path, run: Run) -> Iterator[tuple[str, float, int]]:
    """Name, value and step of each point of the log, and of the final scores."""
    history = read_history(folder)
    last = max((int(curve.steps[-1]) for curve in history.values()), default=0)
    step = int(run.content.get("checkpoint", {}).get("step") or last)
    final = {"final/miou": run.miou("selected"), "final/train_seconds": run.train_seconds}
    if run.content["scores"].get("last") is not None:
        final["final/miou_last"] = run.miou("last")
    ious: Mapping[str, float | None] = run.content.get("iou", {})
    final |= {f"final/iou/{name}": value for name, value in ious.items() if value is not None}
    names = _allowed([*history, *final])
    for name, curve in history.items():
        for at, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True):
            if math.isfinite(value):  # MLflow draws no others
                yield names[name], value, at
    for name, value in final.items():
        yield names[name], float(value), step


def _allowed(names: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """Name -> the same in letters that MLflow takes, no two alike."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = free = _NOT_ALLOWED.sub("_", name)
        number = 1
        while free in taken:
            number += 1
            free = f"{plain}_{number}"
        taken.add(free)
        found[name] = free
    return found


def _tags(run: Run) -> dict[str, str]:
    """What a run, its data and its code are known by."""
    git, versions = run.content.get("git") or {}, run.content.get("versions") or {}
    found = {
        "semisup.recipe": run.recipe,
        "semisup.recipe_digest": run.digest,
        "semisup.seed": run.seed,
        "semisup.labelled_list_sha256": run.split.get("sha256"),
        "semisup.data_trained_sha256": run.of_files("trained"),
        "semisup.data_reported_sha256": run.of_files("reported"),
        "semisup.weights_sha256": run.content.get("weights_sha256"),
        "semisup.device": run.content.get("device"),
        "semisup.git_changed": git.get("dirty"),
        "mlflow.source.git.commit": git.get("commit"),
        **{f"semisup.version.{name}": version for name, version in versions.items()},
    }
    return {key: str(value) for key, value in found.items() if value not in (None, "")}
