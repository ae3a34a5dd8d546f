"""Semi-supervised, weakly supervised and adversarial semantic segmentation in PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from semisup.version import __version__ as __version__

if TYPE_CHECKING:
    from semisup.api import ablate as ablate
    from semisup.api import compare as compare
    from semisup.api import evaluate as evaluate
    from semisup.api import export as export
    from semisup.api import label as label
    from semisup.api import load_recipe as load_recipe
    from semisup.api import open_run as open_run
    from semisup.api import predict as predict
    from semisup.api import predict_files as predict_files
    from semisup.api import read_run as read_run
    from semisup.api import report as report
    from semisup.api import run as run
    from semisup.catalog import create_dataset as create_dataset
    from semisup.catalog import create_method as create_method
    from semisup.catalog import create_model as create_model
    from semisup.catalog import register as register
    from semisup.methods.base import Task as Task

__all__ = [
    "Task",
    "__version__",
    "ablate",
    "compare",
    "create_dataset",
    "create_method",
    "create_model",
    "evaluate",
    "export",
    "label",
    "load_recipe",
    "open_run",
    "predict",
    "predict_files",
    "read_run",
    "register",
    "report",
    "run",
]

_MODULES = {
    "Task": "semisup.methods.base",
    **dict.fromkeys(
        ("create_dataset", "create_method", "create_model", "register"), "semisup.catalog"
    ),
}
"""Where a name is found, if not in `semisup.api`."""


def __getattr__(name: str) -> Any:
    # Imported at first use: `import semisup` and `semisup --help` must not wait for torch.
    if name not in __all__:
        raise AttributeError(f"module 'semisup' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "semisup.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
