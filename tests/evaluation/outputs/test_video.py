"""The frames of a video are labelled one by one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from semisup.errors import DataError, RunError
from semisup.evaluation.folders.sources import find_images
from semisup.evaluation.outputs import video as videos
from semisup.evaluation.outputs.video import VideoReader, VideoWriter

av = pytest.importorskip("av", reason="PyAV (extra video) is missing")

Make = Callable[..., Any]

SIZE = (48, 64)
COUNT = 7
LABELS = {0: (230, 20, 20), 1: (20, 230, 20), 2: (20, 20, 230)}


def truth(number: int) -> npt.NDArray[np.uint8]:
    """Three classes in blocks of whole macroblocks, which move."""
    labels = np.zeros(SIZE, np.uint8)
    labels[:, 16:32] = number % 3
    labels[16:32, 32:] = 2
    return labels


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30000, 1001), options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for number in range(COUNT):
            table = np.array(list(LABELS.values()), np.uint8)
            frame = av.VideoFrame.from_ndarray(table[truth(number)], format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.array(picture)


def test_each_frame_has_a_label_map(predict: Make, clip: Path, tmp_path: Path) -> None:
    done = predict(clip, soft=True)
    assert (done.written, done.kept, done.bad) == (COUNT, 0, ())
    for number in range(COUNT):
        labels = read(tmp_path / "out" / "clip" / f"frame_{number:06d}.png")
        assert (labels != truth(number)).mean() < 0.02  # colours are stored at half size
    assert len(list((tmp_path / "out" / "clip").glob("*.npz"))) == COUNT
    assert not (tmp_path / "out" / "clip.png").exists()


def test_an_overlay_is_a_video_with_the_times_of_the_first(
    predict: Make, clip: Path, tmp_path: Path
) -> None:
    predict(clip, with_overlay=True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"predictions.json", "clip", "clip_overlay.mp4"}
    with VideoReader(clip) as first, VideoReader(tmp_path / "out" / "clip_overlay.mp4") as other:
        frames, drawn = list(first.frames()), list(other.frames())
        assert first.stated == other.stated == len(drawn) == COUNT
        seconds = [
            [round(float(frame.shown_at * base), 4) for frame in one]
            for one, base in ((frames, first.time_base), (drawn, other.time_base))
        ]
    assert seconds[0] == seconds[1]
    assert drawn[0].image.shape[1] > SIZE[0]  # the legend is below
    plain, picture = (
        one.image[:, 20:28, 4:12].float().mean((1, 2)) for one in (frames[1], drawn[1])
    )
    assert (plain - picture).abs().max() < 12  # background is left alone
    filled = drawn[1].image[:, 20:28, 42:58].float().mean((1, 2))
    half = (torch.tensor(LABELS[2]) + torch.tensor([30, 30, 200])) / 2
    assert (filled - half).abs().max() < 15


def test_a_call_that_was_stopped_goes_on(predict: Make, clip: Path, tmp_path: Path) -> None:
    predict(clip)
    kept = tmp_path / "out" / "clip" / "frame_000000.png"
    before = kept.stat().st_mtime_ns
    (tmp_path / "out" / "clip" / "frame_000004.png").unlink()
    done = predict(clip, with_overlay=True)
    assert (done.written, done.kept) == (1, COUNT - 1)
    assert kept.stat().st_mtime_ns == before
    with VideoReader(tmp_path / "out" / "clip_overlay.mp4") as shown:
        assert shown.stated == COUNT
    shown_before = (tmp_path / "out" / "clip_overlay.mp4").stat().st_mtime_ns
    assert predict(clip, with_overlay=True).kept == COUNT
    assert (tmp_path / "out" / "clip_overlay.mp4").stat().st_mtime_ns == shown_before


def test_an_overlay_that_is_stopped_is_not_there(
    predict: Make, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, calls = VideoWriter.add, iter(range(9))

    def stop(self: VideoWriter, *arguments: Any) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        add(self, *arguments)

    monkeypatch.setattr(VideoWriter, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        predict(clip, with_overlay=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "clip",
        "predictions.json",
    ]


def test_frames_of_another_video_or_run_are_not_mixed(
    predict: Make, clip: Path, tmp_path: Path
) -> None:
    own = tmp_path / "clip.mp4"
    own.write_bytes(clip.read_bytes())
    predict(own, with_overlay=True)
    own.write_bytes(own.read_bytes() + b"\0" * 8)
    done = predict(own, with_overlay=True)
    assert len(done.bad) == 1
    assert "frame_000000.png: is the label map of another video than" in done.bad[0]
    with pytest.raises(RunError, match="holds predictions of another run"):
        predict(own, facts={"another": 1})
    (tmp_path / "out" / "clip" / "frame_000099.png").write_bytes(b"longer before")
    done = predict(own, overwrite=True, facts={"another": 1})
    assert done.written == COUNT
    names = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {"predictions.json", *(f"frame_{n:06d}.png" for n in range(COUNT))}


def test_frames_and_pictures_are_masks_of_coco(predict: Make, clip: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "a.png")
    own = tmp_path / "clip.mp4"
    own.write_bytes(clip.read_bytes())
    predict(tmp_path / "a.png", own, coco=True)
    text = (tmp_path / "out" / "predictions_coco.json").read_text()
    assert '"file_name":"a.png"' in text
    assert f'"file_name":"clip.mp4/frame_{COUNT - 1:06d}"' in text
    with pytest.raises(RunError, match=r"has annotations of other images, such as a\.png"):
        predict(own, coco=True)


def test_one_frame_is_in_memory_at_a_time(clip: Path) -> None:
    with VideoReader(clip) as video:
        frames = video.frames()
        assert isinstance(frames, Iterator)
        assert next(frames).image.shape == (3, *SIZE)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_frames_are_turned_as_a_viewer_turns_them(
    rotation: int, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FFmpeg states it: by how much a frame is to be turned, counter-clockwise."""
    monkeypatch.setattr(videos, "_rotation", lambda frame: rotation)
    with VideoReader(clip, turned=False) as stored, VideoReader(clip) as shown:
        plain, turned = next(stored.frames()).image, next(shown.frames()).image
    assert torch.equal(turned, torch.rot90(plain, rotation // 90, (1, 2)))


def test_what_is_no_video_is_told_in_a_line(
    predict: Make, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 40)
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:900])
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "a.png")
    done = predict(tmp_path / "a.png", tmp_path / "bad.mp4", tmp_path / "cut.mp4", coco=True)
    assert done.written == 1
    for name, line in zip(("bad", "cut"), done.bad, strict=True):
        assert line.startswith(f"{tmp_path}/{name}.mp4: is no video that FFmpeg can decode")
    monkeypatch.setitem(sys.modules, "av", None)
    done = predict(clip)
    assert done.bad == (
        f"{clip}: is a video, which PyAV reads; install it: pip install 'semisup[video]'",
    )


def test_fewer_frames_than_are_stated_are_told(
    predict: Make, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = VideoReader.frames

    def fewer(self: VideoReader) -> Iterator[Any]:
        yield from list(frames(self))[:4]

    monkeypatch.setattr(VideoReader, "frames", fewer)
    with pytest.warns(UserWarning, match=rf"clip\.mp4: states {COUNT} frames, of which 4 are"):
        assert predict(clip).written == 4


def test_videos_are_labelled_where_they_are_named(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "a.png")
    found = find_images([tmp_path])
    assert (found.names, found.videos) == (["a"], [])
    assert found.describe_left_out() == "1 other left out: 1 .mp4"
    found = find_images([tmp_path / "clip.mp4", tmp_path / "a.png"])
    assert (found.names, found.videos) == (["a"], ["clip"])
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "clip.png")
    with pytest.raises(DataError, match=r"clip\.png: would be written over the prediction of"):
        find_images([tmp_path / "clip.mp4", tmp_path / "clip.png"])
