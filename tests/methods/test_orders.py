"""The fast step equals a textbook one: separate looks, toggled gradients, separate backward passes.

The textbook is written out here, from the papers' formulas, with torch's own losses and optimisers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.textbook import CLASSES, Optimisers, Textbook, descend, side_by_side
from torch import Tensor, nn

from semisup.types import IGNORE, Batch, Progress

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(3, 1, 1)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    network.requires_grad_(False)
    yield
    network.requires_grad_(True)


def adversarial(method: Any, batch: Batch, optimisers: Optimisers, progress: Progress) -> None:
    """Hung et al. 2018, late in the run."""
    segmenter, judge = method.segmenter, method.discriminator
    image, mask, free = batch.labelled.image, batch.labelled.mask, batch.unlabelled
    known = mask != IGNORE
    with frozen(judge):
        logits = segmenter(image)
        look = judge(logits.softmax(1)).squeeze(1)
        others = segmenter(free.image)
        look_free = judge(others.softmax(1)).squeeze(1)
        trusted = free.valid & (look_free.sigmoid() > method.confidence_threshold)
        taught = F.cross_entropy(others, others.argmax(1), reduction="none")[trusted]
        loss = (
            F.cross_entropy(logits, mask, ignore_index=IGNORE)
            + method.adversarial_weight * F.softplus(-look)[known].mean()
            + method.adversarial_weight_unlabelled * F.softplus(-look_free)[free.valid].mean()
            + method.self_taught_weight * taught.sum() / max(1, len(taught))
        )
        before = copy.deepcopy(segmenter)
        descend(optimisers["segmenter"], loss)
    with torch.no_grad():
        predicted = before(image).softmax(1)
    truth = torch.where(known, mask, predicted.argmax(1))
    real = judge(F.one_hot(truth, CLASSES).permute(0, 3, 1, 2).double()).squeeze(1)
    fake = judge(predicted).squeeze(1)
    descend(
        optimisers["discriminator"],
        0.5 * (F.softplus(-real)[known].mean() + F.softplus(fake)[known].mean()),
    )


def gan(
    method: Any, batch: Batch, optimisers: Optimisers, progress: Progress, *, weak: bool
) -> None:
    """Souly et al. 2017: p(generated) by softmax over K + 1; with stabilisers if asked for."""
    segmenter, generator = method.segmenter, method.generator
    real = batch.weak if weak else batch.unlabelled
    told = [real.tags[:, 1:]] if weak else []

    def noisy(images: Tensor) -> Tensor:
        if not method.game.instance_noise:
            return images
        fading = method.game.instance_noise * (1 - progress.step / progress.steps)
        return images + torch.randn_like(images) * fading

    noise = 2 * torch.rand(len(real.image), generator.noise, dtype=torch.float64) - 1
    with frozen(segmenter):
        made = noisy((generator(noise, *told) - MEAN) / DEVIATION)
        generated = segmenter(made).softmax(1)[:, -1]
        before = made.detach()
        descend(optimisers["generator"], -(1 - generated).log().mean())
    if method.average is not None:
        decay = method.average.decay
        for mean, now in zip(method.average.parameters(), generator.parameters(), strict=True):
            mean.copy_(decay * mean + (1 - decay) * now.detach())
    logits = segmenter(batch.labelled.image)[:, :-1]
    seen = noisy(real.image).detach().requires_grad_()
    shares = segmenter(seen).softmax(1)
    held = (shares[:, :-1] * real.tags[:, :, None, None]).sum(1) if weak else 1 - shares[:, -1]
    odds = (1 / shares[:, -1] - 1).log()
    penalty = torch.zeros(())
    if method.game.r1:
        means = [image[valid].mean() for image, valid in zip(odds, real.valid, strict=True)]
        (slope,) = torch.autograd.grad(sum(means), seen, create_graph=True)
        penalty = (slope.square() * real.valid[:, None]).sum() / (2 * len(means))
    generated = segmenter(before).softmax(1)[:, -1]
    descend(
        optimisers["segmenter"],
        F.cross_entropy(logits, batch.labelled.mask, ignore_index=IGNORE)
        - method.unlabelled_weight * held.log()[real.valid].mean()
        - method.generated_weight * generated.log().mean()
        + method.game.r1 * penalty,
    )


TEXTBOOK: dict[str, Textbook] = {
    "adversarial": adversarial,
    "gan_segmentation": lambda *step: gan(*step, weak=False),
    "gan_segmentation_weak": lambda *step: gan(*step, weak=True),
}

STABILISED_GAN = {
    "instance_noise": 0.5,
    "r1": 200.0,
    "generator_average": 0.9,
}
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in TEXTBOOK),
    ("gan_segmentation", STABILISED_GAN),
    ("gan_segmentation_weak", STABILISED_GAN),
]
"""Methods and their options; a stabiliser must leave the shared look as it is."""


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("kind", ["plain", "batch_norm"])
def test_the_fast_step_equals_the_textbook_in_every_parameter(
    name: str,
    options: dict[str, Any],
    kind: str,
    segmenters: dict[str, Callable[..., Any]],
    make_batch: Callable[..., Batch],
) -> None:
    fast, slow, start = side_by_side(
        name,
        segmenters[kind],
        options,
        TEXTBOOK[name],
        lambda _, step: make_batch(step, dtype=torch.float64),
    )
    expected = dict(slow.named_parameters())
    for key, p in fast.named_parameters():
        torch.testing.assert_close(p, expected[key], rtol=1e-9, atol=1e-11, msg=key)
    moved = [key for key, p in fast.named_parameters() if not torch.equal(p, start[key])]
    assert len(moved) > 0.7 * len(expected)
