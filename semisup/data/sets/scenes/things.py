"""Eight classes, each with a shape and a texture of its own, in any colour.

Colour tells nothing, and light, blur and what hides what differ from picture to picture: from a few
pictures a network learns their colours by heart, from many the textures. Things stand nearly
upright, so that a small network learns them from random weights in minutes. Pebbles without a
texture are clutter.
"""

from __future__ import annotations

import numpy as np

from semisup.data.sets.scenes.drawing import Camera, Design, Item, Random, colour_of
from semisup.data.sets.scenes.shapes import Array

_THINGS = (
    *(("disc", "dotted"), ("star", "striped"), ("triangle", "ringed"), ("square", "checked")),
    *(("cross", "waved"), ("ring", "netted"), ("moon", "bricked"), ("bar", "speckled")),
)
CLASSES = ("background", *(f"{texture}_{shape}" for shape, texture in _THINGS))
_TILT = 0.1  # standard deviation, in radians


def _draw_items(scale: float, random: Random) -> list[Item]:
    labels = random.integers(1, len(CLASSES), size=random.integers(8, 13))
    items = [_draw_item(int(label), *_THINGS[label - 1], scale, random) for label in labels]
    items += [_draw_item(0, "pebble", "plain", scale, random) for _ in range(random.integers(0, 2))]
    return [items[position] for position in random.permutation(len(items))]


def _draw_item(label: int, shape: str, texture: str, scale: float, random: Random) -> Item:
    radius = scale * random.uniform(18.0, 32.0)
    return Item(
        label,
        shape,
        texture,
        radius=radius,
        stretch=random.uniform(0.8, 1.25),
        angle=random.normal(0.0, _TILT),
        texture_angle=random.normal(0.0, _TILT),
        period=min(scale * random.uniform(14.0, 22.0), 0.75 * radius),
        phase=(random.random(), random.random()),
        colours=_draw_colours(random),
    )


def _draw_colours(random: Random) -> Array:
    """A light colour and a dark one of the same hue (2x3, in [0, 1])."""
    hue = random.random()
    light = colour_of(hue, random.uniform(0.25, 0.6), random.uniform(0.85, 1.0))
    return np.stack((light, colour_of(hue, random.uniform(0.5, 0.95), random.uniform(0.2, 0.45))))


THINGS = Design(
    classes=CLASSES,
    textures=tuple(texture for _, texture in _THINGS),
    draw_items=_draw_items,
    camera=Camera(exposure=(0.7, 1.2), slope=0.25, blur=(0.2, 0.5), noise=(0.005, 0.02)),
)
