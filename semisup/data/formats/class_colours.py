"""Colours of classes for which nobody has stated any, that a colour-blind reader can tell apart."""

from __future__ import annotations

from collections.abc import Sequence

from semisup.data.base import Colour
from semisup.data.formats.pictures import voc_palette

BACKGROUND_COLOUR: Colour = (0, 0, 0)
"""Of a class that is called background."""

SAFE_COLOURS: tuple[Colour, ...] = (
    *((240, 45, 0), (60, 0, 255), (150, 15, 135), (165, 210, 255), (255, 195, 120)),
    *((240, 90, 165), (150, 0, 15), (165, 135, 255), (90, 255, 0), (120, 0, 180)),
    *((150, 120, 90), (75, 75, 75), (90, 105, 180), (105, 165, 60), (165, 75, 255)),
    *((105, 165, 225), (0, 135, 135), (120, 210, 45), (30, 105, 45), (195, 15, 105)),
    *((210, 0, 180), (75, 255, 255), (180, 255, 105), (120, 30, 225)),
)
"""Found by search for the largest smallest distance.

The distance of two colours is the smallest that they have (CIE Lab, CIE76) in normal sight and
under protanopia, deuteranopia and tritanopia (Machado et al. 2009, "A Physiologically-based Model
for Simulation of Color Vision Deficiency", severity 1). Any two of the first 12, black and the
colour of void are at least 27 apart, any two of the first 16 at least 17, of all at least 13. So
measured, two of VOC's first 8 are 4 apart.
"""


def class_colours(names: Sequence[str]) -> tuple[Colour, ...]:
    """A colour for each class: black for a background, the `SAFE_COLOURS` in order for others.

    Classes beyond these have the colours of Pascal VOC that are not among them.

    Args:
        names: of the classes.
    """
    more = [colour for colour in voc_palette() if colour not in (BACKGROUND_COLOUR, *SAFE_COLOURS)]
    colours = iter((*SAFE_COLOURS, *more))
    return tuple(BACKGROUND_COLOUR if is_background(name) else next(colours) for name in names)


def is_background(name: str) -> bool:
    """Such as "background", "_background_", "bg", and "0, background" of a table."""
    return "background" in name.lower() or name.strip().lower() == "bg"
