"""A folder of predictions is of one run and protocol, and never half made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from semisup.data.formats.pictures import write_palette_png
from semisup.errors import RunError
from semisup.evaluation.folders.prediction_folder import PredictionFolder

OLD, NEW = {"step": 1}, {"step": 2}


def fill(path: Path, facts: dict[str, int], *names: str) -> None:
    folder = PredictionFolder(path, facts, names)
    for name in names:
        folder.begin(name)
        folder.file(name).write_bytes(b"old")


def test_nothing_is_made_before_the_first_prediction(tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "deep" / "out", NEW, ["a/x"])
    assert list(tmp_path.iterdir()) == []
    folder.begin("a/x")
    assert (tmp_path / "deep" / "out" / "a").is_dir()
    assert json.loads((tmp_path / "deep" / "out" / "predictions.json").read_text()) == NEW


def test_predictions_of_another_run_are_replaced_only_as_a_whole(tmp_path: Path) -> None:
    fill(tmp_path, OLD, "a", "sub/b")
    with pytest.raises(RunError, match=r"another run or protocol .* --to, or .*--overwrite"):
        PredictionFolder(tmp_path, NEW, ["a", "sub/b"])
    with pytest.raises(RunError, match=r"sub/b\.png: is a prediction of another run .* one of 1"):
        PredictionFolder(tmp_path, NEW, ["a"], overwrite=True)
    folder = PredictionFolder(tmp_path, NEW, ["a", "sub/b", "c"], overwrite=True)
    assert folder.file("a").read_bytes() == b"old"
    assert not folder.is_done("a", [".png"])
    folder.begin("c")
    # A call that is stopped here leaves nothing that would be taken for the new run's.
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["predictions.json"]
    assert json.loads((tmp_path / "predictions.json").read_text()) == NEW


def test_the_same_run_goes_on_and_overwrites_on_request(tmp_path: Path) -> None:
    fill(tmp_path, OLD, "a", "b")
    folder = PredictionFolder(tmp_path, OLD, ["a", "c"])
    assert not folder.is_done("a", [".png"])  # no label map: it is made again
    write_palette_png(folder.file("a"), torch.zeros(2, 2, dtype=torch.uint8), [], image="0" * 64)
    assert folder.is_done("a", [".png"])
    assert not folder.is_done("a", [".png", ".npz"])
    assert folder.is_of_another("a", "1" * 64)
    assert not folder.is_of_another("a", "0" * 64)
    folder.file("a").write_bytes(b"old")
    folder.begin("c")
    assert folder.file("a").read_bytes() == b"old"
    PredictionFolder(tmp_path, OLD, ["a"], overwrite=True).begin("a")
    assert not folder.file("a").exists()
    assert folder.file("b").read_bytes() == b"old"


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_prediction_is_never_replaced(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a photograph")
    with pytest.raises(RunError, match=r"a\.png: is there already and no prediction"):
        PredictionFolder(tmp_path, NEW, ["a"], overwrite=overwrite)
    assert (tmp_path / "a.png").read_bytes() == b"a photograph"


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be made .*Choose another --to"):
        PredictionFolder(tmp_path / "file" / "out", NEW, ["a"]).begin("a")
    (tmp_path / "out" / "predictions.json").mkdir(parents=True)
    with pytest.raises(RunError, match=r"predictions\.json: cannot be written"):
        PredictionFolder(tmp_path / "out", NEW, ["a"]).begin("a")
