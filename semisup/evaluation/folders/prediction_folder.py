"""The folder that label maps are written to: made with the first of them, never of two runs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semisup.data.formats.pictures import labelled_image
from semisup.errors import RunError
from semisup.evaluation.folders.sources import LABELS, MARKER
from semisup.system.files import exists, write_text

OVERLAY = "_overlay.png"
PROBABILITIES = ".npz"
EXPLANATION = "_explain.png"
UNCERTAINTY = "_uncertainty.png"
UNCERTAINTY_COLOURS = "_uncertainty_colours.png"

GEOTIFF = "_labels.tif"
VIDEO_OVERLAY = "_overlay.mp4"
COCO = "predictions_coco.json"

UNCERTAINTY_NAMES = [name.removesuffix(".png") for name in (UNCERTAINTY, UNCERTAINTY_COLOURS)]
"""Endings of the names of what is written of samples, without suffix."""

_ENDINGS = (
    *(LABELS, OVERLAY, PROBABILITIES, EXPLANATION),
    *(UNCERTAINTY, UNCERTAINTY_COLOURS, GEOTIFF),
)
_FRAME = re.compile(r"frame_\d{6,}(" + "|".join(map(re.escape, _ENDINGS)) + ")")


class PredictionFolder:
    """A folder of predictions, with a note of the run and the protocol that they are made by.

    Nothing is made or removed before the first prediction is there to be written.

    Args:
        path: of the folder.
        facts: what predictions depend on beside the image: run, protocol.
        names: of the label maps that will be written, without suffix.
        videos: of the videos whose frames will be labelled, each in a folder of its name.
        overwrite: whether predictions of these names are replaced, those of other facts too.

    Raises:
        RunError: the folder holds predictions of other facts, or files that would be taken for
            predictions.
    """

    def __init__(
        self,
        path: Path,
        facts: Mapping[str, Any],
        names: Sequence[str],
        *,
        videos: Sequence[str] = (),
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self._text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
        self._names, self._videos = names, videos
        self._overwrite = overwrite
        self._begun = False
        if not self._marker.is_file():
            self._check_no_foreign_files()
        elif self._marker.read_bytes() != self._text.encode():
            self._check_replaceable()

    @property
    def overwrites(self) -> bool:
        """Whether predictions that are there are replaced."""
        return self._overwrite

    @property
    def replaces(self) -> bool:
        """Whether what is there now is to be replaced, and is still there."""
        return self._overwrite and not self._begun

    @property
    def _marker(self) -> Path:
        return self.path / MARKER

    def file(self, name: str, ending: str = LABELS) -> Path:
        """Where a prediction goes."""
        return self.path / f"{name}{ending}"

    def frames(self, video: str) -> list[Path]:
        """The label maps of the frames of a video that are there."""
        folder = self.path / video
        return [*folder.glob(f"frame_{'[0-9]' * 6}{LABELS}")] if exists(folder) else []

    def is_done(self, name: str, endings: Sequence[str]) -> bool:
        """Whether all files of an image are there and are to stay."""
        if self.replaces:
            return False
        if not all(self.file(name, ending).is_file() for ending in endings):
            return False
        return labelled_image(self.file(name)) is not None

    def is_of_another(self, name: str, image: str) -> bool:
        """Whether the label map that is there, and is to stay, is of another image.

        Args:
            name: of the label map.
            image: hash of the image that it should be of.
        """
        if self.replaces or not self.file(name).is_file():
            return False
        return labelled_image(self.file(name)) not in (None, "", image)

    def begin(self, name: str) -> None:
        """Make the folder for a prediction that is about to be written.

        Raises:
            RunError: it cannot be made.
        """
        if not self._begun:
            self._claim()
        make_folder(self.file(name).parent)

    def _claim(self) -> None:
        existed = self.path.exists()
        make_folder(self.path)
        try:
            if self._overwrite:
                self._remove_old()
            write_text(self._marker, self._text)
        except RunError:
            if not existed:
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise
        self._begun = True

    def _remove_old(self) -> None:
        """All at once: a call that is stopped leaves none that the next would take for its own."""
        for file in self._own():
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise RunError(
                    f"{file}: cannot be replaced ({error.strerror}). Choose another --to."
                ) from None

    def _check_no_foreign_files(self) -> None:
        for file in sorted(self._own()):
            if exists(file):
                raise RunError(f"{file}: is there already and no prediction. Choose another --to.")

    def _own(self) -> set[Path]:
        """The files that may be written, and those of the videos' frames that are there."""
        files = {self.file(name, ending) for name in self._names for ending in _ENDINGS}
        files |= {self.file(name, VIDEO_OVERLAY) for name in self._videos}
        for folder in (self.path / name for name in self._videos):
            if exists(folder) and folder.is_dir():
                files |= {file for file in folder.iterdir() if _FRAME.fullmatch(file.name)}
        return {*files, self.path / COCO}

    def _check_replaceable(self) -> None:
        """Other facts: refused, but where all that is there will be replaced."""
        if not self._overwrite:
            raise RunError(
                f"{self.path}: holds predictions of another run or protocol (see {MARKER}). "
                "Choose another --to, or replace them with --overwrite."
            )
        own = self._own()
        kinds = (".png", ".npz", GEOTIFF, VIDEO_OVERLAY)
        others = sorted(p for p in self.path.rglob("*") if p.name.endswith(kinds) and p not in own)
        if others:
            raise RunError(
                f"{others[0]}: is a prediction of another run or protocol, one of {len(others)} "
                "that would stay beside the new ones. Remove them or choose another --to."
            )


def make_folder(path: Path) -> None:
    """Make a folder of predictions.

    Raises:
        RunError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be made ({error.strerror}). Choose another --to.") from None
