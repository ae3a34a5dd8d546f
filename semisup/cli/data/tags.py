"""`semisup data tags`."""

from __future__ import annotations

from pathlib import Path

import click

from semisup.cli import options
from semisup.cli.data.options import dataset_options, open_set, print_counts


@click.command(
    short_help="Derive image tags once and store them.",
    epilog="""\b
Examples:
  semisup data tags scenes --from xml --to tags.txt
  semisup data tags voc --subset train_aug --from masks --to tags.txt
  semisup data tags voc --subset train_aug --from file:cls_labels.npy --to tags.txt
""",
)
@click.argument("name")
@click.option(
    "--from",
    "source",
    required=True,
    help="masks (opens them all), xml (the set's own annotations) or file:PATH.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write; a recipe reads it with data.tags = 'file:PATH'.",
)
@click.option("--subset", default="", help="Default: what is trained on.")
@dataset_options
@options.data_root
@options.plugins
def tags(
    name: str,
    source: str,
    to: Path,
    subset: str,
    settings: tuple[str, ...],
    data_root: Path,
) -> None:
    """Derive the image tags of data set NAME once and store them."""
    from semisup.data.labels.tags import read_tags, tags_from_masks, write_tags

    dataset = open_set(name, data_root, subset, settings)
    found = tags_from_masks(dataset) if source == "masks" else read_tags(dataset, source)
    write_tags(to, found)
    click.echo(f"images {len(found.of)}")
    click.echo(f"sha256 {found.sha256}")
    click.echo("images with each class:")
    print_counts(found.class_counts)
    click.echo(f"written to {to}")
