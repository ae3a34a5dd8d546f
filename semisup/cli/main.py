"""The `semisup` command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import click

from semisup.cli.check import check
from semisup.cli.data.group import data
from semisup.cli.doctor import doctor
from semisup.cli.evaluate import evaluate
from semisup.cli.export import export
from semisup.cli.init import init
from semisup.cli.label import label
from semisup.cli.list import list_names
from semisup.cli.monitor import monitor
from semisup.cli.predict import predict
from semisup.cli.run import run
from semisup.cli.samples import samples
from semisup.cli.schema import schema
from semisup.cli.show import show
from semisup.cli.studies.ablate import ablate
from semisup.cli.studies.compare import compare
from semisup.cli.studies.report import report
from semisup.cli.studies.runs import runs
from semisup.errors import Interrupted, SemisupError, suggest
from semisup.version import __version__

EPILOG = """\b
Examples:
  semisup run quickstart
  semisup list recipes
  semisup monitor
"""


_TRAIN = ("A recipe is trained and scored by", "run RECIPE")
_GO_ON = ("A run goes on where it was stopped by the command that began it", "run RECIPE")
_SCORE = ("A finished run is scored again by", "evaluate RUN")
_LABEL = ("Images are labelled by", "predict RUN IMAGES")
_PSEUDO = ("Pseudo-masks are written by", "label RUN --out DIR")
_COMPARE = ("Runs are compared by", "compare RUN RUN")
_ABLATE = ("Many runs of a grid are started by", "ablate STUDY")
_WATCH = ("Curves are drawn by TensorBoard", "monitor")
_FETCH = ("A data set is fetched by", "data fetch NAME")

MEANT = {
    **dict.fromkeys(("train", "fit", "start", "launch", "finetune", "pretrain"), _TRAIN),
    **dict.fromkeys(("resume", "continue", "restart"), _GO_ON),
    **dict.fromkeys(("test", "val", "validate", "score", "benchmark"), _SCORE),
    **dict.fromkeys(("infer", "inference", "segment", "demo"), _LABEL),
    **dict.fromkeys(("sweep", "study", "grid", "ablation", "experiment", "multirun"), _ABLATE),
    **dict.fromkeys(("pseudolabel", "pseudo-label", "self-train"), _PSEUDO),
    **dict.fromkeys(("results", "diff", "table"), _COMPARE),
    **dict.fromkeys(("plot", "curves", "tensorboard", "watch", "visualize"), _WATCH),
    **dict.fromkeys(("download", "fetch"), _FETCH),
    **dict.fromkeys(("config", "print", "describe"), ("A recipe is printed by", "show RECIPE")),
    **dict.fromkeys(("recipes", "models", "methods", "datasets"), ("Names are listed by", "list")),
}
"""Words of other suites that are no command here -> what does it, in words, and the command."""


class Commands(click.Group):
    """A group that turns our errors into one line and suggests the nearest command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a suggestion."""
        name = args[0] if args else ""
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            ctx.fail(f"No such command '{name}'.{self._instead_of(name)}")
        return super().resolve_command(ctx, args)

    def _instead_of(self, name: str) -> str:
        """What to type in place of a word that is no command."""
        meant, words = MEANT.get(name.lower(), ("", ""))
        if meant and words.split()[0] in self.commands:
            return f" {meant}: 'semisup {words}'."
        near = difflib.get_close_matches(name.lower(), [*self.commands, *MEANT], n=1)
        if near and near[0] in MEANT:
            return self._instead_of(near[0])
        return suggest(name, self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, but a `SemisupError` becomes one line and its exit code."""
        try:
            return super().invoke(ctx)
        except SemisupError as error:
            if not error.reported:
                line = " ".join(str(error).splitlines())  # a file's name may have two
                click.echo(f"semisup{_which_process()}: {line}", err=True)
            _tell_torchrun(error)
            sys.exit(error.exit_code if isinstance(error, Interrupted) else 1)
        except KeyboardInterrupt:  # outside of training, where there is nothing to save
            click.echo("semisup: interrupted.", err=True)
            sys.exit(130)
        except BrokenPipeError:  # the reader of a pipe, such as head, has left
            sys.stderr.close()
            sys.exit(0)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            click.echo("semisup: standard output cannot be written (no space left).", err=True)
            with contextlib.suppress(OSError):
                sys.stdout.close()  # or Python would try again, and fail aloud
            sys.exit(1)
        except Exception:  # a library that Ctrl-C met while it was imported
            if not _interrupts:
                raise
            click.echo("semisup: interrupted.", err=True)
            sys.exit(130)


_interrupts: list[int] = []
"""Signals of Ctrl-C so far: libraries hide the exception under errors of their own."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    """As Python's own handler, and remembered."""
    _interrupts.append(number)
    signal.default_int_handler(number, frame)


def _which_process() -> str:
    """Tells apart what several processes of one run say."""
    return f" (rank {os.environ['RANK']})" if "RANK" in os.environ else ""


def _tell_torchrun(error: SemisupError) -> None:
    """Leave the line where torchrun looks for the reason why a process of its has ended.

    In the form that torchrun's own `record` writes, which has a traceback in place of the line.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        details = {"py_callstack": str(error), "timestamp": str(int(time.time()))}
        message = {"message": {"message": str(error), "extraInfo": details}}
        with contextlib.suppress(OSError):  # the line stands on standard error too
            Path(path).write_text(json.dumps(message), encoding="utf-8")


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="semisup")
def cli() -> None:
    """Semi-supervised, weakly supervised and adversarial semantic segmentation.

    Pick a recipe, run it, watch it, and get a result that can be trusted and compared.
    """
    # Pillow's about notes beside the pixels, such as broken EXIF, of which photographs are full.
    # Here and not where they are read: filters of warnings are not for threads.
    for kind in (UserWarning, RuntimeWarning):  # the latter of pictures above 89 million pixels
        warnings.filterwarnings("ignore", category=kind, module=r"PIL\.")
    warnings.formatwarning = _one_line


def _one_line(message: Warning | str, *_: object, **__: object) -> str:
    """A warning without the line of code that it comes from."""
    return f"warning: {' '.join(str(message).splitlines())}\n"


COMMANDS = (
    *(init, run, ablate, runs, compare, report, evaluate, predict, label, export, samples, show),
    *(list_names, data, check, monitor, doctor, schema),
)
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Entry point of the `semisup` script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    cli(prog_name="semisup")
