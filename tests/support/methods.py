"""Options and batches of methods, as tests write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from semisup.catalog import create_method
from semisup.losses.gan import DiscriminatorGame, Game, GeneratorGame, Loss
from semisup.methods.base import Task
from semisup.models.base import Segmenter
from semisup.types import Labelled

OF_A_GAME = {field.name for game in (DiscriminatorGame, GeneratorGame) for field in fields(game)}
"""Options that belong into the table `game` of a method."""


def with_game(**options: Any) -> dict[str, Any]:
    """Options of a method, those of its game in their table."""
    game = {key: value for key, value in options.items() if key in OF_A_GAME}
    rest = {key: value for key, value in options.items() if key not in OF_A_GAME}
    return {**rest, **({"game": game} if game else {})}


def whole(
    image: Tensor, mask: Tensor, ids: tuple[str, ...], selection: Tensor | None = None
) -> Labelled:
    """A labelled batch without padding."""
    valid = torch.ones_like(mask, dtype=torch.bool)
    return Labelled(image, mask, valid, ids, selection=selection)


def create(
    name: str,
    build_segmenter: Callable[..., Segmenter],
    num_classes: int,
    crop: tuple[int, int] | None = None,
    **options: Any,
) -> Any:
    """A method of the catalogue, with flat options."""
    task = Task(build_segmenter, num_classes, crop)
    return create_method(name, task, **with_game(**options))


def real_loss(logits: Tensor, loss: Loss = "cross_entropy", smoothing: float = 0.0) -> Tensor:
    return Game(loss=loss, label_smoothing=smoothing).real(logits)


def fake_loss(logits: Tensor, loss: Loss = "cross_entropy") -> Tensor:
    return Game(loss=loss).fake(logits)


def fooling_loss(logits: Tensor, loss: Loss = "cross_entropy", saturating: bool = False) -> Tensor:
    return GeneratorGame(loss=loss, saturating=saturating).fool(logits)


def belief(logits: Tensor, loss: Loss = "cross_entropy") -> Tensor:
    return Game(loss=loss).probability(logits)


def standing(
    real: Tensor,
    fake: Tensor,
    valid_real: Tensor | None = None,
    valid_fake: Tensor | None = None,
    loss: Loss = "cross_entropy",
) -> dict[str, Tensor]:
    return Game(loss=loss).statistics(real, fake, valid_real, valid_fake)
