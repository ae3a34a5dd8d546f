"""`semisup check`: a table, and 1 where a check fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from semisup.cli.main import cli

pytestmark = pytest.mark.usefixtures("outside")

BROKEN = """
import semisup
from semisup.methods.supervised import Supervised


class Broken(Supervised):
    '''Reports what its docstring does not know.'''

    def step(self, batch, progress, update):
        return {**super().step(batch, progress, update), "[new]": batch.labelled.image.mean()}


semisup.register("broken", Broken)
"""


def check(*words: object) -> Result:
    return CliRunner().invoke(cli, ["check", *map(str, words)])


def test_a_sound_method_gives_a_line_for_each_check() -> None:
    done = check("supervised")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].strip() == "method supervised"
    assert len(lines) == 23
    assert all(line.strip().startswith(("holds ", "- ")) for line in lines[1:]), done.stdout
    assert all(len(line) <= 80 for line in lines)
    assert "padding does not count (it reads no unlabelled images)" in done.stdout


def test_a_broken_method_ends_with_1_and_says_what_fails(tmp_path: Path) -> None:
    path = tmp_path / "broken_method.py"
    path.write_text(BROKEN)
    done = check("broken", "--plugin", path)
    assert done.exit_code == 1
    assert done.stderr == "semisup: method 'broken': 1 of 22 checks fail.\n"
    assert "fails its scalars are documented and plain" in " ".join(done.stdout.split())
    assert "has no section `Logs:`" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["qwerty"], "no method, model or data set is called 'qwerty'. Known: "),
        (["supervisd"], "Did you mean 'supervised'? Give its file with --plugin."),
        (["decouplednet"], "'decouplednet' is a method and a model: say which, with --kind."),
        (["decouplednet", "--kind", "method"], "trains model 'decouplednet' alone"),
        (["unet", "--kind", "method"], "no method is called 'unet'."),
        (["unet", "--option", "wdth=4"], "--option wdth'. Did you mean 'width'?"),
        (["voc", "--data-root", "nowhere"], "set the data root (--data-root or SEMISUP_DATA)"),
        (["adversarial", "--option", "adversarial_weight=-1.0"], "must not be negative"),
    ],
)
def test_what_cannot_be_checked_is_one_line(words: list[str], message: str) -> None:
    done = check(*words)
    assert done.exit_code == 1, done.output
    assert done.stderr.count("\n") == 1, done.output
    assert message in done.stderr


def test_options_of_a_network() -> None:
    done = check("unet", "--option", "width=4")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("holds") == 11
