"""`lvm-lab pipeline-test`: documents from text to text, a number for every stage, models told apart by them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import MODEL, TINY, Outcome, call
from helpers.documents import make_documents
from lvm_lab import pipeline_test
from lvm_lab.commands.decoding import Composer
from lvm_lab.data.contract import PROBES
from lvm_lab.data.store import write_store
from lvm_lab.jobs import pipeline
from lvm_lab.text.encoders.hashing import Hashing
from lvm_lab.text.endpoint import EndpointError
from lvm_lab.text.ingestion.record import write_record

DOCUMENTS, CHUNKS = 60, 8
PEOPLE = ("miller", "sailor", "baker", "smith")
TEXTS = [
    f"In chapter {chunk} of book {book} the {PEOPLE[book % 4]} counts to {chunk * book}."
    for book in range(DOCUMENTS)
    for chunk in range(CHUNKS)
]
SENTENCES = {"name": "sentences", "_target_": "lvm_lab.text.chunkers.sentences.Sentences", "length": 60}


def stored(path: Path, dim: int, texts: bool = True) -> None:
    encoder = Hashing(dim=dim)
    contract = encoder.contract().with_probes(encoder.encode(PROBES))
    documents = make_documents([CHUNKS] * DOCUMENTS)
    write_store(path, encoder.encode(TEXTS), documents, contract, texts=TEXTS if texts else None)
    write_record(path, {"settings": {"chunker": SENTENCES}})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on planted documents with texts, and one on the store `books`."""
    folder = tmp_path_factory.mktemp("home")
    stored(folder / "books", dim=64)
    stored(folder / "other", dim=32)
    stored(folder / "mute", dim=64, texts=False)
    done = call(folder, *TINY, "5cat=off", "data.texts=true", "run.cache=cache", "run.dir=planted")
    assert done.code == 0, done.err
    training = ("trainer.max_epochs=1", "trainer.batch_size=64", "5cat=off", "data=npz", "data.path=books")
    done = call(folder, *MODEL, *training, "run.cache=cache", "run.dir=run")
    assert done.code == 0, done.err
    return folder


def told(home: Path, *arguments: str) -> Outcome:
    return call(home, *arguments, "--device", "cpu", main=lambda: sys.exit(pipeline_test.main()))


def reported(home: Path, *arguments: str) -> tuple[dict[str, Any], Outcome]:
    done = told(home, *arguments, "--json", "passages.json")
    assert (done.code, done.err) == (0, "")
    return json.loads((home / "passages.json").read_text()), done


def values(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By predictor and number."""
    return {
        one["name"]: {number: node["value"] for number, node in one["numbers"].items()} for one in report["predictors"]
    }


def test_the_oracle_recovers_the_next_chunks_and_who_copies_does_not(home: Path) -> None:
    report, done = reported(home, "planted", "baselines=[oracle,copy_last]")
    numbers = values(report)
    assert [*numbers] == ["A", "gru", "oracle", "copy_last"]
    assert numbers["A"]["exact"] == numbers["A"]["r1_unseen"] == numbers["A"]["prediction"] == pytest.approx(1)
    oracle, copy_last = numbers["oracle"], numbers["copy_last"]
    assert min(oracle[number] for number in ("r1", "exact", "exact_nearest", "mrr_unseen")) > 0.9
    assert oracle["copied"] == 0
    # Where what it has read is left out, a copy is given the best of the rest.
    assert (copy_last["r1"], copy_last["exact_nearest"], copy_last["copied"]) == (0, 0, 1)
    assert copy_last["exact"] < oracle["exact"]
    assert oracle["chrf"] > copy_last["chrf"]
    tests = {(one["name"], one["number"]): one for one in report["comparisons"]}
    assert all(one["against"] == "gru" for one in tests.values())
    assert tests["copy_last", "exact_nearest"]["interval"][1] < 0
    assert tests["oracle", "prediction"]["interval"][0] > 0
    assert report["stages"] == {}
    assert "no encoder of the lab makes these vectors" in done.out
    assert "left out as candidates: the 5 chunks that a window reads" in done.out
    assert "copy-last" in done.out


def test_every_stage_of_texts_is_measured(home: Path) -> None:
    report, done = reported(home, "run", "documents=6")
    assert report["stages"]["chunks"]["value"] == 1
    assert report["stages"]["encoder"]["value"] == pytest.approx(1, abs=1e-5)
    assert (report["documents"], report["part"], len(report["windows"])) == (6, "val", 6)
    assert len({window["row"] // CHUNKS for window in report["windows"]}) == 6
    for window in report["windows"]:
        assert window["target"] == TEXTS[window["row"]]
        assert window["read"] == TEXTS[window["row"] - 5 : window["row"]]
        assert window["decoded"]["A"]["text"] == window["target"]
        for name in ("gru", "copy_last", "mean_of_context"):
            one = window["decoded"][name]
            assert one["text"] in TEXTS
            assert one["text"] not in window["read"]
            assert (one["exact"] == 1) == (one["text"] == window["target"])
    means = {
        number: np.mean([window["decoded"]["gru"][number] for window in report["windows"]])
        for number in ("prediction", "decoded", "r10_unseen", "overlap", "bleu", "chrf")
    }
    assert {number: values(report)["gru"][number] for number in means} == pytest.approx(means)
    assert report["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:yes|tok:13a")
    assert "chunks: 100.0% come back when their text is cut again" in done.out
    assert "smoothed" not in done.out
    again, _ = reported(home, "run", "documents=6")
    assert again == report


def test_several_runs_stand_on_the_same_windows(home: Path) -> None:
    files = [f"run/checkpoints/{name}.ckpt" for name in ("best", "last")]
    report, done = reported(home, *files, "store=books", "part=test", "baselines=[]", "documents=7")
    models = [one for one in report["predictors"] if one["kind"] == "model"]
    assert [one["checkpoint"] for one in models] == files
    # One epoch: the last is the best, and nothing tells the two apart.
    assert {one["value"] for one in report["comparisons"]} == {0}
    assert {one["p_holm"] for one in report["comparisons"]} == {1}
    assert "note: test is there to be read once, for models that are chosen" in done.out


def test_smoothed_texts_are_measured_beside_the_decoded_ones(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    compose = Composer("pipeline_test", None)
    settings = ["documents=5", "baselines=[]"]
    monkeypatch.setattr(pipeline, "open_smoother", lambda node: lambda texts: [f"Well: {one}" for one in texts])
    loud = pipeline.pipeline_test(["run"], compose(settings), compose.encoder, "cpu")
    (window, *_) = loud.numbers["windows"]
    one = window["decoded"]["gru"]
    assert one["smoothed"] == f"Well: {one['text']}"
    encoder = Hashing(dim=64)
    smoothed_D, decoded_D, target_D = encoder.encode([one["smoothed"], one["text"], window["target"]])
    assert one["smoothed_to_decoded"] == pytest.approx(float(smoothed_D @ decoded_D), abs=1e-5)
    assert one["smoothed_to_truth"] == pytest.approx(float(smoothed_D @ target_D), abs=1e-3)
    assert one["decoded"] == pytest.approx(float(decoded_D @ target_D), abs=1e-3)


def test_an_endpoint_that_answers_late_leaves_the_others_cells_empty(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run's texts stay as they are; those of a baseline, asked for later, are smoothed."""
    asked = []

    def smoother(texts: list[str]) -> list[str]:
        asked.append(texts)
        if len(asked) == 1:
            raise EndpointError("http://127.0.0.1:9/v1 answered 503; wait.")
        return texts

    monkeypatch.setattr(pipeline, "open_smoother", lambda node: smoother)
    report, done = reported(home, "run", "documents=3", "baselines=[copy_last]")
    assert ["smoothed_to_truth" in one["numbers"] for one in report["predictors"]] == [True, False, True]
    assert "smoothed to decoded" in done.out


def test_runs_in_folders_called_as_the_controls_are_have_other_names(home: Path) -> None:
    for name in "AB":
        shutil.copytree(home / "run", home / "named" / name)
    report, _ = reported(home, "named/A", "named/B", "documents=2", "baselines=[]")
    files = [f"named/{name}/checkpoints/best.ckpt" for name in "AB"]
    assert [one["checkpoint"] for one in report["predictors"]] == [None, *files]
    assert len({one["name"] for one in report["predictors"]}) == 3
    (window, *_) = report["windows"]
    assert window["decoded"]["A"]["text"] == window["target"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere matches no file and no folder;"),
        (["run/epoch=9.ckpt"], "run/epoch=9.ckpt matches no file and no folder;"),
        (["run", "epoch=9.ckpt"], "epoch=9.ckpt matches no file and no folder;"),
        (["run", "documnts=5"], "documnts does not exist (did you mean documents?); at the top there are baselines,"),
        (["run", "decoder=null"], "decoder=null names no option; choose one of best_of, retrieval, vec2text."),
        (["run", "documents=0"], "documents=0 leaves nothing to go through; set 1 or more."),
        (["run", "documents=all"], "documents='all' does not fit; give it a whole number."),
        (["run", "seed=-1"], "seed=-1 does not fit; give it a whole number from 0."),
        (["run", "part=train"], "part='train' does not fit; give it one of val, test, ood."),
        (["run", "part=ood"], "has no ood part; leave that out."),
        (["run", "baselines=[copy-last]"], "baselines names copy-last, which does not exist; choose among copy_last,"),
        (["run", "baselines=[ridge,ridge]"], "baselines names ridge twice; name it once."),
        (["planted", "smoother=chat", "smoother.model=m"], "nor of smoothed texts; leave smoother out."),
        (["run", "decoder.store=other"], "other is of another encoder than the data of run/checkpoints/"),
        (["run", "decoder.index=nowhere"], "nowhere is no readable index (it has no manifest.json)"),
        (["run", "store=nowhere"], "nowhere does not exist"),
        (["run", "store=other"], "was trained on vectors of another encoder than the data's (dim 32 against 64"),
        (["run", "store=mute"], "has no texts to begin with; name a store of texts with store=STORE."),
        (["run", "encoder=hashing", "encoder.dim=32"], "is not of this encoder (dim 64 against 32"),
        (["run", "planted"], "planted/checkpoints/best.ckpt was trained on vectors of another encoder than the data's"),
    ],
)
def test_mistakes_are_one_sentence(home: Path, arguments: list[str], sentence: str) -> None:
    done = told(home, *arguments)
    assert done.code == 2
    assert sentence in done.sentence


def test_a_missing_library_says_what_brings_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    assert "sacrebleu is not installed; pip install lvm_lab[text] brings it." in told(home, "run").sentence
