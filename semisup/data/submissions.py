"""In what form the servers of the benchmarks take label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from semisup.data.sets.ade20k import CLASSES as ADE20K
from semisup.data.sets.cityscapes_classes import TRAINED
from semisup.data.sets.voc import CLASSES as VOC


@dataclass(frozen=True, slots=True)
class Layout:
    """Of one benchmark.

    Attributes:
        classes: names in the order of the network's labels: all of them, and no other.
        folder: of the label maps; {subset} and {competition} are filled in.
        ending: of a file, after the id of its image.
        values: K, the value of each label in a file.
    """

    classes: tuple[str, ...]
    folder: str
    ending: str
    values: tuple[int, ...]

    def as_stored(self, labels: Tensor) -> Tensor:
        """The values (uint8 HW) of labels (0..K-1)."""
        return torch.tensor(self.values, dtype=torch.uint8)[labels.long()]

    @property
    def is_renumbered(self) -> bool:
        """Whether a label is not its own value: then a palette of labels does not fit."""
        return self.values != tuple(range(len(self.values)))


LAYOUTS: Mapping[str, Layout] = {
    # host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc, "Results format"
    "voc": Layout(
        VOC,
        "results/VOC2012/Segmentation/{competition}_{subset}_cls",
        ".png",
        tuple(range(len(VOC))),
    ),
    # cityscapes-dataset.com, "Submission": label ids, not train ids, each file with the id of its
    # image in its name
    "cityscapes": Layout(
        tuple(name for _, name, _ in TRAINED),
        "results/cityscapes_{subset}",
        "_pred_labelIds.png",
        tuple(label for label, _, _ in TRAINED),
    ),
    # the Scene Parsing challenge: 1 to 150, as its annotations
    "ade20k": Layout(ADE20K, "results/ade20k_{subset}", ".png", tuple(range(1, len(ADE20K) + 1))),
}
"""Name of the data set -> what its server takes."""
