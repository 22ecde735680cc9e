"""Runs on the folds of one data set stand as one row, with intervals over the documents of all of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.judge_data import preset
from helpers.run_files import config, following, judgement, write_ranked
from lvm_lab.judge.bootstrap import means
from lvm_lab.reporting.board import write as report
from lvm_lab.runs.folds import pooled_number
from lvm_lab.sweeps import folds, leaderboard

MARGINS = [0.2, 0.3, 0.25, 0.22, 0.28]


def fold_of(folder: Path, fold: int | None, margin: float, **changes: Any) -> None:
    data = config()["data"] | {"fold": fold}
    write_ranked(folder, margin, _with_errors(judgement(margin)), data=data, **changes)


def _with_errors(node: Any) -> Any:
    """Numbers as a result of today has them: with what their intervals were made of."""
    if isinstance(node, dict):
        node = {key: _with_errors(value) for key, value in node.items()}
        return node | {"error": 0.01, "effective": 30.0} if "interval" in node else node
    return [_with_errors(one) for one in node] if isinstance(node, list) else node


def test_a_pool_of_documents_is_what_one_judgement_of_all_of_them_says() -> None:
    """Five folds of 30 documents against the same 150 judged at once: the same mean, and nearly the same interval."""
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(150), rng.integers(3, 40, 150))
    values = rng.standard_normal(150)[documents] + rng.standard_normal(len(documents))
    whole = means({"x": values}, documents, resamples=4000)["x"]
    parts = [
        means({"x": values[documents % 5 == f]}, documents[documents % 5 == f], resamples=4000)["x"].to_dict()
        for f in range(5)
    ]
    pool = pooled_number(parts)
    assert pool["value"] == pytest.approx(whole.value)
    assert (pool["windows"], pool["documents"]) == (len(values), 150)
    assert pool["error"] == pytest.approx(whole.error, rel=0.1)
    assert pool["interval"] == pytest.approx(whole.interval(), abs=0.1 * whole.error * 2)
    assert pool["error"] < min(part["error"] for part in parts)


def test_two_equal_folds_by_hand() -> None:
    one = {"value": 0.4, "interval": [0, 1], "error": 0.1, "effective": 11.0, "windows": 100, "documents": 12}
    pool = pooled_number([one, one | {"value": 0.6}])
    assert pool["value"] == pytest.approx(0.5)
    assert pool["error"] == pytest.approx(0.1 / np.sqrt(2))
    assert pool["effective"] == pytest.approx(21.0)
    assert (pool["windows"], pool["documents"]) == (200, 24)
    ood = pooled_number([one, one | {"value": 0.6}], disjoint=False)
    assert (ood["value"], ood["error"], ood["effective"]) == (pytest.approx(0.5), pytest.approx(0.1), 11.0)
    assert (ood["windows"], ood["documents"]) == (100, 12)


def test_a_number_without_what_its_interval_was_made_of_has_a_mean_alone() -> None:
    old = {"value": 0.4, "interval": [0, 1], "windows": 100, "documents": 12}
    pool = pooled_number([old, old])
    assert (pool["value"], pool["interval"]) == (pytest.approx(0.4), None)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for fold, margin in enumerate(MARGINS):
        fold_of(tmp_path / f"gru-{fold}", fold, margin)
    fold_of(tmp_path / "lstm-0", 0, 0.35, arch="lstm")
    fold_of(tmp_path / "lstm-1", 1, 0.05, arch="lstm")
    fold_of(tmp_path / "alone", None, 0.9, arch="amn")
    return tmp_path


def test_folds_are_one_row_with_their_runs_as_members(sweep: Path) -> None:
    gru, lstm = folds.pooled(leaderboard.read(sweep))
    assert gru.name == "gru-0 (5 folds)"
    assert gru.members == tuple(f"gru-{fold}" for fold in range(5))
    assert lstm.members == ("lstm-0", "lstm-1")
    assert gru.result is not None
    assert gru.val is not None
    assert gru.result.value("val", "A/margin") == pytest.approx(np.mean(MARGINS))
    margin = gru.result.numbers("val", "A")["margin"]
    assert (margin.documents, margin.windows) == (200, 2000)
    assert margin.error == pytest.approx(0.01 / np.sqrt(5))
    ood = gru.result.numbers("ood", "A")["margin"]
    assert (ood.documents, ood.error) == (40, pytest.approx(0.01)), "every fold was judged on the same OOD"
    assert gru.passes is True
    assert gru.result.verdict is not None
    assert gru.result.verdict.gates["A"].state is True
    # The mean of .35 and .05 passes no gate that asks for more.
    assert lstm.result is not None
    assert lstm.result.value("val", "A/margin") == pytest.approx(0.2)


def test_what_differs_in_more_than_the_fold_is_no_fold(tmp_path: Path) -> None:
    fold_of(tmp_path / "a", 0, 0.2)
    fold_of(tmp_path / "b", 1, 0.2, seed=1)
    fold_of(tmp_path / "c", 1, 0.2, epochs=9)
    write_ranked(tmp_path / "d", None, data=config()["data"] | {"fold": 2})
    assert folds.pooled(leaderboard.read(tmp_path)) == []


def test_the_leaderboard_ranks_the_pool_and_lists_its_folds_below(sweep: Path) -> None:
    report.write(sweep, sweep)
    with open(sweep / "leaderboard.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["run"] for row in rows]
    start = names.index("gru-0 (5 folds)")
    assert names[start + 1 : start + 6] == [f"gru-{fold}" for fold in range(5)]
    assert rows[start]["place"] != ""
    assert {row["place"] for row in rows[start + 1 : start + 6]} == {""}
    assert float(rows[start]["A/margin"]) == pytest.approx(np.mean(MARGINS))
    text = (sweep / "leaderboard.md").read_text()
    assert "8 runs: 8 finished" in text
    assert "↳ gru-3" in text


def test_strict_folds_want_every_pooled_interval_clear(tmp_path: Path) -> None:
    strict = {"five_cat": {"name": "strict", "every_interval_clear": True}}
    for fold, margin in enumerate((0.121, 0.122)):
        fold_of(tmp_path / f"gru-{fold}", fold, margin, **strict)
    (pool,) = folds.pooled(leaderboard.read(tmp_path))
    assert pool.result is not None
    half = pool.result.half("val", "A")
    assert half is not None
    assert (half.state, half.reason) == (False, "an interval straddles its threshold")
    assert preset("strict").every_interval_clear


def test_following_of_a_pool_is_over_the_targets_of_all_folds(tmp_path: Path) -> None:
    for arch, mrr in (("gru", 0.4), ("lstm", 0.5)):
        for fold in (0, 1):
            node = _with_errors(judgement(0.2))
            node["val"]["following"] = _with_errors(following(mrr + 0.1 * fold, str(fold) * 64))
            data = config()["data"] | {"fold": fold, "context_length": 5 if arch == "gru" else 16}
            write_ranked(tmp_path / f"{arch}-{fold}", 0.2, node, arch=arch, data=data)
    pools = folds.pooled(leaderboard.read(tmp_path))
    results = [pool.result for pool in pools]
    assert len(results) == 2
    known = [result.following("val") for result in results if result is not None]
    assert [one.numbers["mrr"].value for one in known if one] == pytest.approx([0.45, 0.55])
    assert [(one.targets, one.documents, one.judge_from) for one in known if one] == [(180, 60, 16)] * 2
    assert len({one.digest for one in known if one}) == 1, "equal target sets in every fold are one in the pool"
    assert [pool.arch for pool in leaderboard.ranked(pools, gated=False)] == ["lstm", "gru"]
