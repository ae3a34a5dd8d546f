"""`semisup data weaken`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options
from semisup.cli.data.options import dataset_options, open_set, parse_options

if TYPE_CHECKING:
    from semisup.data.base import SegmentationData
    from semisup.data.labels.tags import MaskTags
    from semisup.data.weak_labels.costs import Costs


@click.command(
    short_help="Write weak labels, such as scribbles.",
    epilog="""\b
Examples:
  semisup data weaken scenes --kind scribbles --out scribbles
  semisup data weaken voc --kind points --with miss_rate=0.08 --out clicks
  semisup data weaken voc --kind points --from whats_the_point.json --out c
  semisup data weaken voc --kind boxes --from annotations --out boxes
\b
A recipe trains on them with data.masks = "folder:clicks".
""",
)
@click.argument("name")
@click.option(
    "--kind", required=True, help="blocks, boxes, coarse, points, refined_boxes, scribbles or tags."
)
@click.option(
    "--with",
    "with_",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the kind, such as clicks=3 (points); may be repeated.",
)
@click.option(
    "--from",
    "sources",
    metavar="PATH",
    multiple=True,
    help="Labels that people have made: a file of clicks (may be repeated), a folder of "
    "scribbles, or 'annotations' for the boxes of the data set. Default: the masks.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write; new, or of the same labels.",
)
@click.option(
    "--costs",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of seconds. Default: the published ones.",
)
@click.option("--count", type=click.IntRange(min=0), default=8, help="Images on the sheet.")
@click.option("--subset", default="", help="Default: what is trained on.")
@dataset_options
@options.data_root
@options.plugins
def weaken(
    name: str,
    kind: str,
    with_: tuple[str, ...],
    sources: tuple[str, ...],
    seed: int,
    out: Path,
    costs: Path | None,
    count: int,
    subset: str,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Write weak labels of data set NAME, made of its masks or by people.

    OUT gets a mask for each image, void where nobody has said anything, and a sheet to look at.
    """
    from semisup.data.labels.tags import MaskTags
    from semisup.data.weak_labels.costs import read_costs
    from semisup.data.weak_labels.writing import KINDS, write_weak_labels
    from semisup.errors import RecipeError, suggest
    from semisup.runs.sheets import draw_weak_sheet

    if kind not in (*KINDS, "tags"):
        raise RecipeError(f"--kind {kind}: no such kind of label.{suggest(kind, [*KINDS, 'tags'])}")
    if kind == "tags" and sources:
        raise RecipeError("--kind tags takes those of the masks: for others, 'semisup data tags'")
    values = parse_options(KINDS.get(kind, MaskTags), with_, "--with")
    priced, out = read_costs(costs), out.resolve()
    dataset = open_set(name, data_root, subset, settings)
    if kind == "tags":
        _write_tags(out, dataset, MaskTags(**values), seed, priced)
        return
    files = None
    if sources:
        files = [] if sources == ("annotations",) else [Path(source) for source in sources]
    made = KINDS[kind](**values)
    written = write_weak_labels(out, dataset, made, seed=seed, costs=priced, sources=files)
    click.echo(f"images {written.images}")
    if written.without:
        click.echo(f"images without a label {written.without}")
    click.echo(f"labelled pixels {written.share:.2%}")
    if written.seconds is not None:
        _print_cost(written.seconds, written.images)
    click.echo(f"written to {out}")
    if count:
        sheet = out.with_name(f"{out.name}.sheet.png")
        draw_weak_sheet(sheet, dataset, out, count)
        click.echo(f"Pictures: {sheet}")


def _print_cost(seconds: float, images: int) -> None:
    whole = f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
    click.echo(f"cost {whole}, {seconds / images:.1f} s an image")


def _write_tags(
    out: Path, dataset: SegmentationData, kind: MaskTags, seed: int, costs: Costs
) -> None:
    from semisup.data.labels.tags import write_tags
    from semisup.data.weak_labels.costs import Content
    from semisup.data.weak_labels.manifest import claimed, manifest

    found = kind.read(dataset, seed)
    with claimed(out, manifest(dataset, "tags", vars(kind), seed)):
        write_tags(out / "tags.txt", found)
    click.echo(f"images {len(found.of)}")
    each = costs.tags(Content(asked=dataset.num_classes - 1, classes=0, objects=0))
    _print_cost(each * len(found.of), len(found.of))
    click.echo(f"written to {out}, as tags.txt")
