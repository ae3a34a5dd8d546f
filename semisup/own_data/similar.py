"""Pictures that show nearly the same: near-duplicates, and frames of one video."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from semisup.system.threads import in_threads

Bits = npt.NDArray[np.uint8]

BITS = 6
"""Of 64 bits of the hash (signs of horizontal differences of 9 x 8 means), how many may differ."""

GREYS = 10.0
"""Mean difference of 16 x 16 grey means, in levels of 0 to 255, up to which pictures are alike."""

MOST = 5000
"""Pictures that are hashed; of more, the images with masks and as many others as fit."""

_FRAME = re.compile(r"(?P<video>.*?)[_\-. ]*(frame|frm)[_\-. ]*\d+", re.IGNORECASE)
_VIDEO = re.compile(r"(video|clip|vid|sequence|seq|scene|shot)[_\-. ]*\w*", re.IGNORECASE)
_NUMBER = re.compile(r".*\d+")


@dataclass(frozen=True)
class Hashes:
    """The hashes of some pictures.

    Attributes:
        names: of the pictures.
        bits: 0 or 1, (N, 64).
        greys: (N, 256).
    """

    names: tuple[str, ...]
    bits: Bits
    greys: Bits


def hash_pictures(root: Path, names: Sequence[str]) -> Hashes:
    """The hashes of the pictures of `root` that Pillow can read, turned as their EXIF says."""

    def read(name: str) -> tuple[str, Bits, Bits] | None:
        try:
            with Image.open(root / name) as picture:
                picture.draft("L", (64, 64))
                grey = ImageOps.exif_transpose(_grey(picture))
                small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.uint8)
                large = np.asarray(grey.resize((16, 16), Image.Resampling.BOX), np.uint8)
        except Exception:  # damage makes Pillow fail in nearly every way there is
            return None
        signs = (small[:, 1:] > small[:, :-1]).astype(np.uint8)
        return name, signs.ravel(), large.ravel()

    found = [one for one in in_threads(read, names) if one is not None]
    return Hashes(
        tuple(name for name, _, _ in found),
        np.array([bits for _, bits, _ in found], np.uint8).reshape(-1, 64),
        np.array([greys for _, _, greys in found], np.uint8).reshape(-1, 256),
    )


def _grey(picture: Image.Image) -> Image.Image:
    """In 8 bits; of more, from the smallest value to the largest, where Pillow would cut off."""
    if not picture.mode.startswith(("I", "F")):
        return picture.convert("L")
    values = np.asarray(picture, np.float64)
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) / max(high - low, 1e-9) * 255).astype(np.uint8))


def alike(hashes: Hashes, among: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of near-duplicates of which one is in `among`."""
    place = {name: row for row, name in enumerate(hashes.names)}
    signed = hashes.bits.astype(np.float32) * 2 - 1
    pairs = []
    for name in among:
        if name not in place:
            continue
        row = place[name]
        differ = (64 - signed @ signed[row]) / 2
        for other in np.flatnonzero(differ <= BITS).tolist():
            apart = np.abs(hashes.greys[other].astype(int) - hashes.greys[row].astype(int)).mean()
            if other != row and apart <= GREYS:
                pairs.append((name, hashes.names[other]))
    return pairs


def video_of(name: str) -> str | None:
    """The video that a picture is a frame of, by its name or folder; None where they do not say.

    "clip/frame_0001.jpg", "walk_frame12.png" and "video3/0001.jpg" do; "IMG_0001.jpg" does not.
    """
    path = PurePosixPath(name)
    frame = _FRAME.fullmatch(path.stem)
    if frame:
        return str(path.parent / frame["video"])
    if _VIDEO.fullmatch(path.parent.name) and _NUMBER.fullmatch(path.stem):
        return str(path.parent)
    return None


def groups_of(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Picture -> the first of those that are to stay together with it, itself among them.

    Args:
        names: all pictures.
        pairs: that are near-duplicates.
    """
    parent = {name: name for name in names}

    def root_of(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    videos: Mapping[str, list[str]] = _by_video(names)
    linked = [(frames[0], frame) for frames in videos.values() for frame in frames[1:]]
    for one, other in [*linked, *pairs]:
        first, second = sorted((root_of(one), root_of(other)))
        parent[second] = first
    return {name: root_of(name) for name in names}


def _by_video(names: Sequence[str]) -> dict[str, list[str]]:
    videos: dict[str, list[str]] = defaultdict(list)
    for name in names:
        video = video_of(name)
        if video is not None:
            videos[video].append(name)
    return videos
