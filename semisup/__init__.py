"""Semi-supervised, weakly supervised and adversarial semantic segmentation in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semisup.version import __version__ as __version__

if TYPE_CHECKING:
    from semisup.catalog import create_dataset as create_dataset
    from semisup.catalog import create_method as create_method
    from semisup.catalog import create_model as create_model
    from semisup.catalog import register as register

__all__ = ["__version__", "create_dataset", "create_method", "create_model", "register"]


def __getattr__(name: str) -> Any:
    # Imported at first use: `import semisup` and `semisup --help` must not wait for torch.
    if name in ("create_model", "create_method", "create_dataset", "register"):
        from semisup import catalog

        return getattr(catalog, name)
    raise AttributeError(f"module 'semisup' has no attribute {name!r}")
