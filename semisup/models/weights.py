"""Weights out of a local file. Nothing here downloads, and no code in a file is ever run."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from semisup.errors import CheckpointError
from semisup.models.base import Segmenter
from semisup.system.files import check_sums, exists, is_file

WRAPPERS = ("state_dict", "model", "predictor")
"""Keys under which a state dict lies in a .pth file of other projects, and in a checkpoint."""

INNER = "segmenter."
"""Head of the keys of a predictor that holds the network beside something else."""

LEAST_FIT = 0.5
"""Share of the network's tensors, or of the file's, that has to fit: of a file of another network a
bias or two fit by chance."""

LEAST_OF_NETWORK = 0.05
"""Share of the network's tensors that has to fit in any case."""

SHOWN = 3
"""How many keys of a kind the summary names."""


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """What became of a file of weights; keys are the network's own.

    Attributes:
        path: the file.
        loaded: keys that were loaded.
        missing: keys of the network that the file does not have: they keep their values.
        misfits: key -> its shape in the file and in the network; not loaded.
        unused: keys of the file that the network does not have.
        fitted: keys whose weights were those of three channels, and are fitted to the network's.
    """

    path: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    misfits: Mapping[str, tuple[torch.Size, torch.Size]]
    unused: tuple[str, ...]
    fitted: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the whole network came out of the file."""
        return not self.missing and not self.misfits

    def __str__(self) -> str:
        wanted = len(self.loaded) + len(self.missing) + len(self.misfits)
        misfits = [
            f"{key}: {_shape(theirs)} in the file, {_shape(ours)} here"
            for key, (theirs, ours) in self.misfits.items()
        ]
        parts = [
            f"{self.path}: {len(self.loaded)} of the network's {wanted} tensors loaded",
            *_some("fitted to other than three channels", self.fitted),
            *_some("missing in the file", self.missing),
            *_some("of another shape", misfits),
            *_some("in the file not used", self.unused),
        ]
        return "; ".join(parts)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pth or .pt file by key, on the CPU, as they were stored.

    A state dict that lies under one of `WRAPPERS` is taken out, such as the predictor of a
    checkpoint of ours; what is no dense tensor of real numbers is left.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, holds more than data, or
            holds no state dict.
    """
    path = Path(path)
    if exists(path) and path.is_dir():
        raise CheckpointError(
            f"{path}: is a folder; give a file of weights, of a run its predictor.safetensors"
        )
    if not is_file(path):
        raise CheckpointError(f"{path}: no such file of weights; give the path of a local file")
    reader = READERS.get(path.suffix)
    if reader is None:
        raise CheckpointError(
            f"{path}: weights are read from {', '.join(READERS)}, not '{path.suffix}';"
            " convert the file, or give it the right name"
        )
    content = reader(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    named = content.items() if isinstance(content, Mapping) else ()
    state = {str(key): value for key, value in named if _is_plain(value)}
    if not state:
        raise CheckpointError(
            f"{path}: holds no state dict (tensors by name, at the top or under"
            f" {' or '.join(map(repr, WRAPPERS))}); save one with torch.save(module.state_dict(),"
            " path)"
        )
    return state


def load_weights(module: nn.Module, path: str | Path) -> WeightsReport:
    """Fill `module` with what fits it by key and shape; the rest of it stays as it was.

    Values are converted to the type of the parameter they go to. A `Segmenter` first renames the
    keys of the files it knows (`Segmenter.adapt_weights`). A convolution over RGB is fitted to a
    network that reads C other channels: each gets the mean of the three filters, times 3 / C, so
    that C equal channels are answered as the file's network answers three.

    Raises:
        CheckpointError: as `read_weights`, nothing or next to nothing in the file fits (see
            `LEAST_FIT`), or it is not finite.
    """
    own = module.state_dict()
    state = _without_its_owner(read_weights(path), own)
    if isinstance(module, Segmenter):
        state = module.adapt_weights(state)
    fitted = _fitted_to_channels(state, own)
    state |= fitted
    shared = [key for key in own if key in state]
    loaded = tuple(key for key in shared if own[key].shape == state[key].shape)
    if not any(map(_matters, loaded)):
        raise CheckpointError(
            f"{path}: nothing in it fits this network (it holds {next(iter(state))!r},"
            f" {_shape(next(iter(state.values())).shape)}; the network has '{next(iter(own))}',"
            f" {_shape(next(iter(own.values())).shape)}); give weights of the same architecture"
        )
    for key in loaded:
        theirs, ours = state[key], own[key]
        if ours.is_floating_point() and not theirs.is_floating_point():
            raise CheckpointError(
                f"{path}: '{key}' holds values of the type {str(theirs.dtype).partition('.')[2]}, "
                "and those of the network are fractions; give weights of float32"
            )
        if not torch.isfinite(theirs.to(ours.dtype)).all():
            raise CheckpointError(
                f"{path}: '{key}' holds values that are not finite; get the file again"
            )
    _check_share(path, loaded, own, state)
    with torch.no_grad():
        for key in loaded:
            own[key].copy_(state[key])
    return WeightsReport(
        path=Path(path),
        loaded=loaded,
        missing=tuple(key for key in own if key not in state and _matters(key)),
        misfits={key: (state[key].shape, own[key].shape) for key in shared if key not in loaded},
        unused=tuple(key for key in state if key not in own),
        fitted=tuple(fitted),
    )


def _fitted_to_channels(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Weights over RGB that differ from the network's in the number of channels alone, fitted."""
    fitted = {}
    for key in (key for key in own if key in state):
        theirs, ours = state[key], own[key].shape
        if theirs.ndim != 4 or theirs.shape[1] != 3 or ours == theirs.shape:
            continue
        if (ours[0], *ours[2:]) == (theirs.shape[0], *theirs.shape[2:]):
            fitted[key] = (theirs.sum(1, keepdim=True) / ours[1]).expand(ours)
    return fitted


def _without_its_owner(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's own part of a predictor that holds it as its segmenter."""
    inner = {key.removeprefix(INNER): t for key, t in state.items() if key.startswith(INNER)}
    return inner if inner.keys() & own.keys() and not state.keys() & own.keys() else state


def _check_share(
    path: str | Path, loaded: Sequence[str], own: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> None:
    """Refuse a file of which next to nothing fits; see `LEAST_FIT`."""
    fits = sum(map(_matters, loaded))
    wanted, offered = (sum(map(_matters, keys)) for keys in (own, state))
    if fits < max(LEAST_FIT * min(wanted, offered), LEAST_OF_NETWORK * wanted):
        raise CheckpointError(
            f"{path}: {fits} of the network's {wanted} tensors and of the file's {offered} fit, "
            "which is next to nothing: half of either must; give weights of the same architecture"
        )


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """The hash of tensors by name, type, shape and bits, in whatever order and file they are kept.

    Args:
        state: tensors by key, on any device.
    """
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def rename_prefix(state: Mapping[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    """`state` with `new` in place of `old` at the head of every key that begins with `old`."""
    return {
        new + key.removeprefix(old) if key.startswith(old) else key: tensor
        for key, tensor in state.items()
    }


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read_pickle(path: Path) -> object:
    try:
        check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's about unusual pickles and tensors
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, as it is damaged or holds Python objects beside its tensors, which"
            " could run code when loaded; get it again, or save the state dict alone"
        ) from error
    except Exception as error:  # a damaged pickle fails in nearly every way there is
        raise _damaged(path, error) from error


READERS: Mapping[str, Callable[[Path], object]] = MappingProxyType(
    {".safetensors": _read_safetensors, ".pth": _read_pickle, ".pt": _read_pickle}
)
"""Suffix -> what reads it."""


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return CheckpointError(f"{path}: cannot be read ({reason}); get the file again")


def _is_plain(value: object) -> bool:
    """Whether it can be copied into a parameter: not sparse, quantised, complex or without data."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_nested or value.is_quantized or value.is_complex())
    )


def _matters(key: str) -> bool:
    # Counters of batches: older files lack them, and a norm with a fixed momentum ignores them.
    return not key.endswith("num_batches_tracked")


def _shape(size: torch.Size) -> str:
    return "x".join(map(str, size)) or "scalar"


def _some(what: str, keys: Sequence[str]) -> list[str]:
    if not keys:
        return []
    more = ", ..." if len(keys) > SHOWN else ""
    named = ", ".join(repr(key)[1:-1] for key in keys[:SHOWN])  # a key of a file may hold anything
    return [f"{len(keys)} {what} ({named}{more})"]
