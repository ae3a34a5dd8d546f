"""Prediction with DecoupledNet: one pass of the encoder against a whole pass for each class.

    python benchmarks/decouplednet.py
    python benchmarks/decouplednet.py --classifier mobilenet_v2 --rounds 5
    python benchmarks/decouplednet.py --device cuda

One image of 375 x 500 with 1, 2, 5 and 20 identified classes (forced, so that the number is known),
by the network of the paper (VGG16, 320 px, 21 classes) with random weights:

textbook: the authors' script, k + 2 whole passes: one for the scores, one for the background, one
    for each class; merged and resized;
semisup: the network as it comes: one encoder, one transposed pass of its head, k + 1 decoders;
floor: one encoder and k + 1 decoders alone, as many at once as semisup takes: no saliency, no
    merging, nothing resized.

Before they are timed, textbook and semisup must give the same probabilities to 1e-4. Last, the
memory of a prediction at each number of classes, beside the budget for the class maps.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import torch
import torch.nn.functional as F
from ratios import Contestant, arguments, interleave, machine, peak_memory, show, speed_up
from torch import Tensor, nn

from semisup.models.decouplednet import FAINT, MEBIBYTE, DecoupledNet, to_square

CLASSES = 21
COUNTS = (1, 2, 5, 20)
SIZE = (375, 500)
SMALL: dict[str, Any] = {"width": 512, "decoder_width": 128, "kernel": 3, "size": 192}


def build(options: Namespace) -> DecoupledNet:
    """A network whose maps differ from class to class."""
    torch.manual_seed(0)
    small = {} if options.classifier.startswith("vgg16") else SMALL
    network = DecoupledNet(
        CLASSES, classifier=options.classifier, memory=options.memory, **small
    ).eval()
    settle_statistics(network)
    return network.to(options.device, memory_format=torch.channels_last)


def settle_statistics(network: DecoupledNet) -> None:
    """Statistics of batch normalisation as after training: each class gives a map of its own."""
    for layer in network.segmentation.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    nn.init.normal_(network.classifier.head.score.weight)
    nn.init.normal_(network.segmentation.score.weight, std=0.1)
    encoded = network.classifier.encode(torch.randn(4, 3, network.size, network.size))
    selection = torch.eye(CLASSES, dtype=torch.bool)[1:5]
    network.segmentation.train()
    network.segmentation(encoded.stages, network.saliency_of(encoded, selection))
    network.segmentation.eval()


def textbook(network: DecoupledNet, image: Tensor, labels: list[int]) -> Tensor:
    """Probabilities BKHW of one image: a whole pass of the network for each class."""

    def whole_pass(chosen: list[int]) -> tuple[Tensor, Tensor]:
        encoded = network.classifier.encode(to_square(image, network.size))
        presence = encoded.presence().sigmoid()
        selection = torch.zeros_like(presence)
        selection[:, [label - 1 for label in chosen]] = 1.0
        injected = encoded.at_best_place(presence.clamp(min=network.threshold) * selection)
        saliency = network.classifier.saliency(encoded, injected)
        return presence, network.segmentation(encoded.stages, saliency).softmax(dim=1)

    whole_pass([])  # whose scores say which classes there are
    shares = whole_pass(labels)[1]
    total = shares.new_zeros(1, CLASSES, *shares.shape[-2:])
    total[:, 0] = shares[:, 0]
    for label in labels:
        total[:, label] = whole_pass([label])[1][:, 1]
    total = total / total.sum(dim=1, keepdim=True)
    height, width = image.shape[-2:]
    long = max(height, width)
    large = F.interpolate(total, size=(long, long), mode="bicubic", align_corners=False)
    return large[..., :height, :width]


def floor(network: DecoupledNet, image: Tensor, count: int) -> Contestant:
    """One pass of the encoder and `count` + 1 of the decoder, from what lies ready."""
    square = to_square(image, network.size)
    ready = network.classifier.encode(square)
    saliency = torch.randn_like(ready.deepest).repeat(count + 1, 1, 1, 1)
    rows = torch.zeros(count + 1, dtype=torch.long, device=image.device)
    need = network.segmentation.decoder.bytes_of_a_row(ready.stages)
    together = max(1, network.memory * MEBIBYTE // need)

    def run() -> None:
        encoded = network.classifier.encode(square)
        for part, which in zip(saliency.split(together), rows.split(together), strict=True):
            network.segmentation(encoded.stages, part, which)

    return run


def show_memory(network: DecoupledNet, image: Tensor) -> None:
    """Peaks with ever more classes: what is above the first is what the classes took."""
    print(f"Peak memory of the process, budget for class maps {network.memory} MiB:")
    first = None
    for count in COUNTS:
        network.force_classes(range(1, count + 1))
        network(image)
        now = peak_memory()
        first = now if first is None else first
        print(f"  {count:2d} classes: {now:6.0f} MiB, {now - first:+.0f} against one class")


def compare(network: DecoupledNet, image: Tensor, count: int, rounds: int) -> None:
    labels = list(range(1, count + 1))
    network.force_classes(labels)
    ours, theirs = network(image).exp(), textbook(network, image, labels)
    difference = float((ours - theirs.clamp(min=FAINT)).abs().max())
    spread = float(theirs[:, labels].std())
    assert difference < 1e-4, difference
    ways: dict[str, Contestant] = {
        "textbook": lambda: textbook(network, image, labels),
        "semisup": lambda: network(image),
        "floor": floor(network, image, count),
    }
    timings = interleave(ways, rounds)
    title = f"{count} identified classes, one image (largest difference {difference:.0e}"
    show(f"{title}, deviation of the maps {spread:.2f})", timings, base="textbook", unit="images")
    over = speed_up(timings, "floor", "semisup")
    gain = speed_up(timings, "semisup", "textbook")
    print(f"semisup takes {over:.3f} x the floor and is {gain:.2f} x as fast as the textbook\n")


def parse() -> Namespace:
    parser = arguments("Prediction with DecoupledNet.", rounds=3)
    parser.add_argument("--device", default="cpu", help="where to compute (%(default)s)")
    parser.add_argument("--classifier", default="vgg16", help="backbone (%(default)s)")
    parser.add_argument("--memory", type=int, default=256, help="budget in MiB (%(default)s)")
    return parser.parse_args()


@torch.inference_mode()
def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    print(machine())
    network = build(options)
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    image = image.to(options.device, memory_format=torch.channels_last)
    show_memory(network, image)
    for count in COUNTS:
        compare(network, image, count, options.rounds)


if __name__ == "__main__":
    main()
