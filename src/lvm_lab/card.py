"""The model cards of runs, written again: `lvm-lab card RUN...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain
from lvm_lab.reporting import card
from lvm_lab.reporting.plots.record import read


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("card", "Write RUN/MODEL_CARD.md from the folder of each run.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a finished run's folder")
    args = parser.parse_args(argv)

    return plain.answer_each(args.runs, lambda folder: print(card.write(read(folder))))


if __name__ == "__main__":
    sys.exit(main())
