"""How far a difference depends on the images that are scored, from the counts that runs keep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from semisup.errors import RunError
from semisup.runs.folder import RunFolder
from semisup.studies.kept import Run
from semisup.studies.statistics import Interval, OverBoth, over_both, over_images
from semisup.system.files import is_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class OnImages:
    """How far the mean difference of the mIoU over seeds depends on the scored images.

    Attributes:
        images: 95 % bootstrap interval over images, of these seeds.
        both: what is said over seeds and images at once; None for one seed or one image.
    """

    images: Interval
    both: OverBoth | None


def on_images(pairs: Sequence[tuple[Run, Run]]) -> OnImages | None:
    """Intervals over images of the mean difference of the mIoU over seeds.

    Args:
        pairs: of each seed the run of an arm and that of its baseline, of one protocol.

    Returns:
        None where a run has no counts of its images.

    Raises:
        RunError: the counts of a run are damaged, of other weights or of other images.
    """
    if not all(has_counts(run) for pair in pairs for run in pair):
        return None
    from semisup.evaluation.evaluate import BOOTSTRAP_SEED

    rule = pairs[0][0].protocol["absent_classes"]
    own, others = (np.stack([read_counts(run) for run in arm]) for arm in zip(*pairs, strict=True))
    images = over_images(own, others, seed=BOOTSTRAP_SEED, absent=rule)
    if min(own.shape[:2]) < 2:
        return OnImages(images, None)
    return OnImages(images, over_both(own, others, seed=BOOTSTRAP_SEED, absent=rule))


def has_counts(run: Run) -> bool:
    """Whether the folder of a run has the counts of its images."""
    return is_file(RunFolder(Path(run.source)).counts)


def read_counts(run: Run) -> NDArray[np.int64]:
    """What was counted of each image: NK3, the images in the order of the protocol's sorted ids.

    Raises:
        RunError: they cannot be read, or are not of the predictor that the run reports.
    """
    from safetensors import SafetensorError, safe_open

    path = RunFolder(Path(run.source)).counts
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {}).get("semisup", "{}"))
            counts: NDArray[np.int64] = file.get_tensor("counts")
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise RunError(f"{path}: cannot be read ({reason}). Delete it.") from None
    shape = (run.protocol["images"], len(run.protocol["classes"]), 3)
    if counts.dtype != np.int64 or counts.shape != shape or (counts < 0).any():
        raise RunError(f"{path}: is not of {shape[0]} images and {shape[1]} classes. Delete it.")
    same = facts.get("weights") == run.content.get("weights_sha256")
    if not same or facts.get("ids_sha256") != run.protocol["ids_sha256"]:
        raise RunError(f"{path}: is of another predictor or of other images. Delete it.")
    return counts
