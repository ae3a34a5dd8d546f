"""Eight classes, each a pair of shape and texture, of which neither alone gives one away.

Each shape comes with each texture, and the background has the classes' shapes without a texture and
their textures on other shapes. A class prefers a hue, as real things do, but the hues of neighbours
overlap and the clutter has them all.
"""

from __future__ import annotations

import numpy as np

from semisup.data.sets.scenes.drawing import Camera, Design, Item, Random, colour_of
from semisup.data.sets.scenes.shapes import Array

_SHAPES = ("disc", "star")
_TEXTURES = ("striped", "dotted", "checked", "ringed")
_OTHER_SHAPES = ("triangle", "square", "cross")
_PAIRS = [(shape, texture) for shape in _SHAPES for texture in _TEXTURES]
CLASSES = ("background", *(f"{texture}_{shape}" for shape, texture in _PAIRS))
_HUE_SPREAD = 0.1  # standard deviation; neighbouring classes are 1/8 of the circle apart


def _draw_items(scale: float, random: Random) -> list[Item]:
    count = random.integers(2, 5)
    labels = random.integers(1, len(CLASSES), size=count)
    kinds = [(int(label), _PAIRS[label - 1]) for label in labels]
    kinds += [(0, _draw_distractor(random)) for _ in range(random.integers(0, 2))]
    items = [_draw_item(label, pair, scale, random) for label, pair in kinds]
    return [items[position] for position in random.permutation(len(items))]


def _draw_distractor(random: Random) -> tuple[str, str]:
    """A class's shape without a texture, or a class's texture on another shape."""
    if random.random() < 0.6:
        return str(random.choice(_SHAPES)), "plain"
    return str(random.choice(_OTHER_SHAPES)), str(random.choice(_TEXTURES))


def _draw_item(label: int, pair: tuple[str, str], scale: float, random: Random) -> Item:
    radius = scale * 16.0 * 3.0 ** random.random()
    return Item(
        label,
        *pair,
        radius=radius,
        stretch=random.uniform(0.85, 1.18),
        angle=random.uniform(0.0, 2 * np.pi),
        texture_angle=random.uniform(0.0, 2 * np.pi),
        period=min(scale * random.uniform(6.5, 11.0), 0.75 * radius),
        phase=(random.random(), random.random()),
        colours=_draw_colours(label, random),
    )


def _draw_colours(label: int, random: Random) -> Array:
    """A light and a dark colour of about one hue in random order (2x3, in [0, 1])."""
    if label:
        hue = (label - 1) / len(_PAIRS) + random.normal(0.0, _HUE_SPREAD)
    else:
        hue = random.random()
    turn = random.choice((0.0, 0.06, -0.06))
    light = colour_of(hue, random.uniform(0.25, 0.6), random.uniform(0.9, 1.0))
    dark = colour_of(hue + turn, random.uniform(0.5, 0.95), random.uniform(0.2, 0.5))
    return np.stack((light, dark) if random.random() < 0.5 else (dark, light))


PAIRS = Design(
    classes=CLASSES,
    textures=_TEXTURES,
    draw_items=_draw_items,
    camera=Camera(exposure=(0.8, 1.15), slope=0.22, blur=(0.2, 0.8), noise=(0.005, 0.025)),
)
