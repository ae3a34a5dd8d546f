"""result.json: scores with their protocol, split, seed and checkpoint, never a bare number.

The fields of the dataclasses are the keys of the file, in its order; nothing else spells them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from semisup.errors import RunError
from semisup.evaluation.protocol import (
    classes_of,
    counts_absent_as_zero,
    pretraining_of,
    training_masks_of,
)
from semisup.metrics.average_precision import AveragePrecision
from semisup.ops.pixels import RGB_FORMAT, ImageFormat
from semisup.system.files import write_text
from semisup.types import Colour

COLUMNS = {"iou": "IoU", "boundary_f1": "boundary F1", "boundary_iou": "boundary IoU"}
"""Columns of `Result.per_class`, with their headings; the first is always there."""

_IOU = next(iter(COLUMNS))


@dataclass(frozen=True)
class Scores:
    """Scores of one predictor over all classes; None where no class counts.

    Attributes:
        miou: mean IoU over the classes.
        miou_interval_95: its 95 % bootstrap interval over images.
        boundary_f1: None where boundaries were not counted; so is boundary_iou.
        absent: the classes that neither the ground truth nor the prediction holds; `miou` leaves
            them out or counts them 0, as the protocol says.
    """

    miou: float
    pixel_accuracy: float | None
    mean_class_accuracy: float | None
    frequency_weighted_iou: float | None
    miou_interval_95: tuple[float, float]
    boundary_f1: float | None = None
    boundary_iou: float | None = None
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoredPredictors:
    """Scores of the reported predictor and of the one after the last step.

    Attributes:
        selected: of the one that is reported.
        last: None where only the reported one was scored.
    """

    selected: Scores
    last: Scores | None = None


@dataclass(frozen=True)
class ObjectScores:
    """Average precision of the objects that the reported predictor finds.

    Attributes:
        box: of the boxes.
        mask: of the masks.
        detections: name of the file beside this one that has all of them, in COCO's form.
    """

    box: AveragePrecision
    mask: AveragePrecision
    detections: str


@dataclass(frozen=True)
class TagsRecord:
    """Where image tags came from, and the hash of all of them."""

    source: str
    sha256: str


@dataclass(frozen=True)
class FilesRecord:
    """Where images or masks came from: "rest", "all" or a folder, and how that is known again.

    Attributes:
        source: as named.
        files: their number; None where it is no folder.
        sha256: of the folder; None where it is none.
        sha256_of: what the hash is of, in words.
        made_by: of pseudo-masks, the run that made them: recipe, recipe_hash, seed, step, weights
            and threshold; None of others.
    """

    source: str
    files: int | None = None
    sha256: str | None = None
    sha256_of: str | None = None
    made_by: dict[str, Any] | None = None


@dataclass(frozen=True)
class SplitRecord:
    """Name, hash and counts of a split.

    Attributes:
        labelled: images with masks, held-out ones included.
        held_out: images that only choose the checkpoint.
        class_counts: class -> labelled images that have it.
        tagged: images with tags; None where there are no tags.
        unlabelled_from: where the unlabelled images came from.
        masks: where the training masks came from; None: the data set's own.
        weak_masks: where the weak masks came from; None: there were none.
        weakly_labelled: images with a weak mask; None: as above.
    """

    name: str
    sha256: str
    labelled: int
    unlabelled: int
    held_out: int
    class_counts: dict[str, int]
    tagged: int | None = None
    tags: TagsRecord | None = None
    unlabelled_from: FilesRecord = FilesRecord("rest")
    masks: FilesRecord | None = None
    weak_masks: FilesRecord | None = None
    weakly_labelled: int | None = None


@dataclass(frozen=True)
class SetRecord:
    """One set of images: where it lay, and what it is known again by.

    Attributes:
        name: of the data set.
        root: the data root, resolved; never compared.
        folder: of the data set, relative to the root; never compared.
        classes: K names in order.
        images: their number.
        ids_sha256: of their sorted ids, as in the protocol.
        masks: how many of the images have a mask.
        files: number of files that `files_sha256` is of.
        files_sha256: of all images by name and size, and of the masks that are used by name and
            content.
        stored_classes: the names of all labels of its files, ignored ones too; empty: not recorded.
    """

    name: str
    subset: str
    root: str
    folder: str
    classes: tuple[str, ...]
    images: int
    ids_sha256: str
    masks: int
    files: int
    files_sha256: str
    stored_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataRecord:
    """The data of a result.

    Attributes:
        reported: what was scored.
        trained: what was trained on; None for a run that did not record it.
        images: what the values of the images are, and how the network sees them normalised.
    """

    reported: SetRecord
    trained: SetRecord | None = None
    images: ImageFormat = field(default_factory=lambda: RGB_FORMAT)  # always written


@dataclass(frozen=True)
class FirstStage:
    """The run that another one started from."""

    recipe: str
    recipe_hash: str
    seed: int
    split: SplitRecord
    init: FirstStage | None = None


@dataclass(frozen=True)
class ChosenCheckpoint:
    """Which predictor is reported.

    Attributes:
        rule: how it was chosen.
        step: steps after which it was taken.
        steps: of the whole training.
    """

    rule: str
    step: int
    steps: int


@dataclass(frozen=True)
class Seconds:
    """How long training and scoring took."""

    train_seconds: float
    score_seconds: float


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run whose predictor is opened, finished or not.

    Attributes:
        classes: K names.
        palette: K colours.
        pretraining: what the weights of the first stage started from.
        training_masks: the folder of the masks that were trained on; empty: the data set's own.
        recipe_hash: digest of the recipe, as it was trained.
        processes: how many trained it.
        train_seconds: that training took so far.
    """

    recipe: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    pretraining: str
    training_masks: str
    split: SplitRecord
    seed: int
    checkpoint: ChosenCheckpoint
    recipe_hash: str
    processes: list[int]
    train_seconds: float
    init: FirstStage | None
    plugins: list[dict[str, str]] | None
    data: DataRecord | None


@dataclass(frozen=True)
class Result:
    """The content of a result file.

    Attributes:
        per_class: class -> column (see `COLUMNS`) -> score; None where the class does not count.
        confusion: K rows of truth with K columns of prediction, in pixels.
        protocol: all that the scores depend on beside the weights (`evaluation.protocol`).
        palette: K colours.
        init: the run that this one started from; None where there is none.
        git: commit of the code; None outside a checkout.
        processes: how many trained it; several numbers where it went on with others.
        precision: of the forward passes.
        plugins: what came from outside the package, by kind, name, file and hash; None: nothing.
        data: what was trained on and what was scored; None for a run that did not record it.
        objects: scores of the objects that were found; None where none are looked for.
        weights_sha256: of the reported predictor; empty for a run that did not record it.
    """

    recipe: str
    scores: ScoredPredictors
    per_class: dict[str, dict[str, float | None]]
    confusion: list[list[int]]
    protocol: dict[str, Any]
    split: SplitRecord
    palette: tuple[Colour, ...]
    seed: int
    checkpoint: ChosenCheckpoint
    recipe_hash: str
    git: dict[str, Any] | None
    versions: dict[str, str]
    device: str
    processes: list[int]
    precision: str
    time: Seconds
    init: FirstStage | None = None
    plugins: list[dict[str, str]] | None = None
    data: DataRecord | None = None
    objects: ObjectScores | None = None
    weights_sha256: str = ""

    @property
    def run(self) -> RunRecord:
        """What the result says of the run, whatever it was scored on."""
        return RunRecord(
            recipe=self.recipe,
            classes=self.classes,
            palette=self.palette,
            pretraining=self.pretraining,
            training_masks=self.training_masks,
            split=self.split,
            seed=self.seed,
            checkpoint=self.checkpoint,
            recipe_hash=self.recipe_hash,
            processes=self.processes,
            train_seconds=self.time.train_seconds,
            init=self.init,
            plugins=self.plugins,
            data=self.data,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """K names."""
        return classes_of(self.protocol)

    @property
    def training_masks(self) -> str:
        """The folder of the masks that were trained on; empty: the data set's own."""
        return training_masks_of(self.protocol)

    @property
    def pretraining(self) -> str:
        """What the weights of the first stage started from."""
        return pretraining_of(self.protocol)

    def iou(self) -> dict[str, float | None]:
        """Class -> its IoU; None where the class does not count."""
        return {name: row[_IOU] for name, row in self.per_class.items()}

    def counted(self) -> str:
        """Over which classes the mIoU is, such as "over 6 of 7 classes; 'sky' is absent".

        Empty where every class of the list was in the ground truth or predicted.
        """
        iou = self.iou()
        absent = [f"'{name}'" for name, value in iou.items() if value is None]
        if not absent:
            return ""
        zero = counts_absent_as_zero(self.protocol)
        over = len(iou) if zero else len(iou) - len(absent)
        verb = "is absent" if len(absent) == 1 else "are absent"
        rule = f"{verb} and count{'s' if len(absent) == 1 else ''} as 0" if zero else verb
        return f"over {over} of {len(iou)} classes; {', '.join(absent)} {rule}"

    def content(self) -> dict[str, Any]:
        """As plain values for JSON; what is optional and not there is left out."""
        content: dict[str, Any] = plain(self)
        return content


@dataclass(frozen=True)
class Gain:
    """How much higher a run scores than the one that it is compared with (`[baseline]`).

    Attributes:
        baseline: name of the other's recipe.
        baseline_hash: its digest.
        differs: keys in which the recipes differ beside the method's own.
        baseline_weights: hash of the other's predictor.
        weights: of the run's own.
        miou: difference of the mIoU.
        miou_interval_95: its 95 % bootstrap interval, both scored on the same images. It says how
            far the gain depends on the images, not on the seed.
    """

    baseline: str
    baseline_hash: str
    differs: tuple[str, ...]
    baseline_weights: str
    weights: str
    miou: float
    miou_interval_95: tuple[float, float]


@dataclass(frozen=True)
class FinishedRun:
    """A run that has been trained and scored, or scored again.

    Attributes:
        folder: where it lies.
        file: the result file in it.
        result: all that the file states.
        fresh: False where this call found the run finished.
        notes: what is to be known of the data it was scored on, each in one line.
        baseline: the run that it is compared with; None where its recipe names none.
        gain: over that one.
    """

    folder: Path
    file: Path
    result: Result
    fresh: bool
    notes: tuple[str, ...] = ()
    baseline: FinishedRun | None = None
    gain: Gain | None = None

    @property
    def recipe(self) -> str:
        """Name of its recipe."""
        return self.result.recipe

    @property
    def seed(self) -> int:
        """Seed of its training."""
        return self.result.seed

    @property
    def miou(self) -> float:
        """Mean IoU of the reported predictor."""
        return self.result.scores.selected.miou

    @property
    def miou_interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of `miou` over the images."""
        return self.result.scores.selected.miou_interval_95

    @property
    def per_class(self) -> dict[str, float | None]:
        """Class -> its IoU; None where the class does not count."""
        return self.result.iou()


_RESULT = TypeAdapter(Result)


def write_result(path: Path, result: Result) -> None:
    """Write a result file, atomically."""
    write_text(path, json.dumps(result.content(), indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> Result | None:
    """A result file's content; None if there is none.

    Raises:
        RunError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}). Check --out.") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({error}). Delete it and run again.") from None
    try:
        result = _RESULT.validate_python(content)
        complete = bool(result.pretraining and result.iou()) and _has_classes(result)
    except (ValidationError, KeyError, TypeError):
        complete = False
    if not complete:
        raise RunError(f"{path}: is no result file of semisup. Delete it and run again.")
    return result


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no score")


def _has_classes(result: Result) -> bool:
    """Whether names, colours and scores are those of one list of classes."""
    names, colours = result.classes, result.palette
    in_range = all(0 <= channel <= 255 for colour in colours for channel in colour)
    listed = 0 < len(names) == len(set(names)) == len(colours) == len(result.confusion)
    return listed and in_range and result.iou().keys() == set(names)


def name_of_masks(masks: FilesRecord | None) -> str:
    """The folder that the training masks come from, with the start of its hash; else empty."""
    return "" if masks is None else f"{masks.source} ({str(masks.sha256)[:8]})"


def maker_of_masks(masks: FilesRecord | None) -> str:
    """The run that made pseudo-masks, such as "scenes/supervised 0123456789-s0"; else empty."""
    made_by = None if masks is None else masks.made_by
    if made_by is None:
        return ""
    digest, seed = str(made_by.get("recipe_hash", "?"))[:10], made_by.get("seed", "?")
    return f"{made_by.get('recipe', '?')} {digest}-s{seed}"


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries, without the optional fields that are None."""
    if is_dataclass(value):
        return {
            one.name: plain(getattr(value, one.name))
            for one in fields(value)
            if one.default is MISSING or getattr(value, one.name) != one.default
        }
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
