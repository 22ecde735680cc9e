"""The gates of 5CAT, one a file: `five_cat.gates` names those that judge; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lvm_lab.config.presets import GATES, Preset
from lvm_lab.errors import UserError
from lvm_lab.judge import options
from lvm_lab.judge.gate import Gate


def load(preset: Preset) -> tuple[Gate, ...]:
    """The preset's gates in their order. Raises UserError for one that does not exist, or two with one letter."""
    gates = tuple(_make(entry, f"five_cat.gates.{place}") for place, entry in enumerate(preset.gates))
    letters = [gate.letter for gate in gates]
    twice = sorted({letter for letter in letters if letters.count(letter) > 1})
    if twice:
        raise UserError(f"five_cat.gates has two gates {', '.join(twice)}; give each a letter of its own.")
    return gates


def alone(preset: Preset) -> int:
    """How many gates one part can pass without the other: VAL's halves."""
    return sum(not gate.needs_both_parts for gate in load(preset))


def check(preset: Preset) -> None:
    """Hold thresholds against the gates that they are for: all of them, and nothing else.

    The lab's own gates may keep theirs where `five_cat.gates` leaves them out. Raises UserError.
    """
    gates = load(preset)
    own = {gate.letter.lower(): gate for gate in gates}
    if preset.tool == "lnsp_compat" and preset.gates != list(GATES):
        raise UserError("five_cat.tool=lnsp_compat has its own five gates; leave five_cat.gates as it is.")
    shipped = [options.by_stem(__name__, stem, Gate)().letter.lower() for stem in GATES]
    thresholds = preset.thresholds
    _exactly(thresholds, own, "five_cat.thresholds", [letter for letter in shipped if letter not in own])
    for letter, gate in own.items():
        path = f"five_cat.thresholds.{letter}"
        if gate.needs_both_parts:
            _exactly(thresholds[letter], gate.directions, path)
            continue
        _exactly(thresholds[letter], ("val", "ood"), path)
        for part in ("val", "ood"):
            _exactly(thresholds[letter][part], gate.directions, f"{path}.{part}")


def _make(entry: Any, path: str) -> Gate:
    if isinstance(entry, str):
        return options.by_stem(__name__, entry, Gate, "five_cat.gates")()
    kind, arguments = options.by_target(entry, "judge.gates", path)
    return kind(**arguments)


def _exactly(node: Any, names: Iterable[str], path: str, optional: Iterable[str] = ()) -> None:
    keys = set(node) if isinstance(node, Mapping) else set()
    wrong = (keys ^ set(names)) - set(optional)
    if wrong:
        raise UserError(
            f"{path} needs exactly {', '.join(names)} (wrong or missing: {', '.join(sorted(map(str, wrong)))}); "
            "start from conf/five_cat/standard.yaml."
        )
