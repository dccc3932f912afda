"""What the arXiv source remembers: which days are open, and of which day an id must be."""

from __future__ import annotations

from datetime import date, timedelta

from triage.sources.arxiv.cursor import Day, DayProgress, State

WEDNESDAY, THURSDAY, FRIDAY = date(2025, 6, 25), date(2025, 6, 26), date(2025, 6, 27)
SATURDAY, MONDAY = date(2025, 6, 28), date(2025, 6, 30)


def _opened(state: State, feed_on: date, since: date | None = None) -> list[date]:
    state.open_missed(feed_on, since)
    return sorted(state.open)


def test_no_day_was_missed_before_the_first_fetch_or_over_a_week_end() -> None:
    assert _opened(State("feed"), FRIDAY) == []
    assert _opened(State("feed", feed_on=FRIDAY), MONDAY) == []
    assert _opened(State("feed", feed_on=FRIDAY), FRIDAY) == []
    assert _opened(State("feed", feed_on=MONDAY), FRIDAY) == []


def test_a_day_that_was_dealt_with_is_not_missed() -> None:
    assert _opened(State("feed", feed_on=WEDNESDAY, days={THURSDAY: Day()}), MONDAY) == [FRIDAY]


def test_after_a_long_absence_the_last_thirty_days_are_read() -> None:
    missed = _opened(State("feed", feed_on=date(2020, 1, 1)), SATURDAY)
    assert (len(missed), missed[-1]) == (30, FRIDAY)


def test_days_asked_for_are_read_once() -> None:
    state = State("feed")
    assert _opened(state, FRIDAY, WEDNESDAY) == [WEDNESDAY, THURSDAY]
    state.open.clear()
    assert _opened(state, FRIDAY, WEDNESDAY) == []
    assert _opened(state, FRIDAY, WEDNESDAY - timedelta(days=1)) == [WEDNESDAY - timedelta(days=1)]


def test_a_days_doubt_opens_it_once_the_feed_has_moved_on() -> None:
    state = State("feed", feed_on=FRIDAY, days={FRIDAY: Day(remark="a category lags")})
    assert _opened(state, FRIDAY) == []
    # What was replaced since stands with the newest day, which is read, too.
    state.days[MONDAY] = Day()
    assert _opened(state, MONDAY) == [FRIDAY, MONDAY]


def test_an_id_is_of_the_first_day_that_had_one_as_high() -> None:
    tops = {WEDNESDAY: "2506.20100", THURSDAY: "2506.20200", FRIDAY: "2506.20300"}
    state = State("feed", floor="2506.20000", days={on: Day(top=top) for on, top in tops.items()})
    ids = ["2506.19999", "2506.20050", "2506.20150", "2506.20200", "2506.20250", "hep-th/9901001"]
    days = [state.day_of(id, FRIDAY) for id in ids]
    # Nobody knows of Friday's ids on Friday: the highest before are the last day's.
    assert days == [None, WEDNESDAY, THURSDAY, THURSDAY, THURSDAY, None]
    state.floor = ""
    assert state.day_of("2506.20050", FRIDAY) is None


def test_a_cursor_is_opened_as_it_was_closed() -> None:
    state = State("feed", ("cs.LG",), feed_on=WEDNESDAY, first=WEDNESDAY, lag=1)
    state.set_expected(THURSDAY, [("cs.LG",), ()]).keys.add("2506.20001n")
    state.days[THURSDAY].waiting["2506.20001"] = 2, ("cs.LG",)
    state.open_missed(MONDAY, None)
    assert State.load(state.cursor(), "feed", ("cs.LG",)) == state
    assert State.load("{}", "feed") == State("feed")


def test_days_that_a_clock_ahead_has_opened_are_not_read_until_they_come() -> None:
    later = MONDAY + timedelta(days=400)
    state = State("feed", feed_on=FRIDAY)
    state.open = {FRIDAY: DayProgress(), later: DayProgress()}
    state.forget_old(MONDAY)
    assert list(state.open) == [FRIDAY]
