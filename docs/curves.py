"""The health of adversarial runs as a picture: `python docs/curves.py OUT.png RUN [RUN ...]`.

One row for each run, from its scalars.jsonl: what the judge says of real and of made input, the
losses, how far each player's weights move, and what the method's own scalars of health are. The
bands are what docs/watching.md calls healthy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Records = list[dict[str, Any]]

PANELS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("the judge", lambda name: name in {"d_real", "d_fake", "d_accuracy"}),
    ("losses", lambda name: name.startswith("loss_")),
    ("update / weights", lambda name: name.startswith("update_ratio/")),
    (
        "self-teaching, samples",
        lambda name: name.startswith(("self_taught_", "labelled_accuracy", "sample_diversity")),
    ),
)


def read(folder: Path) -> tuple[str, Records]:
    """Title of a run, and its lines of the log points."""
    result = folder / "result.json"
    title = folder.parent.name
    if result.is_file():
        facts = json.loads(result.read_text(encoding="utf-8"))
        title = f"{facts['recipe']}, seed {facts['seed']}"
    lines = (folder / "scalars.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return title, [r for r in records if not r.get("final") and not r.get("checkup")]


def draw(axes: Axes, records: Records, title: str, belongs: Callable[[str], bool]) -> None:
    """One panel."""
    names = sorted({name for record in records for name in record if belongs(name)})
    for name in names:
        points = [(r["step"], r[name]) for r in records if r.get(name) is not None]
        label = name.removeprefix("loss_").removeprefix("update_ratio/").replace("_", " ")
        axes.plot(*zip(*points, strict=True), label=label, linewidth=1.4)
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if title == "the judge":
        axes.set_ylim(0, 1)
        axes.axhspan(0.5, 0.98, color="tab:green", alpha=0.08)
    if title.startswith("update"):
        axes.set_yscale("log")
        axes.axhspan(1e-4, 5e-2, color="tab:green", alpha=0.08)
    if title.startswith("self"):
        axes.set_ylim(bottom=0)
    if names:
        axes.legend(fontsize=7, framealpha=0.7)
    else:
        axes.set_axis_off()


def main(target: str, folders: Sequence[str]) -> None:
    """Draw the runs below one another."""
    runs = [read(Path(folder)) for folder in folders]
    figure = Figure(figsize=(13, 2.9 * len(runs)), layout="constrained")
    grid = figure.subplots(len(runs), len(PANELS), squeeze=False)
    for row, (title, records) in zip(grid, runs, strict=True):
        for axes, (name, belongs) in zip(row, PANELS, strict=True):
            draw(axes, records, name, belongs)
        row[0].set_ylabel(title, fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("step", fontsize=8)
    FigureCanvasAgg(figure).print_figure(target, dpi=90)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
