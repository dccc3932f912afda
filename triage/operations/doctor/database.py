"""Looks at the database and at what lies beside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from triage import store
from triage.errors import ModelError, TriageError
from triage.operations.doctor.finding import (
    Check,
    Installation,
    Level,
    Seen,
    not_applicable,
    ok,
    red,
    warning,
)
from triage.store import health
from triage.store.engine.file_system import network_file_system

if TYPE_CHECKING:
    from triage.domain.protocols import ModelStore
    from triage.operations.doctor.probes import Probes
    from triage.store import Database


def open_at_schema(installation: Installation) -> str:
    """Open the database and return the name and version of its program."""
    database = installation.database()
    file = health.file_of(database)
    if file is not None and not file.exists():
        # Looking must not create it.
        raise TriageError(f"{file} does not exist")
    database.check_schema()
    with database.read() as conn:
        name, number = health.server_version(conn)
    return f"{name} {'.'.join(map(str, number))}"


def opening(opened: object) -> Seen:
    if isinstance(opened, Exception):
        raise opened
    return ok(f"{opened}, at the schema of this program")


def checks(installation: Installation, probes: Probes) -> list[Check]:
    database = installation.database()
    return [
        Check(
            "database version",
            partial(_sqlite_version, database),
            "use a Python that is built with a newer SQLite",
        ),
        Check(
            "database journal", partial(_journal, database), "see whether its folder can be written"
        ),
        Check(
            "database integrity",
            partial(_integrity, database),
            "restore the newest back-up; if it only took too long, look again at a quiet hour",
            late=Level.WARNING,
        ),
        Check(
            "database writable",
            partial(_writable, database),
            "find the program that holds it, or give this account the right to write",
        ),
        Check(
            "database place", partial(_place, database, probes), "keep it on a disk of this machine"
        ),
        Check(
            "models",
            partial(_models, database, installation.workshop),
            "run `triage train`, or restore models/",
            late=Level.WARNING,
        ),
    ]


def _sqlite_version(database: Database) -> Seen:
    with database.read() as conn:
        name, number = health.server_version(conn)
    if name != "SQLite":
        return not_applicable(f"{name} is not SQLite")
    if number < health.SOUND_SQLITE:
        wanted = ".".join(map(str, health.SOUND_SQLITE))
        return warning(
            "this SQLite can damage a database when two connections checkpoint at once",
            f"use a Python that is built with SQLite {wanted} or newer; keep back-ups until then",
        )
    return ok("no known fault")


def _journal(database: Database) -> Seen:
    with database.read() as conn:
        mode = health.journal_mode(conn)
    if mode is None:
        return not_applicable("only SQLite has it")
    if mode != "wal":
        return warning(
            f"the journal is {mode!r}: readers and writers wait for each other",
            "keep the database on a local disk and let no other program change its journal mode",
        )
    return ok("written ahead (WAL)")


def _integrity(database: Database) -> Seen:
    with database.read() as conn:
        damage = health.damage(conn)
    if damage is None:
        return not_applicable("only SQLite has such a check")
    if damage:
        return red(f"damaged: {damage[0]}", "stop triage and restore the newest back-up")
    return ok("sound")


def _writable(database: Database) -> Seen:
    with database.write():
        return ok("yes")


def _place(database: Database, probes: Probes) -> Seen:
    file = health.file_of(database)
    if file is None:
        return not_applicable("no file of this machine")
    if file.stat().st_mode & 0o077:
        return warning(
            f"{file} holds addresses and can be read by other accounts", f"chmod 600 {file}"
        )
    try:
        kind = network_file_system(file, probes.mounts())
    except OSError:
        return ok("a file for this account only")
    if kind:
        return red(
            f"it lies on a network file system ({kind}), where SQLite's journal does not work",
            "move it to a disk of this machine, or use PostgreSQL",
        )
    return ok("a file on this machine, for this account only")


def _models(database: Database, workshop: Callable[[], ModelStore]) -> Seen:
    with database.read() as conn:
        history = store.model_versions.history(conn)
    if not history:
        return ok("none yet: the first run fits one")
    pair = history[0]
    try:
        workshop().load_encoder(pair.encoder_version)
        workshop().load_scorer(pair.scorer_version)
    except ModelError as error:
        return warning(
            f"what should serve cannot be loaded, so an earlier model serves: {error}",
            "restore the folder models/ from a back-up, or run `triage train`",
        )
    return ok(f"{pair.scorer_version} on {pair.encoder_version}")
