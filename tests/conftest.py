"""What every test shares."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reports import node_id, passed

# Whatever the environment says (containers often forbid it): else the tests, the package and what
# pytest makes of `assert` are compiled anew by each worker, and the package by each process that a
# test starts, which takes longer than all else until the first test.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

gc.disable()  # until all tests are collected: little of what is made until then goes again

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")
    parser.addoption("--gpu", action="store_true", help="run the tests marked gpu too")
    parser.addoption(
        "--write-table",
        action="store_true",
        help="write the table of docs/reliability.md from what the cases of bad input say",
    )
    parser.addoption(
        "--not-again",
        type=Path,
        action="append",
        default=[],
        metavar="XML",
        help="leave out what passed in an earlier run, which wrote XML with --junitxml; repeatable",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Add the fixtures of `support`, which import torch.

    Not in the process that shares the tests out to others and runs none.
    """
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        for module in ("support.plugins", "support.training"):
            config.pluginmanager.import_plugin(module)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if earlier := config.getoption("--not-again"):
        done = {test for report in earlier for test in passed(report)}
        again = [item for item in items if node_id(item.nodeid) in done]
        config.hook.pytest_deselected(items=again)
        items[:] = [item for item in items if node_id(item.nodeid) not in done]
    for marker in ("slow", "gpu"):
        if config.getoption(f"--{marker}"):
            continue
        skip = pytest.mark.skip(reason=f"marked {marker}: run with --{marker}")
        for item in items:
            if marker in item.keywords:
                item.add_marker(skip)


def pytest_collection_finish() -> None:
    gc.enable()
    gc.collect()
    gc.freeze()  # what was imported stays: no collection need look at it again


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # The tensors of the tests are tiny: on two busy cores one thread is about 5x faster than two.
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    # Nothing here cuts the power, and each of thousands of small files would be waited for.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and masks that developers and CI have beside the checkout."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data of ../shared/data, which is not here")
    return folder


@pytest.fixture(scope="session")
def shared_oracles() -> Path:
    """The values of the authors' code that developers and CI have beside the checkout."""
    table = SHARED / "oracles.json"
    if not table.is_file():
        pytest.skip("needs ../shared/oracles.json, which is not here")
    return table


@pytest.fixture
def shared_weights() -> Path:
    """The folder of ImageNet weights that developers and CI have beside the checkout."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip("needs the ImageNet weights of ../shared/weights, which are not here")
    return folder
