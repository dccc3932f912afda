"""Senders are killed at every place and at any time, and no digest is lost or doubled unseen.

A campaign drains one outbox with senders that are killed one after the other: at each named place
equally often, with one connection so that a kill is of one message, and at random times, with four.
The receiver writes down what it takes before it says so. Then the books are compared.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support import databases
from tests.support.crash_places import DELIVERY, IN_THE_WINDOW
from tests.support.guarantees import Guarantee
from tests.support.mail_rig import fast_database, fill
from tests.support.senders import Senders, forking, sink, taken
from triage import store
from triage.clock import SystemClock
from triage.delivery.recovery import resolve
from triage.domain.records import MessageState as State
from triage.store import Database

MODES = ("oracle", "hold", "resend")
ENDED = {State.SENT, State.HELD, State.FAILED, State.CANCELLED, State.SKIPPED}
KILLED = -9
# How many messages a sender may pass before it is killed at a place.
STRIDE = 14
PER_CONNECTION = 4


@dataclass
class Campaign:
    """What happened: the receiver's book, the sender's book, and the kills."""

    mode: str
    n_digests: int
    kills: Counter[str] = field(default_factory=Counter)
    doubts_at: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    resends: int = 0
    n_taken: int = 0
    n_lost: int = 0
    duplicates: int = 0
    differing: int = 0
    unsound: int = 0
    held_after_resolving: int = 0

    @property
    def n_kills(self) -> int:
        return self.kills.total()

    @property
    def n_doubts(self) -> int:
        return self.doubts_at.total()


@cache
def campaign(mode: str, *, full: bool) -> Campaign:
    """Run a campaign; R9 and R10 look at the same ones."""
    # The long form is 12 places x 42 kills and, on SQLite, 200 at random times.
    each, n_random = (42, 0 if databases.on_postgres() else 200) if full else (1, 5)
    n_digests = 10_000 if full else 300
    rng = random.Random(f"{mode} {full}")  # noqa: S311 - a test's own dice
    plan: list[str] = [*DELIVERY * each, *["random"] * n_random]
    rng.shuffle(plan)
    with fast_database() as (database, url, folder):
        senders = forking()
        fill(database, n_digests)
        done = Campaign(mode, n_digests)
        ledger = folder / "ledger"
        with sink(ledger, answer_s=0.01) as port:
            told = {"url": url, "port": port, "mode": mode, "ledger": str(ledger)}
            _kill_all(database, senders, done, plan, rng, told)
            code = senders.run("tests.support.senders.drain", connections=4, **told)
            assert code == 0, "the last sender, which nobody killed, failed"
            _compare(database, ledger, done)
            if mode == "hold":
                resolve(database, SystemClock(), State.SENT)
                with database.read() as conn:
                    held = store.messages.in_states(conn, [State.HELD])
                    done.held_after_resolving = len(held)
    return done


def _kill_all(
    database: Database,
    senders: Senders,
    done: Campaign,
    plan: list[str],
    rng: random.Random,
    told: dict[str, object],
) -> None:
    known: set[tuple[int, int]] = set()
    while plan:
        place = plan.pop()
        if place == "random":
            pid = senders.start("tests.support.senders.drain", connections=PER_CONNECTION, **told)
            time.sleep(rng.uniform(0, 0.15))
            code = senders.kill(pid)
        elif place == "resumed":
            # Something is left behind first, by a kill that is one too many of its place.
            _kill_at("claimed", 1, senders, done, told)
            code = _kill_at(place, 1, senders, done, told)
        else:
            code = _kill_at(place, rng.randint(1, STRIDE), senders, done, told)
        assert code == KILLED, f"a sender that was to be killed at {place} ended with {code}"
        done.kills["random"] += place == "random"
        with database.read() as conn:
            doubted = store.messages.in_states(conn, [State.IN_DOUBT])
            if database.is_file and conn.scalar(text("PRAGMA integrity_check")) != "ok":
                done.unsound += 1
        new = {(message.id, message.lease_epoch) for message in doubted} - known
        known |= new
        done.doubts_at[place] += len(new)


def _kill_at(
    place: str, nth: int, senders: Senders, done: Campaign, told: dict[str, object]
) -> int:
    done.kills[place] += 1
    return senders.run("tests.support.senders.drain", kill_at=f"{place}:{nth}", **told)


def _compare(database: Database, ledger: Path, done: Campaign) -> None:
    by_id: dict[str, list[dict[str, object]]] = {}
    for row in taken(ledger):
        by_id.setdefault(str(row["id"]), []).append(row)
    with database.read() as conn:
        rows = store.messages.in_states(conn, list(State))
        for listed in store.messages.listing(conn):
            done.reasons[listed["reason"]] += 1
    assert len(rows) == done.n_digests
    for row in rows:
        done.states[row.state] += 1
        done.resends += row.resends
        arrived = by_id.pop(row.message_id, [])
        done.n_taken += bool(arrived)
        accounted = row.state in ENDED and (bool(arrived) or row.state is not State.SENT)
        done.n_lost += not accounted
        done.duplicates += max(len(arrived) - 1, 0)
        done.differing += len({(each["sha256"], each["date"]) for each in arrived}) > 1
    assert not by_id, "the receiver has what nobody sent"


def _told(done: Campaign) -> str:
    return f"{done}"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.guarantee("R9")
def test_whatever_kills_the_senders_no_digest_is_lost(mode: str, guarantee: Guarantee) -> None:
    done = campaign(mode, full=guarantee.full)
    where = "postgresql" if databases.on_postgres() else "sqlite"
    guarantee.record(
        **{
            f"{where}_{mode}_digests": done.n_digests,
            f"{where}_{mode}_kills_at_places": done.n_kills - done.kills["random"],
            f"{where}_{mode}_kills_at_random": done.kills["random"],
            f"{where}_{mode}_least_kills_at_a_place": min(done.kills[p] for p in DELIVERY),
            f"{where}_{mode}_silently_lost": done.n_lost,
            f"{where}_{mode}_integrity_failures": done.unsound,
            f"{where}_{mode}_given_up_as_poison": done.reasons["poison"],
        }
    )
    assert done.n_lost == 0, _told(done)
    assert done.unsound == 0, _told(done)
    assert set(done.states) <= {State.SENT, State.HELD, State.FAILED}, _told(done)
    assert set(done.kills) >= set(DELIVERY)
    if guarantee.full:
        assert min(done.kills[place] for place in DELIVERY) >= 20


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.guarantee("R10")
def test_a_digest_comes_twice_only_within_the_window_that_is_counted(
    mode: str, guarantee: Guarantee
) -> None:
    done = campaign(mode, full=guarantee.full)
    where = "postgresql" if databases.on_postgres() else "sqlite"
    in_window = sum(done.kills[place] for place in IN_THE_WINDOW)
    guarantee.record(
        **{
            f"{where}_{mode}_kills_in_the_window": in_window,
            f"{where}_{mode}_in_doubt_after_a_kill": done.n_doubts,
            f"{where}_{mode}_duplicates": done.duplicates,
            f"{where}_{mode}_duplicates_that_differ": done.differing,
            f"{where}_{mode}_held": done.states[State.HELD],
        }
    )
    # With one connection each kill in the window leaves one message in doubt, any other none.
    for place in DELIVERY:
        expected = done.kills[place] if place in IN_THE_WINDOW else 0
        assert done.doubts_at[place] == expected, (place, _told(done))
    assert done.differing == 0, _told(done)
    if mode == "resend":
        assert done.duplicates <= in_window + PER_CONNECTION * done.kills["random"]
        assert done.duplicates <= done.resends <= done.n_doubts, _told(done)
    else:
        assert done.duplicates == 0, _told(done)
    if mode == "oracle":
        assert done.states[State.HELD] == 0, _told(done)
    if mode == "hold":
        assert done.states[State.HELD] == done.n_doubts, _told(done)
        assert done.held_after_resolving == 0
