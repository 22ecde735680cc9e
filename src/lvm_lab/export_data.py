"""A store as others read it: `lvm-lab export-data STORE OUT.npz layout=sequences`, or `STORE into=postgres`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import export_postgres, plain

LAYOUT = "article_bank, ordered_bank, sequences, doc_ids, split or long_context"


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if any(word.startswith(export_postgres.INTO) for word in words):
        return export_postgres.main(words)
    others = "docs/data.md has the arrays; STORE into=postgres writes to a database: docs/postgres.md."
    parser = plain.parser("export_data", "A store in the layouts that others read.", others)
    parser.add_argument("store", type=Path, metavar="STORE", help="a store's folder")
    parser.add_argument("out", type=Path, metavar="OUT.npz", help="where the arrays go")
    parser.add_argument("layout", metavar="layout=NAME", help=LAYOUT)
    parser.add_argument("--context-length", type=int, metavar="N", help="of windows (5, of long_context 100)")
    parser.add_argument("--texts", action="store_true", help="with the chunks' texts, of windows the targets'")
    parser.add_argument("--force", action="store_true", help="write over OUT.npz")
    args = parser.parse_args(words)

    def body() -> None:
        from lvm_lab.jobs.export_data import export

        options = {"context_length": args.context_length, "texts": args.texts, "force": args.force}
        made = export(args.store, args.out, args.layout.removeprefix("layout="), **options)
        what = "vectors" if "vectors" in made.arrays else "windows"
        print(f"{made.out}: {', '.join(made.arrays)}; {made.count:,} {what} of {made.documents:,} documents")
        if made.losses:
            print(f"not in it: {'; '.join(made.losses)}")

    return plain.answer(body, way_out="name another OUT.npz, or make room there.", writes=args.out)


if __name__ == "__main__":
    sys.exit(main())
