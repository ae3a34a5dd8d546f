"""What mkdocs does with a page beside Markdown: formulas, diagrams, tables (`hooks` in mkdocs.yml).

`<!-- diagram: NAME -->` becomes a diagram (docs/diagrams.py) and `<!-- quickstart -->` the table of
the start page (docs/zoo.py); where the pages are read as they are, nothing is seen of either.

Formulas are LaTeX between two $$, or two $ in a line, as GitHub shows them too. They become MathML
when the site is built: all current browsers draw it without a script, so that the site has nothing
to fetch and nothing to carry along, and a reader's screen reader speaks it.
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator

from diagrams import with_diagrams
from zoo import quickstart_table

from semisup.errors import SemisupError

TABLE = "<!-- quickstart -->"

FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>',
    re.DOTALL,
)


def mathml(latex: str, *, block: bool) -> str:
    """A formula as MathML.

    Raises:
        SemisupError: latex2mathml is not installed, or does not know a command of the formula.
    """
    try:
        from latex2mathml.converter import convert
    except ImportError:
        raise SemisupError("formulas need latex2mathml: pip install 'semisup[docs]'.") from None
    try:
        made: str = convert(latex, display="block" if block else "inline")
    except Exception as error:  # its errors have no class of their own in common
        raise SemisupError(f"the formula {latex!r} is not understood: {error!r}.") from None
    unknown = re.findall(r"\\[a-zA-Z]+|<m[a-z]+>[&*]</m", made)
    if unknown:
        raise SemisupError(f"the formula {latex!r} has what latex2mathml does not know: {unknown}.")
    return made


def with_formulas(page: str) -> str:
    """The HTML of a page with MathML in place of LaTeX.

    Raises:
        SemisupError: as of `mathml`.
    """

    def formula(found: re.Match[str]) -> str:
        block = found[1] == "div"
        made = mathml(html.unescape(found[3]).strip(), block=block)
        return f'<div class="formula">{made}</div>' if block else made

    return FORMULA.sub(formula, page)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs: the diagrams and tables of a page."""
    with _in_one_line():
        if TABLE in markdown:
            markdown = markdown.replace(TABLE, quickstart_table())
        return with_diagrams(markdown)


def on_page_content(html: str, **_: object) -> str:
    """Called by mkdocs: the formulas of a page."""
    with _in_one_line():
        return with_formulas(html)


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Errors as those that mkdocs prints without a traceback."""
    try:
        yield
    except SemisupError as error:
        from mkdocs.exceptions import PluginError

        raise PluginError(str(error)) from None
