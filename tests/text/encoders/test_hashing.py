"""The encoder without a model: texts that share words are near, the same text is the same bytes everywhere."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvm_lab.data.contract import PROBES
from lvm_lab.errors import UserError
from lvm_lab.text.encoders.hashing import Hashing
from lvm_lab.text.encoders.stored import Stored

TEXTS = ("The river ran past the old mill.", "the rivers run past an old mill", "def add(a, b): return a + b", "—", "")


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_any_text_has_a_vector_of_unit_length_that_hangs_on_no_other_text(texts: list[str]) -> None:
    encoder = Hashing(dim=32)
    vectors_ND = encoder.encode(texts)
    assert vectors_ND.dtype == np.float32
    assert vectors_ND.shape == (len(texts), 32)
    assert np.allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-6)
    assert all(
        np.array_equal(encoder.encode([text])[0], vector) for text, vector in zip(texts, vectors_ND, strict=True)
    )


def test_texts_that_share_words_are_near_each_other() -> None:
    mill, mills, code, *_ = Hashing().encode(TEXTS)
    assert mill @ mills > 0.4 > 0.1 > abs(mill @ code)
    assert Hashing().encode(["THE RIVER RAN PAST THE OLD MILL."])[0] @ mill == pytest.approx(1)


def test_another_process_makes_the_same_bytes() -> None:
    """Python's own hash of a text differs from one process to the next."""
    code = f"""
import hashlib
from lvm_lab.text.encoders.hashing import Hashing
print(hashlib.sha256(Hashing().encode({TEXTS!r}).tobytes()).hexdigest())
"""
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == hashlib.sha256(Hashing().encode(TEXTS).tobytes()).hexdigest()


def test_the_vectors_of_this_version_stay() -> None:
    """Where this fails, stores of before are of another encoder: raise VERSION."""
    sums = np.abs(Hashing(dim=16).encode(PROBES)) @ np.arange(16)
    assert sums == pytest.approx(SUMS, abs=1e-4)


SUMS = [20.6882, 23.3941, 20.2083, 26.5806, 21.0021, 16.1392]


def test_its_contract_and_its_words() -> None:
    contract = Hashing(dim=64).contract()
    assert (contract.encoder, contract.library, contract.dim, contract.normalised) == ("hashing", "lvm_lab", 64, True)
    assert Hashing.settings(contract) == {"dim": 64}
    assert Stored.settings(contract) is None
    assert Hashing().tokens(["one two, three", ""]).tolist() == [4, 0]
    assert Hashing().limit is None
    with pytest.raises(UserError, match=r"encoder\.dim=4 is too few"):
        Hashing(dim=4)


def test_stored_vectors_have_the_contract_that_the_user_knows_and_texts_have_none() -> None:
    encoder = Stored(encoder="all-MiniLM-L6-v2", pooling="mean", dense=False, library="transformers", max_tokens=256)
    contract = encoder.contract()
    assert (contract.encoder, contract.pooling, contract.max_tokens) == ("all-MiniLM-L6-v2", "mean", 256)
    assert (contract.dim, contract.normalised) == (0, None)
    with pytest.raises(UserError, match=r"encoder=stored makes no vectors of texts; bring documents that have theirs"):
        encoder.encode(["a text"])
