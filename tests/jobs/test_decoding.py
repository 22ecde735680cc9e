"""`lvm-lab diagnose RUN decoder=...`, three vectors of a window as texts, and `lvm-lab generate` on the same run."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from helpers.commands import MODEL, Outcome, call, rows, timeless
from helpers.documents import make_documents
from lvm_lab import diagnose, generate
from lvm_lab.commands import decoding, helping
from lvm_lab.config.index import IndexSettings
from lvm_lab.data.contract import PROBES
from lvm_lab.data.store import write_store
from lvm_lab.errors import UserError
from lvm_lab.jobs import indexing
from lvm_lab.text.decoders.retrieval import Retrieval
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.encoders.hashing import Hashing
from lvm_lab.text.ingestion.record import write_record

DOCUMENTS, CHUNKS = 40, 8
PEOPLE = ("miller", "sailor", "baker", "smith")
TEXTS = [
    f"In chapter {chunk} of book {book} the {PEOPLE[book % 4]} counts to {chunk * book}."
    for book in range(DOCUMENTS)
    for chunk in range(CHUNKS)
]
TRAINING = (*MODEL, "trainer.max_epochs=1", "trainer.batch_size=64", "5cat=off", "data=npz", "run.cache=cache")


def stored(path: Path, encoder: Encoder, texts: bool = True) -> None:
    contract = encoder.contract().with_probes(encoder.encode(PROBES))
    documents = make_documents([CHUNKS] * DOCUMENTS)
    write_store(path, encoder.encode(TEXTS), documents, contract, texts=TEXTS if texts else None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store `books`, a run on it, and the same chunks by another encoder."""
    folder = tmp_path_factory.mktemp("home")
    stored(folder / "books", Hashing(dim=64))
    stored(folder / "other", Hashing(dim=32))
    stored(folder / "mute", Hashing(dim=64), texts=False)
    (folder / "marked.txt").write_text(" ".join(TEXTS[:6]), encoding="utf-8-sig")
    (folder / "latin.txt").write_bytes("né à Paris".encode("latin-1"))
    flat = {"name": "flat", "_target_": "lvm_lab.data.indices.flat.Flat"}
    places = {"out": str(folder / "index"), "cache": str(folder / "cache")}
    indexing.index(IndexSettings(flat, [str(folder / "other")], queries=4, **places))
    done = call(folder, *TRAINING, "data.path=books", "run.dir=run")
    assert done.code == 0, done.err
    return folder


def told(home: Path, *arguments: str, main: Callable[[], int] = diagnose.main) -> Outcome:
    return call(home, *arguments, "--device", "cpu", main=lambda: sys.exit(main()))


def test_the_encoders_vector_comes_back_word_for_word_and_the_prediction_beside_it(home: Path) -> None:
    done = told(home, "run", "decoder=retrieval", "samples=6", "--json", "texts.json")
    assert (done.code, done.err) == (0, "")
    (written,) = json.loads((home / "texts.json").read_text()).values()
    assert len(written["windows"]) == 6
    for window in written["windows"]:
        assert window["target"] == TEXTS[window["row"]]
        for vector in ("encoder", "unit"):
            one = window["decoded"][vector]
            assert one["text"] == window["target"]
            assert [one["score"], one["round_trip"], one["to_target"]] == pytest.approx([1, 1, 1], abs=1e-3)
        raw = window["decoded"]["raw"]
        assert raw["text"] in TEXTS
        assert raw["score"] == pytest.approx(raw["round_trip"], abs=1e-3)
        assert raw["to_target"] < 1 or raw["text"] == window["target"]
    means = written["means"]
    assert means["encoder"]["same_text"] == 1
    assert means["raw"]["to_target"] == pytest.approx(
        np.mean([window["decoded"]["raw"]["to_target"] for window in written["windows"]])
    )
    assert "the model's raw" in done.out
    assert "note: books is searched without an index" in done.out
    assert "note: the encoder's vectors have unit length, so that A and B are the same" in done.out
    assert done.out.count(written["windows"][0]["target"]) >= 3


def test_raw_is_decoded_as_it_is_and_never_at_unit_length(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[np.ndarray] = []
    decode = Retrieval.decode
    monkeypatch.setattr(
        Retrieval, "decode", lambda self, vectors_ND: decoded.append(vectors_ND) or decode(self, vectors_ND)
    )
    assert told(home, "run", "decoder=retrieval", "samples=4").code == 0
    _, unit, raw = (np.linalg.norm(vectors_ND, axis=1) for vectors_ND in decoded)
    assert np.allclose(unit, 1, atol=1e-5)
    assert not np.allclose(raw, 1, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["samples=3"], "texts need a decoder; add decoder=retrieval, or leave the settings out."),
        (["decoder=retrieval", "samples=0"], "samples=0 leaves nothing to decode; set 1 or more."),
        (["decoder=retrieval", "samples=few"], "samples='few' does not fit; give it a whole number."),
        (["decoder=retreival"], "decoder=retreival does not exist; choose one of best_of, retrieval, vec2text."),
        (["decoder=retrieval", "decoder.candidate=2"], "decoder.candidate does not exist (did you mean candidates?)"),
        (["decodr=retrieval"], "decodr does not exist (did you mean decoder?); at the top there are cache, decoder,"),
        (["decoder=retrieval", "sample=3"], "sample does not exist (did you mean samples?); at the top there are"),
        (["decoder=retrieval,best_of"], "decoder=retrieval,best_of names several values"),
        (["decoder=retrieval", "decoder.store=other"], "other is of another encoder than the data of run/checkpoints/"),
        (["decoder=retrieval", "decoder.index=nowhere"], "nowhere is no readable index (it has no manifest.json)"),
        (["decoder=retrieval", "encoder=hashing", "encoder.dim=32"], "is not of this encoder (dim 64 against 32"),
        (["decoder=vec2text"], "vec2text is not installed; pip install lvm_lab[vec2text] brings it."),
    ],
)
def test_mistakes_are_one_sentence(
    home: Path, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vec2text", None)
    done = told(home, "run", *arguments)
    assert done.code == 2
    assert sentence in done.sentence


def test_a_training_says_how_its_predictions_texts_come_back_and_is_the_same_training(home: Path) -> None:
    settings = ("callbacks=[default,round_trip]", "callbacks.round_trip.every_n_epochs=3", "data.path=books")
    done = call(home, *TRAINING, *settings, "run.dir=read")
    assert done.code == 0, done.err
    (row,), (plain,) = timeless(rows(home / "read")), timeless(rows(home / "run"))
    cosines = {name: row.pop(name) for name in ("round_trip/cosine", "round_trip/to_target")}
    assert row == plain
    assert -1 <= cosines["round_trip/to_target"] <= 1
    assert 0 < cosines["round_trip/cosine"] <= 1, "the nearest of all texts"
    log = (home / "read" / "train.log").read_text()
    assert "round trip after epoch 1: 8 predictions decoded by books and encoded again, cosine 0." in log
    assert log.rpartition("the first text: ")[2].splitlines()[0] in TEXTS
    identities = [yaml.safe_load((home / name / "config.yaml").read_text())["identity"] for name in ("read", "run")]
    assert identities[0]["fingerprint"] == identities[1]["fingerprint"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["data.path=books", "callbacks.round_trip.windows=0"], "callbacks.round_trip.windows=0 does not fit; set 1"),
        (["data.path=books", "callbacks.round_trip.decoder.store=other"], "other is of another encoder than the data"),
        (["data.path=mute"], "mute has no texts to retrieve; name a store of texts with decoder.store=FOLDER."),
    ],
)
def test_a_round_trip_that_cannot_be_is_refused_before_the_first_epoch(
    home: Path, settings: list[str], sentence: str
) -> None:
    done = call(home, *TRAINING, "callbacks=[default,round_trip]", *settings, "run.dir=refused", "run.force=true")
    assert done.code == 2
    assert sentence in done.sentence
    assert not (home / "refused" / "history.jsonl").exists()


BEGINNING = " ".join(TEXTS[3 * CHUNKS : 3 * CHUNKS + 6])
DOWN = ("encoder.model=tiny", "encoder.base_url=http://127.0.0.1:9/v1", "encoder.retries=0")
GENERATE = ("run", "--text", BEGINNING, "chunker=sentences", "chunker.length=60")


def test_generate_goes_on_from_a_text(home: Path) -> None:
    settings = ("steps=3", "mode=reencode", "stop=none", "--json", "written.json")
    done = told(home, *GENERATE, *settings, main=generate.main)
    assert (done.code, done.err) == (0, "")
    written = json.loads((home / "written.json").read_text())
    assert written["generation"]["read"] == TEXTS[3 * CHUNKS + 1 : 3 * CHUNKS + 6]
    texts = [one["text"] for one in written["generation"]["written"]]
    assert len(texts) == 3
    assert {*texts} <= {*TEXTS}
    assert {stage: own["calls"] for stage, own in written["latency"].items()} == {
        "chunk": 1,
        "encode": 4,
        "model": 3,
        "decode": 3,
    }
    assert texts[0] in done.out
    assert "read the last 5 of 6 chunks" in done.out
    (home / "beginning.txt").write_text(BEGINNING)
    same = told(home, "run", "beginning.txt", *GENERATE[3:], *settings[:3], main=generate.main)
    assert [line for line in same.out.splitlines() if line[:3].strip().isdigit()] == [
        line for line in done.out.splitlines() if line[:3].strip().isdigit()
    ]


def test_the_stores_own_chunker_cuts_the_text(home: Path) -> None:
    record = home / "books" / "ingest.json"
    node = {"name": "sentences", "_target_": "lvm_lab.text.chunkers.sentences.Sentences", "length": 60}
    try:
        write_record(home / "books", {"settings": {"chunker": node}})
        done = told(home, *GENERATE[:3], "stop=none", "steps=1", main=generate.main)
        assert (done.code, done.err) == (0, "")
        assert "read the last 5 of 6 chunks" in done.out
        record.unlink()
        write_record(home / "books", {"settings": {"chunker": node | {"_target_": "my_package.evil.Chunker"}}})
        refused = told(home, *GENERATE[:3], main=generate.main)
        assert "does not say how its texts were cut; name what cuts yours with chunker=OPTION." in refused.sentence
    finally:
        record.unlink()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["run", "--text", BEGINNING],
            "does not say how its texts were cut; name what cuts yours with chunker=OPTION.",
        ),
        (["run", "--text", "", *GENERATE[3:]], "the text is empty; give some to go on from."),
        (["run", "--text", TEXTS[0], *GENERATE[3:]], "the text makes 1 chunk and the model reads 5 or more;"),
        (["run"], "generate goes on from one text; give a FILE (- for the standard input), or --text TEXT."),
        (["run", "nowhere.txt", *GENERATE[3:]], "nowhere.txt: No such file or directory;"),
        (["nowhere", *GENERATE[1:]], "nowhere matches no file and no folder;"),
        ([*GENERATE, "step=3"], "step does not exist (did you mean steps?); at the top there are cache,"),
        ([*GENERATE, "steps=0"], "steps=0 writes nothing; set 1 or more."),
        ([*GENERATE, "mode=vector"], "mode='vector' does not fit; give it one of vectors, reencode, snap."),
        ([*GENERATE, "stop=ends"], "stop='ends' does not fit; give it repetition, end, [repetition,end] or none."),
        ([*GENERATE, "decoder.store=other"], "other is of another encoder than the data of run/checkpoints/"),
        ([*GENERATE, "--data", "nowhere.npz"], "nowhere.npz does not exist"),
        ([*GENERATE, "chunker=words"], "chunker=words does not exist; choose one of"),
        (["run", "--text", " \n\t ", *GENERATE[3:]], "the text is empty; give some to go on from."),
        (["run", "--text", "word " * 100_000, *GENERATE[3:], "chunker.length=1000000"], "the text makes 1 chunk and"),
        (["run", "--text", "這是一本書。" * 20, *GENERATE[3:], "chunker.length=1000"], "the text makes 1 chunk and"),
        (["run", "latin.txt", *GENERATE[3:]], "latin.txt is no text in UTF-8; write it again as text."),
        (["run", "books", *GENERATE[3:]], "books: Is a directory;"),
        (["run", "latin.txt", *GENERATE[1:]], "generate goes on from one text; give a FILE (- for the standard input)"),
        (["latin.txt", *GENERATE[1:]], "latin.txt"),
        (
            [*GENERATE, "--data", "other"],
            "was trained on vectors of another encoder than the data's (dim 32 against 64: hashing",
        ),
        ([*GENERATE, "--data", "mute"], "mute has no texts to retrieve; name a store of texts with decoder.store="),
        ([*GENERATE, "decoder.store=mute"], "mute has no texts to retrieve; name a store of texts with decoder.store="),
        ([*GENERATE, "decoder.index=index"], "index is an index of another store"),
        ([*GENERATE, "decoder.index=nowhere"], "nowhere is no readable index (it has no manifest.json)"),
        ([*GENERATE, "decoder=null"], "decoder=null names no option; choose one of best_of, retrieval, vec2text."),
        ([*GENERATE, "decoder=vec2text"], "vec2text is not installed; pip install lvm_lab[vec2text] brings it."),
        ([*GENERATE, "decoder=best_of"], "vec2text is not installed; pip install lvm_lab[vec2text] brings it."),
        ([*GENERATE, "encoder=gtr_vec2text", "encoder.model=nowhere"], "encoder.model=nowhere cannot be loaded"),
        ([*GENERATE, "encoder=hashing", "encoder.dim=32"], "is not of this encoder (dim 64 against 32"),
        ([*GENERATE, "encoder=openai", *DOWN], "http://127.0.0.1:9/v1 cannot be reached"),
        (
            [*GENERATE, "smoother=chat"],
            "smoother=chat needs a model; add smoother.model=NAME",
        ),
        ([*GENERATE, "smoother=talk"], "smoother=talk does not exist; choose one of chat, none."),
        ([*GENERATE, "temperature=-1"], "temperature=-1 does not fit; set 0 or more."),
        (
            [*GENERATE, "temperature=1", "decoder.candidates=1"],
            "temperature=1 chooses among a decoder's candidates, and retrieval by books gives one alone; leave",
        ),
        (["run", "--text", "caf\udce9", *GENERATE[3:]], "--text is no text in UTF-8; write it again as text."),
        (["run", "marked.txt", "--json", "./marked.txt"], "marked.txt would take the place of the text itself; name"),
        ([*GENERATE, "draws=2"], "draws are taken at a temperature above 0; add temperature=1, or leave draws out."),
        ([*GENERATE, "draws=0", "temperature=1"], "draws=0 does not fit; set 1 or more, or null."),
        ([*GENERATE, "draws=2", "temperature=1"], "has head=dual, which draws nothing; leave draws out."),
        ([*GENERATE, "seed=-1"], "seed=-1 does not fit; set 0 or more."),
    ],
)
def test_mistakes_of_generate_are_one_sentence(
    home: Path, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is written. A case of `GENERATE[1:]` has no run of its own before the text."""
    monkeypatch.setitem(sys.modules, "vec2text", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = sorted(home.iterdir())
    done = told(home, "--json", "refused.json", *arguments, main=generate.main)
    assert done.code == 2
    assert sentence in done.sentence
    assert sorted(home.iterdir()) == before


def test_a_long_text_and_one_of_another_language_are_gone_on_from(home: Path) -> None:
    for text in ("One more sentence, which is not like any. " * 12_500, "這是一本關於磨坊的書。 " * 60):
        done = told(home, "run", "--text", text, *GENERATE[3:], "steps=1", "stop=none", main=generate.main)
        assert (done.code, done.err) == (0, "")


def test_temperature_is_recorded_and_a_seed_gives_the_same_texts(home: Path) -> None:
    settings = (*GENERATE, "steps=4", "stop=none", "temperature=5", "decoder.candidates=40", "--json", "drawn.json")
    written = []
    for seed in (3, 3, 4):
        done = told(home, *settings, f"seed={seed}", main=generate.main)
        assert (done.code, done.err) == (0, "")
        assert f"temperature 5, among the decoder's candidates, seed {seed}" in done.out
        written.append(json.loads((home / "drawn.json").read_text()))
    texts = [[one["text"] for one in node["generation"]["written"]] for node in written]
    assert texts[0] == texts[1] != texts[2]
    assert written[2]["sampling"] == {"temperature": 5.0, "by": "candidates", "draws": None, "seed": 4}


def test_what_editors_and_pipes_add_is_no_part_of_the_text(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a text that begins as a setting does become one; the report's folder is made."""
    words = ["run", "--text", "seed=3 is what I typed.", "steps=2"]
    assert decoding.split(words, "generate") == (words[3:], words[:3])
    done = told(home, "run", "marked.txt", *GENERATE[3:], "steps=1", "--json", "made/of.json", main=generate.main)
    assert done.code == 0
    assert json.loads((home / "made" / "of.json").read_text())["generation"]["read"][0][0] != "\ufeff"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    done = told(home, "run", "-", main=generate.main)
    assert (done.code, done.sentence) == (2, "the standard input is no text in UTF-8; write it again as text.")


def test_control_characters_of_a_text_do_not_reach_the_terminal(home: Path) -> None:
    text = "A red \x1b[31m mill, [bold]and[/bold] 水車 \u200d\u0645. " * 12
    done = told(home, "run", "--text", text, *GENERATE[3:], "steps=1", "stop=none", main=generate.main)
    assert done.code == 0
    assert "A red ?[31m mill, [bold]and[/bold] 水車 \u200d\u0645." in done.out
    assert "\x1b" not in done.out


def test_a_smoother_that_is_down_is_a_warning(home: Path) -> None:
    down = ("smoother=chat", "smoother.model=tiny", "smoother.base_url=http://127.0.0.1:9/v1", "smoother.retries=0")
    done = told(home, *GENERATE, *down, "steps=2", "stop=none", main=generate.main)
    assert done.code == 0
    assert "the texts are left unsmoothed: http://127.0.0.1:9/v1 cannot be reached" in done.out + done.err


def test_what_counts_as_a_setting_is_what_the_config_has() -> None:
    for config_name, settings in decoding.SETTINGS.items():
        assert {*helping.keys(config_name)} - {"defaults", "schedule", "run_id"} == {*settings}
    words = ["run", "a/epoch=04.ckpt", "--json=x", "decoder=retrieval", "decoder@decoder.decoders.b=retrieval"]
    assert decoding.split(words, "diagnose") == (words[3:], words[:3])


def test_a_file_with_a_sign_of_equality_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lr=1").mkdir()
    words = ["lr=1", "epoch=9.ckpt", "outputs/lr=*", "--json", "seed=3", "step=3", "+own=1"]
    assert decoding.split(words, "generate") == (words[5:], words[:5])
    for word, name in (("step=3", "step does not exist (did you mean steps?)"), ("+own=1", "own does not exist")):
        with pytest.raises(UserError, match=re.escape(f"{name}; at the top there are cache, chunker, decoder, draws,")):
            decoding.Composer("generate", None)([word])
