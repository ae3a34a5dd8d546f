"""The diagrams of docs/methods/: SVG from the short descriptions in docs/diagrams.toml.

A page has `<!-- diagram: NAME -->` where its diagram stands; docs/hooks.py puts the SVG there when
the site is built. It is a part of the page, and not a file beside it, so that its colours are those
of the theme that the reader has chosen (docs/assets/site.css). A description is a table of the
TOML file:

    text     what the diagram shows, in words: for who cannot see it, and below it
    nodes    "ID KIND COLUMN ROW LABEL"; columns are 0 to 2 and may be fractions, rows count from
             0; a | in the label begins a new line
    edges    "ID -> ID", a forward pass that gradients go back through; "ID --> ID", one without
             gradient; "ID ..> ID", a copy of weights; ": words" behind it label the edge

The kinds are those of `KINDS`. A shape says what a colour says, so that neither is needed: images
and masks have sharp corners, networks round ones, losses are pills, a discriminator is cut at its
corners. The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.errors import SemisupError

FILE = Path(__file__).parent / "diagrams.toml"
MARKER = re.compile(r"^<!-- diagram: (\S+) -->$", re.MULTILINE)

KINDS = {
    "image": "sharp",
    "mask": "sharp",
    "labels": "sharp",
    "student": "round",
    "teacher": "round",
    "discriminator": "cut",
    "generator": "cut",
    "loss": "pill",
}
"""Kind of node -> its shape."""

ARROWS = {"->": "forward", "-->": "still", "..>": "copy"}
"""Arrow -> class of the line."""

MEANS = {
    "forward": "solid: forward pass",
    "still": "dashed: no gradient",
    "copy": "dotted: weights",
}

WIDTH = 390
"""Of every diagram, in pixels: a telephone's, so that nothing is made smaller on one."""

COLUMN, ROW, TOP = 131, 72, 26
BOX = (118, 44)
LETTER, LINE = 6.6, 15
"""Mean width of a letter and the height of a line of a label, in pixels."""


@dataclass(frozen=True)
class Node:
    """A box. Its place is that of its centre, in pixels."""

    name: str
    kind: str
    x: float
    y: float
    lines: tuple[str, ...]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        width, height = BOX
        return self.x - width / 2, self.y - height / 2, self.x + width / 2, self.y + height / 2


@dataclass(frozen=True)
class Edge:
    """An arrow between two boxes, with the control points of its curve."""

    source: str
    target: str
    kind: str
    label: str
    points: tuple[tuple[float, float], ...]

    def at(self, t: float) -> tuple[float, float]:
        """The point of the cubic curve at t in [0, 1]."""
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        x, y = (sum(w * p[i] for w, p in zip(weights, self.points, strict=True)) for i in (0, 1))
        return x, y


@dataclass(frozen=True)
class Diagram:
    """A description, laid out."""

    name: str
    text: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def height(self) -> int:
        """In pixels."""
        return round(max(node.box[3] for node in self.nodes)) + 4


def read(path: Path = FILE) -> dict[str, Diagram]:
    """All diagrams by name.

    Raises:
        SemisupError: a description is not understood.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _diagram(name, table) for name, table in tables.items()}


def _diagram(name: str, table: Mapping[str, Any]) -> Diagram:
    nodes = {node.name: node for node in (_node(name, text) for text in table["nodes"])}
    edges = tuple(_edge(name, text, nodes) for text in table["edges"])
    return Diagram(name, table["text"], tuple(nodes.values()), edges)


def _node(diagram: str, text: str) -> Node:
    parts = text.split(maxsplit=4)
    if len(parts) != 5 or parts[1] not in KINDS:
        raise SemisupError(
            f"diagram {diagram}: '{text}' is not ID KIND COLUMN ROW LABEL, with a kind of "
            f"{', '.join(KINDS)}."
        )
    name, kind, column, row, label = parts
    x, y = WIDTH / 2 + (float(column) - 1) * COLUMN, TOP + float(row) * ROW
    return Node(name, kind, x, y, tuple(label.split("|")))


def _edge(diagram: str, text: str, nodes: Mapping[str, Node]) -> Edge:
    found = re.fullmatch(r"(\S+) (->|-->|\.\.>) ([^\s:]+)(?:: (.+))?", text)
    if found is None or not {found[1], found[3]} <= nodes.keys():
        raise SemisupError(
            f"diagram {diagram}: '{text}' is not ID -> ID, with -> --> or ..> and two of "
            f"{', '.join(nodes)}."
        )
    points = _curve(nodes[found[1]], nodes[found[3]])
    return Edge(found[1], found[3], ARROWS[found[2]], found[4] or "", points)


def _curve(source: Node, target: Node) -> tuple[tuple[float, float], ...]:
    """From the lower side of a box to the upper one of another; along a row from side to side."""
    if source.y == target.y:
        sign = 1 if target.x > source.x else -1
        start, end = source.x + sign * BOX[0] / 2, target.x - sign * BOX[0] / 2
        third = (end - start) / 3
        return tuple((start + third * i, source.y) for i in range(4))
    sign = 1 if target.y > source.y else -1
    start, end = source.y + sign * BOX[1] / 2, target.y - sign * BOX[1] / 2
    bend = (end - start) * 0.45
    # Where it leaves and arrives is moved a little to the other box, so that arrows fan out.
    shift = max(-38.0, min(38.0, (target.x - source.x) * 0.22))
    first, last = source.x + shift, target.x - shift
    return (first, start), (first, start + bend), (last, end - bend), (last, end)


def svg(diagram: Diagram) -> str:
    """The diagram as a figure of HTML, without an empty line."""
    title = html.escape(diagram.text)
    arrows = "".join(
        f'<marker id="{diagram.name}-{kind}" class="{kind}" viewBox="0 0 10 10" refX="9" refY="5" '
        'markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9" orient="auto">'
        '<path d="M0 0L10 5L0 10z"/></marker>'
        for kind in ARROWS.values()
    )
    parts = [
        f'<figure class="diagram"><svg viewBox="0 0 {WIDTH} {diagram.height}" role="img" '
        f'aria-label="{title}" width="{WIDTH}" height="{diagram.height}">',
        f"<defs>{arrows}</defs>",
        *(_line(diagram.name, edge) for edge in diagram.edges),
        *(_box(node) for node in diagram.nodes),
        *(_words(edge) for edge in diagram.edges if edge.label),
        "</svg>",
        f"<figcaption>{title} <span>{_legend(diagram)}.</span></figcaption></figure>",
    ]
    return "\n".join(parts)


def _legend(diagram: Diagram) -> str:
    used = {edge.kind for edge in diagram.edges}
    text = ", ".join(words for kind, words in MEANS.items() if kind in used)
    return text[0].upper() + text[1:]


def _line(name: str, edge: Edge) -> str:
    (x, y), *rest = edge.points
    path = f"M{x:.1f} {y:.1f}C" + " ".join(f"{a:.1f} {b:.1f}" for a, b in rest)
    return f'<path class="{edge.kind}" d="{path}" marker-end="url(#{name}-{edge.kind})"/>'


def _box(node: Node) -> str:
    left, top, right, bottom = node.box
    width, height = BOX
    radius = {"sharp": 0, "round": 10, "pill": height / 2}.get(KINDS[node.kind])
    if radius is None:
        cut = 10
        corners = [
            (left + cut, top), (right - cut, top), (right, top + cut), (right, bottom - cut),
            (right - cut, bottom), (left + cut, bottom), (left, bottom - cut), (left, top + cut),
        ]  # fmt: skip
        shape = f'<polygon points="{" ".join(f"{x:g},{y:g}" for x, y in corners)}"/>'
    else:
        place = f'x="{left:g}" y="{top:g}" width="{width}" height="{height}"'
        shape = f'<rect {place} rx="{radius:g}"/>'
    first = node.y + 4.5 - LINE / 2 * (len(node.lines) - 1)
    text = "".join(
        f'<text x="{node.x:g}" y="{first + LINE * i:g}">{html.escape(line)}</text>'
        for i, line in enumerate(node.lines)
    )
    return f'<g class="{node.kind}">{shape}{text}</g>'


def _words(edge: Edge) -> str:
    x, y = edge.at(0.5)
    y += -7 if edge.points[0][1] == edge.points[3][1] else 4
    return f'<text class="words" x="{x:.1f}" y="{y:.1f}">{html.escape(edge.label)}</text>'


def with_diagrams(page: str) -> str:
    """The Markdown of a page with its diagrams in place of their markers.

    Raises:
        SemisupError: a diagram is not described.
    """
    if not MARKER.search(page):
        return page
    known = read()

    def figure(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise SemisupError(f"no diagram is called {found[1]}. Known: {', '.join(known)}.")
        return svg(known[found[1]])

    return MARKER.sub(figure, page)
