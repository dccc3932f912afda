"""Whoever leaves gets nothing that was not already on its way at that moment."""

from __future__ import annotations

import random
import time

import pytest

from tests.support.guarantees import Guarantee
from tests.support.mail_rig import fast_database, fill, message_id
from tests.support.senders import forking, sink, taken
from triage import store
from triage.clock import SystemClock
from triage.domain.records import MessageState as State
from triage.domain.records import SubscriberState
from triage.store import Database

ON_ITS_WAY = {State.IN_DOUBT, State.SENT}


def leave(database: Database, reader: int, how: str) -> State:
    """Let a reader leave; return how their message stood at that very moment."""
    with database.write() as conn:
        store.subscribers.lock(conn, [reader])
        [message] = store.messages.in_states(conn, list(State), [message_id(reader)])
        now = SystemClock().now()
        if how == "erased":
            store.subscribers.erase(conn, reader)
        elif how == "suppressed":
            store.suppressions.add(conn, message.recipient, "complaint", now)
        else:
            store.messages.cancel_waiting(conn, reader, how, now)
            store.subscribers.set_state(conn, reader, SubscriberState(how), now)
    return message.state


@pytest.mark.guarantee("R15")
def test_nothing_goes_to_whoever_has_left_before_the_final_dot(guarantee: Guarantee) -> None:
    n, n_leaving = (10_000, 1000) if guarantee.full else (400, 60)
    rng = random.Random(15)  # noqa: S311 - a test's own dice
    leaving = rng.sample(range(1, n + 1), n_leaving)
    senders, stood = forking(), {}
    with fast_database() as (database, url, folder):
        fill(database, n)
        ledger = folder / "ledger"
        with sink(ledger, answer_s=0.005) as port:
            told = {"url": url, "port": port, "connections": 4}
            pid = senders.start("tests.support.senders.drain", **told)
            # Those who leave do so about when it is their turn: before, while, and after.
            moments = sorted((reader + rng.gauss(-4, 6), reader) for reader in leaving)
            with ledger.open("rb") as book:
                n_taken = 0
                for moment, reader in moments:
                    while n_taken < moment and senders.lives(pid):
                        n_taken += book.read().count(b"\n")
                        time.sleep(0.0005)
                    how = rng.choice(["unsubscribed", "erased", "suppressed", "paused"])
                    stood[message_id(reader)] = leave(database, reader, how)
            assert senders.wait(pid) == 0
        arrived = {row["id"] for row in taken(ledger)}
    too_late = [id for id, state in stood.items() if state in ON_ITS_WAY]
    in_time = stood.keys() - set(too_late)
    assert not arrived & in_time
    assert len(arrived) == n - len(in_time)
    assert in_time
    assert too_late
    guarantee.record(
        digests=n,
        left_while_sending=n_leaving,
        left_in_time=len(in_time),
        in_doubt_or_sent_by_then=len(too_late),
        sent_to_whoever_had_left=len(arrived & in_time),
    )
