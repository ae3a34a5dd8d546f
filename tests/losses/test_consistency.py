"""Consistency losses: closed forms, directions of gradients, and values of the authors' code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.oracles import Oracle
from torch import Tensor

from semisup.losses.consistency import (
    PseudoDivisor,
    PseudoLabels,
    agreement,
    confident,
    pseudo_label_loss,
    squared_differences,
)
from semisup.losses.segmentation import cross_entropy, masked_mean
from semisup.ops.cutmix import paste
from semisup.types import IGNORE

VALID = torch.tensor([[[True, True, True, False]]])


def squared_difference(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    return masked_mean(squared_differences(logits, target), counted)


def four_pixels() -> Tensor:
    """Logits of two classes, whose more probable one has 1/2, 3/4, 4/5 and 9/10."""
    return torch.tensor([1.0, 3.0, 4.0, 9.0]).log().view(1, 1, 1, 4) * torch.tensor(
        [0.0, 1.0]
    ).view(1, 2, 1, 1)


@pytest.mark.parametrize(("threshold", "taught"), [(0.0, 3), (0.75, 2), (0.78, 1), (0.95, 0)])
def test_confident_pixels_are_taught_and_padding_never(threshold: float, taught: int) -> None:
    labels = confident(four_pixels(), threshold, VALID)
    assert labels.taught.sum() == taught
    assert labels.classes[0, 0, 1:].tolist() == [1, 1, 1]
    assert labels.share() == pytest.approx(taught / 3)
    assert (labels.as_mask() == IGNORE).sum() == 4 - taught
    assert confident(four_pixels(), threshold, None).taught[0, 0, 3] == (threshold <= 0.9)


@pytest.mark.parametrize(("divisor", "pixels"), [("valid", 3), ("taught", 2), ("all", 4)])
def test_the_sum_is_divided_as_said(divisor: PseudoDivisor, pixels: int) -> None:
    labels = confident(four_pixels(), 0.75, VALID)
    student = torch.zeros(1, 2, 1, 4, requires_grad=True)
    loss = pseudo_label_loss(student, labels, divisor)
    assert loss.item() == pytest.approx(2 * math.log(2) / pixels)
    loss.backward()
    assert student.grad is not None
    wanted = torch.tensor([0.0, 1.0, 1.0, 0.0]) / (2 * pixels)
    torch.testing.assert_close(student.grad[0, :, 0], torch.stack([wanted, -wanted]))


def test_where_nothing_is_taught_the_loss_is_0() -> None:
    nowhere = torch.zeros_like(VALID)
    student = torch.randn(1, 2, 1, 4, requires_grad=True)
    divisors: tuple[PseudoDivisor, ...] = ("valid", "taught", "all")
    for divisor in divisors:
        loss = pseudo_label_loss(student, confident(four_pixels(), 0.0, nowhere), divisor)
        assert loss == 0
    assert squared_difference(student, four_pixels().softmax(1), nowhere) == 0


def test_squares_are_summed_over_the_classes() -> None:
    student = torch.zeros(1, 2, 1, 4, requires_grad=True)
    target = four_pixels().softmax(1).requires_grad_()
    loss = squared_difference(student, target, VALID)
    assert loss.item() == pytest.approx(2 * (0 + 1 / 4**2 + 0.3**2) / 3)
    loss.backward()
    assert target.grad is None, "the target is no way to lower the loss"
    assert student.grad is not None
    assert (student.grad[0, 1, 0, 1:3] < 0).all(), "towards the target"
    assert (student.grad[..., 3] == 0).all()


def test_labels_are_pasted_as_images_are() -> None:
    drawn = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=drawn)
    labels = confident(logits, 0.5, torch.rand(2, 4, 4, generator=drawn) > 0.2)
    boxes = torch.rand(2, 4, 4, generator=drawn) > 0.5
    mixed = labels.pasted(boxes)
    for field in ("classes", "taught", "valid"):
        own, got = getattr(labels, field), getattr(mixed, field)
        assert torch.equal(got, torch.where(boxes, own.flip(0), own))


def test_coarse_labels_have_the_padding_and_the_boxes_of_their_middles() -> None:
    drawn = torch.Generator().manual_seed(0)
    valid, boxes = (torch.rand(2, 8, 12, generator=drawn) > share for share in (0.3, 0.5))
    labels = confident(torch.randn(2, 3, 2, 3, generator=drawn), 0.0, valid)
    mixed = labels.pasted(boxes)
    for number in range(2):
        for row in range(2):
            for column in range(3):
                place = (row * 4 + 2, column * 4 + 2)
                here = (number, row, column)
                assert labels.valid[here] == labels.taught[here] == valid[number][place]
                source = 1 - number if boxes[number][place] else number
                assert mixed.classes[here] == labels.classes[source, row, column]
                assert mixed.valid[here] == valid[source][place]


def fixmatch(given: Mapping[str, Tensor], options: Mapping[str, Any]) -> Tensor:
    """(Lx + Lu) / 2 of UniMatch's fixmatch.py."""
    mixed = _mixed(given, given["cutmix_box"], given["pred_u_w_mix"], options)
    return 0.5 * (_supervised(given) + pseudo_label_loss(given["pred_u_s"], mixed))


def unimatch(given: Mapping[str, Tensor], options: Mapping[str, Any]) -> Tensor:
    """Of unimatch.py: two strong views, and dropped features against labels that are not mixed."""
    own = confident(given["pred_u_w"], options["conf_thresh"], given["ignore_mask"] != IGNORE)
    strong = [
        pseudo_label_loss(
            given[f"pred_u_s{number}"],
            _mixed(given, given[f"cutmix_box{number}"], given["pred_u_w_mix"], options),
        )
        for number in (1, 2)
    ]
    features = pseudo_label_loss(given["pred_u_w_fp"], own)
    taught = 0.25 * strong[0] + 0.25 * strong[1] + 0.5 * features
    return 0.5 * (_supervised(given) + taught)


def _supervised(given: Mapping[str, Tensor]) -> Tensor:
    return cross_entropy(given["pred_x"], given["mask_x"])


def _mixed(
    given: Mapping[str, Tensor], box: Tensor, partner: Tensor, options: Mapping[str, Any]
) -> PseudoLabels:
    own, other = (
        confident(given[logits], options["conf_thresh"], given[padding] != IGNORE)
        for logits, padding in (("pred_u_w", "ignore_mask"), ("pred_u_w_mix", "ignore_mask_mix"))
    )
    return PseudoLabels(
        *(
            paste(getattr(other, field), getattr(own, field), box == 1)
            for field in ("classes", "taught", "valid")
        )
    )


def cps(given: Mapping[str, Tensor], options: Mapping[str, Any]) -> Tensor:
    """CPS with CutMix: each network taught the other one's mixed classes."""
    box, total = given["batch_mix_masks"] == 1, torch.zeros((), dtype=torch.float64)
    for own, other in ((1, 2), (2, 1)):
        said = [
            confident(given[f"logits_u{image}_tea_{other}"], 0.0, None).classes for image in (0, 1)
        ]
        everywhere = torch.ones_like(box)
        labels = PseudoLabels(paste(said[1], said[0], box), everywhere, everywhere)
        total = total + options["cps_weight"] * pseudo_label_loss(
            given[f"logits_cons_stu_{own}"], labels
        )
    supervised = [cross_entropy(given[f"sup_pred_{side}"], given["gts"]) for side in "lr"]
    return total + supervised[0] + supervised[1]


def mean_teacher(given: Mapping[str, Tensor], options: Mapping[str, Any]) -> Tensor:
    """TorchSemiSeg's: 100 times the mean over pixels and classes, of labelled images too."""
    student = torch.cat([given["s_sup_pred"], given["s_unsup_pred"]])
    teacher = torch.cat([given["t_sup_pred"], given["t_unsup_pred"]]).softmax(1)
    everywhere = torch.ones(len(student), *student.shape[2:], dtype=torch.bool)
    mean = squared_difference(student, teacher, everywhere) / student.shape[1]
    return options["unsup_weight"] * mean


def cutmix_seg(given: Mapping[str, Tensor], options: Mapping[str, Any]) -> Tensor:
    """Theirs divides by all pixels, padding too, and counts its confidence."""
    box = given["batch_mix_masks"] == 1
    teacher = paste(given["logits_u1_tea"].softmax(1), given["logits_u0_tea"].softmax(1), box)
    valid = paste(given["batch_um1"], given["batch_um0"], box) == 1
    sure = teacher.amax(1) > options["conf_thresh"]
    student, share = given["logits_cons_stu"], valid.double().mean()
    if options["conf_per_pixel"]:
        counted = valid & sure
        return squared_difference(student, teacher, counted) * counted.double().mean()
    return squared_difference(student, teacher, valid) * share * sure.double().mean()


FORMS = {
    "fixmatch_total_thr0.95": fixmatch,
    "fixmatch_total_thr0.00": fixmatch,
    "unimatch_v1_total": unimatch,
    "cps_cutmix_total": cps,
    "mean_teacher_mse": mean_teacher,
    "cutmix_seg_consistency_var_thr0.97": cutmix_seg,
    "cutmix_seg_consistency_var_thr0.97_perpixel": cutmix_seg,
    "cutmix_seg_consistency_var_thr0.00": cutmix_seg,
}


@pytest.mark.parametrize("name", FORMS)
def test_value_and_gradients_are_those_of_the_authors_code(
    name: str, oracles: Mapping[str, Oracle]
) -> None:
    oracles[name].compare(FORMS[name])


def test_augsegs_term_is_divided_by_all_pixels(oracles: Mapping[str, Oracle]) -> None:
    def augseg(given: Mapping[str, Tensor], options: Mapping[str, Any]) -> Tensor:
        known = given["target"] != IGNORE
        taught = known & (given["conf"] >= 0.95)
        classes = given["target"].masked_fill(~known, 0)
        return pseudo_label_loss(given["predict"], PseudoLabels(classes, taught, known), "all")

    oracles["augseg_unsup_thr0.95"].compare(augseg)


def test_the_mean_over_taught_pixels_is_torchs_own() -> None:
    drawn = torch.Generator().manual_seed(1)
    teacher, student = (torch.randn(2, 4, 5, 5, generator=drawn) for _ in range(2))
    labels = confident(teacher, 0.4, torch.rand(2, 5, 5, generator=drawn) > 0.3)
    expected = F.cross_entropy(student, labels.as_mask(), ignore_index=IGNORE)
    torch.testing.assert_close(pseudo_label_loss(student, labels, "taught"), expected)
    assert labels.share() == masked_mean(labels.taught.float(), labels.valid)


def test_agreement_is_a_share_of_the_counted_pixels() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.0], [2.0, 1.0, 0.0, 9.0]]).view(1, 2, 1, 4)
    assert agreement(logits, logits.flip(1), VALID) == 0
    assert agreement(logits, logits, VALID) == 1
    classes = torch.tensor([[[1, 0, 1, 0]]])
    assert agreement(logits, classes, VALID) == pytest.approx(2 / 3)
    assert agreement(logits, classes, torch.zeros_like(VALID)) == 0


def test_half_precision_decides_in_full() -> None:
    """A softmax in bfloat16 would put 0.949 at 0.95, and lose most digits of a square."""
    logits = torch.tensor([2.9251, 0.0]).view(1, 2, 1, 1)  # 0.9491
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not confident(logits.bfloat16(), 0.9495, None).taught.any()
        squares = squared_differences(logits.bfloat16(), torch.zeros_like(logits))
    assert squares.dtype == torch.float32
