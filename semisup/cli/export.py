"""`semisup export`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.exporting.export import Exported


def _height_and_width(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """`"512x768"` -> (512, 768)."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", value)
    if found is None:
        raise click.BadParameter(f"'{value}' is no size; give height x width, such as 512x768.")
    return int(found[1]), int(found[2])


@click.command(
    short_help="Write the network of a RUN as ONNX, for use elsewhere.",
    epilog="""\b
Examples:
  semisup export quickstart --to scenes.onnx
  semisup export runs/quickstart/0123456789-s0 --format torch
  semisup export voc/unimatch_v2_1-8 --size 518x518
""",
)
@click.argument("run")
@click.option(
    "--format",
    "kind",
    metavar="onnx|torch",
    help="ONNX (.onnx), or a program of torch.export (.pt2).  [default: as --to ends, else onnx]",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: the recipe's name]",
)
@click.option(
    "--size",
    metavar="HxW",
    callback=_height_and_width,
    help="The one size of images that the file takes, for networks that need it.  "
    "[default: any size]",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
@options.step_of_run
@options.seed_of_run
@options.out
@options.data_root_of_run
@options.plugins
def export(
    run: str,
    kind: str | None,
    to: Path | None,
    size: tuple[int, int] | None,
    overwrite: bool,
    step: int | None,
    seed: int | None,
    out: Path,
    data_root: Path | None,
) -> None:
    """Write the network of a finished RUN to a file that needs no semisup.

    The file takes images as they are decoded (uint8, BCHW) and gives logits (BKHW) and labels
    (BHW); normalisation, class names and colours are inside. Before it takes its name it is read
    again and compared with the run, at three sizes. A script beside it shows its use. RUN is the
    folder of a run, or a recipe's name.
    """
    import torch

    from semisup.exporting.export import export_run
    from semisup.exporting.formats import check_installed, format_of
    from semisup.runs.reopen import open_run

    check_installed(format_of(to, kind))
    folder = options.find_run(run, out, seed, marker=options.marker_of(step))
    options.warn_of_changed_plugins(folder)
    paths = options.paths_of_run(data_root)
    opened = open_run(folder, torch.device("cpu"), paths=paths, step=step)
    _print_done(export_run(opened, to, kind, size=size, overwrite=overwrite))


def _print_done(done: Exported) -> None:
    facts = done.facts
    click.echo(f"Network: {done.file} ({done.file.stat().st_size / 1e6:.1f} MB)")
    click.echo(f"Input:   {facts['input']}")
    click.echo(f"Outputs: {facts['outputs']}")
    size = facts["size"]
    taken = size if isinstance(size, str) else " x ".join(map(str, size))
    click.echo(f"Size:    {taken}, in batches of any number")
    of = f"{done.pictures} images of the run's data" if done.pictures else "random images"
    click.echo(f"Checked against the run, on {of}:")
    for one in done.compared:
        shape = " x ".join(map(str, one.shape))
        click.echo(
            f"  {shape}: logits differ by {one.difference:.0e} of the largest, "
            f"{one.same_labels:.2%} same labels"
        )
    if any(one.undecided for one in done.compared):
        share = max(one.undecided for one in done.compared)
        click.echo(
            f"  At up to {share:.2%} of the pixels of a batch they differ by more: there rounding\n"
            "  decides which of two maxima the network unpools to, as between two devices."
        )
    if facts["left_out"]:
        click.echo(f"Not in the file, but in 'semisup predict': {', '.join(facts['left_out'])}.")
    click.echo(f"Example: python {done.script} IMAGE MASK.png")
