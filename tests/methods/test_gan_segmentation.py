"""What is special to Souly et al. 2017; the rest is in the contract and in test_orders.

Its stabilisers and samples are in test_gan_segmentation_stabilisers.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import create
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.losses.extra_class import realness
from semisup.methods.gan_segmentation import diversity
from semisup.types import Batch, Progress, Unlabelled

CLASSES, SIDE = 3, 32
EARLY = Progress(0, 100)
BOTH = pytest.mark.parametrize("name", ["gan_segmentation", "gan_segmentation_weak"])

MakeBatch = Callable[..., Batch]
Build = Callable[..., Any]


@pytest.fixture
def build(segmenters: dict[str, Callable[..., Any]]) -> Build:
    def build(name: str = "gan_segmentation", kind: str = "plain", **options: Any) -> Any:
        torch.manual_seed(0)
        return create(name, segmenters[kind], CLASSES, (SIDE, SIDE), **options).train()

    return build


@BOTH
def test_k_plus_1_logits_and_a_predictor_that_never_says_generated(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    method = build(name)
    image = make_batch().labelled.image
    with torch.no_grad():
        nn.init.constant_(method.segmenter.head.bias, 0.0)
        method.segmenter.head.bias[-1] = 1e6  # sure that all of it is made
        logits = method.segmenter(image)
        predicted = method.predictor()(image)
    assert logits.shape[1] == CLASSES + 1
    assert torch.equal(predicted, logits[:, :CLASSES])
    assert (logits.argmax(1) == CLASSES).all()
    assert int(predicted.argmax(1).max()) < CLASSES


@BOTH
def test_the_order_is_generator_then_segmenter_on_the_same_images(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    method = build(name)
    order: list[tuple[str, bool]] = []
    made: list[Tensor] = []
    method.generator.register_forward_hook(lambda *hooked: made.append(hooked[-1]))
    looks = [0]
    method.segmenter.head.register_forward_hook(lambda *_: looks.__setitem__(0, looks[0] + 1))
    method.step(
        make_batch(),
        EARLY,
        lambda player, loss, keep_graph=False: order.append((player, keep_graph)),
    )
    assert order == [("generator", True), ("segmenter", False)]
    assert len(made) == 1
    assert looks == [3], "made, labelled, and real images: one look each"


@BOTH
def test_made_images_leave_the_running_statistics_alone(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    """They go by real images alone: the same whatever the generator makes."""
    ends = []
    for gain in (1.0, 50.0):
        method = build(name, "batch_norm")
        with torch.no_grad():
            method.generator.layers[-1].weight.mul_(gain)
        method.step(make_batch(), EARLY, lambda player, loss, keep_graph=False: None)
        norm = method.segmenter.body[1]
        ends.append(torch.cat([norm.running_mean, norm.running_var]))
        assert int(norm.num_batches_tracked) == 2, "labelled and real ones"
    assert torch.equal(*ends)


@BOTH
def test_with_generated_weight_0_no_image_is_made(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    method = build(name, generated_weight=0.0)
    method.generator.register_forward_hook(lambda *_: pytest.fail("an image was made"))
    order: list[str] = []
    state = torch.get_rng_state()
    scalars = method.step(
        make_batch(), EARLY, lambda player, loss, keep_graph=False: order.append(player)
    )
    assert order == ["segmenter"]
    assert torch.equal(state, torch.get_rng_state())
    assert float(scalars["loss_unlabelled"]) > 0


@BOTH
def test_more_updates_of_the_generator_on_images_of_their_own(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    method = build(name, generator_updates=3)
    order: list[tuple[str, bool]] = []
    made: list[Tensor] = []
    method.generator.register_forward_hook(lambda *hooked: made.append(hooked[-1].detach()))
    method.step(
        make_batch(),
        EARLY,
        lambda player, loss, keep_graph=False: order.append((player, keep_graph)),
    )
    assert order == [("generator", False)] * 2 + [("generator", True), ("segmenter", False)]
    assert not torch.equal(made[0], made[1])


@BOTH
def test_each_player_pulls_the_logit_of_generated_its_way(
    name: str, build: Build, make_batch: MakeBatch, make_updates: Callable[..., Any]
) -> None:
    batch = make_batch()

    def mean_realness(method: Any) -> float:
        torch.manual_seed(7)
        with torch.no_grad():
            real = batch.weak if method.conditional else batch.unlabelled
            return float(realness(method.segmenter(method._generate(real))).mean())

    for player, direction in (("generator", 1), ("segmenter", -1)):
        # Only made images count: a step lowers or raises what S makes of them.
        method = build(name, unlabelled_weight=0.0, generated_weight=100.0)
        updates = make_updates(method, lr=1e-3)
        updates.begin(EARLY)
        before = mean_realness(method)
        torch.manual_seed(7)

        def only(
            who: str,
            loss: Tensor,
            *,
            keep_graph: bool = False,
            player: str = player,
            updates: Any = updates,
        ) -> None:
            if who == player:
                updates(who, loss, keep_graph=keep_graph)

        method.step(batch, EARLY, only)
        assert direction * (mean_realness(method) - before) > 1e-5, player


def test_the_generator_is_told_the_tags(build: Build, make_batch: MakeBatch) -> None:
    method, batch = build("gan_segmentation_weak"), make_batch()
    told: list[Tensor] = []
    method.generator.register_forward_pre_hook(lambda _, given: told.append(given[1]))
    method.step(batch, EARLY, lambda player, loss, keep_graph=False: None)
    assert torch.equal(told[0], batch.weak.tags[:, 1:])


def test_least_squares_have_no_minimax_game(build: Build) -> None:
    with pytest.raises(RecipeError, match='saturating goes with loss "cross_entropy" or "hinge"'):
        build(loss="least_squares", saturating=True)


@pytest.mark.parametrize(
    ("loss", "saturating"),
    [
        ("cross_entropy", False),
        ("cross_entropy", True),
        ("hinge", False),
        ("hinge", True),
        ("least_squares", False),
    ],
)
def test_every_form_of_the_game_trains(
    loss: str, saturating: bool, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    method = build(loss=loss, saturating=saturating, feature_matching_weight=1.0)
    updates = make_updates(method, lr=1e-3)
    for step in range(3):
        updates.begin(Progress(step, 3))
        method.step(make_batch(step), Progress(step, 3), updates)
    updates.check_finite()
    updates.check_weights(3)


def test_feature_matching_moves_the_generator_alone(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    found = []
    for weight in (0.0, 2.0):
        method = build(feature_matching_weight=weight).double()
        update = gradients(method)
        torch.manual_seed(3)
        method.step(make_batch(dtype=torch.float64), EARLY, update)
        found.append({player: update.vector(player) for player in method.players()})
    assert not torch.allclose(found[0]["generator"], found[1]["generator"])
    assert torch.equal(found[0]["segmenter"], found[1]["segmenter"])


def test_indices_of_poolings_are_no_features(build: Build, make_batch: MakeBatch) -> None:
    method, image = build(), make_batch().labelled.image
    features = method._features(image)
    encode = method.segmenter.encode
    method.segmenter.encode = lambda image: [*encode(image), torch.zeros(2, 8, 4, 4).long()]
    assert torch.equal(method._features(image), features)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unlabelled_weight", -0.1),
        ("generated_weight", -0.1),
        ("feature_matching_weight", -0.1),
        ("label_smoothing", 1.0),
        ("generator_updates", 0),
        ("instance_noise", -0.1),
        ("r1", -0.1),
        ("generator_average", 1.5),
        ("image_pool", -1),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(
    key: str, value: float, segmenters: dict[str, Callable[..., Any]]
) -> None:
    with pytest.raises(RecipeError, match=rf"gan_segmentation: (game\.)?{key}.*{value}"):
        create("gan_segmentation", segmenters["plain"], 3, (32, 32), **{key: value})


def test_without_a_size_of_the_images_it_says_what_to_set(
    segmenters: dict[str, Callable[..., Any]],
) -> None:
    with pytest.raises(RecipeError, match=r"set data\.crop to \[height, width\]"):
        create("gan_segmentation", segmenters["plain"], 3)
    with pytest.raises(RecipeError, match="at least 8 x 8 pixels, not 4 x 4: train on larger"):
        create("gan_segmentation", segmenters["plain"], 3, (4, 4))


@torch.no_grad()
def test_the_picture_is_what_the_form_calls_the_probability_of_real(
    build: Build, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    for loss in ("cross_entropy", "hinge", "least_squares"):
        method = build(loss=loss).eval()
        held = realness(method.segmenter(batch.labelled.image))
        expected = held.clamp(0, 1) if loss == "least_squares" else held.sigmoid()
        shown = method.pictures(batch, held)["real"]
        assert torch.equal(shown, expected[:, None])


def test_diversity(make_batch: MakeBatch) -> None:
    real = make_batch().unlabelled
    shown = Unlabelled(image=real.image, valid=real.valid, ids=real.ids)
    assert diversity(real.image, shown).item() == pytest.approx(1.0)
    same = real.image[:1].expand_as(real.image)
    assert diversity(same, shown).item() == 0.0
    assert diversity(real.image[:1], shown).item() == 1.0
    halfway = (real.image + same) / 2
    assert diversity(halfway, shown).item() == pytest.approx(0.5, rel=1e-4)
