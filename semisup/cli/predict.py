"""`semisup predict`."""

from __future__ import annotations

from pathlib import Path

import click

from semisup.cli import options


@click.command(
    short_help="Label images with the network of a RUN.",
    epilog="""\b
Examples:
  semisup predict quickstart photo.jpg --to predictions --overlay
  semisup predict runs/quickstart/0123456789-s0 photos/ --to predictions --soft
  semisup predict quickstart photos/ --to refined --crf
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
@click.option("--soft", is_flag=True, help="Write the probabilities too (.npz, float16 KHW).")
@click.option(
    "--explain",
    is_flag=True,
    help="Write what each identified class comes from too (decouplednet).",
)
@click.option(
    "--classes",
    metavar="NAME,...",
    help="Segment just these classes, whatever is identified (decouplednet).",
)
@click.option(
    "--submission",
    metavar="SUBSET",
    help="Predict a subset of VOC in the layout of its server, instead of IMAGES.",
)
@click.option(
    "--competition",
    type=click.Choice(["comp5", "comp6"]),
    default="comp6",
    show_default=True,
    help="Of a --submission: trained on VOC alone (comp5), or on other data too (comp6).",
)
@options.step_of_run
@options.seed_of_run
@options.crf
@options.protocol_changes
@options.device
@options.out
@options.data_root_of_run
@options.plugins
def predict(
    run: str,
    images: tuple[Path, ...],
    to: Path,
    overlay: bool,
    soft: bool,
    explain: bool,
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
) -> None:
    """Label IMAGES (files or folders) with the network of a finished RUN.

    Writes a palette PNG for each image: pixel value = class id. RUN is the folder of a run, or a
    recipe's name: its most recently finished run (--seed picks another). Only [eval] can be
    changed.
    """
    if bool(images) == (submission is not None):
        raise click.UsageError("give either IMAGES or --submission SUBSET")
    from semisup.evaluation.class_by_class import check_by_class
    from semisup.evaluation.predict import (
        claim_folder,
        find_images,
        make_folder,
        predict_files,
        write_submission,
    )
    from semisup.runs.reopen import open_run
    from semisup.system.device import resolve_device
    from semisup.system.torch_errors import translated_errors

    where = resolve_device(device)
    folder = options.find_run(run, out, seed, marker=options.marker_of(step))
    options.warn_of_changed_plugins(folder)
    opened = open_run(
        folder,
        where,
        options.with_crf(changes, crf),
        paths=options.paths_of_run(data_root),
        step=step,
    )
    if classes is not None:
        opened = opened.forcing([name.strip() for name in classes.split(",")])
    make_folder(to)
    inference = opened.inference()
    if submission is not None:
        with translated_errors():
            data = opened.submission_set(submission)
            written = write_submission(inference, data, to, competition)
        click.echo(f"Submission: {written}")
        return
    if explain:
        check_by_class(opened.network, "--explain")
    paths = find_images(images, endings=["_overlay"] * overlay + ["_explain"] * explain)
    claim_folder(to, opened.identity(), [path.stem for path in paths])
    with translated_errors():
        count = predict_files(
            inference,
            paths,
            to,
            opened.classes,
            opened.palette,
            with_overlay=overlay,
            soft=soft,
            explain=explain,
        )
    skipped = f", {len(paths) - count} were there already" if count < len(paths) else ""
    click.echo(f"{count} label maps in {to}{skipped}.")
