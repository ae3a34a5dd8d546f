"""Hung et al. 2018 with `follows = "code"`: five steps equal the authors' loop, written out here.

The images are larger than 32 pixels, for the discriminator must have several logits whose corners
can be aligned.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.methods import create, whole
from torch import Tensor, nn

from semisup.models.adversarial.discriminators import FullyConvolutionalDiscriminator
from semisup.models.base import Segmenter
from semisup.settings import OptimSettings
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Progress, Unlabelled

CLASSES, HEIGHT, WIDTH, STEPS, RATE = 3, 96, 64, 5, 0.05

Build = Callable[..., Any]


@pytest.fixture
def build(segmenters: dict[str, Callable[[], Segmenter]]) -> Build:
    def build(kind: str = "plain", **options: Any) -> Any:
        torch.manual_seed(0)
        method = create("adversarial", segmenters[kind], CLASSES, (HEIGHT, WIDTH), **options)
        return opinionated(method.double().train())

    return build


def opinionated(method: Any) -> Any:
    """With a discriminator that says something, where a fresh one gives 0.5 everywhere."""
    for layer in method.discriminator.layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.15)
    return method


def batch_of(seed: int) -> Batch:
    """Two labelled images with a void band, two unlabelled ones with a padded edge."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 2, 3, HEIGHT, WIDTH, generator=draw, dtype=torch.float64)
    mask = torch.randint(0, CLASSES, (2, HEIGHT, WIDTH), generator=draw)
    mask[:, :9] = IGNORE
    valid = torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool)
    valid[1, :, -11:] = False
    free = images[1].masked_fill(~valid[:, None], 0.0)
    return Batch(
        labelled=whole(images[0], mask, ("a", "b")),
        unlabelled=Unlabelled(free, valid, ("c", "d")),
    )


def confidence(discriminator: nn.Module, maps: Tensor) -> Tensor:
    """The authors' `interp(model_D(...))`: BHW."""
    logits = discriminator.layers(maps)
    size = list(maps.shape[-2:])
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=True).squeeze(1)


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(
        logits, torch.full_like(logits, target), reduction="none"
    )


def authors_step(
    method: Any, batch: Batch, optimisers: dict[str, torch.optim.Optimizer], progress: Progress
) -> None:
    """train.py of hfslyc/AdvSemiSeg, with the labelled batch's own masks as the true ones."""
    segmenter, discriminator = method.segmenter, method.discriminator
    image, mask, free = batch.labelled.image, batch.labelled.mask, batch.unlabelled.image
    semi, semi_adversarial = method.self_taught_weight, method.adversarial_weight_unlabelled
    loss, remain = torch.zeros((), dtype=torch.float64), None
    discriminator.requires_grad_(False)
    if semi > 0 or semi_adversarial > 0:
        others = segmenter(free)
        remain = others.detach()
        scores = confidence(discriminator, others.softmax(1))
        adversarial = semi_adversarial * bce(scores, 1.0).mean()
        if semi <= 0 or progress.fraction < method.self_taught_start:
            loss = loss + adversarial
        else:
            target = others.detach().argmax(1)
            target[scores.sigmoid() < method.confidence_threshold] = IGNORE
            if (target != IGNORE).any():
                loss = loss + semi * F.cross_entropy(others, target, ignore_index=IGNORE)
                loss = loss + adversarial
    known = mask != IGNORE
    logits = segmenter(image)
    scores = confidence(discriminator, logits.softmax(1))
    loss = loss + F.cross_entropy(logits, mask, ignore_index=IGNORE)
    loss = loss + method.adversarial_weight * bce(scores, 1.0)[known].mean()
    optimisers["segmenter"].zero_grad()
    loss.backward()
    discriminator.requires_grad_(True)
    shown, counts = logits.detach(), known
    if remain is not None:
        shown = torch.cat([shown, remain])
        counts = torch.cat([counts, torch.ones_like(known)])
    fake = bce(confidence(discriminator, shown.softmax(1)), 0.0)[counts].mean() / 2
    truth = torch.stack([mask == label for label in range(CLASSES)], dim=1).double()
    real = bce(confidence(discriminator, truth), 1.0)[known].mean() / 2
    optimisers["discriminator"].zero_grad()
    (fake + real).backward()
    for optimiser in optimisers.values():
        optimiser.step()


SITUATIONS: dict[str, tuple[dict[str, Any], int]] = {
    "self-taught": ({"confidence_threshold": 0.5}, 90),
    "before self-teaching": ({}, 0),
    "before self-teaching, no adversarial term": ({"adversarial_weight_unlabelled": 0.0}, 0),
    "no self-teaching": ({"self_taught_weight": 0.0}, 90),
    "nothing passes": ({"confidence_threshold": 1.0, "adversarial_weight_unlabelled": 0.5}, 90),
    "labelled images alone": (
        {"self_taught_weight": 0.0, "adversarial_weight_unlabelled": 0.0},
        90,
    ),
}
"""Options, and the first of 100 steps."""


def distance(build: Build, kind: str, options: dict[str, Any], first: int, follows: str) -> float:
    """The largest difference of a weight from the authors' after some steps."""
    ours = build(kind, follows=follows, **options)
    theirs = copy.deepcopy(ours)
    sgd = OptimSettings(kind="sgd", lr=RATE, momentum=0.0, schedule="constant")
    updates = Updates(ours.players(), dict.fromkeys(ours.players(), sgd))
    optimisers = {
        player: torch.optim.SGD(
            [{"params": list(g.params), "lr": RATE * g.lr_scale} for g in groups]
        )
        for player, groups in theirs.players().items()
    }
    for step in range(STEPS):
        batch, progress = batch_of(step), Progress(first + step, 100)
        updates.begin(progress)
        ours.step(batch, progress, updates)
        authors_step(theirs, batch, optimisers, progress)
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_some_steps_are_those_of_the_authors_loop(situation: str, build: Build) -> None:
    options, first = SITUATIONS[situation]
    assert distance(build, "plain", options, first, "code") < 1e-12
    assert distance(build, "plain", options, first, "paper") > 1e-6


@pytest.mark.parametrize("situation", ["self-taught", "before self-teaching", "nothing passes"])
def test_batch_norms_see_what_they_see_in_the_authors_loop(situation: str, build: Build) -> None:
    options, first = SITUATIONS[situation]
    assert distance(build, "batch_norm", options, first, "code") < 1e-12


# Each difference by itself


def test_the_corners_of_the_logits_are_aligned() -> None:
    torch.manual_seed(0)
    network = FullyConvolutionalDiscriminator(CLASSES, width=4, align_corners=True).double()
    maps = torch.rand(2, CLASSES, HEIGHT, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        logits, coarse = network(maps), network.layers(maps)
        other = FullyConvolutionalDiscriminator(CLASSES, width=4).double()
        other.load_state_dict(network.state_dict())
        assert not torch.allclose(other(maps), logits)
    corners = (
        slice(None),
        slice(None),
        slice(None, None, HEIGHT - 1),
        slice(None, None, WIDTH - 1),
    )
    assert coarse.shape[-2:] == (3, 2)
    torch.testing.assert_close(logits[corners], coarse[:, :, ::2])
    middle = coarse[:, :, 1].lerp(coarse[:, :, 2], 1 / 95 * 2 * 48 - 1)
    torch.testing.assert_close(logits[:, :, 48, :: WIDTH - 1], middle)


def shown_to(method: Any, batch: Batch, progress: Progress) -> list[Tensor]:
    """The maps that the discriminator sees in a step."""
    seen: list[Tensor] = []
    hook = method.discriminator.register_forward_pre_hook(
        lambda _, maps: seen.append(maps[0].detach())
    )
    method.step(batch, progress, lambda player, loss, keep_graph=False: None)
    hook.remove()
    return seen


def test_void_pixels_of_the_ground_truth_are_holes(build: Build) -> None:
    batch = batch_of(0)
    void = batch.labelled.mask == IGNORE
    sums = {
        follows: shown_to(build(follows=follows), batch, Progress(90, 100))[-1].sum(dim=1)
        for follows in ("paper", "code")
    }
    assert torch.equal(sums["code"], (~void).double())
    assert torch.equal(sums["paper"], torch.ones_like(sums["paper"]))


def test_unlabelled_predictions_are_shown_from_the_first_step(build: Build) -> None:
    batch, first = batch_of(0), Progress(0, 100)
    options = {"adversarial_weight_unlabelled": 0.0}
    assert len(shown_to(build(follows="paper", **options), batch, first)) == 2
    assert len(shown_to(build(follows="code", **options), batch, first)) == 3
    off = options | {"self_taught_weight": 0.0}
    assert len(shown_to(build(follows="code", **off), batch, first)) == 2


def test_padding_of_unlabelled_images_counts(build: Build, gradients: Any) -> None:
    batch = batch_of(0)
    free = batch.unlabelled
    changed = free.image.masked_fill(~free.valid[:, None], 3.0)
    other = Batch(labelled=batch.labelled, unlabelled=Unlabelled(changed, free.valid, free.ids))
    for follows, same in (("paper", True), ("code", False)):
        method = build("pixelwise", follows=follows)
        method.discriminator = Pointwise()
        losses = [
            method.step(one, Progress(90, 100), gradients(method))["loss_adversarial_unlabelled"]
            for one in (batch, other)
        ]
        assert torch.equal(losses[0], losses[1]) is same


class Pointwise(nn.Module):
    """A discriminator that looks at single pixels: of padding it sees padding alone."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64))

    def forward(self, maps: Tensor) -> Tensor:
        return (self.weight.view(1, -1, 1, 1) * maps).sum(1, keepdim=True)


@pytest.mark.parametrize(("threshold", "acts"), [(1.0, False), (0.0, True)])
def test_where_no_pixel_passes_there_is_no_adversarial_term_on_unlabelled_images(
    threshold: float, acts: bool, build: Build, gradients: Any
) -> None:
    batch, late = batch_of(0), Progress(90, 100)
    method = build(
        follows="code", confidence_threshold=threshold, adversarial_weight_unlabelled=0.5
    )
    both, alone = gradients(method), gradients(method)
    scalars = method.step(batch, late, both)
    method.self_taught_weight = method.adversarial_weight_unlabelled = 0.0
    method.step(batch, late, alone)
    assert torch.equal(both.vector("segmenter"), alone.vector("segmenter")) is not acts
    assert (float(scalars["loss_adversarial_unlabelled"]) > 0) is acts
    paper = build(confidence_threshold=threshold).step(batch, late, gradients(method))
    assert float(paper["loss_adversarial_unlabelled"]) > 0


def test_batches_of_two_sizes_are_averaged_over_all_pixels(build: Build) -> None:
    """As with data.crop = "whole"."""
    batch = batch_of(0)
    free = batch.unlabelled
    small = Unlabelled(free.image[..., :64, :], free.valid[..., :64, :], free.ids)
    method = build(follows="code")
    scalars = method.step(
        Batch(labelled=batch.labelled, unlabelled=small),
        Progress(0, 100),
        lambda player, loss, keep_graph=False: None,
    )
    known = batch.labelled.mask != IGNORE
    with torch.no_grad():
        own = method.discriminator(method.segmenter(batch.labelled.image).softmax(1)).squeeze(1)
        others = method.discriminator(method.segmenter(small.image).softmax(1)).squeeze(1)
    fakes = torch.cat([own[known], others.flatten()]).sigmoid()
    assert float(scalars["d_fake"]) == pytest.approx(float(fakes.mean()), rel=1e-6)
