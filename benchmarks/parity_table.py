"""Writes the parity table of docs/architectures.md: every backbone against its reference, at L = 5 and L = 256.

python benchmarks/parity_table.py
"""

from __future__ import annotations

import importlib
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architectures.md"


def replace_between(page: Path, mark: str, text: str) -> None:
    """Put text between <!-- mark --> and <!-- /mark --> of a page."""
    before, _, rest = page.read_text().partition(f"<!-- {mark} -->")
    _, _, after = rest.partition(f"<!-- /{mark} -->")
    page.write_text(f"{before}<!-- {mark} -->\n{text}\n<!-- /{mark} -->{after}")


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    worst: dict[tuple[str, str], dict[tuple[int, str], float]] = defaultdict(dict)
    for file in sorted((ROOT / "tests" / "helpers" / "parity").glob("[a-z]*.py")):
        for arch, reference, length, dtype, difference in importlib.import_module(
            f"helpers.parity.{file.stem}"
        ).comparisons():
            cell = worst[arch, reference]
            cell[length, dtype] = max(difference, cell.get((length, dtype), 0.0))
    columns = [(5, "float32"), (256, "float32"), (5, "float64"), (256, "float64")]
    lines = ["| arch | against | L = 5, float32 | L = 256, float32 | L = 5, float64 | L = 256, float64 |"]
    lines.append("|---|---|---|---|---|---|")
    for (arch, reference), cell in worst.items():
        numbers = [f"{cell[column]:.0e}" if column in cell else "" for column in columns]
        lines.append(f"| {arch} | {reference} | {' | '.join(numbers)} |")
    replace_between(PAGE, "parity", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
