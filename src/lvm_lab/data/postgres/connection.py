"""A connection to PostgreSQL, whose address comes from the environment and is shown nowhere.

What the client library says of a connection that it cannot make may hold pieces of the address, and with them of a
password that was mistyped into it. So it is never passed on: the lab says in words of its own what happened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from lvm_lab.errors import UserError

VARIABLE = "LVM_LAB_POSTGRES"
EXAMPLE = f"export {VARIABLE}=postgresql://USER:PASSWORD@HOST/DATABASE"
CONNECT_SECONDS = 30
# An address with a user or a password in it, or libpq's keywords.
ADDRESS = re.compile(r"postgres(ql)?://|://[^/\s]*@|\bpassword\s*=", re.IGNORECASE)
# Classes of SQLSTATE: values that a column does not take, and what is not there or not allowed.
MISTAKES = ("22", "42")
# What a server's refusal has in it, and what is said for it.
REFUSALS = {
    "password authentication failed": "refuses its user or password",
    "no password supplied": "asks for a password, and it has none",
    "no pg_hba.conf entry": "lets no such user in from this machine",
    'role "': "knows no such user",
    'database "': "has no such database",
    "timeout expired": f"did not answer within {CONNECT_SECONDS} seconds",
    "too many": "has no connection left to give",
}


def driver() -> Any:
    """psycopg 3; UserError where it is not installed."""
    try:
        return import_module("psycopg")
    except ImportError as error:
        raise UserError("psycopg is not installed; pip install lvm_lab[postgres] brings it.") from error


def check_settings(settings: Mapping[str, Any]) -> None:
    """UserError for a setting with an address or a password in it, which would be kept in histories and files."""
    for name, value in settings.items():
        if ADDRESS.search(str(value)):
            raise UserError(
                f"{name} holds an address or a password, which settings leave in files and histories; take it out and "
                f"give it in the environment, {EXAMPLE}."
            )


def connect() -> Any:
    """A connection in autocommit mode, UTF-8. Raises UserError, without a word of the address, where there is none."""
    psycopg = driver()
    address = os.environ.get(VARIABLE)
    if not address:
        raise UserError(f"{VARIABLE} is not set and says where the database is; {EXAMPLE}.")
    defaults = {"connect_timeout": CONNECT_SECONDS, "application_name": "lvm_lab"}
    try:
        given = psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.Error:
        raise UserError(
            f"{VARIABLE} is no address of a database; write it with %40 and the like for what is special in a "
            f"password, {EXAMPLE}."
        ) from None
    try:
        return psycopg.connect(**defaults | given | {"client_encoding": "utf8"}, autocommit=True)
    except (psycopg.Error, UnicodeError, ValueError) as error:
        reason = next((words for part, words in REFUSALS.items() if part in str(error)), "cannot be reached")
        raise UserError(f"the database that {VARIABLE} names {reason}; set it right, {EXAMPLE}.") from None


@contextmanager
def telling(act: str, way_out: str, mistaken: str | None = None) -> Iterator[None]:
    """UserError for what the server, or the way to it, answers to `act` (a verb with its object). mistaken: the way
    out where the server would refuse the same again; None: way_out."""
    psycopg = driver()
    try:
        yield
    except psycopg.Error as error:
        if _is_gone(psycopg, error):
            raise UserError(f"the database went away while the lab was to {act}; {way_out}") from None
        if mistaken is not None and str(error.sqlstate).startswith(MISTAKES):
            way_out = mistaken
        words = error.diag.message_primary or str(error)
        raise UserError(f"the database refuses to {act} ({' '.join(words.split())[:200]}); {way_out}") from None


def _is_gone(psycopg: Any, error: Any) -> bool:
    """Whether there is no server on the other side any more: shut down, crashed, or the connection cut."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith(("08", "57P0")) or state == "25P03"


def quoted(*names: str) -> str:
    """A name of the database's as SQL has it, part by part."""
    return ".".join('"' + name.replace('"', '""').replace("%", "%%") + '"' for name in names)
