"""Plants a fault in one cell of a study: Python imports this file first where it finds it.

The variable PLANTED holds `FAULT WORD WORD ...`: a run whose command line has all of the words ends
by the fault in its third step.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

WHERE = "semisup.training.loop"
STEP = 3


def _fault(kind: str) -> None:
    if kind == "raises":
        raise ZeroDivisionError("a planted fault")
    if kind == "memory":
        import torch

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        used = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 26), -1))
        torch.ones(1 << 28)  # 1 GiB


class _Planter(importlib.abc.MetaPathFinder):
    """Changes the module that trains, once it is loaded."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != WHERE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def and_plant(module: ModuleType) -> None:
            load(module)
            self._plant(module)

        spec.loader.exec_module = and_plant  # type: ignore[method-assign]
        return spec

    def _plant(self, module: Any) -> None:
        step, calls = module._step, []

        def planted(*given: Any, **named: Any) -> Any:
            calls.append(1)
            if len(calls) == STEP:
                _fault(self._kind)
            return step(*given, **named)

        module._step = planted


kind, *words = os.environ.get("PLANTED", "").split() or [""]
if kind and all(word in sys.orig_argv for word in words):
    sys.meta_path.insert(0, _Planter(kind))
