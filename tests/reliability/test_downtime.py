"""Days of downtime heal: nine days later all papers are there, once, each on its own day.

The machine is off from 4 to 12 March 2026, while arXiv announces on seven days and the clocks go
forward. Time is a stopped clock's, so the pauses between requests cost none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.arxiv_stream import WATCHED, Stream
from tests.support.emulator import Fault, Upstreams
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import installed
from triage import store
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.digest.nightly import Composed, Nightly
from triage.domain.announcement_calendar import announcement_days, arxiv_today
from triage.domain.records import OutgoingMessage, Slate, Verdict
from triage.domain.source_records import Batch, FetchedPaper, SourceDay
from triage.operations.jobs import Schedule
from triage.papers.ingest import ingest
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules
from triage.sources.arxiv.source import Arxiv
from triage.sources.http.client import PoliteClient
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

READ, LAST_READ = date(2026, 3, 2), date(2026, 3, 3)
BACK = date(2026, 3, 13)
MISSED = announcement_days(LAST_READ + timedelta(days=1), BACK - timedelta(days=1))
DAYS = announcement_days(date(2026, 2, 20), BACK)
POLITE_S = 3.0


@dataclass
class Outage:
    """arXiv on loopback, and a source that was last read before the machine went off."""

    upstreams: Upstreams
    clock: StoppedClock
    stream: Stream
    cursor: str = ""
    gates: list[PoliteClient] = field(default_factory=list)

    def source(self, on: date) -> Arxiv:
        """Return the source as a new process makes it; the distance to the server is kept."""
        self.clock.sleep(POLITE_S)
        gate = PoliteClient(self.clock, "triage/test", POLITE_S)
        self.gates.append(gate)
        urls = (self.upstreams.rss_url, self.upstreams.api_url, self.upstreams.oai_url)
        return Arxiv(gate, WATCHED, *urls, on)

    def n_asked(self) -> int:
        return sum(asked.route == "oai" for asked in self.upstreams.log)


@pytest.fixture
def outage(guarantee: Guarantee) -> Iterator[Outage]:
    clock = StoppedClock(datetime(2026, 3, 3, 12, tzinfo=UTC))
    stream = Stream(DAYS, n_new=300 if guarantee.full else 16)
    with Upstreams(stream.records, clock=clock, takes_s=0.5) as upstreams:
        upstreams.oai_page = 100 if guarantee.full else 12
        outage = Outage(upstreams, clock, stream)
        for on in (READ, LAST_READ):
            upstreams.show(on)
            *_, last = outage.source(on).fetch(outage.cursor or None)
            outage.cursor = last.cursor or ""
        upstreams.show(BACK)
        clock.at = datetime(2026, 3, 13, 12, tzinfo=UTC)
        yield outage
        assert upstreams.most_at_once <= 1
        assert min(upstreams.gaps_s("rss", "api", "oai")) >= POLITE_S
        for gate in outage.gates:
            gate.close()


def news(batches: list[Batch]) -> list[FetchedPaper]:
    return [paper for batch in batches for paper in batch.papers if not paper.update_only]


def verdicts(batches: list[Batch]) -> dict[tuple[date, str], SourceDay]:
    """Return how days stand after all that was told of them."""
    return {(day.on, day.category): day for batch in batches for day in batch.days}


def check(outage: Outage, batches: list[Batch]) -> None:
    """Hold what an outage's source gave against what was announced."""
    due = outage.stream.announced([*MISSED, BACK])
    papers = news(batches)
    listed = {paper.source_id: paper.listed_on for paper in papers}
    assert due <= listed.keys()
    assert {id: outage.stream.listed_on[id] for id in due} == {id: listed[id] for id in due}
    known = outage.stream.announced(DAYS)
    assert {paper.source_id for paper in papers} <= known
    days = verdicts(batches)
    for on in (*MISSED, BACK):
        for category in ("", *WATCHED):
            day = days[on, category]
            assert (day.verdict, day.got) == (Verdict.COMPLETE, day.expected), day
        assert days[on, ""].got == sum(paper.listed_on == on for paper in papers)


@pytest.mark.guarantee("R32")
@pytest.mark.parametrize("oai_lag", [1, 0])
def test_one_fetch_gives_every_missed_paper_once_on_its_own_day(
    outage: Outage, guarantee: Guarantee, oai_lag: int
) -> None:
    outage.upstreams.oai_lag = oai_lag
    batches = list(outage.source(BACK).fetch(outage.cursor))
    check(outage, batches)
    given = Counter(paper.source_id for paper in news(batches))
    assert set(given.values()) == {1}
    assert all(len(batch.papers) <= 500 for batch in batches)
    again = list(outage.source(BACK).fetch(batches[-1].cursor))
    assert news(again) == []
    guarantee.record(missed_days=len(MISSED), papers_given=len(given))


@pytest.mark.guarantee("R32")
def test_killed_at_every_page_it_goes_on_right_there(outage: Outage, guarantee: Guarantee) -> None:
    whole = list(outage.source(BACK).fetch(outage.cursor))
    n_whole = outage.n_asked()
    assert len(whole) > 10
    for n in range(1, len(whole)):
        before = outage.n_asked()
        cut = outage.source(BACK).fetch(outage.cursor)
        first = [next(cut) for _ in range(n)]
        rest = list(outage.source(BACK).fetch(first[-1].cursor))
        assert [batch.papers for batch in first + rest] == [batch.papers for batch in whole]
        # The page at which it was killed is all that is asked for again.
        assert outage.n_asked() - before <= n_whole + 2
        check(outage, first + rest)
    guarantee.record(kills=len(whole) - 1)


@pytest.mark.guarantee("R32")
def test_a_token_that_has_expired_costs_its_own_day_only(
    outage: Outage, guarantee: Guarantee
) -> None:
    whole = list(outage.source(BACK).fetch(outage.cursor))
    cut = outage.source(BACK).fetch(outage.cursor)
    # It stops where a list is half read.
    first = [next(cut) for _ in range(len(whole) // 2)]
    while not any(each["token"] for each in json.loads(first[-1].cursor or "")["open"].values()):
        first.append(next(cut))
    asked = len(outage.upstreams.log)
    outage.upstreams.fail("oai", Fault.EXPIRED)
    rest = list(outage.source(BACK).fetch(first[-1].cursor))
    check(outage, first + rest)
    assert not Counter(p.source_id for p in news(first + rest)) - Counter(
        p.source_id for p in news(whole)
    )
    expired, anew = [each for each in outage.upstreams.log[asked:] if each.route == "oai"][:2]
    assert "resumptionToken" in expired.query
    assert date.fromisoformat(anew.query["from"]) > LAST_READ
    guarantee.record(expired_tokens=1)


@pytest.mark.guarantee("R32")
def test_each_subscriber_gets_one_digest_that_chooses_from_all_missed_days(
    outage: Outage, guarantee: Guarantee, tmp_path: Path
) -> None:
    clock, slates, mailer = outage.clock, list[Slate](), FakeMailer()
    readers = ("decoding", "robots")

    def compose(slate: Slate, _now: datetime, **_: object) -> Composed:
        slates.append(slate)
        name = f"<d.{slate.public_id}@example.org>"
        message = OutgoingMessage(name, slate.subscriber.email, b"a digest\r\n")
        return Composed(message, len(slate.impressions))

    outage.upstreams.log.clear()
    with installed(tmp_path) as database:
        rules = DigestRules(size=400, max_age_days=14, score_floor=0.0, exploration_slots=0)
        clock.at = datetime(2026, 3, 3, 4, tzinfo=UTC)
        for topic in readers:
            preferences = SubscriberPreferences(interests=topic, zone="UTC", hour=6)
            add(database, f"{topic}@example.org", clock, preferences)
        schedule = Schedule(
            database,
            clock,
            Nightly(
                database,
                clock,
                model_store=ModelStore(tmp_path / "models", b"a key of the tests"),
                compose=compose,
                rules=rules,
            ).queue,
            Outbox(SenderContext(database, mailer, clock, owner="one", is_gone=lambda _: True)),
            sources=lambda: [outage.source(arxiv_today(clock.now()))],
            fetch_named=list,
            awaited={"arxiv": 0},
            jobs=[],
            owner="one",
        )
        outage.upstreams.show(LAST_READ)
        _tick(schedule, clock, datetime(2026, 3, 3, 11, tzinfo=UTC))
        outage.upstreams.show(BACK)
        _tick(schedule, clock, datetime(2026, 3, 13, 11, tzinfo=UTC))
        with database.read() as conn:
            days = {day.on: day for day in store.sources.days(conn, MISSED[0], BACK)}
            stored = Counter(paper.source_id for paper in store.papers.iterate(conn))
    assert [days[on].verdict for on in (*MISSED, BACK)] == [Verdict.COMPLETE] * (len(MISSED) + 1)
    due = outage.stream.announced([LAST_READ, *MISSED, BACK])
    assert due <= stored.keys()
    assert set(stored.values()) == {1}
    after = Counter(slate.subscriber.email for slate in slates if slate.on > LAST_READ)
    assert after == {f"{topic}@example.org": 1 for topic in readers}
    assert len(mailer.sent) == len(slates) == 2 * len(readers)
    shown = {slate.subscriber.email: len(slate.impressions) for slate in slates[:2]}
    for slate in slates[2:]:
        # All that is stored and was not shown before may be chosen, of whatever missed day.
        assert slate.n_candidates == len(stored) - shown[slate.subscriber.email]
        days_shown = {impression.paper.listed_on for impression in slate.impressions}
        assert len(days_shown & {*MISSED, BACK}) > 1
    guarantee.record(digests_after_the_outage=len(readers), gap_days=(BACK - LAST_READ).days - 1)


def _tick(schedule: Schedule, clock: StoppedClock, begin: datetime) -> None:
    """Let three hours pass from `begin` on, a tick an hour."""
    clock.at = begin
    while clock.at < begin + timedelta(hours=3):
        schedule.tick()
        clock.sleep(3600)


def test_a_day_asked_for_is_read_into_the_store_like_any_other(tmp_path: Path) -> None:
    stream, clock = Stream(DAYS), StoppedClock(datetime(2026, 3, 13, 12, tzinfo=UTC))
    with installed(tmp_path) as database, Upstreams(stream.records, clock=clock) as upstreams:
        upstreams.show(BACK)
        urls = (upstreams.rss_url, upstreams.api_url, upstreams.oai_url)
        with PoliteClient(clock, "triage/test", POLITE_S) as gate:
            source = Arxiv(gate, WATCHED, *urls, BACK, since=MISSED[0])
            for _ in ingest(database, source, clock, resume=True):
                pass
        with database.read() as conn:
            stored = {paper.source_id: paper.listed_on for paper in store.papers.iterate(conn)}
            days = {day.on: day.verdict for day in store.sources.days(conn, DAYS[0], BACK)}
    assert days == dict.fromkeys([*MISSED, BACK], Verdict.COMPLETE)
    due = stream.announced([*MISSED, BACK])
    assert {id: stored.get(id) for id in due} == {id: stream.listed_on[id] for id in due}
