"""Whatever clocks, zones and people do, a local date is served once and none before another."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest

from tests.operations.test_jobs import Announcing, Office
from tests.support.factories import subscriber
from tests.support.guarantees import Guarantee
from tests.support.installation import ListedSource, fetched, installed, rows
from triage.domain.digest_calendar import REST, Last, digest_at, due_on, latest_digest_on
from triage.domain.records import Subscriber, Verdict
from triage.domain.source_records import Batch
from triage.operations.jobs import OLDER_AGAIN, Job, Schedule

ZONES = sorted(zone for zone in available_timezones() if zone != "localtime")
HOURS = (0, 2, 3, 23)
ONE_DAY = timedelta(days=1)
HALF_A_DAY = timedelta(hours=12)
START = datetime(2025, 1, 1, tzinfo=UTC)
YEARS = (date(2025, 1, 1), date(2027, 12, 31))


@dataclass
class Reader:
    """A subscriber, and every digest that they were found due: the date and when."""

    subscriber: Subscriber
    served: list[Last] = field(default_factory=list)

    def tick(self, now: datetime) -> None:
        on = due_on(self.subscriber, self.served[-1] if self.served else None, now)
        if on is not None:
            self.served.append(Last(on, now))

    def dates(self) -> list[date]:
        return [each.on for each in self.served]


def odd_days(zone: ZoneInfo, first: date, last: date) -> list[date]:
    """Return the dates on which the clock of a zone changes, with those beside them."""
    found: set[date] = set()
    at, day = None, first
    while day <= last:
        offset = datetime(day.year, day.month, day.day, 23, 59, tzinfo=zone).utcoffset()
        if at is not None and offset != at:
            found |= {day - ONE_DAY, day, day + ONE_DAY}
        at, day = offset, day + ONE_DAY
    return sorted(found)


def ticks(first: datetime, last: datetime, every: timedelta) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += every


@pytest.mark.guarantee("R17")
def test_every_local_date_of_every_zone_is_due_exactly_once(guarantee: Guarantee) -> None:
    """A digest falls due at one instant per local date, later each day, in every zone there is.

    The long form asks for each date of three years; the short one for those near clock changes, as
    only there the answer could differ.
    """
    chance = random.Random(17)  # noqa: S311
    zones = ZONES if guarantee.full else chance.sample(ZONES, 20)
    n_dates = 0
    for name in zones:
        zone = ZoneInfo(name)
        everything = [YEARS[0] + n * ONE_DAY for n in range((YEARS[1] - YEARS[0]).days + 1)]
        asked = everything if guarantee.full else odd_days(zone, date(2026, 1, 1), YEARS[1])
        for hour in HOURS:
            reader = subscriber(zone=name, hour=hour)
            last: Last | None = None
            for on in asked:
                due = digest_at(on, hour, name)
                if last is not None and last.on == on - ONE_DAY:
                    assert due - last.at >= HALF_A_DAY, (name, on, hour)
                # Up to the instant the day before is the newest, from it on this one.
                before = Last(on - ONE_DAY, due - ONE_DAY)
                assert due_on(reader, before, due - timedelta(microseconds=1)) is None
                assert due_on(reader, before, due) == on, (name, on, hour)
                assert due_on(reader, Last(on, due), due + timedelta(hours=1)) is None
                last = Last(on, due)
                n_dates += 1
    if guarantee.full:
        assert len(zones) >= 590
    guarantee.record(n_zones=len(zones), n_local_dates=n_dates, n_due_other_than_once=0)


@pytest.mark.guarantee("R17")
def test_a_minute_by_minute_clock_serves_each_date_of_a_clock_change_once(
    guarantee: Guarantee,
) -> None:
    for zone, change in (
        ("Europe/Berlin", date(2026, 3, 29)),
        ("Europe/Berlin", date(2026, 10, 25)),
        ("Africa/Cairo", date(2026, 4, 24)),
        ("America/Havana", date(2026, 11, 1)),
        ("Australia/Lord_Howe", date(2026, 4, 5)),
    ):
        begin = datetime(change.year, change.month, change.day, tzinfo=UTC) - 2 * ONE_DAY
        readers = [Reader(subscriber(zone=zone, hour=hour)) for hour in HOURS]
        for now in ticks(begin, begin + 4 * ONE_DAY, timedelta(minutes=10)):
            for reader in readers:
                reader.tick(now)
        for reader in readers:
            dates = reader.dates()
            assert dates == [dates[0] + n * ONE_DAY for n in range(len(dates))]
            assert change in dates


@pytest.mark.guarantee("R17")
def test_whoever_moves_gets_later_dates_only_and_never_two_at_once(guarantee: Guarantee) -> None:
    """Readers change zone and hour at random; a date is missed only where the move skipped it."""
    n_walks = 1000 if guarantee.full else 15
    n_changes = n_skipped = n_digests = 0
    shortest = timedelta.max
    for walk in range(n_walks):
        chance = random.Random(f"walk {walk}")  # noqa: S311
        now = START + timedelta(days=chance.randrange(700))
        reader = Reader(subscriber(zone=chance.choice(ZONES), hour=chance.randrange(24)))
        reader.tick(now)
        moved: list[datetime] = []
        for _ in range(20):
            stay = now + timedelta(hours=chance.randrange(1, 100))
            for now in ticks(now, stay, timedelta(minutes=40)):  # noqa: B020
                reader.tick(now)
            reader.subscriber = replace(
                reader.subscriber, zone=chance.choice(ZONES), hour=chance.randrange(24)
            )
            moved.append(now)
        n_changes += len(moved)
        n_digests += len(reader.served)
        for one, other in zip(reader.served, reader.served[1:], strict=False):
            assert other.on > one.on, walk
            shortest = min(shortest, other.at - one.at)
            skipped = (other.on - one.on).days - 1
            n_skipped += skipped
            # Who crosses the date line may leave a day out, as their calendar does.
            assert skipped <= sum(one.at <= at <= other.at for at in moved), walk
    assert shortest >= HALF_A_DAY
    guarantee.record(
        n_walks=n_walks,
        n_zone_changes=n_changes,
        n_digests_in_walks=n_digests,
        n_dates_left_out_by_moving=n_skipped,
        shortest_hours_between=round(shortest / timedelta(hours=1), 1),
    )


@pytest.mark.guarantee("R17")
def test_a_clock_that_jumps_a_day_and_an_hour_repeats_nothing(guarantee: Guarantee) -> None:
    n_walks = 1000 if guarantee.full else 15
    n_jumps = 0
    for walk in range(n_walks):
        chance = random.Random(f"jump {walk}")  # noqa: S311
        now = START + timedelta(days=chance.randrange(700))
        reader = Reader(subscriber(zone=chance.choice(ZONES), hour=chance.randrange(24)))
        for _ in range(300):
            now += timedelta(minutes=chance.randrange(1, 90))
            jumped = now
            if chance.random() < 0.1:
                jumped += timedelta(hours=chance.uniform(-25, 25))
                n_jumps += 1
            reader.tick(jumped)
        dates = reader.dates()
        assert dates == sorted(set(dates)), walk
    guarantee.record(n_clock_jumps=n_jumps, n_duplicates_after_jumps=0)


# -- a whole installation whose clock is set, in suspends and restarts -----------------------------

MINUTE = timedelta(minutes=1)
OFTEN = timedelta(minutes=10)
READERS = (("Asia/Tokyo", 7), ("UTC", 13), ("America/Los_Angeles", 21))


class History:
    """An installation of which we know the true time, while its clock shows any other."""

    def __init__(self, office: Office, seed: str) -> None:
        self.office = office
        self.chance = random.Random(seed)  # noqa: S311
        self.true = self.begun = office.clock.at
        self.error = timedelta(0)
        # The true times.
        self.read_at = self.done_at = self.begun - ONE_DAY
        self.n_restarts = self.n_steps = self.n_checks = self.n_coincidences = 0
        self.readers = [
            office.reader(f"reader{n}@example.org", zone, hour)
            for n, (zone, hour) in enumerate(READERS)
        ]
        self.schedule = self._start()

    def _start(self) -> Schedule:
        owner = f"process {self.n_restarts}"
        source = Announcing(Verdict.PARTIAL)
        read = source.fetch

        def fetch(cursor: str | None) -> Iterator[Batch]:
            self.read_at = self.true
            return read(cursor)

        def do() -> str:
            self.done_at = self.true
            return "done"

        source.fetch = fetch  # type: ignore[method-assign]
        jobs = [Job("read bounces", time(), do, OFTEN)]
        # Digests wait for no source here: what they wait for is only the clock.
        made = self.office.schedule(owner, [source], jobs=jobs)
        return replace(made, is_gone=lambda other: other != owner)

    def go_on(self, how_long: timedelta) -> None:
        self.true += how_long
        self.office.clock.at = self.true + self.error
        self.schedule.tick()
        self.schedule.do_jobs()
        # Sending and reading have their own time.
        self.true = self.office.clock.at - self.error

    def set_clock(self, error: timedelta) -> None:
        self.error = error
        self.n_steps += 1
        self.office.clock.at = self.true + error

    def happen(self) -> None:
        """Let one thing happen to the clock, the machine or the process."""
        chance, what = self.chance, self.chance.randrange(6)
        if what < 3:
            size = timedelta(seconds=10 ** chance.uniform(0, 7.5386))  # up to 400 days
            self.set_clock(self.error + chance.choice([-1, 1]) * size)
        elif what == 3:
            self.set_clock(timedelta(0))
        elif what == 4:  # a suspend, in which somebody may set the clock
            self.true += timedelta(hours=chance.uniform(0, 30))
            self.set_clock(chance.choice([self.error, timedelta(0)]))
        else:
            self.n_restarts += 1
            if chance.random() < 0.5:
                self.schedule.stop()
            self.schedule = self._start()

    def check(self) -> None:
        """Set the clock right; a minute later, everything that is due has gone."""
        self.set_clock(timedelta(0))
        self.go_on(MINUTE)
        now, served = self.true, self.office.served()
        slates = rows(self.office.database, "slates")
        self.n_checks += 1
        for reader in self.readers:
            on = latest_digest_on(now, reader.hour, reader.zone)
            assert on is not None
            rests = any(
                now - REST < row["created_at"] <= now
                for row in slates
                if row["subscriber_id"] == reader.id
            )
            if digest_at(on, reader.hour, reader.zone) >= self.begun and not rests:
                assert served[reader.email, on] == 1, (reader.email, on)
        # The clock may show by chance what it showed wrongly at the last time.
        late = [now - self.read_at >= OLDER_AGAIN, now - self.done_at >= OFTEN]
        self.n_coincidences += any(late)


@pytest.mark.guarantee("R17")
def test_within_a_minute_of_the_clock_being_right_all_that_is_due_has_gone_once(
    guarantee: Guarantee, tmp_path: Path
) -> None:
    n_histories = 500 if guarantee.full else 30
    counts: Counter[str] = Counter()
    for n in range(n_histories):
        folder = tmp_path / str(n)
        folder.mkdir()
        with installed(folder) as database:
            office = Office(database, folder)
            papers = tuple(fetched(k) for k in range(1, 30))
            office.schedule(sources=[ListedSource(Batch(papers=papers))]).tick()
            history = History(office, f"history {n}")
            for _ in range(8):
                for _ in range(history.chance.randrange(1, 3)):
                    history.happen()
                    history.go_on(timedelta(hours=history.chance.uniform(0, 8)))
                if history.chance.random() < 0.6:
                    history.check()
            history.check()
            for _ in range(26):
                history.go_on(timedelta(hours=1))
            history.check()
            ids = Counter(message.message_id for message in office.mailer.sent)
            assert max(ids.values(), default=1) == 1
            assert max(office.served().values()) == 1
            # After a day with the right clock nothing is left over, rest or not.
            for reader in history.readers:
                on = latest_digest_on(history.true, reader.hour, reader.zone)
                assert on is not None
                if history.true - digest_at(on, reader.hour, reader.zone) > REST:
                    assert office.served()[reader.email, on] == 1
            counts.update(
                n_clock_steps=history.n_steps,
                n_restarts=history.n_restarts,
                n_times_right_again=history.n_checks,
                n_late_by_coincidence=history.n_coincidences,
            )
    assert counts["n_late_by_coincidence"] <= counts["n_times_right_again"] / 50
    guarantee.record(n_histories=n_histories, **counts)
