"""Two contracts say whether the same encoder can have made both, and where it cannot, show both and the cosine."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.documents import make_documents
from lvm_lab.data.contract import COMPARED, LATER, PROBES, EncoderContract
from lvm_lab.data.joined import join_stores
from lvm_lab.data.store import open_store, write_store
from lvm_lab.errors import UserError

KNOWN = EncoderContract(
    encoder="gtr-t5-base",
    pooling="mean",
    dense=False,
    normalised=False,
    dim=8,
    library="transformers",
    max_tokens=128,
    revision="0123abcd",
)
OTHERS: dict[str, Any] = {
    "dim": 9,
    "encoder": "e5",
    "library": "sentence-transformers",
    "pooling": "cls",
    "dense": True,
    "normalised": True,
    "max_tokens": 256,
    "revision": "ffff0000",
}


def vectors(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(PROBES), 8))


def test_what_is_compared_is_every_fact_of_a_contract() -> None:
    assert set(COMPARED) == {field.name for field in fields(EncoderContract)} - {"dtype", "probes"} == set(OTHERS)


def test_the_probes_are_fixed_sentences_of_which_one_is_longer_than_any_limit() -> None:
    assert len(set(PROBES)) == len(PROBES) == 6
    assert all(sentence.strip() == sentence for sentence in PROBES)
    assert [len(sentence.split()) > 512 for sentence in PROBES] == [False] * 5 + [True]


@pytest.mark.parametrize("name", COMPARED)
def test_a_contradiction_shows_the_field_and_both_contracts(name: str) -> None:
    other = replace(KNOWN, **{name: OTHERS[name]})
    told = KNOWN.conflict(other)
    assert told is not None
    contradiction = f"{name.replace('_', ' ')} {getattr(KNOWN, name)} against {OTHERS[name]}"
    assert told == f"{contradiction}: {KNOWN.short()} against {other.short()}"
    assert KNOWN.short() != other.short()


@pytest.mark.parametrize("name", COMPARED)
def test_what_one_of_them_does_not_say_contradicts_nothing(name: str) -> None:
    if name != "dim":
        assert KNOWN.conflict(replace(KNOWN, **{name: None})) is None
        assert replace(KNOWN, **{name: None}).conflict(KNOWN) is None


def test_a_contract_of_a_plain_file_is_told_by_its_field_alone() -> None:
    mine = EncoderContract(encoder="gtr", normalised=True, dim=8)
    assert mine.conflict(replace(mine, encoder="e5")) == "encoder gtr against e5"


def test_the_same_model_through_two_libraries_is_two_encoders_with_the_measured_cosine() -> None:
    mine = KNOWN.with_probes(vectors())
    other = replace(KNOWN, library="sentence-transformers").with_probes(vectors(1))
    told = mine.conflict(other)
    assert told is not None
    expected, probes = mine.agreement(other)
    assert probes == len(PROBES)
    assert told.startswith("library transformers against sentence-transformers: gtr-t5-base, revision 0123abcd, by tr")
    assert told.endswith(f", with a mean cosine of {expected:.3f} over 6 probe sentences")


def test_the_mean_cosine_of_the_probes_decides_where_nothing_else_does() -> None:
    base = vectors()
    noise = vectors(1)
    near = KNOWN.with_probes(base + 0.01 * noise)
    far = KNOWN.with_probes(base + 0.1 * noise)
    mine = KNOWN.with_probes(3 * base)
    assert mine.agreement(near)[0] > 0.999 > mine.agreement(far)[0] > 0.9
    assert mine.conflict(near) is None
    told = mine.conflict(far)
    assert told is not None
    assert told.startswith("the probe sentences are encoded otherwise: gtr-t5-base")
    assert f"with a mean cosine of {mine.agreement(far)[0]:.3f} over 6" in told


def test_one_probe_of_many_that_wavers_is_no_other_encoder() -> None:
    """The mean is asked, as other precisions on other machines move a sentence more than the rest."""
    base = np.eye(len(PROBES), 8)
    moved = base.copy()
    moved[0, 7] = 0.06
    assert KNOWN.with_probes(base).conflict(KNOWN.with_probes(moved)) is None


def test_probes_of_no_length_agree_with_nothing() -> None:
    zero = KNOWN.with_probes(np.zeros((len(PROBES), 8)))
    assert zero.agreement(KNOWN.with_probes(vectors())) == (0.0, 6)


def test_probes_keep_the_digits_that_a_comparison_needs() -> None:
    probed = KNOWN.with_probes(vectors())
    assert list(probed.probes) == list(PROBES)
    assert np.allclose(list(probed.probes.values()), vectors(), rtol=1e-5)
    assert len(json.dumps(probed.probes["The cat sat on the mat."])) < 8 * 14


def test_what_is_unknown_is_written_as_before_the_field_came() -> None:
    """Manifests, checkpoints and the names of imports in the cache stay as they were."""
    old = EncoderContract(encoder="gtr", dim=8)
    assert old.recorded() == {key: value for key, value in asdict(old).items() if key not in LATER}
    assert EncoderContract(**old.recorded()) == old
    assert EncoderContract(**json.loads(json.dumps(KNOWN.recorded()))) == KNOWN
    assert set(KNOWN.recorded()) == set(asdict(KNOWN))


def test_a_store_of_before_opens_equal_and_a_new_one_keeps_all(tmp_path: Path) -> None:
    vectors_ND = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    old = write_store(tmp_path / "old", vectors_ND, make_documents([9]), EncoderContract(encoder="gtr"))
    assert not set(LATER) & set(json.loads((old.path / "manifest.json").read_text())["encoder"])
    assert old.contract == EncoderContract(encoder="gtr", dim=8)
    probed = KNOWN.with_probes(vectors())
    assert write_store(tmp_path / "new", vectors_ND, make_documents([9]), probed).contract == probed
    assert open_store(tmp_path / "new").contract == probed


def test_stores_of_two_libraries_are_not_joined(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    stores = [
        write_store(
            tmp_path / library,
            draws.normal(size=(9, 8)).astype(np.float32),
            make_documents([9]),
            replace(KNOWN, library=library).with_probes(vectors(seed)),
        )
        for seed, library in enumerate(("transformers", "sentence-transformers"))
    ]
    with pytest.raises(UserError, match=r"different encoders .*: library .* against .*, with a mean cosine of "):
        join_stores(stores)


def test_what_only_one_store_knows_holds_for_both(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    stores = [
        write_store(tmp_path / name, draws.normal(size=(9, 8)).astype(np.float32), make_documents([9]), contract)
        for name, contract in (("silent", EncoderContract()), ("known", KNOWN))
    ]
    for order in (stores, stores[::-1]):
        assert join_stores(order).contract == KNOWN
