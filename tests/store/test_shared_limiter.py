"""The turns that processes share: one database, several owners."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import databases
from tests.support.factories import NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import rows
from triage.domain.protocols import Outcome, WaitReason
from triage.domain.request_limits import LONGEST_TURN, Rules
from triage.store import Database
from triage.store.shared_limiter import SharedRequestLimiter


class World:
    """Two processes before one database. `gone` are those that have ended."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = StoppedClock()
        self.gone: set[str] = set()
        self.one = self.turnstile("here/1/a")
        self.other = self.turnstile("here/2/b")

    def turnstile(self, owner: str, name: str = "arxiv") -> SharedRequestLimiter:
        return SharedRequestLimiter(
            self.database,
            self.clock,
            name,
            Rules(3.0, daily_requests=10),
            owner=owner,
            is_gone=self.gone.__contains__,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(databases.new_database(tmp_path))


def test_only_one_process_has_the_turn(world: World) -> None:
    assert world.one.acquire() is None
    busy = world.other.acquire()
    assert busy is not None
    assert busy.why is WaitReason.BUSY
    assert NOON < busy.until <= NOON + timedelta(seconds=1)


def test_what_one_process_learned_holds_for_all(world: World) -> None:
    world.one.acquire()
    held = world.one.release(Outcome.FAILED, 120.0)
    assert world.other.acquire() == held
    assert world.turnstile("here/3/c").acquire() == held
    world.clock.at = held.until
    assert world.other.acquire() is None


def test_failures_and_requests_are_counted_over_all_processes(world: World) -> None:
    for n in range(10):
        one = (world.one, world.other)[n % 2]
        assert one.acquire() is None
        world.clock.at = one.release(Outcome.FAILED, 3.0).until
    [standing] = rows(world.database, "request_limits")
    assert (standing["failures"], standing["n_asked"]) == (10, 10)
    closed = world.turnstile("here/3/c").acquire()
    assert closed is not None
    assert closed.why is WaitReason.SPENT


def test_the_turn_of_a_process_that_died_is_free_but_the_distance_counts_from_when_it_was_seen(
    world: World,
) -> None:
    world.one.acquire()
    world.clock.sleep(20)
    world.gone.add("here/1/a")
    closed = world.other.acquire()
    assert closed is not None
    assert closed.why is WaitReason.SPACED
    assert closed.until >= NOON + timedelta(seconds=20 + 3)
    world.clock.at = closed.until
    assert world.other.acquire() is None


def test_the_turn_of_one_who_cannot_be_known_about_ends_when_no_request_can_last_so_long(
    world: World,
) -> None:
    world.one.acquire()
    world.clock.at = NOON + LONGEST_TURN - timedelta(seconds=1)
    busy = world.other.acquire()
    assert busy is not None
    assert busy.why is WaitReason.BUSY
    world.clock.at = NOON + LONGEST_TURN
    closed = world.other.acquire()
    assert closed is not None
    assert closed.why is WaitReason.SPACED
    world.clock.at = closed.until
    assert world.other.acquire() is None


def test_who_comes_back_late_does_not_end_the_turn_of_another(world: World) -> None:
    world.one.acquire()
    world.clock.at = NOON + LONGEST_TURN
    closed = world.other.acquire()
    assert closed is not None
    world.clock.at = closed.until
    world.other.acquire()

    world.one.release(Outcome.FAILED, 60.0)

    third = world.turnstile("here/3/c")
    busy = third.acquire()
    assert busy is not None
    assert busy.why is WaitReason.BUSY
    world.other.release(Outcome.ANSWERED)
    held = third.acquire()
    assert held is not None
    assert held.until == world.clock.now() + timedelta(seconds=60)


def test_gates_do_not_wait_for_one_another(world: World) -> None:
    world.one.acquire()
    assert world.turnstile("here/1/a", "huggingface.co").acquire() is None


def test_asking_in_vain_writes_nothing(world: World) -> None:
    world.one.acquire()
    before = rows(world.database, "request_limits")
    world.other.acquire()
    assert rows(world.database, "request_limits") == before
