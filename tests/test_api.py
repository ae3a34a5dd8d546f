"""What `import semisup` offers, beyond what the examples of docs/python.md run."""

from __future__ import annotations

import ast
import asyncio
import builtins
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.runs import make_set, recipe_of
from support.studies import plan_of, stand_in, write_study

import semisup
from semisup import api
from semisup.errors import DataError, RecipeError, RunError, SemisupError
from semisup.recipe.toml import dump_toml
from semisup.runs.result import FinishedRun
from semisup.studies.ablation import local
from semisup.system.signals import StopSignal

pytestmark = pytest.mark.usefixtures("no_confusion_is_drawn")

RECIPE = "scenes/supervised_unet_1-8"
CHANGES = [
    *("data.train=16", "data.val=2", "data.test=1", "data.size=[48, 64]", "data.crop=[32, 32]"),
    *("data.workers=0", "train.steps=2", "train.log_every=1", "eval.every=0", "eval.hold_out=0"),
    *("data.labelled_batch=2", "model.width=4"),
    *("eval.pictures=0", "eval.boundary=false"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def train(root: Path) -> Callable[..., FinishedRun]:
    def call(runs: Path, **options: Any) -> FinishedRun:
        settings = {"changes": CHANGES, "data_root": root, "device": "cpu", "progress": False}
        return semisup.run(RECIPE, runs=runs, **settings | options)

    return call


@pytest.fixture(scope="module")
def done(train: Callable[..., FinishedRun], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train(tmp_path_factory.mktemp("runs"))


def test_a_result_is_read_without_digging(done: FinishedRun) -> None:
    assert (done.recipe, done.seed, done.fresh) == (RECIPE, 0, True)
    assert done.miou == done.result.scores.selected.miou
    assert done.miou_interval[0] <= done.miou <= done.miou_interval[1]
    counted = [iou for iou in done.per_class.values() if iou is not None]
    assert done.miou == pytest.approx(sum(counted) / len(counted))
    assert done.file == done.folder / "result.json"


def test_a_finished_run_is_returned_as_it_is(
    train: Callable[..., FinishedRun], done: FinishedRun
) -> None:
    again = train(done.folder.parents[2])
    assert (again.folder, again.result, again.fresh) == (done.folder, done.result, False)


def test_another_thread_trains_to_the_same_bits(
    train: Callable[..., FinishedRun], done: FinishedRun, tmp_path: Path
) -> None:
    found: list[FinishedRun] = []
    # Two at once: one waits for the other, for torch's random numbers belong to the process.
    calls = [
        threading.Thread(target=lambda where=where: found.append(train(tmp_path / where)))
        for where in ("a", "b")
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(found) == 2
    for run in found:
        for name in ("predictor.safetensors", "scalars.jsonl"):
            assert (run.folder / name).read_bytes() == (done.folder / name).read_bytes(), name


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            with StopSignal() as stop:
                assert stop.received is None
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert failed == []


@pytest.mark.parametrize("beside", [False, True])
def test_a_run_from_a_coroutine_leaves_the_loop_its_signals(
    beside: bool, train: Callable[..., FinishedRun], done: FinishedRun, tmp_path: Path
) -> None:
    """As in a notebook or a server, whose event loop is running: in its thread, or in another."""
    noted: list[str] = []

    async def serve() -> FinishedRun:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, noted.append, "stop")
        if beside:
            run = await asyncio.to_thread(train, tmp_path)
        else:
            run = train(tmp_path)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
        return run

    run = asyncio.run(serve())
    assert noted == ["stop"]
    for name in ("predictor.safetensors", "scalars.jsonl"):
        assert (run.folder / name).read_bytes() == (done.folder / name).read_bytes(), name


def test_a_handler_that_was_not_set_from_python_does_not_break_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where Python is part of another program, `signal` knows no handler to put back."""
    before = signal.getsignal(signal.SIGTERM)
    given = signal.signal
    monkeypatch.setattr(signal, "signal", lambda number, handler: given(number, handler) and None)
    try:
        with StopSignal() as stop:
            assert stop.received is None
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        monkeypatch.undo()
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


class ZMQInteractiveShell:
    """What rich takes for a notebook."""


@pytest.mark.parametrize("notebook", [False, True])
def test_progress_is_plain_lines_where_nothing_can_be_redrawn(
    notebook: bool,
    train: Callable[..., FinishedRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if notebook:
        shell = ZMQInteractiveShell()
        monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    train(tmp_path, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "training ..." in shown.err
    assert "step 2/2" in shown.err


def test_a_terminal_gives_a_thread_plain_lines(
    train: Callable[..., FinishedRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    thread = threading.Thread(target=lambda: train(tmp_path, progress=True))
    thread.start()
    thread.join()
    assert "step 2/2" in capsys.readouterr().err


def test_no_progress_shows_nothing(
    train: Callable[..., FinishedRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    semisup.evaluate(train(tmp_path), data_root=tmp_path, device="cpu", progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_seed_is_the_run_s_and_that_of_its_first_stage(root: Path) -> None:
    from semisup.recipe.load import load_recipe, with_seed

    name = "scenes/decouplednet_5"
    recipe = with_seed(semisup.load_recipe(name), 3)
    stated = load_recipe(name, ["train.seed=3"])
    assert recipe.resolved() == stated.resolved()
    assert recipe.first is not None
    assert stated.first is not None
    assert recipe.first.resolved() == stated.first.resolved()
    assert recipe.digest() == stated.digest()


def test_masks_are_of_the_kind_of_the_image_and_equal(done: FinishedRun, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    predictor = semisup.open_run(done, device="cpu").predictor()
    mask, probabilities = predictor(pixels), predictor.probabilities(pixels)
    assert (mask.dtype, mask.shape) == (np.uint8, (40, 56))
    assert (probabilities.dtype, probabilities.shape) == (
        np.float32,
        (len(predictor.classes), 40, 56),
    )
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(0), mask)
    assert torch.equal(predictor(tensor), torch.from_numpy(mask))
    batch = predictor(torch.stack([tensor, tensor.flip(-1)]))
    assert batch.shape == (2, 40, 56)
    assert predictor.probabilities(tensor[None]).shape == (1, *probabilities.shape)
    assert np.array_equal(semisup.predict(done.folder, pixels, device="cpu"), mask)

    Image.fromarray(pixels).save(tmp_path / "photo.png")
    assert np.array_equal(semisup.predict(done, tmp_path / "photo.png", device="cpu"), mask)
    options: dict[str, Any] = {"device": "cpu", "progress": False, "soft": True}
    (file,) = semisup.predict_files(done, tmp_path / "photo.png", tmp_path / "to", **options)
    with Image.open(file) as written:
        assert np.array_equal(np.asarray(written), mask)
    assert (tmp_path / "to" / "photo.npz").is_file()


def test_a_photograph_is_labelled_as_a_viewer_shows_it(done: FinishedRun, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "phone.png", exif=exif)
    upright = semisup.predict(done, np.ascontiguousarray(np.rot90(pixels, -1)), device="cpu")
    assert np.array_equal(semisup.predict(done, tmp_path / "phone.png", device="cpu"), upright)
    with Image.open(tmp_path / "phone.png") as picture:
        assert np.array_equal(semisup.predict(done, picture, device="cpu"), upright)
    (file,) = semisup.predict_files(done, tmp_path / "phone.png", tmp_path / "to", progress=False)
    with Image.open(file) as written:
        assert np.array_equal(np.asarray(written), upright)


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run of two steps of a network with dropout."""
    place = tmp_path_factory.mktemp("dropping")
    make_set(place / "data")
    recipe = place / "dropping.toml"
    tables = recipe_of().resolved()
    tables["model"] = {"name": "enet"}
    recipe.write_text(dump_toml(tables))
    return semisup.run(
        recipe, data_root=place / "data", runs=place / "runs", device="cpu", progress=False
    )


def test_samples_give_the_mean_and_its_uncertainty(dropping: FinishedRun, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    made = semisup.predict(dropping, pixels, samples=3, device="cpu")
    labels, probabilities, uncertainty = made
    assert (labels.shape, probabilities.shape, uncertainty.shape) == (
        (40, 56),
        (3, 40, 56),
        (40, 56),
    )
    assert float(uncertainty.min()) >= 0 < float(uncertainty.max())
    assert np.array_equal(probabilities.argmax(0), labels)
    opened = semisup.open_run(dropping, changes="eval.samples=3", device="cpu").predictor()
    assert all(np.array_equal(*pair) for pair in zip(opened.sampled(pixels), made, strict=True))

    Image.fromarray(pixels).save(tmp_path / "photo.png")
    read = semisup.predict(dropping, tmp_path / "photo.png", samples=3, device="cpu")
    assert np.array_equal(read.uncertainty, uncertainty)
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    semisup.predict_files(dropping, tmp_path / "photo.png", tmp_path / "to", samples=3, **options)
    with Image.open(tmp_path / "to" / "photo_uncertainty.png") as written:
        stored = np.asarray(written) / 65535 * 0.25
    assert np.allclose(stored, uncertainty, atol=4e-6)
    with pytest.raises(RunError, match="holds predictions of another run or protocol"):
        semisup.predict_files(dropping, tmp_path / "photo.png", tmp_path / "to", **options)


def test_a_score_of_samples_is_another_protocol(dropping: FinishedRun) -> None:
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    once, again = (
        semisup.evaluate(dropping, changes="eval.samples=2", **options) for _ in range(2)
    )
    assert once.file == again.file != dropping.file
    assert once.result.protocol["samples"] == 2
    assert once.result.confusion == again.result.confusion
    assert "samples" not in dropping.result.protocol


@pytest.mark.parametrize("samples", [1, -1, 2.5])
def test_numbers_of_samples_that_are_refused_in_one_line(done: FinishedRun, samples: Any) -> None:
    with pytest.raises(RecipeError, match=r"eval\.samples") as caught:
        semisup.predict(done, np.zeros((4, 4, 3), np.uint8), samples=samples, device="cpu")
    assert "\n" not in str(caught.value)


def test_files_beside_a_bad_one_are_labelled_and_can_be_replaced(
    done: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/a.png"):
        Image.new("RGB", (9, 7)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    with pytest.raises(
        DataError, match=r"bad\.png is no JPEG, PNG, TIFF, BMP or WebP file"
    ) as caught:
        semisup.predict_files(done, tmp_path / "in", tmp_path / "to", **options)
    assert caught.value.lines == (str(caught.value),)  # type: ignore[attr-defined]
    (tmp_path / "in" / "bad.png").unlink()
    written = semisup.predict_files(done, tmp_path / "in", tmp_path / "to", **options)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        *("to/a.png", "to/sub/a.png")
    ]
    expected = written[0].read_bytes()
    Image.new("L", (9, 7)).save(written[0])
    old = written[0].read_bytes()
    semisup.predict_files(done, tmp_path / "in", tmp_path / "to", **options)
    assert written[0].read_bytes() == old
    semisup.predict_files(done, tmp_path / "in", tmp_path / "to", overwrite=True, **options)
    assert written[0].read_bytes() == expected


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        torch.zeros(3, 4, 4),
        torch.zeros(4, 4, dtype=torch.uint8),
        [[0]],
    ],
    ids=lambda image: f"{type(image).__name__}{getattr(image, 'shape', '')}",
)
def test_what_is_no_image_is_refused_in_one_line(image: Any, done: FinishedRun) -> None:
    with pytest.raises(DataError, match=r"^image: cannot label a \w+.*Give uint8 RGB") as caught:
        semisup.predict(done, image, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "kind", "line"),
    [
        (lambda: semisup.run("quickstrat"), RecipeError, "Did you mean 'quickstart'"),
        (lambda: semisup.run("quickstart", device="tpu"), SemisupError, "no such device"),
        (lambda: semisup.run("quickstart", seed=-1), RecipeError, "seed"),
        (lambda: semisup.open_run("nowhere"), RunError, "is no run of semisup"),
        (lambda: semisup.evaluate("nowhere"), RunError, "is no run of semisup"),
        (lambda: semisup.load_recipe("quickstart", "train.stpes=3"), RecipeError, "mean 'steps'"),
        (
            lambda: semisup.run(semisup.load_recipe("quickstart"), changes="train.steps=3"),
            RecipeError,
            "Give them to load_recipe",
        ),
    ],
)
def test_errors_are_one_line(call: Callable[[], Any], kind: type[Exception], line: str) -> None:
    with pytest.raises(kind, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_no_file_to_label_is_said_in_a_line(done: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image to label was named"):
        semisup.predict_files(done, [], tmp_path, progress=False)


def test_what_was_opened_at_a_step_stays_at_it(
    train: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    folder = train(tmp_path, changes=[*CHANGES, "train.checkpoint_every=1"]).folder
    opened = semisup.open_run(folder, step=1, changes="eval.mode='slide'", device="cpu")
    flipped = semisup.open_run(opened, changes="eval.flip=true", device="cpu")
    assert (flipped.step, flipped.weights) == (1, opened.weights)
    assert (flipped.recipe.eval.mode, flipped.recipe.eval.flip) == ("slide", True)
    chosen = semisup.open_run(folder, device="cpu")
    assert chosen.weights != opened.weights
    scored = semisup.evaluate(opened, device="cpu", progress=False)
    assert scored.result.weights_sha256 == opened.weights
    assert (scored.result.checkpoint.step, scored.result.protocol["mode"]) == (1, "slide")
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = flipped.predictor().probabilities(photo)
    again = semisup.open_run(flipped, step=1, device="cpu").predictor().probabilities(photo)
    assert np.array_equal(again, expected)


# Errors name parameters, not flags


def stopped(train: Callable[..., FinishedRun], runs: Path) -> Path:
    """The folder of a run that is not finished, with its two checkpoints."""
    folder = train(runs, changes=[*CHANGES, "train.checkpoint_every=1"]).folder
    (folder / "result.json").unlink()
    return folder


def test_pseudo_masks_are_written_of_the_images_without_a_mask(
    done: FinishedRun, root: Path, tmp_path: Path
) -> None:
    made = semisup.label(done, tmp_path / "pseudo", threshold=0.0, data_root=root, progress=False)
    assert len(made.ids) == made.made.images == 14
    assert len(list((tmp_path / "pseudo").glob("*.png"))) == 14
    line = said_by(lambda: semisup.label(done, tmp_path / "more", threshold=2, data_root=root))
    assert line.startswith("threshold 2: is a probability")


def test_a_report_is_a_page_of_runs(done: FinishedRun, tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="extra report")
    page = semisup.report(done, to=tmp_path / "page", title="Mine", confusion=[RECIPE])
    assert page == tmp_path / "page" / "index.html"
    assert f"semisup report {done.folder} --title Mine --confusion {RECIPE}" in page.read_text()
    line = said_by(lambda: semisup.report(done, to=tmp_path / "page", confusion=["other"]))
    assert line == f"confusion: other: no arm has that name. Known: {RECIPE}."
    assert "score: 'best' is none" in said_by(lambda: semisup.report(done, score="best"))


def test_a_study_is_run_and_what_failed_is_in_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path)
    program = stand_in(plan_of(path), arm_strong__seed_1={"ends": "refused"})
    monkeypatch.setattr(local, "POLL", 0.005)
    monkeypatch.setattr(api, "_cell_command", lambda: program)
    with_failures = semisup.ablate(path, out=tmp_path / "out", jobs=2, data_root=tmp_path)
    assert with_failures.folder == tmp_path / "out"
    assert len(with_failures.runs) == 6
    assert all((folder / "result.json").is_file() for folder in with_failures.runs)
    assert list(with_failures.failed) == [
        f"data.split={split}, arm=strong, seed 1" for split in ("1/2", "all")
    ]
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 16
    assert "started   data.split=1/2, arm=plain, seed 0" in said
    assert (tmp_path / "out" / "study.json").is_file()
    monkeypatch.setattr(api, "_cell_command", lambda: stand_in(plan_of(path)))
    tried = semisup.ablate(path, out=tmp_path / "out", retry=True, progress=False)
    assert (len(tried.runs), tried.failed) == (8, {})
    assert capfd.readouterr().err == ""
    assert "jobs: 0 is no number" in said_by(lambda: semisup.ablate(path, jobs=0))
    assert "Did you mean 'quickstart'" in said_by(lambda: semisup.ablate("quickstrat"))


def said_by(call: Callable[[], Any]) -> str:
    with pytest.raises(SemisupError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    assert not re.search("(^| )--[a-z]", line), line
    return line


def test_errors_of_a_run_name_parameters(
    train: Callable[..., FinishedRun], done: FinishedRun, tmp_path: Path
) -> None:
    folder = stopped(train, tmp_path)
    assert said_by(lambda: semisup.open_run(folder)).endswith("such as step=2.")
    line = said_by(lambda: semisup.open_run(folder, step=3))
    assert "no checkpoint of step 3. Kept: 1, 2;" in line
    line = said_by(lambda: semisup.evaluate(done, changes="train.steps=3"))
    assert line.startswith("changes: train.steps=3: a finished run")
    line = said_by(lambda: semisup.predict(done, np.zeros((3, 3, 3), np.uint8), device="tpu"))
    assert line.startswith('device="tpu": no such device')
    assert "changes: x: is not of the form" in said_by(lambda: semisup.load_recipe(RECIPE, "x"))


def test_errors_of_folders_name_parameters(
    train: Callable[..., FinishedRun], done: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert said_by(lambda: train(tmp_path / "file")).endswith("Choose another 'runs'.")
    recipe = ["data.name=voc", "data.split=1/8"]
    line = said_by(lambda: train(tmp_path, changes=recipe, data_root=tmp_path / "none"))
    assert "set the data root (data_root or SEMISUP_DATA)" in line
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    images, to = tmp_path / "a.png", tmp_path / "labels"
    semisup.predict_files(done, images, to, device="cpu")
    flipped = ["eval.flip=true"]
    line = said_by(lambda: semisup.predict_files(done, images, to, changes=flipped, device="cpu"))
    assert "Choose another 'to', or replace them with overwrite=True" in line
    (to / "semisup.json").unlink(missing_ok=True)


def test_a_path_that_holds_a_flag_is_left_alone(tmp_path: Path) -> None:
    for name in ("--out", "a--data-root", "x --step"):
        with pytest.raises(RunError, match=re.escape(str(tmp_path / name))):
            semisup.open_run(tmp_path / name)


COMMANDS_ALONE = {
    "--plugin": "registered by an import",
    "--empty": "of semisup data import",
    "--split": "where a value comes from",
    "--kind": "of semisup check",
    "--option": "of semisup check",
    "--explain": "of semisup predict",
    "--backbone": "of semisup samples",
    "--tags": "beside the key of a recipe",
    "--classes": "in brackets behind what it is",
    "--weights": "in brackets behind the key of a recipe",
    "--from": "of a command that is quoted",
    "--nnodes": "of torchrun",
    "--rdzv-endpoint": "of torchrun",
    "--porcelain": "of git",
    "--json": "in prose",
    "--where": "of semisup runs",
    "--arm": "of docs/summarise.py",
    "--brief": "of docs/summarise.py",
    "--page": "of docs/summarise.py",
    "--pictures": "of semisup report",
    "--seeds": "of a command that is quoted",
    "--title": "of a command that is quoted",
    "--digest": "of the runs of a study",
    **dict.fromkeys(("--array", "--noheader", "--user", "--oneliner"), "of Slurm"),
    "--cpus-per-task": "of Slurm",
    **dict.fromkeys(("--executor", "--slurm", "--jobs"), "of semisup ablate on Slurm"),
    "--mlflow": "of semisup runs",
}
"""Flag of a message of the library -> why it has no parameter."""


def test_every_flag_in_a_message_has_a_parameter_or_a_reason() -> None:
    package = Path(semisup.__file__).parent
    flags: dict[str, str] = {}
    flag = re.compile(r"(?<!var\()(?<![\w/-])--[a-z][a-z-]+")  # var(--name) is of style sheets
    for path in package.rglob("*.py"):
        if "cli" in path.relative_to(package).parts:
            continue
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if "--" in source else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                documented = "\n" in node.value or path.name == "api.py"
                found = [] if documented else re.findall(flag, node.value)
                flags |= dict.fromkeys(found, f"{path}:{node.lineno}")
    patterns = [re.match(r"(?:add )?(--[a-z-]+|--\(.*?\))", key) for key in api._PARAMETERS]
    named = {flag for flag in flags if any(m and re.fullmatch(m[1], flag) for m in patterns)}
    assert len(named) >= 8
    assert {flag: at for flag, at in flags.items() if flag not in {*named, *COMMANDS_ALONE}} == {}
