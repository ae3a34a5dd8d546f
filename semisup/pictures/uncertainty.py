"""Maps of how much the samples of a network differ: as numbers and in colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from semisup.pictures.drawing import heat
from semisup.pictures.figures import with_bar
from semisup.system.files import write_atomically

LARGEST = 0.25
"""Variance of a share that is 0 in half of the samples and 1 in the others: there is no larger."""

LEVELS = 65535
"""Value of a pixel of the map that stands for `LARGEST`."""


def write_uncertainty(path: Path, uncertainty: Tensor, samples: int) -> None:
    """Write a map as a grey PNG of 16 bits: value / 65535 / 4 is the variance.

    The scale is the same for all images, and stands in the file as a text.

    Args:
        path: PNG to write.
        uncertainty: HW in [0, `LARGEST`].
        samples: how many it is of.

    Raises:
        RunError: the file cannot be written.
    """
    shares = (uncertainty.double() / LARGEST).clamp(0, 1)
    levels = Image.fromarray((shares * LEVELS).round().numpy().astype(np.uint16))
    about = PngInfo()
    about.add_text(
        "Description",
        f"mean over the classes of the variance of the probabilities over {samples} samples: value "
        f"/ {LEVELS} * {LARGEST}",
    )
    write_atomically(path, lambda file: levels.save(file, format="PNG", pnginfo=about))


def draw_uncertainty(uncertainty: Tensor) -> Tensor:
    """A map in colours, from 0 to its largest value, with a bar beside it: uint8 HW3.

    As the authors of Bayesian SegNet draw it, but for the colours.

    Args:
        uncertainty: HW.
    """
    largest = max(float(uncertainty.max()), LARGEST / LEVELS)
    return with_bar(heat(uncertainty / largest), largest, "variance of the probabilities")
