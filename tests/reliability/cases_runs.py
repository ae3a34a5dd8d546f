"""Run folders and checkpoints that something happened to."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import read, refused
from cases_weights import Payload, not_run
from click.testing import Result
from PIL import Image
from places import Call, Place, cut, run_command
from safetensors.torch import save_file

from semisup.training.checkpoint import save_state


def checkpoint(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step-{step:08d}.pt"


def evaluate(place: Place, run: Path) -> list[object]:
    return ["evaluate", run, *place.where()]


def edit_result(place: Place, **changes: Any) -> list[object]:
    """`evaluate` of a finished run in whose result some keys are others."""
    path = place.finished_run() / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return evaluate(place, path.parent)


def goes_on(place: Place) -> Call:
    """`run`, and that it ended as the finished run did, to the same bits."""

    def then(_: Result) -> None:
        (run,) = (place.runs / "tiny").iterdir()
        for name in ("predictor.safetensors", "scalars.jsonl"):
            assert (run / name).read_bytes() == (place.finished.run / name).read_bytes(), name

    return Call(place.train(), then)


@refused("run that is not there", "no finished run 'tiny' in", "set --out")
def no_run(place: Place) -> list[object]:
    return ["evaluate", "tiny", *place.where()]


@refused("folder that is no run", "data: is no run of semisup", "semisup run RECIPE")
def folder_is_no_run(place: Place) -> list[object]:
    return evaluate(place, place.data)


@refused("run that is not finished", "is not finished", "let it end")
def not_finished(place: Place) -> list[object]:
    return evaluate(place, place.stopped_run())


@refused("run that another process works on", "process 4711 is working on this run", "another")
def in_use(place: Place) -> Call:
    lock = (place.stopped_run() / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write("4711")
    lock.flush()
    return Call(place.train(), lambda _: lock.close())


@refused("run name of 300 letters", "no finished run 'aaa", "set --out")
def long_run_name(place: Place) -> list[object]:
    return ["evaluate", "a" * 300, *place.where()]


@refused("seed that no run had", "--seed 7: recipe 'tiny' has finished runs of seeds 0 only")
def no_run_of_the_seed(place: Place) -> list[object]:
    place.finished_run()
    return ["evaluate", "tiny", "--seed", "7", *place.where()]


@refused("change of a finished run", "--set model.width=4: a finished run", "only eval.*")
def change_of_a_finished_run(place: Place) -> list[object]:
    return [*evaluate(place, place.finished_run()), "--set", "model.width=4"]


@refused("result.json cut short", "result.json: cannot be read", "Delete it and run again")
def truncated_result(place: Place) -> list[object]:
    return evaluate(place, cut(place.finished_run() / "result.json").parent)


@refused("result.json cut short, met by run", "result.json: cannot be read", "Delete it")
def truncated_result_met_by_run(place: Place) -> list[object]:
    cut(place.finished_run() / "result.json")
    return place.train()


@refused("result.json of another program", "result.json: is no result file of semisup", "Delete")
def foreign_result(place: Place) -> list[object]:
    (place.finished_run() / "result.json").write_text("[1, 2]")
    return evaluate(place, place.finished_run())


@refused("result.json with an empty protocol", "result.json: is no result file", "Delete it")
def result_without_a_protocol(place: Place) -> list[object]:
    return edit_result(place, protocol={})


@refused("result.json with a number for its scores", "result.json: is no result file", "Delete")
def result_with_a_number(place: Place) -> list[object]:
    edit_result(place, scores=3)
    return place.train()


@refused("result.json nested 100,000 times", "result.json: cannot be read", "Delete it")
def nested_result(place: Place) -> list[object]:
    (place.finished_run() / "result.json").write_text("[" * 100_000)
    return evaluate(place, place.finished_run())


@refused("recipe.toml of a run spoiled", "recipe.toml: is not valid TOML")
def spoiled_recipe_of_a_run(place: Place) -> list[object]:
    (place.finished_run() / "recipe.toml").write_text("[data\n")
    return evaluate(place, place.finished_run())


@refused("recipe.toml of a run gone", "recipe.toml: there is no such file", "Check the path")
def recipe_of_a_run_gone(place: Place) -> list[object]:
    (place.finished_run() / "recipe.toml").unlink()
    return evaluate(place, place.finished_run())


@refused("predictor cut short", "predictor.safetensors: does not fit 'unet'", "run again")
def truncated_predictor(place: Place) -> list[object]:
    return evaluate(place, cut(place.finished_run() / "predictor.safetensors").parent)


@refused("predictor gone", "predictor.safetensors: does not fit 'unet'", "run again")
def no_predictor(place: Place) -> list[object]:
    (place.finished_run() / "predictor.safetensors").unlink()
    return evaluate(place, place.finished_run())


@refused("predictor of another network", "predictor.safetensors: does not fit 'unet'", "run again")
def foreign_predictor(place: Place) -> list[object]:
    run = place.finished_run()
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, run / "predictor.safetensors")
    return evaluate(place, run)


@read("newest checkpoint cut short", "the one before is taken: the same bits in the end")
def newest_checkpoint_damaged(place: Place) -> Call:
    cut(checkpoint(place.stopped_run(), 2))
    return goes_on(place)


@read("newest checkpoint with a flipped bit", "the one before is taken: the same bits")
def newest_checkpoint_flipped(place: Place) -> Call:
    path = checkpoint(place.stopped_run(), 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    return goes_on(place)


@read("newest checkpoint that runs a command", "nothing of it is run; the one before is taken")
def newest_checkpoint_malicious(place: Place) -> Call:
    path = checkpoint(place.stopped_run(), 2)
    torch.save({"format": 1, "step": 2, "method": Payload(place.root / "trace")}, path)
    call = goes_on(place)

    def then(result: Result) -> None:
        call.then(result)
        assert not (place.root / "trace").exists()

    return Call(call.arguments, then)


@refused("all checkpoints cut short", "step-00000002.pt: is damaged", "Delete")
def all_checkpoints_damaged(place: Place) -> list[object]:
    for step in (1, 2):
        cut(checkpoint(place.stopped_run(), step))
    return place.train()


@refused("only checkpoint runs a command", "step-00000002.pt: holds more than", "was executed")
def malicious_checkpoint(place: Place) -> Call:
    run = place.stopped_run()
    checkpoint(run, 1).unlink()
    torch.save(Payload(place.root / "trace"), checkpoint(run, 2))
    return not_run(place, place.train())


@refused("checkpoint of another program", "was not written by this version of semisup", "Delete")
def foreign_checkpoint(place: Place) -> list[object]:
    run = place.stopped_run()
    for step in (1, 2):
        torch.save({"epoch": step, "state_dict": {"a": torch.zeros(3)}}, checkpoint(run, step))
    return place.train()


@refused("checkpoint without its parts", "holds checkpoints of another recipe", "Delete them")
def checkpoint_without_parts(place: Place) -> list[object]:
    run = place.stopped_run()
    checkpoint(run, 1).unlink()
    save_state(checkpoint(run, 2), {"step": 2})
    return place.train()


@refused("checkpoint of another recipe", "holds checkpoints of another recipe", "another --out")
def checkpoint_of_another_recipe(place: Place) -> list[object]:
    run = place.stopped_run()
    state = torch.load(checkpoint(run, 2), weights_only=True) | {"recipe": "0123456789"}
    torch.save(state, checkpoint(run, 2))
    return place.train()


@refused("checkpoint of another network", "of another version of the networks", "delete the run")
def checkpoint_of_another_network(place: Place) -> list[object]:
    run = place.stopped_run()
    state = torch.load(checkpoint(run, 2), weights_only=True)
    state["method"] = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    torch.save(state, checkpoint(run, 2))
    return place.train()


@refused(
    "scalars.jsonl of another program", "scalars.jsonl: holds a line that is no record", "Delete"
)
def spoiled_scalars(place: Place) -> list[object]:
    (place.stopped_run() / "scalars.jsonl").write_text("step,loss\n1,0.5\n")
    return place.train()


@read("scalars.jsonl cut short", "taken back to the checkpoint: the same bits in the end")
def truncated_scalars(place: Place) -> Call:
    run = place.stopped_run()
    checkpoint(run, 2).unlink()
    cut(run / "scalars.jsonl", 0.9)
    return goes_on(place)


@refused("run.json cut short", "run.json: cannot be read", "Delete it")
def spoiled_facts(place: Place) -> list[object]:
    cut(place.stopped_run() / "run.json")
    return place.train()


@refused("file where the folder of checkpoints should be", "cannot be made", "another --out")
def file_as_folder(place: Place) -> list[object]:
    run = place.stopped_run()
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("")
    return place.train()


@read("what a killed process left half written", "removed, and the run goes on: the same bits")
def torn_files(place: Place) -> Call:
    run = place.stopped_run()
    torn = run / "checkpoints" / ".step-00000003.pt.99.tmp"
    torn.write_bytes(b"PK half")
    call = goes_on(place)

    def then(result: Result) -> None:
        call.then(result)
        assert not torn.exists()

    return Call(call.arguments, then)


# Other data than the run's own


def other_classes(place: Place, *names: str) -> None:
    (place.data / "classes.txt").write_text("".join(f"{name}\n" for name in names))


@refused(
    "finished run met with the data of other classes",
    "was begun with the data in",
    "its classes were ground, sky, now they are road, car",
    "choose another --out",
)
def finished_run_with_other_classes(place: Place) -> list[object]:
    place.finished_run()
    other_classes(place, "road", "car")
    return place.train()


@refused(
    "classes.txt put into another order while a run is stopped",
    "its classes were ground, sky, now they are sky, ground",
    "Give the --data-root of its own",
)
def stopped_run_with_swapped_classes(place: Place) -> list[object]:
    place.stopped_run()
    other_classes(place, "sky", "ground")
    return place.train()


@refused(
    "line dropped from train.txt while a run is stopped",
    "train had 4 images",
    "now it has 3 images",
    "'images/t0.png'",
)
def stopped_run_with_another_list(place: Place) -> list[object]:
    place.stopped_run()
    (place.data / "train.txt").write_text("t1\nt2\nt3\n")
    return place.train()


@refused(
    "masks mended after a run has finished",
    "2 of the 4 files of val have changed",
    "'masks/v0.png'",
    "choose another --out",
)
def finished_run_with_mended_masks(place: Place) -> list[object]:
    place.finished_run()
    for name in ("v0", "v1"):
        place.mask(name).write_bytes(place.mask("t0").read_bytes())
    return place.train()


@read("data of a finished run gone", "its result, and that the data are not there")
def data_of_a_finished_run_gone(place: Place) -> Call:
    place.finished_run()
    shutil.rmtree(place.data)

    def then(result: Result) -> None:
        assert "the data are not there any more" in result.stderr
        assert "mIoU" in result.stdout

    return Call(place.train(), then)


@read("data moved while a run is stopped", "goes on: the same bits")
def moved_data(place: Place) -> Call:
    place.stopped_run()
    return goes_on(place)


@refused(
    "evaluate on a set of other classes",
    "cannot be scored on folder val in",
    "its classes are road, car, those of the run are ground, sky",
)
def evaluate_other_classes(place: Place) -> list[object]:
    run = place.finished_run()
    other_classes(place, "road", "car")
    return evaluate(place, run)


@refused(
    "evaluate where one class has another name",
    "its classes are ground, water, those of the run are ground, sky",
)
def evaluate_one_other_class(place: Place) -> list[object]:
    run = place.finished_run()
    other_classes(place, "ground", "water")
    return evaluate(place, run)


@refused("evaluate on a kind of data set that is none", "no data set is called 'vok'", "'voc'")
def evaluate_an_unknown_kind(place: Place) -> list[object]:
    return [*evaluate(place, place.finished_run()), "--data", "vok"]


@refused("evaluate with another split", "--set data.split=all: a finished run", "only eval.*")
def evaluate_another_split(place: Place) -> list[object]:
    return [*evaluate(place, place.finished_run()), "--set", "data.split=all"]


@read("evaluate on a set whose classes stand in another order", "scored by name, which it says")
def evaluate_swapped_classes(place: Place) -> Call:
    run = place.finished_run()
    other_classes(place, "sky", "ground")
    for path in (place.data / "masks").iterdir():
        Image.fromarray(1 - np.array(Image.open(path))).save(path)

    def then(result: Result) -> None:
        assert "classes matched by name (there: sky, ground)" in result.stderr
        (path,) = run.glob("result-val-*.json")
        scored, own = (json.loads(file.read_text()) for file in (path, run / "result.json"))
        assert scored["confusion"] == own["confusion"]
        assert scored["data"]["reported"]["root"] == str(place.data.resolve())

    return Call(evaluate(place, run), then)


@refused(
    "evaluate without a data root, where the data of the run are gone",
    "the data folder is not there: no images and masks and classes.txt in ",
    "/data; set the data root",
)
def evaluate_without_data(place: Place) -> list[object]:
    run = own_run(place)
    place.data.rename(place.root / "elsewhere")
    return ["evaluate", run]


@read("evaluate without a data root", "the data where they lay when the run was made")
def evaluate_remembers(place: Place) -> Call:
    run = place.finished_run()

    def then(result: Result) -> None:
        (path,) = run.glob("result-val-*.json")
        scored, own = (json.loads(file.read_text()) for file in (path, run / "result.json"))
        assert scored["scores"]["selected"] == own["scores"]["selected"]
        assert "Pictures:" not in result.stdout

    shutil.rmtree(place.data)
    return Call(["evaluate", run], then)


@refused("step that is not kept", "has no checkpoint of step 7. Kept: 1, 2", "train.keep")
def step_that_is_not_kept(place: Place) -> list[object]:
    return [*evaluate(place, place.finished_run()), "--step", "7"]


@refused("kept step cut short", "step-00000001.pt: is damaged", "Delete it")
def damaged_step(place: Place) -> list[object]:
    run = place.finished_run()
    cut(checkpoint(run, 1))
    return [*evaluate(place, run), "--step", "1"]


@refused("stopped run predicted from without a step", "let it end, or take", "such as --step 2")
def predict_with_a_stopped_run(place: Place) -> list[object]:
    return ["predict", place.stopped_run(), place.image(), "--to", place.root / "labels"]


@read("stopped run predicted from with a step", "the labels of the finished run")
def predict_with_a_step(place: Place) -> Call:
    whole = [*place.predict(place.image()), "--device", "cpu"]
    assert run_command(whole).exit_code == 0
    target = place.root / "of_step"
    place.stopped_run()

    def then(_: Result) -> None:
        one, two = (place.root / name / "t0.png" for name in ("labels", "of_step"))
        assert one.read_bytes() == two.read_bytes()

    words = ["predict", "tiny", place.image(), "--to", target, "--step", "2", "--out", place.runs]
    return Call(words, then)


@read("stopped run scored with a step", "the scores of the finished run")
def evaluate_a_step(place: Place) -> Call:
    run = place.stopped_run()

    def then(_: Result) -> None:
        (path,) = run.glob("result-val-step-2-*.json")
        own = json.loads((place.finished.run / "result.json").read_text())
        assert json.loads(path.read_text())["scores"]["selected"] == own["scores"]["selected"]

    return Call([*evaluate(place, run), "--step", "2"], then)


@read("more train.steps than a finished run had", "another run, which it says it is")
def more_steps(place: Place) -> Call:
    place.finished_run()

    def then(result: Result) -> None:
        assert "is a run of train.steps = 2; with 3 this is another run" in result.stderr
        assert len(list((place.runs / "tiny").iterdir())) == 2

    return Call(place.train("train.steps=3"), then)


def own_run(place: Place) -> Path:
    """A finished run of the data in the place itself."""
    assert run_command(place.train()).exit_code == 0
    (run,) = (place.runs / "tiny").iterdir()
    return run


@refused(
    "names swapped in the list of classes of a run, then evaluate",
    "its data in",
    "have changed since: its classes were ground, sky, now they are sky, ground",
    "Put them back",
)
def evaluate_own_swapped(place: Place) -> list[object]:
    run = own_run(place)
    other_classes(place, "sky", "ground")
    return ["evaluate", run]


@refused(
    "a name added to the list of classes of a run, then evaluate",
    "now they are ground, sky, tree",
    "--data folder to score them as another set",
)
def evaluate_own_with_one_more(place: Place) -> list[object]:
    run = own_run(place)
    other_classes(place, "ground", "sky", "tree")
    return ["evaluate", run]


@refused("a list of a run shortened, then evaluate", "val had 2 images", "now it has 1 image")
def evaluate_own_with_fewer_images(place: Place) -> list[object]:
    run = own_run(place)
    (place.data / "val.txt").write_text("v0\n")
    return ["evaluate", run]


@read("evaluate on a set of fewer classes", "scored by name, over 1 of 2 classes")
def evaluate_fewer_classes(place: Place) -> Call:
    run = place.finished_run()
    other_classes(place, "ground")
    place.map_masks(lambda labels: labels * 0)

    def then(result: Result) -> None:
        assert "the set does not have sky, which is left out of the means" in result.stderr
        assert "over 1 of 2 classes" in result.stdout

    return Call(evaluate(place, run), then)


@read("evaluate on a set of more classes", "scored by name; pixels of the others are void")
def evaluate_more_classes(place: Place) -> Call:
    run = place.finished_run()
    other_classes(place, "tree", "ground", "sky")
    place.map_masks(lambda labels: labels + 1)

    def then(result: Result) -> None:
        assert "classes matched by name (there: tree, ground, sky)" in result.stderr
        (path,) = run.glob("result-val-*.json")
        scored, own = (json.loads(file.read_text()) for file in (path, run / "result.json"))
        assert scored["confusion"] == own["confusion"]

    return Call(evaluate(place, run), then)


@refused("evaluate on a set with masks of 0 and 255", "the 2 masks of val hold only 0 and 255")
def evaluate_binary_masks(place: Place) -> list[object]:
    place.map_masks(lambda labels: labels * 255)
    return evaluate(place, place.finished_run())


@refused(
    "evaluate on another subset of the run, with masks of 0 and 255",
    "the 2 masks of test hold only 0 and 255",
)
def evaluate_binary_subset(place: Place) -> list[object]:
    place.map_masks(lambda labels: labels * 255, "t[23].png")
    (place.data / "test.txt").write_text("t2\nt3\n")
    return [*evaluate(place, place.finished_run()), "--subset", "test"]


@read("evaluate on a set of which one class has no pixel", "scored, with a note that names it")
def evaluate_without_a_class(place: Place) -> Call:
    place.map_masks(lambda labels: labels * 0)

    def then(result: Result) -> None:
        assert "'sky' has no labelled pixel in the 2 masks of val" in result.stderr

    return Call(evaluate(place, place.finished_run()), then)


@read("evaluate on a set whose palettes disagree", "scored, with a note that names both files")
def evaluate_other_palettes(place: Place) -> Call:
    place.colour_masks({0: (0, 0, 255), 1: (200, 0, 0)})
    mask = Image.fromarray(1 - np.array(Image.open(place.mask("v1"))))
    mask.putpalette([200, 0, 0, 0, 0, 255])
    mask.save(place.mask("v1"))

    def then(result: Result) -> None:
        assert "masks/v0.png and " in result.stderr
        assert "give label 0 two colours" in result.stderr

    return Call(evaluate(place, place.finished_run()), then)


@read("evaluate on two other sets of equal ids", "a result of each, which names its data")
def evaluate_two_sets(place: Place) -> Call:
    run = place.finished_run()
    place.map_masks(lambda labels: 1 - labels)
    assert run_command([*evaluate(place, run), "--data", "folder"]).exit_code == 0
    other = place.root / "other"
    shutil.copytree(place.finished.data, other)

    def then(_: Result) -> None:
        results = [json.loads(path.read_text()) for path in run.glob("result-val-*.json")]
        roots = {result["data"]["reported"]["root"] for result in results}
        assert roots == {str(place.data.resolve()), str(other.resolve())}

    (other / "val.txt").write_text("v1\nv0\n")
    (other / "masks" / "v0.png").write_bytes((other / "masks" / "v1.png").read_bytes())
    return Call(["evaluate", run, "--data", "folder", "--data-root", other], then)


@read("event file of a run", "1 MB at most")
def event_file(place: Place) -> Call:
    def then(_: Result) -> None:
        sizes = [path.stat().st_size for path in place.finished.run.glob("events.*")]
        assert 0 < sum(sizes) < 2**20

    return Call(place.train("train.steps=3"), then)
