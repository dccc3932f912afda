"""Checks whether mail may be sent now.

Before the first mail of a process: the database file must be undamaged and agree with the sent
log; an audit of the last days only logs its faults. Before every drain: the disk must have room,
since the receiver's answer must be stored; and the set-up must have no red finding, since mail that
receivers cannot trust harms the reputation of the sender.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from triage import store
from triage.delivery.audit import audit
from triage.delivery.sent_log import SentLog
from triage.delivery.sent_log_check import check_sent_log
from triage.domain.protocols import Clock
from triage.domain.records import SubscriberState
from triage.errors import DatabaseError
from triage.store import Database, health, report_queries

log = structlog.get_logger()

LEAST_FREE = 500_000_000
"""Bytes; with less free space nothing is sent."""
# A message may be written twice: in the database file and in the write-ahead log.
TIMES_MIME = 2
AUDITED = timedelta(days=3)

SET_UP = "set-up"
"""The hold that is in place while the set-up has a red finding."""


def warn_if_sqlite_is_unsafe(database: Database) -> None:
    """Log a warning if this SQLite has a bug that can damage the database."""
    name, version = database.fetch(health.server_version)
    if name == "SQLite" and version < health.SOUND_SQLITE:
        log.warning(
            "an old SQLite: let no other program write to the database, and keep back-ups",
            version=".".join(map(str, version)),
            sound=".".join(map(str, health.SOUND_SQLITE)),
        )


@dataclass
class Preflight:
    """The checks before mail is sent.

    Attributes:
        free: returns the free bytes on the disk of a path.
        red: returns which red findings of the set-up stop mail; "" if there are none.
    """

    database: Database
    journal: SentLog
    clock: Clock
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    red: Callable[[], str] = lambda: ""
    _is_checked: bool = False

    def check(self) -> str:
        """Place or lift holds; return why nothing may be sent now and what to do, or "".

        Raises:
            DatabaseError: the database or the sent log cannot be read.
        """
        if not self._is_checked:
            why = self._damage() or check_sent_log(self.database, self.journal, self.clock)
            if why:
                return why
            self._audit()
            self._is_checked = True
        return self._check_room() or self._check_set_up()

    def _check_set_up(self) -> str:
        """Place a hold while the set-up is red and there is mail or an active subscriber."""
        with self.database.read() as conn:
            reason = store.sending_holds.reasons(conn).get(SET_UP, "")
            is_needed = store.messages.waiting_bytes(conn) or (
                report_queries.subscribers_by_state(conn).get(SubscriberState.ACTIVE)
            )
        red = self.red() if is_needed else ""
        why = red and (
            f"the set-up for mail is not in order: {red}. Run `triage doctor` to check again, or"
            " `triage run --force` to send in spite of this"
        )
        if why != reason:
            with self.database.write() as conn:
                store.sending_holds.lift(conn, SET_UP)
                if why:
                    store.sending_holds.place(conn, SET_UP, why, self.clock.now())
        return why

    def _damage(self) -> str:
        damage = self.database.fetch(health.damage)
        if not damage:
            return ""
        return (
            f"the database is damaged ({damage[0]}): stop triage, run `triage db restore` with the"
            " newest back-up, and `triage outbox reconcile`"
        )

    def _audit(self) -> None:
        since = self.clock.now().date() - AUDITED
        for fault in audit(self.database, since=since).faults:
            log.error(fault.what, ids=list(fault.ids[:5]), n=len(fault.ids), do=fault.do)

    def _check_room(self) -> str:
        n_bytes = self.database.fetch(store.messages.waiting_bytes)
        if not n_bytes:
            return ""
        needed = max(LEAST_FREE, TIMES_MIME * n_bytes)
        folder = self.journal.path.parent
        try:
            free = self.free(folder)
        except OSError as error:
            raise DatabaseError(
                f"the free space of {folder} cannot be read: {error.strerror}. Check that the"
                " folder exists and that this account may read it"
            ) from error
        if free >= needed:
            return ""
        return (
            f"the disk of {folder} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are"
            " needed before mail is sent: free some space, then the next drain sends it"
        )
