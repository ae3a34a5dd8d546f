"""The version, apart from the package's front door so that the lowest room may read it."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
