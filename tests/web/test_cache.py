"""What is kept is fresh, few, and never waited for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.fakes import StoppedClock
from triage.web.cache import TimedCache


def new(clock: StoppedClock, most: int = 1) -> TimedCache[str]:
    return TimedCache(clock, timedelta(seconds=5), most)


def test_it_is_made_once_while_it_is_fresh_and_anew_after_that() -> None:
    clock = StoppedClock()
    kept = new(clock)
    assert kept.get("home", lambda: "first") == "first"
    clock.sleep(4.9)
    assert kept.get("home", lambda: "second") == "first"
    clock.sleep(0.1)
    assert kept.get("home", lambda: "third") == "third"


def test_a_clock_that_was_set_back_makes_nothing_fresh_for_longer() -> None:
    clock = StoppedClock()
    kept = new(clock)
    kept.get("home", lambda: "first")
    clock.at -= timedelta(hours=1)
    assert kept.get("home", lambda: "second") == "second"


def test_who_comes_while_it_is_made_anew_gets_the_old_one() -> None:
    clock = StoppedClock()
    kept = new(clock)
    kept.get("home", lambda: "old")
    clock.sleep(9)
    seen: list[str] = []

    def make() -> str:
        seen.append(kept.get("home", lambda: "made twice"))
        return "new"

    assert kept.get("home", make) == "new"
    assert seen == ["old"]


def test_what_fails_is_tried_again_and_what_is_not_asked_for_makes_room() -> None:
    kept = new(StoppedClock(), most=2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: str(1 // 0))
    for about in ("a", "b", "a", "c"):
        kept.get(about, lambda about=about: about)  # type: ignore[misc]
    assert kept.get("a", lambda: "anew") == "a"
    assert kept.get("b", lambda: "anew") == "anew"
