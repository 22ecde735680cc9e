"""Grounds of several context lengths share their windows, and what a model was trained on is no target of anybody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.judge_data import preset
from lvm_lab.build.seen import apart
from lvm_lab.config.data import DataSettings
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.seen import Trainings
from lvm_lab.data.sketch import sketch
from lvm_lab.data.sources.planted import PlantedWorld
from lvm_lab.errors import UserError
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.scoring.ground import Ground
from lvm_lab.scoring.scores import EVALUATION, TRAINING, score, score_together
from lvm_lab.scoring.sharing import shared

FROM = 8
ASKED = preset(eval_windows=60, resamples=20, baselines=["copy_last"])


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The world of `parts`, read 12 vectors back."""
    cache = tmp_path_factory.mktemp("longer")
    settings = DataSettings(context_length=12)
    world = PlantedWorld(dim=128, documents=90, ood_documents=30)
    return cut_parts(world.open(cache, settings), settings, cache, every_position=False)


def ground(parts: Parts, cache: Path, judge_from: int = FROM) -> Ground:
    return Ground.of_run(parts, ASKED, cache, judge_from)


def test_shared_windows_are_what_the_longest_reader_is_given_in_full(parts: Parts, longer: Parts, cache: Path) -> None:
    five, twelve = shared([ground(parts, cache), ground(longer, cache)])
    for part in ("val", "test", "ood"):
        assert five.windows[part].target_row_W.tolist() == twelve.windows[part].target_row_W.tolist()
        own = ground(longer, cache).windows[part]
        assert twelve.windows[part].target_row_W.tolist() == own.target_row_W.tolist()
        assert (five.windows[part].context_length, twelve.windows[part].context_length) == (5, 12)
        assert np.array_equal(five.windows[part].context(), twelve.windows[part].context()[:, -5:])
        assert five.samples[part].target_row_W.tolist() == twelve.samples[part].target_row_W.tolist()
        assert five.following[part].digest == twelve.following[part].digest is not None
        assert five.following[part].digest == ground(parts, cache).following[part].digest


def test_one_predictor_of_any_length_has_one_row_of_numbers(parts: Parts, longer: Parts, cache: Path) -> None:
    """Copy-last reads one vector: in a table of two lengths it differs from itself in nothing but its own unseen."""
    groups = shared([ground(parts, cache), ground(longer, cache)])
    scores = score_together([({f"m{g.context_length}": CopyLast}, g) for g in groups], EVALUATION, "cpu")
    assert list(scores.models) == ["m5", "m12"]
    assert list(scores.baselines) == ["copy_last-reads5", "copy_last-reads12"]
    assert scores.reads == [5, 12]
    on_val = [c for c in scores.comparisons if c.part == "val" and c.name in scores.models]
    apart = {c.number: c.tested.test.difference.value for c in on_val}
    assert {"cos", "mrr_unseen", "store_mrr_unseen", "following/mrr"} < set(apart)
    assert set(apart.values()) == {0.0}
    own = [scores.models[name].scores("val") for name in ("m5", "m12")]
    values = [one.numbers()["B/chance_mrr_unseen"].value for one in own if one]
    assert values[0] < values[1], "who reads more has fewer candidates left"


def test_a_table_of_one_length_names_baselines_as_ever(parts: Parts, cache: Path) -> None:
    scores = score({"m": CopyLast}, ground(parts, cache), TRAINING, "cpu")
    assert list(scores.baselines) == ["copy_last"]
    result = scores.to_result()
    assert result["baselines"]["copy_last"]["model_lift_val"]["following/mrr"]["value"] == 0
    assert result["val"]["following"]["targets"] == len(scores.ground.following["val"].windows)
    none = score({"m": CopyLast}, ground(parts, cache, 16), TRAINING, "cpu").to_result()
    assert none["val"]["following"]["reason"].startswith("no document has 22 chunks")
    assert "following/mrr" not in none["baselines"]["copy_last"]["val"]


def test_what_a_model_was_trained_on_is_a_target_of_nobody(parts: Parts, cache: Path) -> None:
    whole = ground(parts, cache)
    start = int(whole.later["val"].start_W[0])
    row = start + FROM + 1
    trained = sketch(parts.val.vectors_ND, np.array([row]), None, {"own": "other"})
    left = whole.apart_from("m", Trainings((trained,)))
    lost = set(whole.later["val"].target_row_W.tolist()) - set(left.later["val"].target_row_W.tolist())
    first = [r for r, s in zip(whole.later["val"].target_row_W, whole.later["val"].start_W, strict=True) if s == start]
    assert lost == {int(r) for r in first if r >= row}
    assert left.later["test"].target_row_W.tolist() == whole.later["test"].target_row_W.tolist()
    assert left.following["val"].digest != whole.following["val"].digest


def test_what_first_weights_were_trained_on_is_no_target_of_their_run(parts: Parts, cache: Path) -> None:
    """The first weights have seen one chunk of VAL, which windows and following leave out alike."""
    start, row = int(parts.val.start_W[0]), int(parts.val.start_W[0]) + FROM
    own = sketch(parts.val.vectors_ND, np.array([row]), None, {})
    begun = apart(parts, {"m": Trainings((own,))})
    whole, left = (Ground.of_run(one, ASKED, cache, FROM).later["val"] for one in (parts, begun))
    gone = np.setdiff1d(whole.target_row_W, left.target_row_W)
    same = whole.target_row_W[(whole.start_W == start) & (whole.target_row_W >= row)]
    assert len(gone)
    assert gone.tolist() == same.tolist()


def test_lengths_without_common_windows_are_told(parts: Parts, longer: Parts, cache: Path) -> None:
    few = np.unique(longer.val.document_W)[:3]
    short = replace(longer, val=longer.val.select(np.flatnonzero(np.isin(longer.val.document_W, few))))
    five, _ = shared([ground(parts, cache), ground(short, cache)])
    assert list(five.windows) == ["test", "ood"]
    assert "val is left out: 3 of its documents have windows for all that read 5 and 12 vectors" in " ".join(five.notes)
    alone = [replace(one, windows={"val": one.windows["val"]}) for one in (ground(parts, cache), ground(short, cache))]
    with pytest.raises(UserError, match="share no windows; bring longer documents"):
        shared(alone)
