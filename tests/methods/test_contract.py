"""What holds for every training method, over the catalogue: a new method needs no new test here."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from support.methods import create
from torch import Tensor, nn

from semisup.catalog import METHODS
from semisup.contracts.methods import (
    LATE,
    Watched,
    cancelled_biases,
    documented_scalars,
    of_the_classes,
    parameters_of,
    relative_change,
    with_unlabelled,
)
from semisup.contracts.toys import CLASSES, SIDE
from semisup.methods.base import Method
from semisup.models.decouplednet import DecoupledNet
from semisup.options import options_schema
from semisup.training.updates import Updates
from semisup.types import Batch, Labelled, Progress

DROPOUTS = (nn.Dropout, nn.Dropout2d)
IN_STAGES = DecoupledNet.trained_by
"""Methods that teach a part of their network: what the parts come to is tested beside them."""

CERTAIN: dict[str, dict[str, float]] = {
    "s4gan": {"confidence_threshold": 0.0},
    "s4gan_multi_label": {"confidence_threshold": 0.0},
}
"""What makes every term act in a fresh method: a judge that is in doubt trusts no image."""

every_method = pytest.mark.parametrize("name", METHODS)
every_segmenter = pytest.mark.parametrize("kind", ["plain", "batch_norm_dropout", "auxiliary"])
each_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
)

Build = Callable[..., Method]
MakeBatch = Callable[..., Batch]
MakeUpdates = Callable[..., Updates]


def weights_of(name: str) -> dict[str, float]:
    """The options that weigh a term, with their defaults (1 where a term is off by default)."""
    fields = options_schema(METHODS[name]).model_fields
    return {
        key: field.default or 1.0
        for key, field in fields.items()
        if "weight" in key.split("_") and isinstance(field.default, float)
    }


WEIGHTS = [(name, key) for name in METHODS for key in weights_of(name)]


@pytest.fixture
def build(
    segmenters: dict[str, Callable[[], Any]], own_networks: dict[str, Callable[[], Any]]
) -> Build:
    def build(name: str, kind: str = "plain", seed: int = 0, **options: Any) -> Method:
        torch.manual_seed(seed)
        network = own_networks.get(name, segmenters[kind])
        return create(name, network, CLASSES, (SIDE, SIDE), **options).train()

    return build


def copied(method: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in method.state_dict().items()}


def assert_same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Equal to the last bit."""
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def take_steps(
    method: Method, updates: Updates, make_batch: MakeBatch, steps: range, total: int = 10
) -> list[dict[str, Tensor]]:
    scalars = []
    for step in steps:
        progress = Progress(step, total)
        updates.begin(progress)
        scalars.append(dict(method.step(make_batch(step), progress, updates)))
    return scalars


@every_method
def test_every_parameter_belongs_to_exactly_one_player(name: str, build: Build) -> None:
    method = build(name, "batch_norm_dropout")
    owned = [id(p) for params in parameters_of(method).values() for p in params]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in method.parameters() if p.requires_grad}


@every_method
@pytest.mark.parametrize("kind", ["plain", "auxiliary"])
def test_an_update_moves_all_parameters_of_its_player_and_no_others(
    name: str, kind: str, build: Build, make_batch: MakeBatch, make_updates: MakeUpdates
) -> None:
    method = build(name, kind)
    names = {id(p): key for key, p in method.named_parameters()}
    own = {
        player: {names[id(p)] for p in params} for player, params in parameters_of(method).items()
    }
    updates = make_updates(method)
    watched = Watched(method, updates)
    updates.begin(LATE)
    method.step(make_batch(), LATE, watched)
    assert {player for player, _ in watched.moved} == own.keys()
    idle = cancelled_biases(method)
    for player, moved in watched.moved:
        assert own[player] - idle <= moved <= own[player]


@every_method
def test_only_updates_move_parameters(
    name: str, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    method = build(name)
    before = {key: p.detach().clone() for key, p in method.segmenter.named_parameters()}
    method.step(make_batch(), LATE, gradients(method))
    assert_same_state(before, {k: p.detach() for k, p in method.segmenter.named_parameters()})


@every_method
def test_the_streams_it_names_are_those_it_reads(
    name: str, build: Build, make_batch: MakeBatch, gradients: Any
) -> None:
    method = build(name)
    batch = make_batch()
    streams = {name: getattr(batch, name) for name in ("labelled", "unlabelled", "weak")}
    assert set(method.reads.streams) <= streams.keys()
    named = {key: streams[key] for key in method.reads.streams}
    method.step(Batch(**named), LATE, gradients(method))
    for left_out in named:
        rest = {key: value for key, value in named.items() if key != left_out}
        with pytest.raises(AssertionError, match=f"did not ask for the {left_out} stream"):
            method.step(Batch(**rest), LATE, gradients(method))


@pytest.fixture
def gradient_at(build: Build, gradients: Any) -> Callable[..., dict[str, Tensor]]:
    """Gradient of each player's loss, late in the run, in double precision."""

    def gradient_at(name: str, batch: Batch, **options: Any) -> dict[str, Tensor]:
        method = build(name, **options).double()
        update = gradients(method)
        method.step(batch, LATE, update)
        return {player: update.vector(player) for player in method.players()}

    return gradient_at


semi_supervised = pytest.mark.parametrize(
    "name", [name for name, cls in METHODS.items() if "unlabelled" in cls.reads.streams]
)


@semi_supervised
def test_the_unlabelled_images_change_the_update_of_the_segmenter(
    name: str, gradient_at: Callable[..., dict[str, Tensor]], make_batch: MakeBatch
) -> None:
    batch = make_batch(dtype=torch.float64)
    other = make_batch(1, dtype=torch.float64).unlabelled.image
    changed = with_unlabelled(batch, image=other, views=(0.5 * other,))
    before, after = gradient_at(name, batch), gradient_at(name, changed)
    assert relative_change(before["segmenter"], after["segmenter"]) > 1e-6


@semi_supervised
def test_a_picture_that_is_all_padding_does_not_count(
    name: str, gradient_at: Callable[..., dict[str, Tensor]], make_batch: MakeBatch
) -> None:
    batch = make_batch(dtype=torch.float64)
    valid = batch.unlabelled.valid.clone()
    valid[1] = False
    image = batch.unlabelled.image.clone()
    image[1] = 7.0 * image[0]
    before = gradient_at(name, with_unlabelled(batch, valid=valid))
    changed = with_unlabelled(batch, valid=valid, image=image, views=(0.8 * image,))
    after = gradient_at(name, changed)
    for player in before:
        assert torch.allclose(before[player], after[player], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "key"), WEIGHTS)
def test_every_term_reaches_an_optimiser(
    name: str, key: str, gradient_at: Callable[..., dict[str, Tensor]], make_batch: MakeBatch
) -> None:
    batch = make_batch(dtype=torch.float64)
    options = CERTAIN.get(name, {})
    on = gradient_at(name, batch, **options, **{key: weights_of(name)[key]})
    off = gradient_at(name, batch, **options, **{key: 0.0})
    changed = [player for player in on if relative_change(on[player], off[player]) > 1e-7]
    assert changed, f"{key} changes no gradient"


@pytest.mark.parametrize("name", [name for name in METHODS if weights_of(name)])
@every_segmenter
def test_without_its_terms_it_is_supervised_training_bit_for_bit(
    name: str, kind: str, build: Build, make_batch: MakeBatch, make_updates: MakeUpdates
) -> None:
    alone = build("supervised", kind)
    method = build(name, kind, **dict.fromkeys(weights_of(name), 0.0))
    alone.segmenter.load_state_dict(of_the_classes(method, alone))
    for trained in (alone, method):
        torch.manual_seed(1)
        take_steps(trained, make_updates(trained, kind="sgd"), make_batch, range(7, 10))
    assert_same_state(alone.segmenter.state_dict(), of_the_classes(method, alone))


LEARNERS = [
    *((name, "batch_norm_dropout") for name in METHODS if name not in IN_STAGES),
    ("adversarial", "plain"),
    ("adversarial", "auxiliary"),
]
"""Of each method the network with the most state; what the others add is none of a method's."""


@pytest.mark.parametrize(("name", "kind"), LEARNERS)
def test_the_predictor_learns(
    name: str, kind: str, build: Build, make_batch: MakeBatch, make_updates: MakeUpdates
) -> None:
    method = build(name, kind)
    shown = make_batch(1000).labelled
    before = accuracy(method, shown)
    scalars = take_steps(method.train(), make_updates(method), make_batch, range(60), 60)
    assert before < 0.6
    assert accuracy(method, shown) > 0.85
    first, last = (float(scalars[i]["loss_segmentation"]) for i in (0, -1))
    assert last < 0.5 * first


@torch.no_grad()
def accuracy(method: Method, shown: Labelled) -> float:
    """Share of right pixels on a picture that was never trained on."""
    predicted = method.eval().predictor()(shown.image).argmax(1)
    known = shown.mask < CLASSES
    return float((predicted == shown.mask)[known].float().mean())


@every_method
@each_device
def test_scalars_are_those_of_its_docstring_and_plain(
    name: str, device: str, build: Build, make_batch: MakeBatch, make_updates: MakeUpdates
) -> None:
    method = build(name, "batch_norm_dropout").to(device)
    updates = make_updates(method)
    for progress in (Progress(0, 100), LATE):
        updates.begin(progress)
        scalars = method.step(make_batch(device=device), progress, updates)
        assert set(scalars) == documented_scalars(type(method))
        for key, value in scalars.items():
            assert value.shape == (), key
            assert value.device.type == device, key
            assert not value.requires_grad, f"{key} keeps its graph"
            assert value.grad_fn is None, f"{key} keeps its graph"
            assert torch.isfinite(value), key


@every_method
@every_segmenter
def test_a_saved_method_goes_on_bit_for_bit(
    name: str, kind: str, build: Build, make_batch: MakeBatch, make_updates: MakeUpdates
) -> None:
    method = build(name, kind)
    updates = make_updates(method)
    take_steps(method, updates, make_batch, range(3), 6)
    file = io.BytesIO()
    saved = {"method": method.state_dict(), "updates": updates.state_dict()}
    torch.save(saved | {"random": torch.get_rng_state()}, file)
    file.seek(0)
    take_steps(method, updates, make_batch, range(3, 6), 6)

    other = build(name, kind, seed=5)
    other_updates = make_updates(other)
    state = torch.load(file, weights_only=True)
    other.load_state_dict(state["method"])
    other_updates.load_state_dict(state["updates"])
    torch.set_rng_state(state["random"])
    take_steps(other, other_updates, make_batch, range(3, 6), 6)
    assert_same_state(method.state_dict(), other.state_dict())


@every_method
def test_steps_depend_on_the_seed_alone(
    name: str, build: Build, make_batch: MakeBatch, make_updates: MakeUpdates
) -> None:
    ends = []
    for seed in (3, 3, 4):
        method = build(name, "batch_norm_dropout")
        torch.manual_seed(seed)
        take_steps(method, make_updates(method), make_batch, range(3))
        ends.append(copied(method))
    assert_same_state(ends[0], ends[1])
    if not any(isinstance(m, DROPOUTS) and m.training for m in method.modules()):
        return
    with pytest.raises(AssertionError):
        assert_same_state(ends[0], ends[2])  # another seed is another dropout


@every_method
@every_segmenter
def test_a_batch_without_a_valid_pixel_breaks_nothing(
    name: str, kind: str, build: Build, make_batch: MakeBatch, make_updates: MakeUpdates
) -> None:
    method = build(name, kind)
    updates = make_updates(method)
    for progress in (Progress(0, 100), LATE):
        updates.begin(progress)
        scalars = method.step(make_batch(void=True), progress, updates)
        assert [key for key, value in scalars.items() if not torch.isfinite(value)] == []
    updates.check_finite()
    updates.check_weights(1)


@every_method
@every_segmenter
@torch.no_grad()
def test_pictures_are_maps_in_0_1_and_change_nothing(
    name: str, kind: str, build: Build, make_batch: MakeBatch
) -> None:
    method = build(name, kind).eval()
    state, random = copied(method), torch.get_rng_state()
    batch = make_batch()
    # A sheet of a finished run shows one labelled image and has no unlabelled one.
    logits = method.predictor()(batch.labelled.image)
    labelled_alone = method.pictures(Batch(labelled=batch.labelled), logits)
    both = method.pictures(batch, logits)
    assert both.keys() == labelled_alone.keys()
    for picture in [*both.values(), *labelled_alone.values()]:
        assert picture.shape == (2, 1, 32, 32)
        assert 0.0 <= float(picture.min()) <= float(picture.max()) <= 1.0
    assert_same_state(state, method.state_dict())
    assert torch.equal(random, torch.get_rng_state())


@every_method
def test_every_network_is_its_own(name: str, build: Build) -> None:
    """Two networks of one method share no weight, and two methods share none."""
    one, other = build(name), build(name)
    pointers = [p.data_ptr() for method in (one, other) for p in method.parameters()]
    assert len(pointers) == len(set(pointers))
