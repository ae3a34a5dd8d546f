"""Steps of the consistency methods with `follows = "code"`: pass by pass as in the authors' files.

In their order, which running statistics tell; and what these options refuse and leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.consistency import answer, boxes_of, pasted, strong, supervised, validity, weak
from support.methods import create
from support.textbook import CLASSES, SIDE, Optimisers, descend, side_by_side
from torch import Tensor, nn

from semisup.contracts.toys import toy_batch
from semisup.errors import RecipeError
from semisup.ops.cutmix import CPS, FRENCH, UNIMATCH
from semisup.types import Batch, Progress, Reads, Unlabelled

THRESHOLD = 0.4


def masked(logits: Tensor, said: Tensor, valid: Tensor) -> Tensor:
    """criterion_u of UniMatch, times its mask, over the pixels that are no padding."""
    confidence, label = said.max(1)
    losses = F.cross_entropy(logits, label, reduction="none")
    return (losses * ((confidence >= THRESHOLD) & valid)).sum() / valid.sum()


def of_crops(free: Unlabelled, own: Tensor, second: Tensor) -> Callable[[Unlabelled], Tensor]:
    """What the first crops and the second ones are said to show."""
    return lambda crop: own if crop is free else second


def fixmatch(method: Any, batch: Batch, optimisers: Optimisers, progress: Progress) -> None:
    free, student = batch.unlabelled, method.segmenter
    assert free.numbers is not None
    assert free.partner is not None
    boxes = boxes_of(UNIMATCH, free.numbers)
    second = answer(student, free.partner.image)
    labelled, own = student(torch.cat([batch.labelled.image, free.image])).split(2)
    on_strong = student(pasted(free, boxes, strong(0)))
    said = pasted(free, boxes, of_crops(free, own.detach().softmax(1), second))
    term = masked(on_strong, said, pasted(free, boxes, validity))
    descend(optimisers["segmenter"], (supervised(labelled, batch.labelled.mask) + term) / 2)
    copy_over(method.teacher.network, student)


def unimatch(method: Any, batch: Batch, optimisers: Optimisers, progress: Progress) -> None:
    free, student = batch.unlabelled, method.segmenter
    assert free.numbers is not None
    assert free.partner is not None
    boxes = [boxes_of(UNIMATCH, free.numbers[:, place : place + 5]) for place in (0, 5)]
    second = answer(student, free.partner.image)
    (features,) = student.encode(torch.cat([batch.labelled.image, free.image]))
    clean, dropped = student.decode([torch.cat([features, F.dropout2d(features)])]).chunk(2)
    views = [pasted(free, box, strong(number)) for number, box in enumerate(boxes)]
    on_strong = student(torch.cat(views)).chunk(2)
    own = clean[2:].detach().softmax(1)
    terms = [
        masked(maps, pasted(free, box, of_crops(free, own, second)), pasted(free, box, validity))
        for maps, box in zip(on_strong, boxes, strict=True)
    ]
    loss = supervised(clean[:2], batch.labelled.mask) + 0.25 * terms[0] + 0.25 * terms[1]
    loss = loss + 0.5 * masked(dropped[2:], own, free.valid)
    descend(optimisers["segmenter"], loss / 2)
    copy_over(method.teacher.network, student)


def copy_over(network: nn.Module, student: nn.Module) -> None:
    network.load_state_dict(student.state_dict())


def cps(method: Any, batch: Batch, optimisers: Optimisers, progress: Progress) -> None:
    free, networks = batch.unlabelled, (method.segmenter, method.second_segmenter)
    assert free.numbers is not None
    assert free.partner is not None
    boxes = boxes_of(CPS, free.numbers)
    with torch.no_grad():
        said = [[network(crop.image) for crop in free.crops] for network in networks]
    labels = [pasted(free, boxes, of_crops(free, *one)).argmax(1) for one in said]
    mixed = pasted(free, boxes, weak)
    cross = [
        F.cross_entropy(network(mixed), label)
        for network, label in zip(networks, reversed(labels), strict=True)
    ]
    own = [supervised(network(batch.labelled.image), batch.labelled.mask) for network in networks]
    for name, one, other in zip(optimisers, own, cross, strict=True):
        descend(optimisers[name], one + other)


def cutmix_seg(method: Any, batch: Batch, optimisers: Optimisers, progress: Progress) -> None:
    free, student = batch.unlabelled, method.segmenter
    assert free.numbers is not None
    boxes = boxes_of(FRENCH, free.numbers)
    labelled = student(batch.labelled.image)
    said = pasted(free, boxes, lambda crop: answer(method.teacher.network, crop.image))
    squares = (student(pasted(free, boxes, weak)).softmax(1) - said).pow(2).sum(1)
    sure = (said.max(1).values >= THRESHOLD).double().mean()
    term = (squares * pasted(free, boxes, validity) * sure).mean()
    descend(optimisers["segmenter"], supervised(labelled, batch.labelled.mask) + term)
    theirs = student.state_dict()
    for key, value in method.teacher.network.state_dict().items():
        average = 0.99 * value + 0.01 * theirs[key] if value.is_floating_point() else theirs[key]
        value.copy_(average)


def mean_teacher(method: Any, batch: Batch, optimisers: Optimisers, progress: Progress) -> None:
    student, teacher = method.segmenter, method.teacher.network.train()
    on_labelled = student(batch.labelled.image)
    with torch.no_grad():
        said = [teacher(batch.labelled.image)]
        for average, now in zip(teacher.parameters(), student.parameters(), strict=True):
            average.mul_(0.99).add_(0.01 * now)
        said.append(teacher(batch.unlabelled.image))
    teacher.eval()
    logits = torch.cat([on_labelled, student(batch.unlabelled.image)])
    term = 100 * F.mse_loss(logits.softmax(1), torch.cat(said).softmax(1))
    descend(optimisers["segmenter"], supervised(on_labelled, batch.labelled.mask) + term)


TEXTBOOK = {
    "cps": cps,
    "cutmix_seg": cutmix_seg,
    "fixmatch": fixmatch,
    "mean_teacher": mean_teacher,
    "unimatch": unimatch,
}
UNSURE = ("cps", "mean_teacher")


@pytest.mark.parametrize("name", TEXTBOOK)
@pytest.mark.parametrize("kind", ["plain", "batch_norm"])
def test_a_step_equals_that_of_the_authors_in_every_weight(
    name: str, kind: str, segmenters: dict[str, Callable[..., Any]]
) -> None:
    fast, slow, start = side_by_side(
        name,
        segmenters[kind],
        {"follows": "code"} | ({} if name in UNSURE else {"confidence_threshold": THRESHOLD}),
        TEXTBOOK[name],
        lambda method, step: toy_batch(method.reads, step, dtype=torch.float64),
    )
    expected = slow.state_dict()
    for key, value in fast.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-9, atol=1e-11, msg=key)
    moved = [key for key, value in fast.state_dict().items() if not torch.equal(value, start[key])]
    assert len(moved) > 0.7 * len(start)


def test_what_is_read_follows_the_options(segmenters: dict[str, Callable[..., Any]]) -> None:
    made = partial(create, build_segmenter=segmenters["plain"], num_classes=CLASSES)
    for name in ("cps", "fixmatch", "unimatch"):
        whole = made(name).reads
        assert not whole.unlabelled_partner
        assert made(name, follows="code").reads == made(name, partner="self").reads != whole
    assert made("cutmix_seg", follows="code").reads == made("cutmix_seg").reads
    assert made("mean_teacher", follows="code").reads == Reads(unlabelled=True)


@pytest.mark.parametrize("name", ["cutmix_seg", "cps", "fixmatch", "unimatch"])
def test_each_batch_has_the_passes_of_the_code(
    name: str, segmenters: dict[str, Callable[..., Any]]
) -> None:
    method = create(name, segmenters["batch_norm"], CLASSES, (SIDE, SIDE), follows="code").train()
    method.step(toy_batch(method.reads), Progress(90, 100), lambda *_, keep_graph=False: None)
    passes = {"cps": 4, "cutmix_seg": 2, "fixmatch": 2, "unimatch": 2}
    assert int(method.segmenter.body[1].num_batches_tracked) == passes[name]


def test_the_student_of_the_authors_mean_teacher_is_scored(
    segmenters: dict[str, Callable[..., Any]],
) -> None:
    method = create("mean_teacher", segmenters["batch_norm"], CLASSES, follows="code").train()
    assert method.predictor() is method.segmenter
    before = method.teacher.network.body[1].running_mean.clone()
    method.step(toy_batch(method.reads), Progress(90, 100), lambda *_, keep_graph=False: None)
    assert not torch.equal(method.teacher.network.body[1].running_mean, before)
    assert not method.teacher.network.training


@pytest.mark.parametrize("name", TEXTBOOK)
def test_losses_of_the_code_are_at_the_size_of_the_image(
    name: str, segmenters: dict[str, Callable[..., Any]]
) -> None:
    options = {"follows": "code", "resolution": "logits"}
    with pytest.raises(RecipeError, match=r"is not in the authors' code: leave it at \"image\""):
        create(name, segmenters["plain"], CLASSES, **options)


def test_unimatchs_code_has_no_place_for_auxiliary_maps(
    segmenters: dict[str, Callable[..., Any]],
) -> None:
    made = partial(create, "unimatch", segmenters["auxiliary"], CLASSES, follows="code")
    with pytest.raises(
        RecipeError, match=r'follows = "code" takes .* ToySegmenter has auxiliary ones\. Take'
    ):
        made()
    assert made(unlabelled_weight=0.0)
