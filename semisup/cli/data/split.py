"""`semisup data split`."""

from __future__ import annotations

from pathlib import Path

import click

from semisup.cli import options
from semisup.cli.data.options import dataset_options, masks_option, open_set, print_counts


@click.command(
    short_help="Make a label split and count its classes.",
    epilog="""\b
Examples:
  semisup data split scenes 1/8
  semisup data split voc 5/class --seed 1 --to split.txt
  semisup data split voc 5/class --tags xml
""",
)
@click.argument("name")
@click.argument("spec")
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
@masks_option
@dataset_options
@options.data_root
@options.plugins
def split(
    name: str,
    spec: str,
    seed: int,
    subset: str,
    source: str,
    tagged: str,
    to: Path | None,
    masks: str,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Make the label split SPEC (all, masked, 1/8, 5/class, none, file:PATH) of data set NAME."""
    from semisup.data.labels.splits import make_split, write_split
    from semisup.data.labels.tags import read_tags

    dataset = open_set(name, data_root, subset, settings, masks)
    tags = read_tags(dataset, source) if source else None
    made = make_split(dataset, spec, seed, tags=tags, tagged=tagged)
    click.echo(f"split      {made.name}")
    click.echo(f"sha256     {made.sha256}")
    click.echo(f"labelled   {len(made.labelled)}")
    click.echo(f"unlabelled {len(made.unlabelled)}")
    if tags is not None:
        click.echo(f"tagged     {len(made.weak)} (with the labelled ones)")
    click.echo("labelled images with each class:")
    print_counts(made.class_counts)
    if to is not None:
        write_split(to, made)
        click.echo(f"written to {to}")
