"""What is special to Hung et al. 2018; the rest is in the contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import create, whole
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.losses.gan import DiscriminatorGame
from semisup.methods.adversarial import Adversarial
from semisup.models.base import Segmenter
from semisup.ops.masks import one_hot
from semisup.settings import OptimSettings
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Labelled, Progress, Unlabelled

EARLY, LATE = Progress(0, 100), Progress(90, 100)

Build = Callable[..., Adversarial]
MakeBatch = Callable[..., Batch]


@pytest.fixture
def build(segmenters: dict[str, Callable[[], Segmenter]]) -> Build:
    def build(kind: str = "plain", **options: Any) -> Adversarial:
        torch.manual_seed(0)
        method: Adversarial = create("adversarial", segmenters[kind], 3, **options).train()
        return method

    return build


def updates_of(method: Adversarial, *, segmenter: float, discriminator: float) -> Updates:
    """Adam with one learning rate a player."""
    rates = {"segmenter": segmenter, "discriminator": discriminator}
    optim = {
        k: OptimSettings(kind="adam", lr=rate, schedule="constant") for k, rate in rates.items()
    }
    updates = Updates(method.players(), optim)
    updates.begin(EARLY)
    return updates


# The self-taught term


@pytest.mark.parametrize(
    ("step", "start", "acts"),
    [(24, 0.25, False), (25, 0.25, True), (0, 0.0, True), (99, 1.0, False)],
)
def test_self_teaching_begins_at_its_share_of_the_run(
    step: int, start: float, acts: bool, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    batch, progress = make_batch(dtype=torch.float64), Progress(step, 100)
    method = build(self_taught_start=start).double()
    with_term, without = gradients(method), gradients(method)
    scalars = method.step(batch, progress, with_term)
    method.self_taught_weight = 0.0
    method.step(batch, progress, without)
    same = torch.equal(with_term.vector("segmenter"), without.vector("segmenter"))
    assert same is not acts
    assert (float(scalars["loss_self_taught"]) > 0) is acts
    assert (float(scalars["self_taught_share"]) > 0) is acts


def test_a_threshold_of_0_trusts_all_pixels_and_one_of_1_none(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    batch = make_batch()
    method = build(confidence_threshold=0.0)
    scalars = method.step(batch, LATE, gradients(method))
    with torch.no_grad():
        best = method.segmenter(batch.unlabelled.image).log_softmax(1).max(1).values
    expected = -best[batch.unlabelled.valid].mean()
    assert float(scalars["self_taught_share"]) == 1.0
    assert float(scalars["loss_self_taught"]) == pytest.approx(float(expected), rel=1e-5)

    method = build(confidence_threshold=1.0)
    scalars = method.step(batch, LATE, gradients(method))
    assert float(scalars["self_taught_share"]) == 0.0
    assert float(scalars["loss_self_taught"]) == 0.0


@pytest.mark.parametrize(("bias", "share"), [(3.0, 1.0), (-3.0, 0.0)])
def test_it_is_taught_where_the_discriminator_is_confident(
    bias: float, share: float, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    method = build(confidence_threshold=0.5)
    method.discriminator = Pixelwise([0.0, 0.0, 0.0], bias)
    scalars = method.step(make_batch(), LATE, gradients(method))
    assert float(scalars["self_taught_share"]) == share


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("adversarial_weight", -0.1),
        ("adversarial_weight_unlabelled", -0.1),
        ("self_taught_weight", -0.1),
        ("confidence_threshold", 1.5),
        ("confidence_threshold", -0.1),
        ("self_taught_start", 1.5),
        ("self_taught_start", -0.1),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(
    key: str, value: float, segmenters: dict[str, Callable[[], Segmenter]]
) -> None:
    with pytest.raises(RecipeError, match=f"adversarial.*{key}.*{value}"):
        create("adversarial", segmenters["plain"], 3, **{key: value})


# What does not count


class Pixelwise(nn.Module):
    """A discriminator that looks at single pixels: logit = weight . p + bias."""

    def __init__(self, weight: list[float], bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, maps: Tensor) -> Tensor:
        return (self.weight.view(1, -1, 1, 1) * maps).sum(1, keepdim=True) + self.bias


def test_void_pixels_and_padding_take_no_part_in_any_loss(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    """With networks that look at single pixels, what a void pixel shows changes nothing."""
    batch = make_batch(dtype=torch.float64)
    labelled, free = batch.labelled, batch.unlabelled
    void = (labelled.mask == IGNORE)[:, None]
    padding = ~free.valid[:, None]
    assert void.any()
    assert padding.any()
    other = Batch(
        labelled=whole(labelled.image.masked_fill(void, 3.0), labelled.mask, labelled.ids),
        unlabelled=Unlabelled(free.image.masked_fill(padding, 3.0), free.valid, free.ids),
    )
    found = []
    for shown in (batch, other):
        method = build("pixelwise")
        method.discriminator = Pixelwise([2.0, -1.0, 0.5], 0.3)
        update = gradients(method.double())
        scalars = method.step(shown, LATE, update)
        losses = torch.stack([v for k, v in scalars.items() if k.startswith("loss_")])
        found.append([losses, update.vector("segmenter"), update.vector("discriminator")])
    for before, after in zip(*found, strict=True):
        assert torch.allclose(before, after, rtol=1e-12, atol=1e-15)


# The two players


def confidence(method: Adversarial, labelled: Labelled) -> tuple[float, float]:
    """Mean of sigmoid(D) on ground truth and on the prediction, over valid pixels."""
    valid = (labelled.mask != IGNORE)[:, None]
    with torch.no_grad():
        real = method.discriminator(one_hot(labelled.mask, 3)).sigmoid()
        fake = method.discriminator(method.segmenter(labelled.image).softmax(1)).sigmoid()
    return float(real[valid].mean()), float(fake[valid].mean())


def test_a_step_of_the_discriminator_parts_real_and_fake(
    build: Build, make_batch: MakeBatch
) -> None:
    batch, method = make_batch(), build()
    real, fake = confidence(method, batch.labelled)
    method.step(batch, EARLY, updates_of(method, segmenter=1e-9, discriminator=1e-3))
    better_real, better_fake = confidence(method, batch.labelled)
    assert better_real - better_fake > real - fake + 1e-4


@pytest.mark.parametrize(("answer", "direction"), [("real", 1), ("fake", -1)])
def test_the_sign_of_each_half_of_the_discriminators_loss(
    answer: str, direction: int, build: Build, make_batch: MakeBatch
) -> None:
    """A bias alone moves towards the half that is further off."""
    batch, method = make_batch(), build()
    offset = -4.0 if answer == "real" else 4.0
    method.discriminator = Pixelwise([0.0, 0.0, 0.0], offset)
    method.step(batch, EARLY, updates_of(method, segmenter=1e-9, discriminator=1e-2))
    assert direction * (float(method.discriminator.bias.detach()) - offset) > 0


@pytest.mark.parametrize("term", ["adversarial_weight", "adversarial_weight_unlabelled"])
def test_a_step_of_the_segmenter_makes_its_prediction_look_real(
    term: str, build: Build, make_batch: MakeBatch
) -> None:
    weights = {"adversarial_weight": 0.0, "adversarial_weight_unlabelled": 0.0} | {term: 1e4}
    method, batch = build(**weights), make_batch()
    torch.nn.init.normal_(method.discriminator.layers[-1].weight)  # an opinion to follow
    labelled = term == "adversarial_weight"
    shown = batch.labelled if labelled else batch.unlabelled
    valid = batch.labelled.mask != IGNORE if labelled else batch.unlabelled.valid

    def looks_real() -> float:
        with torch.no_grad():
            judged = method.discriminator(method.segmenter(shown.image).softmax(1))
        return float(nn.functional.logsigmoid(judged.squeeze(1))[valid].mean())

    before = looks_real()
    method.step(batch, EARLY, updates_of(method, segmenter=1e-3, discriminator=1e-12))
    assert looks_real() > before + 1e-6


def test_the_discriminator_learns_to_tell_fake_from_real(
    build: Build, make_batch: MakeBatch
) -> None:
    method = build()
    updates = updates_of(method, segmenter=1e-9, discriminator=3e-3)
    scalars: dict[str, Tensor] = {}
    for step in range(40):
        scalars = dict(method.step(make_batch(step), EARLY, updates))
    real, fake = confidence(method, make_batch(1000).labelled)
    assert real > 0.8
    assert fake < 0.2
    assert float(scalars["d_real"]) > 0.7
    assert float(scalars["d_fake"]) < 0.3
    assert float(scalars["loss_discriminator"]) < 0.3


def test_no_hole_in_the_ground_truth_gives_it_away(build: Build, make_batch: MakeBatch) -> None:
    method, batch = build(), make_batch()
    void = batch.labelled.mask == IGNORE
    assert void.any()
    with torch.no_grad():
        answer = one_hot(method.segmenter(batch.labelled.image).argmax(dim=1), 3)
    seen: list[Tensor] = []
    method.discriminator.register_forward_pre_hook(lambda _, maps: seen.append(maps[0].detach()))
    method.step(batch, LATE, lambda player, loss, keep_graph=False: None)
    real = seen[-1]
    assert torch.equal(real.sum(dim=1), torch.ones_like(real[:, 0])), "a pixel of no class"
    columns = void[:, None].expand_as(real)
    assert torch.equal(real[columns], answer[columns])
    assert torch.equal(real[~columns], one_hot(batch.labelled.mask, 3)[~columns])


def reaches(loss: Tensor, network: nn.Module) -> bool:
    """Whether a gradient other than 0 gets from `loss` into `network`."""
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in found)


def test_it_is_not_taught_to_please_where_it_is_self_taught(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    """The choice of the pixels and their answers pass no gradient."""
    batch = make_batch(dtype=torch.float64)
    method = build(adversarial_weight=0.0, adversarial_weight_unlabelled=0.0).double()
    update = gradients(method)
    method.step(batch, LATE, update)
    assert not reaches(update.losses["segmenter"], method.discriminator)


# What the discriminator sees


def test_the_discriminator_learns_from_labelled_images_alone(
    build: Build, make_batch: MakeBatch
) -> None:
    losses = []
    for seed in (0, 1):
        method, batch = build(), make_batch()
        other = Batch(labelled=batch.labelled, unlabelled=make_batch(seed).unlabelled)
        losses.append(method.step(other, LATE, lambda *_, keep_graph=False: None))
    assert torch.equal(losses[0]["loss_discriminator"], losses[1]["loss_discriminator"])
    assert not torch.equal(losses[0]["loss_self_taught"], losses[1]["loss_self_taught"])


# All of it by hand


def test_the_losses_of_one_step_by_hand(mirror: Callable[[], Segmenter]) -> None:
    """Softmax of logs of thirds, halves and quarters; D's logit is 2 p_0 - p_1 + 0.5.

    Labelled: p = (1/2, 1/4, 1/4) of class 0, p = (1/4, 1/2, 1/4) of class 2, and one void pixel.
    Unlabelled: p = (1/4, 1/4, 1/2) and (1/2, 1/4, 1/4), and one of padding. T = 0.75 lies between
    sigmoid(D) of the two.
    """
    near, far = math.log(2.0), 0.0
    labelled = torch.tensor([[near, far, far], [far, near, far], [9.0, 0.0, 0.0]])
    free = torch.tensor([[far, far, near], [near, far, far], [9.0, 0.0, 0.0]])
    batch = Batch(
        labelled=whole(labelled.T.view(1, 3, 1, 3), torch.tensor([[[0, 2, IGNORE]]]), ("a",)),
        unlabelled=Unlabelled(
            free.T.view(1, 3, 1, 3), torch.tensor([[[True, True, False]]]), ("b",)
        ),
    )
    method = create(
        "adversarial",
        mirror,
        3,
        adversarial_weight=0.3,
        adversarial_weight_unlabelled=0.2,
        self_taught_weight=0.5,
        confidence_threshold=0.75,
    )
    method.discriminator = Pixelwise([2.0, -1.0, 0.0], 0.5)
    losses: dict[str, float] = {}
    order: list[str] = []

    def update(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        losses[player] = float(loss.detach())
        order.append(player)

    def softplus(value: float) -> float:
        return math.log1p(math.exp(value))

    scalars = {k: float(v) for k, v in method.step(batch, LATE, update).items()}

    fakes = [2 * 0.5 - 0.25 + 0.5, 2 * 0.25 - 0.5 + 0.5]  # 1.25 and 0.5
    reals = [2.0 + 0.5, 0.5]  # one-hot of class 0 and of class 2
    frees = [2 * 0.25 - 0.25 + 0.5, 2 * 0.5 - 0.25 + 0.5]  # 0.75 (sigmoid 0.68) and 1.25 (0.78)
    expected = {
        "loss_segmentation": (math.log(2) + math.log(4)) / 2,
        "loss_adversarial": (softplus(-fakes[0]) + softplus(-fakes[1])) / 2,
        "loss_adversarial_unlabelled": (softplus(-frees[0]) + softplus(-frees[1])) / 2,
        "loss_self_taught": math.log(2),
        "self_taught_share": 0.5,
        "d_accuracy": 0.5 * (1.0 + 0.0),  # both truths are judged real, and so are both fakes
        "loss_discriminator": 0.5
        * (
            (softplus(fakes[0]) + softplus(fakes[1])) / 2
            + (softplus(-reals[0]) + softplus(-reals[1])) / 2
        ),
    }
    for name, value in expected.items():
        assert scalars[name] == pytest.approx(value, rel=1e-5), name
    assert order == ["segmenter", "discriminator"]
    assert losses["discriminator"] == pytest.approx(expected["loss_discriminator"], rel=1e-5)
    assert losses["segmenter"] == pytest.approx(
        expected["loss_segmentation"]
        + 0.3 * expected["loss_adversarial"]
        + 0.2 * expected["loss_adversarial_unlabelled"]
        + 0.5 * expected["loss_self_taught"],
        rel=1e-5,
    )


# What is measured at log points


def test_d_hard_is_the_probability_of_the_argmax_by_hand(mirror: Callable[[], Segmenter]) -> None:
    """D's logit is 2 p_0 - p_1 + 0.5: 2.5 for class 0, 0.5 for class 2, whatever was true."""
    image = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 7.0], [9.0, 0.0, 0.0]]).T.view(1, 3, 1, 3)
    mask = torch.tensor([[[1, 2, IGNORE]]])
    method = create("adversarial", mirror, 3)
    method.discriminator = Pixelwise([2.0, -1.0, 0.0], 0.5)
    found = method.measure(Batch(labelled=whole(image, mask, ("a",))))
    sigmoids = [1 / (1 + math.exp(-2.5)), 1 / (1 + math.exp(-0.5))]
    assert {k: float(v.detach()) for k, v in found.items()} == {
        "d_hard": pytest.approx(sum(sigmoids) / 2, rel=1e-6)
    }


def test_d_hard_of_least_squares_is_the_clamped_output(mirror: Callable[[], Segmenter]) -> None:
    image = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).T.view(1, 3, 1, 2)
    method = create("adversarial", mirror, 3, game=DiscriminatorGame(loss="least_squares"))
    method.discriminator = Pixelwise([2.0, 0.0, 0.0], 0.25)
    batch = Batch(labelled=whole(image, torch.zeros(1, 1, 2, dtype=torch.int64), ("a",)))
    assert float(method.measure(batch)["d_hard"].detach()) == pytest.approx((1.0 + 0.25) / 2)


def test_d_hard_without_a_valid_pixel_is_0(build: Build, make_batch: MakeBatch) -> None:
    assert float(build().measure(make_batch(void=True))["d_hard"].detach()) == 0.0
