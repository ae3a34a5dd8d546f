from __future__ import annotations

import errno
import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from semisup.errors import RunError
from semisup.monitoring.tracker import Tracker
from semisup.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    directory = RunFolder(tmp_path / "run")
    directory.make()
    return directory


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(run: RunFolder) -> EventAccumulator:
    found = EventAccumulator(str(run.path), size_guidance={"scalars": 0, "images": 0})
    return found.Reload()


def test_a_line_for_each_record_with_the_clock_apart(run: RunFolder) -> None:
    tracker = Tracker(run.path)
    tracker.scalars(10, {"loss": 0.1 + 0.2, "lr": 1e-30})
    tracker.speed(10, {"images_per_second": 12.5})
    # Flushed at once: whoever looks now sees it.
    assert run.scalars.read_text() == '{"step": 10, "loss": 0.30000000000000004, "lr": 1e-30}\n'
    assert run.speed.read_text() == '{"step": 10, "images_per_second": 12.5}\n'
    tracker.close()


def test_a_resumed_run_takes_back_what_it_will_write_again(run: RunFolder) -> None:
    first = Tracker(run.path)
    for step in range(1, 6):
        first.scalars(step, {"loss": float(step)})
        first.speed(step, {"images_per_second": float(step)})
    first.close()
    second = Tracker(run.path, step=3)
    assert [line["step"] for line in lines(run.scalars)] == [1, 2, 3]
    assert [line["step"] for line in lines(run.speed)] == [1, 2, 3]
    second.scalars(4, {"loss": 40.0})
    second.close()
    assert [line["loss"] for line in lines(run.scalars)] == [1.0, 2.0, 3.0, 40.0]


def test_a_run_that_begins_anew_begins_an_empty_log(run: RunFolder) -> None:
    first = Tracker(run.path)
    first.scalars(1, {"loss": 1.0})
    first.close()
    Tracker(run.path).close()
    assert run.scalars.read_text() == ""


def test_warnings_have_a_file_once_there_are_some(run: RunFolder) -> None:
    file = run.path / "warnings.jsonl"
    tracker = Tracker(run.path)
    tracker.scalars(50, {"loss": 1.0})
    tracker.flush()
    assert not file.exists()
    tracker.warning(50, "it goes wrong (d_fake 0.01)")
    tracker.flush()
    # Flushed at once: whoever looks now sees it.
    assert file.read_text() == '{"step": 50, "warning": "it goes wrong (d_fake 0.01)"}\n'
    tracker.warning(50, "another thing")
    tracker.warning(90, "it goes on")
    tracker.close()
    assert [line["step"] for line in lines(file)] == [50, 50, 90]
    assert lines(run.scalars) == [{"step": 50, "loss": 1.0}]


def test_a_resumed_run_takes_back_the_warnings_that_it_will_give_again(run: RunFolder) -> None:
    file = run.path / "warnings.jsonl"
    first = Tracker(run.path)
    for step in (50, 100, 150):
        first.warning(step, f"warning of {step}")
    first.close()
    second = Tracker(run.path, step=100)
    assert [line["step"] for line in lines(file)] == [50, 100]
    second.warning(140, "other")
    second.close()
    Tracker(run.path, step=140).close()
    assert [line["step"] for line in lines(file)] == [50, 100, 140]
    Tracker(run.path, step=20).close()
    assert not file.exists()


def test_warnings_that_a_kill_cut_off_or_another_program_wrote(run: RunFolder) -> None:
    file = run.path / "warnings.jsonl"
    file.write_text('{"step": 1, "warning": "one"}\n{"step": 2, "warn')
    Tracker(run.path, 9).close()
    assert lines(file) == [{"step": 1, "warning": "one"}]
    file.write_text("a warning\n")
    with pytest.raises(RunError, match=r"warnings\.jsonl: holds a line that is no record"):
        Tracker(run.path, 9)


def test_a_line_that_a_kill_cut_off_is_dropped(run: RunFolder) -> None:
    run.scalars.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "lo')
    tracker = Tracker(run.path, step=9)
    tracker.scalars(10, {"loss": 10.0})
    tracker.close()
    assert [line["step"] for line in lines(run.scalars)] == [1, 2, 10]


def test_final_scores_take_the_place_of_earlier_ones(run: RunFolder) -> None:
    first = Tracker(run.path)
    first.scalars(7, {"loss": 0.5})
    first.final(7, {"score/miou": 0.25})
    first.close()
    again = Tracker(run.path, step=7)
    again.final(7, {"score/miou": 0.75})
    again.close()
    assert lines(run.scalars) == [
        {"step": 7, "loss": 0.5},
        {"step": 7, "final": True, "score/miou": 0.75},
    ]


def test_tensorboard_reads_scalars_pictures_and_hyperparameters(run: RunFolder) -> None:
    tracker = Tracker(run.path)
    tracker.scalars(5, {"loss": 0.5})
    tracker.scalars(6, {"loss": 0.25})
    tracker.speed(6, {"images_per_second": 8.0})
    tracker.final(6, {"score/miou": 0.75})
    tracker.picture("panel", torch.zeros(3, 6, 8, dtype=torch.uint8), 6)
    figure = Figure(figsize=(1, 2), dpi=50)
    figure.subplots().plot([1, 2])
    tracker.figure("confusion", figure, 6)
    tracker.hyperparameters(
        {"seed": 1, "data.crop": [8, 8], "eval.flip": True}, {"score/miou": 0.75}
    )
    tracker.warning(6, "it goes wrong")
    tracker.close()
    found = events(run)
    assert [(e.step, e.value) for e in found.Scalars("loss/loss")] == [(5, 0.5), (6, 0.25)]
    [text] = found.Tensors("warnings/text_summary")
    assert (text.step, text.tensor_proto.string_val[0]) == (6, b"it goes wrong")
    assert found.summary_metadata["warnings/text_summary"].plugin_data.plugin_name == "text"
    assert set(found.Tags()["scalars"]) == {"loss/loss", "speed/images_per_second", "score/miou"}
    # The HParams tab shows a metric only where a scalar of its name was written.
    assert [(e.step, e.value) for e in found.Scalars("score/miou")] == [(6, 0.75)]
    announced = found.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert b"score/miou" in announced
    assert set(found.Tags()["images"]) == {"pictures/panel", "pictures/confusion"}
    panel, confusion = found.Images("pictures/panel")[0], found.Images("pictures/confusion")[0]
    assert (panel.step, panel.height, panel.width) == (6, 6, 8)
    assert (confusion.height, confusion.width) == (100, 50)
    content = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    for text in (b"seed", b"data.crop", b"[8, 8]", b"eval.flip"):
        assert text in content


def test_tensorboard_shows_a_resumed_step_once(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Event files are read in the order of their names, which begin with the second.
    now = time.time()
    for start in (0, 2):
        monkeypatch.setattr(time, "time", lambda start=start: now + start)
        tracker = Tracker(run.path, step=start)
        for step in range(start + 1, 5):
            tracker.scalars(step, {"loss": float(10 * start + step)})
        tracker.close()
    found = events(run)
    assert [(e.step, e.value) for e in found.Scalars("loss/loss")] == [
        (1, 1.0),
        (2, 2.0),
        (3, 23.0),
        (4, 24.0),
    ]


def test_a_figure_is_drawn_as_it_is(run: RunFolder) -> None:
    figure = Figure(figsize=(1, 1), dpi=20, facecolor=(1.0, 0.0, 0.0))
    tracker = Tracker(run.path)
    tracker.figure("red", figure, 1)
    tracker.close()
    encoded = events(run).Images("pictures/red")[0].encoded_image_string
    pixels = np.array(Image.open(io.BytesIO(encoded)))
    assert pixels.shape == (20, 20, 3)
    assert (pixels == (255, 0, 0)).all()


def test_a_log_that_cannot_be_opened(run: RunFolder) -> None:
    run.scalars.mkdir()
    with pytest.raises(RunError, match=r"scalars\.jsonl: cannot be written .*--out"):
        Tracker(run.path)


def test_a_disk_that_fills_up(run: RunFolder) -> None:
    run.scalars.symlink_to("/dev/full")
    tracker = Tracker(run.path)
    full = r"cannot be written \(No space left on device\)\. Free some space"
    with pytest.raises(RunError, match=rf"scalars\.jsonl: {full}"):
        tracker.scalars(1, {"loss": 1.0})
    tracker.close()  # still full: told once is enough, and the first error must not be covered


def test_a_disk_that_fills_up_under_the_event_file(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tracker = Tracker(run.path)
    monkeypatch.setattr(EventFileWriter, "add_event", full)
    picture = torch.zeros(3, 6, 8, dtype=torch.uint8)
    for act in (
        lambda: tracker.scalars(1, {"loss": 1.0}),
        lambda: tracker.warning(1, "it goes wrong"),
        lambda: tracker.picture("panel", picture, 1),
        lambda: tracker.figure("figure", Figure(figsize=(1, 1), dpi=20), 1),
        lambda: tracker.hyperparameters({"seed": 1}, {"score/miou": 0.75}),
    ):
        with pytest.raises(RunError, match=rf"{run.path}: cannot be written \(No space left"):
            act()
    tracker.close()


@pytest.mark.parametrize("line", ["step,loss", "[1]", '{"loss": 1}', "\xff", "[" * 100_000])
def test_a_log_of_another_program_is_refused(line: str, run: RunFolder) -> None:
    run.scalars.write_bytes(f'{{"step": 1}}\n{line}\n'.encode("latin-1"))
    before = run.scalars.read_bytes()
    with pytest.raises(RunError, match=r"scalars\.jsonl: holds a line that is no record"):
        Tracker(run.path, 1)
    assert run.scalars.read_bytes() == before


def test_tensorboards_thread_is_quiet_about_a_full_disk(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda given: told.append(given.exc_type))
    before = threading.excepthook

    def fail(error: Exception) -> None:
        raise error

    tracker = Tracker(run.path)
    for error in (OSError(errno.ENOSPC, "full"), ValueError("a bug")):
        thread = threading.Thread(target=fail, args=[error])
        thread.start()
        thread.join()
    assert told == [ValueError]
    assert capsys.readouterr().err == ""
    tracker.close()
    assert threading.excepthook is before


def test_a_log_that_is_no_utf8_is_refused(run: RunFolder) -> None:
    # json.loads of bytes takes half a surrogate pair, and UTF-16 as well.
    for line in (b'{"step": 1, "a": "\xed\xb2\x80"}\n', '{"step": 1}\n'.encode("utf-16")):
        run.scalars.write_bytes(line + b'{"step": 9}\n')
        with pytest.raises(RunError, match=r"scalars\.jsonl: holds a line that is no record"):
            Tracker(run.path, 1)
