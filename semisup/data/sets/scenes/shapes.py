"""Shapes and textures of the made pictures, as functions of position.

A shape is a signed distance in units of its radius, negative inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def _disc(u: Array, v: Array) -> Array:
    return np.hypot(u, v) - np.float32(0.95)


def _square(u: Array, v: Array) -> Array:
    return _rounded_box(u, v, 0.84, 0.84)


def _rounded_box(u: Array, v: Array, width: float, height: float) -> Array:
    corner = np.float32(0.12)
    du, dv = np.abs(u) - (width - corner), np.abs(v) - (height - corner)
    outside = np.hypot(np.maximum(du, 0), np.maximum(dv, 0))
    return outside + np.minimum(np.maximum(du, dv), 0) - corner


def _triangle(u: Array, v: Array) -> Array:
    angles = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    sides = [np.float32(np.cos(a)) * u + np.float32(np.sin(a)) * v for a in angles]
    return np.maximum(np.maximum(sides[0], sides[1]), sides[2]) - np.float32(0.6)


def _star(u: Array, v: Array) -> Array:
    # The straight edge of one of ten mirrored wedges, from an outer to an inner corner.
    wedge = np.pi / 5
    angle = np.abs((np.arctan2(v, u) + wedge) % (2 * wedge) - wedge)
    length = np.hypot(u, v)
    outer, inner = 1.15, 0.55
    normal = np.array([inner * np.sin(wedge), outer - inner * np.cos(wedge)])
    normal /= np.linalg.norm(normal)
    across = length * (np.cos(angle) * normal[0] + np.sin(angle) * normal[1])
    distance: Array = (across - outer * normal[0]).astype(np.float32)
    return distance


def _cross(u: Array, v: Array) -> Array:
    return np.minimum(_rounded_box(u, v, 1.0, 0.38), _rounded_box(u, v, 0.38, 1.0))


def _ring(u: Array, v: Array) -> Array:
    distance: Array = np.abs(np.hypot(u, v) - 0.72) - np.float32(0.3)
    return distance


def _moon(u: Array, v: Array) -> Array:
    hollow = np.float32(0.78) - np.hypot(u - np.float32(0.62), v)
    distance: Array = np.maximum(np.hypot(u, v) - np.float32(1.05), hollow)
    return distance


def _bar(u: Array, v: Array) -> Array:
    beyond = np.maximum(np.abs(u) - np.float32(0.75), 0)
    return np.hypot(beyond, v) - np.float32(0.42)


def _pebble(u: Array, v: Array) -> Array:
    angle = np.arctan2(v, u)
    edge = 0.9 + 0.1 * np.cos(2 * angle) + 0.12 * np.cos(3 * angle + 1)
    distance: Array = np.hypot(u, v) - edge.astype(np.float32)
    return distance


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "moon": _moon,
    "bar": _bar,
    "pebble": _pebble,
}
AREAS = {
    "disc": 2.835,
    "square": 2.81,
    "triangle": 1.871,
    "star": 1.86,
    "cross": 2.425,
    "ring": 2.714,
    "moon": 2.01,
    "bar": 1.814,
    "pebble": 2.583,
}
"""Of each shape at radius 1; a test measures them."""


def texture_share(kind: str, y: Array, x: Array, rho: Array, period: float) -> Array:
    """Share of the second colour, in [0, 1]; the edges are one pixel soft.

    Args:
        kind: a key of `TEXTURES`.
        y: position, in periods.
        x: position, in periods.
        rho: distance from the centre, in periods.
        period: in pixels.
    """
    share: Array = np.clip(0.5 + TEXTURES[kind](y, x, rho) * (period / (2 * np.pi)), 0, 1)
    return share


def _stripes(y: Array, x: Array, rho: Array) -> Array:
    wave: Array = np.sin(2 * np.pi * x)
    return wave


def _checks(y: Array, x: Array, rho: Array) -> Array:
    wave: Array = np.sin(1.4 * np.pi * x) * np.sin(1.4 * np.pi * y)
    return wave


def _dots(y: Array, x: Array, rho: Array) -> Array:
    return 2 * np.pi * (0.31 - np.hypot(y - np.round(y), x - np.round(x)))


def _rings(y: Array, x: Array, rho: Array) -> Array:
    wave: Array = np.sin(2 * np.pi * rho)
    return wave


def _waves(y: Array, x: Array, rho: Array) -> Array:
    wave: Array = np.sin(2 * np.pi * (x + 0.35 * np.sin(1.2 * np.pi * y)))
    return wave


def _net(y: Array, x: Array, rho: Array) -> Array:
    to_line: Array = np.minimum(np.abs(x - np.round(x)), np.abs(y - np.round(y)))
    return 2 * np.pi * (0.13 - to_line)


def _bricks(y: Array, x: Array, rho: Array) -> Array:
    row = np.floor(1.6 * y)
    across = x + 0.5 * (row % 2)
    to_joint: Array = np.minimum(np.abs(across - np.round(across)), np.abs(1.6 * y - row) / 1.6)
    return 2 * np.pi * (0.12 - to_joint)


def _speckles(y: Array, x: Array, rho: Array) -> Array:
    hills = np.sin(5.1 * x + 2.3 * y) + np.sin(5.9 * y - 2.9 * x + 1) + np.sin(3.7 * (x + y) + 2)
    height: Array = hills - 0.6
    return height


def _plain(y: Array, x: Array, rho: Array) -> Array:
    return np.full_like(x, -1.0)


TEXTURES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "striped": _stripes,
    "checked": _checks,
    "dotted": _dots,
    "ringed": _rings,
    "waved": _waves,
    "netted": _net,
    "bricked": _bricks,
    "speckled": _speckles,
    "plain": _plain,
}
"""Height over (y, x, rho): second colour where positive, slope about 2 pi a period there."""
