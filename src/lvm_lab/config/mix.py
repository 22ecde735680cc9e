"""Several places of vectors with their weights, as data.path lists them; no torch."""

from __future__ import annotations

from typing import Any

from lvm_lab.config import binding
from lvm_lab.errors import UserError

# The name under which weights stand in a run's content; they choose what training draws, and no part.
MIX = "mix"
KEYS = ("path", "weight")
# An epoch is as many times as long, and held in memory.
MOST = 1000


def paths_of(listed: Any) -> list[str]:
    """The places alone, of one text or of a list of texts and {path, weight}."""
    items = listed if isinstance(listed, list) else [listed]
    return [str(item.get("path") if isinstance(item, dict) else item) for item in items]


def weights_of(listed: str | list[str | dict[str, Any]], setting: str) -> list[tuple[str, float]]:
    """Each place with its weight, 1 where none is given.

    Raises UserError, with the setting's name, for what does not fit.
    """
    items = listed if isinstance(listed, list) else [listed]
    weighed = [_weighed(item, f"{setting}[{place}]") for place, item in enumerate(items)]
    if len(weighed) == 1 and isinstance(items[0], dict) and weighed[0][1] != 1:
        raise UserError(f"{setting} has a weight for one store alone; list the others too, or leave the weight out.")
    return weighed


def _weighed(item: str | dict[str, Any], place: str) -> tuple[str, float]:
    if not isinstance(item, dict):
        return item, 1.0
    for key in item:
        if key not in KEYS:
            raise UserError(binding.unknown_key(f"{place}.{key}", KEYS))
    path, weight = item.get("path"), item.get("weight", 1.0)
    if not binding.fits(path, str):
        raise UserError(f"{place} has no path; write {{path: FILE.npz, weight: 2}}.")
    if not binding.fits(weight, float) or not 0 < weight <= MOST:
        raise UserError(
            f"{place}.weight={weight!r} does not fit; give it a number above 0, {MOST} at most, 1 for every window "
            "once an epoch."
        )
    return str(path), float(weight)
