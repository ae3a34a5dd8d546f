"""What labels cost: seconds of a person's time, from published figures that a file may replace.

All kinds but tags are given class by class, and a class that is not there has to be ruled out
(1 s, as for a tag). On VOC, with 20 classes and on average 1.5 classes and 2.8 objects an image,
these figures come to what Bearman et al. 2016 state: 20.0 s an image for tags, 22.1 for a click on
each class and 23.3 on each object, 34.9 for scribbles and 239.7 for masks; and to 38.1 for boxes
(Bellver et al. 2019).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from semisup.errors import DataError, suggest

Table = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Content:
    """What there is to label, in an image or on average.

    Attributes:
        asked: classes that a person is asked about; background is none of them.
        classes: those of them that are there.
        objects: objects of them.
        grounds: regions of background.
    """

    asked: float
    classes: float
    objects: float
    grounds: float = 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds for each kind of label.

    Attributes:
        table: as in costs.toml.
    """

    table: Table

    def tags(self, content: Content) -> float:
        """Of all classes, whether they are there."""
        return content.asked * self.table["tags"]["class"]

    def points(self, content: Content, clicks: float) -> float:
        """Of `clicks` on the classes that are there and on background, one on each at least."""
        points = self.table["points"]
        places = content.classes + (content.grounds > 0)
        clicked = places * points["first_click"]
        clicked += max(0.0, clicks - places) * points["other_click"]
        return self._absent(content) + clicked

    def scribbles(self, content: Content) -> float:
        """Of scribbles on each class that is there, and on background."""
        places = content.classes + (content.grounds > 0)
        return self._absent(content) + places * self.table["scribbles"]["class"]

    def boxes(self, content: Content) -> float:
        """Of a box about each object."""
        return self._absent(content) + content.objects * self.table["boxes"]["object"]

    def masks(self, content: Content) -> float:
        """Of an outline about each object."""
        return self._absent(content) + content.objects * self.table["masks"]["object"]

    def coarse(self, content: Content) -> float:
        """Of coarse polygons."""
        return self.masks(content) * self.table["coarse"]["share_of_masks"]

    def blocks(self, content: Content, share: float) -> float:
        """Of the masks in this share of the image."""
        return self.masks(content) * share

    def _absent(self, content: Content) -> float:
        return (content.asked - content.classes) * self.table["tags"]["class"]


def read_costs(path: Path | None = None) -> Costs:
    """The costs in a TOML file with the keys of costs.toml; without one, the published ones.

    Raises:
        DataError: the file cannot be read, lacks a key, or has one that is unknown or no number of
            seconds.
    """
    default = tomllib.loads(files(__package__).joinpath("costs.toml").read_text("utf-8"))
    if path is None:
        return Costs(default)
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot read the costs ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML ({error}); copy semisup's costs.toml") from error
    known, found = _flat(default), _flat(given)
    for key in found:
        if key not in known:
            raise DataError(f"{path}: '{key}' is no cost.{suggest(key, known)}")
    for key in known:
        value = found.get(key)
        if value is None:
            raise DataError(f"{path} lacks {key}, such as {key} = {known[key]}; add it")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise DataError(f"{path}: {key} = {value!r} is no number of seconds; correct it")
    return Costs(given)


def _flat(table: Mapping[str, object]) -> dict[str, object]:
    rows: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            rows |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            rows[name] = value
    return rows
