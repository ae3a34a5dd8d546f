"""Losses of weak labels beside the authors' own code: values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.oracles import Oracle
from torch import Tensor

from semisup.losses.segmentation import cross_entropy
from semisup.losses.weak.dense_crf import dense_crf
from semisup.losses.weak.gated_crf import gated_crf
from semisup.losses.weak.normalised_cut import normalised_cut
from semisup.losses.weak.presence import objectness_loss, presence_loss
from semisup.losses.weak.tree_energy import tree_energy
from semisup.types import IGNORE

Given = Mapping[str, Tensor]
Options = Mapping[str, Any]


def everywhere(like: Tensor) -> Tensor:
    return torch.ones(len(like), *like.shape[-2:], dtype=torch.bool)


def their_gated_crf(given: Given, options: Options) -> Tensor:
    """Theirs gates the neighbours alone, and divides by the last mask that it is given."""
    logits = given["logits"]
    image = F.interpolate(given["rgb"], logits.shape[-2:], mode="area")
    valid = given["mask_src"] == 1 if "mask_src" in given else everywhere(logits)
    taught = given["mask_dst"] == 1 if "mask_dst" in given else everywhere(logits)
    loss = gated_crf(
        logits,
        image,
        valid,
        taught=taught,
        radius=options["radius"],
        position_sigma=options["xy"],
        colour_sigma=options["rgb"],
    )
    return loss if "mask_dst" in given else loss * taught.sum() / valid.sum()


def their_dense_crf(given: Given, options: Options) -> Tensor:
    """-(1/B) sum of S^T W S, which is the share of ours times 1^T W 1, but for a constant."""
    step = round(1 / options["scale_factor"])
    image, valid = given["image"][..., ::step, ::step], given["roi"][..., ::step, ::step] == 1
    shares = F.avg_pool2d(given["logits"].softmax(1), step)
    total = torch.zeros((), dtype=torch.float64)
    sigmas = options["sigma_xy"] / step, options["sigma_rgb"]
    for own, picture, known in zip(shares, image, valid, strict=True):
        share = dense_crf(
            own.log()[None],
            picture[None],
            known[None],
            position_sigma=sigmas[0],
            colour_sigma=sigmas[1],
        )
        total = total - (1 - share) * whole_kernel(picture, known, *sigmas)
    return total / len(shares)


def whole_kernel(image: Tensor, valid: Tensor, position_sigma: float, colour_sigma: float) -> float:
    """1^T W 1 by all pairs."""
    y, x = torch.meshgrid(*(torch.arange(n) for n in image.shape[-2:]), indexing="ij")
    place = torch.stack([y, x]).double() / position_sigma
    points = torch.cat([place, image / colour_sigma]).flatten(1).T[valid.flatten()]
    return float((-torch.cdist(points, points).square() / 2).exp().sum())


def our_cut(given: Given, options: Options) -> Tensor:
    sigmas = {"position_sigma": options["sigma_xy"], "colour_sigma": options["sigma_rgb"]}
    logits = given["logits"]
    return normalised_cut(logits, given["image"], everywhere(logits), **sigmas)


def their_tree_energy(given: Given, options: Options) -> Tensor:
    """exp(-d^2 / sigma) is exp(-d^2 / 2 s^2) with s the root of half of it."""
    preds = given["preds"]
    return options["weight"] * tree_energy(
        preds,
        given["low_feats"],
        everywhere(preds),
        given["unlabeled"] == 1,
        features=given.get("high_feats"),
        colour_sigma=(options["sigma"] / 2) ** 0.5,
    )


def whats_the_point(given: Given, options: Options) -> Tensor:
    """Theirs divides the term of objectness by all pixels where clicks are left out."""
    logits, clicks, parts = given["logits"], given["clicks"], options["parts"]
    tags = torch.zeros(1, logits.shape[1], dtype=torch.bool)
    tags[0, options["present_classes"]] = True
    presence, absence = presence_loss(logits, tags, everywhere(logits))
    free = clicks == IGNORE
    prior = 1 - (given["objectness"] + 1) / 257
    objectness = objectness_loss(logits, prior, free)
    if "a" not in parts:
        objectness = objectness * free.double().mean()
    terms = {
        "a": cross_entropy(logits, clicks),
        "b": presence,
        "c": absence,
        "d": objectness,
    }
    return torch.stack([terms[part] for part in parts]).sum()


FORMS: dict[str, Callable[[Given, Options], Tensor]] = {
    "gated_crf_validity_mask": their_gated_crf,
    "gated_crf_validity_mask_r2_image2x": their_gated_crf,
    "gated_crf_src_and_dst_mask": their_gated_crf,
    "gated_crf_no_mask_right": their_gated_crf,
    "densecrf_loss_scale1.0_rgb15_xy100": their_dense_crf,
    "densecrf_loss_scale0.5_rgb15_xy100": their_dense_crf,
    "densecrf_loss_scale1.0_rgb60_xy3": their_dense_crf,
    "ncut_loss": our_cut,
    "tree_energy_low_sigma0.02": their_tree_energy,
    "tree_energy_both_sigma0.02": their_tree_energy,
    "tree_energy_both_sigma0.5": their_tree_energy,
    "whats_the_point_abcd": whats_the_point,
    "whats_the_point_a": whats_the_point,
    "whats_the_point_b": whats_the_point,
    "whats_the_point_c": whats_the_point,
    "whats_the_point_d": whats_the_point,
    "whats_the_point_abc": whats_the_point,
}


@pytest.mark.parametrize("name", FORMS)
def test_value_and_gradients_are_those_of_the_authors_code(
    name: str, oracles: Mapping[str, Oracle]
) -> None:
    oracles[name].compare(FORMS[name])
