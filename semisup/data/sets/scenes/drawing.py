"""Drawing one made picture: textured shapes on clutter, in numpy alone.

A `Design` says what is drawn, and under which light: `pairs.py` and `things.py` have one each.

Positions are in pixels, (y, x), the centre of the first pixel at 0; angles in radians.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from semisup.data.sets.scenes.shapes import AREAS, SHAPES, Array, texture_share
from semisup.types import IGNORE

Labels = NDArray[np.uint8]
Random = np.random.Generator

_REFERENCE_SIDE = 112  # sizes in pixels below are for pictures whose short side is this
_SMALLEST_VISIBLE = 0.4  # share of an object that must stay in sight
_DIFFICULT_BELOW = 0.55
_TRUNCATED_BELOW = 0.97


@dataclass(frozen=True, slots=True)
class SceneObject:
    """What the annotation says of an object: class and the extent of its visible part.

    Corners are 0-based and inclusive.
    """

    label: int
    ymin: int
    xmin: int
    ymax: int
    xmax: int
    difficult: bool
    truncated: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture (uint8 HW3) with its ground truth (uint8 HW, 255 on the outlines).

    `instances` numbers `objects` from 1.
    """

    picture: Labels
    mask: Labels
    instances: Labels
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A shape with a texture, an object of class `label` or, with 0, part of the clutter."""

    label: int
    shape: str
    texture: str
    radius: float
    stretch: float
    angle: float
    texture_angle: float
    period: float
    phase: tuple[float, float]
    colours: Array


Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Camera:
    """The light that pictures are taken in: each is drawn evenly between two ends.

    Attributes:
        exposure: factor of all values.
        slope: largest change of the light towards an edge, each way, as a share.
        blur: standard deviation in pixels.
        noise: standard deviation, of values in [0, 1].
    """

    exposure: Range
    slope: float
    blur: Range
    noise: Range


@dataclass(frozen=True, slots=True)
class Design:
    """What a set of pictures shows.

    Attributes:
        classes: K names, "background" first.
        textures: those of the classes, of which the ground has faint patches.
        draw_items: (scale, random) -> objects and clutter of one picture, the farthest first;
            `scale` is the size of a picture against the one that lengths are stated for.
        camera: the light.
    """

    classes: tuple[str, ...]
    textures: tuple[str, ...]
    draw_items: Callable[[float, Random], list[Item]]
    camera: Camera


def draw_scene(size: tuple[int, int], random: Random, design: Design) -> Scene:
    """One picture of `size` (H, W); all that happens is drawn from `random`."""
    canvas = _draw_background(size, random, design.textures)
    light = random.uniform(0.0, 2 * np.pi)
    owner = np.zeros(size, np.int16)  # the item that is in front, from 1
    items: list[Item] = []
    areas: list[float] = []
    for item in design.draw_items(min(size) / _REFERENCE_SIDE, random):
        placed = _place(item, items, areas, owner, random)
        if placed is not None:
            items.append(item)
            areas.append(_full_area(item))
            _paint(canvas, owner, item, placed, len(items), light)
    mask, instances, objects = _annotate(items, areas, owner)
    return Scene(_photograph(canvas, random, design.camera), mask, instances, objects)


def colour_of(hue: float, saturation: float, value: float) -> Array:
    """Red, green and blue in [0, 1]; of `hue` the whole turns do not count."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), np.float32)


def _turned(y: Array, x: Array, angle: float) -> tuple[Array, Array]:
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * y - sin * x, sin * y + cos * x


@dataclass(frozen=True, slots=True)
class _Placed:
    """An item at its place: the window it lies in, and there (hw) its geometry."""

    window: tuple[slice, slice]
    dy: Array
    dx: Array
    distance: Array  # signed, in pixels

    @property
    def inside(self) -> NDArray[np.bool_]:
        return self.distance < 0


def _full_area(item: Item) -> float:
    return AREAS[item.shape] * item.radius**2


def _place(
    item: Item, items: list[Item], areas: list[float], owner: NDArray[np.int16], random: Random
) -> _Placed | None:
    """A random place where enough of `item` and of every object behind it stays in sight."""
    height, width = owner.shape
    for _ in range(8):
        margin = 0.3 * item.radius
        centre = (
            random.uniform(-margin, height - 1 + margin),
            random.uniform(-margin, width - 1 + margin),
        )
        placed = _at(item, centre, (height, width))
        behind = owner[placed.window]
        if placed.inside.sum() < _SMALLEST_VISIBLE * _full_area(item):
            continue
        hidden = np.bincount(behind[placed.inside], minlength=len(items) + 1)[1:]
        seen = np.bincount(owner.ravel(), minlength=len(items) + 1)[1:] - hidden
        if all(
            other.label == 0 or left >= _SMALLEST_VISIBLE * area
            for other, left, area in zip(items, seen, areas, strict=True)
        ):
            return placed
    return None


def _at(item: Item, centre: tuple[float, float], size: tuple[int, int]) -> _Placed:
    reach = 1.5 * item.radius + 2
    low = [max(0, int(c - reach)) for c in centre]
    high = [
        max(lo + 1, min(side, int(c + reach) + 1))
        for lo, c, side in zip(low, centre, size, strict=True)
    ]
    dy = np.arange(low[0], high[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    dx = np.arange(low[1], high[1], dtype=np.float32)[None, :] - np.float32(centre[1])
    dy, dx = np.broadcast_arrays(dy, dx)
    v, u = _turned(dy, dx, item.angle)
    stretch = np.float32(item.stretch)
    radius = np.float32(item.radius)
    distance = SHAPES[item.shape](u / (radius * stretch), v * stretch / radius) * radius
    return _Placed((slice(low[0], high[0]), slice(low[1], high[1])), dy, dx, distance)


def _paint(
    canvas: Array,
    owner: NDArray[np.int16],
    item: Item,
    placed: _Placed,
    number: int,
    light: float,
) -> None:
    """Put an item with its shadow in front of what `canvas` (HW3) shows."""
    cover = np.clip(0.5 - placed.distance, 0, 1)
    view = canvas[placed.window]
    fall = max(1, round(0.12 * item.radius))
    shift = (round(fall * np.sin(light)), round(fall * np.cos(light)))
    shadow = gaussian_filter(np.roll(cover, shift, axis=(0, 1)), fall, mode="constant")
    view *= (1 - 0.45 * shadow)[..., None]
    view += cover[..., None] * (_surface(item, placed, light) - view)
    owner[placed.window][placed.inside] = number


def _surface(item: Item, placed: _Placed, light: float) -> Array:
    """Colour of the item (hw3): texture, light from one side, a darker rim."""
    y, x = _turned(placed.dy, placed.dx, item.texture_angle)
    rho = np.hypot(placed.dy, placed.dx) / item.period + item.phase[0]
    y, x = y / item.period + item.phase[0], x / item.period + item.phase[1]
    share = texture_share(item.texture, y, x, rho, item.period)[..., None]
    colour = item.colours[0] + share * (item.colours[1] - item.colours[0])
    toward = -(placed.dy * np.sin(light) + placed.dx * np.cos(light)) / item.radius
    rim = np.clip(1 + placed.distance / 2.5, 0, 1)
    surface: Array = colour * (1 + 0.22 * toward - 0.25 * rim)[..., None]
    return surface


def _draw_background(size: tuple[int, int], random: Random, textures: tuple[str, ...]) -> Array:
    """Clutter (HW3 in [0, 1]): soft hills of three colours with patches of faint texture."""
    scale = min(size) / _REFERENCE_SIDE
    hue = random.random()
    colours = [_draw_background_colour(hue, random) for _ in range(3)]
    canvas = np.broadcast_to(colours[0], (*size, 3)).copy()
    for colour in colours[1:]:
        share = np.clip(1.6 * _hills(size, random) - 0.3, 0, 1)
        canvas += share[..., None] * (colour - canvas)
    for _ in range(random.integers(1, 4)):
        canvas *= 1 + _faint_texture(size, scale, random, textures)[..., None]
    return canvas


def _draw_background_colour(hue: float, random: Random) -> Array:
    hue += random.uniform(-0.15, 0.15)
    return colour_of(hue, random.uniform(0.15, 0.7), random.uniform(0.35, 0.95))


def _hills(size: tuple[int, int], random: Random) -> Array:
    """Smooth noise (HW, about 0..1) of three octaves."""
    field = np.zeros(size, np.float32)
    for cells, height in ((2, 0.6), (4, 0.3), (9, 0.1)):
        grid = random.random((cells + 2, cells + 2), dtype=np.float32)
        rows, columns = (_blend(side, cells + 2) for side in size)
        field += np.float32(height) * (rows @ grid @ columns.T)
    return field


def _blend(side: int, points: int) -> Array:
    """Weights (side x points) of a smooth interpolation between `points` on a line."""
    position = np.linspace(0, points - 1, side, dtype=np.float32)[:, None]
    gap = np.clip(np.abs(position - np.arange(points, dtype=np.float32)), 0, 1)
    weights: Array = 1 - gap * gap * (3 - 2 * gap)
    return weights


def _faint_texture(
    size: tuple[int, int], scale: float, random: Random, textures: tuple[str, ...]
) -> Array:
    """Brightness change (HW) by one of the classes' textures, in a part of the picture."""
    y, x = np.broadcast_arrays(*np.ogrid[: size[0], : size[1]])
    y, x = _turned(y.astype(np.float32), x.astype(np.float32), random.uniform(0.0, 2 * np.pi))
    period = scale * random.uniform(4.5, 12.0)
    kind = str(random.choice(textures))
    rho = np.hypot(y, x) / period
    share = texture_share(kind, y / period, x / period, rho, period) - np.float32(0.5)
    where = np.clip(4 * (_hills(size, random) - random.uniform(0.35, 0.6)), 0, 1)
    faint: Array = np.float32(random.uniform(0.1, 0.3)) * share * where
    return faint


def _photograph(canvas: Array, random: Random, camera: Camera) -> Labels:
    """The picture (uint8 HW3) of `canvas`: light from one side, lens blur, exposure, noise."""
    height, width, _ = canvas.shape
    slope = random.uniform(-camera.slope, camera.slope, size=2)
    light = (
        1 + slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)
    )
    exposed = canvas * (random.uniform(*camera.exposure) * light)[..., None]
    blurred = gaussian_filter(exposed, (blur := random.uniform(*camera.blur), blur, 0))
    noise = random.standard_normal(canvas.shape, dtype=np.float32) * random.uniform(*camera.noise)
    picture: Labels = (np.clip(blurred + noise, 0, 1) * 255).round().astype(np.uint8)
    return picture


def _annotate(
    items: list[Item], areas: list[float], owner: NDArray[np.int16]
) -> tuple[Labels, Labels, tuple[SceneObject, ...]]:
    """Mask and instances (HW, 255 on outlines) and the objects of a painted scene."""
    numbers = [n for n, item in enumerate(items, start=1) if item.label]
    instance_of = np.zeros(len(items) + 1, np.uint8)
    instance_of[numbers] = np.arange(1, len(numbers) + 1)
    label_of = np.array([0, *(item.label for item in items)], np.uint8)
    instances = instance_of[owner]
    outline = maximum_filter(instances, size=3) != minimum_filter(instances, size=3)
    objects = tuple(
        _describe(items[n - 1].label, instances == instance_of[n], areas[n - 1]) for n in numbers
    )
    mask = np.where(outline, np.uint8(IGNORE), label_of[owner])
    return mask, np.where(outline, np.uint8(IGNORE), instances), objects


def _describe(label: int, where: NDArray[np.bool_], area: float) -> SceneObject:
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    seen = where.sum() / area
    return SceneObject(
        label,
        int(rows[0]),
        int(columns[0]),
        int(rows[-1]),
        int(columns[-1]),
        difficult=bool(seen < _DIFFICULT_BELOW),
        truncated=bool(seen < _TRUNCATED_BELOW),
    )
