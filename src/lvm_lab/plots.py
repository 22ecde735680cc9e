"""The figures of runs, drawn again: `lvm-lab plots RUN...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain
from lvm_lab.reporting.plots.record import read


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("plots", "Draw the figures of runs from their folders into RUN/plots/.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a finished run's folder")
    args = parser.parse_args(argv)

    def body(folder: Path) -> None:
        record = read(folder)
        # matplotlib comes in only now: --help answers without it.
        from lvm_lab.reporting.plots.draw import draw

        for file in draw(record).values():
            print(file)

    return plain.answer_each(args.runs, body)


if __name__ == "__main__":
    sys.exit(main())
