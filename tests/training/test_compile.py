"""`train.compile`: the same training, from compiled networks; and what replaying them refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.methods import create, whole
from torch import Tensor, nn
from torch._dynamo.utils import counters

from semisup.errors import RecipeError
from semisup.methods.base import Method
from semisup.models.base import Segmenter
from semisup.recipe.load import load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import only_while_training, prepare_networks
from semisup.settings import OptimSettings
from semisup.training.loop import train
from semisup.training.state import TrainingState
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Progress, Unlabelled

CPU = torch.device("cpu")
SIDE = 32

# torch hides it, but pytest has made an error of it by then.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


@pytest.fixture
def _fresh() -> Iterator[None]:
    """Nothing that was compiled before; compiled dropout draws the numbers that plain one draws."""
    torch._dynamo.reset()
    counters.clear()
    with (
        torch._inductor.config.patch(fallback_random=True),
        torch._functorch.config.patch(donated_buffer=True),  # torch's default
    ):
        yield
    torch._dynamo.reset()


class Small(Segmenter):
    """Batch norm at two resolutions: what is compiled again where its statistics stand still."""

    stride = 2

    def __init__(self, extra: int = 0) -> None:
        super().__init__(3 + extra)
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
            *(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
        )
        self.head = nn.Conv2d(6, self.num_classes, 1)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [self.body(image)]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.head(features[0])


def made(name: str, recipe: Recipe, device: torch.device = CPU, **options: Any) -> Method:
    torch.manual_seed(0)
    method = create(name, Small, 3, (SIDE, SIDE), **options)
    prepare_networks(method, recipe, device)
    return method.train()


def batches(count: int, device: torch.device = CPU) -> list[Batch]:
    numbers = torch.Generator().manual_seed(1)

    def pictures() -> Tensor:
        return torch.randn(2, 3, SIDE, SIDE, generator=numbers).to(device)

    found = []
    for _ in range(count):
        mask = torch.randint(0, 3, (2, SIDE, SIDE), generator=numbers)
        mask[:, :4] = IGNORE
        valid = torch.ones(2, SIDE, SIDE, dtype=torch.bool)
        valid[1, :, -5:] = False
        found.append(
            Batch(
                labelled=whole(image=pictures(), mask=mask.to(device), ids=("a", "b")),
                unlabelled=Unlabelled(image=pictures(), valid=valid.to(device), ids=("c", "d")),
            )
        )
    return found


def steps(
    method: Method, given: list[Batch], between: Callable[[], None] = lambda: None
) -> tuple[list[dict[str, float]], list[int]]:
    """Scalars of each step, and how many graphs had been compiled after each.

    Args:
        method: in train mode.
        given: a batch for each step.
        between: done after each step.
    """
    descent = OptimSettings(lr=0.02, momentum=0.5, schedule="constant")
    updates = Updates(method.players(), dict.fromkeys(method.players(), descent))
    torch.manual_seed(2)
    scalars, graphs = [], []
    for number, batch in enumerate(given):
        if batch.labelled.image.is_cuda:
            torch.compiler.cudagraph_mark_step_begin()
        progress = Progress(90 + number, 100)  # all terms have begun
        updates.begin(progress)
        found = method.step(batch, progress, updates)
        scalars.append({name: float(value) for name, value in found.items()})
        graphs.append(int(counters["stats"]["unique_graphs"]))
        between()
    return scalars, graphs


def assert_close(one: Method, other: Method) -> None:
    for (name, expected), value in zip(
        one.state_dict().items(), other.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=2e-5, msg=name)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "adversarial": ("adversarial", {"discriminator_width": 4, "confidence_threshold": 0.4}),
    "gan_segmentation": ("gan_segmentation", {"generator_width": 4}),
    # Its first look at made images is for one player, its second for both.
    "two updates of the generator": (
        "gan_segmentation",
        {"generator_width": 4, "generator_updates": 2, "feature_matching_weight": 1.0},
    ),
    "s4gan": ("s4gan", {"discriminator_width": 4, "confidence_threshold": 0.4}),
}


@pytest.mark.slow
@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("case", CASES)
def test_compiled_networks_train_as_plain_ones_do(case: str) -> None:
    name, options = CASES[case]
    given = batches(4)
    start = made(name, load_recipe("quickstart"), **options)
    plain = made(name, load_recipe("quickstart"), **options)
    expected, graphs = steps(plain, given)
    assert graphs[-1] == 0
    compiled = made(name, load_recipe("quickstart", ["train.compile=true"]), **options)
    assert_close(start, compiled)
    found, graphs = steps(compiled, given)
    for one, other in zip(expected, found, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)
    assert_close(plain, compiled)
    for player, groups in compiled.players().items():  # so there was something to compare
        moved = [
            float((value - start.get_parameter(name)).detach().abs().max())
            for name, value in compiled.named_parameters()
            if any(value is held for group in groups for held in group.params)
        ]
        assert max(moved) > 4e-4, player  # twenty times what may differ
    assert graphs[0] > 0
    # Batch norms that look without remembering are two forms of one network, not one a step.
    assert graphs[1] == graphs[-1]


def test_players_may_share_a_look_at_a_compiled_network() -> None:
    """By default torch gives away what a first backward pass has read, and refuses a second."""
    gradients = torch._functorch.config
    with gradients.patch(donated_buffer=True):
        made("supervised", load_recipe("quickstart"))
        assert gradients.donated_buffer
        made("supervised", load_recipe("quickstart", ["train.compile=true"]))
        assert not gradients.donated_buffer


# CUDA graphs


@pytest.mark.parametrize(
    ("changes", "key", "remedy"),
    [
        (["train.cuda_graphs=true"], "train.cuda_graphs", "Set train.compile to true"),
        (["train.cuda_graphs=true", "train.compile=true"], "train.cuda_graphs", "needs a GPU"),
    ],
)
def test_graphs_without_a_gpu_or_compiled_networks_are_refused(
    changes: list[str], key: str, remedy: str
) -> None:
    with pytest.raises(RecipeError, match=remedy) as caught:
        made("supervised", load_recipe("quickstart", changes))
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_is_replayed_in_train_mode_alone_and_its_copies_never() -> None:
    network = Small()
    replays: list[bool] = []

    def replay(image: Tensor) -> Tensor:
        replays.append(network.training)
        return network._call_impl(image)

    network._compiled_call_impl = replay
    only_while_training(network)
    image = torch.randn(2, 3, SIDE, SIDE)
    network.train()(image)
    expected = network.eval()(image)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        network.head.bias.add_(1.0)
    assert torch.equal(copied(image), expected)  # the copy has weights of its own
    copied.train()(image)
    assert replays == [True]


@pytest.mark.parametrize(("chosen", "marks"), [(True, 3), (False, 0)])
def test_a_step_begins_a_new_replay_and_its_further_batches_do_not(
    chosen: bool,
    marks: int,
    training: Callable[..., TrainingState],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gradients of the first batches lie in what a new replay would give away."""
    seen: list[int] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: seen.append(1))
    options = {"steps": 3, "accumulate": 2, "hold_out": False, "ema": 0.0}
    train(training(tmp_path, "adversarial", cuda_graphs=chosen, **options))
    assert len(seen) == marks


@pytest.mark.gpu
@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("case", CASES)
def test_replayed_networks_train_as_plain_ones_do(case: str) -> None:
    name, options = CASES[case]
    device = torch.device("cuda")
    given = batches(8, device)  # the first steps warm up and record
    other_size = torch.randn(1, 3, 2 * SIDE, SIDE, device=device)

    def look() -> None:
        """An evaluation between two steps, of another size."""
        with torch.no_grad():
            method.eval().predictor()(other_size)
        method.train()

    runs = []
    for changes in ([], ["train.compile=true", "train.cuda_graphs=true"]):
        method = made(name, load_recipe("quickstart", changes), device, **options)
        for part in method.modules():
            if isinstance(part, nn.Dropout2d):  # compiled ones draw other numbers
                part.p = 0.0
        runs.append((method, steps(method, given, look)[0]))
    (plain, expected), (replayed, found) = runs
    for one, other in zip(expected, found, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-3)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(replayed.state_dict()[key], value, rtol=1e-3, atol=1e-3, msg=key)
    assert counters["inductor"]["cudagraph_skips"] == 0
