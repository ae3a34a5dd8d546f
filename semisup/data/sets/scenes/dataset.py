"""Made pictures for a start without any download, and for tests."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from semisup.data.formats.class_colours import class_colours
from semisup.data.sets.scenes.writing import DESIGNS, SceneOptions, ensure_scenes
from semisup.data.sets.voc_layout import VocTree
from semisup.errors import RecipeError

_SMALLEST_SIDE = 48


class Scenes(VocTree):
    """Textured shapes on clutter: eight classes and background.

    The pictures are made at first use, in seconds, and written as a tree of Pascal VOC under
    `<root>/scenes-<digest of the options>/VOCdevkit/VOC2012`, with void outlines, instances and
    boxes. From then on they are read as any VOC tree. Picture i of a subset depends on the seed,
    the size, the design, the subset and i alone: more pictures leave the earlier ones as they are.

    Args:
        root: the data root; the folder is made in it.
        subset: "train", "val" or "test".
        train: number of training pictures, at least 1.
        val: number of validation pictures.
        test: number of test pictures.
        size: height and width in pixels, 48 or more each.
        seed: other seeds give other pictures, at least 0.
        design: "pairs" of a shape and a texture, of which neither alone gives a class away, or
            "things" with a shape and a texture of their own.

    Raises:
        RecipeError: an option out of its range.
        DataError: the pictures cannot be written, or there is no such subset.
    """

    name = "scenes"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        train: int = 200,
        val: int = 200,
        test: int = 200,
        size: tuple[int, int] = (96, 128),
        seed: int = 0,
        design: Literal["pairs", "things"] = "pairs",
    ) -> None:
        self._options = SceneOptions(train, val, test, size, seed, design)
        _check(self._options)
        folder = ensure_scenes(Path(root).expanduser(), self._options)
        classes = DESIGNS[design].classes
        super().__init__(folder, subset, classes, class_colours(classes))

    def facts(self) -> dict[str, object]:
        """The options that the pictures depend on, and the digest of these and the generator."""
        options = {**asdict(self._options), "size": list(self._options.size)}
        return {**options, "digest": self._options.digest}


def _check(options: SceneOptions) -> None:
    least = {"train": 1, "val": 0, "test": 0, "seed": 0}
    for key, bound in least.items():
        if getattr(options, key) < bound:
            raise RecipeError(
                f"{key} of scenes is {getattr(options, key)}; it must be {bound} or more"
            )
    if min(options.size) < _SMALLEST_SIDE:
        raise RecipeError(
            f"size of scenes is {list(options.size)}; each side must be {_SMALLEST_SIDE} or more"
        )
