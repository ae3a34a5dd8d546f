"""Tiny sets of rooms in the layouts of NYU Depth v2 and SUN RGB-D, damaged as asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

SIZE = (6, 8)  # height, width
FRAME = (480, 640)
FRAMES = 4
SPLIT = {"trainNdxs": (3, 1), "testNdxs": (2, 4)}
SEQUENCES = ("kv1/NYUdata/NYU0001", "kv2/a/000002", "realsense/lg/b", "xtion/sun3ddata/c/d")
"""Of which the second and the first, in this order, are train, and the others test."""

REMOTE = "/n/fs/sun3d/data/SUNRGBD"

Array = NDArray[Any]
Edit = Callable[[Any], object]


def write_v73(path: Path, fill: Edit) -> Path:
    """A MATLAB 7.3 file: HDF5 behind a block of 512 bytes that says so."""
    h5py = pytest.importorskip("h5py")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def frame(number: int) -> tuple[Array, Array]:
    """Image (HW3) and categories (HW) of frame `number`, from 1; no two axes of them are alike."""
    y, x = np.mgrid[: FRAME[0], : FRAME[1]]
    image = np.stack((y // 2, x // 3, np.full_like(y, number * 10)), axis=-1).astype(np.uint8)
    labels = np.where(y < 100, 21, np.where(x < 200, 11, 894 - number)).astype(np.uint16)
    labels[:9] = 0
    labels[:, :9] = 0
    return image, labels


def make_nyu_archive(
    root: Path, *, edit: Edit | None = None, split: Mapping[str, object] = SPLIT
) -> Path:
    """nyudv2/nyu_depth_v2_labeled.mat with four frames, and splits.mat.

    Args:
        root: where nyudv2 will be.
        edit: changes the file while it is open.
        split: variables of splits.mat.
    """
    frames = [frame(number) for number in range(1, FRAMES + 1)]

    def fill(file: Any) -> None:
        # MATLAB's order of the axes, reversed.
        file["images"] = np.stack([image.transpose(2, 1, 0) for image, _ in frames])
        file["labels"] = np.stack([labels.T for _, labels in frames])
        file["names"] = np.zeros((1, 894))
        if edit is not None:
            edit(file)

    path = write_v73(root / "nyudv2" / "nyu_depth_v2_labeled.mat", fill)
    columns = {name: np.array(values, float).reshape(-1, 1) for name, values in split.items()}
    savemat(path.with_name("splits.mat"), columns)
    return path


def make_nyu_folders(root: Path) -> Path:
    """nyudv2/image and nyudv2/label40: two train images of wall and otherprop, one of test."""
    folder = root / "nyudv2"
    for number, name in enumerate(("000003", "000001", "000002")):
        save(folder / "image" / f"{name}.jpg", picture(number))
        save(folder / "label40" / f"{name}.png", labels_of(1, 40 - number))
    (folder / "train.txt").write_text("000003\n000001\n")
    (folder / "test.txt").write_text("000002\n")
    return folder


def make_sun_toolbox(
    root: Path,
    *,
    edit: Edit | None = None,
    cells: Sequence[Array] | None = None,
    split: Mapping[str, Sequence[str]] | None = None,
    meta: Sequence[str] | None = None,
) -> Path:
    """sunrgbd/SUNRGBD and SUNRGBDtoolbox, with four images.

    Args:
        root: where sunrgbd will be.
        edit: changes SUNRGBD2Dseg.mat while it is open.
        cells: label maps in MATLAB's order (rows x columns).
        split: variables of allsplit.mat.
        meta: paths of the images in SUNRGBDMeta.mat.
    """
    folder = root / "sunrgbd"
    tools = folder / "SUNRGBDtoolbox"
    for number, name in enumerate(SEQUENCES):
        save(folder / "SUNRGBD" / name / "image" / f"{number}.jpg", picture(number))
    maps = [labels_of(1, 37 - n) for n in range(len(SEQUENCES))] if cells is None else cells

    def fill(file: Any) -> None:
        h5py = pytest.importorskip("h5py")
        stored = [file.create_dataset(f"#refs#/{n}", data=one.T) for n, one in enumerate(maps)]
        column = np.array([one.ref for one in stored], dtype=h5py.ref_dtype).reshape(-1, 1)
        file.create_dataset("SUNRGBD2Dseg/seglabel", data=column, dtype=h5py.ref_dtype)
        if edit is not None:
            edit(file)

    write_v73(tools / "Metadata" / "SUNRGBD2Dseg.mat", fill)
    paths = [f"{REMOTE}/{name}/image/{n}.jpg" for n, name in enumerate(SEQUENCES)]
    described = np.zeros((1, len(paths if meta is None else meta)), [("rgbpath", object)])
    described["rgbpath"] = np.array(paths if meta is None else meta, object)
    savemat(tools / "Metadata" / "SUNRGBDMeta.mat", {"SUNRGBDMeta": described})
    remote = [f"{REMOTE}/{name}" for name in SEQUENCES]
    lists = split or {"alltrain": [remote[1], remote[0]], "alltest": [remote[2], remote[3]]}
    (tools / "traintestSUNRGBD").mkdir(exist_ok=True)
    texts = {name: np.array([values], object) for name, values in lists.items()}
    savemat(tools / "traintestSUNRGBD" / "allsplit.mat", texts)
    return folder


def make_sun_exported(root: Path, *, first: int = 1) -> Path:
    """sunrgbd/SUNRGBD-train_images and the rest: three train images, two of test.

    Args:
        root: where sunrgbd will be.
        first: number of the first image of train.
    """
    folder = root / "sunrgbd"
    for number in range(3):
        image = f"img-{first + number:06d}.jpg"
        save(folder / "SUNRGBD-train_images" / image, picture(number))
        label = folder / "sunrgbd_train_test_labels" / f"img-{5051 + number:06d}.png"
        save(label, labels_of(1 + number, 37))
    for number in range(1, 3):
        save(folder / "SUNRGBD-test_images" / f"img-{number:06d}.jpg", picture(number + 5))
        label = folder / "sunrgbd_train_test_labels" / f"img-{number:06d}.png"
        save(label, labels_of(20 + number, 30))
    return folder


def save(path: Path, values: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def picture(number: int) -> Array:
    """An image (HW3), another one for each number."""
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def labels_of(most: int, corner: int) -> Array:
    """A mask (HW): its first row is 0, a corner of one pixel is `corner`, all else is `most`."""
    values = np.full(SIZE, most, np.uint8)
    values[0], values[-1, 0] = 0, corner
    return values
