"""Processes that write to a database until they are killed, and say what was acknowledged.

What they say is appended to a file by one system call each. Who reads meanwhile, and even a kill,
can find half of it where it crosses a page of memory: only whole lines were said, and every next
one begins on a line of its own.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Acknowledged:
    """The file in which stands what came to be known outside."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __call__(self, **what: object) -> None:
        os.write(self._descriptor, f"\n{json.dumps(what)}\n".encode())


def acknowledged(path: Path, since: int = 0) -> list[dict[str, Any]]:
    """Return what stands in the file behind its first so many bytes."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(since)
        return [json.loads(line) for line in file if line.endswith(b"}\n")]


def mixed(*, url: str, said: str, first: int, often: bool) -> None:
    """Vote, subscribe and send, all at once and for ever.

    Args:
        first: a number that no process before had reached.
        often: carry over what was written ahead all the time, so that kills meet that, too.
    """
    from triage import store
    from triage.clock import SystemClock
    from triage.delivery.outbox import Outbox
    from triage.delivery.sender_context import SenderContext
    from triage.domain.records import EventKind, OutgoingMessage
    from triage.store import open_database
    from triage.store.engine import checkpoint

    if often:
        checkpoint.ENOUGH_BYTES, checkpoint.AT_MOST_EVERY_S = 50_000, 0.0
    database = open_database(url)
    tell = Acknowledged(said)

    def for_ever(act: Callable[[int], None]) -> None:
        n = first
        while True:
            n += 1
            act(n)

    def vote(n: int) -> None:
        with database.write() as conn:
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=1,
                    paper_id=1,
                    kind=EventKind.VOTE_UP,
                    at=NOON,
                    recorded_at=NOON,
                    evidence={"n": n},
                ),
            )
        tell(vote=n)

    def fetch(n: int) -> None:
        with database.write() as conn:
            store.sources.save_cursor(conn, f"source {n % 5}", str(n), NOON)
        tell(cursor=n)

    class Taking:
        name = "taking"

        def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
            about_to_end()
            return "taken"

        def delivered(self, _: str) -> bool | None:
            return None

        def close(self) -> None:
            pass

    def send(_: int) -> None:
        outbox = Outbox(
            SenderContext(
                database,
                Taking(),
                SystemClock(),
                owner=f"sender {os.getpid()}",
                is_gone=lambda _: True,
                ambiguous="resend",
                connections=2,
            )
        )
        sent = outbox.drain(lambda state: tell(state=str(state))).sent
        if not sent:
            threading.Event().wait(0.01)

    for act in (vote, fetch, send):
        threading.Thread(target=for_ever, args=(act,), daemon=True).start()
    tell(started=os.getpid())
    threading.Event().wait(60)


def ahead(*, url: str, said: str, n: int) -> None:
    """Write `n` rows ahead of the database, say how long that file was after each, and die."""
    import signal

    from triage import store
    from triage.store import open_database
    from triage.store.engine import checkpoint

    checkpoint.ENOUGH_BYTES = 2**40
    database = open_database(url)
    tell = Acknowledged(said)
    for k in range(n):
        with database.write() as conn:
            store.sources.save_cursor(conn, f"source {k}", "x" * (37 * k % 5000), NOON)
        tell(row=k, size=os.stat(f"{url.removeprefix('sqlite:///')}-wal").st_size)  # noqa: PTH116
    os.kill(os.getpid(), signal.SIGKILL)
