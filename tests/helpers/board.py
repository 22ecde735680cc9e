"""The leaderboard's page as tests use it: opened, filtered, sorted and read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

from helpers.browser import Page


def opened(browser: Page, folder: Path) -> Iterator[Page]:
    """The page of a folder; after the test nothing may have been complained of or asked for."""
    browser.errors.clear()
    browser.requested.clear()
    browser.look(1400, 1000)
    browser.open(folder / "index.html")
    yield browser
    assert browser.js("window.hacked === undefined")
    assert browser.errors == []
    assert {urlparse(unquote(url)).path for url in browser.requested} == {str((folder / "index.html").resolve())}


def column(page: Page, title: str) -> list[str]:
    """The texts of a column, from the top."""
    script = f"""(() => {{
      const place = [...document.querySelectorAll('#heads th')].findIndex((th) => th.textContent === {title!r});
      return [...document.querySelectorAll('.run-row')].map((row) => row.children[place].textContent);
    }})()"""
    found: list[str] = page.js(script)
    return found


def names(page: Page) -> list[str]:
    return [name.removesuffix(" ★ best") for name in column(page, "run")]


def sort_by(page: Page, key: str) -> None:
    page.click(f"#heads th[data-key='{key}'] button")


def choose(page: Page, field: str, value: str) -> None:
    page.js(
        f"(() => {{ const s = document.getElementById({field!r}); s.value = {value!r};"
        "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def look_for(page: Page, text: str) -> list[str]:
    page.js("document.getElementById('text').select()")
    page.write(text)
    return names(page)
