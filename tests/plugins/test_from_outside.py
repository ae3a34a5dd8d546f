"""A method, a network and a data set of one's own, from one file each, by the command line."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.plugins import EXAMPLES, code_lines

import semisup
from semisup import catalog
from semisup.cli.main import cli
from semisup.data.formats.pictures import voc_palette

pytestmark = pytest.mark.usefixtures("outside", "no_confusion_is_drawn")

RECIPE = """# Of names from outside.
[data]
name = "{data}"
split = "1/2"
crop = [32, 32]
labelled_batch = 2
unlabelled_batch = 2
workers = {workers}
{options}
[model]
name = "{model}"
width = 4
[method]
name = "{method}"
[optim.segmenter]
kind = "adam"
lr = 1e-3
[train]
steps = 4
checkpoint_every = 2
[eval]
pictures = 1
"""
SCENES = "train = 4\nval = 2\ntest = 1\nsize = [48, 64]"
NAMES = {"method": "my_mean_teacher", "model": "two_scale", "data": "beside"}


def run_command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def succeeded(*words: object) -> Result:
    done = run_command(*words)
    assert done.exit_code == 0, done.output
    return done


def example(name: str) -> Path:
    return EXAMPLES / f"{name}.py"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, as where a user works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMISUP_DATA", raising=False)
    return tmp_path


def write_recipe(folder: Path, *, workers: int = 0, **names: str) -> Path:
    chosen = {"method": "supervised", "model": "unet", "data": "scenes"} | names
    options = SCENES if chosen["data"] == "scenes" else ""
    path = folder / "mine.toml"
    path.write_text(RECIPE.format(options=options, workers=workers, **chosen))
    return path


def make_beside(root: Path) -> Path:
    """Photographs with their masks beside them."""
    generator = np.random.default_rng(0)
    for subset, count in (("train", 4), ("val", 2)):
        (root / subset).mkdir(parents=True)
        for number in range(count):
            labels = generator.integers(0, 3, (5, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
            mask = Image.fromarray(labels)
            mask.putpalette([value for colour in voc_palette(3) for value in colour])
            mask.save(root / subset / f"{subset}{number}_labels.png")
            Image.fromarray(np.stack([labels * 90] * 3, -1)).save(
                root / subset / f"{subset}{number}.jpg"
            )
    return root


def package_files() -> dict[str, int]:
    root = Path(semisup.__file__).parent
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*.py")}


def result_of(folder: Path) -> dict[str, object]:
    (path,) = folder.glob("runs/mine/*/result.json")
    result: dict[str, object] = json.loads(path.read_text())
    return result


def test_mean_teacher_takes_less_than_70_lines_of_code() -> None:
    assert code_lines(example("my_mean_teacher")) < 70
    assert code_lines(example("two_scale")) < 40
    assert code_lines(example("beside")) < 40


def test_a_data_set_of_four_bands_from_outside(here: Path) -> None:
    """Checked, measured, trained and predicted with the kind of images that it states."""
    make_beside(here / "data")
    for path in (here / "data").rglob("*.jpg"):
        colours = np.array(Image.open(path)).astype(np.uint16)
        np.save(path.with_suffix(".npy"), np.dstack([colours, 255 - colours[..., :1]]) * 40)
        path.unlink()
    plugin = ("--plugin", example("bands"))
    succeeded("check", "bands", *plugin)
    succeeded("data", "stats", "bands", *plugin, "--data-root", "data")
    recipe = write_recipe(here, data="bands")
    succeeded("run", recipe, *plugin, "--data-root", "data", "--out", "runs")
    data = result_of(here)["data"]
    assert isinstance(data, dict)
    assert (len(data["images"]["mean"]), data["images"]["bits"]) == (4, 16)
    (run,) = (here / "runs" / "mine").iterdir()
    (first, second) = (here / "data" / "val").glob("*.npy")
    succeeded("predict", run, first, second, *plugin, "--to", "labels")
    assert len(list((here / "labels").glob("*.png"))) == 2


def test_code_lines_counts_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        '"""One.\n\nTwo."""\n\n# no\nx = 1  # yes\n\ndef f():\n    """No."""\n    return x\n'
    )
    assert code_lines(path) == 3


@pytest.mark.parametrize("kind", NAMES)
def test_one_file_outside_and_none_inside(kind: str, here: Path) -> None:
    """Added, checked and trained from a recipe: no file of the package knows of it."""
    name = NAMES[kind]
    before = package_files()
    plugin = ("--plugin", example(name))
    make_beside(here / "data")
    recipe = write_recipe(here, **{kind: name})
    succeeded("check", name, *plugin)
    succeeded("show", recipe, *plugin)
    done = succeeded("run", recipe, *plugin)
    assert "mIoU" in done.stdout
    (used,) = result_of(here)["plugins"]  # type: ignore[misc]
    assert (used["name"], used["plugin"]) == (name, f"{name}.py")
    assert re.fullmatch("[0-9a-f]{64}", used["sha256"])
    assert package_files() == before


def test_all_three_at_once_and_a_run_without_records_none(here: Path) -> None:
    make_beside(here / "data")
    plugins = [word for name in NAMES.values() for word in ("--plugin", example(name))]
    succeeded("run", write_recipe(here, workers=1, **NAMES), *plugins)
    kinds = [entry["kind"] for entry in result_of(here)["plugins"]]  # type: ignore[attr-defined]
    assert kinds == ["method", "model", "data set"]
    succeeded("run", write_recipe(here), *plugins, "--out", "other")
    (path,) = here.glob("other/mine/*/run.json")
    assert "plugins" not in json.loads(path.read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run was made with a copy of Mean Teacher."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("SEMISUP_DATA", raising=False)
        patch.setattr(sys, "path", list(sys.path))
        plugin = folder / "my_mean_teacher.py"
        plugin.write_text(example("my_mean_teacher").read_text())
        succeeded("run", write_recipe(folder, method="my_mean_teacher"), "--plugin", plugin)
        forget()
    return folder


@pytest.fixture
def ran(made: Path, here: Path) -> Path:
    """The plug-in of such a run, which lies beside it; it is not loaded any more."""
    shutil.copytree(made, here, dirs_exist_ok=True)
    return here / "my_mean_teacher.py"


def forget() -> None:
    """As a new process begins."""
    catalog.METHODS.pop("my_mean_teacher", None)
    catalog.OUTSIDE.clear()
    sys.modules.pop("my_mean_teacher", None)


@pytest.mark.parametrize("words", [["evaluate", "mine"], ["predict", "mine", "."], ["samples"]])
def test_a_run_says_which_plugin_to_give(words: list[str], ran: Path) -> None:
    (folder,) = ran.parent.glob("runs/mine/*")
    run = folder.relative_to(ran.parent)
    done = run_command(*words, *([run] if words == ["samples"] else []))
    assert done.exit_code == 1
    assert done.stderr == (
        f"semisup: {run}: this run was made with the plug-in my_mean_teacher.py (method "
        "'my_mean_teacher'): add --plugin PATH/my_mean_teacher.py\n"
    )
    assert "my_mean_teacher" not in catalog.METHODS


def test_a_run_that_goes_on_says_it_too(ran: Path) -> None:
    done = run_command("run", "mine.toml")
    assert done.exit_code == 1
    assert "add --plugin PATH/my_mean_teacher.py" in done.stderr
    assert (
        "no method is called 'my_mean_teacher'"
        in run_command("run", "mine.toml", "--out", "elsewhere").stderr
    )


def test_evaluate_and_predict_work_with_it_and_warn_where_it_has_changed(ran: Path) -> None:
    Image.new("RGB", (40, 48)).save("photo.png")
    for words in (["evaluate", "mine"], ["predict", "mine", "photo.png"]):
        assert "warning" not in succeeded(*words, "--plugin", ran).stderr
    forget()
    ran.write_text(ran.read_text() + "# changed\n")
    for words in (["evaluate", "mine"], ["predict", "mine", "photo.png", "--to", "again"]):
        (line,) = succeeded(*words, "--plugin", ran).stderr.splitlines()
        assert "warning: runs/mine/" in line
        assert "my_mean_teacher.py (method 'my_mean_teacher') has changed since this run" in line


def test_a_resume_refuses_a_changed_plugin(ran: Path) -> None:
    (result,) = ran.parent.glob("runs/mine/*/result.json")
    result.unlink()
    ran.write_text(ran.read_text() + "# changed\n")
    done = run_command("run", "mine.toml", "--plugin", ran)
    assert done.exit_code == 1
    assert "has changed since this run was made" in done.stderr
    assert "Restore the file, or choose another --out to begin anew." in done.stderr
    forget()
    ran.write_text(ran.read_text().removesuffix("# changed\n"))
    succeeded("run", "mine.toml", "--plugin", ran)


def test_a_finished_run_says_that_its_plugin_has_changed(ran: Path) -> None:
    ran.write_text(ran.read_text() + "# changed\n")
    done = succeeded("run", "mine.toml", "--plugin", ran)
    assert "has changed since this run was made" in done.output
    assert "This run was finished before" in done.output


def test_a_damaged_record_of_plugins_imports_nothing_and_is_refused_in_one_line(ran: Path) -> None:
    (path,) = ran.parent.glob("runs/mine/*/result.json")
    record = json.loads(path.read_text())
    for damaged in ("my_mean_teacher", [3], {"kind": "method"}):
        path.write_text(json.dumps(record | {"plugins": damaged}))
        done = run_command("evaluate", "mine", "--plugin", ran)
        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1
        assert "is no result file of semisup" in done.stderr
    for harmless in ([{"kind": "1"}], None):  # names nothing
        path.write_text(json.dumps(record | {"plugins": harmless}))
        succeeded("evaluate", "mine", "--plugin", ran)
