"""Speed of the scores: the confusion matrix and the argmax before it, at the size of VOC.

    python benchmarks/metrics.py
    python benchmarks/metrics.py --device cuda

Confusion matrix of 8 label maps of 375 x 500 with 21 classes and void, counted by

torchmetrics: `MulticlassConfusionMatrix(21, ignore_index=255)` as it comes, on int64 maps;
NumPy, one bincount: the "fast_hist" of the field's repositories, on uint8 maps;
NumPy, class by class: a loop over the true classes, on uint8 maps;
semisup: `confusion_matrix`, on uint8 maps.

Before any of them is timed, all must give the same matrix.

Argmax over the logits that `Inference` hands to the evaluator: of one image of 375 x 500, by a
network whose weights are channels last, as our runs have them. The whole image gives logits that
are channels last too; a mirrored second view gives planes (NCHW). `label_map` takes them as they
lie. It is measured against `argmax(1)` on planes, and against `argmax(1)` on the very same tensor;
all must give the same labels.

Last, what each score of one image costs beside the network. The evaluator does not wait for the
boundary scores of an image: other threads work on them meanwhile.
"""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import torch
import torch.nn.functional as F
from ratios import Contestant, arguments, interleave, machine, show
from torch import Tensor

from semisup.evaluation.inference import Inference
from semisup.metrics.boundary import BoundaryScores
from semisup.metrics.confusion import Confusion, confusion_matrix, label_map
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from semisup.settings import EvalSettings
from semisup.types import IGNORE

SIZE = (375, 500)
CLASSES = 21
IMAGES = 8
PLANES = "argmax(1), NCHW"


def made_maps() -> tuple[Tensor, Tensor]:
    """Predictions and truths, BHW uint8: large regions, bands of void between them as in VOC."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(IMAGES, CLASSES, 3, 4, generator=generator)
    truth = label_map(F.interpolate(coarse, SIZE, mode="bicubic"))
    prediction = truth.roll((4, 4), (1, 2)).masked_fill(truth == 3, 4)
    high, low = (F.max_pool2d(sign * truth.float(), 5, 1, 2) for sign in (1, -1))
    return prediction, truth.masked_fill(high != -low, IGNORE)


def one_bincount(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    valid = truth != IGNORE
    cell = CLASSES * truth[valid].astype(int) + prediction[valid]
    return np.bincount(cell, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def class_by_class(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    rows = [np.bincount(prediction[truth == k], minlength=CLASSES) for k in range(CLASSES)]
    return np.stack(rows)


def torchmetrics_way(prediction: Tensor, truth: Tensor) -> Contestant | None:
    try:
        from torchmetrics.classification import MulticlassConfusionMatrix
    except ImportError:
        return None
    metric = MulticlassConfusionMatrix(CLASSES, ignore_index=IGNORE).to(truth.device)
    prediction, truth = prediction.long(), truth.long()

    def count() -> Tensor:
        metric.reset()
        metric.update(prediction, truth)
        return metric.compute()  # type: ignore[no-any-return]

    return count


def compare_confusion(rounds: int, device: torch.device) -> None:
    prediction, truth = (maps.to(device) for maps in made_maps())
    ways: dict[str, Contestant] = {"semisup": lambda: confusion_matrix(prediction, truth, CLASSES)}
    if device.type == "cpu":
        arrays = prediction.numpy(), truth.numpy()
        ways["NumPy, one bincount"] = lambda: one_bincount(*arrays)
        ways["NumPy, class by class"] = lambda: class_by_class(*arrays)
    base = "semisup"
    other = torchmetrics_way(prediction, truth)
    if other is None:
        print("torchmetrics is not here, so it is left out: pip install torchmetrics")
    else:
        base = "torchmetrics"
        ways = {base: other} | ways
    expected = confusion_matrix(prediction, truth, CLASSES).cpu()
    for name, way in ways.items():
        assert torch.equal(torch.as_tensor(way()).cpu(), expected), name
    high, wide = SIZE
    title = f"Confusion matrix of {IMAGES} maps of {high} x {wide}, {CLASSES} classes"
    show(title, interleave(ways, rounds), base=base, work=IMAGES, unit="images")


def logits_of_evaluator(num_classes: int, device: torch.device, *, flip: bool) -> Tensor:
    torch.manual_seed(0)
    network = DeepLabV3Plus(num_classes).to(device, memory_format=torch.channels_last)
    image = F.interpolate(torch.rand(1, 3, 12, 16), SIZE, mode="bicubic").clamp(0, 1) * 255
    return Inference(network, EvalSettings(flip=flip), device)(image.to(torch.uint8))


def compare_argmax(rounds: int, device: torch.device, num_classes: int, *, flip: bool) -> None:
    logits = logits_of_evaluator(num_classes, device, flip=flip)
    planes = logits.contiguous()
    ways: dict[str, Contestant] = {PLANES: lambda: planes.argmax(1)}
    if not logits.is_contiguous():
        ways["argmax(1), as it lies"] = lambda: logits.argmax(1)
    ways["label_map, as it lies"] = lambda: label_map(logits)
    expected = planes.argmax(1)
    for name, way in ways.items():
        assert torch.equal(torch.as_tensor(way()).long(), expected), name
    protocol = "image and mirror image" if flip else "whole image"
    layout = "planes" if logits.is_contiguous() else "channels last"
    title = f"Label map of one image, {num_classes} classes; {protocol}: {layout}"
    show(title, interleave(ways, rounds), base=PLANES, unit="images")


def compare_scores(rounds: int, device: torch.device) -> None:
    logits = logits_of_evaluator(CLASSES, device, flip=False)
    predictions, truths = made_maps()
    prediction, truth = predictions[:1].to(device), truths[0]
    counted = Confusion(CLASSES, device)

    def boundaries() -> None:
        scores = BoundaryScores(CLASSES)
        scores.add(prediction[0], truth)
        scores.result()

    ways: dict[str, Contestant] = {
        "label map": lambda: label_map(logits),
        "confusion matrix": lambda: counted.add(prediction, [truth]),
        "boundary scores": boundaries,
    }
    title = f"Scores of one image, {CLASSES} classes"
    show(title, interleave(ways, rounds), base="label map", unit="images")


def parse() -> Namespace:
    parser = arguments("Speed of the scores.", rounds=15)
    parser.add_argument("--device", default="cpu", help="where to count (%(default)s)")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    print(machine())
    compare_confusion(options.rounds, device)
    for num_classes in (8, CLASSES, 150):
        for flip in (False, True):
            compare_argmax(options.rounds, device, num_classes, flip=flip)
    compare_scores(options.rounds, device)


if __name__ == "__main__":
    main()
