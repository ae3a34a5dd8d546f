"""The planted bugs of `mutation.py`, which CI plants: each still fits the code."""

from __future__ import annotations

import mutation


def test_each_planted_bug_fits_its_source() -> None:
    assert [line for mutant in mutation.MUTANTS for line in mutation.check_text(mutant)] == []


def test_each_has_a_name_of_its_own() -> None:
    names = [mutant.name for mutant in mutation.MUTANTS]
    assert len(set(names)) == len(names) > 200
