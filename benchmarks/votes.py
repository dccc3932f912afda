"""Measure the import of votes from a file, and how long other writers wait for it.

    python -m benchmarks.votes

50,000 votes of 200 subscribers on 2,000 papers are imported into a SQLite database (`synchronous =
FULL`, WAL). Targets: 5,000 votes a second, and no transaction longer than 100 ms.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection

from benchmarks.figures import record
from tests.support.installation import add_reader, fetched, take_in
from triage import store
from triage.cli.app_context import freeze_garbage_collector
from triage.clock import SystemClock
from triage.domain.records import EventKind
from triage.store import Database, open_database
from triage.store.migrate import upgrade
from triage.subscribers.votes import import_votes

N = 50_000
N_SUBSCRIBERS, N_PAPERS = 200, 2_000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


class Timed(Database):
    """A database that measures how long each transaction keeps the others from writing."""

    longest_s = 0.0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as conn:
            started = time.perf_counter()
            yield conn
        self.longest_s = max(self.longest_s, time.perf_counter() - started)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N
    rng = random.Random(10)  # noqa: S311 - no secret
    with TemporaryDirectory() as folder, closing(_opened(Path(folder))) as database:
        take_in(database, [fetched(k, authors=()) for k in range(1, N_PAPERS + 1)])
        readers = [add_reader(database, k) for k in range(1, N_SUBSCRIBERS + 1)]
        with database.read() as conn:
            papers = [store.papers.outside_id(paper) for paper in store.papers.iterate(conn)]
        lines = [
            json.dumps(
                {
                    "subscriber": rng.choice(readers).email,
                    "paper_id": rng.choice(papers),
                    "kind": rng.choice(list(EventKind)),
                    "at": (FIRST + timedelta(seconds=k)).isoformat(),
                }
            )
            for k in range(n)
        ]
        freeze_garbage_collector()  # as the command does
        database.longest_s = 0.0
        started = time.perf_counter()
        report = import_votes(database, lines, SystemClock())
        took_s = time.perf_counter() - started
    assert report.stored == n, report
    record(
        "python -m benchmarks.votes",
        {
            "votes_import_per_s": (round(n / took_s), f"votes a second, of {n:,} in a file"),
            "votes_import_longest_ms": (
                round(database.longest_s * 1000, 1),
                "ms, the longest transaction of an import of votes",
            ),
        },
    )


def _opened(folder: Path) -> Timed:
    database = open_database(f"sqlite:///{folder}/triage.db")
    upgrade(database)
    return Timed(database.engine, database._checkpointer)


if __name__ == "__main__":
    main()
