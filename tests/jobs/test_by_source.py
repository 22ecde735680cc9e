"""`lvm-lab evaluate by=source`: a row for each source of a part, which is the same part cut by its documents."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import Outcome, call
from helpers.documents import make_documents
from lvm_lab import evaluate
from lvm_lab.commands.composing import compose
from lvm_lab.config.data import DataSettings
from lvm_lab.config.presets import Preset
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.joined import document_sources, join_stores
from lvm_lab.data.parts import cut_parts
from lvm_lab.data.source import Opened
from lvm_lab.data.store import write_store
from lvm_lab.judge.latency import latency
from lvm_lab.scoring.by_source import by_source
from lvm_lab.scoring.ground import Ground, kind_of

LENGTHS = [12] * 70


def walks(path: Path, seed: int, lengths: list[int], source: str) -> Any:
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((sum(lengths) + 1, 24))
    vectors_ND = (steps[1:] + steps[:-1]).astype(np.float32)
    contract = EncoderContract(encoder="walks", dim=24)
    return write_store(path, vectors_ND, make_documents(lengths, source=source), contract)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes and travel as stores, one of three letters, and a run on the first two."""
    folder = tmp_path_factory.mktemp("sources")
    walks(folder / "recipes", 1, LENGTHS, "recipes")
    walks(folder / "travel", 2, LENGTHS, "travel")
    walks(folder / "few", 3, [12] * 3, "few")
    done = call(
        folder,
        *("data=npz", "data.path=[{path: recipes, weight: 2}, travel]", "data.ood_path=few", "arch=gru"),
        *("arch.width=16", "trainer.max_epochs=1", "trainer.batch_size=64", "5cat=off"),
        *("device=cpu", "device.threads=1", "logger=none", "run.cache=cache", "run.dir=run"),
    )
    assert done.code == 0, done.err
    return folder


def judged(home: Path, *arguments: str) -> Outcome:
    quick = ("5cat=smoke", "5cat.resamples=50", "5cat.baselines=[copy_last]", "device=cpu", "device.threads=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvm_lab.scoring.judging.latency", partial(latency, calls=5))
        return call(home, "run", "cache=cache", "parts=[val,test]", *quick, *arguments, main=evaluate.main)


def report(home: Path, out: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((home / out / "evaluation.json").read_text())["data"][0]
    return data


@pytest.fixture(scope="module")
def by(home: Path) -> Outcome:
    """An evaluation by source, in the folder `by`."""
    done = judged(home, "by=source", "out=by")
    assert done.code == 0, done.err
    return done


def test_each_source_of_a_part_has_a_row_with_intervals(home: Path, by: Outcome) -> None:
    data = report(home, "by")
    rows = [f"{part}: {source}" for part in ("val", "test") for source in ("recipes", "travel")]
    assert list(data["parts"]) == ["val", "test", *rows]
    for part in ("val", "test"):
        sizes = [data["parts"][f"{part}: {source}"]["documents"] for source in ("recipes", "travel")]
        assert sum(sizes) == data["parts"][part]["documents"]
    model = data["predictors"][0]
    for row in rows:
        low, high = model["parts"][row]["cos"]["interval"]
        assert low <= model["parts"][row]["cos"]["value"] <= high
    # VAL chose the model, and so did its sources.
    assert all(one["p"] is None for one in data["comparisons"] if one["part"].startswith("val"))
    assert "test:" in by.out


def test_the_parts_themselves_have_the_numbers_that_they_have_without(home: Path, by: Outcome) -> None:
    assert judged(home, "out=without").code == 0
    with_rows, without = report(home, "by"), report(home, "without")
    assert list(without["parts"]) == ["val", "test"]
    for one, other in zip(with_rows["predictors"], without["predictors"], strict=True):
        assert {part: one["parts"][part] for part in ("val", "test")} == other["parts"]


def test_a_store_of_ones_own_is_a_row_by_each_of_its_sources(home: Path) -> None:
    own = home / "own"
    texts = [walks(home / f"part{seed}", seed, [12] * 9, source) for seed, source in ((7, "letters"), (8, "diaries"))]
    joined = join_stores(texts)
    write_store(own, np.asarray(joined.vectors_ND), joined.documents, joined.contract)
    done = judged(home, "by=source", "ood=[own]", "out=own_texts")
    assert done.code == 0, done.err
    data = report(home, "own_texts")
    assert {"own", "own: letters", "own: diaries"} < set(data["parts"])
    # Held against the thresholds of out-of-domain vectors, as their store is.
    assert set(data["predictors"][0]["five_cat"]["val"]) == {"own", "own: letters", "own: diaries"}


def test_another_word_for_by_is_refused(home: Path) -> None:
    assert judged(home, "by=kind").sentence == "by='kind' does not fit; give it one of source or null."


def test_rows_are_of_whole_documents_and_few_are_noted(tmp_path: Path) -> None:
    stores = [walks(tmp_path / name, seed, [14] * count, name) for name, seed, count in (("a", 1, 90), ("b", 2, 8))]
    store = join_stores(stores)
    settings = DataSettings()
    parts = cut_parts(Opened(store, {"store": store.content}), settings, tmp_path / "cache", every_position=False)
    preset = Preset.from_dict(compose("evaluate", ["five_cat=smoke"])["five_cat"])
    whole = Ground.of_run(parts, preset, tmp_path)
    cut = by_source(replace(whole, origins=parts.origins))
    rows = [name for name in cut.windows if ": " in name]
    assert all(kind_of(row) == row.partition(": ")[0] for row in rows)
    for row in rows:
        part, _, source = row.partition(": ")
        documents = np.unique(cut.windows[row].document_W)
        assert {parts.origins[part][number] for number in documents} == {source}
        stretches_S3 = cut.windows[row].stretches_S3
        assert stretches_S3 is not None
        assert set(stretches_S3[:, 0]) == set(documents)
        assert set(cut.later[row].document_W) <= set(documents)
    assert any("by=source: b has" in note and "an interval needs 5" in note for note in cut.notes)


def test_files_without_a_source_are_called_by_their_names(tmp_path: Path) -> None:
    stores = [walks(tmp_path / name, seed, [8] * 4, "npz") for seed, name in enumerate(("novels", "letters"))]
    joined = join_stores(stores)
    assert sorted(document_sources(joined)) == ["letters"] * 4 + ["novels"] * 4
    assert document_sources(stores[0]) == ["npz"] * 4
