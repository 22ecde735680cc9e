"""A store from a trusted `.npz` with pickles: `lvm-lab convert-npz IN.npz OUT_FOLDER --trust-pickle`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("convert_npz", "Turn a trusted `.npz` with pickled object arrays into a store with texts.")
    parser.add_argument("input", type=Path, metavar="IN.npz", help="an article bank or a sequence file")
    parser.add_argument("folder", type=Path, metavar="OUT_FOLDER", help="where the store goes; must not exist")
    parser.add_argument("--trust-pickle", action="store_true", help="read pickles, which can run any code")
    args = parser.parse_args(argv)

    def body() -> None:
        from lvm_lab.data.importers.convert import convert
        from lvm_lab.reporting.numbers import counted

        store = convert(args.input, args.folder, trust_pickle=args.trust_pickle)
        texts = "with texts" if store.texts() is not None else "without texts"
        documents = counted(len(set(store.documents.names())), "document")
        print(f"{store.path}: {documents}, {counted(len(store.vectors_ND), 'vector')}, {texts}")

    return plain.answer(body)


if __name__ == "__main__":
    sys.exit(main())
