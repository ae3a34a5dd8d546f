"""A toy problem for every method: tiny networks, and images whose colour is the class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from semisup.data.views.objects import instances_in
from semisup.methods.base import Method
from semisup.models.base import ParameterGroup, Segmenter
from semisup.settings import OptimSettings
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Instances, Labelled, Reads, Unlabelled, Weak

CLASSES = 3
SIDE = 32


class ToySegmenter(Segmenter):
    """Two convolutions; the head learns faster.

    Args:
        num_classes: K.
        extra: logits behind those of the classes.
        normalise: batch norm and dropout between the two: state and randomness of its own.
        dropout: share of the channels that are dropped behind the batch norm.
        auxiliary: a second, weighted map.
        kernel: side of the first convolution; 1 reads single pixels.
    """

    stride = 1

    def __init__(
        self,
        num_classes: int = CLASSES,
        *,
        extra: int = 0,
        normalise: bool = False,
        dropout: float = 0.2,
        auxiliary: bool = False,
        kernel: int = 3,
    ) -> None:
        super().__init__(num_classes + extra)
        between = [nn.BatchNorm2d(8), nn.Dropout2d(dropout)] if normalise else []
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, kernel, padding=kernel // 2), *between, nn.LeakyReLU(0.1)
        )
        self.head = nn.Conv2d(8, self.num_classes, 1)
        self.side_head = nn.Conv2d(8, self.num_classes, 1) if auxiliary else None
        self.auxiliary_weights = (0.5,) if auxiliary else ()

    def encode(self, image: Tensor) -> list[Tensor]:
        """One map at full resolution, B8HW."""
        return [self.body(image)]

    @property
    def embedding_channels(self) -> int:
        """Eight."""
        return 8

    def embed(self, features: list[Tensor]) -> Tensor:
        """The one map."""
        return features[0]

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKHW."""
        logits: Tensor = self.head(embedding)
        return logits

    def training_logits(self, image: Tensor) -> list[Tensor]:
        """The main map and, with `auxiliary`, a second one."""
        features = self.encode(image)
        maps = [self.decode(features)]
        return maps if self.side_head is None else [*maps, self.side_head(features[0])]

    def parameter_groups(self) -> list[ParameterGroup]:
        """The heads learn at twice the rate."""
        fast = [*self.head.parameters()]
        if self.side_head is not None:
            fast += [*self.side_head.parameters()]
        return [
            ParameterGroup(list(self.body.parameters()), name="body"),
            ParameterGroup(fast, lr_scale=2.0, name="head"),
        ]


SEGMENTERS: dict[str, Callable[..., Segmenter]] = {
    "plain": ToySegmenter,
    "auxiliary": partial(ToySegmenter, auxiliary=True),
    "full": partial(ToySegmenter, normalise=True, auxiliary=True),
    "batch_norm": partial(ToySegmenter, normalise=True, dropout=0.0),
}
"""Kinds of network that a method must be able to train; `full` has all that another lacks."""

WITHOUT_DROPOUT = ("plain", "batch_norm", "auxiliary")
"""Where two methods are to be compared to the bit: one of them may have a second network that draws
random numbers too.
"""


def toy_picture(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images whose colour tells the class, B3HW, and their masks BHW."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, CLASSES, (count, 4, 4), generator=generator)
    mask = coarse.repeat_interleave(SIDE // 4, 1).repeat_interleave(SIDE // 4, 2)
    colours = 2.0 * torch.eye(CLASSES)[mask].permute(0, 3, 1, 2) - 1.0
    return colours + 0.3 * torch.randn(colours.shape, generator=generator), mask


def toy_batch(
    reads: Reads, seed: int = 0, *, dtype: torch.dtype = torch.float32, void: bool = False
) -> Batch:
    """Two labelled images with a void band, and two others of which one is padded below.

    Of each stream and view that `reads` names, and no other.

    Args:
        reads: what the method declares.
        seed: which images.
        dtype: of the images.
        void: no valid pixel at all.
    """
    image, mask = toy_picture(2, 2 * seed)
    mask[:, :3] = IGNORE
    free, hidden = toy_picture(2, 2 * seed + 1)
    valid = torch.ones(2, SIDE, SIDE, dtype=torch.bool)
    seen = valid.clone()
    valid[1, :, -5:] = False
    free = free.masked_fill(~valid[:, None], 0.0)
    if void:
        mask, valid, seen = (
            torch.full_like(mask, IGNORE),
            torch.zeros_like(valid),
            torch.zeros_like(seen),
        )
    image, free = image.to(dtype), free.to(dtype)
    tags = torch.stack([(hidden == k).flatten(1).any(1) | (k == 0) for k in range(CLASSES)], 1)
    tags[1, -1] = False  # an image lacks a class, or nothing would be absent
    selection = torch.tensor([[False, True, False], [False, True, True]])
    streams: dict[str, Any] = {
        "labelled": Labelled(
            image,
            mask,
            seen,
            ("a", "b"),
            strong_views(image, reads.labelled_views),
            selection if reads.class_crops else None,
            instances=toy_instances(mask) if reads.instances else None,
        ),
        "unlabelled": Unlabelled(
            free,
            valid,
            ("c", "d"),
            strong_views(free, reads.unlabelled_views),
            toy_numbers(reads.unlabelled_numbers, seed),
            toy_partner(free, valid, reads.unlabelled_views) if reads.unlabelled_partner else None,
        ),
        "weak": Weak(
            free,
            valid,
            ("c", "d"),
            tags if "tags" in reads.weak else None,
            strong_views(free, reads.weak_views),
            toy_partial(hidden, valid) if "partial" in reads.weak else None,
        ),
    }
    return Batch(**{name: streams[name] for name in reads.streams})


def toy_partner(image: Tensor, valid: Tensor, views: int) -> Unlabelled:
    """The same images and their padding, mirrored and darker."""
    mirrored = 0.9 * image.flip(-2, -1)
    return Unlabelled(mirrored, valid.flip(-2, -1), ("c", "d"), strong_views(mirrored, views))


def toy_partial(mask: Tensor, valid: Tensor) -> Tensor:
    """What is left of masks (BHW) where every other pixel of every other row has a label."""
    known = torch.zeros_like(valid)
    known[:, ::2, ::2] = True
    return mask.where(known & valid, IGNORE)


def toy_instances(mask: Tensor) -> tuple[Instances, ...]:
    """All pixels of a class as one object, for each class but the first that a mask (BHW) holds."""
    return tuple(_of_classes(one) for one in mask)


def _of_classes(mask: Tensor) -> Instances:
    masks = torch.stack([mask == k for k in range(1, CLASSES)]).byte()
    return instances_in(masks, torch.arange(1, CLASSES))


def toy_numbers(count: int, seed: int) -> Tensor | None:
    """`count` random numbers for each of the two unlabelled images, where there are any."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.rand(2, count, generator=generator) if count else None


def strong_views(image: Tensor, count: int) -> tuple[Tensor, ...]:
    """The same images in other contrast, each view its own."""
    return tuple((0.8 - 0.1 * number) * image for number in range(count))


def toy_updates(method: Method, kind: Any = "adam", lr: float = 1e-2, **settings: Any) -> Updates:
    """The updates of training, with one optimiser of these settings for every player."""
    optim = {
        player: OptimSettings(kind=kind, lr=lr, schedule="constant", **settings)
        for player in method.players()
    }
    return Updates(method.players(), optim)


class Gradients:
    """In place of `Updates`: keeps the gradient of every player's loss and moves nothing."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._of: dict[str, list[Tensor]] = {}

    def __call__(self, player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        """Add up the gradients of the player's losses."""
        parameters = self._parameters(player)
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        gradients = [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
        ]
        if player in self._of:
            gradients = [a + b for a, b in zip(self._of[player], gradients, strict=True)]
        self._of[player] = gradients

    def vector(self, player: str) -> Tensor:
        """The player's gradient; zero where it was not asked to move."""
        held = map(torch.zeros_like, self._parameters(player))
        return torch.cat([g.flatten() for g in self._of.get(player, held)])

    def _parameters(self, player: str) -> list[nn.Parameter]:
        return [p for group in self._method.players()[player] for p in group.params]
