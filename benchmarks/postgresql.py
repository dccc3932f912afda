"""Measure how much faster workers queue digests on PostgreSQL than with one lock for all writers.

    python -m benchmarks.postgresql

Eight processes queue digests of 10 papers and 40 kB, each digest in a transaction of its own. Each
commit takes 5 ms longer, as on a disk that answers in this time, so that two cores do not decide.
Once every writer first takes the same advisory lock, as versions before decision 25 did.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import Connection, event, text

from benchmarks.figures import record, skip
from tests.support.factories import DAY, NOON, impression, paper, slate, subscriber
from tests.support.installation import queue_once
from triage import store
from triage.domain.records import OutgoingMessage
from triage.store import Database, open_database

N_WORKERS, N_EACH = 8, 100
N_PAPERS, N_FEATURES, N_BYTES = 10, 60, 40_000
COMMIT_S = 0.005
N_ROUNDS = 3

_start: Any = None


def main() -> None:
    url = _url()
    database = open_database(url)
    papers = _fill(database)
    took: dict[bool, list[float]] = {True: [], False: []}
    for n in range(2 * N_ROUNDS):
        locked = n % 2 == 0
        took[locked].append(_measure(url, papers, n, locked=locked))
        print(f"{'one lock' if locked else 'row locks'}: {took[locked][-1]:.2f} s")
    database.close()
    n_digests = N_WORKERS * N_EACH
    rates = {locked: n_digests / median(each) for locked, each in took.items()}
    record(
        "python -m benchmarks.postgresql",
        {
            "postgresql_one_lock_per_s": (
                round(rates[True], 1),
                "digests queued a second by 8 workers, with one lock for all writers",
            ),
            "postgresql_parallel_per_s": (
                round(rates[False], 1),
                "digests queued a second by 8 workers",
            ),
            "postgresql_parallel_ratio": (
                round(rates[False] / rates[True], 2),
                "times as fast as with one lock",
            ),
        },
    )


def _url() -> str:
    import pytest

    from tests.support import postgres

    try:
        return postgres.new_url(postgres.migrated())
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        skip(str(missing))
        raise


def _fill(database: Database) -> list[int]:
    """Store the papers and the subscribers; return the ids of the papers."""
    rows = [
        {
            "source": "arxiv", "source_id": f"2603.{n:05d}", "version": 1, "title": f"Paper {n}",
            "title_key": f"paper{n}", "abstract": "An abstract.", "authors": [], "categories": [],
            "listed_on": DAY, "first_seen_at": NOON, "updated_at": NOON,
        }
        for n in range(2 * N_ROUNDS * N_PAPERS)
    ]  # fmt: skip
    with database.write() as conn:
        store.jobs.begin_run(conn, DAY, NOON)
        for n in range(1, N_WORKERS * N_EACH + 1):
            email = f"reader.{n}@example.org"
            new = subscriber(n, email=email, public_id=f"{n:020x}")
            store.subscribers.add(conn, new, email_key=email, consent="", at=NOON)
        return store.papers.insert_papers(conn, rows)


def _measure(url: str, papers: list[int], n: int, *, locked: bool) -> float:
    """Let all workers queue the digests of one date; return how long it took, in seconds."""
    spawn = get_context("spawn")
    start = spawn.Barrier(N_WORKERS)
    shown = papers[n * N_PAPERS : (n + 1) * N_PAPERS]
    with ProcessPoolExecutor(N_WORKERS, spawn, _begin, (start,)) as pool:
        work = [pool.submit(_work, url, shown, n, worker, locked) for worker in range(N_WORKERS)]
        spans = [each.result() for each in work]
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def _begin(start: object) -> None:
    global _start
    _start = start


def _work(url: str, shown: list[int], n: int, worker: int, locked: bool) -> tuple[float, float]:
    """Queue the digests of some subscribers; return the monotonic times before and after."""
    database = open_database(url)
    if locked:
        event.listen(database.engine, "begin", _take_lock)
    event.listen(database.engine, "commit", lambda _: time.sleep(COMMIT_S))
    with database.read() as conn:
        everyone = store.subscribers.everyone(conn)[worker * N_EACH : (worker + 1) * N_EACH]
    features = np.zeros(N_FEATURES, dtype=np.float32)
    impressions = tuple(
        impression(place, paper=paper(id), features=features)
        for place, id in enumerate(shown, start=1)
    )
    on = DAY + timedelta(days=n)
    with database.write() as conn:
        run_id = store.jobs.begin_run(conn, on, NOON)
    _start.wait()
    begun = time.monotonic()
    for reader in everyone:
        public_id = f"{n:04x}{reader.id:016x}"
        chosen = slate(0, subscriber=reader, public_id=public_id, on=on, impressions=impressions)
        message_id = f"<d.{public_id}@papers.example.org>"
        message = OutgoingMessage(message_id, reader.email, b"x" * N_BYTES)
        with database.write() as conn:
            assert queue_once(conn, chosen, message, run_id, NOON)
    ended = time.monotonic()
    database.close()
    return begun, ended


def _take_lock(conn: Connection) -> None:
    if conn.get_execution_options().get("triage_write"):
        conn.execute(text("SELECT pg_advisory_xact_lock(127970252056421)"))


if __name__ == "__main__":
    main()
