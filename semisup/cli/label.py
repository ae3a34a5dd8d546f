"""`semisup label`."""

from __future__ import annotations

import json
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.runs.label import LabelledImages
    from semisup.runs.reopen import OpenRun


@click.command(
    short_help="Write pseudo-masks of the images without one.",
    epilog="""\b
Examples:
  semisup label scenes/supervised_unet_1-8 --out pseudo
  semisup label runs/my_recipe/0123456789-s0 --out pseudo --threshold 0.8
  semisup label scenes/decouplednet_5 --out pseudo --crf
  semisup label scenes/supervised_unet_1-8 --out pseudo --tags file:tags.txt
  semisup label scenes/supervised_unet_1-8 --out more --subset trainval --only ids.txt
\b
A recipe trains on them with data.masks or data.weak_masks = "folder:pseudo".
""",
)
@click.argument("run")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write; new, or of the same pseudo-masks.",
)
@click.option(
    "--threshold",
    type=float,
    default=0.9,
    show_default=True,
    help="Smallest probability of a class that is taught; below it a pixel is void.",
)
@click.option(
    "--subset", default="", help="Of the run's data set. Default: what the run was trained on."
)
@click.option(
    "--only",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A list of the ids to label. Default: all images that the run had no mask of.",
)
@click.option(
    "--tags",
    default="",
    metavar="SPEC",
    help="Classes known to be in each image, 'xml' or 'file:PATH'. Default: data.tags of the run.",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of the runs.",
)
@click.option("--count", type=click.IntRange(min=0), default=8, help="Images on the sheet.")
@options.step_of_run
@options.seed_of_run
@options.crf
@options.protocol_changes
@options.device
@options.data_root_of_run
@options.plugins
@options.as_json
def label(
    run: str,
    out: Path,
    threshold: float,
    subset: str,
    only: Path | None,
    tags: str,
    runs: Path,
    count: int,
    step: int | None,
    seed: int | None,
    crf: bool,
    changes: tuple[str, ...],
    device: str,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Write pseudo-masks of the images that a finished RUN had no mask of.

    OUT gets a mask for each image, void where no class is probable enough, the probability of its
    classes as an 8-bit picture in OUT/confidence, and a sheet to look at. Tags that are known
    exclude all other classes. No mask of these images is opened. A run that was trained on
    pseudo-masks labels the same images again. RUN is the folder of a run, or a
    recipe's name: its most recently finished run (--seed picks another). The same command again
    goes on where it was stopped.
    """
    from semisup.runs.label import label_run
    from semisup.runs.reopen import open_run
    from semisup.runs.sheets import draw_pseudo_mask_sheet
    from semisup.system.device import resolve_device

    where = resolve_device(device)
    folder = options.find_run(run, runs, seed, marker=options.marker_of(step))
    options.warn_of_changed_plugins(folder)
    opened = open_run(
        folder,
        where,
        options.with_crf(changes, crf),
        paths=options.paths_of_run(data_root),
        step=step,
    )
    out = out.resolve()
    done = label_run(opened, out, threshold=threshold, subset=subset, listed=only, tags=tags)
    sheet = out.with_name(f"{out.name}.sheet.png")
    if count:
        draw_pseudo_mask_sheet(sheet, done.data, out, done.ids, count)
    if as_json:
        found = {"out": str(out), "kept": done.made.kept, **done.made.content()}
        click.echo(json.dumps(found, indent=1))
        return
    _print(done, out, threshold)
    if count:
        click.echo(f"Pictures: {sheet}")
    _print_next(opened, done, out)


def _print(done: LabelledImages, out: Path, threshold: float) -> None:
    made = done.made
    click.echo(f"images {made.images}" + f", {made.kept} there already" * bool(made.kept))
    click.echo(f"labelled pixels {made.share:.1%} (probability {threshold:g} and more)")
    found = {name: share for name, share in made.shares.items() if share}
    width = max(map(len, found), default=0)
    for name, share in found.items():
        click.echo(f"  {name:{width}} {share:7.3%}")
    missing = [name for name in made.shares if name not in found]
    if missing:
        listed = f"no pixel of {', '.join(missing)}"
        click.echo(textwrap.fill(listed, 78, initial_indent="  ", subsequent_indent="    "))
    if made.empty:
        click.echo(f"images without any label {made.empty}")
    click.echo(f"written to {out}")


def _print_next(opened: OpenRun, done: LabelledImages, out: Path) -> None:
    """Commands that train on the pseudo-masks, on standard error."""
    folder = shlex.quote(f"folder:{out}")
    is_plain = opened.recipe.method.name == "supervised"
    base = shlex.quote(str(opened.folder / "recipe.toml")) if is_plain else "SUPERVISED_RECIPE"
    click.echo("What next:", err=True)
    if done.split and opened.experiment.labels.split.labelled:
        learns = "--set method.name=partial_cross_entropy --set data.weak_masks="
        click.echo(f"  semisup run {base} {learns}{folder}", err=True)
    # Of pseudo-masks none may be held out: they would choose the checkpoint as if they were true.
    held = " --set eval.hold_out=0" if is_plain and opened.recipe.eval.hold_out else ""
    learns = f"--set data.split=masked --set data.masks={folder}{held}"
    click.echo(f"  semisup run {base} {learns}", err=True)
