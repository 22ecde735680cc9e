"""How the page looks to a reader: on a telephone and a desk, in light and dark, by mouse, touch and keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.board import choose, column, look_for, names, opened
from helpers.browser import WEAK, Page, needs_browser, text_of
from helpers.run_files import history, judgement, write_ranked, write_table
from lvm_lab.reporting.board import write as report

pytestmark = needs_browser
WIDTHS = {390: 844, 768: 1024, 1280: 800}
LONG = "mamba2_attention-within_document-all-positions-width512-layers12-rate3e-3"
OOM = "RuntimeError: CUDA out of memory. " * 12
REASON = "VAL: the margin of .05 is below .12; OOD: " + "the margin of .02 is below .10 in every bin, " * 6
LOSS = '<b onmouseover="window.hacked = 5">loss</b>'

# What a finger aims at.
AIMS = "#controls :is(input, select, button), #choices select, #heads th, .run-row .run button, summary"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every kind: seeds, losses, a long name, one epoch, 5cat=off, diverged, failed, damaged, not begun."""
    folder = tmp_path_factory.mktemp("multirun") / "kinds"
    for seed, margin in enumerate((0.2, 0.25, 0.4)):
        write_ranked(folder / f"gru-s{seed}", margin, seed=seed, changes={"params": 52_000 + 1_000 * seed})
    missed = judgement(0.05)
    missed["five_cat"]["gates"]["A"]["reason"] = REASON
    write_ranked(folder / "lstm-mse", 0.05, missed | {"params": 61_000}, arch="lstm", loss="mse")
    write_ranked(folder / LONG, 0.15, arch="mamba2_attention", loss=LOSS)
    write_ranked(folder / "one-epoch", 0.1, epochs=1)
    write_ranked(folder / "off", None, five_cat={"name": "off"})
    write_ranked(folder / "oom", None, {"status": "failed", "error": OOM, "params": 0}, arch="s4")
    write_ranked(folder / "blown-up", None, {"status": "diverged"}, arch="rwkv", loss="mse")
    rows = history(4)
    rows[-1] |= {"val/loss": 3e27, "train/loss": 2e29}
    (folder / "blown-up" / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_ranked(folder / "lost", 0.3)
    (folder / "lost" / "checkpoints" / "best_5cat.ckpt").unlink()
    write_table(folder, ["never"])
    report.write(folder, folder)
    return folder


@pytest.fixture
def page(browser: Page, sweep: Path) -> Iterator[Page]:
    yield from opened(browser, sweep)


def seen_at(page: Page, width: int, dark: bool = False) -> None:
    page.look(width, WIDTHS[width], dark)
    frames(page)


def frames(page: Page) -> None:
    """Until what follows a scroll or a new width is laid out."""
    page.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 20))))")


def details_of(page: Page, name: str) -> None:
    look_for(page, name)
    page.click(".run-row .run button")
    frames(page)


def texts(page: Page, selector: str) -> list[str]:
    found: list[str] = page.js(f"[...document.querySelectorAll({selector!r})].map((e) => e.textContent)")
    return found


def box(page: Page, selector: str) -> dict[str, float]:
    """Where the first element that the selector finds stands in the window."""
    found: dict[str, float] = page.js(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
    return found


def figure(page: Page, title: str) -> str:
    """The selector of the figure with this title, which it marks."""
    page.js(
        "(() => { for (const f of document.querySelectorAll('#figures figure'))"
        f"f.id = f.querySelector('figcaption').textContent === {title!r} ? 'wanted' : ''; }})()"
    )
    return "#wanted"


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_no_two_texts_of_a_figure_touch(width: int, page: Page) -> None:
    seen_at(page, width)
    details_of(page, "gru-s2")
    page.click("#controls button[type=reset]")
    frames(page)
    touching = """[...document.querySelectorAll('svg[role=group]')].flatMap((svg) => {
      const outer = svg.getBoundingClientRect();
      const texts = [...svg.querySelectorAll('text')].map((t) => [t.textContent, t.getBoundingClientRect()]);
      const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1 && a.bottom <= b.bottom + 1;
      const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
      return texts.flatMap(([name, box], i) => [
        ...(inside(box, outer) ? [] : [`cut: ${name}`]),
        ...texts.slice(i + 1).filter(([, other]) => !apart(box, other)).map(([other]) => `${name} / ${other}`)]);
    })"""
    for curve in ("val/loss", "train/loss", "5cat/val/A/margin"):
        choose(page, "curve", curve)
        frames(page)
        assert page.js(touching) == []
    assert page.js("document.querySelectorAll('svg[role=group] text.tick').length") > 20
    assert box(page, "#figures text.tick")["height"] >= 11


def test_a_log_axis_has_marks_of_its_own_wherever_its_values_lie(page: Page) -> None:
    found = texts(page, f"{figure(page, 'margin against throughput')} text.tick")
    assert len(found) == len(set(found)) >= 6


def test_on_a_telephone_the_names_stay_and_columns_are_seen(page: Page) -> None:
    seen_at(page, 390)
    # Here scroll bars take room that they do not have on a telephone.
    page.send("Emulation.setScrollbarsHidden", hidden=True)
    frames(page)
    edge = box(page, "#board")["right"] - 8
    begun = "[...document.querySelectorAll('#heads th')].filter((th) => th.offsetWidth)"
    assert page.js(f"{begun}.filter((th) => th.getBoundingClientRect().left < {edge}).length") >= 5
    page.js("document.getElementById('board').scrollTo(300, 150)")
    frames(page)
    lefts = page.js(
        "[...document.querySelectorAll('#board .run')].map((c) => c.getBoundingClientRect().left"
        " - document.getElementById('board').getBoundingClientRect().left)"
    )
    assert len(lefts) == 12
    assert all(0 <= left <= 2 for left in lefts)
    assert 0 <= box(page, "#heads .run")["top"] - box(page, "#board")["top"] <= 2
    assert page.js("Math.max(...[...document.querySelectorAll('#board tbody .run')].map((c) => c.offsetWidth))") <= 120
    page.send("Emulation.setScrollbarsHidden", hidden=False)


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_makes_the_page_itself_scroll_sideways(width: int, page: Page) -> None:
    seen_at(page, width)
    for name in (LONG, "oom", "lstm-mse"):
        details_of(page, name)
    page.click("#controls button[type=reset]")
    page.click("#all-columns")
    page.click(".meanings summary")
    frames(page)
    assert page.js(f"document.documentElement.scrollWidth <= {width}")


def test_a_cut_table_says_so_until_its_end_is_reached(page: Page) -> None:
    seen_at(page, 1280)
    page.click("#all-columns")
    frames(page)
    shadow = "getComputedStyle(document.querySelector('#board').parentElement, '::before').opacity"
    page.js("new Promise((done) => setTimeout(done, 250))")
    hint = text_of(page, "#hint")
    assert "more columns to the right" in hint
    assert int(hint.split()[0]) > 5
    assert float(page.js(shadow)) == 1
    page.js("document.getElementById('board').scrollLeft = 1e6")
    frames(page)
    page.js("new Promise((done) => setTimeout(done, 250))")
    assert text_of(page, "#hint") == ""
    assert float(page.js(shadow)) == 0
    assert page.js("document.getElementById('board').parentElement.classList.contains('more-left')")


def test_main_columns_first_and_all_at_a_wish(page: Page) -> None:
    def shown() -> list[str]:
        found: list[str] = page.js(
            "[...document.querySelectorAll('#heads th')].filter((th) => th.offsetWidth).map((th) => th.textContent)"
        )
        return found

    main = shown()
    assert "margin" in main
    assert "OOD margin" not in main
    page.click("#all-columns")
    assert set(shown()) > set(main)
    assert "OOD margin" in shown()
    told = text_of(page, "#meanings")
    assert "cos(+1) less the best other offset on VAL" in told


def test_one_epoch_is_a_point_that_can_be_seen_and_named(page: Page) -> None:
    look_for(page, "one-epoch")
    inside = figure(page, "val/loss by epoch: infonce")
    assert page.js(f"document.querySelectorAll('{inside} path.run-line').length") == 0
    assert page.js(f"document.querySelector('{inside} circle.single').getBoundingClientRect().width") >= 8
    assert texts(page, f"{inside} text.tick").count("1") == 1
    details_of(page, "one-epoch")
    told = text_of(page, "tr.details")
    assert "Loss after its only epoch" in told
    assert "1.100" in told


def test_a_run_without_gates_says_why(page: Page) -> None:
    assert column(page, "preset")[names(page).index("off")] == "off"
    assert "1 5cat=off" in text_of(page, "#heat-note")
    empty = "getComputedStyle(document.querySelector('.run-row td.number:empty'), '::before').content"
    assert page.js(empty) == '"\u2013"'
    details_of(page, "off")
    assert "trained with 5cat=off" in text_of(page, "tr.details")
    assert "lvm-lab evaluate" in text_of(page, "tr.details")
    choose(page, "preset", "off")
    assert names(page) == ["off"]


def test_damage_and_failure_stand_in_the_table(page: Page) -> None:
    rows = [name.removesuffix(" ★ best") for name in texts(page, ".run-row:has(+ .reason) .run")]
    assert dict(zip(rows, texts(page, "tr.reason"), strict=True)) == {
        "lost": "damaged: checkpoints/best_5cat.ckpt is missing",
        "oom": f"failed: {OOM}",
    }
    for width in WIDTHS:
        seen_at(page, width)
        page.js("document.getElementById('board').scrollLeft = 200")
        frames(page)
        board, reason = box(page, "#board"), box(page, "tr.reason p")
        assert board["left"] <= reason["left"]
        assert reason["right"] <= board["right"]
    details_of(page, "oom")
    assert page.js("document.querySelector('tr.reason')") is None
    assert text_of(page, "pre.error") == OOM


def test_names_by_keyboard(page: Page) -> None:
    inside = figure(page, "Offset curves (VAL)")
    stops = f"document.querySelectorAll('{inside} [tabindex=\"0\"]').length"
    assert page.js(stops) == 1
    page.js("document.getElementById('curve').focus()")
    page.key("Tab")
    assert page.js(f"document.activeElement.closest('{inside}') !== null")
    readout = f"{inside} .readout span"
    assert page.js("document.activeElement.getAttribute('aria-label')") == text_of(page, readout)
    width = "parseFloat(getComputedStyle(document.activeElement).strokeWidth)"
    assert page.js(width) > 4
    told = set()
    for _ in range(7):
        page.key("ArrowRight")
        told.add(text_of(page, readout).partition(":")[0])
    assert told == {"gru-s0", "gru-s1", "gru-s2", "lstm-mse", "one-epoch", "lost", LONG}
    page.key("Home")
    assert text_of(page, readout) == "gru-s2: 0.900 at offset +1"
    assert page.js(stops) == 1
    page.key("Enter", "\r")
    assert text_of(page, "tr.details h2") == "gru-s2"
    assert page.js("document.activeElement.textContent") == "gru-s2"


def test_names_by_touch_and_details_by_the_button(page: Page) -> None:
    seen_at(page, 390)
    inside = figure(page, "margin against parameters")
    page.js(f"document.querySelector('{inside}').scrollIntoView({{block: 'center'}})")
    frames(page)
    point = box(page, f"{inside} circle.best")
    # A finger's width beside it.
    page.tap(point["left"] + point["width"] / 2, point["bottom"] + 8)
    assert text_of(page, f"{inside} .readout span") == "gru-s2: 0.400 at 54k"
    assert page.js("document.querySelector('tr.details')") is None
    page.click(f"{inside} .readout button")
    assert text_of(page, "tr.details h2") == "gru-s2"


def test_names_by_mouse(page: Page) -> None:
    inside = figure(page, "Offset curves (VAL)")
    page.js(f"document.querySelector('{inside}').scrollIntoView({{block: 'center'}})")
    frames(page)
    line = box(page, f"{inside} .run-line.best")
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=line["left"] + 3, y=line["bottom"] - 3)
    assert text_of(page, f"{inside} .readout span") == "gru-s2: 0.500 at offset -3"


def test_every_loss_has_axes_of_its_own(page: Page) -> None:
    def panels() -> list[str]:
        return texts(page, "#figures figcaption")[3:]

    assert panels() == [f"val/loss by epoch: {loss}" for loss in (LOSS, "infonce", "mse")]
    choose(page, "curve", "val/cos")
    assert panels() == ["val/cos by epoch"]


def test_what_diverged_does_not_flatten_the_others(page: Page) -> None:
    inside = figure(page, "val/loss by epoch: mse")
    assert max(float(tick) for tick in texts(page, f"{inside} text.tick")) <= 4
    assert "blown-up (diverged)" in text_of(page, inside)
    look_for(page, "blown-up")
    assert "1.0e+27" in texts(page, f"{figure(page, 'val/loss by epoch: mse')} text.tick")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_gates_reason_is_read_to_its_end(width: int, page: Page) -> None:
    seen_at(page, width)
    details_of(page, "lstm-mse")
    assert REASON in text_of(page, "tr.gate:first-child")
    reason, table = box(page, "tr.gate:first-child th > div"), box(page, "tr.details .scroll")
    assert table["left"] <= reason["left"]
    assert reason["right"] <= table["right"]
    room = "(() => { const e = document.querySelector('tr.gate th > div'); return e.clientWidth - e.scrollWidth; })()"
    assert page.js(room) >= 0


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_is_dark_enough_on_what_it_stands_on(dark: bool, page: Page) -> None:
    seen_at(page, 1280, dark)
    details_of(page, "lstm-mse")
    page.click("#controls button[type=reset]")
    frames(page)
    assert page.js(WEAK) == []


def test_a_finger_meets_what_it_aims_at(page: Page) -> None:
    seen_at(page, 390)
    aims = f"[...document.querySelectorAll({AIMS!r})].filter((e) => e.offsetWidth).map((e) => e.closest('label') ?? e)"
    assert page.js(f"{aims}.filter((e) => e.getBoundingClientRect().height < 39).map((e) => e.textContent)") == []


def test_the_focus_is_seen(page: Page) -> None:
    page.js("document.getElementById('text').focus()")
    for _ in range(14):
        page.key("Tab")
        style = "getComputedStyle(document.activeElement)"
        assert page.js(f"{style}.outlineStyle") == "solid"
        assert page.js(f"parseFloat({style}.outlineWidth)") >= 2


def test_an_empty_table_says_why(page: Page) -> None:
    look_for(page, "nothing-like-it")
    assert "No run matches" in text_of(page, "#rows")
    assert "No row above was judged" in text_of(page, "#heat")


def test_print_shows_all_columns_that_are_chosen(page: Page) -> None:
    page.look(1280, 900, printed=True)
    frames(page)
    assert page.js("getComputedStyle(document.querySelector('.frame'), '::before').display") == "none"
    assert page.js("getComputedStyle(document.querySelector('#board .run')).position") == "static"
    assert page.js("getComputedStyle(document.querySelector('.clamped')).display") == "block"
    assert page.js("document.getElementById('table').offsetWidth") <= 1280
