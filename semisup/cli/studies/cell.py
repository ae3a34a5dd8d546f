"""`semisup` as a study starts it for one cell: it ends when what started it does.

Standard input is a pipe that only the starting process holds open. Its end says that this process
is gone, however it ended, on every system that has pipes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

from semisup.cli.main import main


def _end_with_parent() -> None:
    """Wait for the end of standard input, then ask this process to save and stop."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        # Of Slurm, to every process of a job whose time is nearly over. What started this one
        # hears it too, and asks it to stop.
        signal.signal(number, signal.SIG_IGN)
    sys.argv[0] = "semisup"  # the record of a run says how it can be started again
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main()
