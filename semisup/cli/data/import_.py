"""`semisup data import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from semisup.own_data.importing import Report


@click.command(
    "import",
    short_help="Read what CVAT, labelme, COCO, YOLO, ... export.",
    epilog="""\b
Examples:
  semisup data import cvat_export --to pets
  semisup data import roboflow --to pets --format yolo
  semisup data import coco --to pets --empty background
""",
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write: images/, masks/, classes.txt.",
)
@click.option(
    "--format",
    "format_",
    default="",
    help="Such as cvat, coco, voc, yolo, labelme. Default: as the files say.",
)
@click.option(
    "--empty",
    type=click.Choice(["unlabelled", "background"]),
    default="unlabelled",
    show_default=True,
    help="What images are on which nothing was drawn.",
)
def import_(source: Path, to: Path, format_: str, empty: str) -> None:
    """Write a folder to train on from SOURCE, the unpacked export of a labelling tool.

    Writes images/, masks/ and classes.txt, the lists of the export if it has some, and a sheet to
    look at; says what was left out and why. SOURCE is left as it is. CVAT, COCO, VOC, Roboflow and
    YOLO with polygons are read with the extra "import", labelme's JSON files without.
    """
    from semisup.cli.data.options import open_set
    from semisup.own_data.importing import import_export
    from semisup.own_data.start import SHEET, remember_sheet
    from semisup.runs.sheets import draw_data_sheet

    report = import_export(source, to, format=format_, empty=empty == "background")
    if report.masks:
        draw_data_sheet(to / SHEET, open_set("folder", to, "all", ()), 8)
        remember_sheet(to)
    _print(report, to)


def _print(report: Report, to: Path) -> None:
    """What was written and left out, and what comes next."""
    import shlex

    from semisup.own_data.start import SHEET

    click.echo(f"format     {report.format}")
    click.echo(f"images     {report.images:,}, {report.masks:,} with a mask")
    for name, count in report.segments.items():
        click.echo(f"  {name:<20}{count:>6} drawn")
    lists = ", ".join(f"{name} {count:,}" for name, count in report.lists.items())
    click.echo(f"lists      {lists or 'none in the export; semisup init draws them'}")
    for note in report.notes:
        click.echo(f"note: {note}")
    if report.masks:
        click.echo(f"\nLook at {to / SHEET}, then:")
        click.echo(f"  semisup init {shlex.quote(str(to))}")
