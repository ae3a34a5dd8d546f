"""`semisup data`: the group of its commands."""

from __future__ import annotations

import click

from semisup.cli.data.fetch import fetch
from semisup.cli.data.import_ import import_
from semisup.cli.data.make import make
from semisup.cli.data.show import show
from semisup.cli.data.split import split
from semisup.cli.data.stats import stats
from semisup.cli.data.tags import tags
from semisup.cli.data.verify import verify
from semisup.cli.data.weaken import weaken


@click.group(
    short_help="Fetch, verify, measure, make, label, split, show data sets.",
    epilog="""\b
Examples:
  semisup data make scenes
  semisup data fetch voc --data-root /data
  semisup data verify voc --data-root /data
""",
)
def data() -> None:
    """Fetch, verify, measure, make, label, split and show data sets."""


for command in (fetch, import_, verify, make, split, tags, weaken, stats, show):
    data.add_command(command)
