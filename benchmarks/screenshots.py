"""Pictures of a leaderboard's page: python benchmarks/screenshots.py /tmp/demo/index.html docs/images

Needs Chromium. Writes report-table.png, report-details.png, report-figures.png, report-gates.png and report-dark.png
as on a desk, report-phone.png and report-phone-figures.png as on a telephone. docs/report.md says of which runs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.browser import chromium

DESK, PHONE = (1280, 860), (390, 844)
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

        page.send("Emulation.setScrollbarsHidden", hidden=True)
        page.look(*DESK)
        page.open(file)
        picture("table")
        page.js(TO.format("#choices"))
        picture("figures")
        page.click(".run-row:nth-child(2) td.run button")
        page.js(TO.format(".frame"))
        page.js(TO.format("tr.details"))
        picture("details")
        page.look(*DESK, dark=True)
        page.open(file)
        page.js(TO.format("#choices"))
        picture("dark")
        page.js(TO.format("#heat-title"))
        picture("gates")
        page.look(*PHONE)
        page.open(file)
        picture("phone")
        page.js(TO.format("#figures"))
        picture("phone-figures")
        if page.errors:
            sys.exit("\n".join(page.errors))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
