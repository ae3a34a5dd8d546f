"""The two kinds of file: how each is written, and how it is read and run again."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torch.export import ExportedProgram

from semisup.errors import RunError, suggest
from semisup.exporting.facts import FACTS_FILE, as_strings
from semisup.exporting.network import quiet

ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
"""Format -> how the names of its files end."""

OUTPUTS = ("logits", "labels")

Network = Callable[[Tensor], tuple[Tensor, Tensor]]
"""An exported file that was read: images -> logits and labels."""


def format_of(path: Path | None, stated: str | None) -> str:
    """The format that is wanted: the one that is stated, else that of the file's name, else ONNX.

    Raises:
        RunError: there is no such format, or the file's name ends otherwise.
    """
    known = ", ".join(ENDINGS)
    if stated is not None and stated not in ENDINGS:
        raise RunError(f"format '{stated}' is none of {known}.{suggest(stated, ENDINGS)}")
    if path is None:
        return stated or "onnx"
    by_ending = {ending: name for name, ending in ENDINGS.items()}
    found = by_ending.get(path.suffix)
    if found is None or (stated is not None and stated != found):
        wanted = f"{ENDINGS[stated]}" if stated else " or ".join(by_ending)
        raise RunError(f"{path}: the name of the file must end in {wanted}.")
    return found


def check_installed(kind: str) -> None:
    """See that what writes and reads the format is there, before anything is computed.

    Raises:
        RunError: it is not; names the extra.
    """
    if kind != "onnx":
        return
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise RunError(
                f"an export to ONNX needs {package}. Install it with pip install "
                "'semisup[export]', or take --format torch."
            ) from None


def write(kind: str, program: ExportedProgram, facts: dict[str, Any], file: BinaryIO) -> None:
    """Write a program with its facts.

    Raises:
        RunError: an operation of it cannot be stored, or has no counterpart in ONNX.
    """
    if kind == "torch":
        texts = {FACTS_FILE: json.dumps(facts, indent=1)}
        with quiet():
            try:
                torch.export.save(program, file, extra_files=texts)
            except Exception as error:  # of several kinds, by what could not be stored
                if isinstance(error, OSError) or isinstance(error.__context__, OSError):
                    raise  # of the disk
                reason = str(error).splitlines()[0]
                raise RunError(
                    f"torch cannot store an operation ({reason[:200].rstrip('.')}). Take --format "
                    "onnx."
                ) from error
        return
    with quiet(), torch.no_grad():
        try:
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["image"],
                output_names=list(OUTPUTS),
            )
        except Exception as error:  # of many kinds, by what stopped it
            lines = [line for line in str(error).splitlines() if line.startswith("<class")]
            reason = (lines or str(error).splitlines() or [type(error).__name__])[-1]
            raise RunError(
                f"ONNX has no counterpart of an operation ({reason[:200]}). Take --format torch."
            ) from error
    assert made is not None
    model = made.model_proto
    del model.metadata_props[:]
    for key, value in as_strings(facts).items():
        model.metadata_props.add(key=key, value=value)
    for graph in (model.graph, *model.functions):
        for node in graph.node:  # lines of code, with paths of this machine
            del node.metadata_props[:]
            node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    file.write(model.SerializeToString())


def read(kind: str, path: Path) -> Network:
    """An exported file as it is used without semisup."""
    if kind == "torch":
        with path.open("rb") as file, quiet():
            return torch.export.load(file).module()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )

    def run(image: Tensor) -> tuple[Tensor, Tensor]:
        logits, labels = session.run(list(OUTPUTS), {"image": image.numpy()})
        return torch.from_numpy(logits), torch.from_numpy(labels)

    return run
