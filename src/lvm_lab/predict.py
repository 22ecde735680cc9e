"""A trained model's predictions for vectors: `lvm-lab predict RUN vectors.npz out.npz`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain
from lvm_lab.jobs import prediction

VECTORS = "a store's folder or address, an article bank, one document (N x D), contexts (N x L x D); .npz or .npy"


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("predict", "A trained model's predictions for vectors.", "docs/predict.md has the arrays.")
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run's folder, or a .ckpt file")
    parser.add_argument("vectors", metavar="VECTORS", help=VECTORS)
    parser.add_argument("out", type=Path, metavar="OUT", help="NAME.npz, or without an ending a folder of .npy files")
    parser.add_argument("--output", choices=prediction.OUTPUTS, default="both", help="for a decoder, for cosine; both")
    parser.add_argument("--batch", type=int, default=1024, metavar="N", help="contexts at once (1024)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help="its classes may be used")
    parser.add_argument("--cache", type=Path, help="where an article bank is imported (that of the run)")
    parser.add_argument("--force", action="store_true", help="write over OUT if it is a file")
    args = parser.parse_args(argv)

    def body() -> None:
        options = {"output": args.output, "batch_size": args.batch, "device": args.device, "force": args.force}
        made = prediction.predict(args.run, args.vectors, args.out, **options, allow=args.allow, cache=args.cache)
        of = "" if made.documents is None else f" in {made.documents:,} documents"
        print(f"{made.out}: {', '.join(made.arrays)}; {made.count:,} predictions{of} of {made.checkpoint}")
        if made.not_finite:
            print(f"{made.not_finite:,} of them are not finite: check the vectors, or take another checkpoint")

    return plain.answer(body, way_out="name another OUT, or make room there.")


if __name__ == "__main__":
    sys.exit(main())
