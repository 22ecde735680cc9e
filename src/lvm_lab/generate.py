"""Write on from a text with a trained model: `lvm-lab generate RUN beginning.txt`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain
from lvm_lab.commands.decoding import Composer, split, text_of
from lvm_lab.jobs import generation


def main(argv: Sequence[str] | None = None) -> int:
    settings, words = split(sys.argv[1:] if argv is None else argv, "generate")
    summary = "Text in, a trained model's predictions as text out, chunk by chunk."
    parser = plain.parser("generate", summary, "steps=5 mode=vectors decoder=retrieval and the like: docs/generate.md.")
    parser.add_argument("run", metavar="RUN", help="a finished run's folder, or a .ckpt file")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the text to go on from; - for the standard input")
    parser.add_argument("--text", metavar="TEXT", help="the text itself, in place of FILE")
    parser.add_argument("--data", metavar="DATA", help="another store than the model was trained on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="of the model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all of it goes there too")
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help="its classes may be used")
    parser.add_argument("--config-dir", metavar="DIR", help="options of your own")
    args = parser.parse_args(words)

    def body() -> None:
        compose, of = Composer("generate", args.config_dir), (args.data, args.device, args.allow)
        written = generation.generate(args.run, text_of(args), compose(settings), compose.encoder, *of)
        written.show(args.json)

    return plain.answer(body, writes=args.json)


if __name__ == "__main__":
    sys.exit(main())
