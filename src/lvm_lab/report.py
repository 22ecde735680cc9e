"""The leaderboard of a folder of runs: `lvm-lab report multirun/hundred`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain
from lvm_lab.reporting.board import own
from lvm_lab.reporting.board.write import write


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser(
        "report",
        "Writes leaderboard.csv, leaderboard.md and index.html from the run folders alone, also mid-sweep.",
    )
    parser.add_argument("folder", type=Path, help="a sweep's folder, such as multirun/hundred, or outputs")
    parser.add_argument("--out", type=Path, help="where to write; without it into the folder itself")
    parser.add_argument("--columns", metavar="MODULE", help="a module of yours whose COLUMNS are shown too")
    args = parser.parse_args(argv)

    def body() -> None:
        columns = own.columns(args.columns) if args.columns else ()
        for file in write(args.folder, args.out or args.folder, columns):
            print(file)

    return plain.answer(body, way_out="choose another --out.")


if __name__ == "__main__":
    sys.exit(main())
