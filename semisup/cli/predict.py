"""`semisup predict`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.evaluation.folders.sources import Sources
    from semisup.evaluation.predict import Labelled


@click.command(
    short_help="Label images with the network of a RUN.",
    epilog="""\b
Examples:
  semisup predict quickstart photo.jpg --to predictions --overlay
  semisup predict runs/quickstart/0123456789-s0 photos/ --to predictions --soft
  semisup predict quickstart photos/ --to refined --crf --overwrite
  semisup predict quickstart clip.mp4 --to clip --overlay
  semisup predict quickstart photos/ --to predictions --coco
  semisup predict runs/my_segnet/0123456789-s0 photos/ --to doubts --samples 20
  semisup predict scenes/decouplednet_5 photo.jpg --to why --explain
  semisup predict voc_small/decouplednet_10 photos/ --to cats --classes cat,dog
  semisup predict voc/supervised_fcn8s_at_once --submission test --to submission
""",
)
@click.argument("run")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("predictions"),
    show_default=True,
    help="Folder to write to.",
)
@click.option("--overlay", is_flag=True, help="Write the classes over the picture too.")
@click.option("--overwrite", is_flag=True, help="Replace predictions that are there already.")
@click.option("--soft", is_flag=True, help="Write the probabilities too (.npz, float16 KHW).")
@click.option(
    "--samples",
    type=int,
    metavar="N",
    help="Average N passes with dropout and write how uncertain each pixel is, as --set "
    "eval.samples=N.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Write what each identified class comes from too (decouplednet, cam).",
)
@click.option(
    "--coco",
    is_flag=True,
    help="Write all label maps as masks of MS COCO too (predictions_coco.json).",
)
@click.option(
    "--classes",
    metavar="NAME,...",
    help="Segment just these classes, whatever is identified (decouplednet, cam).",
)
@click.option(
    "--submission",
    metavar="SUBSET",
    help="Predict a subset of VOC, Cityscapes or ADE20K in the layout of its server, instead of "
    "IMAGES.",
)
@click.option(
    "--competition",
    type=click.Choice(["comp5", "comp6"]),
    default="comp6",
    show_default=True,
    help="Of a --submission to VOC: trained on VOC alone (comp5), or on other data too (comp6).",
)
@options.step_of_run
@options.seed_of_run
@options.crf
@options.protocol_changes
@options.device
@options.out
@options.data_root_of_run
@options.plugins
@options.as_json
def predict(
    run: str,
    images: tuple[Path, ...],
    to: Path,
    overlay: bool,
    overwrite: bool,
    soft: bool,
    samples: int | None,
    explain: bool,
    coco: bool,
    classes: str | None,
    submission: str | None,
    competition: str,
    step: int | None,
    seed: int | None,
    crf: bool,
    changes: tuple[str, ...],
    device: str,
    out: Path,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Label IMAGES (files or folders) with the network of a finished RUN.

    Writes a palette PNG for each image: pixel value = class id. Folders are searched with their
    sub-folders, which are kept below --to. Photographs are turned as a viewer shows them. Of a
    video (extra video) each frame is an image, as NAME/frame_000000.png. An image that says where
    it lies on the ground (GeoTIFF) has NAME_labels.tif too. RUN is
    the folder of a run, or a recipe's name: its most recently finished run (--seed picks another).
    Only [eval] can be changed.
    """
    if bool(images) == (submission is not None):
        raise click.UsageError("give either IMAGES or --submission SUBSET")
    of_images = {"overlay": overlay, "soft": soft, "explain": explain, "coco": coco}
    of_images["overwrite"] = overwrite
    for option in [name for name, given in of_images.items() if given and submission is not None]:
        raise click.UsageError(f"--{option} is for IMAGES, and not for --submission")
    from semisup.evaluation.class_by_class import check_by_class
    from semisup.evaluation.folders.prediction_folder import UNCERTAINTY_NAMES, PredictionFolder
    from semisup.evaluation.folders.sources import find_images
    from semisup.evaluation.predict import predict_files
    from semisup.evaluation.submission import write_submission
    from semisup.runs.reopen import open_run
    from semisup.system.device import resolve_device
    from semisup.system.torch_errors import translated_errors

    where = resolve_device(device)
    folder = options.find_run(run, out, seed, marker=options.marker_of(step))
    options.warn_of_changed_plugins(folder)
    opened = open_run(
        folder,
        where,
        options.with_samples(options.with_crf(changes, crf), samples),
        paths=options.paths_of_run(data_root),
        step=step,
    )
    if classes is not None:
        opened = opened.forcing([name.strip() for name in classes.split(",")])
    inference = opened.inference()
    if submission is not None:
        with translated_errors():
            data = opened.submission_set(submission)
            written = write_submission(inference, data, to, competition)
        line = json.dumps({"submission": str(written)}) if as_json else f"Submission: {written}"
        click.echo(line)
        return
    if explain:
        check_by_class(opened.network, "--explain")
    endings = ["_overlay"] * overlay + ["_explain"] * explain
    endings += UNCERTAINTY_NAMES * bool(opened.recipe.eval.samples)
    found = find_images(images, endings=endings, to=to)
    target = PredictionFolder(
        to, opened.identity(), found.names, videos=found.videos, overwrite=overwrite
    )
    done = predict_files(
        inference,
        found.images,
        target,
        opened.classes,
        opened.palette,
        with_overlay=overlay,
        soft=soft,
        explain=explain,
        coco=coco,
        apply_exif=opened.applies_exif,
    )
    done = replace(done, bad=(*done.bad, *found.unreadable))
    if as_json:
        _print_json(done, found, to)
    else:
        _print_done(done, found, to)
    done.check()


def _print_json(done: Labelled, found: Sources, to: Path) -> None:
    """Counts, and what could not be labelled."""
    content = {
        "to": str(to),
        "images": len(found.images),
        "written": done.written,
        "kept": done.kept,
        "tiled": done.tiled,
        "bad": list(done.bad),
    }
    click.echo(json.dumps(content, indent=1))


def _print_done(done: Labelled, found: Sources, to: Path) -> None:
    """Say what was labelled and what was not."""
    from semisup.evaluation.tiles import SIDE

    kept = f", {done.kept} {'was' if done.kept == 1 else 'were'} there already" * bool(done.kept)
    click.echo(f"{_count(done.written, 'label map')} in {to}{kept}.")
    if done.tiled:
        images = _count(done.tiled, "large image")
        click.echo(f"{images} labelled in tiles of at most {SIDE} x {SIDE}.")
    if found.left_out or found.folders:
        click.echo(f"{found.describe_left_out()}.")
    for line in done.bad if len(done.bad) > 1 else ():
        click.echo(f"bad: {line}", err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
