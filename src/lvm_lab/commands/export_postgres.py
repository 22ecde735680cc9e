"""How `export-data STORE into=postgres` is read: settings as KEY=VALUE, as a reader of the same table has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from lvm_lab.commands import plain
from lvm_lab.config import binding
from lvm_lab.errors import UserError

if TYPE_CHECKING:
    from lvm_lab.jobs.export_postgres import Settings

SETTINGS = ("table", "id", "text", "vector", "article", "chunk", "dataset", "title", "tmd", "replace", "yes")
INTO = "into="


def main(words: Sequence[str]) -> int:
    about = "A store's chunks as rows of a table in the database that LVM_LAB_POSTGRES names."
    parser = plain.parser("export_data", about, "docs/postgres.md has the settings.")
    parser.add_argument("store", type=Path, metavar="STORE", help="a store's folder")
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE", help=f"into=postgres; {', '.join(SETTINGS)}")
    args = parser.parse_args(list(words))

    def body() -> None:
        from lvm_lab.jobs.export_postgres import export
        from lvm_lab.reporting import exporting

        settings = _settings(args.settings)
        yes = settings.pop("yes", None)
        if yes not in (None, "true", "false"):
            raise UserError(f"yes={yes} does not fit; set true or false.")
        typed = _typed(settings)
        with exporting.bar(typed.table) as advance:
            written = export(args.store, typed, lambda question: yes == "true" or plain.agreed(question), advance)
        exporting.show(written, typed.table)

    return plain.answer(body)


def _settings(words: Sequence[str]) -> dict[str, str | None]:
    """Key to value, None for null. Raises UserError for what is no setting."""
    settings: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key == "into" and value != "postgres":
            raise UserError(
                f"into={value} is nothing that a store is written into; take into=postgres, or OUT.npz layout=NAME."
            )
        if key != "into" and (not equals or key not in SETTINGS):
            raise UserError(binding.unknown_key(key if equals else "a word without =", SETTINGS))
        if key != "into":
            settings[key] = None if value == "null" else value
    return settings


def _typed(settings: dict[str, str | None]) -> Settings:
    from lvm_lab.data.postgres.columns import Columns
    from lvm_lab.jobs.export_postgres import Settings

    uses = {field.name for field in fields(Columns)}
    columns = Columns(**{key: value for key, value in settings.items() if key in uses})
    table = settings.get("table", Settings.table)
    if not table:
        raise UserError("table=null names no table; leave it out, or name one.")
    return Settings(table, columns, settings.get("replace"))
