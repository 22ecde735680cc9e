"""What `index` shows of an index: what it is, what it finds of an exact search and in what time; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console

from lvm_lab.reporting import terminal
from lvm_lab.reporting.numbers import fixed


def show(path: Path, manifest: Any, console: Console) -> None:
    """manifest: of the index, as `lvm_lab.data.index.IndexManifest` has it."""
    for line in lines(path, manifest):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    table = terminal.table((), box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    heads = ("", "recall@1", "recall@10", "of means @1", "@10", "queries/s", "of flat's time", "one by one")
    for head in heads:
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    for row in rows(manifest):
        table.add_row(*row)
    console.print(table)
    console.print(
        "recall@k: of the k nearest chunks, the share found; of means: of the mean of five chunks, where predictions "
        "lie. queries/s in batches; one by one: the share of flat's time then",
        highlight=False,
    )


def lines(path: Path, manifest: Any) -> list[str]:
    figures = manifest.figures
    settings = ", ".join(f"{name} {value}" for name, value in manifest.settings.items())
    learned = f"learned from {figures['trained_on']:,} vectors" if figures["trained_on"] else "nothing was learned"
    held_out = figures["held_out"]
    return [
        f"{path}: {manifest.kind}{f' ({settings})' if settings else ''}, {manifest.rows:,} vectors of {manifest.dim} "
        f"dims in {manifest.size / 1e6:,.0f} MB, made in {sum(figures['seconds'].values()):.0f} s",
        f"{learned}; measured with {figures['queries']:,} chunks of every second of {held_out['documents']:,} held-out "
        f"documents, {figures['threads']} threads",
    ]


def rows(manifest: Any) -> list[list[str]]:
    """The table's cells, flat first."""
    speed = manifest.figures["queries_a_second"]

    def times(name: str) -> list[str]:
        shares = {key: speed["flat"][key] / speed[name][key] for key in ("batch", "single")}
        return [f"{speed[name]['batch']:,.0f}", fixed(shares["batch"]), fixed(shares["single"])]

    recalls = manifest.figures["recall"]
    own = [fixed(recalls[group][k]) for group in ("chunks", "means") for k in ("1", "10")]
    return [["flat", *["1.000"] * 4, *times("flat")], [manifest.kind, *own, *times("index")]]
