"""The page on which a text is tried, in a real headless Chromium: what a reader pastes, chooses and sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest

from helpers.browser import WEAK, Page, needs_browser, text_of
from helpers.serving import CHUNKS, ON_TEXTS, TEXTS, serving

pytest.importorskip("fastapi")
TEXT = " ".join(TEXTS[:CHUNKS])
EVIL = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 2</script> is a chunk as well.'
DONE = "document.querySelector('.group') && !document.querySelector('[aria-busy]')"
RANK = "document.querySelector('.model:nth-child({0}) .figures strong').textContent"
READ = "[...document.querySelectorAll('.chunks li.read .text')].map((e) => e.textContent)"


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    models = f"checkpoint={{books: {folder}/run, twin: {folder}/run}}"
    with serving(models, *ON_TEXTS, f"cache={folder}/cache") as address:
        yield address


@pytest.fixture
def page(browser: Page, address: str) -> Iterator[Page]:
    """The page at a desk; after the test nothing may have been complained of, run or asked for elsewhere."""
    browser.look(1280, 900)
    browser.visit(f"{address}/", "document.querySelectorAll('#models input').length === 2")
    browser.errors.clear()
    browser.requested.clear()
    yield browser
    assert browser.js("window.hacked === undefined")
    assert browser.errors == []
    assert {urlparse(url).netloc for url in browser.requested} <= {urlparse(address).netloc}


def paste(page: Page, text: str) -> None:
    page.js("document.getElementById('text').focus(); document.getElementById('text').select()")
    page.write(text)


def predicted(page: Page, text: str = TEXT) -> None:
    paste(page, text)
    page.click("#predict")
    page.wait(DONE)


def texts(page: Page, selector: str) -> list[str]:
    found: list[str] = page.js(f"[...document.querySelectorAll({selector!r})].map((e) => e.textContent)")
    return found


def tab(page: Page) -> None:
    """To what comes next, which shows that it has the focus."""
    page.key("Tab")
    style = "getComputedStyle(document.activeElement)"
    # A line of a figure is drawn thicker.
    assert page.js(f"{style}.outlineStyle === 'solid' || {style}.strokeWidth === '4.5px'")


def frames(page: Page) -> None:
    page.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 20))))")


def test_it_is_one_file_whose_policy_lets_it_ask_this_server_alone(address: str) -> None:
    answer = httpx.get(f"{address}/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert all(re.fullmatch(r"'sha256-\S+'", policy[kind]) for kind in ("script-src", "style-src"))
    addresses = [one for one in re.findall(r"https?://[^\"'\s]+", answer.text) if "www.w3.org" not in one]
    assert addresses == []
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", answer.text) == ["data:,", "docs", "docs"]


@needs_browser
def test_two_models_say_what_follows_and_where_the_truth_ranks(page: Page, address: str) -> None:
    predicted(page)
    assert texts(page, ".chunks .text") == TEXTS[:CHUNKS]
    assert page.js(READ) == TEXTS[2:7]
    assert text_of(page, ".chunks li.target .text") == TEXTS[7]
    answer = httpx.post(f"{address}/try", json={"model": "twin", "text": TEXT}).json()
    ranks, offsets = answer["ranks"], answer["offsets"]
    assert texts(page, ".model h3") == ["books", "twin"]
    for column in (1, 2):
        inside = f".model:nth-child({column})"
        assert texts(page, f"{inside} .candidates .text") == [
            line["text"] + {"read": " · was read", "target": " · the true next chunk", None: ""}[line["known"]]
            for line in answer["candidates"]
        ]
        assert texts(page, f"{inside} .figures strong") == [
            f"{ranks['text']['rank']} of {ranks['text']['of']}",
            f"{ranks['decoder']['rank']} of {ranks['decoder']['of']}",
            f"{offsets['prediction'][4]:.3f}",
        ]
        # Two lines with their axes, and the same as a table for who does not see them.
        assert page.js(f"document.querySelectorAll('{inside} svg path.run-line').length") == 2
        assert texts(page, f"{inside} svg text.title") == ["offset k (0: last read, +1: next)", "cosine"]
        assert texts(page, f"{inside} details tbody td:first-child") == ["-3", "-2", "-1", "0", "+1", "+2", "+3"]
        assert texts(page, f"{inside} details tbody td:last-child") == [f"{cos:.3f}" for cos in offsets["text"]]
    sides = page.js("[...document.querySelectorAll('.model')].map((e) => e.getBoundingClientRect().top)")
    assert sides[0] == sides[1]
    assert text_of(page, "#status").startswith(f"books: chunk 8 ranks {ranks['text']['rank']} of 8 in this text.")


@needs_browser
def test_by_keyboard_alone(page: Page) -> None:
    page.js("document.getElementById('text').focus()")
    page.write(TEXT)
    page.key("Enter", control=True)
    page.wait(DONE)
    active = "document.activeElement"
    for _ in range(10):
        tab(page)
        if page.js(f"{active}.type === 'radio'"):
            break
    assert page.js(f"{active}.value") == "8"
    for number in (7, 6):
        page.key("ArrowUp")
        page.wait(f"{DONE} && document.querySelector('.chunks li.target input').value === '{number}'")
        assert page.js(f"{active}.value") == str(number)
    assert page.js(READ) == TEXTS[:5]
    assert text_of(page, ".model h4") == "Chunk 6, which truly follows"
    for _ in range(10):
        tab(page)
        if page.js(f"{active}.closest('svg') !== null"):
            break
    said = page.js(f"{active}.getAttribute('aria-label')")
    assert re.fullmatch(r"this prediction: -?[\d.]+ at offset \+1", said)
    page.key("ArrowRight")
    assert page.js(f"{active}.getAttribute('aria-label')").startswith("mean of 1 window of this text: ")
    tab(page)
    page.key("Enter", "\r")
    assert page.js("document.querySelector('details').open")
    # The chosen chunk stays where the same text is predicted anew.
    page.js("document.querySelector('#predict').focus()")
    page.key("Enter", "\r")
    page.wait(f"{DONE} && document.querySelector('details').open === false")
    assert page.js("document.querySelector('.chunks input:checked').value") == "6"


@needs_browser
def test_a_text_is_never_taken_for_html(page: Page) -> None:
    predicted(page, f"{EVIL} {TEXT}")
    assert EVIL in " ".join(texts(page, ".chunks .text"))
    assert page.js("document.querySelectorAll('#results :is(img, script)').length") == 0


@needs_browser
def test_what_is_wrong_or_missing_is_a_sentence(page: Page) -> None:
    page.click("#predict")
    page.wait("document.getElementById('error').textContent")
    assert text_of(page, "#error") == "The text is empty; paste some, or take the example."
    predicted(page, TEXTS[0])
    assert "chunk 1 has none before it to be predicted from" in text_of(page, ".model")
    assert page.js("document.querySelector('.chunks input').disabled")
    predicted(page, " ".join(TEXTS[:4]))
    assert "No mean over the text: no window of the text has all seven neighbours" in text_of(page, ".model")
    assert "was trained to read 5 or more" in text_of(page, ".model")
    predicted(page, "x" * 200_001)
    assert text_of(page, "#error") == "200001 characters are too many at once; send 200000 or fewer."
    assert text_of(page, "#error") in text_of(page, ".model:nth-child(2)")
    page.errors.clear()


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_at_390_pixels_it_is_read_without_scrolling_sideways(page: Page, dark: bool) -> None:
    page.look(390, 844, dark)
    page.click("#example")
    page.click("#predict")
    page.wait(DONE)
    page.js("document.querySelectorAll('summary').forEach((e) => e.click())")
    frames(page)
    assert page.js("document.documentElement.scrollWidth <= 390")
    boxes = page.js("[...document.querySelectorAll('.model')].map((e) => e.getBoundingClientRect().toJSON())")
    assert boxes[1]["top"] > boxes[0]["bottom"]
    wide = "[...document.querySelectorAll('svg.plot')].map((e) => e.closest('svg[role]').getBoundingClientRect().right)"
    assert max(page.js(wide)) <= boxes[0]["right"]
    aims = "[...document.querySelectorAll('button, select, .tick, .chunks label, summary')]"
    assert page.js(f"{aims}.filter((e) => e.offsetWidth && e.offsetHeight < 43).map((e) => e.textContent)") == []
    assert page.js(WEAK) == []
    page.look(1280, 900)
    frames(page)
    tops = page.js("[...document.querySelectorAll('.model')].map((e) => e.getBoundingClientRect().top)")
    assert tops[0] == tops[1]


@needs_browser
def test_a_key_is_asked_for_and_what_a_model_lacks_is_told(
    browser: Page, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LVM_LAB_API_KEY", "secret")
    with serving(f"checkpoint={folder}/run", "chunker=sentences", "chunker.length=60") as address:
        browser.visit(f"{address}/", "!document.getElementById('key-row').hidden")
        assert "key is missing or wrong" in text_of(browser, "#error")
        assert browser.js("document.activeElement.id") == "key"
        assert browser.js("document.activeElement.type") == "password"
        browser.requested.clear()
        browser.write("wrong")
        browser.js("document.getElementById('error').textContent = ''")
        browser.key("Enter", "\r")
        browser.wait("document.getElementById('error').textContent")
        assert "key is missing or wrong" in text_of(browser, "#error")
        assert not browser.js("document.getElementById('key-row').hidden")
        assert browser.js("document.activeElement.id") == "key"
        browser.js("document.activeElement.select()")
        browser.write("secret")
        browser.key("Enter", "\r")
        browser.wait("document.querySelectorAll('#models input').length === 1")
        assert text_of(browser, "#error") == ""
        assert browser.js("document.getElementById('key-row').hidden")
        browser.errors.clear()
        predicted(browser)
        assert "this server has no decoder; start it with decoder=retrieval." in text_of(browser, ".model")
        assert texts(browser, ".figures dt") == ["rank in this text", "cosine to the prediction"]
        assert browser.js("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0
        assert browser.js("document.cookie") == ""
        assert browser.requested
        assert not any(key in url for url in browser.requested for key in ("secret", "wrong"))
    browser.click("#predict")
    browser.wait("document.getElementById('error').textContent")
    assert "The server does not answer" in text_of(browser, "#error")
    browser.errors.clear()
