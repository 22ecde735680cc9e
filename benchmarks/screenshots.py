"""Pictures of a leaderboard's page: python benchmarks/screenshots.py multirun/hundred/index.html docs/images

Needs Chromium. Writes report-table.png, report-details.png, report-figures.png, report-gates.png and report-dark.png.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.browser import chromium

WIDTH, HEIGHT = 1400, 900
TO = "document.querySelector({!r}).scrollIntoView({{block: 'start'}})"


def main(file: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as page:

        def picture(name: str) -> None:
            # Twice, since what comes into sight is laid out then.
            for _ in range(2):
                page.js("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            target = out / f"report-{name}.png"
            target.write_bytes(page.screenshot())
            print(target)

        page.look(WIDTH, HEIGHT)
        page.open(file)
        picture("table")
        page.js(TO.format("#choices"))
        picture("figures")
        page.js(TO.format("#heat-title"))
        picture("gates")
        page.click(".run-row td.run button")
        page.js(TO.format("tr.details"))
        picture("details")
        page.js("window.scrollTo(0, 0)")
        page.click(".run-row td.run button")
        page.look(WIDTH, HEIGHT, dark=True)
        page.js("window.scrollTo(0, 0)")
        picture("dark")
        if page.errors:
            sys.exit("\n".join(page.errors))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
