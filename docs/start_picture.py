"""The picture of the start page: `python docs/start_picture.py OUT.png TITLE=RUN [TITLE=RUN ...]`.

One row for each of three images of val, spread evenly over it and not chosen: the image, its mask
and what each run predicts. Runs are folders of one data set; the data are those that the first was
scored on (`--data-root`, else ./data). The ground is transparent and the words are grey, so that it
can be read on a light and on a dark page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

import semisup
from semisup.errors import SemisupError
from semisup.recipe.load import load_recipe

ROWS = 3
GREY = "#7d7d7d"

Pixels = NDArray[np.uint8]


def in_colours(mask: Pixels, palette: Pixels) -> Pixels:
    """HW class ids as HW3; void is white."""
    shown = np.full((*mask.shape, 3), 255, dtype=np.uint8)
    known = mask < len(palette)
    shown[known] = palette[mask[known]]
    return shown


def columns(runs: Sequence[tuple[str, Path]], root: str) -> list[tuple[str, list[Pixels]]]:
    """Title and pictures of each column.

    Raises:
        SemisupError: a run or the data cannot be read.
    """
    recipe = load_recipe(str(runs[0][1] / "recipe.toml"))
    data = semisup.create_dataset(recipe.data.name, root=root, subset="val", **recipe.data_options)
    palette = np.array(data.palette, dtype=np.uint8)
    places = [len(data.ids) * row // ROWS for row in range(ROWS)]
    images = [data.image(place).permute(1, 2, 0).numpy() for place in places]
    made = [
        ("image", images),
        ("mask", [in_colours(data.mask(place).numpy(), palette) for place in places]),
    ]
    for title, folder in runs:
        predictor = semisup.open_run(folder, device="cpu").predictor()
        made.append((title, [in_colours(predictor(image), palette) for image in images]))
    return made


def drawn(made: Sequence[tuple[str, Sequence[Pixels]]]) -> Figure:
    """The columns side by side."""
    height, width = made[0][1][0].shape[:2]
    figure = Figure(figsize=(2 * len(made), 2 * ROWS * height / width + 0.45), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(ROWS, len(made), squeeze=False)
    for column, (title, pictures) in enumerate(made):
        for row, picture in enumerate(pictures):
            axes[row, column].imshow(picture, interpolation="nearest")
            axes[row, column].axis("off")
        axes[0, column].set_title(title, color=GREY, fontsize=16)
    figure.subplots_adjust(0, 0, 1, 0.92, wspace=0.04, hspace=0.06)
    return figure


def main(arguments: Sequence[str]) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", metavar="TITLE=RUN")
    parser.add_argument("--data-root", default="data")
    options = parser.parse_args(arguments)
    parts = [run.partition("=") for run in options.runs]
    runs = [(title, Path(place)) for title, _, place in parts]
    try:
        figure = drawn(columns(runs, options.data_root))
    except SemisupError as error:
        sys.exit(str(error))
    figure.savefig(options.out, transparent=True)


if __name__ == "__main__":
    main(sys.argv[1:])
