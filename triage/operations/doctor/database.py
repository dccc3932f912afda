"""Check the database and the files beside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from triage import store
from triage.delivery.recovery import REFUSALS
from triage.errors import ModelError, TriageError
from triage.operations.doctor.finding import (
    Check,
    Installation,
    Level,
    Result,
    not_applicable,
    ok,
    red,
    warning,
)
from triage.store import health

if TYPE_CHECKING:
    from triage.ranking.serving.model_store import ModelStore
    from triage.store import Database


def open_at_schema(installation: Installation) -> str:
    """Open the database, check its schema, and return the name and version of its program."""
    database = installation.database()
    file = database.file
    if file is not None and not file.exists():
        # Connecting would create it.
        raise TriageError(f"{file} does not exist")
    database.check_schema()
    name, number = database.fetch(health.server_version)
    return f"{name} {'.'.join(map(str, number))}"


def report_opening(opened: object) -> Result:
    if isinstance(opened, Exception):
        raise opened
    return ok(f"{opened}, at the schema of this program")


def checks(installation: Installation) -> list[Check]:
    database = installation.database()
    return [
        Check(
            "database version",
            partial(_sqlite_version, database),
            "use a Python that is built with a newer SQLite",
        ),
        Check(
            "database journal", partial(_journal, database), "check whether its folder is writable"
        ),
        Check(
            "database integrity",
            partial(_integrity, database),
            "restore the newest back-up; if only the time ran out, try again at a quiet hour",
            level_without_answer=Level.WARNING,
        ),
        Check(
            "database writable",
            partial(_writable, database),
            "find the program that has it locked, or give this account the right to write",
        ),
        Check("database place", partial(_place, database), "keep it on a disk of this machine"),
        Check("refusals", partial(_refusals, database), "try again"),
        Check(
            "models",
            partial(_models, database, installation.model_store),
            "run `triage train`, or restore models/",
            level_without_answer=Level.WARNING,
        ),
    ]


def _sqlite_version(database: Database) -> Result:
    name, number = database.fetch(health.server_version)
    if name != "SQLite":
        return not_applicable(f"{name} is not SQLite")
    if number < health.SOUND_SQLITE:
        wanted = ".".join(map(str, health.SOUND_SQLITE))
        return warning(
            "this SQLite can damage a database when two connections checkpoint at once",
            f"use a Python that is built with SQLite {wanted} or newer; keep back-ups until then",
        )
    return ok("no known fault")


def _journal(database: Database) -> Result:
    mode = database.fetch(health.journal_mode)
    if mode is None:
        return not_applicable("only SQLite has it")
    if mode != "wal":
        return warning(
            f"the journal mode is {mode!r}: readers and writers block each other",
            "keep the database on a local disk; no other program may change its journal mode",
        )
    return ok("write-ahead logging (WAL)")


def _integrity(database: Database) -> Result:
    damage = database.fetch(health.damage)
    if damage is None:
        return not_applicable("only SQLite has this check")
    if damage:
        return red(f"damaged: {damage[0]}", "stop triage and restore the newest back-up")
    return ok("sound")


def _writable(database: Database) -> Result:
    with database.write():
        return ok("yes")


def _place(database: Database) -> Result:
    file = database.file
    if file is None:
        return not_applicable("it is not a file on this machine")
    if file.stat().st_mode & 0o077:
        return warning(
            f"{file} has mail addresses, and other accounts can read it", f"chmod 600 {file}"
        )
    return ok("a file on this machine that only this account can read")


def _refusals(database: Database) -> Result:
    if why := database.fetch(store.sending_holds.reasons).get(REFUSALS, ""):
        return red(
            f"nothing is sent: {why}", "see `triage outbox list`, then `triage outbox resume`"
        )
    return ok("not so many that mail had to stop")


def _models(database: Database, model_store: Callable[[], ModelStore]) -> Result:
    history = database.fetch(store.model_versions.history)
    if not history:
        return ok("none yet: the first run fits an encoder")
    active = history[0]
    try:
        model_store().load_encoder(active.encoder_version)
        model_store().load_scorer(active.scorer_version)
    except ModelError as error:
        return warning(
            f"the active models cannot be loaded, so earlier ones are used: {error}",
            "restore the folder models/ from a back-up, or run `triage train`",
        )
    return ok(f"{active.scorer_version} with {active.encoder_version}")
