"""A page in a real headless Chromium, driven through the DevTools protocol over a pipe: no driver to install.

https://chromedevtools.github.io/devtools-protocol/: messages are JSON, each ended by a NUL, read by the browser from
its descriptor 3 and written to 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# Set where the browser has to be there, so that its absence fails and does not skip.
REQUIRED = "LVM_LAB_NEEDS_CHROMIUM"
needs_browser = pytest.mark.skipif(
    BROWSER is None and not os.environ.get(REQUIRED), reason="no Chromium here: apt-get install chromium"
)
SECONDS = 600
# First far away, since what is open may stand at 3 or 4 already.
PLACE_PIPES = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
    os.close(end)
os.execv(sys.argv[3], sys.argv[3:])
"""

# Texts with less contrast than WCAG 2 asks for, https://www.w3.org/TR/WCAG22/#contrast-minimum.
WEAK = """(() => {
  const parts = (colour) => [...colour.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const linear = (v) => v <= .04045 * 255 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = (c) => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
  const own = (node) => parts(getComputedStyle(node).backgroundColor);
  const ground = (node) => node ? over(own(node), ground(node.parentElement)) : [255, 255, 255];
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const [text, node] = [walker.currentNode.data.trim(), walker.currentNode.parentElement];
    if (!text || node.closest('script, noscript, option') || !node.getClientRects().length) continue;
    const [style, under] = [getComputedStyle(node), ground(node)];
    const ink = over(parts(node.closest('svg') ? style.fill : style.color), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) weak.push(`${text.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return weak; })()"""


class Page:
    """One page. errors: what it wrote to the console as an error or warning, threw, or was refused."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._held, self._sent, self._session = b"", 0, ""
        self.errors: list[str] = []
        self.requested: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; what is told meanwhile is kept."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            got = self._receive()
            if got.get("id") == self._sent:
                assert "error" not in got, got
                result: dict[str, Any] = got["result"]
                return result
            self._note(got)

    def open(self, file: Path) -> None:
        """Open a file and wait until its script has run."""
        self.visit(file.resolve().as_uri(), "location.protocol === 'file:'")

    def visit(self, url: str, ready: str = "true") -> None:
        """Open an address and wait until its script has run and an expression holds."""
        self.send("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href !== 'about:blank' && {ready}")

    def wait(self, expression: str) -> None:
        """Until an expression holds."""
        ends = time.monotonic() + SECONDS
        while not self.js(expression):
            assert time.monotonic() < ends, f"never: {expression}"
            time.sleep(0.02)

    def js(self, expression: str) -> Any:
        """The value of an expression, waited for where it is a promise."""
        got = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def click(self, selector: str) -> None:
        """A real click in the middle of the first element that the selector finds."""
        place = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', inline: 'center'});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def tap(self, x: float, y: float) -> None:
        """A finger on a place of the window."""
        for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def key(self, name: str, text: str = "", control: bool = False) -> None:
        """A real key, such as Tab or Enter (whose text is \\r)."""
        arrows = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        code = ({"Tab": 9, "Enter": 13, " ": 32, "End": 35, "Home": 36} | arrows)[name]
        for kind in ("keyDown", "keyUp"):
            written = {"text": text} if text and kind == "keyDown" else {}
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                windowsVirtualKeyCode=code,
                modifiers=2 * control,
                **written,
            )

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def look(self, width: int, height: int, dark: bool = False, printed: bool = False) -> None:
        """The window's size in pixels, and what the page is told of its reader."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="print" if printed else "", features=[scheme])

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._from], [], [], SECONDS)
            assert ready, "the browser says nothing"
            got = os.read(self._from, 1 << 16)
            assert got, "the browser has gone"
            self._held += got
        message, _, self._held = self._held.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        method, said = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(said["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.errors.append(str(said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.errors.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requested.append(said["request"]["url"])


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser of its own with an empty profile, ended with the block."""
    assert BROWSER, "chromium is not installed"
    read_by_it, to_it = os.pipe()
    from_it, written_by_it = os.pipe()
    options = ["--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run", "--disable-gpu"]
    # Root has no sandbox; the pages are our own.
    options += ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--window-size=1400,1000"]
    command = [sys.executable, "-c", PLACE_PIPES, str(read_by_it), str(written_by_it), BROWSER, *options]
    silent = subprocess.DEVNULL
    process = subprocess.Popen(
        command, pass_fds=(read_by_it, written_by_it), stdin=silent, stdout=silent, stderr=silent
    )
    os.close(read_by_it)
    os.close(written_by_it)
    try:
        page = Page(to_it, from_it)
        yield page
        page.send("Page.close")
    finally:
        process.terminate()
        process.wait(SECONDS)
        os.close(to_it)
        os.close(from_it)


def text_of(page: Page, selector: str) -> str:
    return str(page.js(f"document.querySelector({selector!r}).textContent"))
