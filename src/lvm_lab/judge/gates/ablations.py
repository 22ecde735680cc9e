"""Gate C: what the prediction loses when the context is broken, and that it needs no more than the last vector's place.

5CAT is a test of five vectors, and its thresholds are for breaking five: in a longer context the last five are
shuffled, reversed and left out.

Shape suffixes: B windows, W windows of the whole sample, L context length, R the last places of it, D vector dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import Number
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.gate import Gate, Predict, Slice

CHANGES = ("shuffled", "reversed", "left_out", "repeated", "foreign")
# Unjudged, of contexts longer than REACH.
WHOLE = ("shuffled_whole", "reversed_whole")
# Places at the context's end whose order is broken.
REACH = 5


class OrderAblations(Gate):
    """The change of cos(prediction, target) when the context is broken in five ways.

    Beside them, and held against no threshold: what breaking the whole order of a context longer than five does. A
    window would need 16 forwards for both, so that every second one of the sample is shuffled as a whole, beginning
    with the first, and the others are reversed: 15 forwards at most.
    """

    letter = "C"
    name = "order ablations"
    at_most = CHANGES
    lead = "repeated"

    def draw(self, sample: Windows, seed: int) -> dict[str, np.ndarray]:
        """order_WR: a derangement of every window's last places; foreign_row_W: the row of another document's last
        vector. even_W, whole_WL: which windows are shuffled as a whole, and how, where any context is longer than five.
        """
        length_W, length = sample.length_W, sample.context_length
        draws = {"order_WR": _orders(np.minimum(length_W, REACH), min(length, REACH), seed)} if length > 1 else {}
        if length > REACH:
            even_W = np.arange(len(sample)) % 2 == 0
            draws |= {"even_W": even_W, "whole_WL": _orders(np.where(even_W, length_W, 0), length, seed, stream=5)}
        partner_W = foreign_partners(sample.document_W, seed)
        return draws if partner_W is None else draws | {"foreign_row_W": sample.rows(0)[partner_W]}

    def measure(self, part: Slice, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        length = part.windows.context_length
        shuffled_BR = draws["order_WR"][:, : min(length, REACH)] if length > 1 else None
        changes = order_changes(
            part.predict, part.context_BLD, part.cos_B, part.windows, shuffled_BR, draws.get("foreign_row_W")
        )
        return changes | (whole_changes(part, draws["even_W"], draws["whole_WL"]) if length > REACH else {})

    def missing(self, numbers: Mapping[str, Number]) -> str:
        if not numbers["reversed"].windows:
            return "a context of one vector has no order"
        return "only one document: no other to take a vector from"


def _orders(length_W: np.ndarray, width: int, seed: int, stream: int = 1) -> np.ndarray:
    """A derangement of so many places for every window of two or more; -1 in the places behind them, up to `width`."""
    order_WL = np.full((len(length_W), width), -1)
    for length in np.unique(length_W[length_W > 1]).tolist():
        some = np.flatnonzero(length_W == length)
        order_WL[some, :length] = derangements(len(some), length, seed, stream)
    return order_WL


def derangements(count: int, length: int, seed: int, stream: int = 1) -> np.ndarray:
    """`count` random orders of `length` places in which none stays where it was, all equally likely."""
    if length < 2:
        raise ValueError(f"{length} place cannot be deranged")
    rng = np.random.default_rng([seed, stream])
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
    shuffled_BR: np.ndarray | None,
    foreign_row_B: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The change of cos(prediction, target) against `cos_B`, by the name of what was done to the context.

    The windows read one number of vectors. shuffled_BR: an order of the last places (of all, up to five) for every
    window; foreign_row_B: the row of the vector that replaces the last. None leaves that change out, and a context of
    one vector has no order to break.
    """
    length = windows.context_length
    kept_L, reach = np.arange(length - REACH), min(length, REACH)
    change = _change(predict, cos_B, windows)
    changes = {name: np.full(len(windows), np.nan) for name in CHANGES}
    if length > 1:
        if shuffled_BR is not None:
            order_BL = np.concatenate([np.tile(kept_L, (len(windows), 1)), len(kept_L) + shuffled_BR], axis=1)
            changes["shuffled"] = change(_ordered(context_BLD, order_BL))
        changes["reversed"] = change(context_BLD[:, [*kept_L, *range(length - 1, len(kept_L) - 1, -1)]])
        orders = left_out_order(length)[-reach:]
        changes["left_out"] = np.mean([change(context_BLD[:, order]) for order in orders], axis=0)
    changes["repeated"] = change(context_BLD[:, [length - 1] * length])
    if foreign_row_B is not None:
        replaced_BLD = context_BLD.copy()
        replaced_BLD[:, -1] = windows.inputs(foreign_row_B)
        changes["foreign"] = change(replaced_BLD)
    return changes


def whole_changes(part: Slice, even_B: np.ndarray, whole_BL: np.ndarray) -> dict[str, np.ndarray]:
    """The same where the whole context is out of order: shuffled by `whole_BL` in the even windows, reversed in the
    others, and NaN in the other half each."""
    order_BL = np.tile(np.arange(part.windows.context_length)[::-1], (len(even_B), 1))
    order_BL[even_B] = whole_BL[even_B, : part.windows.context_length]
    change_B = _change(part.predict, part.cos_B, part.windows)(_ordered(part.context_BLD, order_BL))
    return dict(zip(WHOLE, (np.where(even_B, change_B, np.nan), np.where(even_B, np.nan, change_B)), strict=True))


def _ordered(context_BLD: np.ndarray, order_BL: np.ndarray) -> np.ndarray:
    return np.take_along_axis(context_BLD, order_BL[:, :, None], axis=1)


def _change(predict: Predict, cos_B: np.ndarray, windows: Windows) -> Callable[[np.ndarray], np.ndarray]:
    """A broken context to what breaking it changed of cos(prediction, target)."""
    target_BD = normalise(windows.vectors(windows.target_row_W))

    def change(broken_BLD: np.ndarray) -> np.ndarray:
        unit_BD = normalise(predict(broken_BLD, windows.target_row_W)[1])
        change_B: np.ndarray = np.einsum("bd,bd->b", unit_BD, target_BD) - cos_B
        return change_B

    return change
