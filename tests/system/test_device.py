from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import semisup
from semisup.errors import SemisupError
from semisup.system import device as runtime
from semisup.system.device import (
    autocast,
    device_name,
    git_state,
    random_state,
    resolve_device,
    resolve_precision,
    restore_random_state,
    seed_everything,
    versions,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_auto_takes_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(SemisupError, match=r"cuda:2: torch sees 2 .*as many processes"):
        resolve_device("auto")


def test_a_named_device_is_taken_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cpu") == CPU
    assert resolve_device("cuda") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(SemisupError, match=r"--device cuda:2: torch sees 2 CUDA devices here"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SemisupError, match=r"--device cuda:0: torch sees 0 .* Use cpu"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:-1", "cuda:one", "mps", "meta"])
def test_another_device_is_refused_with_those_that_work(name: str) -> None:
    with pytest.raises(SemisupError, match=rf"--device {name}: no such device. Use auto, cpu"):
        resolve_device(name)


def test_the_precision_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision("auto", CPU) == "float32"
    assert resolve_precision("bf16", CPU) == "bf16"
    with pytest.raises(SemisupError, match=r"fp16 needs a GPU. Use auto or float32"):
        resolve_precision("fp16", CPU)
    assert resolve_precision("fp16", GPU) == "fp16"
    for has, expected in ((True, "bf16"), (False, "float32")):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has
        )
        assert resolve_precision("auto", GPU) == expected
    assert resolve_precision("float32", GPU) == "float32"


def test_autocast_lowers_products_and_leaves_weights_alone() -> None:
    layer = torch.nn.Linear(3, 2)
    with autocast("bf16", CPU):
        assert layer(torch.ones(1, 3)).dtype is torch.bfloat16
    with autocast("float32", CPU):
        assert layer(torch.ones(1, 3)).dtype is torch.float32
    assert layer.weight.dtype is torch.float32


def test_the_generators_go_on_where_they_were() -> None:
    seed_everything(3)
    first = torch.rand(4)
    state = random_state(CPU)
    second = torch.rand(4)
    seed_everything(3)
    assert torch.equal(torch.rand(4), first)
    torch.rand(99)
    restore_random_state(state, CPU)
    assert torch.equal(torch.rand(4), second)


@pytest.mark.gpu
def test_the_generator_of_a_gpu_goes_on_where_it_was() -> None:
    seed_everything(3)
    state = random_state(GPU)
    first = torch.rand(4, device=GPU)
    restore_random_state(state, GPU)
    assert torch.equal(torch.rand(4, device=GPU), first)


def test_the_device_is_named_for_people() -> None:
    assert re.fullmatch(r"cpu \(.+, \d+ threads?\)", device_name(CPU))


CPUINFO = """processor\t: {0}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: {1}
model name\t: Intel(R) Xeon(R) Processor
stepping\t: 2

"""


def test_two_kinds_of_processor_have_two_names(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text(CPUINFO.format(0, 207) + CPUINFO.format(1, 207))
    other.write_text(CPUINFO.format(0, 106))
    assert runtime._processor(one) == "Intel(R) Xeon(R) Processor, 6/207"
    assert runtime._processor(other) == "Intel(R) Xeon(R) Processor, 6/106"


@pytest.mark.parametrize("content", [None, "", "processor\t: 0\nBogoMIPS\t: 50.0\n"])
def test_a_processor_that_does_not_say_is_of_its_architecture(
    tmp_path: Path, content: str | None
) -> None:
    info = tmp_path / "cpuinfo"
    if content is not None:
        info.write_text(content)
    assert runtime._processor(info) == platform.machine()


def test_the_versions_that_a_result_depends_on() -> None:
    found = versions()
    assert found.keys() == {"semisup", "python", "torch", "torchvision", "numpy"}
    assert found["semisup"] == semisup.__version__
    assert found["torch"] == torch.__version__


def checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the code lie in `folder`, as far as `git_state` knows."""
    monkeypatch.setattr(runtime, "__file__", str(folder / "semisup" / "engine" / "runtime.py"))


def test_the_state_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # a hook of git sets some that point elsewhere

    def git(*arguments: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *names, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    checkout(tmp_path, monkeypatch)
    commit = git("rev-parse", "HEAD")
    assert git_state() == {"commit": commit, "dirty": False}
    (tmp_path / "untracked").write_text("")
    assert git_state() == {"commit": commit, "dirty": False}
    (tmp_path / "file").write_text("two")
    assert git_state() == {"commit": commit, "dirty": True}


def test_outside_of_a_checkout_there_is_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout(tmp_path, monkeypatch)
    assert git_state() is None
    (tmp_path / ".git").mkdir()  # no repository after all
    assert git_state() is None
    (tmp_path / ".git").rmdir()
    monkeypatch.setenv("PATH", "")
    (tmp_path / ".git").mkdir()
    assert git_state() is None


def test_deterministic_algorithms_are_asked_for_and_given_back() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    with runtime.deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    with runtime.deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("affinity", "quota", "ranks", "cores"),
    [
        (64, "max 100000", "1", 64),
        (64, "200000 100000", "1", 2),
        (64, "50000 100000", "1", 1),
        (16, "max 100000", "4", 4),
        (2, "max 100000", "4", 1),
        (8, None, "1", 8),
    ],
)
def test_the_cores_of_a_process_are_those_it_may_use(
    affinity: int, quota: str | None, ranks: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path, encoding: str) -> str:
        if quota is None:
            raise FileNotFoundError
        return quota

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert runtime.usable_cores() == cores


@pytest.mark.parametrize(("stated", "threads"), [(None, 1), ("3", 2)])
def test_torch_takes_no_more_threads_than_cores_unless_told(
    stated: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(runtime, "usable_cores", lambda: 1)
    if stated is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
    try:
        torch.set_num_threads(2)
        runtime.settle_on(CPU)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_first_rank_keeps_its_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    runtime.seed_rank(3)
    assert torch.equal(torch.get_rng_state(), before)
