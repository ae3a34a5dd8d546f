"""What is special to Mittal et al. 2019; the rest is in the contract."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.methods import create, whole
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.losses.gan import feature_distance
from semisup.losses.pairs import PairScores
from semisup.losses.pseudo_labels import exceeds, self_taught_loss
from semisup.methods.s4gan import S4Gan
from semisup.methods.s4gan_multi_label import GONE, PresentClasses, S4GanMultiLabel
from semisup.models.adversarial.discriminators import ImageDiscriminator
from semisup.models.base import Segmenter
from semisup.models.classifiers import ClassificationNetwork
from semisup.ops.masks import one_hot, tags_of_mask
from semisup.ops.ramps import ramp
from semisup.types import IGNORE, Batch, Progress, Unlabelled

EARLY, LATE = Progress(0, 100), Progress(90, 100)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NOT_MOVED = {"rtol": 1e-12, "atol": 1e-15}

Build = Callable[..., Any]
Either = S4Gan | S4GanMultiLabel
MakeBatch = Callable[..., Batch]


@pytest.fixture
def build(segmenters: dict[str, Callable[[], Segmenter]]) -> Build:
    def build(kind: str = "plain", cls: type[Either] = S4Gan, **options: Any) -> Any:
        torch.manual_seed(0)
        name = "s4gan" if cls is S4Gan else "s4gan_multi_label"
        return without_dropout(create(name, segmenters[kind], 3, **options).train())

    return build


def without_dropout(method: Any) -> Any:
    """D without chance; drawn numbers are another matter than what is made of them."""
    for layer in method.discriminator.modules():
        if isinstance(layer, nn.Dropout2d):
            layer.p = 0.0
    return method


def unlabelled(batch: Batch, **changes: Any) -> Batch:
    free = batch.unlabelled
    values = {"image": free.image, "valid": free.valid, "ids": free.ids, "views": free.views}
    return Batch(labelled=batch.labelled, unlabelled=Unlabelled(**values | changes))


# All of it by hand


class Means(nn.Module):
    """A discriminator with two features, the means of p_0 and of red; the logit is linear."""

    def __init__(self, weight: tuple[float, float], bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, maps: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.stack([maps[:, 0].mean((1, 2)), image[:, 0].mean((1, 2))], dim=1)
        return features @ self.weight + self.bias, features


def pixels(*images: list[tuple[float, float, float]]) -> Tensor:
    """B3HW with H = 1."""
    return torch.tensor(images).permute(0, 2, 1)[:, :, None]


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def red(value: float) -> float:
    return MEAN[0] + STD[0] * value


def test_one_step_by_hand(mirror: Callable[[], Segmenter]) -> None:
    """Softmax of logs: an image's pixel of (ln 2, 0, 0) gives p = (1/2, 1/4, 1/4).

    Labelled: class 0 right, a void pixel that S takes for class 1; class 2 right and wrong.
    Unlabelled: two pixels; one and one of padding; nothing but padding.
    """
    two = math.log(2.0)
    first, second, third, noise = (two, 0.0, 0.0), (0.0, two, 0.0), (0.0, 0.0, two), (9.0, 0.0, 0.0)
    batch = Batch(
        labelled=whole(
            pixels([first, second], [third, first]),
            torch.tensor([[[0, IGNORE]], [[2, 2]]]),
            ("a", "b"),
        ),
        unlabelled=Unlabelled(
            pixels([first, third], [second, noise], [noise, noise]),
            torch.tensor([[[True, True]], [[True, False]], [[False, False]]]),
            ("c", "d", "e"),
        ),
    )
    method = create("s4gan", mirror, 3, feature_matching_weight=0.3, self_taught_weight=0.7)
    method.discriminator = Means((4.0, 0.5), -1.0)  # type: ignore[assignment]
    losses: dict[str, float] = {}

    def update(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        losses[player] = float(loss.detach())

    scalars = {k: float(v) for k, v in method.step(batch, EARLY, update).items()}

    made = [((0.5 + 0.25) / 2, (red(two) + red(0)) / 2), (0.25 / 2, red(0) / 2)]
    true = [((1 + 0) / 2, (red(two) + red(0)) / 2), (0.0, (red(0) + red(two)) / 2)]
    fakes = [4 * p + 0.5 * r - 1 for p, r in made]  # about 0.78 (sigmoid 0.69) and -0.38 (0.41)
    reals = [4 * p + 0.5 * r - 1 for p, r in true]
    distances = [abs(sum(a) / 2 - sum(b) / 2) for a, b in zip(zip(*made), zip(*true))]  # noqa: B905
    expected = {
        "loss_segmentation": (two + two + 2 * two) / 3,
        "loss_feature_matching": sum(distances) / 2,
        "loss_self_taught": two,
        "self_taught_share": 0.5,
        "loss_discriminator": 0.5
        * (sum(map(softplus, fakes)) / 2 + sum(softplus(-value) for value in reals) / 2),
        "loss_gradient_penalty": 0.0,
        "d_real": sum(map(sigmoid, reals)) / 2,
        "d_fake": sum(map(sigmoid, fakes)) / 2,
        "d_accuracy": 0.5 * (1 / 2 + 1 / 2),
    }
    assert scalars == pytest.approx(expected, rel=1e-5)
    assert list(losses) == ["segmenter", "discriminator"]
    assert losses["discriminator"] == pytest.approx(expected["loss_discriminator"], rel=1e-5)
    assert losses["segmenter"] == pytest.approx(
        expected["loss_segmentation"]
        + 0.3 * expected["loss_feature_matching"]
        + 0.7 * expected["loss_self_taught"],
        rel=1e-5,
    )


# What is measured at log points


@pytest.mark.parametrize("name", ["s4gan", "s4gan_multi_label"])
@pytest.mark.parametrize("loss", ["cross_entropy", "least_squares"])
def test_d_hard_is_the_probability_of_the_argmax_by_hand(
    name: str, loss: str, mirror: Callable[[], Segmenter]
) -> None:
    """Of the predicted classes 0 and 2, of class 1 beside padding; not of padding alone."""
    first, second, third, noise = (1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 0.3), (9.0, 0.0, 0.0)
    free = Unlabelled(
        pixels([first, third], [second, noise], [noise, noise]),
        torch.tensor([[[True, True]], [[True, False]], [[False, False]]]),
        ("c", "d", "e"),
    )
    method = create(name, mirror, 3, loss=loss)
    method.discriminator = Means((4.0, 0.5), -1.0)
    found = method.measure(Batch(unlabelled=free))
    logits = [4 / 2 + 0.5 * (red(1.0) + red(0)) / 2 - 1, 0.5 * red(0) / 2 - 1]
    belief = sigmoid if loss == "cross_entropy" else lambda value: min(1.0, max(0.0, value))
    assert {key: float(value.detach()) for key, value in found.items()} == {
        "d_hard": pytest.approx(sum(map(belief, logits)) / 2, rel=1e-6)
    }


@pytest.mark.parametrize("cls", [S4Gan, S4GanMultiLabel])
def test_d_hard_is_0_where_nothing_is_scored(
    cls: type[Either], build: Build, make_batch: MakeBatch
) -> None:
    off = build(cls=cls, feature_matching_weight=0.0, self_taught_weight=0.0)
    assert float(off.measure(make_batch())["d_hard"]) == 0.0
    assert float(build(cls=cls).eval().measure(make_batch())["d_hard"].detach()) > 0.0
    assert float(build(cls=cls).measure(make_batch(void=True))["d_hard"].detach()) == 0.0


# The self-taught term


def pairs(logits: Tensor, features: Tensor, known: Tensor) -> PairScores:
    maps = torch.zeros(len(known), 3, 1, 1)
    return PairScores(logits=logits, features=features, weights=known, maps=maps)


def feature_matching_loss(made: PairScores, true: PairScores) -> Tensor:
    return feature_distance(made.features, true.features, made.weights, true.weights)


def self_taught_images_loss(
    logits: Tensor, scores: list[float], threshold: float, valid: Tensor
) -> tuple[Tensor, Tensor]:
    return self_taught_loss(logits, exceeds(torch.tensor(scores), threshold), valid)


def test_the_threshold_selects_images_and_not_pixels() -> None:
    """Of a trusted image every valid pixel is taught, however unsure; of another one none."""
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    valid = torch.rand(3, 5, 6) > 0.3
    loss, share = self_taught_images_loss(logits, [2.0, -2.0, 1.0], 0.6, valid)
    best = logits.detach().log_softmax(1).amax(1)
    chosen = valid.clone()
    chosen[1] = False
    assert float(loss.detach()) == pytest.approx(-float(best[chosen].mean()))
    assert float(share) == pytest.approx(2 / 3)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient.abs().sum(1) > 0, chosen)


def test_trust_and_pictures_show_the_discriminator_what_training_shows_it(
    build: Build, make_batch: MakeBatch
) -> None:
    method, batch = build(), make_batch()
    image, valid = batch.unlabelled.image.clone(), batch.unlabelled.valid.clone()
    valid[:, :, 10:] = False
    batch = unlabelled(batch, image=image.masked_fill(~valid[:, None], 0.0), valid=valid)
    image = batch.unlabelled.image
    seen: list[Tensor] = []
    method.discriminator.layers.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    logits = method.segmenter(image)
    method.pairs.of_predictions(logits, batch.unlabelled, EARLY)
    method.pseudo_labels(image, valid)
    method.pictures(replace_labelled(batch, image, valid), logits)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert not seen[0][:, :, :, 10:].any()


def replace_labelled(batch: Batch, image: Tensor, valid: Tensor) -> Batch:
    labelled = replace(batch.labelled, image=image, valid=valid)
    return Batch(labelled=labelled, unlabelled=batch.unlabelled)


@pytest.mark.parametrize(("threshold", "taught"), [(0.5, False), (0.4999, True), (0.5001, False)])
def test_only_scores_above_the_threshold_are_trusted(threshold: float, taught: bool) -> None:
    logits, valid = torch.randn(1, 3, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool)
    loss, share = self_taught_images_loss(logits, [0.0], threshold, valid)
    assert (float(loss) > 0) is taught
    assert float(share) == float(taught)


def test_a_threshold_of_1_trusts_no_image_and_one_of_0_each() -> None:
    logits, valid = torch.randn(2, 3, 2, 2), torch.ones(2, 2, 2, dtype=torch.bool)
    assert float(self_taught_images_loss(logits, [99.0, 0.0], 1.0, valid)[0]) == 0.0
    assert float(self_taught_images_loss(logits, [-20.0, 0.0], 0.0, valid)[1]) == 1.0


def test_the_share_is_one_of_the_images_that_are_known() -> None:
    logits = torch.randn(3, 3, 2, 2)
    valid = torch.tensor([True, True, False])[:, None, None].expand(3, 2, 2)
    scores = [1.0, -1.0, 1.0]
    assert float(self_taught_images_loss(logits, scores, 0.6, valid)[1]) == 0.5


def test_no_gradient_passes_through_the_choice_of_images(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    method = build(feature_matching_weight=0.0, confidence_threshold=0.0)
    update = gradients(method)
    scalars = method.step(make_batch(), LATE, update)
    assert float(scalars["loss_self_taught"]) > 0
    assert not reaches(update.losses["segmenter"], method.discriminator)
    assert reaches(update.losses["discriminator"], method.discriminator)


def reaches(loss: Tensor, network: nn.Module) -> bool:
    """Whether a gradient other than 0 gets from `loss` into `network`."""
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in found)


# Feature matching


def test_feature_matching_is_0_for_identical_batches() -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 6)
    known = torch.ones(4, dtype=torch.bool)
    one = pairs(features[:, 0], features, known)
    other = pairs(features[:, 0], features.flip(0), known)
    assert float(feature_matching_loss(one, one)) == 0.0
    assert float(feature_matching_loss(one, other)) == pytest.approx(0.0, abs=1e-7)
    moved = pairs(features[:, 0], features + 0.25, known)
    assert float(feature_matching_loss(one, moved)) == pytest.approx(0.25)


def test_feature_matching_is_between_the_means_of_the_known_pairs() -> None:
    made = torch.tensor([[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]], requires_grad=True)
    true = torch.tensor([[4.0, 3.0], [99.0, 99.0]], requires_grad=True)
    loss = feature_matching_loss(
        pairs(made[:, 0], made, torch.tensor([True, True, False])),
        pairs(true[:, 0], true, torch.tensor([True, False])),
    )
    assert float(loss.detach()) == pytest.approx((abs(2 - 4) + abs(4 - 3)) / 2)
    loss.backward()
    assert made.grad is not None
    assert made.grad.tolist() == [[-0.25, 0.25], [-0.25, 0.25], [0.0, 0.0]]
    assert true.grad is None


@pytest.mark.parametrize("unknown", ["made", "true"])
def test_feature_matching_is_0_where_a_side_has_no_pair(unknown: str) -> None:
    features = torch.ones(2, 3, requires_grad=True)
    sides = {
        side: pairs(features[:, 0], features, torch.full((2,), side != unknown))
        for side in ("made", "true")
    }
    loss = feature_matching_loss(sides["made"], sides["true"])
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert features.grad is not None
    assert not features.grad.any()


# The players


@pytest.mark.parametrize("true", [2.0, -2.0])
def test_a_step_of_the_segmenter_brings_its_features_nearer_to_the_true_ones(
    true: float, build: Build, make_batch: MakeBatch, make_updates: Callable[..., Any]
) -> None:
    """The score is the one feature: what S makes is believed more after it, or less."""
    method = build(feature_matching_weight=1e3, self_taught_weight=0.0)
    method.discriminator = Share(true)
    batch = make_batch()

    def share() -> float:
        with torch.no_grad():
            maps = method.segmenter(batch.unlabelled.image).softmax(1)
        return float(maps[:, 0][batch.unlabelled.valid].mean())

    before, updates = share(), make_updates(method, kind="sgd", lr=1e-5)
    updates.begin(EARLY)
    scalars = method.step(batch, EARLY, only(updates, "segmenter"))
    assert float(scalars["loss_feature_matching"]) > 1
    assert (share() - before) * true > 1e-5


class Share(nn.Module):
    """The one feature, and score, of a made map is its share of class 0; of a true one `true`."""

    def __init__(self, true: float) -> None:
        super().__init__()
        self.true = nn.Parameter(torch.tensor(true))

    def forward(self, maps: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        is_true = (maps == maps.round()).flatten(1).all(1)
        score = torch.where(is_true, self.true, maps[:, 0].mean((1, 2)))
        return score, score[:, None]


def only(updates: Any, player: str) -> Any:
    def update(who: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        if who == player:
            updates(who, loss, keep_graph=keep_graph)

    return update


def test_a_step_of_the_discriminator_parts_true_and_made(
    build: Build, make_batch: MakeBatch, make_updates: Callable[..., Any]
) -> None:
    method, batch = build(), make_batch()
    updates = make_updates(method, kind="sgd", lr=0.1)
    updates.begin(EARLY)
    only_d = only(updates, "discriminator")
    before = method.step(batch, EARLY, only_d)
    after = method.step(batch, EARLY, only_d)
    assert float(after["loss_discriminator"]) < float(before["loss_discriminator"])
    gaps = [float(found["d_real"] - found["d_fake"]) for found in (before, after)]
    assert gaps[1] > gaps[0]


def test_the_discriminator_learns_to_tell_fake_from_real(
    build: Build, make_batch: MakeBatch, make_updates: Callable[..., Any]
) -> None:
    method = build()
    updates = make_updates(method, lr=3e-3)
    scalars: dict[str, Tensor] = {}
    for step in range(60):
        updates.begin(Progress(step, 60))
        scalars = method.step(make_batch(step), EARLY, only(updates, "discriminator"))
    assert 0.8 < float(scalars["d_real"]) <= 1.0
    assert 0.0 <= float(scalars["d_fake"]) < 0.2
    assert float(scalars["d_accuracy"]) == 1.0


def test_one_score_an_image_in_0_1(build: Build, make_batch: MakeBatch, gradients: Any) -> None:
    method, scores = build(), []
    method.discriminator.register_forward_hook(
        lambda _m, _i, out: scores.append(out[0].detach().sigmoid())
    )
    scalars = method.step(make_batch(), EARLY, gradients(method))
    made, true = scores
    assert made.shape == true.shape == (2,)
    assert all(0 < float(score) < 1 for score in torch.cat(scores))
    assert float(scalars["d_fake"]) == pytest.approx(float(made.mean()))
    assert float(scalars["d_real"]) == pytest.approx(float(true.mean()))


# What the discriminator sees


def seen(method: S4Gan, batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """Maps and images of D's looks: made, then true."""
    looks: list[tuple[Tensor, Tensor]] = []
    hook = method.discriminator.register_forward_pre_hook(
        lambda _, inputs: looks.append((inputs[0].detach(), inputs[1].detach()))
    )
    method.step(batch, LATE, lambda player, loss, keep_graph=False: None)
    hook.remove()
    return looks


def test_it_sees_colours_in_0_1_whatever_else_is_in_the_batch(
    build: Build, make_batch: MakeBatch
) -> None:
    colours = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    everywhere = torch.ones(2, 32, 32, dtype=torch.bool)
    batch = make_batch()
    mask = batch.labelled.mask
    batch = Batch(
        labelled=whole((colours.flip(0) - mean) / std, mask, ("a", "b")),
        unlabelled=Unlabelled((colours - mean) / std, everywhere, ("c", "d")),
    )
    (_, made), (_, true) = seen(build(), batch)
    torch.testing.assert_close(made, colours)
    torch.testing.assert_close(true, colours.flip(0))


def test_no_hole_in_the_ground_truth_gives_it_away(build: Build, make_batch: MakeBatch) -> None:
    method, batch = build(), make_batch()
    void = batch.labelled.mask == IGNORE
    assert void.any()
    with torch.no_grad():
        answer = one_hot(method.segmenter(batch.labelled.image).argmax(dim=1), 3)
    _, (true, _) = seen(method, batch)
    columns = void[:, None].expand_as(true)
    assert torch.equal(true[columns], answer[columns])
    assert torch.equal(true[~columns], one_hot(batch.labelled.mask, 3)[~columns])


def test_padding_is_nothing_in_true_and_in_made_pairs(build: Build, make_batch: MakeBatch) -> None:
    batch = make_batch()
    valid = torch.ones_like(batch.labelled.mask, dtype=torch.bool)
    valid[0, :3] = False  # the band of the first is padding, that of the second void
    labelled = replace(batch.labelled, valid=valid)
    batch = Batch(labelled=labelled, unlabelled=batch.unlabelled)
    (made, colours), (true, true_colours) = seen(build(), batch)
    padding = ~batch.unlabelled.valid
    assert torch.equal(made.sum(1) == 0, padding)
    assert torch.equal((colours == 0).all(1), padding)
    assert torch.equal(true.sum(1) == 0, ~valid)
    assert torch.equal((true_colours == 0).all(1), ~valid)
    assert (true.sum(1) == 0).sum() == 3 * 32


@pytest.mark.parametrize("view", ["image", "views"])
def test_what_lies_under_padding_changes_nothing(
    view: str, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    batch = make_batch(dtype=torch.float64)
    padding = ~batch.unlabelled.valid[:, None]
    other: Any = batch.unlabelled.image.masked_fill(padding, 3.0)
    if view == "views":
        other = (batch.unlabelled.views[0].masked_fill(padding, 3.0),)
    found = []
    for shown in (batch, unlabelled(batch, **{view: other})):
        method = build("pixelwise", S4GanMultiLabel, confidence_threshold=0.0).double()
        update = gradients(method)
        scalars = method.step(shown, LATE, update)
        vectors = [update.vector(player) for player in method.players()]
        found.append([torch.stack([*scalars.values()]), *vectors])
    for before, after in zip(*found, strict=True):
        assert torch.allclose(before, after, **NOT_MOVED)


@pytest.mark.parametrize("cls", [S4Gan, S4GanMultiLabel])
def test_an_image_of_padding_alone_counts_as_if_it_were_not_there(
    cls: type[Either], build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    batch = make_batch(dtype=torch.float64)
    valid = batch.unlabelled.valid.clone()
    valid[1] = False
    mask = batch.labelled.mask.clone()
    mask[1] = IGNORE
    marked = Batch(
        labelled=whole(batch.labelled.image, mask, ("a", "b")),
        unlabelled=unlabelled(batch, valid=valid).unlabelled,
    )
    one = marked.labelled, marked.unlabelled
    assert one[1].views
    alone = Batch(
        labelled=whole(one[0].image[:1], mask[:1], ("a",)),
        unlabelled=Unlabelled(one[1].image[:1], valid[:1], ("c",), (one[1].views[0][:1],)),
    )
    found = []
    for shown in (marked, alone):
        method = build(cls=cls, confidence_threshold=0.0).double()
        update = gradients(method)
        scalars = method.step(shown, LATE, update)
        vectors = [update.vector(player) for player in method.players()]
        found.append([torch.stack([v.double() for v in scalars.values()]), *vectors])
    for before, after in zip(*found, strict=True):
        assert torch.allclose(before, after, rtol=1e-9, atol=1e-12)


# What is off


def test_without_its_terms_the_game_is_not_played(build: Build, make_batch: MakeBatch) -> None:
    method = build("plain", feature_matching_weight=0.0, self_taught_weight=0.0)
    moved: list[str] = []

    def update(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        moved.append(player)

    random = torch.get_rng_state()
    scalars = method.step(Batch(labelled=make_batch().labelled), LATE, update)
    assert moved == ["segmenter"]
    assert torch.equal(random, torch.get_rng_state())
    assert [key for key, value in scalars.items() if float(value)] == ["loss_segmentation"]


@pytest.mark.parametrize("off", ["feature_matching_weight", "self_taught_weight"])
def test_one_term_alone_is_still_a_game(
    off: str, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    method = build(confidence_threshold=0.0, **{off: 0.0})
    update = gradients(method)
    scalars = method.step(make_batch(), LATE, update)
    assert float(scalars["loss_discriminator"]) > 0
    assert update.vector("discriminator").any()
    assert float(scalars["loss_" + off.removesuffix("_weight")]) == 0.0
    assert reaches(update.losses["segmenter"], method.discriminator) is (
        off == "self_taught_weight"
    )


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("s4gan", "feature_matching_weight", -0.1),
        ("s4gan", "self_taught_weight", -0.1),
        ("s4gan", "confidence_threshold", 1.5),
        ("s4gan", "discriminator_width", 0),
        ("s4gan_multi_label", "feature_matching_weight", -0.1),
        ("s4gan_multi_label", "classification_weight", -0.1),
        ("s4gan_multi_label", "consistency_weight", -0.1),
        ("s4gan_multi_label", "consistency_burn_in", 1.5),
        ("s4gan_multi_label", "teacher_decay", 1.5),
        ("s4gan_multi_label", "presence_threshold", -0.1),
        ("s4gan_multi_label", "classifier", "vgg17"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(
    name: str, key: str, value: Any, segmenters: dict[str, Callable[[], Segmenter]]
) -> None:
    word = {"discriminator_width": "width", "classifier": "classification network"}.get(key, key)
    with pytest.raises(RecipeError, match=f"{word}.*{value}"):
        create(name, segmenters["plain"], 3, **{key: value})


def test_a_class_beside_the_background_is_needed(mirror: Callable[[], Segmenter]) -> None:
    with pytest.raises(RecipeError, match="a class beside the background"):
        create("s4gan_multi_label", mirror, 1)


# The classifier's branch


class Says(nn.Module):
    """The same logits for every image."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, image: Tensor) -> Tensor:
        return self.logits.expand(len(image), -1)


def test_the_fusion_by_hand(mirror: Callable[[], Segmenter]) -> None:
    """Class 1 is exactly at the threshold and stays, class 2 is below it and goes."""
    image = pixels([(0.0, 1.0, 5.0), (3.0, 1.0, 5.0), (0.0, 0.0, -9.0)])
    network = PresentClasses(mirror(), Says(0.0, -0.001), 0.5)  # type: ignore[arg-type]
    with torch.no_grad():
        fused = network(image)
    probability = image.softmax(1)
    torch.testing.assert_close(fused[:, :2].exp(), probability[:, :2])
    assert not fused[:, 2].exp().any()
    assert fused.argmax(1).tolist() == [[[1, 0, 0]]]
    assert torch.isfinite(fused).all()
    assert torch.isfinite(fused.half()).all()


def test_the_background_is_never_taken_away(mirror: Callable[[], Segmenter]) -> None:
    image = torch.randn(2, 3, 4, 4)
    network = PresentClasses(mirror(), Says(-50.0, -50.0), 1.0)  # type: ignore[arg-type]
    with torch.no_grad():
        fused = network(image)
    assert not fused.argmax(1).any()
    torch.testing.assert_close(fused[:, 0].exp(), image.softmax(1)[:, 0])


def test_a_class_that_is_not_there_loses_however_sure_the_segmenter_is(
    mirror: Callable[[], Segmenter],
) -> None:
    image = pixels([(0.0, 1.0, 1e6)])
    network = PresentClasses(mirror(), Says(9.0, -9.0), 0.2)  # type: ignore[arg-type]
    with torch.no_grad():
        fused = network(image)
    assert float(fused[0, 2, 0, 0]) == GONE
    assert fused[0, :2].min() > GONE


def test_each_image_has_its_own_classes(mirror: Callable[[], Segmenter]) -> None:
    torch.manual_seed(0)
    classifier = ClassificationNetwork(2, "toy", width=0).eval()
    network = PresentClasses(mirror(), classifier, 0.5)
    image = torch.randn(6, 3, 32, 32)
    with torch.no_grad():
        classifier.head.score.bias.sub_(classifier(image).mean(0))
        found = classifier(image).sigmoid() >= 0.5
        fused = network(image)
    assert found.any()
    assert not found.all()
    assert torch.equal((fused[:, 1:] > GONE).flatten(2).all(2), found)


def test_the_teacher_predicts_and_without_a_classifier_the_segmenter_alone(build: Build) -> None:
    method = build(cls=S4GanMultiLabel)
    predictor = method.predictor()
    assert predictor.segmenter is method.segmenter
    assert predictor.classifier is method.teacher.network
    assert build(cls=S4GanMultiLabel, classification_weight=0.0).predictor().stride == 1


def test_the_tags_of_a_crop_are_the_classes_with_a_pixel_in_it() -> None:
    mask = torch.tensor(
        [[[0, 2], [IGNORE, 0]], [[1, 3], [2, 2]], [[IGNORE] * 2] * 2, [[0] * 2] * 2]
    )
    assert tags_of_mask(mask, 4).tolist() == [
        [False, True, False],
        [True, True, True],
        [False, False, False],
        [False, False, False],
    ]


@pytest.mark.parametrize(
    ("fraction", "start", "height"),
    [
        (0.0, 0.1, 0.0),
        (0.1, 0.1, 0.0),
        (0.35, 0.1, 0.5),
        (0.6, 0.1, 1.0),
        (0.9, 0.1, 1.0),
        (0.0, 0.0, 0.0),
        (0.25, 0.0, 0.5),
        (0.99, 1.0, 0.0),
    ],
)
def test_the_ramp_of_the_consistency_term(fraction: float, start: float, height: float) -> None:
    assert ramp(fraction, start) == pytest.approx(height)


def test_the_classifiers_losses_by_hand(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    """A quarter of the run after a burn-in of an eighth: a quarter of the consistency weight."""
    method = build(
        cls=S4GanMultiLabel,
        classification_weight=0.5,
        consistency_weight=3.0,
        consistency_burn_in=0.125,
    )
    with torch.no_grad():
        for p in method.teacher.parameters():
            p.mul_(2.0)
    batch, update = make_batch(), gradients(method)
    with torch.no_grad():
        presence = method.classifier(batch.labelled.image)
        student = method.classifier(batch.unlabelled.views[0]).sigmoid()
        teacher = method.teacher(batch.unlabelled.image).sigmoid()
        assert (student - teacher).abs().min() > 1e-5
    tags = torch.tensor([[bool((m == k).any()) for k in (1, 2)] for m in batch.labelled.mask])
    scalars = method.step(batch, Progress(25, 100), update)
    classification = F.binary_cross_entropy(presence.sigmoid(), tags.float())
    consistency = F.mse_loss(student, teacher)
    assert float(scalars["loss_classification"]) == pytest.approx(float(classification), rel=1e-5)
    assert float(scalars["loss_consistency"]) == pytest.approx(float(consistency), rel=1e-4)
    assert float(update.losses["classifier"].detach()) == pytest.approx(
        float(0.5 * classification + 3.0 * 0.25 * consistency), rel=1e-5
    )
    assert float(scalars["tag_precision"]) == pytest.approx(float(tags.float().mean()))
    assert float(scalars["tag_recall"]) == 1.0  # all of about 0.5, so all are found


def test_precision_and_recall_at_the_threshold_of_the_fusion(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    method = build(cls=S4GanMultiLabel, presence_threshold=0.7)
    with torch.no_grad():
        method.classifier.head.score.weight.zero_()
        method.classifier.head.score.bias.copy_(torch.tensor([0.9, 0.8]))  # 0.71 and 0.69
    batch = make_batch()
    mask = batch.labelled.mask.clone()
    mask[1][mask[1] != IGNORE] = 2
    labelled = whole(batch.labelled.image, mask, ("a", "b"))
    assert tags_of_mask(mask, 3).tolist() == [[True, True], [False, True]]
    shown = Batch(labelled=labelled, unlabelled=batch.unlabelled)
    scalars = method.step(shown, LATE, gradients(method))
    assert float(scalars["tag_precision"]) == pytest.approx(1 / 2)
    assert float(scalars["tag_recall"]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("step", "looks"), [(10, 0), (11, 1)])
def test_before_its_start_the_consistency_term_costs_nothing(
    step: int, looks: int, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    method, calls = build(cls=S4GanMultiLabel), {"classifier": 0, "teacher": 0}

    def count(name: str) -> None:
        calls[name] += 1

    for name in calls:
        network = getattr(method, name)
        network.register_forward_hook(lambda *_, name=name: count(name))
    scalars = method.step(make_batch(), Progress(step, 100), gradients(method))
    assert calls == {"classifier": 1 + looks, "teacher": looks}
    assert (float(scalars["loss_consistency"]) > 0) is bool(looks)


def test_the_teacher_is_a_decaying_average(
    build: Build, make_batch: MakeBatch, make_updates: Callable[..., Any]
) -> None:
    """A plain mean of the first students, then a decay of 0.6; step 0 copies."""
    method = build(cls=S4GanMultiLabel, teacher_decay=0.6)
    updates = make_updates(method)
    students: list[list[Tensor]] = []
    for step in range(5):
        updates.begin(Progress(step, 5))
        method.step(make_batch(step), Progress(step, 5), updates)
        students.append([p.detach().clone() for p in method.classifier.parameters()])
        if step == 0:
            for mean, p in zip(method.teacher.parameters(), students[0], strict=True):
                assert torch.equal(mean, p)
    # Decays 0, 1/2, 0.6, 0.6, 0.6: the shares of the five students in the last teacher.
    shares = [0.5 * 0.6**3, 0.5 * 0.6**3, 0.4 * 0.6**2, 0.4 * 0.6, 0.4]
    assert sum(shares) == pytest.approx(1.0)
    for parameter, *past in zip(method.teacher.parameters(), *students, strict=True):
        expected = sum(share * p for share, p in zip(shares, past, strict=True))
        torch.testing.assert_close(parameter, expected, rtol=1e-4, atol=1e-6)


def test_the_teacher_waits_for_the_last_of_the_batches_of_a_step(
    build: Build, make_batch: MakeBatch, make_updates: Callable[..., Any]
) -> None:
    method = build(cls=S4GanMultiLabel, teacher_decay=0.6)
    updates = make_updates(method)
    with torch.no_grad():  # or it could not be told from its student, which has not moved
        for p in method.teacher.parameters():
            p.add_(1.0)
    before = [p.detach().clone() for p in method.teacher.parameters()]
    updates.begin(LATE)
    method.step(make_batch(), replace(LATE, ends_step=False), updates)
    assert all(map(torch.equal, method.teacher.parameters(), before))
    method.step(make_batch(), LATE, updates)
    assert not any(map(torch.equal, method.teacher.parameters(), before))


def test_the_teacher_is_no_player_but_part_of_the_state(build: Build) -> None:
    method = build(cls=S4GanMultiLabel)
    assert not any(p.requires_grad for p in method.teacher.parameters())
    assert {
        f"teacher.network.{key}" for key in method.classifier.state_dict()
    } <= method.state_dict().keys()
    assert [*method.players()] == ["segmenter", "discriminator", "classifier"]
    assert method.train().classifier.training
    assert not any(module.training for module in method.teacher.modules())
    assert not any(module.training for module in method.eval().modules())


def test_the_default_classifier_learns_with_its_statistics(
    build: Build, make_batch: MakeBatch, make_updates: Callable[..., Any], gradients: Any
) -> None:
    """MobileNetV2: the teacher takes over running statistics, and a blind image counts nowhere."""
    method = build(cls=S4GanMultiLabel, classifier="mobilenet_v2")
    updates = make_updates(method)
    updates.begin(EARLY)
    method.step(make_batch(), EARLY, updates)
    mine, copied = (
        dict(method.classifier.named_buffers()),
        dict(method.teacher.network.named_buffers()),
    )
    assert all(torch.equal(copied[key], value) for key, value in mine.items())
    means = [value for key, value in copied.items() if key.endswith("running_mean")]
    assert all(value.any() for value in means)

    batch = make_batch(1, dtype=torch.float64)
    valid = batch.unlabelled.valid.clone()
    valid[1] = False
    other = batch.unlabelled.image.clone()
    other[1] = 7.0 * other[0]
    method, vectors = method.double(), []
    for image in (batch.unlabelled.image, other):
        same, update = copy.deepcopy(method), None
        update = gradients(same)
        shown = unlabelled(batch, valid=valid, image=image, views=(0.5 * image,))
        assert float(same.step(shown, LATE, update)["loss_consistency"]) > 0
        vectors.append(update.vector("classifier"))
    assert torch.allclose(*vectors, **NOT_MOVED)


# The whole against a plain form of it


class Textbook:
    """The same algorithm without the engine: separate passes, own optimisers, toggled gradients."""

    def __init__(self, method: S4GanMultiLabel, lr: float, decay: float) -> None:
        self.s = copy.deepcopy(method.segmenter)
        self.d = copy.deepcopy(method.discriminator)
        self.c = copy.deepcopy(method.classifier)
        self.teacher = copy.deepcopy(method.teacher.network)
        self.decay = decay
        groups = [
            {"params": list(self.s.body.parameters()), "lr": lr},
            {"params": [*self.s.head.parameters(), *self.s.side_head.parameters()], "lr": 2 * lr},
        ]
        self.optimisers = {
            "s": torch.optim.SGD(groups, momentum=0.9),
            "d": torch.optim.SGD(self.d.parameters(), lr=lr, momentum=0.9),
            "c": torch.optim.SGD(self.c.parameters(), lr=lr, momentum=0.9),
        }

    def pair(self, maps: Tensor, image: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(MEAN, dtype=image.dtype).view(1, 3, 1, 1)
        std = torch.tensor(STD, dtype=image.dtype).view(1, 3, 1, 1)
        keep = (~padding).unsqueeze(1).to(image.dtype)
        x = torch.cat([maps * keep, (image * std + mean) * keep], dim=1)
        for layer in self.d.layers:
            x = layer(x.clone())
        features = x.flatten(2).mean(dim=2)
        return torch.sigmoid(self.d.score(features)).squeeze(1), features

    def step(self, batch: Batch, t: int, total: int, threshold: float) -> list[bool]:
        x, y = batch.labelled.image, batch.labelled.mask
        u, valid, strong = batch.unlabelled.image, batch.unlabelled.valid, batch.unlabelled.views[0]
        nothing = torch.zeros_like(y, dtype=torch.bool)

        # Segmenter: nothing reaches D.
        for p in self.d.parameters():
            p.requires_grad = False
        self.optimisers["s"].zero_grad()
        main, side = self.s.training_logits(x)
        loss = F.cross_entropy(main, y, ignore_index=IGNORE)
        loss = loss + 0.5 * F.cross_entropy(side, y, ignore_index=IGNORE)
        logits = self.s(u)
        probabilities = torch.softmax(logits, dim=1)
        score, made = self.pair(probabilities, u, ~valid)
        truth = y.clone()
        truth[y == IGNORE] = main.argmax(1)[y == IGNORE]
        hot = torch.stack([(truth == k).to(x.dtype) for k in range(3)], dim=1)
        _, true = self.pair(hot, x, nothing)
        loss = loss + 0.1 * (made.mean(0) - true.mean(0)).abs().mean()
        trusted = [float(value) > threshold for value in score.detach()]
        chosen = [
            F.cross_entropy(logits[i : i + 1], logits[i : i + 1].argmax(1), reduction="none")[0][
                valid[i]
            ]
            for i, good in enumerate(trusted)
            if good
        ]
        if chosen:
            loss = loss + torch.cat(chosen).mean()
        loss.backward()
        fake_maps = probabilities.detach()
        self.optimisers["s"].step()

        # Discriminator: new passes over what S said before its step.
        for p in self.d.parameters():
            p.requires_grad = True
        self.optimisers["d"].zero_grad()
        fake, _ = self.pair(fake_maps, u, ~valid)
        real, _ = self.pair(hot, x, nothing)
        loss_d = F.binary_cross_entropy(fake, torch.zeros_like(fake))
        loss_d = (loss_d + F.binary_cross_entropy(real, torch.ones_like(real))) / 2
        loss_d.backward()
        self.optimisers["d"].step()

        # Classifier and its teacher.
        self.optimisers["c"].zero_grad()
        tags = torch.stack([(y == k).flatten(1).any(1) for k in (1, 2)], dim=1).to(x.dtype)
        loss_c = F.binary_cross_entropy(torch.sigmoid(self.c(x)), tags)
        weight = min(1.0, max(0.0, (t / total - 0.1) * 2))
        with torch.no_grad():
            target = torch.sigmoid(self.teacher(u))
        (loss_c + weight * F.mse_loss(torch.sigmoid(self.c(strong)), target)).backward()
        self.optimisers["c"].step()
        alpha = min(1 - 1 / (t + 1), self.decay)
        with torch.no_grad():
            for mean, p in zip(self.teacher.parameters(), self.c.parameters(), strict=True):
                mean.mul_(alpha).add_(p, alpha=1 - alpha)
        return trusted


def test_five_steps_are_those_of_the_textbook(
    build: Build, make_batch: MakeBatch, make_updates: Callable[..., Any]
) -> None:
    threshold = 0.45
    method = build(
        "auxiliary", S4GanMultiLabel, confidence_threshold=threshold, teacher_decay=0.6
    ).double()
    with torch.no_grad():  # a judge with an opinion, so that it trusts some images and not others
        method.discriminator.score.weight.mul_(30.0)
    start = copy.deepcopy(method.state_dict())
    plain = Textbook(method, lr=0.05, decay=0.6)
    updates = make_updates(method, kind="sgd", lr=0.05, momentum=0.9)
    trusted: list[bool] = []
    for step in range(5):
        batch = make_batch(step, dtype=torch.float64)
        updates.begin(Progress(step, 5))
        scalars = method.step(batch, Progress(step, 5), updates)
        now = plain.step(batch, step, 5, threshold)
        assert float(scalars["self_taught_share"]) == pytest.approx(sum(now) / 2)
        trusted += now
    assert len(set(trusted)) == 2, "either all images were trusted or none"
    pairs = {
        "segmenter": plain.s,
        "discriminator": plain.d,
        "classifier": plain.c,
        "teacher.network": plain.teacher,
    }
    for name, network in pairs.items():
        for key, value in network.state_dict().items():
            found = method.state_dict()[f"{name}.{key}"]
            torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-12, msg=f"{name}.{key}")
            assert (found - start[f"{name}.{key}"]).abs().max() > 1e-6, f"{name}.{key} stood still"


def test_one_mask_of_dropout_serves_both_updates(
    segmenters: dict[str, Callable[[], Segmenter]], make_batch: MakeBatch, gradients: Any
) -> None:
    torch.manual_seed(0)
    method = create("s4gan", segmenters["plain"], 3).train()
    looks: list[Tensor] = []
    method.discriminator.register_forward_hook(lambda _m, _i, out: looks.append(out[0].detach()))
    update = gradients(method)
    method.step(make_batch(), LATE, update)
    assert len(looks) == 2, "D looks once at made pairs and once at true ones"
    made, true = looks
    expected = 0.5 * (F.softplus(made).mean() + F.softplus(-true).mean())
    assert float(update.losses["discriminator"].detach()) == pytest.approx(float(expected))
    assert isinstance(method.discriminator, ImageDiscriminator)
