"""Which files `semisup predict` labels, and what their label maps are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from semisup.errors import DataError
from semisup.evaluation.folders.sources import find_images


def save(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            Image.new("RGB", (2, 2)).save(path)
        else:
            path.write_text("no picture")


def test_images_are_found_in_folders_and_below_them(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    save(*(photos / name for name in ("b.jpg", "a.PNG", "c.v2.jpeg", "deep/er/d.png")))
    found = find_images([photos])
    assert found.names == ["a", "b", "c.v2", "deep/er/d"]
    assert [image.path for image in found.images] == [
        *(photos / name for name in ("a.PNG", "b.jpg", "c.v2.jpeg", "deep/er/d.png"))
    ]
    assert found.describe_left_out() == ""


def test_of_several_the_folder_that_holds_all_is_left_out_of_the_names(tmp_path: Path) -> None:
    one, two, single = tmp_path / "one", tmp_path / "two", tmp_path / "z.png"
    save(one / "a.png", two / "a.jpg", two / "sub" / "a.jpg", single)
    assert find_images([one, two]).names == ["one/a", "two/a", "two/sub/a"]
    assert find_images([single, one]).names == ["z", "one/a"]
    assert find_images([one / "a.png", two / "a.jpg"]).names == ["one/a", "two/a"]
    assert find_images([two / "a.jpg"]).names == ["a"]
    assert find_images([two / "sub" / "a.jpg", two]).names == ["two/sub/a", "two/a"]


def test_an_image_that_is_named_twice_is_labelled_once(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", tmp_path / "in" / "b.png")
    found = find_images([tmp_path / "in", tmp_path / "in" / "a.png", tmp_path / "in" / ".." / "in"])
    assert found.names == ["in/a", "in/b"]


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in" / "sub" / "a.png", tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    assert find_images([Path("in"), Path("b.png")]).names == ["in/sub/a", "b"]
    monkeypatch.chdir(tmp_path / "in")
    assert find_images([Path()]).names == ["sub/a"]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    names = ["a.png", "b.gif", "c.GIF", "d.heic", "notes", "._a.png", ".DS_Store"]
    save(*(tmp_path / name for name in [*names, ".thumbs/a.png", "sub/e.avif", "sub/f.jpg"]))
    found = find_images([tmp_path])
    assert found.names == ["a", "sub/f"]
    text = "7 others left out: 1 .avif, 2 .gif, 1 .heic, 2 hidden, 1 without suffix; 1 folder"
    assert found.describe_left_out() == text


def test_a_folder_of_predictions_is_not_predicted_from(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", tmp_path / "out" / "a.png", tmp_path / "out" / "predictions.json")
    found = find_images([tmp_path])
    assert found.names == ["a"]
    assert found.describe_left_out() == "1 folder left out"


def test_folders_that_are_reached_twice_are_read_once(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    assert find_images([tmp_path / "in"]).names == ["a"]


def test_a_folder_without_images_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "notes.txt", tmp_path / "a.gif")
    match = r"holds no image \(.*\), but 1 \.gif, 1 \.txt\.$"
    with pytest.raises(DataError, match=match):
        find_images([tmp_path])
    with pytest.raises(DataError, match="no such file or folder"):
        find_images([tmp_path / "none.png"])
    with pytest.raises(DataError, match="no such file or folder"):
        find_images([tmp_path / ("a" * 300)])


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "a.jpg", tmp_path / "a.png"
    save(one, two)
    with pytest.raises(DataError, match=rf"{two}: would be written over .* {one}.*two folders"):
        find_images([tmp_path])


def test_an_overlay_is_not_written_over_another_images_labels(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in ("a", "a_overlay", "b")]
    save(*paths)
    assert find_images(paths).names == ["a", "a_overlay", "b"]
    with pytest.raises(DataError, match=r"a_overlay\.png: would be written over .*a\.png"):
        find_images(paths, endings=["_overlay"])
    assert find_images(paths[1:], endings=["_overlay"]).names == ["a_overlay", "b"]
