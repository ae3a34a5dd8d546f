"""`semisup data split`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semisup.cli import options
from semisup.cli.data.options import dataset_options, masks_option, open_set, print_counts

if TYPE_CHECKING:
    from semisup.data.base import SegmentationData
    from semisup.data.labels.splits import Split


@click.command(
    short_help="Make a label split, or say what a list is.",
    epilog="""\b
Examples:
  semisup data split scenes 1/8
  semisup data split voc 5/class --seed 1 --to split.txt
  semisup data split voc 5/class --tags xml
  semisup data split camvid 1/4-sequences --seed 2 --json
  semisup data split --explain labeled.txt --lists splits
  semisup data split voc --subset train_aug --explain labeled.txt
""",
)
@click.argument("name", default="")
@click.argument("spec", default="")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--subset", default="", help="Default: what is trained on.")
@click.option("--tags", "source", default="", help="Image tags: xml or file:PATH. Default: none.")
@click.option(
    "--tagged", default="all", help="Which images have tags, in the syntax of SPEC. Default: all."
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the split; a recipe reads it with data.split = 'file:PATH'.",
)
@click.option(
    "--explain",
    "explained",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Say what a list is, in place of SPEC; NAME is optional, for its classes.",
)
@click.option(
    "--lists",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also say what it has in common with the lists (.txt) of a folder.",
)
@masks_option
@dataset_options
@options.data_root
@options.plugins
@options.as_json
def split(
    name: str,
    spec: str,
    seed: int,
    subset: str,
    source: str,
    tagged: str,
    to: Path | None,
    explained: Path | None,
    lists: Path | None,
    masks: str,
    settings: tuple[str, ...],
    data_root: Path,
    as_json: bool,
) -> None:
    """Make the label split SPEC of data set NAME.

    SPEC is all, masked, none, 1/8, 1/8-balanced, 1/8-sequences, 5/class or file:PATH. With
    --explain, say what a list is instead: its name in the literature, and what contradicts itself.
    """
    if explained is not None:
        if spec or source or to:
            raise click.UsageError("--explain goes without SPEC, --tags and --to.")
        if as_json:
            raise click.UsageError("--explain prints no JSON.")
        _explain(explained, lists, name, lambda: open_set(name, data_root, subset, settings, masks))
        return
    if lists is not None:
        raise click.UsageError("--lists needs --explain FILE.")
    if not spec:
        missing = "SPEC" if name else "NAME"
        raise click.UsageError(f"Missing argument '{missing}' (or --explain FILE).")
    from semisup.data.labels.splits import make_split, write_split
    from semisup.data.labels.tags import read_tags

    dataset = open_set(name, data_root, subset, settings, masks)
    tags = read_tags(dataset, source) if source else None
    made = make_split(dataset, spec, seed, tags=tags, tagged=tagged)
    if to is not None:
        write_split(to, made)
    if as_json:
        click.echo(json.dumps(_content(made, to, with_tags=tags is not None), indent=1))
        return
    click.echo(f"split      {made.name}")
    click.echo(f"sha256     {made.sha256}")
    click.echo(f"labelled   {len(made.labelled)}")
    click.echo(f"unlabelled {len(made.unlabelled)}")
    if tags is not None:
        click.echo(f"tagged     {len(made.weak)} (with the labelled ones)")
    click.echo("labelled images with each class:")
    print_counts(made.class_counts)
    absent = [label for label, count in made.class_counts.items() if not count]
    if absent and made.labelled:
        click.echo(f"in no labelled image: {', '.join(absent)}")
    if to is not None:
        click.echo(f"written to {to}")


def _content(made: Split, to: Path | None, *, with_tags: bool) -> dict[str, Any]:
    """A split as plain values."""
    return {
        "split": made.name,
        "sha256": made.sha256,
        "labelled": len(made.labelled),
        "unlabelled": len(made.unlabelled),
        "tagged": len(made.weak) if with_tags else None,
        "class_counts": dict(made.class_counts),
        "written_to": None if to is None else str(to),
    }


def _explain(
    path: Path, lists: Path | None, name: str, open_data: Callable[[], SegmentationData]
) -> None:
    """Print what a list is.

    Raises:
        DataError: it contradicts itself or the data set.
    """
    from semisup.cli.display.lists import print_explained, print_overlaps
    from semisup.data.labels.known_lists.explain import explain_list, overlaps
    from semisup.errors import DataError
    from semisup.system.words import counted

    data = open_data() if name else None
    found = explain_list(path, data)
    of = f"{data.name} {data.subset}, {counted(len(data), 'image')}" if data else ""
    print_explained(found, of)
    if lists is not None:
        print_overlaps(overlaps(found, lists))
    if found.contradictions:
        count = len(found.contradictions)
        head = "" if count == 1 else f"{count} contradictions, such as: "
        raise DataError(f"{path}: {head}{found.contradictions[0]}")
