"""Frees the checkpoints of runs that nothing needs: `lvm-lab prune multirun/hundred --keep best,last`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab import logs
from lvm_lab.commands import plain
from lvm_lab.reporting import pruning as shown
from lvm_lab.runs import pruning

ALSO = "a further folder of runs, or a registry, that may need some of it; may be given several times"


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("prune", "Free the checkpoints that nothing needs.", "docs/prune.md says what always stays.")
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help="a sweep's folder, outputs, or a run's folder")
    parser.add_argument("--keep", default="best,last", help=f"some of {', '.join(pruning.KINDS)}; none (best,last)")
    parser.add_argument("--also", action="append", default=[], type=Path, metavar="FOLDER", help=ALSO)
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    args = parser.parse_args(argv)

    def body() -> None:
        keep = pruning.kinds(args.keep)
        shares, known = pruning.plan(args.sweep, keep, args.also)
        shown.show(shares, logs.to_terminal())
        if any(share.removable for share in shares) and not (args.yes or plain.agreed("remove them?")):
            print("nothing was removed; --yes removes them")
        elif any(share.removable for share in shares):
            freed, left = pruning.remove(shares, keep, known)
            print(f"freed {shown.size(freed)}", *(f"left {one.folder}: {one.untouched}" for one in left), sep="\n")

    return plain.answer(body)


if __name__ == "__main__":
    sys.exit(main())
