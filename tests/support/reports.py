"""What an earlier run of the tests has shown already, out of its report in JUnit's format."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree


def node_id(name: str) -> tuple[str, str]:
    """The class name and the name that pytest gives to a test in a report.

    Args:
        name: pytest's own, as "tests/losses/test_gan.py::test_a[1]".
    """
    path, _, parameters = name.partition("[")
    file, *rest = path.split("::")
    file = file.removesuffix(".py").replace("/", ".")
    *classes, test = rest
    return ".".join((file, *classes)), test + (f"[{parameters}" if parameters else "")


def passed(report: Path) -> set[tuple[str, str]]:
    """The tests that ran and passed: none that was skipped, failed, or raised an error."""
    cases = ElementTree.parse(report).iter("testcase")
    return {
        (case.get("classname", ""), case.get("name", ""))
        for case in cases
        if not any(child.tag in ("skipped", "failure", "error") for child in case)
    }
