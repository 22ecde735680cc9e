"""Whether stores have the TMD codes that a model is to read, and what names those in a fingerprint."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence

from lvm_lab.data.store import Store
from lvm_lab.data.tmd import MISSING
from lvm_lab.errors import UserError

log = logging.getLogger(__name__)


def codes_content(store: Store) -> str | None:
    """A digest of a store's codes and their names, by which a run is another when they are; None without codes."""
    if store.codes_N is None or store.tmd is None:
        return None
    names = {key: value for key, value in store.tmd.recorded().items() if key != "by"}
    return hashlib.sha256(store.codes_N.tobytes() + json.dumps(names, sort_keys=True).encode()).hexdigest()


def check_codes(stores: Sequence[Store]) -> None:
    """UserError for stores without TMD codes, or of another table of names than the first; some missing are told."""
    first = stores[0]
    for store in stores:
        if store.codes_N is None or (store.codes_N == MISSING).all():
            raise UserError(
                f"data.tmd reads TMD codes and {store.name} has none; give its chunks codes with `lvm-lab tmd "
                "store=FOLDER`, or set data.tmd=null."
            )
        if store.tmd != first.tmd:
            raise UserError(
                f"data.tmd reads TMD codes and {store.name} has them by another table of names than {first.name}; give "
                "its chunks codes anew with `lvm-lab tmd`, by the same table."
            )
        missing = int((store.codes_N == MISSING).sum())
        if missing:
            log.warning("%d of %d chunks of %s have no TMD code", missing, len(store.codes_N), store.name)
