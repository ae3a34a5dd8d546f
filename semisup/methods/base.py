"""What every training method is.

A method owns its networks, its losses and their weights, and the order of its updates. The engine
owns optimisers, learning rates, precision, clipping, accumulation, streams, evaluation, logging,
checkpoints, seeds and devices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Protocol

from torch import Tensor, nn

from semisup.models.base import ParameterGroup, Segmenter
from semisup.types import Batch, Progress, Scalars

BuildSegmenter = Callable[..., Segmenter]
"""Gives a fresh segmenter at each call, with `extra=n` one of n more logits behind those of the K
classes; a method never knows which network it is.
"""


def require_not_negative(**options: float) -> None:
    """Refuse options of a method below 0, such as weights.

    Raises:
        ValueError: names the option and its value.
    """
    for name, value in options.items():
        if value < 0:
            raise ValueError(f"{name} must not be negative, but is {value}")


def require_share(**options: float) -> None:
    """Refuse options of a method outside of [0, 1], such as thresholds.

    Raises:
        ValueError: names the option and its value.
    """
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], but is {value}")


class Update(Protocol):
    """The only road from a loss to a weight."""

    def __call__(self, player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        """One optimiser step that lowers `loss` in the parameters of `player` and in no others.

        A loss must be formed right before its update: once a player has been stepped, a graph
        that passed through its old weights is stale for all that comes before them.

        Args:
            player: whose parameters move.
            loss: 0-d.
            keep_graph: whether another player's loss shares forward passes with this one. That
                player must not have been stepped since, and must lie behind this one in the
                graph (a discriminator behind the network that it judges): then its gradients do
                not need this one's old weights, and both updates are those of two separate
                forward passes.
        """


class Method(nn.Module, ABC):
    """One algorithm: `step` reads as the paper's pseudo-code.

    A method is an `nn.Module`: its `state_dict()` is its whole state (networks, teachers, memory,
    counters). Hyperparameters are keyword-only arguments of `__init__` with the paper's defaults;
    they are the recipe's keys, stated once.
    """

    streams: ClassVar[frozenset[str]] = frozenset({"labelled"})
    """Which of "labelled", "unlabelled", "weak" it reads; the data side builds no other."""

    strong_view: ClassVar[bool] = False
    """Whether it reads `Unlabelled.strong`."""

    combinations: ClassVar[bool] = False
    """Whether it reads `Labelled.selection`: each crop is cut for a subset of its classes."""

    wants_crop: ClassVar[bool] = False
    """Whether its constructor takes `crop`, height and width of the images of a batch, in pixels,
    after `num_classes`: a network that makes images has to know their size.
    """

    wants_start: ClassVar[bool] = False
    """Whether fresh weights are no start for it: it goes on where another run has ended."""

    segmenter: Segmenter

    def players(self) -> dict[str, list[ParameterGroup]]:
        """Player -> its parameter groups. A recipe has one `[optim.<player>]` for each."""
        return {"segmenter": self.segmenter.parameter_groups()}

    @abstractmethod
    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One training step: forms losses, calls `update`, returns what to report."""

    def predictor(self) -> nn.Module:
        """What is evaluated, exported and used by `predict`: image BCHW -> logits BKHW."""
        return self.segmenter

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Maps worth a look beside a prediction: name -> B1HW in [0, 1].

        Called in eval mode and without gradient.

        Args:
            batch: the images.
            logits: BKHW, what the predictor says of the labelled ones.
        """
        return {}

    def make_samples(self, count: int, seed: int) -> Tensor | None:
        """Images of the method's generator, to be looked at and judged.

        Called in eval mode and without gradient; draws no number of the run's own.

        Args:
            count: of images.
            seed: of the noise: the same seed and weights give the same images.

        Returns:
            B3HW in [0, 1]; None where the method makes no images.
        """
        return None

    def trusted(self, image: Tensor, logits: Tensor) -> Tensor | None:
        """Which pixels of an image without a mask would be taught their own prediction.

        The engine asks of images whose masks it knows, to see how often the trust is misplaced.
        Called in eval mode and without gradient.

        Args:
            image: B3HW, normalised.
            logits: BKHW, the segmenter's.

        Returns:
            BHW bool; None where nothing is self-taught.
        """
        return None
