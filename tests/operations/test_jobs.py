"""The schedule: every due local date is served once, whatever the clocks and processes do."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.databases import on_postgres
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.installation import SPOILT, ListedSource, fetched, installed, rows, spoil
from triage import store
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.digest.nightly import Composed, Nightly, Queued
from triage.domain.digest_calendar import digest_at
from triage.domain.protocols import Source
from triage.domain.records import Frequency, OutgoingMessage, Slate, Subscriber, Verdict
from triage.domain.source_records import Batch, SourceDay
from triage.errors import ModelError, SourceError, TriageError
from triage.operations.jobs import OLDER_AGAIN, OPEN_AGAIN, PATIENCE, SETTLED_AGAIN, Job, Schedule
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules
from triage.store import Database
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add, pause, resume

# Every kind of clock change: both hemispheres, half an hour, at midnight, none, far from UTC.
ZONES = (
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Moscow", "Europe/Lisbon", "Europe/Chisinau",
    "America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo",
    "America/Santiago", "America/Havana", "America/Asuncion", "America/Godthab",
    "America/Anchorage", "Africa/Cairo", "Africa/Casablanca", "Africa/Lagos", "Asia/Tokyo",
    "Asia/Kolkata", "Asia/Kathmandu", "Asia/Beirut", "Asia/Jerusalem", "Asia/Gaza",
    "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Chatham",
    "Pacific/Kiritimati", "Pacific/Pago_Pago",
)  # fmt: skip
HOURS = (0, 1, 2, 3, 7, 12, 23)
START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def compose(slate: Slate, _now: datetime, **_: object) -> Composed:
    """Compose the shortest message: what a digest looks like is not the schedule's business."""
    name = f"<d.{slate.public_id}@example.org>"
    return Composed(OutgoingMessage(name, slate.subscriber.email, b"a digest\r\n"), 10)


@dataclass
class Office:
    """A database, a clock, and as many schedulers as a test starts."""

    database: Database
    folder: Path
    clock: StoppedClock = field(default_factory=lambda: StoppedClock(START))
    mailer: FakeMailer = field(default_factory=FakeMailer)
    fails_for: str = ""

    def compose(self, slate: Slate, now: datetime, **_: object) -> Composed:
        if slate.subscriber.email == self.fails_for:
            raise KeyError("no text for this")
        return compose(slate, now)

    def schedule(
        self,
        owner: str = "one",
        sources: Sequence[Source] = (),
        awaited: Mapping[str, int] = MappingProxyType({}),
        jobs: Sequence[Job] = (),
    ) -> Schedule:
        nightly = Nightly(
            self.database,
            self.clock,
            model_store=ModelStore(self.folder / "models", b"a key of the tests"),
            compose=self.compose,
            rules=DigestRules(size=3, max_age_days=14, score_floor=0.0, exploration_slots=0),
        )
        outbox = Outbox(
            SenderContext(
                self.database, self.mailer, self.clock, owner=owner, is_gone=lambda _: False
            )
        )
        return Schedule(
            self.database,
            self.clock,
            nightly.queue,
            outbox,
            sources=lambda: sources,
            fetch_named=list,
            awaited=awaited,
            jobs=jobs,
            owner=owner,
        )

    def reader(self, email: str, zone: str = "UTC", hour: int = 7) -> Subscriber:
        preferences = SubscriberPreferences(interests="drafts", zone=zone, hour=hour)
        return add(self.database, email, self.clock, preferences).subscriber

    def forward(self, **how_far: float) -> None:
        self.clock.at += timedelta(**how_far)

    def served(self) -> Counter[tuple[str, date]]:
        with self.database.read() as conn:
            return Counter((row["subscriber"], row["on"]) for row in store.messages.listing(conn))

    def fetch_attempts(self, name: str) -> datetime | None:
        with self.database.read() as conn:
            return store.jobs.last_done(conn, f"fetch {name}")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with installed(tmp_path) as database:
        office = Office(database, tmp_path)
        source = ListedSource(Batch(papers=tuple(fetched(n) for n in range(1, 30))))
        office.schedule(sources=[source]).tick()
        yield office


def test_a_digest_is_sent_at_the_hour_of_its_reader_and_not_before(office: Office) -> None:
    office.reader("tokyo@example.org", "Asia/Tokyo", hour=7)
    schedule = office.schedule()
    office.clock.at = datetime(2026, 3, 2, 21, 59, tzinfo=UTC)
    schedule.tick()
    assert not office.mailer.sent

    office.forward(minutes=1)
    schedule.tick()

    assert office.served() == {("tokyo@example.org", date(2026, 3, 3)): 1}
    assert len(office.mailer.sent) == 1


def test_new_papers_are_encoded_in_the_tick_that_reads_them_and_trouble_costs_no_digest(
    office: Office,
) -> None:
    office.reader("a@example.org")
    office.forward(hours=19)
    n_read: list[int] = []

    def encode() -> None:
        n_read.append(len(rows(office.database, "papers")))
        raise ModelError("a damaged model")

    source = ListedSource(Batch(papers=tuple(fetched(n) for n in range(30, 40))))
    schedule = replace(office.schedule(sources=[source]), encode=encode)
    office.forward(hours=8)
    with capture_logs() as logs:
        schedule.tick()
    assert n_read == [39]
    assert len(office.mailer.sent) == 1
    assert "papers not encoded" in {line["event"] for line in logs}


# -- one subscriber's trouble ----------------------------------------------------------------------

UNKNOWN_ZONES = [
    "America/Nowhere", "Mars/Olympus", "Europe/Berlinn", "US/Pacific-New", "", "/etc/localtime",
    "../../../etc/passwd", "Europe", "tzdata.zi", "Z" * 80, "Europe/Berlin ",
]  # fmt: skip


@pytest.mark.parametrize("zone", UNKNOWN_ZONES)
def test_a_zone_that_this_machine_does_not_know_is_utc_and_costs_nobody_a_digest(
    office: Office, zone: str
) -> None:
    emails = [f"reader{n}@example.org" for n in range(5)]
    for email in emails:
        office.reader(email)
    spoil(office.database, emails[2], "zone", zone)
    schedule = office.schedule()
    office.forward(hours=18, minutes=59)
    schedule.tick()
    assert not office.mailer.sent
    office.forward(minutes=1)
    with capture_logs() as logs:
        schedule.tick()
    assert office.served() == {(email, date(2026, 3, 3)): 1 for email in emails}
    assert len(office.mailer.sent) == 5
    [line] = [each for each in logs if each["log_level"] == "error"]
    assert line["event"] == "the time zone is not known, so UTC is used"
    assert "@" not in str(line)


@pytest.mark.skipif(on_postgres(), reason="PostgreSQL refuses such values itself")
@pytest.mark.parametrize("trouble", SPOILT)
def test_a_row_that_cannot_be_read_costs_nobody_else_a_digest(office: Office, trouble: str) -> None:
    emails = [f"reader{n}@example.org" for n in range(5)]
    for email in emails:
        office.reader(email)
    spoil(office.database, emails[2], *SPOILT[trouble])
    office.forward(hours=19)
    with capture_logs() as logs:
        office.schedule().tick()
    others = [email for email in emails if email != emails[2]]
    assert office.served() == {(email, date(2026, 3, 3)): 1 for email in others}
    assert len(office.mailer.sent) == 4
    assert {each["event"] for each in logs if each["log_level"] == "error"} == {
        "a subscriber is left out"
    }


def test_a_digest_that_fails_is_told_in_the_log_and_tried_again(office: Office) -> None:
    emails = [f"reader{n}@example.org" for n in range(3)]
    for email in emails:
        office.reader(email)
    office.fails_for = emails[1]
    office.forward(hours=19)
    schedule = office.schedule()
    with capture_logs() as logs:
        schedule.tick()
    assert len(office.mailer.sent) == 2
    [line] = [each for each in logs if each["event"] == "no digest"]
    assert line["log_level"] == "error"
    assert "no text for this" in line["why"]
    assert "@" not in line["why"]
    office.fails_for = ""
    office.forward(minutes=1)
    schedule.tick()
    assert office.served() == {(email, date(2026, 3, 3)): 1 for email in emails}


def test_who_joins_after_the_hour_waits_for_the_next_day(office: Office) -> None:
    office.reader("new@example.org", hour=7)
    schedule = office.schedule()
    schedule.tick()
    assert not office.served()
    office.forward(hours=19)
    schedule.tick()
    assert list(office.served()) == [("new@example.org", date(2026, 3, 3))]


def test_a_missed_hour_is_caught_up_even_past_midnight(office: Office) -> None:
    office.reader("late@example.org", hour=23)
    office.clock.at = datetime(2026, 3, 3, 4, 30, tzinfo=UTC)
    office.schedule().tick()
    assert list(office.served()) == [("late@example.org", date(2026, 3, 2))]


def test_who_was_away_gets_one_digest_and_not_one_for_every_missed_day(office: Office) -> None:
    office.reader("away@example.org")
    office.forward(days=9)
    office.schedule().tick()
    assert list(office.served()) == [("away@example.org", date(2026, 3, 11))]


def test_a_pause_that_ends_after_the_hour_brings_no_digest_that_day(office: Office) -> None:
    office.reader("paused@example.org")
    pause(office.database, "paused@example.org", office.clock)
    office.forward(days=3)
    resume(office.database, "paused@example.org", office.clock)
    office.schedule().tick()
    assert not office.served()


@pytest.mark.parametrize(
    ("zone", "day", "hour"),
    [("Europe/Berlin", date(2026, 10, 25), 2), ("America/Havana", date(2026, 11, 1), 0)],
)
def test_the_autumn_hour_that_comes_twice_sends_once(
    office: Office, zone: str, day: date, hour: int
) -> None:
    office.reader("autumn@example.org", zone, hour)
    office.clock.at = digest_at(day, hour, zone) - timedelta(minutes=5)
    schedule = office.schedule()
    # The day before has had its own, so that nothing is caught up beside this one.
    office.clock.at -= timedelta(hours=23)
    schedule.tick()
    office.clock.at += timedelta(hours=23)
    for _ in range(3 * 12):
        office.forward(minutes=5)
        schedule.tick()
    assert office.served()["autumn@example.org", day] == 1
    assert max(office.served().values()) == 1


def walk(office: Office, days: int, seed: int) -> None:
    """Tick two schedulers at odd minutes; one tick in twenty is missed, and processes restart."""
    chance = random.Random(seed)  # noqa: S311
    schedules = [office.schedule("one"), office.schedule("two")]
    end = office.clock.at + timedelta(days=days)
    while office.clock.at < end:
        office.forward(minutes=chance.randint(15, 35))
        if chance.random() < 0.002:
            schedules[chance.randrange(2)] = office.schedule(f"restarted {chance.random()}")
        for schedule in chance.sample(schedules, 2):
            if chance.random() >= 0.05:
                schedule.tick()


def test_two_schedulers_in_thirty_zones_serve_every_due_date_exactly_once(
    office: Office, stretch: tuple[datetime, int]
) -> None:
    office.clock.at, walk_days = stretch
    of_that_day = [fetched(n, listed_on=office.clock.at.date()) for n in range(30, 60)]
    office.schedule(sources=[ListedSource(Batch(papers=tuple(of_that_day)))]).tick()
    hours = random.Random(1)  # noqa: S311
    readers = [
        office.reader(f"reader{n}@example.org", zone, hours.choice(HOURS))
        for n, zone in enumerate(ZONES)
    ]
    begun = office.clock.at

    walk(office, walk_days, seed=2)

    served = office.served()
    assert max(served.values()) == 1
    for reader in readers:
        first = begun.date() - timedelta(days=2)
        due = {
            on
            for on in (first + timedelta(days=n) for n in range(walk_days + 4))
            # What became due in the last hour may still be waiting for its tick.
            if begun <= digest_at(on, reader.hour, reader.zone) <= office.clock.at
            - timedelta(hours=2)
        }  # fmt: skip
        got = {on for email, on in served if email == reader.email}
        assert due <= got
        assert len(got - due) <= 1


@pytest.fixture
def stretch(request: pytest.FixtureRequest) -> tuple[datetime, int]:
    """Return when the walk begins and how many days it takes.

    It is some days in which clocks change in eight of the zones; with `--full` it is 400 days.
    """
    if request.config.getoption("--full"):
        return START, 400
    return datetime(2026, 3, 26, 12, 0, tzinfo=UTC), 5


def lease_of(office: Office) -> str:
    """Return who makes digests now."""
    [lease] = [row for row in rows(office.database, "leases") if row["name"] == "digests"]
    assert lease["until"] > office.clock.now()
    return str(lease["owner"])


def test_of_two_schedulers_the_one_with_the_lease_works(office: Office) -> None:
    office.reader("reader@example.org", hour=13)
    one, two = office.schedule("one"), office.schedule("two")
    one.tick()
    office.forward(hours=1)
    one.tick()
    assert len(office.mailer.sent) == 1
    assert lease_of(office) == "one"
    office.forward(days=1)
    two.tick()
    assert len(office.mailer.sent) == 2
    one.tick()
    assert lease_of(office) == "two"


def test_a_scheduler_without_the_lease_sends_what_another_one_has_made(office: Office) -> None:
    office.reader("reader@example.org", hour=13)
    sent_by_two: list[int] = []

    def make_and_let_the_other_send(on: date, **how: Any) -> Queued:
        queued = nightly.queue(on, **how)
        office.schedule("two").tick()
        sent_by_two.append(len(office.mailer.sent))
        return queued

    one = office.schedule("one")
    nightly = one.queue.__self__  # type: ignore[attr-defined]
    office.forward(hours=1)
    replace(one, queue=make_and_let_the_other_send).tick()
    assert sent_by_two == [1]
    assert len(office.mailer.sent) == 1
    assert lease_of(office) == "one"


def test_a_night_that_takes_longer_than_a_lease_keeps_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        office.reader(f"reader{n}@example.org", hour=13)
    monkeypatch.setattr("triage.digest.nightly.BLOCK", 1)
    owners: list[str] = []

    def slowly(slate: Slate, now: datetime, **_: object) -> Composed:
        office.forward(minutes=10)
        office.schedule("two").tick()
        owners.append(lease_of(office))
        return compose(slate, now)

    office.compose = slowly  # type: ignore[method-assign]
    office.forward(hours=1)
    office.schedule("one").tick()
    assert owners == ["one"] * 4
    assert len(office.mailer.sent) == 4


def test_a_scheduler_that_stops_lets_the_other_go_on_at_once(office: Office) -> None:
    office.reader("reader@example.org", hour=13)
    one, two = office.schedule("one"), office.schedule("two")
    office.forward(minutes=55)
    one.tick()
    one.stop()
    office.forward(minutes=10)
    two.tick()
    assert len(office.mailer.sent) == 1


@pytest.mark.parametrize("ahead", [timedelta(minutes=20), timedelta(days=400)])
def test_a_lease_that_a_wrong_clock_gave_back_is_free(office: Office, ahead: timedelta) -> None:
    one = office.schedule("one")
    office.clock.at += ahead
    one.tick()
    one.stop()
    office.clock.at -= ahead
    office.schedule("two").tick()
    assert lease_of(office) == "two"


def test_a_lease_of_a_machine_that_died_before_a_small_step_back_blocks_no_longer(
    office: Office,
) -> None:
    office.schedule("one").tick()
    office.forward(minutes=-10)
    office.schedule("two").tick()
    assert lease_of(office) == "two"


def test_a_machine_whose_clock_is_a_little_ahead_keeps_its_lease(office: Office) -> None:
    office.schedule("one").tick()
    office.forward(minutes=-3)
    office.schedule("two").tick()
    assert lease_of(office) == "one"


def test_the_lease_of_a_scheduler_that_is_known_to_have_died_is_free(office: Office) -> None:
    office.schedule("one").tick()
    replace(office.schedule("two"), is_gone=lambda owner: False).tick()
    assert lease_of(office) == "one"
    replace(office.schedule("three"), is_gone=lambda owner: owner == "one").tick()
    assert lease_of(office) == "three"


# -- wrong clocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 30, 400])
def test_a_digest_of_a_later_date_delays_none_of_the_dates_before_it(
    office: Office, days: int
) -> None:
    office.reader("reader@example.org", hour=13)
    schedule = office.schedule()
    office.forward(days=days, hours=2)
    schedule.tick()
    assert list(office.served()) == [("reader@example.org", START.date() + timedelta(days=days))]
    office.forward(days=-days)
    schedule.tick()
    for _ in range(days + 2):
        office.forward(days=1)
        schedule.tick()
    dates = [START.date() + timedelta(days=n) for n in range(days + 3)]
    assert office.served() == {("reader@example.org", on): 1 for on in dates}


def test_who_joined_by_a_clock_that_was_ahead_gets_the_digest_of_today(office: Office) -> None:
    office.forward(days=400)
    office.reader("new@example.org", hour=13)
    office.forward(days=-400, hours=2)
    office.schedule().tick()
    assert list(office.served()) == [("new@example.org", START.date())]


def test_a_day_that_a_clock_ahead_has_read_is_read_again_when_it_comes(office: Office) -> None:
    """By the calendar of a wrong clock, no papers were to come on that day."""
    office.reader("ny@example.org", "America/New_York")
    source = Announcing(Verdict.EMPTY_EXPECTED)
    schedule = office.schedule(sources=[source], awaited={"arxiv": 0})
    office.clock.at = MORNING
    source.on = MORNING.date() + timedelta(days=3)
    office.forward(days=3)
    schedule.tick()
    office.forward(days=-3)
    source.on, source.verdict = MORNING.date(), Verdict.COMPLETE
    schedule.tick()
    assert source.n_fetches == 2
    with office.database.read() as conn:
        days = store.sources.days(conn, date.min, date.max)
    assert [day.on for day in days if day.source == "arxiv"] == [MORNING.date()]


def test_a_clock_that_is_behind_forgets_no_day_with_papers(office: Office) -> None:
    source = Announcing(Verdict.COMPLETE)
    schedule = office.schedule(sources=[source], awaited={"arxiv": 0})
    office.clock.at = MORNING
    schedule.tick()
    office.forward(days=-400)
    schedule.tick()
    with office.database.read() as conn:
        days = store.sources.days(conn, date.min, date.max)
    assert [(day.on, day.verdict) for day in days if day.source == "arxiv"] == [
        (MORNING.date(), Verdict.COMPLETE)
    ]


def test_what_a_clock_ahead_has_done_is_done_again(office: Office) -> None:
    done: list[datetime] = []

    def do() -> str:
        done.append(office.clock.now())
        return "done"

    jobs = [Job("train", time(3), do), Job("read bounces", time(), do, timedelta(minutes=10))]
    schedule = office.schedule(jobs=jobs)
    office.forward(days=400)
    schedule.do_jobs()
    office.forward(days=-400)
    schedule.do_jobs()
    assert len(done) == 4
    schedule.do_jobs()
    assert len(done) == 4


def test_a_suspend_in_the_middle_of_a_tick_costs_no_digest_of_today(office: Office) -> None:
    """Else the digest of yesterday goes now, and that of today a night later."""
    emails = [f"reader{n}@example.org" for n in range(3)]
    for email in emails:
        office.reader(email, hour=13)
    nights = [1]

    def suspended(slate: Slate, now: datetime, **_: object) -> Composed:
        if nights:
            office.forward(days=nights.pop())
        return compose(slate, now)

    office.compose = suspended  # type: ignore[method-assign]
    schedule = office.schedule()
    office.forward(hours=2)
    schedule.tick()
    schedule.tick()
    today = START.date() + timedelta(days=1)
    assert [office.served()[email, today] for email in emails] == [1, 1, 1]
    assert max(office.served().values()) == 1


def test_the_log_names_the_dates_of_digests_that_a_clock_ahead_has_made(office: Office) -> None:
    office.reader("reader@example.org", hour=13)
    schedule = office.schedule()
    office.forward(days=400, hours=2)
    schedule.tick()
    office.forward(days=-400)
    with capture_logs() as logs:
        schedule.tick()
        schedule.tick()
    [line] = [each for each in logs if each["event"] == "set aside: digests made by a wrong clock"]
    assert (line["n"], line["dates"]) == (1, [str(START.date() + timedelta(days=400))])


def test_no_job_is_done_after_the_clock_was_set_to_what_is_not_believed(office: Office) -> None:
    wrong = ""

    def train() -> str:
        nonlocal wrong
        wrong = "it is 2028"
        return "trained"

    jobs = [Job("train", time(3), train), Job("forget", time(3), lambda: pytest.fail("done"))]
    replace(office.schedule(jobs=jobs), distrust=lambda: wrong).do_jobs()
    assert [
        row["name"] for row in rows(office.database, "jobs") if row["name"] in "train forget"
    ] == ["train"]


def test_nothing_is_done_while_the_clock_is_not_believed(office: Office) -> None:
    office.reader("reader@example.org", hour=13)
    office.forward(hours=2)
    job = Job("train", time(3), lambda: pytest.fail("it was done"))
    schedule = replace(office.schedule(jobs=[job]), distrust=lambda: "it is 1970")
    schedule.tick()
    schedule.do_jobs()
    assert not office.served()
    replace(schedule, distrust=lambda: "").tick()
    assert len(office.served()) == 1


# -- sources ---------------------------------------------------------------------------------------


class Announcing:
    """A source whose day stands as it is told to."""

    def __init__(
        self, verdict: Verdict | None, name: str = "arxiv", on: date = date(2026, 3, 3)
    ) -> None:
        self.verdict = verdict
        self.name = name
        self.on = on
        self.n_fetches = 0

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        self.n_fetches += 1
        if self.verdict is None:
            raise SourceError("does not answer")
        got = 0 if self.verdict is Verdict.EMPTY_EXPECTED else 5
        yield Batch(days=(SourceDay(self.name, self.on, self.verdict, 10, got),))


MORNING = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)  # seven o'clock in New York


@pytest.mark.parametrize("verdict", [Verdict.PARTIAL, Verdict.EMPTY_SUSPECT, None])
def test_a_digest_waits_for_an_open_day_until_patience_ends(
    office: Office, verdict: Verdict | None
) -> None:
    office.reader("ny@example.org", "America/New_York")
    schedule = office.schedule(sources=[Announcing(verdict)], awaited={"arxiv": 0})
    office.clock.at = MORNING
    schedule.tick()
    assert not office.served()

    office.clock.at = MORNING + PATIENCE
    schedule.tick()

    assert list(office.served()) == [("ny@example.org", date(2026, 3, 3))]


def test_a_settled_day_keeps_nobody_waiting(office: Office) -> None:
    office.reader("ny@example.org", "America/New_York")
    source = Announcing(Verdict.COMPLETE)
    schedule = office.schedule(sources=[source], awaited={"arxiv": 0})
    office.clock.at = MORNING
    schedule.tick()
    assert len(office.mailer.sent) == 1


@pytest.mark.parametrize(
    ("verdict", "again"), [(Verdict.PARTIAL, OPEN_AGAIN), (Verdict.COMPLETE, SETTLED_AGAIN)]
)
def test_an_open_day_is_asked_for_sooner_than_a_settled_one(
    office: Office, verdict: Verdict, again: timedelta
) -> None:
    source = Announcing(verdict)
    schedule = office.schedule(sources=[source], awaited={"arxiv": 0})
    office.clock.at = MORNING
    schedule.tick()
    office.clock.at += again - timedelta(minutes=1)
    schedule.tick()
    assert source.n_fetches == 1
    office.clock.at += timedelta(minutes=1)
    schedule.tick()
    assert source.n_fetches == 2


def test_a_source_whose_day_ends_later_is_awaited_by_the_day_before(office: Office) -> None:
    office.reader("ny@example.org", "America/New_York", hour=7)
    source = Announcing(Verdict.PARTIAL, "biorxiv", date(2026, 3, 2))
    schedule = office.schedule(sources=[source], awaited={"biorxiv": 1})
    office.clock.at = MORNING
    schedule.tick()
    assert not office.served()
    source.verdict = Verdict.COMPLETE
    office.forward(hours=1)
    schedule.tick()
    assert list(office.served()) == [("ny@example.org", date(2026, 3, 3))]


def test_who_is_not_awaited_is_asked_every_hour_and_holds_nobody_up(office: Office) -> None:
    office.reader("ny@example.org", "America/New_York")
    source = Announcing(Verdict.FAILED, "feed:slow")
    schedule = office.schedule(sources=[source], awaited={})
    office.clock.at = MORNING
    schedule.tick()
    assert len(office.served()) == 1
    office.clock.at += OLDER_AGAIN - timedelta(minutes=1)
    schedule.tick()
    assert source.n_fetches == 1
    office.forward(minutes=1)
    schedule.tick()
    assert source.n_fetches == 2


def test_one_open_day_of_several_sources_is_enough_to_wait(office: Office) -> None:
    office.reader("ny@example.org", "America/New_York")
    open_one = Announcing(Verdict.EMPTY_SUSPECT, "hf_daily")
    schedule = office.schedule(
        sources=[Announcing(Verdict.COMPLETE), open_one], awaited={"arxiv": 0, "hf_daily": 0}
    )
    office.clock.at = MORNING
    schedule.tick()
    assert not office.served()
    open_one.verdict = Verdict.COMPLETE
    office.clock.at += OPEN_AGAIN
    schedule.tick()
    assert len(office.served()) == 1


def test_an_answer_that_breaks_a_source_costs_nobody_their_digest(office: Office) -> None:
    class Broken(Announcing):
        def fetch(self, cursor: str | None) -> Iterator[Batch]:
            raise KeyError("a field that was renamed")
            yield Batch()

    office.reader("reader@example.org", hour=13)
    office.forward(hours=1)
    office.schedule(sources=[Broken(None)]).tick()
    assert len(office.mailer.sent) == 1


def test_an_evening_reader_does_not_wait_for_tomorrows_announcement(office: Office) -> None:
    """In Los Angeles it is nine in the evening when arXiv's next day has begun."""
    office.reader("la@example.org", "America/Los_Angeles", hour=21)
    source = Announcing(Verdict.COMPLETE)
    schedule = office.schedule(sources=[source], awaited={"arxiv": 0})
    office.clock.at = MORNING
    schedule.tick()
    source.verdict = None
    office.clock.at = digest_at(date(2026, 3, 3), 21, "America/Los_Angeles")
    schedule.tick()
    assert ("la@example.org", date(2026, 3, 3)) in office.served()


# -- jobs ----------------------------------------------------------------------------------------


def test_a_chore_is_done_once_a_day_and_caught_up_after_an_outage(office: Office) -> None:
    done: list[datetime] = []

    def do() -> str:
        done.append(office.clock.now())
        return "did it"

    schedule = office.schedule(jobs=[Job("train", time(3, 30), do)])
    schedule.do_jobs()
    office.clock.at = datetime(2026, 3, 3, 3, 29, tzinfo=UTC)
    schedule.do_jobs()
    assert len(done) == 1
    office.forward(minutes=1)
    schedule.do_jobs()
    schedule.do_jobs()
    assert len(done) == 2
    office.forward(days=4)
    schedule.do_jobs()
    assert len(done) == 3


def test_a_chore_may_be_done_every_few_minutes(office: Office) -> None:
    done: list[datetime] = []

    def do() -> str:
        done.append(office.clock.now())
        return "did it"

    job = Job("read bounces", time(), do, every=timedelta(minutes=10))
    schedule = office.schedule(jobs=[job])
    for _ in range(25):
        schedule.do_jobs()
        office.forward(minutes=1)
    assert [at - done[0] for at in done] == [timedelta(minutes=m) for m in (0, 10, 20)]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TriageError("no space left"), "failed: no space left"),
        (ZeroDivisionError("inside a library"), "failed: ZeroDivisionError"),
    ],
)
def test_a_chore_that_fails_is_noted_and_the_next_one_done(
    office: Office, error: Exception, outcome: str
) -> None:
    def fail() -> str:
        raise error

    jobs = [Job("back up", time(3), fail), Job("train", time(3), lambda: "trained")]
    office.schedule(jobs=jobs).do_jobs()
    outcomes = {row["name"]: row["outcome"] for row in rows(office.database, "jobs")}
    assert outcomes["back up"] == outcome
    assert outcomes["train"] == "trained"


def test_weekly_readers_get_one_digest_a_week(office: Office) -> None:
    add(
        office.database,
        "weekly@example.org",
        office.clock,
        SubscriberPreferences(interests="drafts", frequency=Frequency.WEEKLY),
    )
    schedule = office.schedule()
    for _ in range(29):
        office.forward(days=1)
        schedule.tick()
    days = sorted(on for _, on in office.served())
    assert len(days) == 5
    assert {later - earlier for earlier, later in itertools.pairwise(days)} == {timedelta(days=7)}
