"""Which checkpoint is reported: chosen on held-out training images, never on the reported set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semisup.data.base import SegmentationData
from semisup.errors import CheckpointError
from semisup.evaluation.evaluate import evaluate
from semisup.evaluation.inference import Inference
from semisup.ops.pixels import RGB_FORMAT, ImageFormat
from semisup.settings import EvalSettings
from semisup.system.device import Precision
from semisup.system.distributed import is_first
from semisup.training.checkpoint import load_state, save_state, saved_path, saved_steps


class Selection:
    """Scores the predictor while it trains and, on held-out images, keeps the best one.

    Args:
        data: the set that `ids` are in.
        ids: which images to score.
        name: prefix of the scalars, such as "held_out".
        keep: folder of the checkpoints, where the best predictors are kept too; None where the
            scores are only to be watched.
        settings: the protocol, but for boundary scores and the CRF, which cost more than they tell
            here.
        device: where to compute.
        precision: of the forward passes.
        images: what the values of the images are, and how they are normalised.
        applied: what applies the predictor to images, or to slices of a volume.
    """

    def __init__(
        self,
        data: SegmentationData,
        ids: Sequence[str],
        name: str,
        keep: Path | None,
        settings: EvalSettings,
        device: torch.device,
        precision: Precision,
        images: ImageFormat = RGB_FORMAT,
        *,
        applied: Callable[..., Inference] = Inference,
    ) -> None:
        self._applied = applied
        self._data, self._ids, self._name, self._keep = data, ids, name, keep
        self._settings = settings.model_copy(update={"crf": False, "samples": 0})
        self._device, self._precision, self._images = device, precision, images
        self.best_step = 0
        self.best_miou = -math.inf

    def __call__(
        self, predictor: nn.Module, step: int, facts: Mapping[str, Any]
    ) -> dict[str, float]:
        """Score the predictor after `step` steps; keep it, with `facts`, if none was better."""
        inference = self._applied(
            predictor, self._settings, self._device, self._precision, self._images
        )
        result = evaluate(
            inference, self._data, self._ids, boundary=False, description=f"scoring {self._name}"
        )
        miou = result.scores.miou
        if self._keep is not None and miou > self.best_miou:
            if is_first():
                self._save(self._keep, step, {**facts, "predictor": predictor.state_dict()})
            self.best_step, self.best_miou = step, miou
        classes = zip(result.classes, result.scores.per_class_iou, strict=True)
        per_class = {f"{self._name}_iou/{name}": iou for name, iou in classes if iou == iou}
        return {f"{self._name}/miou": miou, **per_class}

    def _save(self, folder: Path, step: int, state: dict[str, Any]) -> None:
        save_state(saved_path(folder, "best", step), state)
        found = saved_steps(folder, "best")
        # Each checkpoint that the run may go back to names the last one before it.
        named = {
            max((b for b in found if b <= c), default=step) for c in saved_steps(folder, "step")
        }
        for old in set(found) - named - {step}:
            saved_path(folder, "best", old).unlink()

    def best(self, facts: Mapping[str, Any]) -> dict[str, Tensor]:
        """State of the best predictor so far.

        Args:
            facts: what is known of the run (`TrainingState.facts`); those of the file are compared.

        Raises:
            CheckpointError: its file is gone, damaged or of another run.
        """
        assert self._keep is not None
        path = saved_path(self._keep, "best", self.best_step)
        if not path.is_file():
            raise CheckpointError(
                f"{path}: the best predictor is gone. Delete the run's folder and run again."
            )
        state = load_state(path)
        stated = [key for key in ("recipe", "run") if key in facts and key in state]
        if any(state[key] != facts[key] for key in stated):
            raise CheckpointError(
                f"{path}: is the best predictor of another run. Put its own back, or delete the "
                "run's folder and run again."
            )
        predictor: dict[str, Tensor] = state["predictor"]
        return predictor

    def state_dict(self) -> dict[str, Any]:
        """Which step was best so far."""
        return {"best_step": self.best_step, "best_miou": self.best_miou}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self.best_step, self.best_miou = int(state["best_step"]), float(state["best_miou"])
        if self._keep is not None and is_first():
            for later in saved_steps(self._keep, "best"):
                if later > self.best_step:  # of steps that will be taken again
                    saved_path(self._keep, "best", later).unlink()
