"""The machine's clock."""

from __future__ import annotations

from datetime import UTC

import pytest
import time_machine

from triage.clock import SystemClock


def test_now_is_aware_and_in_utc() -> None:
    with time_machine.travel("2026-03-02T12:00:00+02:00", tick=False):
        now = SystemClock().now()
    assert now.isoformat() == "2026-03-02T10:00:00+00:00"
    assert now.tzinfo is UTC


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
def test_no_time_to_sleep_returns_at_once(seconds: float) -> None:
    SystemClock().sleep(seconds)


def test_sleeping_takes_its_time() -> None:
    clock = SystemClock()
    before = clock.now()
    clock.sleep(0.01)
    assert (clock.now() - before).total_seconds() >= 0.005
