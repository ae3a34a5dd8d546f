"""A Slurm of one machine, on loopback: controller, node and munge, with all they keep in a folder.

    PYTHONPATH=tests python tests/slurm/cluster.py FOLDER -- sinfo

starts one, runs a command in it, and ends it. It needs the programs of Debian's `slurm-wlm` and
nothing of the machine's own Slurm, if there is one.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel")

PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

WAIT = 60.0
"""Seconds until it answers, at most."""

CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=30
MinJobAge=300
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
InactiveLimit=0
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cores} RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty where one can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"needs Slurm's '{absent[0]}', which is not installed (Debian: slurm-wlm)"
    return "" if os.geteuid() == 0 else "needs root, whom slurmd starts jobs as"


class Cluster:
    """Starts with a `with` block and ends with it.

    Args:
        folder: of all that it keeps.
        cores: that its node says it has.
    """

    def __init__(self, folder: Path, cores: int = 2) -> None:
        self.folder = folder
        self._cores = cores
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> Mapping[str, str]:
        """Of a process that submits to it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        return kept | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def __enter__(self) -> Cluster:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)  # munge refuses a socket that others cannot reach
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        text = CONFIG.format(
            host=host, user="root", folder=self.folder, ports=_free_ports(), cores=self._cores
        )
        (self.folder / "slurm.conf").write_text(text)
        try:
            self._start(
                *("munged", "--foreground", "--force", f"--key-file={key}"),
                *(f"--{name}-file={self.folder}/munge.{name}" for name in ("pid", "log", "seed")),
                f"--socket={self.folder}/munge.socket",
            )
            self._wait((self.folder / "munge.socket").exists)
            self._start("slurmctld", "-D", "-i")
            self._start("slurmd", "-D", "-N", host)
            self._wait(lambda: self.ask("sinfo", "--noheader", "-o", "%T").strip() == "idle")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def ask(self, *words: str) -> str:
        """What a command of Slurm prints; empty where it fails."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout if done.returncode == 0 else ""

    def _start(self, program: str, *words: str) -> None:
        with (self.folder / f"{program}.out").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [shutil.which(program, path=PATH) or program, *words],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _wait(self, there: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT
        while not there():
            ended = [process for process in self._processes if process.poll() is not None]
            if ended or time.monotonic() > until:
                logs = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
                told = "\n".join(f"{log.name}: {log.read_text()[-500:]}" for log in logs)
                raise RuntimeError(f"Slurm does not start\n{told}")
            time.sleep(0.1)

    def _end(self) -> None:
        if len(self._processes) > 1:
            self.ask("scancel", "--signal=KILL", "--full", f"--user={os.getuid()}")
            self.ask("scancel", f"--user={os.getuid()}")
            until = time.monotonic() + 15
            while self.ask("squeue", "--noheader").strip() and time.monotonic() < until:
                time.sleep(0.1)
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


if __name__ == "__main__":
    folder, dashes, *command = sys.argv[1:]
    assert dashes == "--", __doc__
    with Cluster(Path(folder).absolute()) as cluster:
        sys.exit(subprocess.run(command, env=cluster.environment, check=False).returncode)
