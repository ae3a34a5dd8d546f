"""Eight classes, each with a shape, a texture and a hue of its own.

One of the three would do, but light, cast and blur differ from picture to picture and objects hide
each other: a few pictures show a class under a few lights, and many show all. Pebbles without a
texture are clutter.
"""

from __future__ import annotations

import numpy as np

from semisup.data.sets.scenes.drawing import Camera, Design, Item, Random, colour_of
from semisup.data.sets.scenes.shapes import Array

_THINGS = (
    *(("disc", "striped"), ("star", "dotted"), ("triangle", "checked"), ("square", "ringed")),
    *(("cross", "waved"), ("ring", "netted"), ("moon", "bricked"), ("bar", "speckled")),
)
CLASSES = ("background", *(f"{texture}_{shape}" for shape, texture in _THINGS))
_HUE_SPREAD = 0.05  # standard deviation; neighbouring classes are 1/8 of the circle apart


def _draw_items(scale: float, random: Random) -> list[Item]:
    labels = random.integers(1, len(CLASSES), size=random.integers(4, 8))
    items = [_draw_object(int(label), scale, random) for label in labels]
    items += [_draw_clutter(scale, random) for _ in range(random.integers(0, 3))]
    return [items[position] for position in random.permutation(len(items))]


def _draw_object(label: int, scale: float, random: Random) -> Item:
    hue = (label - 1) / len(_THINGS) + random.normal(0.0, _HUE_SPREAD)
    return _draw_item(label, *_THINGS[label - 1], hue, scale, random)


def _draw_clutter(scale: float, random: Random) -> Item:
    return _draw_item(0, "pebble", "plain", random.random(), scale, random)


def _draw_item(
    label: int, shape: str, texture: str, hue: float, scale: float, random: Random
) -> Item:
    radius = scale * random.uniform(11.0, 20.0)
    return Item(
        label,
        shape,
        texture,
        radius=radius,
        stretch=random.uniform(0.8, 1.25),
        angle=random.uniform(0.0, 2 * np.pi),
        texture_angle=random.uniform(0.0, 2 * np.pi),
        period=min(scale * random.uniform(8.0, 13.0), 0.75 * radius),
        phase=(random.random(), random.random()),
        colours=_draw_colours(hue, random),
    )


def _draw_colours(hue: float, random: Random) -> Array:
    """A light and a dark colour of one hue in random order (2x3, in [0, 1])."""
    light = colour_of(hue, random.uniform(0.25, 0.6), random.uniform(0.85, 1.0))
    dark = colour_of(hue, random.uniform(0.5, 0.95), random.uniform(0.2, 0.45))
    return np.stack((light, dark) if random.random() < 0.5 else (dark, light))


THINGS = Design(
    classes=CLASSES,
    textures=tuple(texture for _, texture in _THINGS),
    draw_items=_draw_items,
    camera=Camera(exposure=(0.6, 1.3), slope=0.25, blur=(0.2, 0.6), noise=(0.005, 0.02), cast=0.2),
)
