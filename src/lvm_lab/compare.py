"""Two runs side by side, settings and paired numbers: `lvm-lab compare RUN RUN`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab import logs
from lvm_lab.commands import plain
from lvm_lab.jobs import compare
from lvm_lab.reporting import comparison

PART = "val (without it), test or ood; may be given several times"


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("compare", "Two runs side by side: settings, paired numbers, offset curves.")
    parser.add_argument("first", type=Path, metavar="RUN", help="a run's folder, or a checkpoint in one")
    parser.add_argument("second", type=Path, metavar="RUN", help="the one that is held against it")
    parser.add_argument("--part", action="append", choices=compare.PARTS, help=PART)
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything goes there too")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help="its classes may be used")
    parser.add_argument("--cache", type=Path, help="imported stores (that of the first run)")
    args = parser.parse_args(argv)

    def body() -> None:
        options = {"parts": args.part or ("val",), "device": args.device, "allow": args.allow, "cache": args.cache}
        report = compare.compare(args.first, args.second, **options)
        comparison.show(report, logs.to_terminal())
        if args.json is not None:
            compare.write(report, args.json)

    return plain.answer(body, writes=args.json)


if __name__ == "__main__":
    sys.exit(main())
