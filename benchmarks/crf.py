"""Speed and accuracy of the dense CRF at the size of VOC, 500 x 375 with 21 classes.

    python benchmarks/crf.py                      # drawn pictures
    python benchmarks/crf.py --data-root DIR      # the VOC 2012 in DIR
    python benchmarks/crf.py --full               # all pairs at full size too: half an hour or more

The logits stand for a network's: the true mask averaged over cells of 32 px, times 5, with noise of
0.7, enlarged again. The settings are the defaults.

Speed at full size: the CRF with the lattice, what it consists of, and for comparison the network
before it, DeepLab v3+ on MobileNetV2, on the same image.

Speed and accuracy at a quarter of each side, and of the smoothness and appearance sigma: the
lattice against all pairs, with the same picture and logits. There a point of the lattice stands for
fewer pixels than at full size. The difference is the mean over the pixels of the total variation
between the marginals, half the sum over the classes of their absolute differences; for comparison,
that between the marginals and the softmax of the logits.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from ratios import Contestant, arguments, interleave, machine, show
from torch import Tensor

from semisup.data.sets.scenes.drawing import draw_scene
from semisup.data.sets.scenes.pairs import PAIRS
from semisup.data.sets.voc import Voc
from semisup.evaluation.inference import Inference
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from semisup.ops import crf
from semisup.ops.crf import CrfSettings, dense_crf
from semisup.ops.lattice import Lattice
from semisup.settings import EvalSettings
from semisup.types import IGNORE

SIZE = (375, 500)
CLASSES = 21
CELL = 32
DEFAULT = CrfSettings()
QUARTER = replace(
    DEFAULT,
    smoothness_sigma=DEFAULT.smoothness_sigma / 4,
    appearance_sigma=DEFAULT.appearance_sigma / 4,
)

Case = tuple[Tensor, Tensor]
"""Logits 1KHW and picture 13HW."""


def pictures(args: Namespace) -> list[Case]:
    """`args.images` pictures of `SIZE` with masks, the latter as logits."""
    found = drawn() if args.data_root is None else photographs(Voc(args.data_root))
    cases = [
        (logits_of(mask, seed), picture[None])
        for seed, (picture, mask) in zip(range(args.images), found, strict=False)
    ]
    assert len(cases) == args.images, "there are not so many pictures of that size"
    return cases


def drawn() -> Iterator[tuple[Tensor, Tensor]]:
    for number in count():
        scene = draw_scene(SIZE, np.random.default_rng(number), PAIRS)
        yield torch.from_numpy(scene.picture).permute(2, 0, 1), torch.from_numpy(scene.mask)


def photographs(data: Voc) -> Iterator[tuple[Tensor, Tensor]]:
    for place in range(len(data)):
        if data.image(place).shape[-2:] == SIZE:
            yield data.image(place), data.mask(place)


def logits_of(mask: Tensor, seed: int) -> Tensor:
    truth = F.one_hot(mask.long() * (mask != IGNORE), CLASSES).permute(2, 0, 1)[None].float()
    high, wide = mask.shape
    coarse = F.interpolate(truth, (high // CELL, wide // CELL), mode="area")
    noise = torch.randn(coarse.shape, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(5 * coarse + 0.7 * noise, (high, wide), mode="bilinear")


def quartered(case: Case) -> Case:
    logits, picture = case
    size = [side // 4 for side in picture.shape[-2:]]
    small = F.interpolate(picture.float(), size, mode="bilinear", antialias=True)
    return F.interpolate(logits, size, mode="bilinear"), small.round().to(torch.uint8)


def compare_parts(case: Case, rounds: int) -> None:
    logits, picture = case
    network = DeepLabV3Plus(CLASSES).to(memory_format=torch.channels_last)
    inference = Inference(network, EvalSettings(), torch.device("cpu"))
    features = crf.bilateral_features(
        picture[0].float(), DEFAULT.appearance_sigma, DEFAULT.colour_sigma
    )
    lattice = Lattice(features)
    marginals = logits.softmax(1)[0].permute(1, 2, 0).contiguous()
    smoothness = crf._smoothness(picture[0].float(), DEFAULT.smoothness_sigma)
    ways: dict[str, Contestant] = {
        "network": lambda: inference(picture),
        "CRF, 10 iterations": lambda: dense_crf(logits, picture, DEFAULT),
        "of it: building the lattice": lambda: Lattice(features),
        "once: appearance": lambda: lattice(marginals.flatten(0, 1)),
        "once: smoothness": lambda: smoothness(marginals),
        "once: softmax": lambda: marginals.softmax(-1),
    }
    high, wide = picture.shape[-2:]
    share = lattice.vertices / len(features)
    title = f"One image of {wide} x {high}, {CLASSES} classes; {share:.2f} vertices a pixel"
    show(title, interleave(ways, rounds), base="network", unit="images")


def compare_ways(case: Case, rounds: int) -> None:
    logits, picture = case
    ways: dict[str, Contestant] = {
        "all pairs": lambda: dense_crf(logits, picture, replace(QUARTER, exact=True)),
        "lattice": lambda: dense_crf(logits, picture, QUARTER),
    }
    high, wide = picture.shape[-2:]
    title = f"CRF of one image of {wide} x {high}, {CLASSES} classes"
    show(title, interleave(ways, rounds), base="all pairs", unit="images")


def compare_marginals(case: Case, settings: CrfSettings) -> None:
    logits, picture = case
    exact = dense_crf(logits, picture, replace(settings, exact=True)).softmax(1)
    fast = dense_crf(logits, picture, settings).softmax(1)
    before = logits.softmax(1)
    high, wide = picture.shape[-2:]
    print(
        f"{wide} x {high}: difference {variation(fast, exact):.5f} "
        f"(CRF against softmax {variation(before, exact):.3f}), same label on "
        f"{agreement(fast, exact):.2%} of the pixels (softmax {agreement(before, exact):.2%})",
        flush=True,
    )


def variation(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().sum(1).mean() / 2)


def agreement(one: Tensor, other: Tensor) -> float:
    return float((one.argmax(1) == other.argmax(1)).float().mean())


def parse() -> Namespace:
    parser = arguments("Speed and accuracy of the dense CRF.", rounds=5)
    parser.add_argument("--data-root", help="folder of a VOC 2012; without it, drawn pictures")
    parser.add_argument("--images", type=int, default=6, help="to compare (%(default)s)")
    parser.add_argument("--full", action="store_true", help="all pairs of one full image too")
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    print(machine())
    cases = pictures(args)
    compare_parts(cases[0], args.rounds)
    compare_ways(quartered(cases[0]), min(args.rounds, 3))
    for case in cases:
        compare_marginals(quartered(case), QUARTER)
    if args.full:
        compare_marginals(cases[0], DEFAULT)


if __name__ == "__main__":
    main()
