"""Scribbles: a smooth stroke inside each region.

Lin et al., ScribbleSup: Scribble-Supervised Convolutional Networks for Semantic Segmentation,
CVPR 2016, https://arxiv.org/abs/1604.05144, had people draw them; here a stroke runs along the
middle of its region, between two of the points that are farthest apart on a way within it, and
stops short of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from semisup.data.base import SegmentationData
from semisup.data.weak_labels.base import (
    Drawn,
    ImageRandom,
    Labels,
    Truth,
    WeakKind,
    unlabelled,
)
from semisup.data.weak_labels.costs import Content, Costs
from semisup.data.weak_labels.regions import Inside
from semisup.data.weak_labels.scribble_sup import Line, read_strokes
from semisup.errors import RecipeError
from semisup.types import IGNORE

_SIDE = 48
"""Nodes along the longer side of a region: the way is searched on a coarse grid, then smoothed."""

_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))

Nodes = npt.NDArray[np.int64]
"""N2, row and column of pixels."""


class Scribbles(WeakKind):
    """Strokes, one in each region.

    Args:
        width: of a stroke, pixels; ScribbleSup's are drawn 3 wide.
        length: share of the way from end to end that a stroke covers at least; how much more is
            drawn at random. A short one says less.

    Raises:
        RecipeError: an option is out of its range.
    """

    name = "scribbles"

    def __init__(self, *, width: int = 3, length: float = 0.6) -> None:
        if width < 1 or not 0 < length <= 1:
            raise RecipeError(
                f"scribbles need width >= 1 and length above 0 and up to 1, not {width} and "
                f"{length}"
            )
        self.width, self.length = width, length

    def label(self, truth: Truth, draws: ImageRandom) -> Labels:
        """See `WeakKind.label`."""
        labels = unlabelled(truth)
        for region in truth.regions:
            path = stroke(region.inside, self.length, draws)
            drawn = draw_stroke(region.inside.shape, path, self.width) & region.inside
            if not drawn.any():  # rounding took a thin line off a thin region
                drawn[tuple(np.argwhere(region.inside)[0])] = True
            left, top, right, bottom = region.box
            labels[top:bottom, left:right][drawn] = region.label
        return labels

    def annotated(self, data: SegmentationData, sources: Sequence[Path]) -> Drawn:
        """The strokes of a folder of <id>.xml, as of `read_strokes`, in the order of a file.

        What is drawn beyond the image is left out.

        Raises:
            RecipeError: the source is not one folder.
            DataError: as `read_strokes`, from the function.
        """
        if len(sources) != 1 or not sources[0].is_dir():
            raise RecipeError(
                f"scribbles that people have drawn are read from one folder of <id>.xml, not from "
                f"{', '.join(map(str, sources)) or 'the annotations of ' + data.name}"
            )

        def draw(index: int) -> Labels | None:
            path = sources[0] / f"{data.ids[index]}.xml"
            if not path.exists():
                return None
            labels = np.full(data.image(index).shape[-2:], IGNORE, np.uint8)
            for label, line in read_strokes(path, data.classes):
                labels[draw_stroke(labels.shape, line, self.width)] = label
            return labels

        return draw

    def seconds(self, costs: Costs, content: Content) -> float:
        """See `WeakKind.seconds`."""
        return costs.scribbles(content)


def stroke(inside: Inside, length: float, draws: ImageRandom) -> Line:
    """A smooth way within a region, from one of its ends to another.

    Args:
        inside: bool HW.
        length: least share of the way.
        draws: where it begins, and how much of it is drawn.

    Returns:
        N2, row and column; the first point is inside.
    """
    step = -(-max(inside.shape) // _SIDE)
    nodes, depth = _grid(inside, step)
    if len(nodes) == 1:
        return nodes.astype(np.float64)
    ways = _ways(nodes, depth, step)
    start = draws.below(len(nodes))
    one = _farthest(dijkstra(ways, directed=False, indices=start))
    reached, before = dijkstra(ways, directed=False, indices=one, return_predecessors=True)
    node, way = _farthest(reached), []
    while node >= 0:  # -9999 comes before the first
        way.append(node)
        node = int(before[node])
    share = draws.uniform(length, 1.0) * 0.9  # nobody draws to the very end
    begin = (1 - share) * draws.uniform(0.25, 0.75) * (len(way) - 1)
    kept = way[round(begin) : round(begin + share * (len(way) - 1)) + 1]
    path = nodes[kept].astype(np.float64)
    smooth = ndimage.gaussian_filter1d(path, sigma=1.5, axis=0, mode="nearest")
    middle = tuple(np.rint(smooth[len(smooth) // 2]).astype(int))
    return smooth if inside[middle] else path


def draw_stroke(size: tuple[int, ...], path: Line, width: int) -> Inside:
    """Bool HW: True on the pixels of a line of this width through the points of `path`."""
    picture = Image.new("1", (size[1], size[0]))
    points = [(float(column), float(row)) for row, column in path]
    pen = ImageDraw.Draw(picture)
    if len(points) > 1:
        pen.line(points, fill=1, width=width, joint="curve")
    reach = (width - 1) / 2
    for x, y in (points[0], points[-1]):
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=1)
    return np.array(picture)


def _grid(inside: Inside, step: int) -> tuple[Nodes, npt.NDArray[np.float64]]:
    """Pixels of the region on a grid, N2, and how deep each lies in it, in steps of the grid.

    The grid may miss a thin region: its deepest pixel stands for it then.
    """
    off = step // 2
    small = inside[off::step, off::step]
    if small.any():
        depth = ndimage.distance_transform_edt(np.pad(small, 1))[1:-1, 1:-1]
        return np.argwhere(small) * step + off, depth[small]
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    return np.array([np.unravel_index(depth.argmax(), depth.shape)]), np.ones(1)


def _ways(nodes: Nodes, depth: npt.NDArray[np.float64], step: int) -> coo_array:
    """Lengths of the ways between neighbouring nodes, longer near the border; sparse NN."""
    places = nodes // step
    high, wide = places.max(axis=0) + 2
    number = np.full((high, wide + 1), -1)  # a margin, so that no neighbour is beyond
    number[places[:, 0], places[:, 1]] = np.arange(len(nodes))
    starts, ends, lengths = [], [], []
    for down, across in _STEPS:
        other = number[places[:, 0] + down, places[:, 1] + across]
        start = np.flatnonzero(other >= 0)
        end = other[start]
        starts.append(start)
        ends.append(end)
        lengths.append(np.hypot(down, across) * (0.2 + 1 / depth[start] + 1 / depth[end]))
    size = (len(nodes), len(nodes))
    joined = (np.concatenate(starts), np.concatenate(ends))
    return coo_array((np.concatenate(lengths), joined), shape=size).tocsr()


def _farthest(lengths: npt.NDArray[np.float64]) -> int:
    """The node with the longest way of those that can be reached."""
    return int(np.where(np.isfinite(lengths), lengths, -1.0).argmax())
