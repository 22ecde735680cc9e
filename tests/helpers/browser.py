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

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# Set where the browser has to be there, so that its absence fails and does not skip.
REQUIRED = "LVM_LAB_NEEDS_CHROMIUM"
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
        self.send("Page.navigate", url=file.resolve().as_uri())
        ends = time.monotonic() + SECONDS
        while not self.js("document.readyState === 'complete' && location.protocol === 'file:'"):
            assert time.monotonic() < ends, "the page never opened"
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

    def key(self, name: str, text: str = "") -> None:
        """A real key, such as Tab or Enter (whose text is \\r)."""
        code = {"Tab": 9, "Enter": 13, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}[name]
        for kind in ("keyDown", "keyUp"):
            written = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **written)

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
