"""Made data sets in the layout of `folder`, of images of every kind that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

Values = npt.NDArray[Any]


def write_tiff(path: Path, values: Values) -> None:
    """HWC, contiguous samples, as most programs write it."""
    tifffile.imwrite(
        path.with_suffix(".tif"), values, photometric="minisblack", planarconfig="contig"
    )


def write_array(path: Path, values: Values) -> None:
    """HWC as .npy."""
    np.save(path.with_suffix(".npy"), values)


def write_png(path: Path, values: Values) -> None:
    """One channel, of 8 or 16 bits."""
    Image.fromarray(values[..., 0]).save(path.with_suffix(".png"))


def make_set(
    root: Path,
    channels: int,
    bits: int,
    write: Callable[[Path, Values], None],
    *,
    train: int = 6,
    val: int = 2,
) -> Path:
    """A set of two classes, each with values of its own in each channel.

    Args:
        root: folder to make.
        channels: of each image.
        bits: 8 or 16.
        write: path without suffix, HWC -> the file.
        train: images to train on.
        val: images to report on.

    Returns:
        The folder.
    """
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(channels + bits)
    ids = [*(f"t{n}" for n in range(train)), *(f"v{n}" for n in range(val))]
    for number, name in enumerate(ids):
        mask = np.zeros((36, 40 + number), np.uint8)
        mask[10:26, 5 + number : 25 + number] = 1
        places = rng.normal(60, 5, (*mask.shape, channels))
        places[mask == 1] += 20 * np.arange(1, channels + 1)
        values = places * (8 if bits == 16 else 1)  # of 16 bits about 10 are used, as of a sensor
        write(root / "images" / name, values.round().clip(0, 2**bits - 1).astype(f"uint{bits}"))
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    (root / "classes.txt").write_text("ground\nbox\n")
    for subset, letter in (("train", "t"), ("val", "v")):
        lines = (f"{name}\n" for name in ids if name.startswith(letter))
        (root / f"{subset}.txt").write_text("".join(lines))
    return root
