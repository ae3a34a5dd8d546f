"""Checkpoints and weights to damage: zip archives of torch, pickles, safetensors."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import safetensors.torch
import torch
from fuzzing.mutation import any_change, number

TRAP = "semisup-fuzz-trap"
"""Name of the file that a payload makes in the current folder, if anything executes it."""

Part = tuple[str, bytes]


class Payload:
    """Calls `function` when a careless reader unpickles it."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def payloads() -> list[object]:
    """Objects that leave the trap behind in different ways."""
    import os
    import pathlib
    import subprocess

    return [
        Payload(os.system, f"touch {TRAP}"),
        Payload(os.mkdir, TRAP),
        Payload(exec, f"open({TRAP!r}, 'w')"),
        Payload(eval, f"open({TRAP!r}, 'w')"),
        Payload(open, TRAP, "w"),
        Payload(pathlib.Path.touch, pathlib.Path(TRAP)),
        Payload(subprocess.Popen, ["touch", TRAP]),
        Payload(torch.save, 1, TRAP),
    ]


def saved(content: object, **options: Any) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def state() -> dict[str, Any]:
    """A small checkpoint of the suite's own form."""
    weight = torch.nn.Parameter(torch.arange(36.0).view(4, 3, 3, 1)[:, :, :2])
    return {
        "format": 1,
        "step": 7,
        "weights": OrderedDict(weight=weight, half=torch.ones(3).half(), scalar=torch.tensor(2)),
        "shared": [weight, weight.detach()],
        "flags": torch.tensor([True, False]),
        "random": {"words": torch.arange(20, dtype=torch.uint8), "position": (3, None, 1.5)},
        "text": "kept",
        "large": 2**70,
    }


def layers() -> dict[str, torch.Tensor]:
    """State of the network that `readers.py` fills."""
    return {
        "0.weight": torch.ones(4, 3, 1, 1),
        "0.bias": torch.zeros(4),
        "1.weight": torch.ones(4),
        "1.running_mean": torch.zeros(4).double(),
        "1.num_batches_tracked": torch.tensor(3),
        "other": torch.zeros(2, dtype=torch.bfloat16),
    }


def vgg() -> dict[str, torch.Tensor]:
    """Keys of torchvision's VGG16, which FCN renames and reshapes."""
    return {
        "features.0.weight": torch.ones(64, 3, 3, 3).half(),
        "features.0.bias": torch.zeros(64),
        "classifier.0.weight": torch.zeros(1, 512 * 7 * 7).half(),
        "classifier.3.weight": torch.zeros(2, 3),
    }


def checkpoint_seeds() -> list[bytes]:
    """Checkpoints of the suite."""
    return [saved(state()), saved({"format": 1, "step": 3, "predictor": layers()})]


def weight_seeds() -> list[bytes]:
    """State dicts as .pth: plain, wrapped, of the old format, of unusual tensors."""
    unusual = {
        "0.weight": torch.ones(4, 3, 1, 1, dtype=torch.complex64),
        "0.bias": torch.eye(4).to_sparse(),
        "1.weight": torch.empty(4, device="meta"),
        "1.bias": torch.ones(1).expand(4),
        "1.running_var": torch.ones(4, dtype=torch.bool),
    }
    return [
        saved(layers()),
        saved({"epoch": 3, "state_dict": OrderedDict(layers()), "args": {"lr": 0.1}}),
        saved({"model": layers()}, _use_new_zipfile_serialization=False),
        saved(layers(), pickle_protocol=3),
        saved(unusual),
    ]


def vgg_seeds() -> list[bytes]:
    """Torchvision's VGG16, a little of it."""
    return [saved(vgg()), saved({"model": vgg()})]


def safetensors_seeds() -> list[bytes]:
    """State dicts as .safetensors."""
    return [
        safetensors.torch.save(layers(), metadata={"semisup": "{}"}),
        safetensors.torch.save({"0.weight": torch.ones(4, 3, 1, 1).half()}),
    ]


def parts_of(archive: bytes) -> list[Part]:
    """Names and contents of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def zipped(parts: Sequence[Part], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with the right checksums."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")  # two entries of one name are meant
        for name, content in parts:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def change_archive(chance: Random, content: bytes) -> bytes:
    """Change the records of a checkpoint so that every checksum is right again."""
    try:
        parts = parts_of(content)
    except zipfile.BadZipFile:  # the old format is a row of pickles
        return change_pickle(chance, content)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(parts))
        name, record = parts[at]
        change = chance.randrange(8)
        if name.endswith("data.pkl") and change < 6:
            parts[at] = name, change_pickle(chance, record)
        elif change < 4:
            parts[at] = name, any_change(chance, record)
        elif change == 4 and len(parts) > 1:
            del parts[at]
        elif change == 5:
            parts.insert(chance.randrange(len(parts)), (name, any_change(chance, record)))
        elif change == 6:
            parts[at] = any_change(chance, name.encode()).decode("latin-1")[:99] or "x", record
        else:
            parts.append(parts.pop(at))
    packed = chance.random() < 0.2
    return zipped(parts, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)


def change_pickle(chance: Random, content: bytes) -> bytes:
    """Change the program of a pickle: opcodes, arguments, globals, or all of it."""
    change = chance.randrange(10)
    if change == 0:
        return pickle.dumps(chance.choice(payloads()), protocol=chance.randrange(6))
    if change == 1:
        return chance.choice((b"(" * 3000, b"]" * 3000 + b"a" * 2999 + b".", b"\x80\x02}q\x00."))
    if change == 2:
        return any_change(chance, content)
    codes = opcodes(content)
    for _ in range(chance.randint(1, 4)):
        at, other = chance.randrange(len(codes)), chance.randrange(len(codes))
        change = chance.randrange(6)
        if change == 0 and len(codes) > 1:
            del codes[at]
        elif change == 1:
            codes.insert(at, codes[other])
        elif change == 2:
            codes[at] = codes[other]
        elif change == 3:
            codes[at] = any_change(chance, codes[at])
        else:
            codes.insert(at, other_code(chance))
    return b"".join(codes)


def change_npy(chance: Random, content: bytes) -> bytes:
    """Change the pickle behind the head of a .npy file, now and then the head."""
    begin = content.find(b"\n") + 1
    if chance.random() < 0.1:
        return any_change(chance, content[:begin]) + content[begin:]
    return content[:begin] + change_pickle(chance, content[begin:])


def opcodes(content: bytes) -> list[bytes]:
    """The opcodes of the first pickle in `content` with their arguments; the rest is one more."""
    places: list[int] = []
    with contextlib.suppress(Exception):  # damaged before: what could be read is enough
        for _, _, place in pickletools.genops(content):
            places.append(place or 0)
    places = places or [0]
    return [content[a:b] for a, b in zip(places, [*places[1:], len(content)], strict=True)]


def other_code(chance: Random) -> bytes:
    """An opcode with an argument, or a call of a global."""
    allowed = (
        *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch Size"),
        *("torch._utils _rebuild_meta_tensor_no_storage", "torch._utils _rebuild_sparse_tensor"),
        *("torch._utils _rebuild_qtensor", "torch._utils _rebuild_nested_tensor", "torch device"),
        *("collections OrderedDict", "collections Counter", "builtins bytearray", "builtins set"),
        *("torch FloatStorage", "torch.storage UntypedStorage", "_codecs encode", "torch Tensor"),
        *("builtins complex", "torch.nn.parameter Parameter", "torch.serialization _get_layout"),
    )
    forbidden = ("os system", "builtins eval", "builtins getattr", "torch load", "posix mkdir")
    name = chance.choice(allowed if chance.random() < 0.8 else forbidden)
    function = b"c" + name.replace(" ", "\n").encode() + b"\n"
    value = pickle.encode_long(number(chance))  # torch reads no INT in digits
    integer = b"\x8a" + bytes([len(value)]) + value
    text = b"X" + len(TRAP).to_bytes(4, "little") + TRAP.encode()
    codes = (
        *(function, function + integer + b"\x85R", function + text + b"\x85R", function + b")R"),
        *(integer, text, b"K\x05", b"M\xff\xff", b"J\xff\xff\xff\x7f", b"\x8a\x01\x07", b"N", b"("),
        *(b")", b"}", b"]", b"t", b"l", b"d", b"\x85", b"\x86", b"\x87", b"R", b"b", b"s", b"u"),
        *(b"a", b"e", b"Q", b"2", b"0", b"1", b".", b"\x81", b"\x92", b"\x93", b"h\x00", b"q\x01"),
        *(b"j\xff\xff\xff\xff", b"r\xff\xff\xff\x7f", b"Pid\n", b"\x80\x04", b"\x95" + b"\xff" * 8),
        *(
            b"G" + b"\x7f\xf8" + bytes(6),
            b"B\xff\xff\xff\x7f",
            b"\x96" + b"\xff" * 8,
            b"\x90",
            b"o",
        ),
        chance.randbytes(3),
    )
    return chance.choice(codes)


def change_safetensors(chance: Random, content: bytes) -> bytes:
    """Change the table at the head, mostly with its length right again."""
    length = int.from_bytes(content[:8], "little")
    table, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(sorted(table))
        if not isinstance(table[name], dict) or name == "__metadata__":
            table[name] = _wild(chance)
            continue
        change = chance.randrange(6)
        if change == 0:
            kinds = ("F64", "F16", "BF16", "F8_E4M3", "I8", "U64", "BOOL", "C64", "F4", "X", "")
            table[name]["dtype"] = chance.choice(kinds)
        elif change == 1:
            table[name]["shape"] = [number(chance) for _ in range(chance.randrange(5))]
        elif change == 2:
            table[name]["data_offsets"] = [number(chance), number(chance)]
        elif change == 3:
            table[name][chance.choice(("dtype", "shape", "data_offsets", "x"))] = _wild(chance)
        elif change == 4:
            table[chance.choice(("", "0.bias", "\n", "\u2028", "a" * 300))] = table[name]
        else:
            del table[name]
            table = table or {"x": 1}
    head = json.dumps(table).encode()
    if chance.random() < 0.2:
        head = any_change(chance, head)
    size = len(head) if chance.random() < 0.9 else number(chance)
    return size.to_bytes(8, "little") + head + data


def _wild(chance: Random) -> object:
    return chance.choice((None, -1, 1.5, "", "F32", [], [1], {}, {"a": "b"}, [2**63], 2**64, True))
