"""Documents from text to text through trained models: `lvm-lab pipeline-test RUN...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain
from lvm_lab.commands.decoding import Composer, split
from lvm_lab.jobs import pipeline


def main(argv: Sequence[str] | None = None) -> int:
    settings, words = split(sys.argv[1:] if argv is None else argv, "pipeline_test")
    summary = "Held-out documents through encoder, model and decoder to text, a number for every stage."
    example = "store=STORE decoder=retrieval documents=100 and the like: docs/pipeline-test.md."
    parser = plain.parser("pipeline-test", summary, example)
    parser.add_argument("models", nargs="+", metavar="RUN", help="run folders, .ckpt files, patterns")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="of the models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every number and text goes there")
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help="its classes may be used")
    parser.add_argument("--config-dir", metavar="DIR", help="options of your own")
    args = parser.parse_args(words)

    def body() -> None:
        compose = Composer("pipeline_test", args.config_dir)
        report = pipeline.pipeline_test(args.models, compose(settings), compose.encoder, args.device, args.allow)
        report.show(args.json)

    return plain.answer(body, writes=args.json)


if __name__ == "__main__":
    sys.exit(main())
