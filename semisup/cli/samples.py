"""`semisup samples`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from semisup.cli import options


@click.command(
    short_help="Draw and measure a generator's images.",
    epilog="""\b
Examples:
  semisup samples scenes/gan_segmentation_unet_1-8
  semisup samples scenes/gan_segmentation_unet_1-8 --weights mobilenet_v2.pth --seed 1
  semisup samples runs/my_recipe/0123456789-s0 --count 2000 --backbone resnet50
""",
)
@click.argument("run")
@click.option(
    "--count",
    type=click.IntRange(min=2),
    default=512,
    show_default=True,
    help="Images on each side of a distance; at most half of the training images.",
)
@click.option(
    "--backbone",
    default="",
    metavar="NAME",
    help="Whose features are compared: mobilenet_v2, resnet50, vgg16 or vgg16_bn; default: what "
    "the weights are of, else mobilenet_v2.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="torchvision's weights of the backbone, safetensors or pth; default: the recipe's "
    "(model.weights) where they fit, else random ones.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Of the noise that the images are made from (not of the run: name its folder).",
)
@options.device
@options.out
@options.data_root_of_run
@options.plugins
def samples(
    run: str,
    count: int,
    backbone: str,
    weights: Path | None,
    seed: int,
    device: str,
    out: Path,
    data_root: Path | None,
) -> None:
    """Show and measure what the generator of a RUN makes, whether the run is finished or not.

    Writes a grid of images (pictures/generated.png) and their Frechet distance to the training
    images (samples.json) in the run's folder, from its newest checkpoint. RUN is the folder of
    a run, or a recipe's name: its run that wrote a checkpoint last. Distances are comparable only
    between runs measured with the same backbone, weights and count; not with published FIDs.
    """
    from semisup.runs.generated import sample_run
    from semisup.system.device import resolve_device

    folder = options.find_run(run, out, marker="checkpoints")
    paths = options.paths_of_run(data_root)
    options.warn_of_changed_plugins(folder)
    where = resolve_device(device)
    done = sample_run(
        folder, paths, where, count=count, backbone=backbone, weights=weights, seed=seed
    )
    print_samples(done.report)
    click.echo(f"Pictures: {done.picture}")
    click.echo(f"Kept in {done.file}")


def print_samples(report: dict[str, Any]) -> None:
    """The three distances and what they were made with."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    features = report["features"]
    title = f"{report['recipe']}, step {report['step']}: Frechet distance to training images"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("of")
    table.add_column("images", justify="right")
    table.add_column("distance", justify="right")
    for name, key in (
        ("other training images (floor)", "floor"),
        (f"made images, seed {report['seed']}", "distance"),
        ("noise (ceiling)", "ceiling"),
    ):
        table.add_row(name, f"{report['count']}", f"{report[key]:.4g}")
    console.print(table)
    console.print(
        f"Features: {features['dimensions']} of {features['backbone']}, {features['weights']}; the "
        f"number {report['note']}.",
        markup=False,
    )
    if features["weights"].startswith("random weights"):
        console.print("Random features know no objects: give --weights of ImageNet if you can.")
