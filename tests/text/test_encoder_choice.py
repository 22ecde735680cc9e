"""Whose vectors no encoder of the lab makes is told the way out that it has."""

from __future__ import annotations

import pytest

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.encoder_choice import encoder_for, shipped


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (EncoderContract(encoder="planted", dim=8), "planted vectors, which no encoder makes; take a run on texts"),
        (EncoderContract(encoder="another", dim=8), "does not say which encoder of the lab made its vectors"),
        (EncoderContract(dim=8), r"with encoder=OPTION\.$"),
    ],
)
def test_without_an_encoder_the_way_out_fits_the_vectors(contract: EncoderContract, words: str) -> None:
    with pytest.raises(UserError, match=words):
        encoder_for(contract, None, shipped, "the run")
