"""Tables as text for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections.abc import Sequence

from semisup.studies.comparison import Comparison
from semisup.studies.output.tables import Table, masks, notes_of, tables_of

GAP = "  "

_LATEX_WIDTH = 88
"""Characters of a line that fit between the margins of a page in a usual style."""

_SIGNED = re.compile(r"(?<![\w.])[+-]\d+\.\d+")

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
}


def as_text(comparison: Comparison, width: int = 80, *, per_class: bool = True) -> str:
    """Aligned columns for a terminal; no line is longer than `width` but for a long name."""
    tables = tables_of(comparison, letters=True, per_class=per_class)
    parts = [f"{table.title}\n\n{aligned(table, width)}" for table in tables]
    notes = [
        textwrap.fill(note, width, break_long_words=False, break_on_hyphens=False)
        for note in notes_of(comparison)
    ]
    return "\n".join([*parts, *(f"{note}\n" for note in notes)])


def aligned(table: Table, width: int) -> str:
    """The lines of a table: columns side by side where they fit.

    Else columns of numbers that do not fit go below in a block of their own. Where the names take
    the line, they stand above the numbers, beside which the first word of a row is, or its number.
    """
    narrow = max(len(cell) for row in (table.head, *table.rows) for cell in row[table.words :])
    if _left(table) + len(GAP) + narrow <= width and (
        _left(table) <= width // 3 or len(split(table, width)) == 1
    ):
        return "\n".join(_lines(part) for part in split(table, width))
    words, keyed = table.words, table.words > 1
    keys = [row[0] if keyed else str(number) for number, row in enumerate(table.rows, 1)]
    names = [GAP.join(row[1 if keyed else 0 : words]) for row in table.rows]
    left = max(map(len, keys))
    pairs = zip(keys, names, strict=True)
    legend = "".join(f"{key.ljust(left)}{GAP}{name}\n" for key, name in pairs)
    rows = tuple((key, *row[words:]) for key, row in zip(keys, table.rows, strict=True))
    return f"{legend}\n{aligned(Table(table.title, ('', *table.head[words:]), rows), width)}"


def split(table: Table, width: int) -> list[Table]:
    """A table as several, each with the words and as many columns of numbers as fit.

    Args:
        table: with one column of numbers or more.
        width: in characters.
    """
    sizes = _sizes(table)
    blocks: list[list[int]] = [[]]
    used = _left(table)
    for place in range(table.words, len(sizes)):
        if blocks[-1] and used + len(GAP) + sizes[place] > width:
            blocks.append([])
            used = _left(table)
        blocks[-1].append(place)
        used += len(GAP) + sizes[place]
    return [_with_columns(table, [*range(table.words), *block]) for block in blocks]


def _with_columns(table: Table, places: Sequence[int]) -> Table:
    head, *rows = (tuple(row[place] for place in places) for row in (table.head, *table.rows))
    return Table(table.title, head, tuple(rows), table.words)


def _sizes(table: Table) -> list[int]:
    return [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]


def _left(table: Table) -> int:
    """Width of the words."""
    return sum(_sizes(table)[: table.words]) + len(GAP) * (table.words - 1)


def _lines(table: Table) -> str:
    lines = []
    for row in (table.head, *table.rows):
        cells = [
            cell.ljust(size) if place < table.words else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(row, _sizes(table), strict=True))
        ]
        lines.append(GAP.join(cells).rstrip())
    return "".join(f"{line}\n" for line in lines)


def as_markdown(comparison: Comparison) -> str:
    """Tables of Markdown with their notes below."""
    tables = tables_of(comparison)
    parts = [f"**{first_large(table.title)}**\n\n{markdown(table)}" for table in tables]
    return "\n".join([*parts, *(f"{note}\n" for note in notes_of(comparison))])


def markdown(table: Table) -> str:
    """One table of Markdown; numbers are aligned to the right."""
    rule = ["---" if place < table.words else "--:" for place in range(len(table.head))]
    rows = [[cell.replace("|", r"\|") for cell in row] for row in (table.head, *table.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:], ""])


def as_latex(comparison: Comparison) -> str:
    """Tables of LaTeX in the manner of booktabs, with the notes of the comparison as comments."""
    notes = [f"% {line}" for note in notes_of(comparison) for line in textwrap.wrap(note, 96)]
    tables = tables_of(comparison, letters=_long_heads(comparison))
    head = ["% \\usepackage[T1]{fontenc}", "% \\usepackage{booktabs}"]
    parts = [part for table in tables for part in split(table, _LATEX_WIDTH)]
    return "\n".join([*head, *notes, "", *(latex(part) for part in parts)])


def _long_heads(comparison: Comparison) -> bool:
    """Whether the names of the arms are too long to head columns."""
    return sum(len(arm.name) for arm in comparison.arms) > 40


def latex(table: Table) -> str:
    """One table of LaTeX that needs the packages booktabs and fontenc (T1)."""
    columns = "l" * table.words + "r" * (len(table.head) - table.words)
    rows = [" & ".join(map(_escaped, row)) + r" \\" for row in (table.head, *table.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{_escaped(first_large(table.title))}.}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    """Text as LaTeX prints it; numbers with a sign are set as numbers."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return _SIGNED.sub(r"$\g<0>$", escaped)


def as_csv(comparison: Comparison) -> str:
    """One row for each run, in full precision: what a spreadsheet or a plotting program reads."""
    classes = list(dict.fromkeys(name for arm in comparison.arms for name in arm.class_scores()))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = ["run", "recipe", "digest", "seed", "masks", "miou", "train_seconds", "source"]
    writer.writerow([*head, *(f"iou/{name}" for name in classes)])
    for arm in comparison.arms:
        scores = arm.class_scores()
        for run in arm.runs:
            iou = {name: row.get(run.seed) for name, row in scores.items()}
            values = [run.split["labelled"], arm.scores[run.seed], run.train_seconds, run.source]
            cells = [arm.name, run.recipe, run.digest, run.seed, *values]
            writer.writerow([*cells, *(iou.get(name) for name in classes)])
    return file.getvalue()


def as_json(comparison: Comparison) -> str:
    """All that is known of a comparison, in full precision."""
    content = {
        "score": comparison.score,
        "arms": [
            {
                "name": arm.name,
                "recipe": arm.runs[0].recipe,
                "masks": masks(arm.runs),
                "seeds": arm.seeds,
                "miou": list(arm.scores.values()),
                "mean": arm.mean,
                "sd": arm.sd,
                "interval_95": arm.interval,
                "train_seconds": arm.train_seconds,
                "iou": arm.class_means(),
                "runs": [run.source for run in arm.runs],
            }
            for arm in comparison.arms
        ],
        "differences": [
            {
                "arm": one.arm,
                "baseline": one.baseline,
                "seeds": one.seeds,
                "mean": one.mean,
                "sd": one.paired and one.paired.sd,
                "interval_95": one.paired and one.paired.interval,
                "p": one.paired and one.paired.p,
                "p_holm": one.p_holm,
                "detectable": one.paired and one.paired.detectable,
                "smallest_p": one.paired and one.paired.smallest_p,
                "wilcoxon_p": one.paired and one.paired.wilcoxon_p,
                "cohens_dz": one.paired and one.paired.effect,
                "superiority": one.paired and one.paired.superiority.chance,
                "superiority_interval_95": one.paired and one.paired.superiority.interval,
                "correlation": one.paired and one.paired.correlation,
                "images_interval_95": one.images,
                "both_interval_95": one.both and one.both.interval,
                "iou": {
                    name: {"mean": each.mean, "interval_95": each.interval}
                    for name, each in one.classes.items()
                },
            }
            for one in comparison.differences
        ],
        "protocol": comparison.protocol,
        "notes": notes_of(comparison),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def as_html(comparison: Comparison) -> str:
    """Tables of HTML, as a notebook shows them."""
    parts = [f"<h4>{html(one.title)}</h4>{html_table(one)}" for one in tables_of(comparison)]
    notes = "".join(f"<p>{html(note)}</p>" for note in notes_of(comparison))
    return "".join([*parts, notes])


def html_table(table: Table) -> str:
    """One table of HTML."""

    def cells(row: Sequence[str], tag: str) -> str:
        sides = ["left" if place < table.words else "right" for place in range(len(row))]
        return "".join(
            f'<{tag} style="text-align:{side}">{html(cell)}</{tag}>'
            for cell, side in zip(row, sides, strict=True)
        )

    rows = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    return f"<table><thead><tr>{cells(table.head, 'th')}</tr></thead><tbody>{rows}</tbody></table>"


def html(text: str) -> str:
    """Text as HTML prints it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def first_large(text: str) -> str:
    """A title as it stands alone: with a large letter, but for mIoU."""
    return text if text.startswith(("mIoU", "IoU")) else text[:1].upper() + text[1:]
