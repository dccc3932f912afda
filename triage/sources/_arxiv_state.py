"""What the arXiv source remembers between fetches: the cursor, opened and closed again.

Each announcement of a day is dealt with once, and then counts as exactly one of: in full from the
API, from the feed alone (and waiting for the API), or rejected. What is left is not read yet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from triage.announcements import announcement_days
from triage.records import SourceDay, Verdict

DAYS_KEPT: Final = 3
MISSED_DAYS: Final = 30
WAITING_DAYS: Final = 14
_FORM: Final = 1
_MOST_REJECTED: Final = 0.2


@dataclass
class Day:
    """One day's count.

    Attributes:
        keys: the announcements dealt with.
        expected: all announcements but replacements.
        full: those whose records came from the API.
        rejected: those that could not be used, and never will be.
        remark: why the feed itself may lack some; empty when nothing says so.
    """

    keys: set[str] = field(default_factory=set)
    expected: int = 0
    full: int = 0
    rejected: int = 0
    remark: str = ""


@dataclass
class State:
    """The cursor's content.

    Attributes:
        feed: the feed's address, to which `etag` and `modified` belong.
        feed_on: the day of the feed that was last read to its end.
        waiting: what is stored from the feed alone: id and day to the version announced.
    """

    feed: str
    etag: str = ""
    modified: str = ""
    feed_on: date | None = None
    days: dict[date, Day] = field(default_factory=dict)
    waiting: dict[tuple[str, date], int] = field(default_factory=dict)

    @classmethod
    def load(cls, cursor: str | None, feed: str) -> State:
        """Read a cursor; what is none of ours starts from the beginning, which loses nothing."""
        try:
            return cls._read(json.loads(cursor or ""), feed)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls(feed)

    @classmethod
    def _read(cls, content: Any, feed: str) -> State:
        if content["form"] != _FORM:
            return cls(feed)
        state = cls(
            feed,
            days={
                date.fromisoformat(on): Day(
                    set(keys.split()), int(expected), int(full), int(rejected), str(remark)
                )
                for on, (keys, expected, full, rejected, remark) in content["days"].items()
            },
            waiting={
                (str(id), date.fromisoformat(on)): int(version)
                for id, on, version in content["waiting"]
            },
        )
        if not {on for _, on in state.waiting} <= state.days.keys():
            raise ValueError("papers wait for days that are not there")
        if content["feed"] == feed:
            state.etag, state.modified = str(content["etag"]), str(content["modified"])
            state.feed_on = date.fromisoformat(content["feed_on"]) if content["feed_on"] else None
        return state

    def cursor(self) -> str:
        return json.dumps(
            {
                "form": _FORM,
                "feed": self.feed,
                "etag": self.etag,
                "modified": self.modified,
                "feed_on": self.feed_on.isoformat() if self.feed_on else None,
                "days": {
                    on.isoformat(): [
                        " ".join(sorted(day.keys)),
                        day.expected,
                        day.full,
                        day.rejected,
                        day.remark,
                    ]
                    for on, day in sorted(self.days.items())
                },
                "waiting": [
                    [id, on.isoformat(), version] for (id, on), version in self.waiting.items()
                ],
            },
            separators=(",", ":"),
        )

    def n_waiting(self, on: date) -> int:
        return sum(day == on for _, day in self.waiting)

    def expect(self, on: date, n_left: int) -> Day:
        """Open a day on which `n_left` announcements are still to be dealt with."""
        day = self.days.setdefault(on, Day())
        day.expected = day.full + day.rejected + self.n_waiting(on) + n_left
        return day

    def took(self, id: str, version: int) -> set[date]:
        """Note that the API gave a record, and return the days that it had been waited for."""
        days = {
            on for (waiting, on), due in self.waiting.items() if waiting == id and due <= version
        }
        for on in days:
            del self.waiting[id, on]
            self.days[on].full += 1
        return days

    def start_again(self, on: date) -> None:
        """Forget a day, so that the next fetch reads all of it."""
        self.days.pop(on, None)
        self.waiting = {key: due for key, due in self.waiting.items() if key[1] != on}

    def seen_around(self, on: date) -> set[str]:
        """Return what was announced on the days around `on`."""
        return {key for day, known in self.days.items() if day != on for key in known.keys}

    def forget_old(self, on: date) -> None:
        """Drop what no later fetch needs."""
        oldest = on - timedelta(days=WAITING_DAYS)
        self.waiting = {key: due for key, due in self.waiting.items() if key[1] >= oldest}
        for day in sorted(self.days)[:-DAYS_KEPT]:
            if self.n_waiting(day):
                self.days[day].keys.clear()
            else:
                del self.days[day]

    def is_failed(self, on: date) -> bool:
        """Tell whether so much of a day was unusable that the source itself must be wrong."""
        day = self.days.get(on)
        return day is not None and day.rejected > _MOST_REJECTED * day.expected

    def missed(self, source: str, feed_on: date) -> list[SourceDay]:
        """Return the days announced between the feed last read and that of `feed_on`.

        arXiv's feed has one day only, so nobody can read them any more. None once `feed_on` is
        noted as read.
        """
        if self.feed_on is None or self.feed_on >= feed_on:
            return []
        one = timedelta(days=1)
        note = f"not read: the feed had moved on to {feed_on}"
        return [
            SourceDay(source, on, Verdict.FAILED, None, 0, note)
            for on in announcement_days(self.feed_on + one, feed_on - one)[-MISSED_DAYS:]
            if on not in self.days
        ]

    def source_day(self, source: str, on: date, trouble: str = "") -> SourceDay:
        """Return what the counts of a day say as they stand; `trouble` says why some wait."""
        day, waiting = self.days[on], self.n_waiting(on)
        left = day.expected - day.full - day.rejected - waiting
        notes = [
            f"{n} {what}"
            for n, what in (
                (waiting, "stored from the feed, not yet given by the API"),
                (day.rejected, "kept aside: could not be used"),
                (left, "not read yet"),
            )
            if n
        ]
        # What was rejected does not come again, so there is nothing to hold a digest up for.
        complete = day.full + day.rejected == day.expected and not day.remark
        verdict = Verdict.COMPLETE if complete else Verdict.PARTIAL
        if self.is_failed(on):
            verdict = Verdict.FAILED
        note = "; ".join(filter(None, (*notes, day.remark, trouble if waiting else "")))
        return SourceDay(source, on, verdict, day.expected, day.full, note)
