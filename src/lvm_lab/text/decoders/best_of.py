"""`decoder=best_of`: of what several decoders make of a vector, the text that the encoder puts nearest to it.

Shape suffixes: N vectors, D vector dim.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.decoder import Candidate, Decoder, Resources, open_decoder, round_trips


class BestOf(Decoder):
    """decoders: by name, the node of each one's option; null: that one is left out. candidates: texts that a vector
    gets, by the cosine of what the encoder makes of them to it.
    """

    def __init__(self, decoders: dict[str, Any], candidates: int = 5) -> None:
        if candidates < 1:
            raise UserError(f"decoder.candidates={candidates} does not fit; set 1 or more.")
        self.decoders, self.candidates = decoders, candidates
        self._open: dict[str, Decoder] = {}

    def open(self, resources: Resources) -> None:
        nodes = {name: node for name, node in self.decoders.items() if node is not None}
        if not nodes:
            raise UserError("decoder.decoders names none; name one or more, or take decoder=retrieval.")
        self._open = {
            name: open_decoder(node, resources, f"decoder.decoders.{name}")
            if isinstance(node, dict)
            else _no_option(name, node)
            for name, node in nodes.items()
        }
        self._encoder = resources.encoder
        self.expected = max((one.expected for one in self._open.values() if one.expected is not None), default=None)
        self.single = self.candidates == 1 or (len(self._open) == 1 and all(one.single for one in self._open.values()))
        self.notes = tuple(note for decoder in self._open.values() for note in decoder.notes)

    @property
    def source(self) -> str:
        return " or ".join(decoder.source for decoder in self._open.values()) or "decoder=best_of"

    def contract(self) -> EncoderContract:
        """The first one's; each was held against the vectors' when it was opened."""
        return next(iter(self._open.values())).contract()

    def decode(self, vectors_ND: np.ndarray) -> list[list[Candidate]]:
        by_decoder = {name: decoder.decode(vectors_ND) for name, decoder in self._open.items()}
        made = [
            (place, replace(candidate, decoder=name))
            for name, decoded in by_decoder.items()
            for place, candidates in enumerate(decoded)
            for candidate in candidates
        ]
        scores = round_trips(
            self._encoder, [candidate.text for _, candidate in made], vectors_ND[[place for place, _ in made]]
        )
        ranked: list[list[Candidate]] = [[] for _ in vectors_ND]
        for best in np.argsort(-scores, kind="stable").tolist():
            place, candidate = made[best]
            if candidate.text not in {other.text for other in ranked[place]}:
                ranked[place].append(replace(candidate, score=float(scores[best])))
        return [candidates[: self.candidates] for candidates in ranked]

    def at_rest(self, candidate: Candidate) -> np.ndarray | None:
        assert candidate.decoder is not None, "one that it gave"
        return self._open[candidate.decoder].at_rest(candidate)

    def ends(self, candidate: Candidate) -> bool:
        assert candidate.decoder is not None, "one that it gave"
        return self._open[candidate.decoder].ends(candidate)


def _no_option(name: str, node: object) -> Decoder:
    raise UserError(
        f"decoder.decoders.{name}={node!r} names no option; choose it with decoder@decoder.decoders.{name}=OPTION, or "
        "leave it out with null."
    )
