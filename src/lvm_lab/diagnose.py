"""Whether a model collapses, copies or leaves the scale: `lvm-lab diagnose RUN_OR_CHECKPOINT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab import logs
from lvm_lab.commands import plain
from lvm_lab.config.command import command
from lvm_lab.jobs import diagnose
from lvm_lab.reporting import diagnostics

SUMMARY = "Whether a model's predictions collapse, copy, or leave the encoder's scale."
ALLOW = "a package of your own whose classes a checkpoint may be built of; several times for several"


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("diagnose", SUMMARY, f"For data before training see {command('check_data')}.")
    parser.add_argument("models", nargs="+", metavar="RUN_OR_CHECKPOINT", help="run folders, .ckpt files, patterns")
    parser.add_argument("--part", choices=diagnose.PARTS, default="val", help="of the data (val)")
    parser.add_argument("--windows", type=int, default=5000, help="at most so many, drawn evenly over documents (5000)")
    parser.add_argument("--data", metavar="DATA", help="another .npz or store than the model was trained on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers go there too")
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help=ALLOW)
    args = parser.parse_args(argv)

    def body() -> None:
        report = diagnose.diagnose_all(args.models, args.part, args.windows, args.data, args.device, args.allow)
        diagnostics.show_models(report.numbers, report.skipped, args.part, logs.to_terminal())
        if args.json is not None:
            report.write(args.json)

    return plain.answer(body, writes=args.json)


if __name__ == "__main__":
    sys.exit(main())
