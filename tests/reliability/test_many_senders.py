"""Any number of planners and senders, frozen, killed and with wrong clocks: each digest once.

With an oracle, so that nothing is left to the window in which only the receiver knows.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from tests.support.factories import DAY
from tests.support.guarantees import Guarantee
from tests.support.installation import rows
from tests.support.mail_rig import fast_database, fill
from tests.support.senders import (
    IN_A_NAMESPACE,
    Senders,
    forking,
    has_namespaces,
    sink,
    taken,
)
from triage import store
from triage.domain.records import MessageState as State
from triage.store import Database

LEASE_S = 1.0
AHEAD_S = 3600.0


@dataclass
class Office:
    """Planners and senders that are started again whenever they were killed."""

    senders: Senders
    told: dict[str, Any]
    pids: list[tuple[int, str]] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def start(self, what: str, ahead_s: float = 0.0) -> None:
        arguments = self.told[what] | {"ahead_s": ahead_s}
        self.pids.append((self.senders.start(f"tests.support.senders.{what}", **arguments), what))

    def disturb(self, rng: random.Random) -> int | None:
        """Do something to one of them; return the one that is frozen now, if that was it."""
        what_happens = rng.choice(["freeze", "kill", "clock"])
        self.done[what_happens] += 1
        pid, what = self.pids[rng.randrange(len(self.pids))]
        if what_happens == "freeze":
            os.kill(pid, signal.SIGSTOP)
            return pid
        self.pids.remove((pid, what))
        self.senders.kill(pid)
        self.start(what, AHEAD_S if what_happens == "clock" else 0.0)
        return None

    def stop(self) -> None:
        for pid, _ in self.pids:
            self.senders.kill(pid)


def held_by(database: Database, pid: int) -> int:
    """Return how many messages are in the hands of a process."""
    with database.read() as conn:
        in_flight = store.messages.in_flight(conn)
    return sum(f"/{pid}/" in (message.lease_owner or "") for message in in_flight)


@pytest.mark.guarantee("R16")
def test_whatever_happens_to_planners_and_senders_each_digest_comes_once(
    guarantee: Guarantee,
) -> None:
    n_rounds, n_readers, n_days = (300, 60, 60) if guarantee.full else (6, 20, 4)
    rng = random.Random(16)  # noqa: S311 - a test's own dice
    take_overs: list[float | None] = []
    with fast_database() as (database, url, folder):
        fill(database, n_readers)
        ledger = folder / "ledger"
        last_day = str(DAY + timedelta(days=n_days - 1))
        with sink(ledger, answer_s=0.01) as port:
            drain = {
                "url": url, "port": port, "mode": "oracle", "ledger": str(ledger),
                "lease_s": LEASE_S, "again_s": 0.1,
            }  # fmt: skip
            schedule = {"url": url, "lease_s": LEASE_S, "last_day": last_day}
            office = Office(forking(), {"drain": drain, "schedule": schedule})
            for _ in range(5):
                office.start("schedule")
            for _ in range(4):
                office.start("drain")
            try:
                for _ in range(n_rounds):
                    time.sleep(rng.uniform(0, 0.2))
                    frozen = office.disturb(rng)
                    if frozen is None:
                        continue
                    take_overs += _frozen_for(database, frozen, 2 * LEASE_S)
                _wait_for_the_end(database, n_readers * n_days)
            finally:
                office.stop()
        messages = rows(database, "messages")
        attempts = rows(database, "attempts")
        arrived = Counter(row["id"] for row in taken(ledger))
    assert len(messages) == n_readers * n_days
    assert {(each["subscriber_id"], each["on"]) for each in messages} == {
        (reader, DAY + timedelta(days=n))
        for reader in range(1, n_readers + 1)
        for n in range(n_days)
    }
    lost = [each for each in messages if each["state"] != State.SENT]
    assert [each["reason"] for each in lost if each["reason"] != "poison"] == []
    assert set(arrived) == {each["message_id"] for each in messages if each not in lost}
    assert max(arrived.values()) == 1
    # Of each claim's writes one was accepted: no epoch settled twice.
    settled = Counter((each["message_id"], each["number"]) for each in attempts)
    assert max(settled.values()) == 1
    sent = Counter(each["message_id"] for each in attempts if each["outcome"] == "sent")
    assert max(sent.values()) == 1
    took_s = [took for took in take_overs if took is not None]
    assert max(took_s, default=0.0) <= 2 * LEASE_S + 1
    guarantee.record(
        rounds=n_rounds,
        digests=len(messages),
        frozen=office.done["freeze"],
        killed=office.done["kill"],
        clocks_an_hour_ahead=office.done["clock"],
        lost=0,
        duplicates=0,
        given_up_as_poison=len(lost),
        taken_over_from_the_frozen=len(took_s),
        frozen_in_a_transaction=len(take_overs) - len(took_s),
        longest_take_over_s=round(max(took_s, default=0.0), 2),
        lease_s=LEASE_S,
    )


@pytest.mark.guarantee("R16")
@pytest.mark.skipif(not has_namespaces(), reason="needs PID namespaces")
@pytest.mark.sqlite("the socket of the server is not open to the users of a namespace")
def test_two_containers_with_one_host_name_and_process_id_send_each_digest_once(
    guarantee: Guarantee,
) -> None:
    """Nobody knows what arrived, so a message that is taken from a living sender comes twice."""
    n_rounds = 200 if guarantee.full else 2
    containers = [Senders(IN_A_NAMESPACE) for _ in range(2)]
    try:
        with fast_database() as (database, url, folder):
            ledger = folder / "ledger"
            with sink(ledger, answer_s=0.05) as port:
                drain = {"url": url, "port": port, "connections": 2}
                for n in range(n_rounds):
                    fill(database, 8, first=8 * n)
                    pids = [
                        each.start("tests.support.senders.drain", **drain) for each in containers
                    ]
                    # Threads take numbers, too, and how many there are depends on the load. So only
                    # the first round of each half is sure.
                    if n in (0, n_rounds // 2):
                        assert (pids[0] == pids[1]) is (n == 0)
                    for each, pid in zip(containers, pids, strict=True):
                        assert each.wait(pid) == 0
                    if n == n_rounds // 2 - 1:
                        # From now on, neither has a process with the number of the other.
                        for _ in range(50):
                            containers[1].run("gc.collect")
            messages, attempts = rows(database, "messages"), rows(database, "attempts")
            arrived = Counter(row["id"] for row in taken(ledger))
    finally:
        for each in containers:
            each.close()
    assert Counter(each["state"] for each in messages) == {State.SENT: 8 * n_rounds}
    assert len(arrived) == 8 * n_rounds
    assert max(arrived.values()) == 1
    assert {each["outcome"] for each in attempts} == {"sent"}
    guarantee.record(rounds=n_rounds, digests=len(messages), duplicates=0, held=0)


def _frozen_for(database: Database, pid: int, seconds: float) -> list[float | None]:
    """Leave a process frozen that may hold messages.

    Returns:
        After how long others had taken over what it held; nothing if it held none; None if it was
        frozen in the middle of a transaction: SQLite lets nobody else write until that ends.
    """
    took: list[float | None] = []
    started = time.monotonic()
    if held_by(database, pid):
        while held_by(database, pid) and time.monotonic() - started < 3 * seconds:
            time.sleep(0.02)
        passed = time.monotonic() - started
        took = [None if passed > seconds and _nobody_may_write(database) else passed]
    time.sleep(max(seconds - (time.monotonic() - started), 0))
    os.kill(pid, signal.SIGCONT)
    return took


def _nobody_may_write(database: Database) -> bool:
    with closing(sqlite3.connect(str(database.engine.url.database), timeout=1)) as conn:
        try:
            conn.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        conn.rollback()
    return False


def _wait_for_the_end(database: Database, n: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with database.read() as conn:
            waiting = store.messages.in_states(
                conn, [State.RENDERED, State.CLAIMED, State.IN_DOUBT, State.DEFERRED]
            )
            ended = store.messages.in_states(conn, [State.SENT, State.FAILED])
        if not waiting and len(ended) == n:
            return
        time.sleep(0.1)
    pytest.fail(f"{len(waiting)} still wait, {len(ended)} of {n} have ended")
