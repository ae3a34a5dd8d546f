"""A data set in memory, a tiny network, and a whole training around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from semisup.data.base import SegmentationData
from semisup.data.labels.tags import Tags
from semisup.data.loading.streams import Stream
from semisup.data.views.weak import WeakView
from semisup.methods.adversarial import Adversarial
from semisup.methods.base import Method, Task
from semisup.methods.supervised import Supervised
from semisup.models.base import Segmenter
from semisup.monitoring.pseudo_labels import PseudoLabelQuality
from semisup.monitoring.tracker import Tracker, Untracked
from semisup.ops.teacher import Teacher
from semisup.runs.folder import RunFolder
from semisup.settings import EvalSettings, OptimSettings, TrainSettings
from semisup.system import distributed as ranks
from semisup.system.device import seed_rank
from semisup.training.checkpoint import Checkpoints
from semisup.training.selection import Selection
from semisup.training.state import TrainingState
from semisup.training.updates import Updates
from semisup.types import IGNORE

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def no_confusion_is_drawn() -> Iterator[None]:
    """What a run draws at its end for TensorBoard is a fifth of the time of a tiny one.

    tests/runs/test_sheets.py looks at one.
    """
    from semisup.pictures import figures

    nothing = partial(figures.Figure, figsize=(1, 1), dpi=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "confusion_figure", lambda confusion, classes: nothing())
        yield


class Patches(SegmentationData):
    """Noisy patches of one colour a class, with a void row at the top of each mask.

    Args:
        sizes: H, W of each image.
        masks: masks to take in place of the made ones.
    """

    name = "patches"

    def __init__(
        self,
        sizes: list[tuple[int, int]],
        *,
        num_classes: int = 3,
        masks: Mapping[int, Tensor] | None = None,
        subset: str = "train",
    ) -> None:
        self.root, self.subset = Path("memory"), subset
        self.ids = tuple(f"{subset}{number:02d}" for number in range(len(sizes)))
        self.classes = tuple("abcdefghijklmnopqrstuvwxyz"[:num_classes])
        self.palette = tuple((9 * k, 200 - 9 * k, 50) for k in range(num_classes))
        self._sizes = sizes
        self._masks = masks or {}
        self.opened: list[str] = []

    def image_path(self, index: int) -> Path:
        return self.root / f"{self.ids[index]}.jpg"

    def mask_path(self, index: int) -> Path:
        return self.root / f"{self.ids[index]}.png"

    def image(self, index: int) -> Tensor:
        self.opened.append(self.ids[index])
        noise = torch.randint(0, 60, (3, *self._sizes[index]), generator=self._generator(index, 1))
        shade = self._classes_of(index) * (190 // max(1, self.num_classes - 1))
        return (noise + shade).to(torch.uint8)

    def mask(self, index: int) -> Tensor:
        if index in self._masks:
            return self._masks[index]
        labels = self._classes_of(index)
        labels[0] = IGNORE
        return labels.to(torch.uint8)

    def _classes_of(self, index: int) -> Tensor:
        height, width = self._sizes[index]
        coarse = torch.randint(0, self.num_classes, (3, 3), generator=self._generator(index, 0))
        rows = torch.arange(height) * 3 // height
        columns = torch.arange(width) * 3 // width
        return coarse[rows[:, None], columns]

    def _generator(self, index: int, purpose: int) -> torch.Generator:
        return torch.Generator().manual_seed(2 * index + purpose)


class TinySegmenter(Segmenter):
    """Two convolutions with batch norm and dropout between; the head learns faster."""

    stride = 1

    def __init__(self, num_classes: int = 3, *, dropout: float = 0.3) -> None:
        super().__init__(num_classes)
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(dropout)
        )
        self.head = nn.Conv2d(6, num_classes, 1)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [self.body(image)]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.head(features[0])


class Colours(nn.Module):
    """A predictor without weights: class scores by closeness to `num_classes` shades."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, image: Tensor) -> Tensor:
        shades = torch.linspace(-1.5, 2.0, self.num_classes).view(1, -1, 1, 1)
        return -((image.mean(1, keepdim=True) - shades) ** 2)


class PlainSegmenter(Segmenter):
    """Neither batch norm nor dropout: what it makes of an image depends on that image alone."""

    stride = 1

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__(num_classes)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh())
        self.head = nn.Conv2d(6, num_classes, 1)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [self.body(image)]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.head(features[0])


class Trusting(Supervised):
    """Supervised, but asked what it would teach itself: the half of each image that it is sure of.

    Args:
        inverted: to take the other half.
    """

    def __init__(self, task: Task, *, inverted: bool = False) -> None:
        super().__init__(task)
        self.inverted = inverted

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        sure, labels = self.segmenter(image).float().softmax(1).max(1)
        usual = sure.flatten(1).median(1).values[:, None, None]
        return labels.masked_fill((sure > usual) if self.inverted else (sure <= usual), IGNORE)


WAITING = (
    *("_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique", "aten.equal"),
    "repeat_interleave.Tensor",
)
"""Operations whose answer, or its size, is read back from the device; so is that of a mask."""


def waits(operation: Any, arguments: Any) -> bool:
    """Whether the host would wait for a GPU here."""
    name = str(operation)
    if name.startswith(("aten.index.Tensor", "aten.index_put")):
        return any(i is not None and i.dtype == torch.bool for i in arguments[1])
    return any(part in name for part in WAITING)


class Synchronisations(TorchDispatchMode):
    """Counts the operations that make the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        if waits(operation, arguments):
            self.seen.append(str(operation))
        return operation(*arguments, **keywords or {})


def make_method(name: str, segmenter: Callable[[], Segmenter] = TinySegmenter) -> Method:
    torch.manual_seed(0)
    if name == "supervised":
        return Supervised(Task(segmenter, 3))
    if name in ("trusting", "mistaken"):
        return Trusting(Task(segmenter, 3), inverted=name == "mistaken")
    return Adversarial(Task(segmenter, 3), confidence_threshold=0.4, discriminator_width=4)


def make_training(
    folder: Path,
    method: str = "supervised",
    *,
    steps: int = 7,
    workers: int = 0,
    lr: float = 0.05,
    hold_out: bool = True,
    fingerprint: str = "recipe",
    batch: int = 2,
    segmenter: Callable[[], Segmenter] = TinySegmenter,
    optimiser: OptimSettings | None = None,
    **settings: Any,
) -> TrainingState:
    """A training of `method` in `folder`; goes on where one in the same folder was stopped.

    Args:
        method: "trusting" and "mistaken" are asked what they would trust, too.
        optimiser: of all players; None: sgd at `lr` against adam.
    """
    directory = RunFolder(folder)
    directory.make()
    data = Patches([(36, 40), (40, 36), (44, 44), (33, 48), (36, 36), (40, 40)])
    train = TrainSettings(
        **{"steps": steps, "accumulate": 2, "ema": 0.6, "log_every": 2, "checkpoint_every": 3}
        | settings
    )
    built = make_method(method, segmenter)
    seed_rank(train.seed)
    optim = {
        "segmenter": optimiser or OptimSettings(lr=lr),
        "discriminator": optimiser or OptimSettings(kind="adam", lr=1e-3),
    }
    updates = Updates(
        built.players(),
        {player: optim[player] for player in built.players()},
        accumulate=train.accumulate,
        clip=train.clip,
    )
    protocol = EvalSettings(hold_out=2)
    keep = directory.checkpoints
    selection = Selection(data, data.ids[4:], "held_out", keep, protocol, CPU, "float32")
    parts = {"labelled": data.ids[:2], "unlabelled": data.ids[2:4], "weak": data.ids[2:4]}
    tags = Tags(
        data.classes, {key: frozenset({1 + n % 2}) for n, key in enumerate(data.ids)}, "xml"
    )

    def streams(step: int) -> dict[str, Stream]:
        return {
            name: Stream(
                data,
                parts[name],
                name=name,
                seed=0,
                batch_size=batch,
                view=WeakView(crop=(32, 32), scale=(0.9, 1.2), flip=True),
                workers=workers,
                start=step * train.accumulate,
                rank=ranks.rank(),
                world=ranks.world(),
                strong=run.method.reads.views(name),
                numbers=run.method.reads.unlabelled_numbers if name == "unlabelled" else 0,
                partner=run.method.reads.unlabelled_partner and name == "unlabelled",
                tags=tags if name == "weak" else None,
            )
            for name in run.method.reads.streams
        }

    run = TrainingState(
        method=built,
        updates=updates,
        streams=streams,
        settings=train,
        device=CPU,
        precision="float32",
        checkpoints=Checkpoints(directory.checkpoints),
        tracker=lambda step, checked: (
            Tracker(directory.path, step, checked) if ranks.is_first() else Untracked()
        ),
        fingerprint=fingerprint,
        checkup=selection if hold_out else None,
        checkup_every=2,
        average=Teacher(built.predictor(), train.ema) if train.ema else None,
        pseudo_labels=PseudoLabelQuality(
            data, data.ids[4:], (32, 32), CPU, "float32", channels_last=True
        )
        if isinstance(built, Trusting)
        else None,
    )
    return run


@pytest.fixture
def patches() -> Callable[..., Patches]:
    return Patches


@pytest.fixture
def colours() -> Callable[..., Colours]:
    return Colours


@pytest.fixture
def tiny_segmenter() -> Callable[..., TinySegmenter]:
    return TinySegmenter


@pytest.fixture
def training() -> Callable[..., TrainingState]:
    return make_training


@pytest.fixture
def synchronisations() -> Callable[[], Synchronisations]:
    return Synchronisations
