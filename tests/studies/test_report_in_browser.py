"""The page of `semisup report` as a browser shows it: on a screen and a telephone, light and dark.

Needs the extra `browser` (Playwright) and a Chromium: Playwright's own, or that of the system.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image
from support.finished import PROTOCOL, finished_run

pytest.importorskip("jinja2")
playwright = pytest.importorskip("playwright.sync_api", reason="needs semisup[browser]")

from semisup.studies.report import look as report_look  # noqa: E402
from semisup.studies.report.cases import Case, Cases, Panel  # noqa: E402
from semisup.studies.report.content import read_report  # noqa: E402
from semisup.studies.report.folder import PAGE, write_report  # noqa: E402

LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
"""Widths of the window in pixels, and the colours that the reader's system asks for."""

CONTRAST = 4.5
"""Of text on what is behind it: WCAG 2.2, level AA."""

OPEN = "for (const one of document.querySelectorAll('details')) one.open = true"

CLASSES = ["background", "person", "potted_plant_with_a_long_name", "tv"]


class Look(NamedTuple):
    """The page as one reader sees it."""

    page: Any
    width: int
    scheme: str
    said: list[str]  # on the console, and errors of the script
    requests: list[str]


def make_study(out: Path) -> None:
    """Two methods at three budgets of annotation, seven seeds each; one cell is not finished."""
    cells = []
    for number, method in enumerate(("supervised", "fixmatch_with_a_rather_long_name")):
        for masks, split in enumerate(("1/8", "1/4", "1/2"), 1):
            digest = f"{method[:4]}{masks}"
            cells.append(
                {
                    "recipe": f"scenes/{method}",
                    "digest": digest,
                    "values": {"method": method, "data.split": split},
                    "seconds": 3600.0 * masks,
                }
            )
            for seed in range(7):
                miou = 0.3 + 0.05 * masks + 0.04 * number + 0.002 * (seed * 5 % 7)
                lines = [
                    {"step": n, "held_out/miou": miou + n / 1000, "self_taught_ece": 0.2 - n / 100}
                    for n in (5, 10)
                ]
                finished_run(
                    out / f"scenes/{method}/{digest}-s{seed}",
                    digest,
                    seed,
                    miou,
                    {"method.name": method, "data.split": split},
                    lines,
                    recipe=f"scenes/{method}",
                    protocol={**PROTOCOL, "classes": CLASSES},
                    split={"labelled": 25 * masks, "sha256": f"list of {split}"},
                    per_class={c: {"iou": miou - 0.05 * n} for n, c in enumerate(CLASSES)},
                    confusion=[[90 if a == b else 3 + a for b in range(4)] for a in range(4)],
                    time={"train_seconds": 60 * masks + seed, "score_seconds": 2},
                    versions={"semisup": "0.1.0", "torch": "2.9.0"},
                )
    seeds = list(range(8))
    (out / "study.json").write_text(
        json.dumps({"study": "seen", "file": "seeds = 8\n", "seeds": seeds, "cells": cells})
    )


def pictures() -> Cases:
    """Two images as two arms predict them."""
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (120, 90, 200)).save(file, format="JPEG")
    uri = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    panels = tuple(
        Panel(title, f"{title} of 2007_000032", uri, 320, 240)
        for title in ("image", "truth", "A", "B")
    )
    cases = tuple(Case(f"2007_00003{n}", panels) for n in range(2))
    return Cases("The worst image and the median one.", cases, (("person", "#c08080"),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that has all that a report can have."""
    place = tmp_path_factory.mktemp("browser")
    make_study(place / "runs")
    found = read_report([str(place / "runs")], place, command="semisup report runs --pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_look, "saved", lambda figure, kind: kind.encode())  # tested elsewhere
        write_report(found, place / "report", pictures())
    return place / "report"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with playwright.sync_playwright() as started:
        own = Path(started.chromium.executable_path)
        names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        others = (found for name in names if (found := shutil.which(name)))
        program = str(own) if own.is_file() else next(others, None)
        if program is None:
            pytest.skip("no Chromium: install one, or run 'playwright install chromium'")
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def look(browser: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Look]:
    """The page, opened from the disk, with all of its details open."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    said: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))
    page.goto((folder / PAGE).as_uri())
    page.evaluate(OPEN)
    yield Look(page, width, scheme, said, requests)
    context.close()


def test_nothing_is_asked_for_and_the_console_is_empty(look: Look, folder: Path) -> None:
    asked = [url for url in look.requests if not url.startswith("data:")]
    assert set(asked) == {(folder / PAGE).as_uri()}
    assert look.said == []


def test_the_colours_are_those_that_the_system_asks_for(look: Look) -> None:
    paper = look.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in paper.strip("rgb()").split(",")[:3]) / 3
    assert (brightness > 200) == (look.scheme == "light")


def test_every_link_leads_somewhere(look: Look, folder: Path) -> None:
    links = look.page.eval_on_selector_all("a", "all => all.map(a => a.href)")
    assert len(links) > 20
    for link in links:
        parts = urlsplit(link)
        assert parts.scheme == "file", link
        assert Path(unquote(parts.path)).is_file(), link
        if parts.fragment:
            seen = look.page.evaluate(
                "id => document.getElementById(id).getBoundingClientRect().height", parts.fragment
            )
            assert seen > 0, link


def test_a_link_to_a_section_shows_its_heading(look: Look) -> None:
    look.page.evaluate("scrollTo(0, 0)")
    look.page.click("nav a[href='#again']")
    tops = look.page.eval_on_selector("#h-again", "one => one.getBoundingClientRect().top")
    assert 0 <= tops < 900
    assert look.page.url.endswith("#again")


def test_tables_have_headings_and_as_many_cells_in_each_row(look: Look) -> None:
    tables = look.page.eval_on_selector_all(
        "table",
        """all => all.map(table => ({
            id: table.id,
            caption: table.caption.innerText.trim(),
            heads: [...table.tHead.rows[0].cells].map(one => one.innerText.trim()),
            rows: [...table.tBodies[0].rows].map(row => [...row.cells].map(one => one.innerText)),
            seen: table.getBoundingClientRect().height,
        }))""",
    )
    names = {table["id"] for table in tables}
    assert {"table-arms", "table-differences", "table-cost", "table-provenance"} <= names
    for table in tables:
        assert table["caption"]
        assert table["seen"] > 0
        assert all(table["heads"]), table["id"]
        assert table["rows"], table["id"]
        for row in table["rows"]:
            assert len(row) == len(table["heads"]), table["id"]
            assert all(row), (table["id"], row)


def test_every_figure_is_drawn_and_told_in_words(look: Look) -> None:
    figures = look.page.eval_on_selector_all(
        "svg.figure",
        """all => all.map(one => ({
            name: one.getAttribute("aria-labelledby").split(" ").map(
                id => document.getElementById(id).textContent.trim()),
            role: one.getAttribute("role"),
            size: [one.getBoundingClientRect().width, one.getBoundingClientRect().height],
            drawn: [...one.querySelectorAll("path, use, text")].filter(
                part => part.getBoundingClientRect().width > 0).length,
            outside: [...one.querySelectorAll("text")].filter(text => {
                const [a, b] = [text.getBoundingClientRect(), one.getBoundingClientRect()];
                const room = 4;  // boxes of text are larger than what is drawn
                return a.left < b.left - room || a.right > b.right + room
                    || a.top < b.top - room || a.bottom > b.bottom + room;
            }).map(text => text.textContent),
        }))""",
    )
    assert len(figures) == 10  # all that there are, and two of confusion
    for figure in figures:
        assert figure["role"] == "img"
        assert len(figure["name"]) == 2
        assert all(figure["name"])
        assert min(figure["size"]) > 100, figure["name"]
        assert figure["size"][0] <= look.width
        assert figure["drawn"] > 10, figure["name"]
        assert figure["outside"] == [], figure["name"]
    photographs = look.page.eval_on_selector_all(
        "img", "all => all.map(one => [one.alt, one.naturalWidth, one.clientWidth])"
    )
    assert len(photographs) == 8
    assert all(alt and own > 0 and shown > 0 for alt, own, shown in photographs)


def test_the_page_does_not_scroll_sideways(look: Look) -> None:
    wide, shown = look.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown <= look.width
    beyond = look.page.evaluate(
        """() => [...document.body.querySelectorAll("*")].filter(one =>
            !one.closest(".scroll table, pre code, svg, .skip")
            && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
        ).map(one => one.outerHTML.slice(0, 80))"""
    )
    assert beyond == []


CONTRASTS = """() => {
    // Of every piece of text: its colour over what is painted behind it, as WCAG defines it.
    const parse = text => {
        const [r, g, b, a = 1] = (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
        return [r, g, b, a];
    };
    const over = (top, below) => [0, 1, 2].map(k => top[3] * top[k] + (1 - top[3]) * below[k]);
    const light = colour => colour.map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
    const paint = one => {
        const style = getComputedStyle(one);
        if (!(one instanceof SVGElement) || one instanceof SVGSVGElement)
            return parse(style.backgroundColor);
        if (style.fill === "none" || one instanceof SVGTextElement) return [0, 0, 0, 0];
        const colour = parse(style.fill);
        return [...colour.slice(0, 3), colour[3] * style.fillOpacity * style.opacity];
    };
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const text = walk.currentNode.textContent.trim(), one = walk.currentNode.parentElement;
        if (!text || one.closest("script, title, desc, .skip")) continue;
        const style = getComputedStyle(one);
        let behind = [];
        if (one instanceof SVGElement) {
            one.scrollIntoView({block: "center", behavior: "instant"});
            const box = one.getBoundingClientRect();
            const stack = document.elementsFromPoint(
                box.left + box.width / 2, box.top + box.height / 2);
            behind = stack.slice(stack.indexOf(one) + 1);
        } else {
            for (let up = one; up; up = up.parentElement) behind.push(up);
        }
        let ground = parse(getComputedStyle(document.body).backgroundColor).slice(0, 3);
        for (const below of behind.reverse()) ground = over(paint(below), ground);
        const own = parse(one instanceof SVGElement ? style.fill : style.color);
        const [a, b] = [light(over(own, ground)), light(ground)];
        found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text.slice(0, 40)]);
    }
    return found;
}"""


def test_text_stands_out_from_what_is_behind_it(look: Look) -> None:
    found = look.page.evaluate(CONTRASTS)
    assert len(found) > 500
    assert [one for one in found if one[0] < CONTRAST] == []
    assert min(found)[0] < 21  # what is measured is not black on white alone


FOCUS = """() => {
    const one = document.activeElement;
    if (one === document.body || one.dataset.met) return null;
    one.dataset.met = "yes";
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    return {
        place: [...document.querySelectorAll("*")].indexOf(one),
        what: one.outerHTML.slice(0, 80),
        outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
        seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0
            && box.left < innerWidth,
        name: (one.getAttribute("aria-label") || one.innerText).trim(),
    };
}"""


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[-1]], indirect=True, ids=["screen", "telephone"])
def test_tab_reaches_everything_in_order_and_shows_where_it_is(look: Look) -> None:
    page = look.page
    page.goto("about:blank")  # Tab would go on from what was clicked on last
    page.goto(look.requests[0])
    page.evaluate(OPEN)
    met = []
    for _ in range(1000):
        page.keyboard.press("Tab")
        reached = page.evaluate(FOCUS)
        if reached is None:
            break
        met.append(reached)
    expected = page.evaluate(
        """() => {
            const all = [...document.querySelectorAll("*")];
            return all.filter(one => one.matches("a[href], button, summary, [tabindex='0']"))
                .map(one => all.indexOf(one));
        }"""
    )
    assert [one["place"] for one in met] == expected
    assert [one["what"] for one in met if one["outline"] < 2] == []
    assert [one["what"] for one in met if not (one["seen"] and one["name"])] == []
    wide = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter(one =>
            one.scrollWidth > one.clientWidth + 1 && one.tabIndex < 0
            && ["auto", "scroll"].includes(getComputedStyle(one).overflowX)
        ).map(one => one.outerHTML.slice(0, 80))"""
    )
    assert wide == []  # what scrolls can be reached without a mouse


def test_a_heading_sorts_its_table_by_the_keyboard(look: Look) -> None:
    button = look.page.locator("#table-arms thead button", has_text="selected")
    column = "all => all.map(row => parseFloat(row.cells[2].innerText))"
    for order, word in ((1, "ascending"), (-1, "descending")):
        button.press("Enter")
        values = look.page.eval_on_selector_all("#table-arms tbody tr", column)
        assert values == sorted(values, key=lambda value: order * value)
        assert len(values) == 6
        head = look.page.locator("#table-arms thead th[aria-sort]")
        assert head.get_attribute("aria-sort") == word


def test_details_open_by_the_keyboard(look: Look) -> None:
    summary = look.page.locator("summary").first
    details = look.page.locator("details").first
    assert details.evaluate("one => one.open") is True
    summary.press("Enter")
    assert details.evaluate("one => one.open") is False
    summary.press("Enter")
