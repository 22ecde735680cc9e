"""The data source for a user's own vectors: .npz files, or stores in a folder or behind an address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lvm_lab.config.data import DataSettings
from lvm_lab.config.mix import MIX, weights_of
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.importers.npz import open_source
from lvm_lab.data.joined import JoinedStore, join_stores
from lvm_lab.data.source import Opened, Source
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError


@dataclass(frozen=True)
class Npz(Source):
    """path: the vectors that are split into train, val and test, of one source or of several that are trained on
    together, {path, weight} one that is drawn from so many times as often; val_path and ood_path stand as a whole.

    bank_path joins a sequence file to its documents, so that the offset sweep and the rollout
    become measurable. encoder names what made the vectors, where the file does not say.
    """

    places: ClassVar[tuple[str, ...]] = ("path", "val_path", "ood_path", "bank_path")

    path: str | list[str | dict[str, Any]] | None = None
    val_path: str | None = None
    ood_path: str | None = None
    bank_path: str | None = None
    encoder: str | None = None

    def open(self, cache: Path, settings: DataSettings) -> Opened:
        if not self.path:
            raise UserError("data=npz needs vectors to read: add data.path=FILE.npz.")
        listed = weights_of(self.path, "data.path")
        paths, weights = [path for path, _ in listed], [weight for _, weight in listed]
        if self.bank_path and len(paths) > 1:
            raise UserError("data.bank_path joins one sequence file to its documents; give one data.path with it.")
        store = join_stores([self._open(path, cache, settings, self.bank_path) for path in paths], weights)
        val = self._open(self.val_path, cache, settings) if self.val_path else None
        ood = self._open(self.ood_path, cache, settings) if self.ood_path else None
        stores = {"store": store, "val": val, "ood": ood}
        content = {name: s.content for name, s in stores.items() if s is not None}
        if isinstance(store, JoinedStore) and store.weights:
            content[MIX] = ", ".join(map(str, store.weights))
        return Opened(store, content, val, ood)

    def _open(self, path: str, cache: Path, settings: DataSettings, bank: str | None = None) -> Store:
        return open_source(
            path,
            cache,
            context_length=settings.context_length,
            min_context=settings.shortest,
            bank_path=Path(bank) if bank else None,
            contract=EncoderContract(encoder=self.encoder),
        )
