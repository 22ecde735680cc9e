"""What a data source is: a class that opens stores of vectors and says which of its settings are places and secrets.

The facts stand on the class, and its module imports no torch, so that a run's identity can be told without either
opening data or loading torch. A source of your own subclasses `Source` in any package of yours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lvm_lab.config.data import DataSettings
from lvm_lab.data.store import Store

if TYPE_CHECKING:
    from lvm_lab.types import Predictor


@dataclass(frozen=True)
class Opened:
    """A data source's open stores.

    content: what the vectors are, name to digest, whatever place they came from; it enters the fingerprint. The digest
        of a validation set of its own is named "val", that of out-of-domain vectors "ood"; all others are of what is
        split, but for "mix", the weights of several stores, which move no document. Two runs stand on the same ground,
        and their numbers compare, where these say that VAL is the same: see `lvm_lab.runs.identity.ground`. Names that
        begin with "member_" or "weights_" are an arch's.
    oracle: makes the best predictor that knows the rule, where there is one (device -> predictor).
    """

    store: Store
    content: dict[str, str]
    val_store: Store | None = None
    ood_store: Store | None = None
    oracle: Callable[[str], Predictor] | None = None


class Source(ABC):
    """`data=...` of a run: its constructor takes the settings of conf/data/<name>.yaml.

    places: settings that say where vectors lie (paths, hosts). They are no part of a run's fingerprint, and one that is
        a list is a set: its order counts for nothing.
    secrets: settings that open them (passwords, tokens). They are no part of it either, and no run's folder, checkpoint
        or logger gets to see them. Take them from the environment, `password: ${oc.env:PGPASSWORD}` in the option's
        YAML: a multirun writes its command line down.
    """

    places: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def open(self, cache: Path, settings: DataSettings) -> Opened:
        """Open the stores; raises UserError for what the user can mend.

        cache: a folder for what is made or imported, kept between runs.
        """
