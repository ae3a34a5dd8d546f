"""The page of a report: one file of HTML with its style, its figures and a short script."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from semisup.errors import RunError
from semisup.studies.output.formats import first_large
from semisup.studies.output.tables import letters_of
from semisup.studies.report import look
from semisup.studies.report.content import Report
from semisup.studies.report.figures import Drawn
from semisup.studies.report.tables import (
    arms_table,
    class_tables,
    cost_table,
    differences_table,
    left_out,
    names_in_sentences,
    notes,
    protocol_rows,
    provenance_table,
)
from semisup.studies.report.verdicts import verdicts
from semisup.system.words import counted
from semisup.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from semisup.studies.report.cases import Cases

TEMPLATES = Path(__file__).parent / "templates"


def check_installed() -> None:
    """See that what makes the page is there, before anything is computed.

    Raises:
        RunError: it is not; names the extra.
    """
    try:
        importlib.import_module("jinja2")
    except ImportError:
        raise RunError(
            "a report needs jinja2. Install it with pip install 'semisup[report]', or write tables "
            "with 'semisup compare RUNS --to FILE'."
        ) from None


def page(
    report: Report,
    drawn: Mapping[str, Drawn],
    svg: Mapping[str, str],
    commands: str,
    cases: Cases | None,
) -> str:
    """The page as text.

    Args:
        report: what it is of.
        drawn: name -> figure, of those that there are.
        svg: name -> the same, to stand in the page.
        commands: that make the runs and the report again.
        cases: pictures; None: without any.
    """
    environment = _environment()
    figures = {
        name: {"title": one.title, "text": one.text, "svg": _markup(svg[name])}
        for name, one in drawn.items()
    }
    style = environment.get_template("report.css").render(
        colours=look.COLOURS, dark_colours=look.DARK_COLOURS
    )
    named = names_in_sentences(report)
    text: str = environment.get_template("report.html").render(
        version=__version__,
        title=report.title,
        style=_markup(style),
        script=_markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        compared=_compared(report),
        sections=_sections(cases is not None),
        verdicts=verdicts(report.comparison, named),
        keys=_keys(report),
        arms=arms_table(report),
        differences=differences_table(report),
        notes=notes(report),
        figures=figures,
        confusions=[name for name in drawn if name.startswith("confusion-")],
        class_tables=class_tables(report),
        cost=cost_table(report),
        absent=_absent(report, drawn),
        cases=cases.cases if cases else [],
        cases_note=cases.note if cases else "",
        legend=cases.legend if cases else [],
        protocol=protocol_rows(report),
        provenance=provenance_table(report),
        left_out=left_out(report),
        commands=commands,
    )
    return text


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["large"] = first_large
    environment.filters["breakable"] = _breakable
    return environment


def _markup(text: str) -> Markup:
    """Text that is written as it is: of files of the package, and figures."""
    from markupsafe import Markup

    return Markup(text)


def _breakable(text: str) -> Markup:
    """Text whose long names may go on in the next line behind a / or a _, as HTML."""
    from markupsafe import escape

    return _markup(re.sub(r"([/_])(?=\w)", r"\1<wbr>", str(escape(text))))


def _keys(report: Report) -> dict[str, Markup]:
    """Letter of an arm -> its mark as the figures have it."""
    keys = {}
    for number, letter in enumerate(letters_of(report.comparison.arms).values()):
        keys[letter] = _markup(
            f'<svg class="key" viewBox="-6 -6 12 12" role="img" aria-label="mark of {letter}">'
            f'<path d="{_path(look.marker(number))}" fill="var(--arm{number % len(look.COLOURS)})"'
            "/></svg>"
        )
    return keys


def _path(shape: str) -> str:
    """A marker of matplotlib as the path of SVG, some 10 units wide."""
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(shape)
    path = style.get_path().transformed(style.get_transform())
    points = 9.0 * np.asarray(path.to_polygons()[0], dtype=np.float64)
    return "M" + "L".join(f"{x:.1f} {-y:.1f}" for x, y in points) + "Z"


def _compared(report: Report) -> str:
    arms, protocol = report.comparison.arms, report.comparison.protocol
    counts = sorted(len(arm.runs) for arm in arms)
    seeds = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    noun = "run" if counts[-1] == 1 else "runs"
    return (
        f"{counted(len(arms), 'arm')} of {seeds} {noun} each, scored on "
        f"{counted(protocol['images'], 'image')} of {protocol['data']} {protocol['subset']} with "
        f"{counted(len(protocol['classes']), 'class', 'classes')}."
    )


def _sections(with_pictures: bool) -> list[tuple[str, str]]:
    found = [("answer", "What came out"), ("scores", "Scores"), ("classes", "Classes")]
    found += [("training", "Training")]
    found += [("pictures", "Pictures")] if with_pictures else []
    found += [("provenance", "Protocol and provenance"), ("left-out", "Left out")]
    return [*found, ("again", "To make it again")]


_WHY = {
    "scores": (
        ("gain", "No gain is drawn: nothing was compared with a baseline."),
        ("budgets", "No score against labels: all arms have as many labelled images."),
        ("annotation", "No score against annotation cost: the runs do not know two costs."),
    ),
    "classes": (
        ("classes", "No classes: runs keep them of the selected checkpoint alone."),
        ("confusion", "No confusion: kept results have none, only folders of runs."),
    ),
    "training": (
        ("curves", "No learning curves: no log is there with a score along the way."),
        ("calibration", "No calibration: no run has kept that of its pseudo-labels."),
    ),
}
"""Section -> what is left out there, and why."""


def _absent(report: Report, drawn: Mapping[str, Drawn]) -> dict[str, Sequence[str]]:
    have = {name.partition("-")[0] for name in drawn}
    return {
        section: [why for name, why in lines if name not in have] for section, lines in _WHY.items()
    }
