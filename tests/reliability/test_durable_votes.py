"""A vote that was thanked for is there, whenever the web process is killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event, select

from tests.support.guarantees import Guarantee
from tests.support.paths import ROOT
from tests.support.web_world import World, new_crowd
from triage import store
from triage.domain.records import EventKind
from triage.store.tables import events
from triage.subscribers.votes import import_votes

BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "sec-fetch-site": "same-origin",
    "sec-fetch-user": "?1",
}
Vote = tuple[int, int, EventKind]
"""Subscriber and paper by id, and the kind."""


@dataclass
class Server:
    """A web process that comes back; `pids` are those that were there so far."""

    base_url: str
    pids: list[int] = field(default_factory=list)

    def read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.pids.extend(int(line) for line in process.stdout)

    def kill(self) -> bool:
        """Kill the process that serves now; False if it is being started anew."""
        for _ in range(500):
            if self.pids and self.answers():
                os.kill(self.pids[-1], signal.SIGKILL)
                return True
            time.sleep(0.01)
        return False

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.base_url}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(url: str) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.support.vote_server", url, str(port)]
    root = ROOT
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    server = Server(f"http://127.0.0.1:{port}")
    reader = threading.Thread(target=server.read, args=(process,), daemon=True)
    reader.start()
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


@dataclass
class Ledger:
    """What was sent, and what was thanked for, in the order of each sender."""

    sent: list[Vote] = field(default_factory=list)
    thanked: list[Vote] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)


def cast(world: World, server: Server, ledger: Ledger, readers: range, n: int, seed: int) -> None:
    """Cast votes of some readers, and again what was not thanked for, as people do."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    with httpx.Client(
        base_url=server.base_url, trust_env=False, timeout=30, headers=BROWSER
    ) as client:
        for _ in range(n):
            reader, position = chance.choice(readers), chance.randint(1, len(world.papers))
            kind = chance.choice([EventKind.VOTE_UP, EventKind.SAVE])
            claims = world.claims(position, kind, reader)
            path = "/v/" + world.keyring.sign("vote", claims)  # type: ignore[arg-type]
            vote = (world.readers[reader].id, world.papers[position - 1].id, kind)
            with ledger.guard:
                ledger.sent.append(vote)
            while True:
                try:
                    answer = client.post(path, data={"vote": kind})
                except httpx.TransportError:
                    time.sleep(0.02)
                    continue
                assert answer.status_code in {303, 503}
                if answer.status_code == 303:
                    break
            with ledger.guard:
                ledger.thanked.append(vote)


def stored(world: World) -> list[Vote]:
    columns = [events.c.subscriber_id, events.c.paper_id, events.c.kind]
    with world.db.read() as conn:
        rows = conn.execute(select(*columns).order_by(events.c.id)).all()
    return [(row[0], row[1], EventKind(row[2])) for row in rows]


@pytest.mark.guarantee("R22")
def test_no_vote_that_was_thanked_for_is_lost(tmp_path: Path, guarantee: Guarantee) -> None:
    n_votes, n_kills, n_senders = (5_000, 200, 4) if guarantee.full else (40, 2, 2)
    # So many readers that nobody votes as fast as what is no person.
    n_readers = max(n_votes, 20)
    world = new_crowd(tmp_path, n_readers, 2)
    world.clock.at = datetime.now(UTC)
    ledger, each = Ledger(), n_readers // n_senders
    chance = random.Random(22)  # noqa: S311 - a simulation
    with serving(world.db.engine.url.render_as_string(hide_password=False)) as server:
        senders = [
            threading.Thread(
                target=cast,
                args=(
                    world, server, ledger, range(k * each, (k + 1) * each), n_votes // n_senders, k,
                ),
            )
            for k in range(n_senders)
        ]  # fmt: skip
        for sender in senders:
            sender.start()
        killed, over = 0, time.monotonic() + 60 + n_votes
        while any(sender.is_alive() for sender in senders):
            assert time.monotonic() < over
            # Kills are spread over the votes, whatever the machine's speed.
            if killed < n_kills and len(ledger.thanked) * n_kills >= killed * n_votes:
                time.sleep(chance.uniform(0, 0.02))
                killed += server.kill()
            time.sleep(0.002)
        for sender in senders:
            sender.join()
        found = stored(world)
        last = {vote[:2]: vote for vote in found}
        # The same vote once more, from another device or with the back button, adds nothing.
        for subscriber, paper, kind in list(last.values())[:500]:
            claims = world.claims(paper, kind, subscriber - 1)
            path = "/v/" + world.keyring.sign("vote", claims)  # type: ignore[arg-type]
            for _ in range(100):
                try:
                    answer = httpx.post(
                        server.base_url + path,
                        data={"vote": kind},
                        headers=BROWSER,
                        trust_env=False,
                        timeout=30,
                    )
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            assert answer.status_code == 303
    assert killed == n_kills
    assert len(ledger.thanked) == n_votes
    assert stored(world) == found
    assert set(found) <= set(ledger.sent)
    for pair in {vote[:2] for vote in ledger.thanked}:
        # One sender votes for a reader, so that the order of thanks is that of the votes. A vote
        # repeated is one, and so is one that was stored before its thanks got lost.
        thanked = [vote[2] for vote in ledger.thanked if vote[:2] == pair]
        kept = [vote[2] for vote in found if vote[:2] == pair]
        changes = [k for at, k in enumerate(thanked) if at == 0 or thanked[at - 1] is not k]
        assert kept == changes
    guarantee.record(votes=n_votes, kills=killed, lost=0, not_asked_for=0, added_by_replays=0)


# -- votes from a file -----------------------------------------------------------------------------

N_IMPORTED = 120


def import_and_die(url: str, lines: list[str], at_statement: int) -> None:
    """Import votes in a process that is killed before its n-th statement."""
    from triage.clock import SystemClock
    from triage.store import open_database
    from triage.subscribers.votes import import_votes

    database = open_database(url)
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == at_statement:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(database.engine, "before_cursor_execute", count)
    import_votes(database, lines, SystemClock())


def test_an_import_that_was_killed_is_finished_by_running_it_again(tmp_path: Path) -> None:
    world = new_crowd(tmp_path, 3, 2)
    url = world.db.engine.url.render_as_string(hide_password=False)
    lines = [
        json.dumps(
            {
                "subscriber": world.readers[n % 3].email,
                "paper_id": store.papers.outside_id(world.papers[n % 2]),
                "kind": "vote_up",
                "at": f"2026-01-{1 + n // 24:02d}T{n % 24:02d}:00Z",
            }
        )
        for n in range(N_IMPORTED)
    ]
    context = multiprocessing.get_context("spawn")
    n_stored = [0]
    for at_statement in (3, 8, 12, 14, 99):
        process = context.Process(target=import_and_die, args=(url, lines, at_statement))
        process.start()
        process.join()
        assert process.exitcode == (0 if at_statement == 99 else -signal.SIGKILL)
        n_stored.append(len(stored(world)))
    # Some kills came between two blocks; what was stored before them stayed.
    assert n_stored == sorted(n_stored)
    assert 0 < n_stored[-2] < n_stored[-1] == N_IMPORTED
    again = import_votes(world.db, lines, world.clock)
    assert (again.stored, again.known, again.bad) == (0, N_IMPORTED, ())
