"""Says whether mail may go now: only from a sound database that agrees with the sent journal.

Before the first mail of a process the database's file is checked, compared with the journal, and
the books of the last days are read. Before every drain the disk must have room for what follows
the last answer of a receiver, for then it is too late to find that nothing can be written down; and
nothing of the set-up may be red, for mail that receivers cannot trust harms the name it goes under.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog

from triage import store
from triage.audit import audit
from triage.errors import DatabaseError
from triage.journal import Journal
from triage.ports import Clock
from triage.reconcile import disagreement
from triage.records import SubscriberState
from triage.store import Database, figures, health

log = structlog.get_logger()

LEAST_FREE = 500_000_000
"""Bytes; below them nothing is sent."""
# A message may be written as often: as it is, and in the log that is written ahead.
TIMES_MIME = 2
QUICKLY = timedelta(days=3)

SET_UP = "set-up"
"""The hold that stands while something of the set-up is red."""


def warn_of_old_sqlite(database: Database) -> None:
    """Say once that this SQLite has a fault that another program could bring about."""
    with database.read() as conn:
        name, version = health.server_version(conn)
    if name == "SQLite" and version < health.SOUND_SQLITE:
        log.warning(
            "an old SQLite: let no other program write to the database, and keep back-ups",
            version=".".join(map(str, version)),
            sound=".".join(map(str, health.SOUND_SQLITE)),
        )


class Clearance:
    """Looks before mail is sent.

    Args:
        free: returns how many bytes are free where a path lies.
        red: says what of the set-up keeps mail back; "" if nothing does.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        clock: Clock,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        red: Callable[[], str] = lambda: "",
    ) -> None:
        self._red = red
        self._database = database
        self._journal = journal
        self._clock = clock
        self._free = free
        self._looked = False

    def refusal(self) -> str:
        """Return why nothing may be sent now and what to do; "" if all is well.

        Raises:
            DatabaseError: the database or the journal cannot be read at all.
        """
        if not self._looked:
            why = self._damage() or disagreement(self._database, self._journal, self._clock)
            if why:
                return why
            self._audit()
            self._looked = True
        return self._no_room() or self._unfit()

    def _unfit(self) -> str:
        """Hold all mail while the set-up is red and there is somebody to send to."""
        with self._database.read() as conn:
            held = store.holds.reasons(conn).get(SET_UP, "")
            anybody = store.messages.waiting_bytes(conn) or (
                figures.subscribers_by_state(conn).get(SubscriberState.ACTIVE)
            )
        red = self._red() if anybody else ""
        why = red and (
            f"what mail depends on is not in order: {red}. `triage doctor` looks again, and"
            " `triage run --force` sends all the same"
        )
        if why != held:
            with self._database.write() as conn:
                store.holds.lift(conn, SET_UP)
                if why:
                    store.holds.place(conn, SET_UP, why, self._clock.now())
        return why

    def _damage(self) -> str:
        with self._database.read() as conn:
            damage = health.damage(conn)
        if not damage:
            return ""
        return (
            f"the database is damaged ({damage[0]}): stop triage, run `triage db restore` with the"
            " newest back-up, and `triage outbox reconcile`"
        )

    def _audit(self) -> None:
        since = self._clock.now().date() - QUICKLY
        for fault in audit(self._database, since=since).faults:
            log.error(fault.what, ids=list(fault.ids[:5]), n=len(fault.ids), do=fault.do)

    def _no_room(self) -> str:
        with self._database.read() as conn:
            n_bytes = store.messages.waiting_bytes(conn)
        if not n_bytes:
            return ""
        needed = max(LEAST_FREE, TIMES_MIME * n_bytes)
        folder = self._journal.path.parent
        try:
            free = self._free(folder)
        except OSError as error:
            raise DatabaseError(f"{folder} cannot be looked at: {error.strerror}") from error
        if free >= needed:
            return ""
        return (
            f"the disk of {folder} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are"
            " wanted before mail is sent: make room, then it goes by itself"
        )
