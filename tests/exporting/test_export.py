"""A run in a file that needs no semisup."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from support.runs import CPU, make_set, recipe_of
from torch import Tensor, nn

import semisup
from semisup.cli.main import cli
from semisup.errors import RunError
from semisup.evaluation.inference import Inference
from semisup.exporting import export as exporting
from semisup.exporting.check import SIZES, batches, compare
from semisup.exporting.example import example
from semisup.exporting.export import Exported, export_network, export_run
from semisup.exporting.facts import left_out
from semisup.exporting.formats import format_of, read, write
from semisup.exporting.network import TRACED, _rounded, exportable, traced
from semisup.exporting.ties import SecondPlaces
from semisup.metrics.confusion import label_map
from semisup.ops.pixels import GREY, RGB, RGB_FORMAT, ImageFormat, ImageKind
from semisup.runs.paths import Paths
from semisup.runs.reopen import OpenRun, open_run
from semisup.runs.run import run_recipe
from semisup.settings import EvalSettings

pytestmark = pytest.mark.usefixtures("no_confusion_is_drawn")

SIXTEEN_BITS = ImageFormat((0.1, 0.2), (0.3, 0.4), 16)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenRun:
    root = tmp_path_factory.mktemp("own")
    make_set(root / "data")
    paths = Paths(data_root=root / "data", out=root / "runs")
    done = run_recipe(recipe_of(), paths, CPU)
    return open_run(done.folder, CPU)


@pytest.fixture(scope="module")
def as_onnx(opened: OpenRun, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    pytest.importorskip("onnxruntime", reason="extra export")
    return semisup.export(opened, tmp_path_factory.mktemp("onnx") / "own.onnx")


@pytest.fixture(scope="module")
def as_program(opened: OpenRun, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return semisup.export(opened, tmp_path_factory.mktemp("torch") / "own.pt2")


@pytest.fixture
def nothing() -> list[Tensor]:
    return batches([], RGB, None, volumes=False)


class Scores(nn.Module):
    """One convolution, and whatever is asked for after it."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.score(image)
        return scores


class OfOneSize(Scores):
    """The size of the image that it was traced with becomes a constant of the program."""

    def forward(self, image: Tensor) -> Tensor:
        height = int(image.shape[-2])
        return super().forward(image) + torch.linspace(0, 1, height)[:, None]


class Objects(Scores):
    def detect(self, image: Tensor) -> list[Any]:
        raise NotImplementedError


def label_without_semisup(script: Path, image: Path, mask: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.modules['semisup'] = None\n"
        "script = sys.argv.pop(1)\n"
        "runpy.run_path(script, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, script, image, mask],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=mask.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("made", ["as_onnx", pytest.param("as_program", marks=pytest.mark.slow)])
def test_the_script_beside_a_file_labels_a_picture_as_predict_does_without_semisup(
    opened: OpenRun, tmp_path: Path, made: str, request: pytest.FixtureRequest
) -> None:
    done: Exported = request.getfixturevalue(made)
    assert done.pictures == 3
    assert [one.shape for one in done.compared] == [(b, 3, h, w) for b, h, w in SIZES]
    assert done.difference <= 1e-4
    assert {*done.file.parent.iterdir()} == {done.file, done.script}

    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    label_without_semisup(done.script, tmp_path / "photo.png", tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        found, palette = np.array(mask), mask.getpalette()
    expected = semisup.predict(opened, tmp_path / "photo.png")
    assert len(np.unique(expected)) > 1
    assert (found == expected).mean() > 0.999
    assert palette is not None
    assert palette[:9] == [value for colour in opened.palette for value in colour]


def test_a_file_states_what_it_is(opened: OpenRun, as_onnx: Exported) -> None:
    onnx = pytest.importorskip("onnx", reason="extra export")
    done = as_onnx
    model = onnx.load(done.file)
    stated = {entry.key: entry.value for entry in model.metadata_props}
    assert stated["recipe_hash"] == opened.run.recipe_hash
    assert stated["weights_sha256"] == opened.weights
    assert stated["semisup"] == semisup.__version__
    assert json.loads(stated["classes"]) == ["ground", "sky", "tree"]
    assert json.loads(stated["palette"]) == [list(colour) for colour in opened.palette]
    assert json.loads(stated["normalisation"])["mean"] == list(RGB_FORMAT.mean)
    assert (stated["size"], stated["scale"]) == ("any", "1.0")
    assert stated["input"] == "image: uint8 B3HW, 8-bit RGB, 0..255"
    assert [node.name for node in model.graph.input] == ["image"]
    assert [node.name for node in model.graph.output] == ["logits", "labels"]
    # lines of code would name the folders of this machine
    assert str(Path(semisup.__file__).parent).encode() not in done.file.read_bytes()


def test_a_program_of_torch_states_the_same_and_no_folder_of_this_machine(
    as_program: Exported,
) -> None:
    done = as_program
    texts = {"semisup.json": ""}
    with done.file.open("rb") as file:
        torch.export.load(file, extra_files=texts)
    assert json.loads(texts["semisup.json"]) == done.facts
    assert str(Path(semisup.__file__).parent).encode() not in done.file.read_bytes()


def test_a_network_that_is_scored_at_one_scale_is_exported_with_it(
    tmp_path: Path, nothing: list[Tensor]
) -> None:
    network, path = Scores().eval(), tmp_path / "half.pt2"
    export_network(network, RGB_FORMAT, path, "torch", {}, nothing, scale=0.5)
    image = torch.randint(0, 256, (1, 3, 45, 51), dtype=torch.uint8)
    logits, labels = read("torch", path)(image)
    whole, half = (
        Inference(network, EvalSettings(scales=(scale,)), CPU)(image) for scale in (1.0, 0.5)
    )
    torch.testing.assert_close(logits, half, rtol=0, atol=1e-5)
    assert torch.equal(labels, label_map(half))
    assert not torch.allclose(logits, whole, atol=1e-3)


def test_what_of_a_protocol_is_not_in_the_file_is_told() -> None:
    plain = EvalSettings().model_dump(mode="json")
    assert left_out(plain) == []
    assert left_out({**plain, "scales": [0.5]}) == []
    many = {"scales": [0.5, 1.0], "flip": True, "mode": "slide", "crf": True, "samples": 4}
    assert left_out({**plain, **many}) == [
        "sliding windows of 321 x 321",
        "scales 0.5, 1",
        "the mirrored view",
        "the mean of 4 passes with dropout",
        "the dense CRF",
    ]


def test_the_command_says_what_was_written_and_how_it_was_checked(
    opened: OpenRun, as_program: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "export_network", lambda *_, **__: as_program.compared)
    path = tmp_path / "own.pt2"
    given = ["export", str(opened.folder), "--to", str(path), "--size", "40x48", "--overwrite"]
    path.write_text("an older one")
    done = CliRunner().invoke(cli, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Size:    40 x 48, in batches of any number" in done.output
    assert "Checked against the run, on 3 images of the run's data:" in done.output
    assert "3 x 3 x 97 x 131: logits differ by " in done.output
    lines = [line for line in done.output.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    again = CliRunner().invoke(cli, given[:-1])
    assert again.exit_code == 1
    assert "own.pt2: is there already. Give --overwrite, or another --to." in again.output
    wrong = CliRunner().invoke(cli, [*given[:-2], "40,48"])
    assert wrong.exit_code == 2
    assert "give height x width, such as 512x768" in wrong.output


def test_from_python_a_file_that_is_there_names_the_parameter(
    opened: OpenRun, tmp_path: Path
) -> None:
    (tmp_path / "own.pt2").touch()
    with pytest.raises(RunError, match=r"is there already\. Give overwrite=True, or another 'to'"):
        semisup.export(opened, tmp_path / "own.pt2")


def test_a_file_that_fails_its_check_is_not_left_behind(
    tmp_path: Path, nothing: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(kind: str, path: Path) -> Any:
        program = read(kind, path)

        def run(image: Tensor) -> tuple[Tensor, Tensor]:
            logits, labels = program(image)
            return logits * 1.001, labels

        return run

    monkeypatch.setattr(exporting, "read", worse)
    (tmp_path / "net.pt2").write_text("an older one")
    with pytest.raises(RunError, match=r"at images of 1 x 3 x 64 x 96 its logits differ by 1\.0e-"):
        export_network(Scores().eval(), RGB_FORMAT, tmp_path / "net.pt2", "torch", {}, nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]
    assert (tmp_path / "net.pt2").read_text() == "an older one"


def test_another_normalisation_than_the_runs_is_found(
    tmp_path: Path, nothing: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ImageFormat((0.5, 0.456, 0.406), (0.229, 0.224, 0.225), 8)
    monkeypatch.setattr(
        exporting, "exportable", lambda network, images, **o: exportable(network, other, **o)
    )
    with pytest.raises(RunError, match="not what the run computes"):
        export_network(Scores().eval(), RGB_FORMAT, tmp_path / "net.pt2", "torch", {}, nothing)
    assert not [*tmp_path.iterdir()]


def test_a_network_of_one_size_is_refused_for_all_and_exported_for_one(
    tmp_path: Path, nothing: list[Tensor]
) -> None:
    network, path = OfOneSize().eval(), tmp_path / "net.pt2"
    with pytest.raises(RunError, match=r"OfOneSize cannot be exported for images of any size \(.*"):
        export_network(network, RGB_FORMAT, path, "torch", {}, nothing)
    assert not [*tmp_path.iterdir()]
    images = batches([], RGB, (24, 40), volumes=False)
    done = export_network(network, RGB_FORMAT, path, "torch", {}, images, size=(24, 40))
    assert [one.shape for one in done] == [(count, 3, 24, 40) for count, *_ in SIZES]


def test_images_of_16_bits_and_two_channels(tmp_path: Path) -> None:
    images = batches([], SIXTEEN_BITS.kind, None, volumes=False)
    assert images[0].dtype == torch.uint16
    path = tmp_path / "net.pt2"
    done = export_network(Scores(2).eval(), SIXTEEN_BITS, path, "torch", {}, images)
    assert max(one.difference for one in done) < 1e-5


def test_a_network_that_finds_objects_is_refused_in_one_line() -> None:
    with pytest.raises(RunError, match=r"^Objects cannot be exported: how many objects it merges"):
        exportable(Objects(), RGB_FORMAT, volumes=False)


def test_no_size_that_is_compared_is_the_traced_one() -> None:
    count, height, width = TRACED
    assert len(SIZES) == 3
    for own in SIZES:
        assert own[1] not in (height, width)
        assert own[2] not in (height, width)
    assert {own[0] for own in SIZES} > {count}


def test_pictures_of_the_data_are_cut_and_mirrored_to_each_size() -> None:
    picture = torch.arange(3 * 70 * 80).remainder(251).to(torch.uint8).view(3, 70, 80)
    first, second, third = batches([picture], RGB, None, volumes=False)
    assert torch.equal(first[0, :, :64, :80], picture[:, :64])
    assert torch.equal(second[0, :, :70, :80], picture)
    assert torch.equal(second[0, :, 70, :80], picture[:, 68])
    assert [tuple(batch.shape) for batch in (first, second, third)] == [
        (1, 3, 64, 96),
        (3, 3, 97, 131),
        (2, 3, 160, 128),
    ]


def test_volumes_are_made_of_slices() -> None:
    shapes = [tuple(batch.shape) for batch in batches([], GREY, None, volumes=True)]
    assert shapes == [(1, 1, 1, 64, 96), (3, 1, 11, 97, 131), (2, 1, 8, 160, 128)]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda logits, labels: (logits[..., 1:], labels), "it gives logits"),
        (lambda logits, labels: (logits, labels + 1), "its logits differ by 0.0e"),
        (lambda logits, labels: (logits * torch.nan, labels), "its logits differ by nan"),
    ],
)
def test_what_is_not_the_runs_is_refused(change: Any, line: str) -> None:
    network = Scores().eval()

    def exported(batch: Tensor) -> Any:
        logits = network(batch)
        return change(logits, logits.argmax(1).to(torch.uint8))

    with pytest.raises(RunError, match=line), torch.no_grad():
        compare(exported, lambda batch: network(batch), [torch.rand(1, 3, 9, 7)])


class Unpools(nn.Module):
    """A random value for each 2 x 2 window, put where the window's maximum is."""

    def forward(self, image: Tensor) -> Tensor:
        maps, places = F.max_pool2d(image, 2, return_indices=True)
        values = torch.linspace(1, 2, maps.shape[-1]).expand_as(maps)
        return F.max_unpool2d(values, places, 2)


def image_with_a_near_tie() -> Tensor:
    image = torch.rand(1, 3, 8, 8)
    image[0, 0, 0, :2] = torch.tensor([2.0, 2.0 - 5e-7])
    return image


def test_a_place_that_rounding_decides_is_no_difference_of_a_file() -> None:
    network, image = Unpools(), image_with_a_near_tie()
    assert image[0, 0, 0, 0] > image[0, 0, 0, 1], "equal but for rounding"
    rounded = image.clone()
    rounded[0, 0, 0, 1] = 2.0 + 5e-7

    def exported(batch: Tensor) -> tuple[Tensor, Tensor]:
        logits = network(rounded)
        return logits, logits.argmax(1).to(torch.uint8)

    (done,) = compare(exported, network, [image])
    assert done.undecided == pytest.approx(2 / 64), "the window's first row"
    assert done.difference == 0
    exact = image.clone()
    exact[0, 0, 0, 1] = 2.0
    expected = network(exact)
    with SecondPlaces():
        assert torch.equal(network(exact), expected), "the first of equal ones"


@pytest.mark.parametrize("wrong", ["elsewhere", "by more than the place explains"])
def test_a_near_tie_excuses_no_other_difference(wrong: str) -> None:
    network, image = Unpools(), image_with_a_near_tie()

    def exported(batch: Tensor) -> tuple[Tensor, Tensor]:
        logits = network(batch)
        if wrong == "elsewhere":
            logits[0, 0, 7, 7] += 0.01
        else:
            logits[0, 0, 0, 0] += 3
        return logits, logits.argmax(1).to(torch.uint8)

    with pytest.raises(RunError, match="its logits differ by"):
        compare(exported, network, [image])


def test_a_file_that_stops_is_refused_with_the_reason() -> None:
    def exported(batch: Tensor) -> Any:
        raise RuntimeError("Axis 2 has mismatched dimensions\nand more")

    with pytest.raises(RunError, match=r"it stops \(Axis 2 has mismatched dimensions\)\. It was"):
        compare(exported, lambda batch: batch, [torch.rand(1, 3, 9, 7)])


@pytest.mark.parametrize(
    ("path", "stated", "line"),
    [
        (None, "onx", "format 'onx' is none of onnx, torch. Did you mean 'onnx'"),
        (Path("a.onnx"), "torch", r"a.onnx: the name of the file must end in \.pt2\."),
        (Path("a.pt"), None, r"a.pt: the name of the file must end in \.onnx or \.pt2\."),
    ],
)
def test_a_name_that_contradicts_the_format_is_refused(
    path: Path | None, stated: str | None, line: str
) -> None:
    with pytest.raises(RunError, match=line):
        format_of(path, stated)


def test_the_format_is_that_of_the_name_else_onnx() -> None:
    assert format_of(None, None) == "onnx"
    assert format_of(Path("a.pt2"), None) == "torch"
    assert format_of(Path("a.onnx"), "onnx") == "onnx"


def test_without_the_extra_one_line_names_it(
    opened: OpenRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("semisup.exporting.formats.importlib.import_module", lacking)
    with pytest.raises(RunError, match=r"needs onnx\. Install it with pip install 'semisup\[exp"):
        export_run(opened, tmp_path / "own.onnx")


def test_sides_are_scaled_as_predict_scales_them() -> None:
    for scale in (0.25, 0.5, 0.6, 0.75, 1.25, 1.5, 1.75, 2.0):
        assert all(_rounded(side, scale) == round(side * scale) for side in range(1, 2000)), scale


@pytest.mark.parametrize("kind", ["onnx", "torch"])
@pytest.mark.parametrize("size", [None, (24, 40)])
@pytest.mark.parametrize("images", [RGB, GREY, ImageKind(5, 16)])
def test_every_script_is_python(kind: str, size: tuple[int, int] | None, images: ImageKind) -> None:
    for volumes, apply_exif in ((False, True), (False, False), (True, True)):
        text = example(kind, "a.b", "a.py", images, size, volumes=volumes, apply_exif=apply_exif)
        compile(text, "a.py", "exec")
        assert ("ImageOps" in text) == (not volumes and apply_exif and images in (RGB, GREY))
        assert text.count("ImageOps") in (0, 2)


class VolumeScores(nn.Module):
    """One convolution over volumes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Conv3d(channels, 4, 3, padding=1)

    def forward(self, volume: Tensor) -> Tensor:
        scores: Tensor = self.score(volume)
        return scores


COLOURS = [[0, 0, 0], [200, 30, 30], [20, 180, 60], [10, 60, 220]]


def run_script(
    network: nn.Module,
    images: ImageFormat,
    kind: str,
    pixels: np.ndarray,
    places: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> np.ndarray:
    """Export a network, run the script beside it, and return the labels that it is to write.

    What a file is compared with when it is written is tested above.
    """
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="extra export")
    path = places[0].with_name({"onnx": "net.onnx", "torch": "net.pt2"}[kind])
    volumes = pixels.ndim == 4
    whole = exportable(network.eval(), images, volumes=volumes)
    with path.open("w+b") as file:
        write(kind, traced(whole, images, None), {"palette": COLOURS}, file)
    script = path.with_suffix(".py")
    text = example(kind, path.name, script.name, images.kind, None, volumes=volumes)
    assert "semisup" not in text.replace("semisup.json", "")
    script.write_text(text)
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, places)])
    runpy.run_path(str(script), run_name="__main__")
    with torch.no_grad():
        labels: np.ndarray = whole(torch.from_numpy(pixels.copy())[None])[1][0].numpy()
    return labels


def labels_of(path: Path) -> np.ndarray:
    """A mask that the script wrote, in the colours of the file's palette."""
    with Image.open(path) as mask:
        assert mask.mode == "P"
        palette = mask.getpalette()
        assert palette is not None
        assert palette[:12] == [value for colour in COLOURS for value in colour]
        return np.array(mask)


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_the_script_labels_images_of_16_bits(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, (2, 21, 34)).astype(np.uint16)
    places = (tmp_path / "image.npy", tmp_path / "mask.png")
    np.save(places[0], pixels)
    expected = run_script(Scores(2), SIXTEEN_BITS, kind, pixels, places, monkeypatch)
    found = labels_of(places[1])
    assert len(np.unique(found)) > 1
    assert (found == expected).mean() > 0.99


@pytest.mark.parametrize(("kind", "channels"), [("onnx", 3), ("torch", 1)])
def test_the_script_labels_a_stack_of_slices_in_their_order(
    kind: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageFormat((0.5,) * channels, (0.25,) * channels, 8)
    shape = (11, 19, 26) if channels == 1 else (11, 19, 26, channels)
    slices = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    places = (tmp_path / "slices", tmp_path / "masks")
    for place in places:
        place.mkdir()
    for number, plane in enumerate(slices):  # slice 10 lies before slice 2 by its letters
        Image.fromarray(plane).save(places[0] / f"slice{number}.png")
    volume = slices[None] if channels == 1 else np.moveaxis(slices, -1, 0)
    network = VolumeScores(channels)
    expected = run_script(network, images, kind, volume, places, monkeypatch)
    found = np.stack([labels_of(places[1] / f"slice{number}.png") for number in range(11)])
    assert len(np.unique(found)) > 1
    assert (found == expected).mean() > 0.99
