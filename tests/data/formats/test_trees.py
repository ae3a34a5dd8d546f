"""Folders of files, wherever the user stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from semisup.data.formats.trees import list_files, other_files


@pytest.mark.parametrize("folder", [".", "here", "./here/"])
def test_files_are_named_within_the_folder(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / folder / "images"
    place.mkdir(parents=True)
    (place / "a.jpg").touch()
    (place / "a.txt").touch()
    assert list(list_files(Path(folder), (".jpg",))) == ["images/a.jpg"]
    assert other_files(Path(folder), (".jpg",)) == ["images/a.txt"]
