from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from matplotlib._pylab_helpers import Gcf
from PIL import Image
from torch import Tensor

from semisup.data.formats.class_colours import SAFE_COLOURS
from semisup.errors import RunError
from semisup.pictures import drawing
from semisup.pictures.drawing import VOID_COLOUR, heat, overlay
from semisup.pictures.figures import confusion_figure
from semisup.pictures.legends import LEAST_WIDTH, LINE, present, with_legend
from semisup.pictures.panels import sample_panel, training_panel
from semisup.pictures.sheets import contact_sheet
from semisup.types import IGNORE

PALETTE = [(0, 0, 0), (128, 0, 0), (10, 200, 30)]
NAMES = ("background", "cat", "dog")
LEGEND = list(zip(NAMES, PALETTE, strict=True))


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def test_heat_goes_from_dark_to_light() -> None:
    colours = heat(torch.linspace(0, 1, 11).view(1, 11)).float()
    assert colours.shape == (1, 11, 3)
    brightness = (colours * torch.tensor([0.30, 0.59, 0.11])).sum(-1)[0]
    assert (brightness.diff() > 0).all()


def framed(side: int, label: int, at: slice) -> Tensor:
    """Labels (uint8) of zeros with a square of one label."""
    labels = torch.zeros(side, side, dtype=torch.uint8)
    labels[at, at] = label
    return labels


def test_an_object_is_filled_to_a_half_within_an_outline_of_its_colour() -> None:
    image = torch.full((3, 20, 20), 100, dtype=torch.uint8)
    drawn = overlay(image, framed(20, 2, slice(5, 15)), PALETTE, background=(0,))
    assert drawn[10, 10].tolist() == [55, 150, 65]
    assert drawn[5, 5].tolist() == drawn[14, 9].tolist() == list(PALETTE[2])
    assert drawn[6, 6].tolist() == [55, 150, 65]


@pytest.mark.parametrize("side", [20, 700])
def test_a_background_is_the_picture_to_the_pixel(side: int) -> None:
    image, labels = picture(side, side), framed(side, 1, slice(side // 4, side // 2))
    drawn = overlay(image, labels, PALETTE, background=(0,))
    shown = image.permute(1, 2, 0)
    assert torch.equal(drawn[labels == 0], shown[labels == 0])
    assert not torch.equal(drawn[labels == 1], shown[labels == 1])


def test_a_class_that_is_no_background_is_drawn_wherever_it_is() -> None:
    image = torch.full((3, 9, 9), 100, dtype=torch.uint8)
    drawn = overlay(image, torch.zeros(9, 9, dtype=torch.uint8), PALETTE)
    assert drawn[4, 4].tolist() == [50, 50, 50]


@pytest.mark.parametrize("shade", [0, 255])
def test_an_outline_is_seen_on_dark_and_on_light_pictures(shade: int) -> None:
    """Of its line and its edge, one is far from the picture around, whatever that is."""
    image = torch.full((3, 400, 400), shade, dtype=torch.uint8)
    for label, colour in enumerate(SAFE_COLOURS):
        palette = [(0, 0, 0)] * (label + 1) + [colour]
        drawn = overlay(image, framed(400, label + 1, slice(100, 200)), palette, background=(0,))
        rim = torch.cat([drawn[150, 100:103], drawn[150, 197:200]]).float()
        light = (rim * torch.tensor([0.299, 0.587, 0.114])).sum(1)
        assert (light - shade).abs().max() > 100, colour
        assert list(colour) in rim.tolist()


def test_large_pictures_are_drawn_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(90, 500)
    labels = torch.randint(0, 4, (9, 50), dtype=torch.uint8).repeat_interleave(10, 0)
    labels = labels.repeat_interleave(10, 1)
    labels[labels == 3] = IGNORE
    whole = overlay(image, labels, PALETTE, background=(0,))
    monkeypatch.setattr(drawing, "_ROWS", 7)
    assert torch.equal(overlay(image, labels, PALETTE, background=(0,)), whole)


def drawn_in_floats(
    image: Tensor, labels: Tensor, palette: list[Any], background: list[int], alpha: float
) -> Tensor:
    """What `overlay` is to draw, mixed in floats and outlined by torch's pooling: uint8 HW3."""
    line = max(1, round(max(labels.shape) / 300))
    edge = line // 2 if line > 1 else int(max(labels.shape) >= 200)

    def largest(values: Tensor, reach: int) -> Tensor:
        return F.max_pool2d(values[None].float(), 2 * reach + 1, 1, reach)[0]

    light = [299 * r + 587 * g + 114 * b >= 128_000 for r, g, b in palette]
    tables = [torch.zeros(256, 3, dtype=torch.uint8) for _ in range(2)]
    tables[0][: len(palette)] = torch.tensor(palette, dtype=torch.uint8)
    tables[1][: len(palette)] = torch.tensor([[0 if one else 255] * 3 for one in light])
    colours, edges = (table[labels.long()] for table in tables)
    below = image.permute(1, 2, 0)
    drawn = torch.lerp(below.float(), colours.float(), alpha).round().to(torch.uint8)
    reach = line + edge
    values = labels.float()
    rim = largest(values, reach) != -largest(-values, reach)
    drawn = torch.where(rim[..., None], colours, drawn)
    kept = torch.isin(labels, torch.tensor([*background, IGNORE], dtype=torch.uint8))
    if edge:
        rim = largest(kept, edge) > 0
        drawn = torch.where(rim[..., None], edges, drawn)
    drawn = torch.where(kept[..., None], below, drawn)
    hatched = drawing.hatched_like_void(drawn, line)
    return torch.where((labels == IGNORE)[..., None], hatched, drawn)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize(
    ("size", "block"), [((9, 7), 1), ((30, 90), 5), ((250, 60), 20), ((130, 700), 45)]
)
def test_an_overlay_is_equal_to_one_drawn_in_floats(
    size: tuple[int, int], block: int, alpha: float
) -> None:
    image = picture(*size)
    generator = torch.Generator().manual_seed(block)
    small = [side // block + 1 for side in size]
    labels = torch.randint(0, 5, small, dtype=torch.uint8, generator=generator)
    labels[labels == 4] = IGNORE
    labels = labels.repeat_interleave(block, 0).repeat_interleave(block, 1)[: size[0], : size[1]]
    for background in ([], [0], [0, 2]):  # label 3 has no colour
        drawn = overlay(image, labels, PALETTE, background=background, alpha=alpha)
        assert torch.equal(drawn, drawn_in_floats(image, labels, PALETTE, background, alpha))


def test_void_is_hatched_unless_it_is_left_alone() -> None:
    image = torch.full((3, 40, 40), 100, dtype=torch.uint8)
    labels = torch.full((40, 40), IGNORE, dtype=torch.uint8)
    drawn = overlay(image, labels, PALETTE)
    colours = {tuple(pixel) for row in drawn.tolist() for pixel in row}
    assert {VOID_COLOUR, (100, 100, 100)} < colours
    assert (drawn == 100).all(2).float().mean() > 0.5
    assert (overlay(image, labels, PALETTE, hatched=False) == 100).all()


def test_a_legend_names_what_is_in_the_picture_in_its_colours() -> None:
    labels = torch.tensor([[0, 2]], dtype=torch.uint8)
    found = present(labels, NAMES, PALETTE)
    assert found == [LEGEND[0], LEGEND[2]]
    whole = with_legend(torch.zeros(50, 400, 3, dtype=torch.uint8), found, void=True)
    assert (whole[:50] == 0).all()
    below = Image.fromarray(whole[50:].numpy())
    assert colours_of(below)[PALETTE[2]] > 100
    assert VOID_COLOUR in colours_of(below)
    assert PALETTE[1] not in colours_of(below)


def test_a_legend_fits_below_tiny_and_huge_pictures() -> None:
    names = [(f"quite a long name {n}", (n, 255 - n, 7)) for n in range(30)]
    for width, height in ((3, 2), (5000, 40)):
        whole = with_legend(torch.zeros(height, width, 3, dtype=torch.uint8), names)
        assert whole.shape[1] == max(width, LEAST_WIDTH)
        assert {colour for _, colour in names} <= colours_of(Image.fromarray(whole.numpy())).keys()


def test_training_panel_puts_maps_beside_their_image() -> None:
    images = torch.stack([picture(60, 160, seed) for seed in range(3)])
    truth, prediction = torch.randint(0, 3, (2, 3, 60, 160), dtype=torch.uint8)
    confidence = torch.rand(3, 1, 30, 80)
    panel = training_panel(
        images, {"ground truth": truth, "prediction": prediction}, NAMES, PALETTE,
        extra={"confidence": confidence}, ends={"confidence": ("unsure", "sure")}, max_rows=2,
    )  # fmt: skip
    assert panel.dtype == torch.uint8
    assert panel.shape[2] == 4 * 160 + 3 * 4
    titles, body, legend = panel[:, :LINE], panel[:, LINE : LINE + 124], panel[:, LINE + 124 :]
    assert torch.equal(body[:, :60, :160], images[0])
    assert torch.equal(body[:, 64:, :160], images[1])
    assert (body[:, 60:64] == 255).all()
    assert (body[:, :, 160:164] == 255).all()
    for column, maps in ((1, truth), (2, prediction)):
        at = slice(column * 164, column * 164 + 160)
        drawn = overlay(images[1], maps[1], PALETTE, background=(0,))
        assert torch.equal(body[:, 64:, at], drawn.permute(2, 0, 1))
        assert titles[:, :, at].min() < 100  # ink
    upscaled = confidence[0, 0].repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(body[:, :60, 492:], heat(upscaled).permute(2, 0, 1))
    colours = colours_of(Image.fromarray(legend.permute(1, 2, 0).numpy()))
    assert {PALETTE[1], PALETTE[2], (253, 231, 36)} <= colours.keys()  # the last is the bar's end


def test_training_panel_enlarges_small_images_of_their_own() -> None:
    images = torch.stack([picture(6, 8)])
    panel = training_panel(images, {}, NAMES, PALETTE)
    enlarged = images[0].repeat_interleave(20, 1).repeat_interleave(20, 2)
    assert torch.equal(panel[:, LINE:], enlarged)


def test_sample_panel_is_a_grid_in_order() -> None:
    images = torch.stack([picture(5, 7, seed) for seed in range(8)])
    panel = sample_panel(images)
    assert panel.dtype == torch.uint8
    assert panel.shape == (3, 2 * 5 + 4, 4 * 7 + 3 * 4)
    assert torch.equal(panel[:, :5, :7], images[0])
    assert torch.equal(panel[:, :5, 33:], images[3])
    assert torch.equal(panel[:, 9:, 11:18], images[5])
    assert (panel[:, 5:9] == 255).all()
    assert (panel[:, :, 18:22] == 255).all()


def sheet(path: Path, rows: int, *, width: int = 60) -> Image.Image:
    panel = torch.zeros(30, 40, 3, dtype=torch.uint8)
    panel[:, :] = torch.tensor([200, 10, 10], dtype=torch.uint8)
    other = torch.zeros(30, 40, 3, dtype=torch.uint8)
    other[:, :] = torch.tensor([10, 10, 200], dtype=torch.uint8)
    contact_sheet(
        path,
        [[panel, other]] * rows,
        columns=["image", "ground truth"],
        captions=[f"image {i}" for i in range(rows)],
        legend=LEGEND,
        width=width,
    )
    return load(path)


def load(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def colours_of(image: Image.Image) -> dict[tuple[int, ...], int]:
    found = image.getcolors(maxcolors=1 << 20)
    assert found is not None
    return {colour: count for count, colour in found if isinstance(colour, tuple)}


def test_sheet_holds_every_panel_title_caption_and_swatch(tmp_path: Path) -> None:
    image = sheet(tmp_path / "sheet.png", rows=3)
    colours = colours_of(image)
    assert colours[(200, 10, 10)] == colours[(10, 10, 200)] == 3 * 60 * 45
    for _, swatch in LEGEND[1:]:
        assert colours[swatch] > 100, swatch
    # The first panel lies below a title and a caption, at the left margin.
    red = [(x, y) for y in range(90) for x in range(40) if image.getpixel((x, y)) == (200, 10, 10)]
    left, top = min(red)
    assert left == 16
    for line in ((16, top - 20), (16, top - 46)):
        ink = image.crop((*line, 80, line[1] + 20))
        assert min(ink.convert("L").get_flattened_data()) < 150, line


def test_sheet_grows_with_its_rows_and_keeps_the_shape_of_its_pictures(tmp_path: Path) -> None:
    one, four = (sheet(tmp_path / f"{n}.png", rows=n) for n in (1, 4))
    assert one.width == four.width == 2 * 60 + 6 + 2 * 16
    assert four.height - one.height == 3 * (45 + 20 + 6 + 6)


def test_sheet_averages_large_pictures_and_keeps_the_pixels_of_small_ones(tmp_path: Path) -> None:
    stripes = torch.tensor([20, 220], dtype=torch.uint8).repeat(20).view(1, 40, 1).expand(40, 40, 3)
    for width, expected in ((100, {20, 220}), (20, {120})):
        path = tmp_path / f"{width}.png"
        contact_sheet(path, [[stripes]], columns=[""], captions=[""], legend=[], width=width)
        panel = load(path).crop((16, 16 + 46, 16 + width, 16 + 46 + width))
        assert {colour[0] for colour in colours_of(panel)} == expected


def test_sheet_with_many_long_names_stays_in_its_width(tmp_path: Path) -> None:
    panel = torch.zeros(20, 20, 3, dtype=torch.uint8)
    contact_sheet(
        tmp_path / "sheet.png",
        [[panel]],
        columns=["a title that is far too long for its column " * 3],
        captions=["a caption that is too long " * 9],
        legend=[(f"class with quite a long name {i}", (i, 255 - i, 7)) for i in range(150)],
        width=100,
    )
    image = load(tmp_path / "sheet.png")
    assert image.width == 100 + 2 * 16
    assert {(i, 255 - i, 7) for i in range(150)} <= colours_of(image).keys()
    margin = image.crop((image.width - 12, 0, image.width, image.height))
    assert colours_of(margin) == {(255, 255, 255): 12 * image.height}


def test_sheet_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    sheet(tmp_path / "sheet.png", rows=1)
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]
    with pytest.raises(RunError, match="missing"):
        sheet(tmp_path / "missing" / "sheet.png", rows=1)


@pytest.mark.parametrize("num_classes", [1, 2, 12, 13, 150])
def test_confusion_figure_names_classes_and_annotates_few(num_classes: int) -> None:
    confusion = torch.eye(num_classes, dtype=torch.int64) * 3
    confusion[0, -1] += 1
    classes = [f"class {i}" for i in range(num_classes)]
    figure = confusion_figure(confusion, classes)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == classes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == classes
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == (num_classes**2 if num_classes <= 12 else 0)
    if num_classes == 2:
        assert texts == ["75", "25", "0", "100"]


def test_confusion_figure_has_rows_of_100_per_cent_and_blanks_absent_classes() -> None:
    confusion = torch.tensor([[6, 2, 0], [0, 0, 0], [1, 1, 8]])
    figure = confusion_figure(confusion, ["a", "b", "c"])
    (image,) = figure.axes[0].images
    values = image.get_array()
    assert values is not None
    assert values.filled(-1).tolist() == [[75, 25, 0], [-1, -1, -1], [10, 10, 80]]
    assert len(figure.axes[0].texts) == 6


def test_confusion_figure_renders_without_warnings(tmp_path: Path) -> None:
    confusion_figure(torch.eye(2), ["background", "cat"]).savefig(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as drawn:
        assert min(drawn.size) > 300
        assert min(drawn.convert("L").get_flattened_data()) < 60


def test_figures_are_not_kept_by_pyplot() -> None:
    before = Gcf.get_num_fig_managers()
    confusion_figure(torch.eye(2), ["background", "cat"])
    assert Gcf.get_num_fig_managers() == before
