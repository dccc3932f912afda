"""The ticks go on, whatever somebody does to the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, cast

import apscheduler.schedulers.base
import pytest

from triage.operations import scheduler as module
from triage.operations.jobs import Schedule
from triage.operations.scheduler import Scheduler

STEPS = (
    timedelta(seconds=1),
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=400),
    # A machine without a clock of its own starts in 1970.
    timedelta(days=56 * 365),
)
# Only a test that fails waits so long.
LONGEST_WAIT_S = 20.0


class WallClock:
    """The clock of the machine, which anybody may set."""

    def __init__(self) -> None:
        self.error = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.error

    def sleep(self, seconds: float) -> None:
        raise AssertionError


class Counted:
    """What the scheduler calls; each call can be waited for."""

    def __init__(self) -> None:
        self.n_steps: Callable[[], int] = lambda: 0
        self.jobs: Callable[[], list[Any]] = list
        self.counts = {"tick": 0, "do_jobs": 0, "answer": 0, "stop": 0}
        self.may_end = threading.Event()
        self.may_end.set()
        self._changed = threading.Condition()

    def _count(self, name: str) -> None:
        with self._changed:
            self.counts[name] += 1
            self._changed.notify_all()

    def tick(self) -> None:
        self._count("tick")
        self.may_end.wait(LONGEST_WAIT_S)

    def do_jobs(self) -> None:
        self._count("do_jobs")

    def answer(self) -> None:
        self._count("answer")

    def stop(self) -> None:
        self._count("stop")

    def reaches(self, n: int) -> bool:
        """Wait until everything was called so often."""
        with self._changed:
            names = ("tick", "do_jobs", "answer")
            return self._changed.wait_for(
                lambda: all(self.counts[name] >= n for name in names), LONGEST_WAIT_S
            )

    def goes_on(self) -> bool:
        """Wait until everything was called twice more."""
        with self._changed:
            wanted = {name: n + 2 for name, n in self.counts.items() if name != "stop"}
            return self._changed.wait_for(
                lambda: all(self.counts[name] >= n for name, n in wanted.items()), LONGEST_WAIT_S
            )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    wall = WallClock()

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return wall.now().astimezone(tz)

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", Datetime)
    monkeypatch.setattr(module, "EVERY_S", 0.04)
    monkeypatch.setattr(module, "ANSWER_EVERY_S", 0.02)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    return wall


@pytest.fixture
def called(clock: WallClock) -> Iterator[Counted]:
    called = Counted()
    scheduler = Scheduler(cast("Schedule", called), called.answer, clock)
    scheduler.start()
    yield called
    scheduler.stop()
    assert called.counts["stop"] == 1


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_the_ticks_go_on_when_the_clock_is_set_back(
    clock: WallClock, called: Counted, step: timedelta
) -> None:
    assert called.goes_on()
    clock.error -= step
    assert called.goes_on()


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_the_ticks_go_on_when_the_clock_is_set_forward_and_back(
    clock: WallClock, called: Counted, step: timedelta
) -> None:
    assert called.goes_on()
    clock.error += step
    assert called.goes_on()
    clock.error -= step
    assert called.goes_on()


def test_a_clock_that_is_never_right_stops_nothing(clock: WallClock, called: Counted) -> None:
    for n in range(10):
        clock.error += timedelta(days=(-1) ** n * 40**n % 400)
        assert called.goes_on()


@pytest.fixture
def seldom_called(clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    """Yield what a scheduler has called once, and next in an hour."""
    monkeypatch.setattr(module, "EVERY_S", 3600)
    monkeypatch.setattr(module, "ANSWER_EVERY_S", 3600)
    called = Counted()
    scheduler = Scheduler(cast("Schedule", called), called.answer, clock)
    called.n_steps = lambda: scheduler._n_steps
    called.jobs = scheduler._threads.get_jobs
    scheduler.start()
    assert called.reaches(1)
    yield called
    scheduler.stop()


@pytest.mark.parametrize("step", [timedelta(seconds=3), *STEPS[1:]], ids=str)
@pytest.mark.parametrize("side", [1, -1])
def test_a_step_either_way_wakes_everything_at_once(
    clock: WallClock, seldom_called: Counted, step: timedelta, side: int
) -> None:
    """After a suspend, too: the machine's clock has gone on."""
    clock.error += side * step
    assert seldom_called.reaches(2)


def test_a_tick_that_runs_while_the_clock_is_set_is_done_again(
    clock: WallClock, seldom_called: Counted
) -> None:
    seldom_called.may_end.clear()
    clock.error += timedelta(hours=5)
    assert seldom_called.reaches(2)
    # APScheduler may see the step before the watcher does.
    while not seldom_called.n_steps():
        time.sleep(0.001)
    clock.error -= timedelta(hours=5)
    with seldom_called._changed:
        assert seldom_called._changed.wait_for(
            lambda: seldom_called.counts["answer"] >= 3, LONGEST_WAIT_S
        )
    assert seldom_called.counts["tick"] == 2
    seldom_called.may_end.set()
    assert seldom_called.reaches(3)


def test_a_run_that_is_planned_by_an_old_clock_is_planned_anew(seldom_called: Counted) -> None:
    """APScheduler may overwrite the time that was set when the clock was set back."""
    for job in seldom_called.jobs():
        job.modify(next_run_time=datetime.now(UTC) + timedelta(days=1))
    assert seldom_called.reaches(2)
