"""`report --columns`: what a user's module may be, and the one sentence for what it may not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.commands import tree
from helpers.run_files import write_ranked
from lvm_lab.report import main

HEAD = "from lvm_lab.reporting.board.columns import Column\n"


@pytest.fixture(name="sweep")
def _sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    write_ranked(tmp_path / "sweep" / "run", 0.2)
    return tmp_path / "sweep"


def write(sweep: Path, module: str, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    (sweep.parent / f"{module}.py").write_text(HEAD + text)
    monkeypatch.delitem(sys.modules, module, raising=False)
    return module


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be imported (No module named 'own_columns'); write COLUMNS = "),
        ("", "cannot be imported (module 'own_columns' has no attribute 'COLUMNS'); write COLUMNS = "),
        ("import nowhere", "cannot be imported (No module named 'nowhere'); write COLUMNS = "),
        ("COLUMNS = 3", "lists something else than columns; write COLUMNS = "),
        ("COLUMNS = ('steps',)", "lists something else than columns; write COLUMNS = "),
        ("COLUMNS = (Column('seed', 's', 's', str),)", "has seed, which is there already; give it another key"),
        ("COLUMNS = (Column('B', 's', 's', str),)", "has B, which is there already; give it another key"),
        ("COLUMNS = [Column('x', 'x', 'x', lambda e: e.y)]", "of own_columns fails for run (AttributeError: "),
        ("COLUMNS = [Column('x', 'x', 'x', lambda e: [1])]", "(list is no text and no number); mend it, or return"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(
    text: str | None, words: str, sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        write(sweep, "own_columns", text, monkeypatch)
    before = tree(sweep)
    assert main([str(sweep), "--columns", "own_columns"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert line.startswith("error: ")
    assert line.endswith(".")
    assert tree(sweep) == before


def test_what_a_run_has_not_is_an_empty_cell(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {"none": "None", "nan": "float('nan')", "text": "'a|b'"}
    columns = ", ".join(f"Column('{key}', '{key}', '', lambda e: {cell})" for key, cell in cells.items())
    module = write(sweep, "own_columns", f"COLUMNS = ({columns},)", monkeypatch)
    assert main([str(sweep), "--columns", module]) == 0
    head, line = (sweep / "leaderboard.csv").read_text().splitlines()
    assert head.endswith(",none,nan,text,error")
    assert line.endswith(",,nan,a|b,")
    assert "a\\|b" in (sweep / "leaderboard.md").read_text()
