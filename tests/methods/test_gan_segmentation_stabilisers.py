"""Remedies for the game of Souly et al. 2017, and the samples that are made to be looked at.

That the step with them is the textbook's is in test_orders.
"""

from __future__ import annotations

import copy
import inspect
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import create
from torch import Tensor

from semisup.losses.gan import Game
from semisup.methods import gan_segmentation
from semisup.methods.gan_segmentation import GanSegmentation
from semisup.ops.image_pool import ImagePool
from semisup.types import Batch, Progress, Unlabelled

CLASSES, SIDE = 3, 32
EARLY = Progress(0, 100)
ALL = {
    "instance_noise": 0.3,
    "r1": 50.0,
    "generator_average": 0.9,
    "image_pool": 3,
    "feature_matching_weight": 0.1,
}
BOTH = pytest.mark.parametrize("name", ["gan_segmentation", "gan_segmentation_weak"])

MakeBatch = Callable[..., Batch]
Build = Callable[..., Any]


@pytest.fixture
def build(segmenters: dict[str, Callable[..., Any]]) -> Build:
    def build(
        name: str = "gan_segmentation", kind: str = "plain", seed: int = 0, **options: Any
    ) -> Any:
        torch.manual_seed(seed)
        return create(name, segmenters[kind], CLASSES, (SIDE, SIDE), **options).train()

    return build


def nowhere(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
    """An update that moves nothing."""


def take_steps(method: Any, updates: Any, make_batch: MakeBatch, steps: range) -> dict[str, Tensor]:
    scalars: dict[str, Tensor] = {}
    for step in steps:
        progress = Progress(step, 10)
        updates.begin(progress)
        scalars = method.step(make_batch(step), progress, updates)
    return scalars


def assert_same_state(one: Any, other: Any) -> None:
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


# ---- All of them ----


@BOTH
def test_off_they_leave_no_trace(name: str, build: Build) -> None:
    """No network, memory or buffer of their own; with them there are."""
    parts = {key.partition(".")[0] for key in build(name).state_dict()}
    assert parts == {"segmenter", "generator"}
    parts = {key.partition(".")[0] for key in build(name, **ALL).state_dict()}
    assert parts == {"segmenter", "generator", "average", "pool"}


def test_the_weak_form_has_the_same_options() -> None:
    for cls in (GanSegmentation, gan_segmentation.GanSegmentationWeak):
        told = set(re.findall(r"^    (\w+):", inspect.getdoc(cls) or "", flags=re.MULTILINE))
        assert set(inspect.signature(cls).parameters) <= told


@BOTH
def test_a_saved_method_with_all_of_them_goes_on_bit_for_bit(
    name: str, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    method = build(name, "full", **ALL)
    updates = make_updates(method)
    take_steps(method, updates, make_batch, range(3))
    file = io.BytesIO()
    saved = {"method": method.state_dict(), "updates": updates.state_dict()}
    torch.save(saved | {"random": torch.get_rng_state()}, file)
    file.seek(0)
    take_steps(method, updates, make_batch, range(3, 6))

    other = build(name, "full", seed=5, **ALL)
    other_updates = make_updates(other)
    state = torch.load(file, weights_only=True)
    other.load_state_dict(state["method"])
    other_updates.load_state_dict(state["updates"])
    torch.set_rng_state(state["random"])
    take_steps(other, other_updates, make_batch, range(3, 6))
    assert_same_state(method, other)


@BOTH
def test_with_all_of_them_a_batch_without_a_valid_pixel_breaks_nothing(
    name: str, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    method = build(name, "full", **ALL)
    updates = make_updates(method)
    scalars = take_steps(method, updates, lambda _: make_batch(void=True), range(2))
    assert [key for key, value in scalars.items() if not torch.isfinite(value)] == []
    assert float(scalars["loss_gradient_penalty"]) == 0.0
    updates.check_finite()
    updates.check_weights(1)


# ---- Instance noise ----


@BOTH
@pytest.mark.parametrize("step", [0, 75])
def test_noise_is_on_what_is_judged_and_not_on_what_is_learnt(
    name: str, step: int, build: Build, make_batch: MakeBatch
) -> None:
    method, batch = build(name, instance_noise=2.0), make_batch()
    made: list[Tensor] = []
    seen: list[Tensor] = []
    make = method._generate
    method._generate = lambda real: made.append(make(real)) or made[-1]
    method.segmenter.body.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    method.step(batch, Progress(step, 100), nowhere)
    judged, learnt, real = seen
    expected = 2.0 * (1 - step / 100)
    assert torch.equal(learnt, batch.labelled.image)
    for shown, clean in ((judged, made[0]), (real, batch.unlabelled.image)):
        assert float((shown - clean).detach().std()) == pytest.approx(expected, rel=0.05)


def test_noise_is_on_pooled_images_too(build: Build, make_batch: MakeBatch) -> None:
    method, seen = build(instance_noise=2.0, image_pool=4), []
    earlier = torch.randn(2, 3, SIDE, SIDE)
    method.pool.exchange = lambda images: earlier
    method.segmenter.body.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    method.step(make_batch(), EARLY, nowhere)
    assert float((seen[1] - earlier).std()) == pytest.approx(2.0, rel=0.05)


def test_features_are_those_of_what_is_judged(build: Build, make_batch: MakeBatch) -> None:
    method = build(instance_noise=2.0, feature_matching_weight=1.0)
    seen: list[Tensor] = []
    method.segmenter.body.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    batch = make_batch()
    method.step(batch, EARLY, nowhere)
    judged, made, real, *_ = seen
    assert torch.equal(judged, made)
    assert float((real - batch.unlabelled.image).std()) == pytest.approx(2.0, rel=0.05)


# ---- Gradient penalty ----


def penalty(method: Any, real: Unlabelled) -> float:
    return float(method._logits_of_real(real, EARLY)[1].detach())


def test_the_penalty_of_a_linear_judge(
    segmenters: dict[str, Callable[..., Any]], make_batch: MakeBatch
) -> None:
    """K = 1: realness is l_1 - l_G, here a . pixel, of slope a / n at n pixels: |a|^2 / (2 n)."""
    method: Any = create(
        "gan_segmentation",
        lambda extra: segmenters["pixelwise"](1, extra=extra),  # type: ignore[call-arg]
        1,
        (SIDE, SIDE),
        r1=1.0,
    )
    method.double()
    method.segmenter.body[1] = torch.nn.Identity()
    head = method.segmenter.head.weight.detach()[:, :, 0, 0]
    slope = (head[0] - head[1]) @ method.segmenter.body[0].weight.detach()[:, :, 0, 0]
    real = make_batch(dtype=torch.float64).unlabelled
    pixels = real.valid.sum(dim=(1, 2)).double()
    assert float(pixels[0]) != float(pixels[1])
    expected = slope.square().sum() / 2 * (1 / pixels).mean()
    assert penalty(method, real) == pytest.approx(float(expected), rel=1e-9)


def test_padding_has_no_say_in_the_penalty(build: Build, make_batch: MakeBatch) -> None:
    method = build("gan_segmentation", "pixelwise", r1=1.0).double()
    real = make_batch(dtype=torch.float64).unlabelled
    image = real.image.masked_fill(~real.valid[:, None], 3.0)
    other = Unlabelled(image=image, valid=real.valid, ids=real.ids)
    before = penalty(method, real)
    assert before > 0
    assert penalty(method, other) == pytest.approx(before, rel=1e-12)

    # Through a wider view padding is seen, but its own pixels are nobody's to change.
    method = build("gan_segmentation", "plain", r1=1.0).double()
    image = real.image.clone().requires_grad_()
    logits = method.segmenter(image)
    realness = logits[:, :-1].logsumexp(1) - logits[:, -1]
    valid = real.valid
    of_each = (realness * valid).sum((1, 2)) / valid.sum((1, 2))
    (slope,) = torch.autograd.grad(of_each.sum(), image)
    squares = slope.square().sum(1)
    assert float(squares[~valid].sum()) > 1e-3 * float(squares.sum())
    expected = float((squares * valid).sum((1, 2)).mean() / 2)
    assert penalty(method, real) == pytest.approx(expected, rel=1e-9)

    valid = real.valid.clone()
    valid[1] = False
    alone = Unlabelled(image=real.image[:1], valid=valid[:1], ids=real.ids[:1])
    padded = Unlabelled(image=real.image, valid=valid, ids=real.ids)
    assert penalty(method, padded) == pytest.approx(penalty(method, alone), rel=1e-12)


def test_the_penalty_moves_the_segmenter_alone_and_smooths_it(
    build: Build, make_batch: MakeBatch, gradients: Any, make_updates: Any
) -> None:
    batch = make_batch(dtype=torch.float64)
    found, reported = [], []
    for weight in (0.0, 300.0):
        method = build(r1=weight).double()
        update = gradients(method)
        torch.manual_seed(3)
        reported.append(method.step(batch, EARLY, update))
        found.append({player: update.vector(player) for player in method.players()})
    assert torch.equal(found[0]["generator"], found[1]["generator"])
    assert not torch.allclose(found[0]["segmenter"], found[1]["segmenter"])
    assert float(reported[0]["loss_gradient_penalty"]) == 0.0
    assert torch.equal(reported[0]["loss_unlabelled"], reported[1]["loss_unlabelled"])

    ends = []
    for weight in (0.0, 3000.0):
        method = build(r1=weight)
        take_steps(method, make_updates(method), make_batch, range(8))
        method.game = Game(r1=1.0)
        ends.append(penalty(method, make_batch().unlabelled))
    assert ends[1] < 0.5 * ends[0]


def test_without_the_unlabelled_term_the_penalty_still_acts(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    found = []
    for weight in (0.0, 300.0):
        method = build(r1=weight, unlabelled_weight=0.0).double()
        update = gradients(method)
        torch.manual_seed(3)
        method.step(make_batch(dtype=torch.float64), EARLY, update)
        found.append(update.vector("segmenter"))
    assert not torch.allclose(*found)


# ---- Average of the generator ----


def test_the_average_follows_the_generator_once_a_step(
    build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    method = build(generator_average=0.6)
    updates = make_updates(method)
    means = dict(method.average.network.named_parameters())
    statistics = dict(method.average.network.named_buffers())["layers.1.running_mean"]
    expected = None
    for step, decay in enumerate((0.0, 0.5, 0.6)):
        before = {key: value.clone() for key, value in means.items()}
        progress = Progress(step, 10, ends_step=False)
        updates.begin(progress)
        method.step(make_batch(step), progress, updates)
        for key, value in means.items():
            assert torch.equal(value, before[key]), "it moved in the middle of a step"
        progress = Progress(step, 10)
        updates.begin(progress)
        method.step(make_batch(step), progress, updates)
        for key, now in method.generator.named_parameters():
            torch.testing.assert_close(means[key], decay * before[key] + (1 - decay) * now)
        now = method.generator.layers[1].running_mean
        expected = now if expected is None else decay * expected + (1 - decay) * now
        expected = expected.clone()
        torch.testing.assert_close(statistics, expected)


@BOTH
def test_the_average_is_no_player_and_changes_no_step(
    name: str, build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    plain, averaged = build(name), build(name, generator_average=0.9)
    ours = {id(p) for groups in averaged.players().values() for g in groups for p in g.params}
    assert not ours & {id(p) for p in averaged.average.parameters()}
    assert not any(p.requires_grad for p in averaged.average.parameters())
    for method in (plain, averaged):
        torch.manual_seed(2)
        take_steps(method, make_updates(method), make_batch, range(3))
    assert_same_state(plain.segmenter, averaged.segmenter)
    assert_same_state(plain.generator, averaged.generator)


# ---- Pool ----


@BOTH
def test_with_a_pool_the_segmenter_has_a_look_of_its_own(
    name: str, build: Build, make_batch: MakeBatch
) -> None:
    method = build(name, "batch_norm", image_pool=4)
    order: list[tuple[str, bool]] = []
    given: list[Tensor] = []
    seen: list[Tensor] = []
    earlier = torch.randn(2, 3, SIDE, SIDE)
    method.pool.exchange = lambda images: given.append(images) or earlier
    made: list[Tensor] = []
    make = method._generate
    method._generate = lambda real: made.append(make(real)) or made[-1]
    method.segmenter.body.register_forward_pre_hook(lambda _, shown: seen.append(shown[0]))
    method.step(
        make_batch(), EARLY, lambda who, loss, keep_graph=False: order.append((who, keep_graph))
    )
    assert order == [("generator", False), ("segmenter", False)]
    assert len(seen) == 4
    assert torch.equal(seen[0], made[0])
    assert torch.equal(given[0], made[0])
    assert seen[1] is earlier
    norm = method.segmenter.body[1]
    assert int(norm.num_batches_tracked) == 2, "labelled and real ones"


def test_what_the_pool_gives_is_what_the_segmenter_learns_to_tell(
    build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    """With a pool that has room all images are fresh: the look of its own changes no gradient."""
    found = []
    for pool in (0, 4, 1):
        method = build(image_pool=pool).double()
        if pool == 1:
            method.pool.exchange = torch.zeros_like
        update = gradients(method)
        torch.manual_seed(3)
        method.step(make_batch(dtype=torch.float64), EARLY, update)
        found.append({player: update.vector(player) for player in method.players()})
    for player in found[0]:
        torch.testing.assert_close(found[0][player], found[1][player])
    assert torch.equal(found[0]["generator"], found[2]["generator"])
    assert not torch.allclose(found[0]["segmenter"], found[2]["segmenter"])


def test_the_pool_holds_clean_images_of_earlier_steps(
    build: Build, make_batch: MakeBatch, make_updates: Any
) -> None:
    method = build(image_pool=3, instance_noise=5.0, generator_updates=2)
    made: list[Tensor] = []
    make = method._generate
    method._generate = lambda real: made.append(make(real)) or made[-1]
    take_steps(method, make_updates(method), make_batch, range(1))
    assert int(method.pool.filled) == 2, "the last images of a step alone"
    assert torch.equal(method.pool.images[:2], made[1])
    take_steps(method, make_updates(method), make_batch, range(1, 2))
    assert int(method.pool.filled) == 3
    assert isinstance(method.pool, ImagePool)


# ---- Samples ----


@pytest.fixture
def trained(build: Build, make_batch: MakeBatch, make_updates: Any) -> Build:
    def trained(name: str = "gan_segmentation", **options: Any) -> Any:
        method = build(name, **options)
        take_steps(method, make_updates(method), make_batch, range(2))
        return method.eval()

    return trained


@BOTH
@torch.no_grad()
def test_samples_depend_on_weights_and_seed_alone(
    name: str, trained: Build, build: Build, segmenters: dict[str, Any]
) -> None:
    with torch.enable_grad():
        method = trained(name, generator_average=0.9)
    before, state = copy.deepcopy(method), torch.get_rng_state()
    samples = method.make_samples(5, 7)
    assert samples.shape == (5, 3, SIDE, SIDE)
    assert 0 <= float(samples.min()) < float(samples.max()) <= 1
    assert torch.equal(samples, method.make_samples(5, 7))
    assert not torch.equal(samples, method.make_samples(5, 8))
    assert len({tuple(image.flatten().tolist()) for image in samples}) == 5
    assert torch.equal(state, torch.get_rng_state())
    assert_same_state(before, method)

    other = build(name, seed=9, generator_average=0.9).eval()
    assert not torch.equal(samples, other.make_samples(5, 7))
    other.load_state_dict(method.state_dict())
    assert torch.equal(samples, other.make_samples(5, 7))


@torch.no_grad()
def test_samples_are_those_of_the_average_if_there_is_one(trained: Build) -> None:
    for decay in (0.0, 0.9):
        with torch.enable_grad():
            method = trained(generator_average=decay)
        noise = method.generator.draw(3, torch.empty(0), torch.Generator().manual_seed(1))
        own = method.generator(noise)
        samples = method.make_samples(3, 1)
        if decay:
            assert torch.equal(samples, method.average(noise))
            assert not torch.equal(samples, own)
        else:
            assert torch.equal(samples, own)


@torch.no_grad()
def test_each_sample_is_told_one_class_in_turn(trained: Build) -> None:
    with torch.enable_grad():
        method = trained("gan_segmentation_weak")
    told: list[Tensor] = []
    method.generator.register_forward_pre_hook(lambda _, given: told.append(given[1]))
    method.make_samples(5, 0)
    assert told[0].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]]


@BOTH
@torch.no_grad()
def test_many_samples_are_made_in_parts(
    name: str, trained: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.enable_grad():
        method = trained(name)
    whole = method.make_samples(5, 0)
    monkeypatch.setattr(gan_segmentation, "SAMPLES_TOGETHER", 2)
    sizes: list[int] = []
    method.generator.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    torch.testing.assert_close(method.make_samples(5, 0), whole)
    assert sizes == [2, 2, 1]


def test_where_no_image_is_made_there_is_no_sample(build: Build) -> None:
    assert build(generated_weight=0.0, generator_average=0.9).make_samples(2, 0) is None
