"""Write on from a text with a trained model: `lvm-lab generate RUN beginning.txt`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import decoding, plain

SUMMARY = "Text in, a trained model's predictions as text out, chunk by chunk."
SETTINGS = "settings: steps=5 mode=vectors|reencode|snap decoder=retrieval ...: docs/generate.md."


def main(argv: Sequence[str] | None = None) -> int:
    settings, words = decoding.split(sys.argv[1:] if argv is None else argv, "generate")
    parser = plain.parser("generate", SUMMARY, SETTINGS)
    parser.add_argument("run", metavar="RUN", help="a finished run's folder, or a .ckpt file")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the text to go on from; - for the standard input")
    parser.add_argument("--text", metavar="TEXT", help="the text itself, in place of FILE")
    parser.add_argument("--data", metavar="DATA", help="another store than the model was trained on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="of the model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all of it goes there too")
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help="its classes may be used")
    parser.add_argument("--config-dir", metavar="DIR", help="options of your own")
    args = parser.parse_args(words)
    return plain.answer(lambda: decoding.generate(settings, args), writes=args.json)


if __name__ == "__main__":
    sys.exit(main())
