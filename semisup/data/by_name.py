"""A data set under the class list of a network that was trained on another one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from semisup.data.base import Colour, ObjectBox, SegmentationData, WrappedData
from semisup.data.formats.lists import relabel
from semisup.data.without_classes import classes_made_void, relabelled_boxes, relabelling
from semisup.errors import DataError

MOST_NAMES = 30
"""A longer list of classes is cut in a line."""


class ClassesByName(WrappedData):
    """`data` with the label ids that `classes` have, which are matched by their names alone.

    A class of the set that is not among `classes` becomes void: the network cannot know it. One of
    `classes` that the set does not have is never true; predicting it is an error of the true class.

    Args:
        data: the set.
        classes: K names, as the network has them.
        palette: K colours.

    Attributes:
        absent: positions in `classes` of those that the set does not have.

    Raises:
        DataError: neither list holds all names of the other; states both.
    """

    def __init__(
        self, data: SegmentationData, classes: Sequence[str], palette: Sequence[Colour]
    ) -> None:
        super().__init__(data)
        known, theirs = set(classes), set(data.classes)
        if not (known <= theirs or theirs <= known):
            raise DataError(
                f"{data.root}: its classes are {listed(data.classes)}, those of the run are "
                f"{listed(classes)}; give a data set whose names are those of the run, or some of "
                "them, or more"
            )
        self.classes, self.palette = tuple(classes), tuple(palette)
        self.absent = tuple(k for k, name in enumerate(classes) if name not in theirs)
        self._void = tuple(name for name in data.classes if name not in known)
        self._label = relabelling(data.classes, self.classes)

    def mask(self, index: int) -> Tensor:
        """Mask `index`: uint8 HW, 0..K-1 of `classes`, else 255."""
        return relabel(self._data.mask(index), self._label)

    @property
    def has_objects(self) -> bool:
        """False: objects are counted under the data set's own list of classes alone."""
        return False

    def object_boxes(self, index: int) -> list[ObjectBox]:
        """Boxes `index`; those of classes that are left out are void."""
        return relabelled_boxes(self._data.object_boxes(index), self._label)

    def facts(self) -> dict[str, object]:
        """As the data set has it, and how its classes were matched."""
        known = set(self.classes) & set(self._data.classes)
        return {
            **self._data.facts(),
            "classes_of_the_set": list(self._data.classes),
            **classes_made_void(self.stored_classes, known),
            **({"classes_not_in_the_set": self._absent_names()} if self.absent else {}),
        }

    def describe(self) -> str:
        """How the classes were matched, in a line."""
        parts = [f"classes matched by name (there: {listed(self._data.classes)})"]
        if self._void:
            parts.append(f"the run does not know {listed(self._void)}, which is void here")
        if self.absent:
            names = listed(self._absent_names())
            parts.append(f"the set does not have {names}, which is left out of the means")
        return "; ".join(parts)

    def _absent_names(self) -> list[str]:
        return [self.classes[k] for k in self.absent]


def listed(names: Sequence[str]) -> str:
    """Class names for a line: all of them up to a number, else how many there are."""
    more = len(names) - MOST_NAMES
    text = ", ".join(repr(name)[1:-1] for name in names[:MOST_NAMES])
    return f"{text} and {more} more" if more > 0 else text
