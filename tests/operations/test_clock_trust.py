"""A start with a clock that may be wrong waits for it, an hour at most."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import installed
from triage import store
from triage.operations.clock_trust import LONGEST_WAIT_S, ClockTrust, is_synchronized
from triage.store import Database


class Machine:
    """A machine that was started now, with a database in which NOON is the newest time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = StoppedClock(NOON)
        self.uptime_s = 5.0
        self.is_synchronized = False

    def start(self) -> ClockTrust:
        return ClockTrust(
            self.database, self.clock, lambda: self.uptime_s, lambda: self.is_synchronized
        )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with installed(tmp_path) as database:
        with database.write() as conn:
            run_id = store.jobs.begin_run(conn, DAY, NOON)
            store.jobs.reach_stage(conn, run_id, "queued", NOON)
        yield Machine(database)


@pytest.mark.parametrize(
    "off",
    [timedelta(0), timedelta(seconds=-30), timedelta(hours=5), timedelta(days=50)],
    ids=str,
)
def test_a_plausible_clock_is_believed_at_once(machine: Machine, off: timedelta) -> None:
    machine.clock.at += off
    assert machine.start()() == ""


WRONG = [timedelta(minutes=-2), timedelta(days=-1), timedelta(days=-20_000), timedelta(days=70)]


@pytest.mark.parametrize("off", WRONG, ids=str)
def test_a_doubtful_clock_is_believed_when_it_is_right_or_ntp_says_so(
    machine: Machine, off: timedelta
) -> None:
    machine.clock.at += off
    first, second = machine.start(), machine.start()
    assert "set the clock" in first()
    assert "set the clock" in second()
    machine.is_synchronized = True
    assert first() == ""
    machine.is_synchronized = False
    assert first() == ""
    assert second() != ""
    machine.clock.at = NOON + timedelta(minutes=1)
    assert second() == ""


@pytest.mark.parametrize("off", WRONG, ids=str)
def test_it_is_believed_after_an_hour_and_the_next_start_does_not_wait_for_the_same(
    machine: Machine, off: timedelta
) -> None:
    machine.clock.at += off
    trust = machine.start()
    machine.uptime_s += 0.0
    assert trust() != ""
    machine.uptime_s += LONGEST_WAIT_S - 1
    assert trust() != ""
    machine.uptime_s += 1
    assert trust() == ""
    if off < timedelta(0):
        assert machine.start()() == ""


def test_a_running_clock_that_jumps_months_ahead_is_not_believed_until_it_is_back(
    machine: Machine,
) -> None:
    trust = machine.start()
    assert trust() == ""
    machine.clock.at += timedelta(days=400)
    assert "was the last work" in trust()
    machine.clock.at -= timedelta(days=400)
    assert trust() == ""
    machine.clock.at += timedelta(days=400)
    assert trust() != ""
    machine.uptime_s += LONGEST_WAIT_S
    assert trust() == ""
    # It is not asked again what an hour has answered.
    assert trust() == ""


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400)], ids=str)
def test_a_running_clock_that_is_set_back_is_believed(machine: Machine, back: timedelta) -> None:
    trust = machine.start()
    assert trust() == ""
    machine.clock.at -= back
    assert trust() == ""


def test_a_new_installation_believes_its_clock(tmp_path: Path) -> None:
    with installed(tmp_path) as database:
        machine = Machine(database)
        assert machine.start()() == ""


def test_the_kernel_answers_or_says_that_it_does_not_know() -> None:
    assert is_synchronized() in {True, False}
