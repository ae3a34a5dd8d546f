"""What is special to Luc et al. 2016; the rest is in the contract."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.methods import create, whole
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.losses.segmentation import weighted_mean
from semisup.methods.adversarial_luc import AdversarialLuc, softened
from semisup.models.base import Segmenter
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD
from semisup.settings import OptimSettings
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Labelled, Progress

NOW = Progress(0, 100)
INPUTS = ("basic", "product", "scaling")

Build = Callable[..., AdversarialLuc]
MakeBatch = Callable[..., Batch]

each_input = pytest.mark.parametrize("inputs", INPUTS)


@pytest.fixture
def build(segmenters: dict[str, Callable[[], Segmenter]]) -> Build:
    def build(kind: str = "plain", **options: Any) -> AdversarialLuc:
        torch.manual_seed(0)
        method: AdversarialLuc = create("adversarial_luc", segmenters[kind], 3, **options).train()
        return method

    return build


def updates_of(method: AdversarialLuc, *, segmenter: float, adversary: float) -> Updates:
    """Adam with one learning rate a player."""
    rates = {"segmenter": segmenter, "adversary": adversary}
    optim = {
        k: OptimSettings(kind="adam", lr=rate, schedule="constant") for k, rate in rates.items()
    }
    updates = Updates(method.players(), optim)
    updates.begin(NOW)
    return updates


def nothing(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
    """An update that moves nothing."""


def mosaic(make_batch: MakeBatch, seed: int, dtype: torch.dtype = torch.float64) -> Labelled:
    """Two images of 64 x 64, each of four toy pictures with their void bands."""
    parts = [make_batch(4 * seed + i, dtype=dtype).labelled for i in range(4)]
    rows = [torch.cat([parts[i].image, parts[i + 1].image], dim=3) for i in (0, 2)]
    masks = [torch.cat([parts[i].mask, parts[i + 1].mask], dim=2) for i in (0, 2)]
    return whole(torch.cat(rows, dim=2), torch.cat(masks, dim=1), ("a", "b"))


def shown_to_the_adversary(method: AdversarialLuc, labelled: Labelled) -> list[list[Tensor]]:
    """Class maps and image at each look of one step: the prediction, then the ground truth."""
    seen: list[list[Tensor]] = []
    hook = method.adversary.register_forward_pre_hook(
        lambda _, given: seen.append([maps.detach().clone() for maps in given])
    )
    method.step(Batch(labelled=labelled), NOW, nothing)
    hook.remove()
    return seen


# The slow step of a textbook


class Textbook:
    """The two updates written out: a forward pass for each loss, a backward pass for each, torch's
    own optimisers, and `requires_grad` switched off where a player must not move.

    Args:
        method: whose networks are copied.
        side: of the cells that maps and image are averaged over, in pixels.
        late: whether the adversary looks at what S says after its step, not before: the control.
    """

    def __init__(self, method: AdversarialLuc, lr: float, side: int, late: bool = False) -> None:
        self.segmenter = copy.deepcopy(method.segmenter)
        self.adversary = copy.deepcopy(method.adversary)
        self.inputs, self.weight = method.inputs, method.adversarial_weight
        self.side, self.late = side, late
        groups = [
            {"params": group.params, "lr": lr * group.lr_scale}
            for group in self.segmenter.parameter_groups()
        ]
        self.of_segmenter = torch.optim.SGD(groups, momentum=0.9)
        self.of_adversary = torch.optim.SGD(self.adversary.parameters(), lr=lr, momentum=0.9)

    def reduced(self, maps: Tensor) -> Tensor:
        """Sums over cells by the number of pixels that are there."""

        def sums(values: Tensor) -> Tensor:
            height, width = values.shape[-2:]
            rest = [-side % self.side for side in (width, height)]
            values = F.pad(values, (0, rest[0], 0, rest[1]))
            rows = torch.stack(values.split(self.side, dim=2)).sum(dim=3)
            return torch.stack(rows.split(self.side, dim=3)).sum(dim=4).permute(2, 3, 1, 0)

        return sums(maps) / sums(torch.ones_like(maps))

    def judged(self, maps: Tensor, image: Tensor) -> Tensor:
        mean, deviation = (
            torch.tensor(v, dtype=image.dtype).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD)
        )
        return self.adversary(self.reduced(maps), self.reduced(image * deviation + mean))

    def bce(self, logits: Tensor, answer: float, mask: Tensor) -> Tensor:
        """Weighted by the share of what each judgement sees that is not void."""
        known = F.pad(self.reduced((mask != IGNORE)[:, None].double()), (7, 7, 7, 7))
        window = torch.ones(1, 1, 18, 18, dtype=torch.float64)
        height, width = logits.shape[-2:]
        weight = (F.conv2d(known, window, stride=4) / 18**2)[:, 0, :height, :width]
        loss = F.binary_cross_entropy(
            logits.sigmoid(), torch.full_like(logits, answer), weight=weight, reduction="sum"
        )
        return loss / weight.sum()

    def truth(self, mask: Tensor, said: Tensor) -> Tensor:
        known = mask.clone()
        known[mask == IGNORE] = said.argmax(dim=1)[mask == IGNORE]
        known = known[:, None]
        if self.inputs != "scaling":
            return torch.zeros_like(said).scatter(1, known, 1.0)
        own = said.gather(1, known)
        top = own.clamp(min=0.9)
        return (said * (1 - top) / (1 - own)).scatter(1, known, top)

    def step(self, labelled: Labelled) -> None:
        image, mask = labelled.image, labelled.mask
        with torch.no_grad():
            said = self.segmenter(image).softmax(dim=1)

        self.adversary.requires_grad_(False)
        self.of_segmenter.zero_grad()
        logits = self.segmenter(image)
        F.cross_entropy(logits, mask, ignore_index=IGNORE).backward(retain_graph=True)
        fooled = self.bce(self.judged(logits.softmax(dim=1), image), 1.0, mask)
        (self.weight * fooled).backward()
        self.of_segmenter.step()
        self.adversary.requires_grad_(True)

        if self.late:
            with torch.no_grad():
                said = self.segmenter(image).softmax(dim=1)
        self.of_adversary.zero_grad()
        (0.5 * self.bce(self.judged(self.truth(mask, said), image), 1.0, mask)).backward()
        (0.5 * self.bce(self.judged(said, image), 0.0, mask)).backward()
        self.of_adversary.step()

    def furthest(self, method: AdversarialLuc) -> float:
        """The largest difference of a parameter of either player."""
        own = [*self.segmenter.parameters(), *self.adversary.parameters()]
        other = [*method.segmenter.parameters(), *method.adversary.parameters()]
        return max(float((a - b).detach().abs().max()) for a, b in zip(own, other, strict=True))


@each_input
@pytest.mark.parametrize("downsampling", [2, 3])
def test_five_steps_are_those_of_the_textbook(
    inputs: str, downsampling: int, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    method = build(inputs=inputs, adversarial_weight=0.7, downsampling=downsampling).double()
    textbook = Textbook(method, 0.05, downsampling)
    updates = make_updates(method, kind="sgd", lr=0.05, momentum=0.9)
    start = copy.deepcopy(method)
    for seed in range(5):
        labelled = mosaic(make_batch, seed)
        progress = Progress(seed, 5)
        updates.begin(progress)
        method.step(Batch(labelled=labelled), progress, updates)
        textbook.step(labelled)
        assert textbook.furthest(method) < 1e-10
    moved = {
        player: max(
            float((a - b).detach().abs().max())
            for a, b in zip(one.parameters(), other.parameters(), strict=True)
        )
        for player, one, other in (
            ("segmenter", method.segmenter, start.segmenter),
            ("adversary", method.adversary, start.adversary),
        )
    }
    assert min(moved.values()) > 1e-2


@each_input
def test_the_textbook_can_tell_a_later_look_apart(
    inputs: str, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    method = build(inputs=inputs, adversarial_weight=0.7, downsampling=2).double()
    late = Textbook(method, 0.05, 2, late=True)
    updates = make_updates(method, kind="sgd", lr=0.05, momentum=0.9)
    updates.begin(NOW)
    labelled = mosaic(make_batch, 0)
    method.step(Batch(labelled=labelled), NOW, updates)
    late.step(labelled)
    assert late.furthest(method) > 1e-7


def test_it_takes_two_looks_a_step_and_one_prediction(build: Build, make_batch: MakeBatch) -> None:
    method = build()
    looks: list[str] = []
    for name, network in (("s", method.segmenter.body), ("a", method.adversary)):
        network.register_forward_hook(lambda *_, name=name: looks.append(name))
    method.step(make_batch(), NOW, updates_of(method, segmenter=1e-2, adversary=1e-2))
    assert looks == ["s", "a", "a"]


# What the adversary is shown


def test_softened_truth_by_hand() -> None:
    """Sure, unsure and wrong pixels of true class 0; tau = 0.9."""
    predicted = torch.tensor(
        [
            [0.95, 0.04, 0.01],  # surer than tau: as it is
            [0.50, 0.40, 0.10],  # 0.1 is shared 4 : 1
            [0.10, 0.30, 0.60],  # 0.1 is shared 1 : 2
            [0.00, 1.00, 0.00],  # sure and wrong
            [1.00, 0.00, 0.00],  # sure and right
        ],
        dtype=torch.float64,
    )
    expected = torch.tensor(
        [
            [0.95, 0.04, 0.01],
            [0.90, 0.08, 0.02],
            [0.90, 1 / 30, 2 / 30],
            [0.90, 0.10, 0.00],
            [1.00, 0.00, 0.00],
        ],
        dtype=torch.float64,
    )
    truth = torch.tensor([1.0, 0.0, 0.0]).expand(5, 3).double()
    found = softened(truth.T.view(1, 3, 1, 5), predicted.T.view(1, 3, 1, 5))
    assert torch.allclose(found[0, :, 0].T, expected, rtol=1e-12, atol=1e-15)
    tighter = softened(truth.T.view(1, 3, 1, 5), predicted.T.view(1, 3, 1, 5), 0.6)
    assert torch.allclose(tighter[0, :, 0, 1], torch.tensor([0.6, 0.32, 0.08]).double())


def test_softened_truth_sums_to_1_names_the_truth_and_passes_no_gradient() -> None:
    torch.manual_seed(0)
    predicted = torch.randn(2, 5, 9, 9, dtype=torch.float64).mul(4).softmax(1).requires_grad_()
    mask = torch.randint(0, 5, (2, 9, 9))
    found = softened(F.one_hot(mask, 5).permute(0, 3, 1, 2).double(), predicted)
    assert torch.allclose(found.sum(dim=1), torch.ones(2, 9, 9).double(), rtol=1e-12)
    assert torch.equal(found.argmax(dim=1), mask)
    assert float(found.gather(1, mask[:, None]).min()) >= 0.9
    assert float(found.min()) > 0
    assert not found.requires_grad


@each_input
def test_truth_and_prediction_come_at_the_same_resolution(
    inputs: str, build: Build, make_batch: MakeBatch
) -> None:
    """Of a segmenter that is sure and right the adversary can tell nothing, not even at borders."""
    method = build(inputs=inputs, downsampling=3)
    labelled = mosaic(make_batch, 0, torch.float32)
    answers = torch.where(labelled.mask == IGNORE, 1, labelled.mask)
    answers = answers.roll(1, dims=2)  # borders fall inside of cells
    labelled = whole(labelled.image, answers, labelled.ids)
    sure = 200.0 * F.one_hot(answers, 3).permute(0, 3, 1, 2).float()
    method.segmenter.training_logits = lambda image: [sure]  # type: ignore[method-assign]
    (fake, image), (real, same_image) = shown_to_the_adversary(method, labelled)
    assert fake.shape == real.shape == (2, 3, 22, 22)
    assert image.shape == (2, 3, 22, 22)
    assert torch.equal(image, same_image)
    assert torch.equal(fake, real)
    soft = ((fake > 0.01) & (fake < 0.99)).any(dim=1)
    assert 0.1 < float(soft.float().mean()) < 0.9


def test_maps_and_image_are_averaged_over_cells(build: Build) -> None:
    """3 x 5 pixels in cells of 2 x 2: six cells, of which those at the end are smaller."""
    method = build(downsampling=2)
    maps = torch.arange(15.0).view(1, 1, 3, 5)
    expected = torch.tensor([[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]])
    assert torch.equal(method._reduced(maps)[0, 0], expected)
    assert torch.equal(build(downsampling=1)._reduced(maps), maps)


def test_the_image_is_shown_in_shares_of_full_brightness(
    build: Build, make_batch: MakeBatch
) -> None:
    method, labelled = build(downsampling=1), make_batch().labelled
    colours = torch.rand(2, 3, 32, 32)
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    shown = whole((colours - mean) / deviation, labelled.mask, labelled.ids)
    for _, image in shown_to_the_adversary(method, shown):
        assert torch.allclose(image, colours, atol=1e-6)


@each_input
def test_no_hole_in_the_ground_truth_gives_it_away(
    inputs: str, build: Build, make_batch: MakeBatch
) -> None:
    method, labelled = build(inputs=inputs, downsampling=1), make_batch().labelled
    void = labelled.mask == IGNORE
    assert void.any()
    (fake, _), (real, _) = shown_to_the_adversary(method, labelled)
    assert torch.allclose(real.sum(dim=1), torch.ones(2, 32, 32))
    assert torch.equal(real.argmax(dim=1)[void], fake.argmax(dim=1)[void])
    assert torch.equal(real.argmax(dim=1)[~void], labelled.mask[~void])
    least = 0.9 if inputs == "scaling" else 1.0
    assert float(real.max(dim=1).values.min()) == pytest.approx(least)
    with torch.no_grad():
        assert torch.allclose(fake, method.segmenter(labelled.image).softmax(dim=1), atol=1e-6)


def test_crops_that_are_too_small_are_refused_with_the_remedy(
    build: Build, make_batch: MakeBatch
) -> None:
    labelled = make_batch().labelled
    method = build(view="large", downsampling=1)
    with pytest.raises(RecipeError, match=r"at least 34 x 34 pixels, not 32 x 32: train on larger"):
        method.step(Batch(labelled=labelled), NOW, nothing)
    method = build(view="small", downsampling=2)
    with pytest.raises(
        RecipeError, match=r"at least 18 x 18 pixels, not 16 x 16.*lower method.downs"
    ):
        method.step(Batch(labelled=labelled), NOW, nothing)
    tiny = build(view="small", downsampling=64)
    with pytest.raises(RecipeError, match="at least 18 x 18 pixels, not 1 x 1"):
        tiny.step(Batch(labelled=labelled), NOW, nothing)


@pytest.mark.parametrize(("side", "fits"), [(132, False), (133, True)])
def test_the_smallest_crop_at_the_shipped_view_and_resolution(
    side: int, fits: bool, build: Build
) -> None:
    """What the head of the file says of them."""
    method = build(view="large", downsampling=4)
    labelled = whole(
        torch.zeros(1, 3, side, side), torch.zeros(1, side, side, dtype=torch.long), ("a",)
    )
    if fits:
        assert method.step(Batch(labelled=labelled), NOW, nothing)["d_real"] > 0
    else:
        with pytest.raises(RecipeError, match="not 33 x 33"):
            method.step(Batch(labelled=labelled), NOW, nothing)


# What does not count


def test_a_judgement_that_sees_void_alone_does_not_count(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    """Masks of the left 12 of 64 columns: what only places without any of them see is free."""
    full = mosaic(make_batch, 0)
    mask = full.mask.clone()
    mask[:, :, 12:] = IGNORE
    # A judgement that sees column 11 sees up to column 28, S's convolutions one further.
    changed = full.image.clone()
    changed[..., 31:] = 3.0
    near = full.image.clone()
    near[..., 26] = 3.0
    found = []
    for image in (full.image, changed, near):
        method = build(downsampling=1).double()
        update = gradients(method)
        labelled = whole(image, mask, full.ids)
        scalars = method.step(Batch(labelled=labelled), NOW, update)
        found.append(
            [
                torch.stack(list(scalars.values())),
                update.vector("segmenter"),
                update.vector("adversary"),
            ]
        )
    for before, far, seen in zip(*found, strict=True):
        assert torch.allclose(before, far, rtol=1e-12, atol=1e-14)
        assert not torch.allclose(before, seen, rtol=1e-6, atol=1e-9)


def test_weighted_mean_by_hand() -> None:
    values = torch.tensor([[1.0, 5.0], [-2.0, 7.0]], requires_grad=True)
    weights = torch.tensor([[1.0, 0.5], [0.5, 0.0]])
    mean = weighted_mean(values, weights)
    assert float(mean.detach()) == pytest.approx((1 + 2.5 - 1) / 2)
    (gradient,) = torch.autograd.grad(mean, values)
    assert torch.allclose(gradient, weights / 2)
    assert torch.allclose(weighted_mean(values, 1e-5 * weights), mean)
    none = weighted_mean(values, torch.zeros(2, 2))
    assert float(none.detach()) == 0.0
    assert torch.equal(torch.autograd.grad(none, values)[0], torch.zeros(2, 2))


# The two players


def opinions(method: AdversarialLuc, labelled: Labelled) -> tuple[float, float]:
    """Mean logit of the adversary on ground truth and on what S says."""
    seen = shown_to_the_adversary(method, labelled)
    with torch.no_grad():
        fake, real = (float(method.adversary(*look).mean()) for look in seen)
    return real, fake


@each_input
def test_a_step_of_the_adversary_raises_its_logit_on_truth_and_lowers_it_on_predictions(
    inputs: str, build: Build, make_batch: MakeBatch
) -> None:
    method, labelled = build(inputs=inputs), make_batch().labelled
    # Each half alone: the other one's loss is flat, so that only this one's direction shows.
    for half, sign in (("real", 1), ("fake", -1)):
        before = opinions(method, labelled)
        updates = updates_of(method, segmenter=1e-12, adversary=1e-4)
        bias = method.adversary.layers[-1].bias
        shift = 30.0 * -sign - before[0 if half == "real" else 1]
        with torch.no_grad():
            bias += shift
        method.step(Batch(labelled=labelled), NOW, updates)
        with torch.no_grad():
            bias -= shift
        after = opinions(method, labelled)
        place = 0 if half == "real" else 1
        assert sign * (after[place] - before[place]) > 1e-4


@each_input
def test_a_step_of_the_adversary_parts_real_and_fake(
    inputs: str, build: Build, make_batch: MakeBatch
) -> None:
    method, labelled = build(inputs=inputs), make_batch().labelled
    real, fake = opinions(method, labelled)
    updates = updates_of(method, segmenter=1e-12, adversary=1e-3)
    for _ in range(3):
        method.step(Batch(labelled=labelled), NOW, updates)
    better_real, better_fake = opinions(method, labelled)
    assert better_real - better_fake > real - fake + 1e-3


@each_input
@pytest.mark.parametrize("loss", ["cross_entropy", "hinge", "least_squares"])
def test_a_step_of_the_segmenter_makes_its_maps_look_real(
    inputs: str, loss: str, build: Build, make_batch: MakeBatch
) -> None:
    method = build(inputs=inputs, loss=loss, adversarial_weight=1e5)
    labelled = make_batch().labelled
    with torch.no_grad():  # below what least squares ask for
        method.adversary.layers[-1].bias -= 3.0
    _, before = opinions(method, labelled)
    updates = updates_of(method, segmenter=1e-3, adversary=1e-12)
    method.step(Batch(labelled=labelled), NOW, updates)
    assert opinions(method, labelled)[1] > before + 1e-5


def test_the_adversary_learns_to_tell_fake_from_real(build: Build, make_batch: MakeBatch) -> None:
    """With one of its inputs; a step with each of them is a test above."""
    method = build(inputs="basic")
    updates = updates_of(method, segmenter=1e-9, adversary=3e-3)
    scalars: dict[str, Tensor] = {}
    for step in range(60):
        scalars = dict(method.step(make_batch(step), NOW, updates))
    assert float(scalars["d_real"]) > 0.6
    assert float(scalars["d_fake"]) < 0.4
    assert float(scalars["d_accuracy"]) > 0.8
    assert float(scalars["loss_adversary"]) < 0.5


def test_without_a_weight_the_adversary_looks_on_and_learns(
    build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    method = build(adversarial_weight=0.0)
    losses: dict[str, Tensor] = {}
    updates = make_updates(method)

    def update(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        losses[player] = loss
        updates(player, loss, keep_graph=True)

    updates.begin(NOW)
    before = copy.deepcopy(method.adversary)
    method.step(make_batch(), NOW, update)
    parameters = list(method.segmenter.parameters())
    found = torch.autograd.grad(losses["adversary"], parameters, allow_unused=True)
    assert found == (None,) * len(parameters)
    pairs = zip(before.parameters(), method.adversary.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs)


def test_pictures_are_the_adversarys_map_of_the_prediction(
    build: Build, make_batch: MakeBatch
) -> None:
    method, batch = build(view="small", downsampling=1).eval(), make_batch()
    with torch.no_grad():
        logits = method.predictor()(batch.labelled.image)
        (picture,) = method.pictures(batch, logits).values()
        fake, _ = shown_to_the_adversary(method, batch.labelled)
        judged = method.adversary(*fake)
    assert judged.shape == (2, 8, 8)
    expected = F.interpolate(judged[:, None], size=(32, 32), mode="bilinear").sigmoid()
    assert torch.allclose(picture, expected, atol=1e-6)


# Stabilisers


def test_spectral_norm_bounds_the_adversary_and_is_off_by_default(
    build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    def layers(method: AdversarialLuc) -> list[nn.Conv2d]:
        return [m for m in method.adversary.modules() if isinstance(m, nn.Conv2d)]

    assert not any(hasattr(layer, "parametrizations") for layer in layers(build()))
    method = build(spectral_norm=True)
    assert all(hasattr(layer, "parametrizations") for layer in layers(method))
    assert not any(hasattr(m, "parametrizations") for m in method.segmenter.modules()), (
        "the segmenter is bounded too"
    )
    updates = make_updates(method)
    for step in range(20):
        updates.begin(Progress(step, 20))
        scalars = method.step(make_batch(step), Progress(step, 20), updates)
    assert all(torch.isfinite(value) for value in scalars.values())
    method.eval()
    for layer in layers(method):
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) < 1.1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("adversarial_weight", -0.1),
        ("label_smoothing", -0.1),
        ("label_smoothing", 1.0),
        ("downsampling", 0),
        ("discriminator_width", 0),
        ("inputs", "both"),
        ("view", "tiny"),
        ("loss", "wasserstein"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(
    key: str, value: Any, segmenters: dict[str, Callable[[], Segmenter]]
) -> None:
    with pytest.raises(RecipeError, match=f"adversarial_luc.*{key}.*{value}"):
        create("adversarial_luc", segmenters["plain"], 3, **{key: value})


# All of it by hand


class Pixelwise(nn.Module):
    """An adversary that sees a single pixel of the class maps: logit = 2 p_0 - p_1 + 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, -1.0, 0.0]))

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        return (self.weight.view(1, -1, 1, 1) * maps).sum(1) + 0.5

    def shares(self, valid: Tensor) -> Tensor:
        return valid


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def pays(loss: str, side: str, value: float) -> float:
    """What each side pays for a logit, by the papers."""
    return {
        ("cross_entropy", "real"): softplus(-value),
        ("cross_entropy", "smooth"): 0.8 * softplus(-value) + 0.2 * softplus(value),
        ("cross_entropy", "fake"): softplus(value),
        ("cross_entropy", "fool"): softplus(-value),
        ("hinge", "real"): max(0.0, 1 - value),
        ("hinge", "fake"): max(0.0, 1 + value),
        ("hinge", "fool"): -value,
        ("least_squares", "real"): (value - 1) ** 2,
        ("least_squares", "fake"): value**2,
        ("least_squares", "fool"): (value - 1) ** 2,
    }[loss, side]


@pytest.mark.parametrize(
    ("loss", "smoothing"),
    [("cross_entropy", 0.0), ("cross_entropy", 0.2), ("hinge", 0.0), ("least_squares", 0.0)],
)
@pytest.mark.parametrize("inputs", ["basic", "scaling"])
def test_the_losses_of_one_step_by_hand(
    loss: str, smoothing: float, inputs: str, mirror: Callable[[], Segmenter]
) -> None:
    """p = (1/2, 1/4, 1/4) of class 0, p = (1/4, 1/2, 1/4) of class 2, and one void pixel."""
    near, far = math.log(2.0), 0.0
    image = torch.tensor([[near, far, far], [far, near, far], [9.0, 0.0, 0.0]])
    labelled = whole(image.T.view(1, 3, 1, 3), torch.tensor([[[0, 2, IGNORE]]]), ("a",))
    method = create(
        "adversarial_luc",
        mirror,
        3,
        adversarial_weight=0.3,
        inputs=inputs,  # type: ignore[arg-type]
        loss=loss,  # type: ignore[arg-type]
        label_smoothing=smoothing,
        downsampling=1,
    )
    method.adversary = Pixelwise()  # type: ignore[assignment]
    losses: dict[str, float] = {}
    kept: dict[str, bool] = {}

    def update(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        losses[player] = float(loss.detach())
        kept[player] = keep_graph

    scalars = {k: float(v) for k, v in method.step(Batch(labelled=labelled), NOW, update).items()}

    fakes = [2 * 0.5 - 0.25 + 0.5, 2 * 0.25 - 0.5 + 0.5]  # 1.25 and 0.5
    reals = [2.0 + 0.5, 0.5]  # one-hot of class 0 and of class 2
    if inputs == "scaling":  # (0.9, 0.05, 0.05) and (1/30, 2/30, 0.9)
        reals = [2 * 0.9 - 0.05 + 0.5, 2 / 30 - 2 / 30 + 0.5]
    real = "smooth" if smoothing else "real"

    def share(logit: float) -> float:
        squares = loss == "least_squares"
        return min(1.0, max(0.0, logit)) if squares else 1 / (1 + math.exp(-logit))

    expected = {
        "loss_segmentation": (math.log(2) + math.log(4)) / 2,
        "loss_adversarial": sum(pays(loss, "fool", v) for v in fakes) / 2,
        "loss_adversary": 0.5
        * (
            sum(pays(loss, "fake", v) for v in fakes) / 2
            + sum(pays(loss, real, v) for v in reals) / 2
        ),
        "loss_gradient_penalty": 0.0,
        "d_real": sum(map(share, reals)) / 2,
        "d_fake": sum(map(share, fakes)) / 2,
        "d_accuracy": 0.5,  # all are held for real
    }
    assert scalars.keys() == expected.keys()
    if loss == "least_squares":  # where a logit of 0.5 lies between the two answers
        del expected["d_accuracy"]
    for name, value in expected.items():
        assert scalars[name] == pytest.approx(value, rel=1e-5), name
    assert list(losses) == ["segmenter", "adversary"]
    assert kept == {"segmenter": True, "adversary": False}
    assert losses["adversary"] == pytest.approx(expected["loss_adversary"], rel=1e-5)
    assert losses["segmenter"] == pytest.approx(
        expected["loss_segmentation"] + 0.3 * expected["loss_adversarial"], rel=1e-5
    )


# What is measured at log points


@pytest.mark.parametrize(("inputs", "chosen"), [("basic", 1.0), ("product", 1.0), ("scaling", 0.9)])
@pytest.mark.parametrize("loss", ["cross_entropy", "least_squares"])
def test_d_hard_is_the_probability_of_the_argmax_by_hand(
    loss: str, inputs: str, chosen: float, mirror: Callable[[], Segmenter]
) -> None:
    """p = (1/2, 1/4, 1/4), then (1/4, 1/2, 1/4), whatever was true; the others share the rest."""
    near, far = math.log(2.0), 0.0
    image = torch.tensor([[near, far, far], [far, near, far], [9.0, 0.0, 0.0]])
    labelled = whole(image.T.view(1, 3, 1, 3), torch.tensor([[[1, 1, IGNORE]]]), ("a",))
    method = create(
        "adversarial_luc", mirror, 3, inputs=inputs, loss=loss, downsampling=1, instance_noise=0.5
    )
    method.adversary = Pixelwise()
    rest = (1 - chosen) / 2
    logits = [2 * chosen - rest + 0.5, 2 * rest - chosen + 0.5]
    squares = loss == "least_squares"
    found = [min(1.0, max(0.0, v)) if squares else 1 / (1 + math.exp(-v)) for v in logits]
    with torch.no_grad():
        measured = method.measure(Batch(labelled=labelled))
    assert {key: float(value) for key, value in measured.items()} == {
        "d_hard": pytest.approx(sum(found) / 2, rel=1e-6, abs=1e-7)
    }


def test_d_hard_without_a_valid_pixel_is_0(build: Build, make_batch: MakeBatch) -> None:
    batch = make_batch(void=True)
    assert float(build(downsampling=1).measure(batch)["d_hard"].detach()) == 0.0
