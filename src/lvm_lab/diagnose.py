"""Whether a model collapses, copies or leaves the scale: `lvm-lab diagnose RUN_OR_CHECKPOINT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain
from lvm_lab.commands.decoding import Composer, split
from lvm_lab.jobs import decoding, diagnose


def main(argv: Sequence[str] | None = None) -> int:
    settings, words = split(sys.argv[1:] if argv is None else argv, "diagnose")
    summary = "Whether a model's predictions collapse, copy, or leave the encoder's scale; with decoder=..., as texts."
    parser = plain.parser("diagnose", summary, "decoder=retrieval and the like: docs/decoders.md; data: check-data.")
    parser.add_argument("models", nargs="+", metavar="RUN_OR_CHECKPOINT", help="run folders, .ckpt files, patterns")
    parser.add_argument("--part", choices=diagnose.PARTS, default="val", help="of the data (val)")
    parser.add_argument("--windows", type=int, default=5000, help="at most so many, drawn evenly over documents (5000)")
    parser.add_argument("--data", metavar="DATA", help="another .npz or store than the model was trained on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers go there too")
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help="its classes may be used")
    parser.add_argument("--config-dir", metavar="DIR", help="options of your own, for decoder=...")
    args = parser.parse_args(words)

    def body() -> None:
        compose, of = Composer("diagnose", args.config_dir), (args.data, args.device, args.allow)
        if settings:
            decoding.decode_all(args.models, args.part, compose(settings), compose.encoder, *of).show(args.json)
        else:
            diagnose.diagnose_all(args.models, args.part, args.windows, *of).show(args.json)

    return plain.answer(body, writes=args.json)


if __name__ == "__main__":
    sys.exit(main())
