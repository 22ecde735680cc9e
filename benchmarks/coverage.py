"""Writes the table of docs/5cat.md that says how often intervals hold the truth.

python benchmarks/coverage.py
"""

from __future__ import annotations

import sys

from parity_table import ROOT, replace_between

PAGE = ROOT / "docs" / "5cat.md"
DRAWS = 3000


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers.coverage import ALONE, DOCUMENTS, PAIRED, STORES, shares

    heads = ["number", "store", *(f"{count} documents" for count in DOCUMENTS)]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    by_store = {store: {count: shares(store, count, DRAWS) for count in DOCUMENTS} for store in STORES}
    for name in (*PAIRED, *ALONE):
        for store in STORES:
            cells = [by_store[store][count][name] for count in DOCUMENTS]
            shares = [f"{100 * cell.covered:.1f} / {100 * cell.false:.1f}" for cell in cells]
            lines.append(f"| {name.replace('_', '-')} | {store} | {' | '.join(shares)} |")
            print(lines[-1], flush=True)
    replace_between(PAGE, "coverage", "\n".join(lines))


if __name__ == "__main__":
    main()
