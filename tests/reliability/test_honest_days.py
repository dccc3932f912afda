"""Days that go wrong are told, cost nobody a paper, and fill nobody's inbox with nothing."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import fetched, installed
from tests.support.topics import CATEGORIES, TOPICS
from triage import store
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.digest.nightly import Composed, Nightly
from triage.domain.announcement_calendar import arxiv_today
from triage.domain.protocols import Source
from triage.domain.records import Frequency, MessageState, OutgoingMessage, Slate, Verdict
from triage.domain.source_records import Batch, FetchedPaper, SourceDay
from triage.errors import SourceError
from triage.operations.jobs import Schedule
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules
from triage.store import Database
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

pytestmark = pytest.mark.any_database(
    "its papers and days go the way that test_ingest shows on each"
)

ONE_DAY = timedelta(days=1)
MONDAY = date(2026, 3, 2)
HOLIDAY = date(2026, 3, 10)
# The week-end before the first announcement, on which the installation is made.
BEGIN = MONDAY - 2 * ONE_DAY
# So many days behind the reader's is the newest day that a source can be judged by.
BEHIND = {"arxiv": 0, "biorxiv": 1, "feed:robots": 0}
# What a line says that names a source of which something is missing.
BANNERS = ("could not be read", "so far", "although papers were due")
# Less than the longest outage lasts, so that only what stretches it saves what was missed.
MAX_AGE_DAYS = 7
READERS = {
    "berlin": ("Europe/Berlin", 7, "decoding", Frequency.DAILY),
    "new-york": ("America/New_York", 6, "proteins", Frequency.DAILY),
    "tokyo": ("Asia/Tokyo", 7, "robots", Frequency.DAILY),
    "weekly": ("UTC", 8, "graphs", Frequency.WEEKLY),
}
DAILY = {name: reader for name, reader in READERS.items() if name != "weekly"}
SETTLED = (Verdict.COMPLETE, Verdict.EMPTY_EXPECTED)


def at(day: int, hour: int = 0) -> datetime:
    """Return an instant of the story: its first day is 1."""
    return datetime(2026, 3, 1, hour, tzinfo=UTC) + day * ONE_DAY


@dataclass
class Trouble:
    """What goes wrong: spans of time in which a source is down, shows half of a day, or nothing."""

    down: dict[str, list[tuple[datetime, datetime]]] = field(
        default_factory=lambda: {
            "arxiv": [(at(3, 4), at(4, 20)), (at(29, 3), at(31, 9))],
            "biorxiv": [(at(2, 0), at(3, 2)), (at(11, 4), at(15, 20)), (at(29, 3), at(31, 9))],
            "feed:robots": [(at(4, 9), at(5, 9)), (at(16, 0), at(16, 23)), (at(29, 3), at(31, 9))],
        }
    )
    half_until: dict[tuple[str, date], datetime] = field(
        default_factory=lambda: {
            ("arxiv", date(2026, 3, 6)): at(5, 14),
            ("arxiv", date(2026, 3, 12)): at(13, 2),
            ("biorxiv", date(2026, 3, 4)): at(7, 2),
        }
    )
    nothing_until: dict[tuple[str, date], datetime] = field(
        default_factory=lambda: {
            ("arxiv", date(2026, 3, 11)): at(11, 3),
            ("arxiv", date(2026, 3, 17)): at(16, 10),
        }
    )
    machine_off: list[tuple[datetime, datetime]] = field(
        default_factory=lambda: [(at(8, 1), at(9, 3)), (at(18, 5), at(27, 5))]
    )


class World:
    """Announces papers on every topic, and remembers what it has given of which day."""

    def __init__(self, clock: StoppedClock, n_days: int) -> None:
        self.clock = clock
        self.trouble = Trouble()
        self.days: dict[tuple[str, date], list[FetchedPaper]] = defaultdict(list)
        self.topic_of: dict[str, str] = {}
        self.given_whole: set[tuple[str, date]] = set()
        rng = np.random.default_rng(3)
        for n in range(n_days):
            on = MONDAY + n * ONE_DAY
            if on.weekday() >= 5 or on == HOLIDAY:
                continue
            for topic in TOPICS:
                self._announce("arxiv", on, topic, rng)
            self._announce("biorxiv", on, "proteins", rng)
            if n % 2:
                self._announce("feed:robots", on, "robots", rng)

    def _announce(self, source: str, on: date, topic: str, rng: np.random.Generator) -> None:
        number = len(self.topic_of) + 1
        words = [str(word) for word in rng.permutation(TOPICS[topic].split())]
        source_id = f"2603.{number:05d}" if source == "arxiv" else f"10.1101/2026.03.{number:04d}"
        paper = fetched(
            number,
            source=source,
            source_id=source_id,
            title=f"{' '.join(words[:4])} of kind {number}".capitalize(),
            abstract=f"We study {' and '.join(words)} in {number} ways.",
            authors=(f"Author Number{number}",),
            categories=(CATEGORIES[topic],),
            listed_on=on,
        )
        self.days[source, on].append(paper)
        self.topic_of[source_id] = topic

    def is_down(self, source: str) -> bool:
        now = self.clock.now()
        return any(begin <= now < end for begin, end in self.trouble.down.get(source, ()))

    def visible(self, source: str, on: date) -> list[FetchedPaper]:
        papers, now = self.days.get((source, on), []), self.clock.now()
        if now < self.trouble.nothing_until.get((source, on), now):
            return []
        if now < self.trouble.half_until.get((source, on), now):
            return papers[: len(papers) // 2]
        return papers

    def is_off(self) -> bool:
        now = self.clock.now()
        return any(begin <= now < end for begin, end in self.trouble.machine_off)

    def newest_day(self, source: str) -> date:
        return arxiv_today(self.clock.now()) - BEHIND[source] * ONE_DAY

    def missing(self, since: date, on: date) -> set[str]:
        """Return the sources of which a reader's digest for `on` cannot tell everything.

        Args:
            since: the day of the digest before.
        """
        found = set()
        for source in BEHIND:
            newest = min(self.newest_day(source), on - BEHIND[source] * ONE_DAY)
            behind = on - newest
            for n in range((on - since).days):
                day = on - behind - n * ONE_DAY
                if day >= BEGIN and (source, day) not in self.given_whole:
                    found.add(source)
        return found


class Announcing:
    """One source of the world: it reads every day that it has not read to its end."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self._world = world

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        done = set(json.loads(cursor or "[]"))
        newest = self._world.newest_day(self.name)
        if self._world.is_down(self.name):
            if newest.isoformat() not in done:
                yield Batch(days=(SourceDay(self.name, newest, Verdict.FAILED, None, 0),))
            raise SourceError(f"{self.name} does not answer: it is asked again")
        for n in range((newest - BEGIN).days + 1):
            on = BEGIN + n * ONE_DAY
            if on.isoformat() not in done:
                papers = self._world.visible(self.name, on)
                day = self._verdict(on, len(papers))
                if day.verdict in SETTLED:
                    done.add(on.isoformat())
                    self._world.given_whole.add((self.name, on))
                yield Batch(papers=tuple(papers), cursor=json.dumps(sorted(done)), days=(day,))

    def _verdict(self, on: date, got: int) -> SourceDay:
        expected = len(self._world.days.get((self.name, on), []))
        if not expected:
            return SourceDay(self.name, on, Verdict.EMPTY_EXPECTED, 0, 0)
        if not got:
            return SourceDay(self.name, on, Verdict.EMPTY_SUSPECT, None, 0)
        verdict = Verdict.COMPLETE if got == expected else Verdict.PARTIAL
        return SourceDay(self.name, on, verdict, expected, got)


@dataclass
class Told:
    """A digest as it was made, and of which sources something was missing at that time."""

    slate: Slate
    missing: set[str]


@dataclass
class Office:
    """An installation in that world, which notes what was missing whenever it makes a digest."""

    database: Database
    folder: Path
    world: World
    told: list[Told] = field(default_factory=list)
    mailer: FakeMailer = field(default_factory=FakeMailer)

    def compose(self, slate: Slate, _now: datetime, **_: object) -> Composed:
        reader = slate.subscriber.id
        earlier = [each.slate.on for each in self.told if each.slate.subscriber.id == reader]
        since = max(earlier, default=slate.on - ONE_DAY)
        self.told.append(Told(slate, self.world.missing(since, slate.on)))
        name = f"<d.{slate.public_id}@example.org>"
        message = OutgoingMessage(name, slate.subscriber.email, b"a digest\r\n")
        return Composed(message, len(slate.impressions))

    def schedule(self) -> Schedule:
        clock = self.world.clock
        nightly = Nightly(
            self.database,
            clock,
            model_store=ModelStore(self.folder / "models", b"a key of the tests"),
            compose=self.compose,
            rules=DigestRules(
                size=10, max_age_days=MAX_AGE_DAYS, score_floor=0.01, exploration_slots=1
            ),
        )
        return Schedule(
            self.database,
            clock,
            nightly.queue,
            Outbox(
                SenderContext(
                    self.database, self.mailer, clock, owner="one", is_gone=lambda _: True
                )
            ),
            sources=self.sources,
            fetch_named=list,
            awaited={"arxiv": 0, "biorxiv": 1},
            jobs=[],
            owner="one",
        )

    def sources(self) -> Sequence[Source]:
        return [Announcing(self.world, name) for name in BEHIND]

    def live(self, n_days: int, hours: int) -> None:
        """Let so many days pass, a tick every few hours while the machine is on."""
        schedule = self.schedule()
        while self.world.clock.at < at(1 + n_days):
            if not self.world.is_off():
                schedule.tick()
            self.world.clock.sleep(hours * 3600)


@pytest.fixture
def office(tmp_path: Path, guarantee: Guarantee) -> Iterator[Office]:
    n_days, n_quiet = (30, 7) if guarantee.full else (8, 2)
    readers = READERS if guarantee.full else DAILY
    clock = StoppedClock(at(0, 4))
    with installed(tmp_path) as database:
        office = Office(database, tmp_path, World(clock, n_days))
        for name, (zone, hour, topic, frequency) in readers.items():
            add(
                database,
                f"{name}@example.org",
                clock,
                SubscriberPreferences(
                    interests=TOPICS[topic], zone=zone, hour=hour, frequency=frequency
                ),
            )
        # Then nothing is announced until what came last has been shown, to weekly readers, too.
        office.live(n_days + n_quiet, hours=1 if guarantee.full else 3)
        yield office


@pytest.mark.guarantee("R19")
def test_an_empty_or_thin_day_is_honest_and_costs_no_paper(
    office: Office, guarantee: Guarantee
) -> None:
    world, told = office.world, office.told
    with office.database.read() as conn:
        listing = store.messages.listing(conn)
    sent = [row for row in listing if row["state"] == MessageState.SENT]
    assert len(sent) == len(told) == len(office.mailer.sent)

    shown = Counter(
        (each.slate.subscriber.email, impression.paper.source_id)
        for each in told
        for impression in each.slate.impressions
    )
    relevant = {
        (f"{name}@example.org", id)
        for name, (_, _, topic, _) in (READERS if guarantee.full else DAILY).items()
        for id, its_topic in world.topic_of.items()
        if its_topic == topic
    }
    never = sorted(relevant - shown.keys())
    twice = sorted(key for key, n in shown.items() if n > 1)
    assert (never, twice) == ([], [])

    empty = [each for each in told if not each.slate.impressions]
    assert not empty

    wrong = [
        (each.slate.subscriber.email, each.slate.on, each.slate.day_report, each.missing)
        for each in told
        if bool(each.missing) != any(words in each.slate.day_report for words in BANNERS)
    ]
    assert not wrong
    n_banners = sum(bool(each.missing) for each in told)
    assert 0 < n_banners < len(told)
    guarantee.record(
        n_days=(max(each.slate.on for each in told) - MONDAY).days + 1,
        n_digests=len(told),
        n_digests_with_banner=n_banners,
        n_relevant=len(relevant),
        n_shown_twice=len(twice),
        n_never_shown=len(never),
        n_empty_mails=len(empty),
        n_wrong_banners=len(wrong),
    )
