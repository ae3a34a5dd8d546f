"""The gain that an earlier call has kept, and whether two results may be compared at all."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from semisup.errors import RunError
from semisup.runs.result import FinishedRun, Gain, Result

_GAIN = TypeAdapter(Gain)


def read_gain(path: Path, own: Result, other: Result) -> Gain | None:
    """What an earlier call has found for the same two predictors; None where there is nothing.

    Args:
        path: of the file.
        own: the result of the run.
        other: that of its baseline.
    """
    try:
        gain = _GAIN.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError, RecursionError):
        return None  # it is made again
    same = (gain.weights, gain.baseline_weights) == (own.weights_sha256, other.weights_sha256)
    return gain if same else None


def check_comparable(run: FinishedRun, baseline: FinishedRun) -> None:
    """Refuse scores of other protocols or other images.

    Raises:
        RunError: names what differs.
    """
    own, other = run.result.protocol, baseline.result.protocol
    for key in sorted(own.keys() | other.keys()):
        if key != "training_masks" and own.get(key) != other.get(key):
            raise RunError(
                f"{run.folder} and its baseline {baseline.folder} were scored by different "
                f"protocols: {key} is {own.get(key)} and {other.get(key)}. Give both the same."
            )
    data, others = run.result.data, baseline.result.data
    if data and others and data.reported.files_sha256 != others.reported.files_sha256:
        raise RunError(
            f"{run.folder} and its baseline {baseline.folder} were scored on files of other "
            "content. Run the older one again, in another folder (--out)."
        )
