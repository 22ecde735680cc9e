"""Gate C: what the prediction loses when the context is broken, and that it needs no more than the last vector's place.

Shape suffixes: B windows, W windows of the whole sample, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import Number
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.gate import Gate, Predict, Slice

CHANGES = ("shuffled", "reversed", "left_out", "repeated", "foreign")


class OrderAblations(Gate):
    """The change of cos(prediction, target) when the context is broken in five ways."""

    letter = "C"
    name = "order ablations"
    at_most = CHANGES
    lead = "repeated"

    def draw(self, sample: Windows, seed: int) -> dict[str, np.ndarray]:
        """order_WL: a derangement for every window; foreign_row_W: the row of another document's last vector."""
        length = sample.context_length
        draws = {"order_WL": derangements(len(sample), length, seed)} if length > 1 else {}
        partner_W = foreign_partners(sample.document_W, seed)
        return draws if partner_W is None else draws | {"foreign_row_W": sample.rows(0)[partner_W]}

    def measure(self, part: Slice, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return order_changes(
            part.predict,
            part.context_BLD,
            part.cos_B,
            part.windows,
            draws.get("order_WL"),
            draws.get("foreign_row_W"),
        )

    def missing(self, numbers: Mapping[str, Number]) -> str:
        if not numbers["reversed"].windows:
            return "a context of one vector has no order"
        return "only one document: no other to take a vector from"


def derangements(count: int, length: int, seed: int) -> np.ndarray:
    """`count` random orders of `length` places in which none stays where it was, all equally likely."""
    if length < 2:
        raise ValueError(f"{length} place cannot be deranged")
    rng = np.random.default_rng([seed, 1])
    places_L = np.arange(length)
    order_WL = np.tile(places_L, (count, 1))
    wrong = np.arange(count)
    while len(wrong):
        order_WL[wrong] = rng.permuted(order_WL[wrong], axis=1)
        wrong = wrong[(order_WL[wrong] == places_L).any(axis=1)]
    return order_WL


def foreign_partners(document_W: np.ndarray, seed: int) -> np.ndarray | None:
    """For every window the position of a random one of another document; None where there is one document only."""
    by_document = np.argsort(document_W, kind="stable")
    ordered = document_W[by_document]
    first_W = np.searchsorted(ordered, document_W, side="left")
    own_W = np.searchsorted(ordered, document_W, side="right") - first_W
    others_W = len(document_W) - own_W
    if np.any(others_W == 0):
        return None
    place_W = np.random.default_rng([seed, 2]).integers(others_W)
    return by_document[place_W + np.where(place_W >= first_W, own_W, 0)]


def left_out_order(length: int) -> np.ndarray:
    """Row i: vector i removed, the rest moved up to the end, the front a copy of the first that remains."""
    rows = []
    for i in range(length):
        remaining = [place for place in range(length) if place != i]
        rows.append([remaining[0], *remaining])
    return np.array(rows)


def order_changes(
    predict: Predict,
    context_BLD: np.ndarray,
    cos_B: np.ndarray,
    windows: Windows,
    shuffled_BL: np.ndarray | None,
    foreign_row_B: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The change of cos(prediction, target) against `cos_B`, by the name of what was done to the context.

    shuffled_BL: an order for every window; foreign_row_B: the row of the vector that replaces the last.
    None leaves that change out, and a context of one vector has no order to break.
    """
    length = windows.context_length
    target_BD = normalise(windows.vectors(windows.target_row_W))

    def change(broken_BLD: np.ndarray) -> np.ndarray:
        unit_BD = normalise(predict(broken_BLD, windows.target_row_W)[1])
        return np.einsum("bd,bd->b", unit_BD, target_BD) - cos_B

    changes = {name: np.full(len(windows), np.nan) for name in CHANGES}
    if length > 1:
        if shuffled_BL is not None:
            changes["shuffled"] = change(np.take_along_axis(context_BLD, shuffled_BL[:, :, None], axis=1))
        changes["reversed"] = change(context_BLD[:, ::-1])
        changes["left_out"] = np.mean([change(context_BLD[:, order]) for order in left_out_order(length)], axis=0)
    changes["repeated"] = change(context_BLD[:, [length - 1] * length])
    if foreign_row_B is not None:
        replaced_BLD = context_BLD.copy()
        replaced_BLD[:, -1] = windows.vectors(foreign_row_B)
        changes["foreign"] = change(replaced_BLD)
    return changes
