"""What the training loop works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from semisup.data.loading.streams import Stream
from semisup.methods.base import Method
from semisup.monitoring.pseudo_labels import PseudoLabelQuality
from semisup.monitoring.tracker import Tracker
from semisup.monitoring.view import Silent, View
from semisup.ops.pixels import RGB_FORMAT, ImageFormat
from semisup.ops.teacher import Teacher
from semisup.settings import TrainSettings
from semisup.system.device import Precision
from semisup.training.checkpoint import Checkpoints
from semisup.training.updates import Updates
from semisup.types import Batch


class Checkup(Protocol):
    """An evaluation while training; may keep the best predictor so far."""

    def __call__(
        self, predictor: nn.Module, step: int, facts: Mapping[str, Any]
    ) -> Mapping[str, float]:
        """Score the predictor after `step` steps; the first scalar is its mIoU.

        Args:
            predictor: image BCHW -> logits BKHW.
            step: how many steps it has taken.
            facts: what is known of the run so far, to be kept beside the weights.
        """

    def state_dict(self) -> dict[str, Any]:
        """Which step was best so far."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""


Draw = Callable[[Batch, nn.Module, Method], Tensor]
"""(batch, predictor, method) -> panel, uint8 3HW."""


@dataclass
class TrainingState:
    """All that the loop works on.

    Attributes:
        streams: step -> the streams from that step on, by name.
        tracker: (step, last step that was scored) -> what records from there on.
        images: what the values of the images are, and how they are normalised.
        checkup: called every `checkup_every` steps; 0 for never.
        average: moving average of the predictor, or None.
        fingerprint: the recipe's digest; a checkpoint of another recipe is refused.
        of_run: what tells this run from others of the recipe, its seed and data; a checkpoint of
            another run is refused. Empty: nothing is compared.
        draw: makes the panel for TensorBoard at each checkpoint; None for no pictures.
        pseudo_labels: measures at each checkpoint how many pseudo-labels are right; None: never.
        seconds: training time so far, over all calls that worked on the run.
        processes: how many processes trained it; several numbers where it went on with others.
    """

    method: Method
    updates: Updates
    streams: Callable[[int], dict[str, Stream]]
    settings: TrainSettings
    device: torch.device
    precision: Precision
    checkpoints: Checkpoints
    tracker: Callable[[int, int], Tracker]
    fingerprint: str
    of_run: str = ""
    images: ImageFormat = RGB_FORMAT
    checkup: Checkup | None = None
    checkup_every: int = 0
    view: View = field(default_factory=Silent)
    average: Teacher[nn.Module] | None = None
    draw: Draw | None = None
    pseudo_labels: PseudoLabelQuality | None = None
    seconds: float = 0.0
    processes: list[int] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint states of the run beside its weights."""
        return {
            "seconds": self.seconds,
            "processes": list(self.processes),
            "recipe": self.fingerprint,
            "run": self.of_run,
        }

    def predictor(self) -> nn.Module:
        """What is scored: the moving average where there is one."""
        return self.method.predictor() if self.average is None else self.average.network
