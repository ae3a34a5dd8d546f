"""The contract of a name of the catalogue, whatever kind it is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from semisup.catalog import DATASETS, KINDS, METHODS, MODELS, create_dataset, create_model
from semisup.contracts import datasets, methods, models
from semisup.contracts.base import Finding, run_checks
from semisup.errors import RecipeError, suggest


def kind_of_name(name: str, kind: str = "") -> str:
    """Which kind a name of the catalogue is of.

    Args:
        name: of a method, a model or a data set.
        kind: "method", "model" or "data set", for a name of two kinds; empty: the only one.

    Raises:
        RecipeError: there is no such name, or there are several kinds of it.
    """
    found = [known for known, table in KINDS.items() if name in table]
    if kind in found:
        return kind
    if not found or kind:
        every = [known for table in KINDS.values() for known in table]
        what = kind or "method, model or data set"
        raise RecipeError(
            f"no {what} is called '{name}'.{suggest(name, every)} Give its file with --plugin."
        )
    if len(found) > 1:
        raise RecipeError(f"'{name}' is a {' and a '.join(found)}: say which, with --kind.")
    return found[0]


def check_contract(
    name: str,
    kind: str,
    options: Mapping[str, Any],
    data_root: Path = Path("data"),
) -> Iterator[Finding]:
    """Run every check of a contract.

    Args:
        name: of the catalogue.
        kind: of the name, see `kind_of_name`.
        options: of the class, over its defaults.
        data_root: folder of the data sets.

    Raises:
        RecipeError: a method that trains one special network only.
    """
    if kind == "method":
        return _check_method(name, options)
    if kind == "model":
        make = partial(create_model, name, models.CLASSES, **options)
        return run_checks(models.CHECKS, models.ModelSubject(make))
    cls = DATASETS[name]
    subject = datasets.DatasetSubject(
        name,
        lambda subset: create_dataset(name, data_root, subset, **options),
        cls.train_subset,
        cls.eval_subset,
    )
    subject.data()  # where the files are not there at all, that is the one thing to say
    return run_checks(datasets.CHECKS, subject)


def _check_method(name: str, options: Mapping[str, Any]) -> Iterator[Finding]:
    for network, cls in MODELS.items():
        if name in cls.trained_by:
            raise RecipeError(
                f"method '{name}' trains model '{network}' alone, and the contract has toy "
                "networks: write tests of its own, as in tests/methods."
            )
    subject = methods.MethodSubject(name, METHODS[name], options)
    try:  # where it cannot be built at all, that is the one thing to say
        subject.build()
    except ValueError as error:
        raise RecipeError(f"method {name}: {error}") from error
    return run_checks(methods.CHECKS, subject)
