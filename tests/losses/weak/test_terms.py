"""What holds for every term on the images themselves, and how a recipe's term is put together."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.weak import dense_crf as dense
from semisup.losses.weak.dense_crf import dense_crf
from semisup.losses.weak.gated_crf import gated_crf
from semisup.losses.weak.normalised_cut import normalised_cut
from semisup.losses.weak.presence import objectness_loss, presence_loss
from semisup.losses.weak.terms import WEIGHTS, Regulariser, Term
from semisup.losses.weak.tree_energy import tree_energy
from semisup.ops.pixels import RGB_FORMAT, ImageFormat, normalise
from semisup.types import IGNORE

CLASSES = 3


def tree_where_nothing_is_labelled(
    logits: Tensor, image: Tensor, valid: Tensor, **_: Any
) -> Tensor:
    return tree_energy(logits, image, valid, valid)


def presence_and_absence(logits: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    tags = torch.tensor([[True, False, True], [True, True, False]])
    return torch.stack(presence_loss(logits, tags, valid)).sum()


def objectness(logits: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    return objectness_loss(logits, image[:, 0] / 255, valid)


TERMS = {
    "gated_crf": gated_crf,
    "dense_crf": dense_crf,
    "normalised_cut": normalised_cut,
    "tree_energy": tree_where_nothing_is_labelled,
    "presence": presence_and_absence,
    "objectness": objectness,
}
OF_IMAGES = sorted(TERMS.keys() - {"presence", "objectness"})


def given(seed: int = 0, size: tuple[int, int] = (6, 7), spread: float = 20.0) -> tuple[Any, ...]:
    """Logits, an image of few colours and where it is valid, in double precision."""
    drawn = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, CLASSES, *size, generator=drawn, dtype=torch.float64)
    image = 128 + spread * torch.randn(2, 3, *size, generator=drawn, dtype=torch.float64)
    valid = torch.ones(2, *size, dtype=torch.bool)
    valid[0, -2:] = False
    valid[1, :, :1] = False
    return logits.requires_grad_(), image, valid


def follows_differences(term: Any, logits: Tensor, *others: Any) -> None:
    """The gradient along random directions is that of central differences."""
    _, gradient = value_and_gradient(term(logits, *others), logits)
    directions = torch.randn(4, *logits.shape, dtype=torch.float64)
    for direction in directions:
        ahead, behind = (
            term(logits.detach() + step * direction, *others) for step in (1e-5, -1e-5)
        )
        slope = (gradient * direction).sum()
        torch.testing.assert_close((ahead - behind) / 2e-5, slope, rtol=1e-5, atol=1e-8)


def value_and_gradient(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    return loss, torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("name", TERMS)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    follows_differences(TERMS[name], *given())


@pytest.mark.parametrize("name", TERMS)
def test_a_step_against_the_gradient_lowers_it(name: str) -> None:
    logits, image, valid = given()
    loss, gradient = value_and_gradient(TERMS[name](logits, image, valid), logits)
    step = 1e-3 * gradient / gradient.norm()
    lower = TERMS[name](logits - step, image, valid)
    assert lower < loss - 0.5e-3 * gradient.norm()


@pytest.mark.parametrize("name", TERMS)
def test_padding_has_no_influence(name: str) -> None:
    logits, image, valid = given()
    loss, gradient = value_and_gradient(TERMS[name](logits, image, valid), logits)
    assert gradient.movedim(1, -1)[~valid].abs().max() == 0
    assert gradient.movedim(1, -1)[valid].abs().max() > 0
    with torch.no_grad():
        other = torch.where(valid[:, None], logits, 9.0 * logits.flip(1))
    painted = torch.where(valid[:, None], image, 255 - image)
    again = TERMS[name](other.requires_grad_(), painted, valid)
    torch.testing.assert_close(again, loss, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(again, other)[0], gradient, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_without_a_valid_pixel_it_is_0_with_gradients_of_0(name: str, scale: float) -> None:
    logits, image, valid = given()
    strong = (scale * logits.detach()).requires_grad_()
    loss, gradient = value_and_gradient(TERMS[name](strong, image, torch.zeros_like(valid)), strong)
    assert loss == 0
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("name", TERMS)
def test_an_image_of_padding_alone_does_not_count(name: str) -> None:
    logits, image, valid = given()
    valid[0] = False
    alone = torch.cat([logits[1:], logits[1:]]), torch.cat([image[1:], image[1:]])
    twice = torch.cat([valid[1:], valid[1:]])
    if name == "presence":  # whose tags differ from image to image
        tags = torch.tensor([[True, True, False]])
        wanted = torch.stack(presence_loss(logits[1:], tags, valid[1:])).sum()
    else:
        wanted = TERMS[name](*alone, twice)
    torch.testing.assert_close(TERMS[name](logits, image, valid), wanted)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    logits, image, valid = given()
    half = logits.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = TERMS[name](half, image.float(), valid)
    assert loss.dtype == torch.float32
    wanted = TERMS[name](half.detach().double(), image.float().double(), valid)
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-7)
    gradient = torch.autograd.grad(loss, half)[0]
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", TERMS)
def test_no_network_is_so_sure_that_it_overflows(name: str) -> None:
    logits, image, valid = given()
    sure = (1e4 * logits.detach().float()).requires_grad_()
    loss, gradient = value_and_gradient(TERMS[name](sure, image.float(), valid), sure)
    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", OF_IMAGES)
def test_it_is_higher_where_a_border_of_classes_leaves_that_of_colours(name: str) -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 200.0
    valid = torch.ones(1, 8, 8, dtype=torch.bool)

    def split_at(column: int) -> Tensor:
        logits = torch.zeros(1, 2, 8, 8)
        logits[:, 0, :, :column], logits[:, 1, :, column:] = 9.0, 9.0
        return TERMS[name](logits, image, valid)

    assert split_at(4) < 0.01
    assert split_at(3) > 10 * split_at(4)
    assert split_at(6) > 10 * split_at(4)


@pytest.mark.parametrize("name", ["dense_crf", "normalised_cut"])
def test_sums_on_the_lattice_are_near_those_of_all_pairs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On smooth pictures the values to 0.5 %, and the gradients to 12 % of their length."""
    logits, image = (
        F.interpolate(values, (32, 32), mode="bicubic")
        for values in given(size=(6, 6), spread=60.0)[:2]
    )
    logits, valid = logits.detach().requires_grad_(), torch.ones(2, 32, 32, dtype=torch.bool)
    term: Any = partial(TERMS[name], image=image, valid=valid, position_sigma=12.0)
    exact, slope = value_and_gradient(term(logits), logits)
    monkeypatch.setattr(dense, "EXACT_PIXELS", 0)
    near, other = value_and_gradient(term(logits), logits)
    assert 1e-9 < abs(near - exact) / exact < 0.005
    assert (other - slope).norm() < 0.12 * slope.norm()


@pytest.mark.parametrize("name", ["dense_crf", "normalised_cut"])
def test_the_gradient_on_the_lattice_is_that_of_its_own_value(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its matrix is symmetric, so 2 W S is exact for it too."""
    monkeypatch.setattr(dense, "EXACT_PIXELS", 0)
    follows_differences(TERMS[name], *given())


def test_every_term_has_a_weight() -> None:
    assert set(WEIGHTS) == set(get_args(Term))
    assert all(0 < weight < 1 for weight in WEIGHTS.values())


def picture(size: tuple[int, int] = (16, 20)) -> tuple[Tensor, ...]:
    """Logits of the size of an image, the image as uint8, a mask of few labels and its padding."""
    drawn = torch.Generator().manual_seed(3)
    logits = torch.randn(2, CLASSES, *size, generator=drawn)
    image = torch.randint(100, 140, (2, 3, *size), generator=drawn, dtype=torch.uint8)
    mask = torch.full((2, *size), IGNORE)
    mask[:, 1, 3], mask[0, 2, 2] = 1, 2
    valid = torch.ones(2, *size, dtype=torch.bool)
    valid[1, :, -3:] = False
    return logits, image, mask, valid


@pytest.mark.parametrize("kind", get_args(Term))
def test_colours_are_those_of_the_file_however_the_image_was_normalised(kind: Term) -> None:
    logits, image, mask, valid = picture()
    other = ImageFormat((0.1, 0.5, 0.9), (0.3, 0.2, 0.7), 8)
    losses = [
        Regulariser(kind, 1.0, images)(logits, normalise(image, images), mask, valid)
        for images in (RGB_FORMAT, other)
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-6)
    wrong = Regulariser(kind, 1.0, other)(logits, normalise(image), mask, valid)
    assert abs(wrong - losses[0]) > 1e-3 * losses[0]


@pytest.mark.parametrize("kind", get_args(Term))
def test_a_term_is_that_of_averaged_cells(kind: Term) -> None:
    """16 x 20 pixels in whole cells: each repeated, so that means change nothing."""
    side = {"gated_crf": 4, "tree_energy": 4}.get(kind, 2)
    logits, image, mask, valid = picture((4, 5))

    def larger(values: Tensor) -> Tensor:
        return values.repeat_interleave(side, -1).repeat_interleave(side, -2)

    pictures = normalise(larger(image))
    found = Regulariser(kind, 0.5)(larger(logits), pictures, larger(mask), larger(valid))
    colours = image.float()
    if kind == "tree_energy":
        wanted = tree_energy(logits, colours, valid, mask == IGNORE)
    elif kind == "gated_crf":
        wanted = gated_crf(logits, colours, valid)
    else:
        wanted = TERMS[kind](logits, colours, valid, position_sigma=50.0)  # type: ignore[operator]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", get_args(Term))
@pytest.mark.parametrize("size", [(15, 17), (5, 3), (1, 1)])
def test_images_of_any_size_do(kind: Term, size: tuple[int, int]) -> None:
    logits = torch.randn(2, CLASSES, *size).requires_grad_()
    image = torch.rand(2, 3, *size)
    mask, valid = torch.full((2, *size), IGNORE), torch.ones(2, *size, dtype=torch.bool)
    loss = Regulariser(kind, 1.0)(logits, image, mask, valid)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


@pytest.mark.parametrize("kind", get_args(Term))
def test_logits_of_another_size_are_brought_to_that_of_the_image(kind: Term) -> None:
    _, image, mask, valid = picture()
    coarse = torch.randn(2, CLASSES, 4, 5).requires_grad_()
    loss = Regulariser(kind, 1.0)(coarse, normalise(image), mask, valid)
    large = F.interpolate(coarse, (16, 20), mode="bilinear")
    torch.testing.assert_close(loss, Regulariser(kind, 1.0)(large, normalise(image), mask, valid))
    assert torch.autograd.grad(loss, coarse)[0].abs().max() > 0


def test_tree_energy_teaches_no_cell_that_holds_a_label() -> None:
    logits, image, mask, valid = picture()
    term, picture_ = Regulariser("tree_energy", 1.0), normalise(image)
    everywhere = torch.zeros_like(mask)
    assert term(logits, picture_, everywhere, valid) == 0
    corner = everywhere.clone()
    corner[0, :4, :4] = IGNORE
    assert term(logits, picture_, corner, valid) > 0
    corner[0, 0, 0] = 1
    assert term(logits, picture_, corner, valid) == 0


def test_grey_images_have_colours_too() -> None:
    logits, image, mask, valid = picture()
    grey = ImageFormat((0.5,), (0.2,), 8)
    for kind in get_args(Term):
        loss = Regulariser(kind, 1.0, grey)(logits, normalise(image[:, :1], grey), mask, valid)
        assert loss > 0
