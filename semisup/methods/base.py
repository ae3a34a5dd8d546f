"""What every training method is.

A method owns its networks, its losses and their weights, and the order of its updates. Training
owns optimisers, learning rates, precision, clipping, accumulation, streams, evaluation, logging,
checkpoints, seeds and devices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from semisup.losses.segmentation import Criterion, supervised_loss, weights_by_confidence
from semisup.losses.supervised import SupervisedLoss
from semisup.losses.weak.terms import Regulariser
from semisup.models.base import ParameterGroup, Segmenter
from semisup.models.resolution import Resolution, require_one_map
from semisup.types import Batch, Labelled, Progress, Reads, Scalars, Update, Weak


@dataclass(frozen=True, slots=True)
class Task:
    """What a method is built for.

    Attributes:
        build_segmenter: gives a fresh segmenter at each call, with `extra=n` one of n more logits
            behind those of the K classes; a method never knows which network it is.
        num_classes: K.
        crop: height and width of the images of a batch, in pixels; None: whole images, which differ
            in size.
    """

    build_segmenter: Callable[..., Segmenter]
    num_classes: int
    crop: tuple[int, int] | None = None

    def image_size(self) -> tuple[int, int]:
        """Height and width of all images of a batch, for a network that generates some.

        Raises:
            ValueError: they differ in size.
        """
        if self.crop is None:
            raise ValueError(
                "it generates images of the size of the crops: set data.crop to [height, width], "
                'not to "whole".'
            )
        return self.crop


def require_not_negative(**options: float) -> None:
    """Refuse options of a method below 0, such as weights.

    Raises:
        ValueError: names the option and its value.
    """
    for name, value in options.items():
        if value < 0:
            raise ValueError(f"{name} must not be negative, but is {value}")


def require_positive(**options: int) -> None:
    """Refuse options of a method below 1, such as widths and numbers of updates.

    Raises:
        ValueError: names the option and its value.
    """
    for name, value in options.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, but is {value}")


def require_share(**options: float) -> None:
    """Refuse options of a method outside of [0, 1], such as thresholds.

    Raises:
        ValueError: names the option and its value.
    """
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], but is {value}")


def require_own_logits(resolution: Resolution, follows: str, network: Segmenter) -> None:
    """Refuse losses at the logits' own resolution where there are none.

    Raises:
        ValueError: the authors' code has none.
        RecipeError: the network has auxiliary maps.
    """
    if resolution == "logits":
        if follows == "code":
            raise ValueError(
                'resolution = "logits" is not in the authors\' code: leave it at "image", or '
                'follows at "paper"'
            )
        require_one_map(network, 'resolution = "logits"')


class Method(nn.Module, ABC):
    """One algorithm: `step` reads as the paper's pseudo-code.

    A method is an `nn.Module`: its `state_dict()` is its whole state (networks, teachers, memory,
    counters). `__init__` takes the `Task`; hyperparameters are its keyword-only arguments with the
    paper's defaults: they are the recipe's keys, stated once.
    """

    reads: Reads = Reads()
    """The streams, views and labels that it reads; by its options, an instance may read other
    views and crops of its streams than its class says."""

    takes_class_weights: ClassVar[bool] = True
    """Whether its supervised loss is a cross entropy over the K classes, which
    `train.class_weights` can weight, `train.loss` replace and `train.regulariser` complement;
    where it is not, all are refused."""

    picture_ends: ClassVar[Mapping[str, tuple[str, str]]] = {
        "adversary": ("looks predicted", "looks true"),
        "confidence": ("unsure", "sure"),
        "discriminator": ("looks predicted", "looks true"),
        "real": ("looks generated", "looks real"),
    }
    """Name of a map of `pictures` -> what 0 and 1 mean in it, in a word or two, for legends."""

    story: ClassVar[tuple[str, ...]] = ("loss_segmentation",)
    """The two or three of its scalars that tell how a run goes, the most telling first; the
    terminal shows them. All others are in scalars.jsonl and in TensorBoard."""

    segmenter: Segmenter

    _class_weights: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_class_weights", None, persistent=False)
        self.read_class_weights = False
        self._criterion: Criterion = SupervisedLoss()
        self.read_criterion = False
        self.read_border_weights = False
        self.read_confidence = False
        self.regulariser: Regulariser | None = None
        self.read_regulariser = False
        self._regularised: list[Tensor] = []

    @property
    def class_weights(self) -> Tensor | None:
        """K factors on the supervised loss of each class's pixels, set by the run; None: all 1.

        No part of the state. `read_class_weights` says whether the method has asked for them.
        """
        self.read_class_weights = True
        return self._class_weights

    @class_weights.setter
    def class_weights(self, weights: Tensor | None) -> None:
        self._class_weights = weights

    @property
    def criterion(self) -> Criterion:
        """The supervised loss of one map, set by the run (`train.loss`): cross entropy by default.

        No part of the state. `read_criterion` says whether the method has asked for it.
        """
        self.read_criterion = True
        return self._criterion

    @criterion.setter
    def criterion(self, criterion: Criterion) -> None:
        self._criterion = criterion

    def supervised_loss(self, maps: Sequence[Tensor], images: Labelled | Weak) -> Tensor:
        """Supervised loss of the segmenter's maps, by the weights of its auxiliary ones; 0-d.

        With the weights of classes and pixels that the recipe asks for, pseudo-masks by their
        confidence (`train.confidence_weights`), and with the recipe's term on the images themselves
        (`train.regulariser`), which is of the main map.

        Args:
            maps: BKHW each, the main one first.
            images: what they are of; of weakly labelled ones, `partial` are the masks.
        """
        if isinstance(images, Weak):
            assert images.partial is not None, "this method reads weak masks"
            mask, border_weights = images.partial, None
        else:
            mask, border_weights = images.mask, images.border_weights
        self.read_border_weights |= border_weights is not None
        if images.confidence is not None:
            self.read_confidence = True
            border_weights = weights_by_confidence(
                mask, images.confidence, self.class_weights, border_weights
            )
        loss = supervised_loss(
            maps,
            mask,
            self.segmenter.auxiliary_weights,
            class_weights=self.class_weights,
            border_weights=border_weights,
            criterion=self.criterion,
        )
        if self.regulariser is None:
            return loss
        return loss + self.regularised(maps[0], images.image, mask, images.valid)

    def regularised(self, logits: Tensor, image: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
        """The term on the images themselves, times its weight; 0-d, 0 without one.

        `supervised_loss` has it; a method that forms its supervised loss itself adds it.

        Args:
            logits: BKHW, of the main map.
            image: BCHW, normalised.
            mask: BHW int64, `IGNORE` where there is no label.
            valid: BHW bool, False in the padding.
        """
        if self.regulariser is None:
            return logits.new_zeros(())
        self.read_regulariser = True
        term = self.regulariser(logits, image, mask, valid)
        self._regularised.append(term.detach())
        return self.regulariser.weight * term

    def take_regularised(self) -> Scalars:
        """`loss_regulariser`, the mean of the terms since it was last asked; nothing without one.

        It is not weighted. Training reports it beside the scalars of each step.
        """
        terms, self._regularised = self._regularised, []
        return {"loss_regulariser": torch.stack(terms).mean()} if terms else {}

    def players(self) -> dict[str, list[ParameterGroup]]:
        """Player -> its parameter groups. A recipe has one `[optim.<player>]` for each."""
        return {"segmenter": self.segmenter.parameter_groups()}

    @abstractmethod
    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One training step: forms losses, calls `update`, returns what to report."""

    def predictor(self) -> nn.Module:
        """What is evaluated, exported and used by `predict`: image BCHW -> logits BKHW."""
        return self.segmenter

    def measure(self, batch: Batch) -> Scalars:
        """What is worth knowing at a log point and costs too much for every step.

        Called in eval mode and without gradient, with the last batch of training.

        Returns:
            Name -> 0-d tensor, always the same names, none of which `step` reports.
        """
        return {}

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Maps to be shown beside a prediction: name -> B1HW in [0, 1].

        Called in eval mode and without gradient.

        Args:
            batch: the images.
            logits: BKHW, what the predictor says of the labelled ones.
        """
        return {}

    def make_samples(self, count: int, seed: int) -> Tensor | None:
        """Images of the method's generator, to be shown and measured.

        Called in eval mode and without gradient; draws no number of the run's own.

        Args:
            count: of images.
            seed: of the noise: the same seed and weights give the same images.

        Returns:
            B3HW in [0, 1]; None where the method makes no images.
        """
        return None

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        """What the method would teach as ground truth on images without masks.

        The monitoring asks for images whose masks it knows, to see how many of the labels are
        wrong. Called in eval mode and without gradient.

        Args:
            image: BCHW, normalised: the weak view.
            valid: BHW bool, False where the crop was padded; None: nowhere.

        Returns:
            BHW int64, 0..K-1, and `IGNORE` where nothing is taught; None where the method teaches
            no pseudo-labels.
        """
        return None

    def labeller(self) -> nn.Module:
        """The network whose probabilities say how sure a pseudo-label is: image BCHW -> BKHW.

        The monitoring compares them with how many labels are right.
        """
        return self.segmenter
