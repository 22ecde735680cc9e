"""What an ensemble learns the weights of its members on: held-out documents, since no member has learned them by heart.

On training windows the member that overfits most is the nearest, and gets the weight.

Shape suffixes: W windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvm_lab.data.seen import rows_of
from lvm_lab.data.sketch import Sketch, row_digests, sketch
from lvm_lab.data.windows import Windows
from lvm_lab.errors import UserError

NOTE = (
    "VAL has no gates and no numbers here: the weights of the members were learned on one half of its documents ({} "
    "windows), and the checkpoint was chosen on the other ({}); test and OOD stand"
)


@dataclass(frozen=True)
class Mixing:
    """The two halves of VAL. learn: what the weights are learned on. choose: what the checkpoint is chosen on."""

    learn: Windows
    choose: Windows

    @property
    def note(self) -> str:
        return NOTE.format(len(self.learn), len(self.choose))

    def sketch(self, cut: dict[str, str]) -> Sketch:
        """What this training has seen of VAL, which it no longer held out. cut: as in `Parts`."""
        kept = {part: digest for part, digest in cut.items() if part != "val"}
        return sketch(self.learn.vectors_ND, rows_of(self.learn), self.learn.text_N, kept)


def halves(val: Windows) -> Mixing:
    """VAL's documents by a hash of their first chunk, every second one to learn on.

    Raises UserError for a VAL of one document.
    """
    documents, first_W, number_W = np.unique(val.document_W, return_index=True, return_inverse=True)
    if len(documents) < 2:
        raise UserError(
            "arch.mix learns on one half of the val part's documents and chooses on the other, and there is one; bring "
            "more documents, or set arch.mix=mean."
        )
    order = np.argsort(row_digests(val.vectors(val.start_W[first_W])), kind="stable")
    learn_D = np.zeros(len(documents), dtype=bool)
    learn_D[order[::2]] = True
    learn_W = learn_D[number_W]
    return Mixing(val.select(np.flatnonzero(learn_W)), val.select(np.flatnonzero(~learn_W)))
