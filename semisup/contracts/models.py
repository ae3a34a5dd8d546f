"""What holds for every segmentation network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from semisup.contracts.base import Check, NotApplicable, require
from semisup.contracts.methods import listed
from semisup.errors import RecipeError
from semisup.models.base import Segmenter, SegmentsByClass
from semisup.models.layers import channels_last_of

CLASSES = 5


@dataclass(frozen=True)
class ModelSubject:
    """A network under its contract.

    Attributes:
        make: gives a fresh network of `CLASSES` classes; takes `in_channels`.
    """

    make: Callable[..., Segmenter]

    def build(self) -> Segmenter:
        """The network with no weight left at zero, as after a first training step."""
        torch.manual_seed(0)
        model = self.make()
        with torch.no_grad():
            for layer in model.modules():
                weight = getattr(layer, "weight", None)
                if isinstance(weight, nn.Parameter) and not weight.any():
                    nn.init.normal_(weight, std=0.1)
        return _of_two_classes(model)

    def restore(self, state: dict[str, Tensor]) -> Segmenter:
        """Another network, started from other random numbers, with the `state` of the first."""
        torch.manual_seed(1)
        model = self.make()
        model.load_state_dict(state)
        return model


def _of_two_classes(model: Segmenter) -> Segmenter:
    """`model`, told which classes to segment where it would first identify them."""
    if isinstance(model, SegmentsByClass):
        model.force_classes([1, 3])
    return model


def picture(height: int = 35, width: int = 45, batch: int = 1) -> Tensor:
    """Images of odd sides, `batch` x 3 x `height` x `width`."""
    numbers = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, height, width, generator=numbers)


def _apply_exceptions(model: Segmenter, check: str) -> None:
    if check in model.exceptions:
        raise NotApplicable(model.exceptions[check])


def logits_have_the_size_of_the_image(subject: ModelSubject) -> None:
    """Logits are BKHW for every image from `stride` up, odd sides too."""
    with torch.no_grad(), _fast_device(subject):
        model = subject.make().eval()
        smallest = type(model).stride
        sides = sorted({smallest, smallest + 1, 33, 48, 71, 97})
        sides = [side for side in sides if side >= smallest]
        for height, width in itertools.zip_longest(sides[::2], sides[1::2], fillvalue=sides[0]):
            logits = model(torch.empty(2, 3, height, width))
            expected = (2, CLASSES, height, width)
            require(
                tuple(logits.shape) == expected,
                f"logits of an image of {height} x {width} have shape {tuple(logits.shape)}, not "
                f"{expected}. Let `to_image_size` resize them, or cut what `encode` has padded.",
            )


def _fast_device(subject: ModelSubject) -> torch.device:
    """Where the sizes of maps are known soonest.

    The meta device computes nothing, but needs longer for a batch norm than a CPU for a small
    network, and knows no sizes that depend on values.
    """
    with torch.device("meta"):
        model = subject.make()
    if model.static_part is not model:
        return torch.device("cpu")
    slow = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())
    small = sum(p.numel() for p in model.parameters()) < 10_000_000
    return torch.device("cpu" if slow and small else "meta")


def takes_other_channels(subject: ModelSubject) -> None:
    """Images of one and of four channels are taken."""
    with torch.no_grad(), _fast_device(subject):
        for channels in (1, 4):
            logits = subject.make(in_channels=channels).eval()(torch.empty(2, channels, 33, 47))
            require(
                tuple(logits.shape) == (2, CLASSES, 33, 47),
                f"with in_channels = {channels} logits have shape {tuple(logits.shape)}.",
            )


def refuses_no_classes_and_no_channels(subject: ModelSubject) -> None:
    """`num_classes` and `in_channels` below 1 are refused."""
    with torch.device("meta"):
        model = type(subject.make())
    for number in ("num_classes", "in_channels"):
        try:
            model(**{"num_classes": 2, number: 0})
        except ValueError as error:
            require(number in str(error), f"{number} = 0 is refused without its name: {error}.")
            continue
        require(False, f"{number} = 0 is accepted. Hand it on to super().__init__.")


def gradient_reaches_every_parameter(subject: ModelSubject) -> None:
    """The gradient of the logits reaches every parameter."""
    model = subject.build()
    if model.trained_by:
        raise NotApplicable(f"its parts are trained by {', '.join(model.trained_by)} alone")
    maps = _maps_in_training(model)
    loss = torch.stack([(logits * torch.randn_like(logits)).sum() for logits in maps]).sum()
    named = {key: p for key, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    without = [key for key, g in zip(named, found, strict=True) if g is None or not g.any()]
    require(
        not without,
        f"{listed(without)}: no gradient. Remove what `decode` does not use, or freeze it "
        "(requires_grad_(False)).",
    )


def _maps_in_training(model: Segmenter) -> list[Tensor]:
    """Of one image, or of three where a batch norm behind a global average cannot take one."""
    try:
        return model.training_logits(picture())
    except ValueError as error:
        if "Expected more than 1 value per channel" not in str(error):
            raise
    return model.training_logits(picture(batch=3))


def eval_is_deterministic(subject: ModelSubject) -> None:
    """In eval mode the same image gives the same finite logits."""
    model = subject.build().eval()
    with torch.no_grad():
        first = model(picture())
        maps = model.training_logits(picture())
        alike = torch.equal(first, maps[0])
        require(
            alike or torch.equal(first, model(picture())),
            "two passes in eval mode differ. Is there dropout?",
        )
        require(
            len(maps) == 1 + len(model.auxiliary_weights),
            f"training_logits gives {len(maps)} maps and auxiliary_weights has "
            f"{len(model.auxiliary_weights)}: one is needed for each map after the first.",
        )
        require(alike, "the first of training_logits is not `forward`'s.")
        require(torch.isfinite(first).all(), "logits are not finite.")
        require(first.std() > 0, "logits are the same everywhere.")


def channels_last_is_kept(subject: ModelSubject) -> None:
    """An image whose channels lie last in memory gives such logits, and convolutions get no other.

    The logits are those of the plain image.
    """
    model = subject.build().eval()
    with torch.no_grad():
        expected = model(picture())
        model = model.to(memory_format=channels_last_of(model))
        with _turned_inputs(model) as turned:
            maps = model.training_logits(picture().contiguous(memory_format=torch.channels_last))
    require(
        _close(maps[0], expected),
        "logits depend on the memory format (channels_last). Use `reshape`, not `view`.",
    )
    _apply_exceptions(model, "channels_last")
    require(
        not turned,
        f"{listed(turned)}: gets its channels first, though the image has them last "
        "(channels_last), and has to turn them. `torch.cat` keeps the format only where all maps "
        "have it, and a map of 1 x 1 that is resized or expanded has not: see "
        "semisup.models.layers.laid_out_as. Or say why in `exceptions`.",
    )
    require(
        not any(map(channels_lie_first, maps)),
        "logits have their channels first, though the image has them last (channels_last).",
    )


@contextmanager
def _turned_inputs(model: Segmenter) -> Iterator[list[str]]:
    """The names of convolutions that meanwhile get maps with their channels first."""
    found: list[str] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if channels_lie_first(inputs[0]):
            found.append(names[layer])

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    names: dict[nn.Module, str] = {
        layer: name for name, layer in model.named_modules() if isinstance(layer, kinds)
    }
    handles = [layer.register_forward_pre_hook(record) for layer in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def channels_lie_first(maps: Tensor) -> bool:
    """Whether neighbours in memory are pixels and not channels; of a BCHW with several of both."""
    batch, channels, height, width = maps.shape
    return min(batch, channels, height * width - 1) > 0 < channels - 1 and maps.stride(1) > 1


def _close(one: Tensor, other: Tensor) -> bool:
    scale = float(other.detach().abs().max())
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4 * scale)


def a_saved_network_is_the_same(subject: ModelSubject) -> None:
    """A state that was saved and loaded gives the same logits, to the bit."""
    model = subject.build().eval()
    restored = _of_two_classes(subject.restore(load(save(model.state_dict()))).eval())
    with torch.no_grad():
        require(
            torch.equal(model(picture()), restored(picture())),
            "a network with the same saved state gives other logits. Keep all that they depend on "
            "in parameters and buffers (register_buffer), which are saved.",
        )


def forward_is_one_graph(subject: ModelSubject) -> None:
    """`torch.compile` takes `forward` in one graph, at two sizes, and `training_logits` too."""
    model = subject.build()
    _apply_exceptions(model, "compile")
    with torch.no_grad():
        _compare_compiled(model.eval(), [picture(), picture(64, 39)])
    _compare_compiled(model.train(), [picture(batch=3)])


def _compare_compiled(model: Segmenter, images: list[Tensor]) -> None:
    from torch._dynamo.exc import TorchDynamoException  # takes long to import

    maps_of = model.training_logits if model.training else lambda image: [model(image)]
    torch.compiler.reset()
    compiled = torch.compile(maps_of, backend="eager", fullgraph=True)
    for image in images:
        with torch.random.fork_rng(devices=[]):
            expected = maps_of(image)
        try:
            found = compiled(image)
        except TorchDynamoException as error:
            reason = next(line for line in str(error).splitlines() if line.strip())
            require(
                False,
                f"torch.compile cannot take it in one graph ({reason.strip()}). Let nothing "
                "depend on computed values in Python, or say why not in `exceptions`.",
            )
        alike = all(map(_close, found, expected))
        require(alike, "compiled with torch.compile it gives other logits.")


def forward_encodes_and_decodes(subject: ModelSubject) -> None:
    """`forward` is `encode`, `decode` and `to_image_size`; `decode` classifies the embedding."""
    model = subject.build().eval()
    with torch.no_grad():
        try:
            features = model.encode(picture())
            logits = model.decode(features)
        except RecipeError:
            require(False, "write `decode`, or `embed`, `classify` and `embedding_channels`.")
        except (NotImplementedError, ValueError) as error:
            if type(model).forward is Segmenter.forward:
                raise
            raise NotApplicable(f"it has a `forward` of its own; {error}") from None
        shown, whole = model.to_image_size(logits, picture().shape[-2:]), model(picture())
        require(
            shown.shape == whole.shape and torch.equal(shown, whole),
            "to_image_size(decode(encode(image))) is not forward(image). Leave `forward` as it "
            "is, and do in `encode` what comes before.",
        )
        try:
            embedding = model.embed(features)
        except RecipeError:
            return  # one that scores several maps
        require(
            embedding.shape[1] == model.embedding_channels,
            f"`embed` gives {embedding.shape[1]} channels, and embedding_channels says "
            f"{model.embedding_channels}.",
        )
        same = torch.equal(model.classify(embedding), logits)
        require(same, "classify(embed(features)) is not decode(features). Write no `decode`.")


def groups_hold_each_parameter_once(subject: ModelSubject) -> None:
    """Every parameter is in exactly one group, and groups have names of their own."""
    with torch.device("meta"):
        model = subject.make()
    groups = model.parameter_groups()
    grouped = [id(p) for group in groups for p in group.params]
    names = {id(p): key for key, p in model.named_parameters() if p.requires_grad}
    left = [key for number, key in names.items() if number not in grouped]
    require(not left, f"{listed(left)}: in no group of parameter_groups, so never trained.")
    twice = sorted({names.get(n, "?") for n in grouped if grouped.count(n) > 1})
    require(not twice, f"{listed(twice)}: in two groups of parameter_groups.")
    require(
        len({group.name for group in groups}) == len(groups),
        "two groups of parameter_groups have one name. Give each its own `name`.",
    )


def keys_are_stable(subject: ModelSubject) -> None:
    """Two builds have the same keys and shapes, and `adapt_weights` leaves its own alone."""
    with torch.device("meta"):
        one, other = subject.make(), subject.make()
    shapes = [{key: value.shape for key, value in m.state_dict().items()} for m in (one, other)]
    require(
        list(shapes[0].items()) == list(shapes[1].items()),
        "two builds have other state keys or shapes, so a checkpoint could not be loaded.",
    )
    state = one.state_dict()
    adapted = one.adapt_weights(dict(state))
    changed = [key for key in state if adapted.get(key) is not state[key]]
    require(
        not changed and len(adapted) == len(state),
        f"adapt_weights changes the network's own state ({listed(changed)}). Pass on what it does "
        "not know.",
    )


CHECKS: tuple[Check[ModelSubject], ...] = (
    Check("logits have the size of the image", logits_have_the_size_of_the_image),
    Check("images of other channels are taken", takes_other_channels),
    Check("no classes and no channels are refused", refuses_no_classes_and_no_channels),
    Check("a gradient reaches every parameter", gradient_reaches_every_parameter),
    Check("eval is deterministic and finite", eval_is_deterministic),
    Check("channels_last is kept", channels_last_is_kept),
    Check("a saved network is the same", a_saved_network_is_the_same),
    Check("forward compiles to one graph", forward_is_one_graph),
    Check("forward encodes and decodes", forward_encodes_and_decodes),
    Check("groups hold each parameter once", groups_hold_each_parameter_once),
    Check("its state has stable keys", keys_are_stable),
)
