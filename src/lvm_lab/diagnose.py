"""Whether a model collapses, copies or leaves the scale: `lvm-lab diagnose RUN_OR_CHECKPOINT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab import logs
from lvm_lab.commands import decoding, plain
from lvm_lab.jobs import diagnose
from lvm_lab.reporting import diagnostics

SUMMARY = "Whether a model's predictions collapse, copy, or leave the encoder's scale; with decoder=..., as texts."
ALLOW = "a package of your own whose classes a checkpoint may be built of; several times for several"


def main(argv: Sequence[str] | None = None) -> int:
    settings, words = decoding.split(sys.argv[1:] if argv is None else argv, "diagnose")
    parser = plain.parser("diagnose", SUMMARY, "decoder=retrieval and the like: docs/decoders.md; data: check-data.")
    parser.add_argument("models", nargs="+", metavar="RUN_OR_CHECKPOINT", help="run folders, .ckpt files, patterns")
    parser.add_argument("--part", choices=diagnose.PARTS, default="val", help="of the data (val)")
    parser.add_argument("--windows", type=int, default=5000, help="at most so many, drawn evenly over documents (5000)")
    parser.add_argument("--data", metavar="DATA", help="another .npz or store than the model was trained on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers go there too")
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help=ALLOW)
    parser.add_argument("--config-dir", metavar="DIR", help="options of your own")
    args = parser.parse_args(words)

    def numbers() -> None:
        report = diagnose.diagnose_all(args.models, args.part, args.windows, args.data, args.device, args.allow)
        diagnostics.show_models(report.numbers, report.skipped, args.part, logs.to_terminal())
        return None if args.json is None else report.write(args.json)

    return plain.answer(lambda: decoding.diagnose(settings, args) if settings else numbers(), writes=args.json)


if __name__ == "__main__":
    sys.exit(main())
