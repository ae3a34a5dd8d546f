"""Run folders that hold files of another run, and what is asked of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from cases import read, refused
from cases_runs import checkpoint, edit_result, evaluate, goes_on, own_run
from click.testing import Result
from places import Call, Place, run_command


def other_run(place: Place, *changes: str, out: str = "others") -> Path:
    """A finished run of another recipe, or of the same on other data, in another folder."""
    done = run_command([*place.train(*changes)[:-1], place.root / out])
    assert done.exit_code == 0, done.output
    (run,) = (place.root / out / "tiny").iterdir()
    return run


def on_other_data(place: Place) -> Path:
    """A finished run of the very recipe on masks that are the other way round."""
    place.map_masks(lambda labels: 1 - labels)
    run = other_run(place)
    place.map_masks(lambda labels: 1 - labels)
    return run


def copied(source: Path, target: Path, *names: str) -> Path:
    """Put files of one run in the place of those of another."""
    for name in names:
        shutil.copy(source / name, target / name)
    return target


@refused(
    "predictor of a run of another learning rate",
    "predictor.safetensors: is not the predictor that result.json has the scores of",
    "Put its own back",
)
def predictor_of_another_recipe(place: Place) -> list[object]:
    other = other_run(place, "optim.segmenter.lr=0.1")
    return evaluate(place, copied(other, place.finished_run(), "predictor.safetensors"))


@refused(
    "predictor of a run of the same recipe on other data, to predict with",
    "is not the predictor that result.json has the scores of",
)
def predictor_of_other_data(place: Place) -> list[object]:
    copied(on_other_data(place), place.finished_run(), "predictor.safetensors")
    return place.predict(place.image())


@refused(
    "result.json of another run, met by run",
    "result.json: is of the run tiny/",
    "and lies in the folder of tiny/",
)
def result_of_another_run(place: Place) -> list[object]:
    other = other_run(place, "optim.segmenter.lr=0.1")
    copied(other, place.finished_run(), "result.json", "predictor.safetensors")
    return place.train()


@refused("run folder renamed to another seed", "-s0, and lies in the folder of tiny/", "-s6")
def renamed_to_another_seed(place: Place) -> list[object]:
    run = place.finished_run()
    run.rename(run.with_name(run.name.replace("-s0", "-s6")))
    return [*place.train(), "--seed", "6"]


@refused("run.json of another run, while a run is stopped", "run.json: is of the run", "delete it")
def record_of_another_run(place: Place) -> list[object]:
    other = other_run(place, "optim.segmenter.lr=0.1")
    copied(other, place.stopped_run(), "run.json")
    return place.train()


@refused("kept step of another recipe", "step-00000001.pt: is of another recipe", "--step")
def step_of_another_recipe(place: Place) -> list[object]:
    other = other_run(place, "optim.segmenter.lr=0.1")
    run = copied(other, place.finished_run(), "checkpoints/step-00000001.pt")
    return [*evaluate(place, run), "--step", "1"]


@refused("kept step under the name of another", "step-00000007.pt: is of another step")
def step_of_another_step(place: Place) -> list[object]:
    run = place.finished_run()
    shutil.copy(checkpoint(run, 2), checkpoint(run, 7))
    return [*evaluate(place, run), "--step", "7"]


@refused(
    "kept step of the same recipe on other data, to predict with",
    "step-00000001.pt: is of another seed or data",
)
def step_of_other_data(place: Place) -> list[object]:
    copied(on_other_data(place), place.finished_run(), "checkpoints/step-00000001.pt")
    return [*place.predict(place.image()), "--step", "1"]


@refused(
    "checkpoints of another seed, while a run is stopped",
    "holds checkpoints of another run of this recipe, by another seed or on other data",
)
def checkpoints_of_another_seed(place: Place) -> list[object]:
    other = other_run(place, "train.seed=4")
    copied(
        other,
        place.stopped_run(),
        "checkpoints/step-00000001.pt",
        "checkpoints/step-00000002.pt",
    )
    return place.train()


@refused(
    "run.json deleted and masks mended, while a run is stopped",
    "holds checkpoints of another run of this recipe",
    "Delete them",
)
def record_deleted_and_masks_mended(place: Place) -> list[object]:
    (place.stopped_run() / "run.json").unlink()
    place.map_masks(lambda labels: 1 - labels, "t*.png")
    return place.train()


@refused("result.json with a colour of no byte", "is no result file of semisup", "run again")
def colours_out_of_range(place: Place) -> list[object]:
    return edit_result(place, palette=[[-1, 0, 0], [300, 0, 0]])


@refused("result.json with a colour for one of two classes", "is no result file of semisup")
def one_colour(place: Place) -> list[object]:
    return edit_result(place, palette=[[1, 2, 3]])


@refused(
    "files.json of a finished run deleted, and a reported mask mended",
    "have changed since it was begun: files of val have changed",
)
def files_deleted_and_masks_mended(place: Place) -> list[object]:
    (own_run(place) / "files.json").unlink()
    place.map_masks(lambda labels: 1 - labels, "v0.png")
    return place.train()


@read("files.json of another run", "a note: the training masks are not compared")
def files_of_another_run(place: Place) -> Call:
    copied(on_other_data(place), place.finished_run(), "files.json")

    def then(result: Result) -> None:
        assert "files.json: is gone or of another run: the training masks are" in result.stderr

    return Call(place.train(), then)


@read("folder of data.masks gone after a run has finished", "its result, and a note")
def masks_gone(place: Place) -> Call:
    folder = shutil.copytree(place.data / "masks", place.root / "pseudo")
    command = place.train(f"data.masks=folder:{folder}")
    assert run_command(command).exit_code == 0
    shutil.rmtree(folder)

    def then(result: Result) -> None:
        assert "data.masks is not compared with what the run was begun with: " in result.stderr
        assert "mIoU" in result.stdout

    return Call(command, then)


@read("split list of a stopped run changed", "another run, which it says and why")
def split_list_changed(place: Place) -> Call:
    listed = place.write("split.txt", "t0\nt1\n")
    command = place.train(f"data.split=file:{listed}")
    assert run_command(command).exit_code == 0
    listed.write_text("t0\nt2\n")

    def then(result: Result) -> None:
        assert "by another content of data.split; this is another run" in result.stderr

    return Call(command, then)


@refused("evaluate with other held-out images", "eval.hold_out=1: a run chose its predictor by")
def evaluate_with_hold_out(place: Place) -> list[object]:
    return [*evaluate(place, place.finished_run()), "--set", "eval.hold_out=1"]


@read("evaluate on two sets of equal masks and sizes of images", "a result of each")
def evaluate_equal_sizes(place: Place) -> Call:
    run, other = place.finished_run(), place.root / "other"
    for path in (place.data / "images").iterdir():
        picture = place.open(path)
        path.unlink()
        picture.save(path.with_suffix(".bmp"))
    shutil.copytree(place.data, other)
    for path in (other / "images").iterdir():
        place.open(path).rotate(180).save(path)
    assert run_command(evaluate(place, run)).exit_code == 0

    def then(_: Result) -> None:
        results = [json.loads(path.read_text()) for path in run.glob("result-val-*.json")]
        roots = {result["data"]["reported"]["root"] for result in results}
        assert roots == {str(place.data.resolve()), str(other.resolve())}

    return Call(["evaluate", run, "--data-root", other], then)


@refused("weights of whole numbers", "holds values of the type int32", "give weights of float32")
def weights_of_integers(place: Place) -> list[object]:
    state = torch.load(checkpoint(place.finished.run, 2), weights_only=True)["predictor"]
    torch.save({key: tensor.int() for key, tensor in state.items()}, place.root / "whole.pth")
    return place.train(extra=["--weights", place.root / "whole.pth"])


@refused("weights that no float32 holds", "holds values that are not finite", "get the file again")
def weights_too_large(place: Place) -> list[object]:
    state = torch.load(checkpoint(place.finished.run, 2), weights_only=True)["predictor"]
    large = {key: tensor.double() * 1e300 for key, tensor in state.items()}
    torch.save(large, place.root / "large.pth")
    return place.train(extra=["--weights", place.root / "large.pth"])


@read("a list that a recipe names changed while the run trains", "the digest that it began with")
def list_changed_while_training(place: Place) -> Call:
    from semisup.training import loop

    listed = place.write("split.txt", "t0\nt1\n")
    step = loop._step

    def change(*arguments: object) -> object:
        listed.write_text("t2\nt3\n")
        return step(*arguments)  # type: ignore[arg-type]

    place.patch.setattr(loop, "_step", change)

    def then(_: Result) -> None:
        (run,) = (place.runs / "tiny").iterdir()
        assert run.name.startswith(json.loads((run / "result.json").read_text())["recipe_hash"])

    return Call(place.train(f"data.split=file:{listed}"), then)


def second_stage(place: Place) -> list[object]:
    """`run` of a recipe that starts from the finished run."""
    tables = place.recipe.read_text()
    second = place.write("second.toml", f'[init]\nfrom = "tiny.toml"\n{tables}')
    return ["run", second, *place.where()]


@refused(
    "first stage with the predictor of another run",
    "predictor.safetensors: is not the predictor that result.json has the scores of",
)
def first_stage_of_another_run(place: Place) -> list[object]:
    copied(on_other_data(place), place.finished_run(), "predictor.safetensors")
    return second_stage(place)


@refused(
    "data of a first stage mended after it has finished",
    "2 of the 6 files of train have changed",
    "masks/t1.png",
)
def first_stage_on_other_masks(place: Place) -> list[object]:
    place.finished_run()
    place.map_masks(lambda labels: 1 - labels, "t*.png")
    return second_stage(place)


@refused("first stage that starts from itself", "init.from goes round in a circle", "first stage")
def first_stage_of_itself(place: Place) -> list[object]:
    second = place.write("round.toml", f'[init]\nfrom = "round.toml"\n{place.recipe.read_text()}')
    return ["run", second, *place.where()]


@refused("result.json whose mIoU is NaN", "result.json: cannot be read", "Delete it and run again")
def a_score_that_is_no_number(place: Place) -> list[object]:
    path = place.finished_run() / "result.json"
    content = json.loads(path.read_text())
    content["scores"]["selected"]["miou"] = float("nan")
    path.write_text(json.dumps(content))
    return evaluate(place, path.parent)


@read("train.txt put into another order while a run is stopped", "goes on: the same bits")
def train_list_in_another_order(place: Place) -> Call:
    checkpoint(place.stopped_run(), 2).unlink()
    (place.data / "train.txt").write_text("t3\nt1\nt0\nt2\n")
    return goes_on(place)


@read("mask of an unlabelled image changed after a run has finished", "its result")
def unlabelled_mask_changed(place: Place) -> Call:
    run = own_run(place)
    lines = [line.split() for line in (run / "split.txt").read_text().splitlines()]
    (name, *_) = [words[0] for words in lines if words[-1] == "none"]
    place.map_masks(lambda labels: 1 - labels, f"{name}.png")

    def then(result: Result) -> None:
        assert "This run was finished before" in result.stdout

    return Call(place.train(), then)


@refused("endings of images renamed after a run has finished", "'images/v0.PNG'", "Put them back")
def image_renamed(place: Place) -> list[object]:
    own_run(place)
    place.image("v0").rename(place.image("v0").with_suffix(".PNG"))
    return place.train()


@read("data behind a link that leads elsewhere, with equal files", "the finished run answers")
def link_that_leads_elsewhere(place: Place) -> Call:
    for name in ("one", "two"):
        shutil.copytree(place.data, place.root / name)
    shutil.rmtree(place.data)
    place.data.symlink_to(place.root / "one")
    own_run(place)
    place.data.unlink()
    place.data.symlink_to(place.root / "two")

    def then(result: Result) -> None:
        assert "This run was finished before" in result.stdout

    return Call(place.train(), then)
