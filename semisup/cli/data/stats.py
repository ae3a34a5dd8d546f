"""`semisup data stats`."""

from __future__ import annotations

from pathlib import Path

import click

from semisup.cli import options
from semisup.cli.data.options import dataset_options, open_set


@click.command(
    short_help="Measure the values of a data set's images.",
    epilog="""\b
Examples:
  semisup data stats folder --data-root my_data
  semisup data stats camvid --subset val --json
""",
)
@click.argument("name")
@click.option("--subset", default="", help="Default: what is trained on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@dataset_options
@options.data_root
@options.plugins
def stats(
    name: str, subset: str, as_json: bool, settings: tuple[str, ...], data_root: Path
) -> None:
    """Measure mean, deviation and range of each channel of data set NAME.

    A run normalises 8-bit RGB by the mean and deviation of ImageNet's images, and all other images
    by these, which it measures once, on what it trains on, and keeps in its run.json.
    """
    import dataclasses
    import json

    from semisup.cli.display.statistics import print_statistics
    from semisup.data.image_formats import measure_images

    found = measure_images(open_set(name, data_root, subset, settings))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        print_statistics(found)
