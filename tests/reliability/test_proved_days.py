"""Empty is proved: whatever goes wrong with arXiv's answers, the verdict on the day is right.

Every case is one failure that was seen or is documented, played to the source by the emulator, and
the verdict that a person who knew all of it would give. Two days before have been read without
trouble; where a case is about a day that the feed has moved past, that is the day between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import pytest

from tests.support.arxiv_stream import WATCHED, Stream
from tests.support.emulator import FEED_LIMIT, Fault, Upstreams
from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from triage.digest.source_report import day_report
from triage.domain.announcement_calendar import EASTERN, announcement_before, arxiv_today
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, SourceDay
from triage.errors import SourceError
from triage.sources.arxiv.source import Arxiv
from triage.sources.http.client import PoliteClient

ONE: Final = timedelta(days=1)
THURSDAY: Final = date(2026, 3, 5)
FOR_EVER: Final = 200
COMPLETE, PARTIAL, FAILED = Verdict.COMPLETE, Verdict.PARTIAL, Verdict.FAILED
SUSPECT, EXPECTED = Verdict.EMPTY_SUSPECT, Verdict.EMPTY_EXPECTED
RDF = b"""<?xml version="1.0" encoding="UTF-8"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">
<channel rdf:about="http://arxiv.org/"><title>cs updates on arXiv.org</title>
<items><rdf:Seq></rdf:Seq></items></channel></rdf:RDF>"""
DTD = b'<!DOCTYPE r [<!ENTITY a "b">]><rss><channel><title>&a;</title></channel></rss>'
NO_DATE = b"<rss><channel><title>cs updates on arXiv.org</title></channel></rss>"
API_ERROR = b"""<feed xmlns="http://www.w3.org/2005/Atom"><entry>
<id>http://arxiv.org/api/errors#incorrect_id_format_for_x</id><title>Error</title>
<summary>incorrect id format for x</summary></entry></feed>"""
OAI_REFUSES = b"""<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">
<error code="badArgument">Unallowed parameter.</error></OAI-PMH>"""


@dataclass
class Scene:
    """arXiv on loopback around one day, and a source that has read the days before it."""

    upstreams: Upstreams
    stream: Stream
    clock: StoppedClock
    on: date
    gate: PoliteClient = field(init=False)

    def __post_init__(self) -> None:
        self.gate = PoliteClient(self.clock, "triage/test", 3.0)

    def fetch(self, on: date, cursor: str | None) -> list[Batch]:
        """Return all that a fetch gives, until it ends or fails."""
        up, batches = self.upstreams, list[Batch]()
        source = Arxiv(self.gate, WATCHED, up.rss_url, up.api_url, up.oai_url, on)
        with suppress(SourceError):
            batches.extend(source.fetch(cursor))
        return batches

    def without(self, on: date) -> None:
        """Have nothing announced on a day, in any interface."""
        self.upstreams.days.pop(on, None)
        for id in [id for id, day in self.stream.listed_on.items() if day == on]:
            del self.stream.listed_on[id]


@dataclass(frozen=True)
class Case:
    """One failure.

    Attributes:
        verdict: on all categories together.
        arrange: makes it happen.
        by_category: verdicts that are others.
        on: the day that is fetched.
        missed: whether the case is about the day before, which was not read when it was time.
        n_new: how many new papers a day has.
    """

    name: str
    verdict: Verdict
    arrange: Callable[[Scene], object] = lambda _: None
    by_category: dict[str, Verdict] = field(default_factory=dict)
    on: date = THURSDAY
    missed: bool = False
    n_new: int = 16


def fail(
    route: str, fault: Fault, times: int = FOR_EVER, *, after: int = 0
) -> Callable[[Scene], object]:
    """Return what lets requests to an interface go wrong, after some that go well."""

    def arrange(scene: Scene) -> None:
        scene.upstreams.pass_on(route, after)
        scene.upstreams.fail(route, fault, times=times)

    return arrange


def says(route: str, body: bytes) -> Callable[[Scene], object]:
    return lambda scene: scene.upstreams.bodies.update({route: body})


def all_of(*several: Callable[[Scene], object]) -> Callable[[Scene], object]:
    return lambda scene: [each(scene) for each in several]


def nothing_on(on: date) -> Callable[[Scene], object]:
    return lambda scene: scene.without(on)


def api_is_older(scene: Scene) -> None:
    for record in scene.upstreams.days[scene.on]:
        record["version"] = 2
        record["api_version"] = 1


def many_unusable(scene: Scene) -> None:
    for record in scene.upstreams.days[scene.on][::3]:
        record["kind"] = "announced"


def many_of_the_missed_day_unusable(scene: Scene) -> None:
    for record in scene.upstreams.days[announcement_before(scene.on)][::3]:
        record["title"] = ""


def category_lags(scene: Scene) -> None:
    scene.upstreams.lagging = {"cs.CL"}


def feed_ends_at_its_limit(scene: Scene) -> None:
    papers = scene.upstreams.days[scene.on]
    old = {**papers[0], "kind": "replace", "version": 2, "created": "2025-01-02"}
    many = [{**old, "id": f"2501.{n:05}"} for n in range(FEED_LIMIT - 5)]
    scene.upstreams.days[scene.on] = [*many, *papers]
    scene.upstreams.oai_page = 500


def feed_says(title: str) -> Callable[[Scene], object]:
    return lambda scene: setattr(scene.upstreams, "feed_error", title)


def no_totals(scene: Scene) -> None:
    scene.upstreams.oai_totals = False


def stamps_are_utc(scene: Scene) -> None:
    scene.upstreams.oai_lag = 0


NO_OAI = fail("oai", Fault.NOT_FOUND)
THANKSGIVING_IS_OVER = date(2026, 11, 27)
WEDNESDAY = announcement_before(THURSDAY)

CASES = [
    # The API: what it does not give is stored from the feed, and the day stays open.
    Case("API: page 2 is empty", PARTIAL, fail("api", Fault.EMPTY, after=1), n_new=300),
    Case("API: page 2 is empty once", COMPLETE, fail("api", Fault.EMPTY, 1, after=1), n_new=300),
    Case("API: pages are short", PARTIAL, fail("api", Fault.SHORT)),
    Case("API: one page is short", COMPLETE, fail("api", Fault.SHORT, 1)),
    Case("API: a web page with status 200", PARTIAL, fail("api", Fault.HTML)),
    Case("API: 429 again and again", PARTIAL, fail("api", Fault.TOO_MANY)),
    Case("API: 429 once", COMPLETE, fail("api", Fault.TOO_MANY, 1)),
    Case("API: 500", PARTIAL, fail("api", Fault.BROKEN)),
    Case("API: the connection is dropped", PARTIAL, fail("api", Fault.DROPPED)),
    Case("API: gzip ends in the middle", PARTIAL, fail("api", Fault.TRUNCATED)),
    Case("API: records are older than the feed", PARTIAL, api_is_older),
    Case("API: an error in the form of an entry", PARTIAL, says("api", API_ERROR)),
    # The feed: a day that it does not tell is read otherwise, or not called empty.
    Case("feed: a web page with status 200", FAILED, fail("rss", Fault.HTML)),
    Case("feed: gzip ends in the middle", FAILED, fail("rss", Fault.TRUNCATED)),
    Case("feed: 503 again and again", FAILED, fail("rss", Fault.UNAVAILABLE)),
    Case("feed: the host has moved", FAILED, fail("rss", Fault.NOT_FOUND)),
    Case("feed: the connection is dropped", FAILED, fail("rss", Fault.DROPPED)),
    Case("feed: its title is an error", FAILED, feed_says('Feed error for query "cs.XX"')),
    Case("feed: an old host's form, without items", FAILED, says("rss", RDF)),
    Case("feed: nothing at all with status 200", FAILED, says("rss", b"")),
    Case("feed: it has no date", FAILED, says("rss", NO_DATE)),
    Case("feed: it declares entities", FAILED, says("rss", DTD)),
    Case("feed: a fifth is in another form", FAILED, many_unusable),
    Case("feed: no items, once", COMPLETE, fail("rss", Fault.EMPTY, 1)),
    Case("feed: no items, OAI-PMH has them", COMPLETE, fail("rss", Fault.EMPTY)),
    Case("feed: no items, OAI-PMH is down", SUSPECT, all_of(fail("rss", Fault.EMPTY), NO_OAI)),
    Case("nothing anywhere on a working day", SUSPECT, nothing_on(THURSDAY)),
    Case("feed: yesterday's under today's date", COMPLETE, fail("rss", Fault.STALE)),
    Case("feed: yesterday's, OAI-PMH is down", SUSPECT, all_of(fail("rss", Fault.STALE), NO_OAI)),
    Case(
        "feed: one category lags behind",
        PARTIAL,
        category_lags,
        {"cs.CL": PARTIAL, "cs.LG": COMPLETE, "cs.RO": COMPLETE, "stat.ML": COMPLETE},
    ),
    Case("feed: it ends at its limit", COMPLETE, feed_ends_at_its_limit),
    Case(
        "feed: it ends at its limit, OAI-PMH is down",
        PARTIAL,
        all_of(feed_ends_at_its_limit, NO_OAI),
    ),
    # The calendar.
    Case("week-end", EXPECTED, on=date(2026, 3, 7)),
    Case("holiday", EXPECTED, nothing_on(THANKSGIVING_IS_OVER), on=THANKSGIVING_IS_OVER),
    Case("holiday on a Friday, the Monday after", EXPECTED, on=date(2026, 12, 28)),
    Case(
        "Christmas Eve is none of arXiv's holidays",
        SUSPECT,
        nothing_on(date(2026, 12, 25)),
        on=date(2026, 12, 25),
    ),
    Case("the night in which clocks go forward", COMPLETE, on=date(2026, 3, 9)),
    Case("the night in which clocks go back", COMPLETE, on=date(2026, 11, 2)),
    # Days that the feed has moved past.
    Case("OAI-PMH: 503 again and again", FAILED, fail("oai", Fault.UNAVAILABLE), missed=True),
    Case("OAI-PMH: 503 once", COMPLETE, fail("oai", Fault.UNAVAILABLE, 1), missed=True),
    Case("OAI-PMH: page 2 is empty", PARTIAL, fail("oai", Fault.EMPTY, 1, after=4), missed=True),
    Case("OAI-PMH: pages are short", PARTIAL, fail("oai", Fault.SHORT, after=1), missed=True),
    Case("OAI-PMH: the total is wrong", PARTIAL, fail("oai", Fault.MISCOUNTED), missed=True),
    Case("OAI-PMH: web page in the middle", PARTIAL, fail("oai", Fault.HTML, after=4), missed=True),
    Case("OAI-PMH: the token expired", COMPLETE, fail("oai", Fault.EXPIRED, 1), missed=True),
    Case("OAI-PMH: tokens expire at once", PARTIAL, fail("oai", Fault.EXPIRED), missed=True),
    Case("OAI-PMH: a list without end", PARTIAL, fail("oai", Fault.ENDLESS), missed=True),
    Case("OAI-PMH: it refuses", FAILED, says("oai", OAI_REFUSES), missed=True),
    Case(
        "OAI-PMH: a fifth is in another form",
        FAILED,
        many_of_the_missed_day_unusable,
        missed=True,
    ),
    Case("OAI-PMH: dropped connection", COMPLETE, fail("oai", Fault.DROPPED, 2), missed=True),
    Case("OAI-PMH: no totals", COMPLETE, no_totals, missed=True),
    Case("OAI-PMH: datestamps are UTC's", COMPLETE, stamps_are_utc, missed=True),
    Case("a missed day has nothing", SUSPECT, nothing_on(WEDNESDAY), missed=True),
    Case(
        "a missed holiday",
        EXPECTED,
        nothing_on(THANKSGIVING_IS_OVER),
        on=date(2026, 11, 30),
        missed=True,
    ),
]


@pytest.fixture
def scene(case: Case) -> Iterator[Scene]:
    days = [case.on]
    while len(days) < 6:
        days.insert(0, announcement_before(days[0]))
    # The feed is there at midnight, Eastern time; an hour later is early enough for everybody.
    now = datetime.combine(case.on, time(1), EASTERN).astimezone(UTC)
    announced = [day for day in days if day.weekday() < 5 and day != date(2026, 12, 28)]
    stream = Stream(announced, n_new=case.n_new)
    with Upstreams(stream.records, clock=StoppedClock(now)) as upstreams:
        upstreams.oai_page = 12
        scene = Scene(upstreams, stream, StoppedClock(now), case.on)
        yield scene
        scene.gate.close()


@pytest.mark.guarantee("R30")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_failure_has_its_right_verdict(
    case: Case, scene: Scene, guarantee: Guarantee
) -> None:
    assert arxiv_today(scene.clock.now()) == case.on
    about = announcement_before(case.on) if case.missed else case.on
    read = [announcement_before(announcement_before(about)), announcement_before(about)]
    cursor = None
    for on in read:
        scene.upstreams.show(on)
        cursor = scene.fetch(on, cursor)[-1].cursor
    scene.upstreams.show(case.on)
    case.arrange(scene)

    batches = scene.fetch(case.on, cursor)

    days = {(day.on, day.category): day for batch in batches for day in batch.days}
    told = {category: days[about, category] for category in ("", *WATCHED)}
    assert told[""].verdict is case.verdict, told[""]
    for category in WATCHED:
        day = told[category]
        if category in case.by_category:
            assert day.verdict is case.by_category[category]
        elif day.verdict is not case.verdict:
            # One category may be all there while others wait.
            assert (case.verdict, day.verdict, day.got) == (PARTIAL, COMPLETE, day.expected)
    check_counts(told[""], scene, batches)
    check_line(told, about)
    guarantee.record(right_verdicts=len(CASES))


@pytest.mark.parametrize("case", [Case("mended", COMPLETE, many_of_the_missed_day_unusable)])
def test_a_missed_day_whose_form_had_changed_is_read_again(case: Case, scene: Scene) -> None:
    missed = announcement_before(case.on)
    cursor = None
    for on in (announcement_before(announcement_before(missed)), announcement_before(missed)):
        scene.upstreams.show(on)
        cursor = scene.fetch(on, cursor)[-1].cursor
    scene.upstreams.show(case.on)
    case.arrange(scene)
    batches = scene.fetch(case.on, cursor)
    cursor = batches[-1].cursor

    for record in scene.upstreams.days[missed]:
        record["title"] = record["title"] or "A title again"
    batches += scene.fetch(case.on, cursor)
    told = {day.on: day for batch in batches for day in batch.days if not day.category}
    assert told[missed].verdict is COMPLETE
    papers = [paper for batch in batches for paper in batch.papers if not paper.update_only]
    came = {paper.source_id for paper in papers if paper.listed_on == missed}
    assert came == scene.stream.announced([missed])


def check_counts(told: SourceDay, scene: Scene, batches: list[Batch]) -> None:
    """Hold what a verdict says against the papers that came."""
    papers = [paper for batch in batches for paper in batch.papers if not paper.update_only]
    came = {paper.source_id for paper in papers if paper.listed_on == told.on}
    due = scene.stream.announced([told.on])
    if told.verdict is COMPLETE:
        assert came == due
        assert told.got == told.expected == len(came) > 0
    elif told.verdict in {SUSPECT, EXPECTED}:
        assert (came, told.got) == (set(), 0)
        assert due == set() or told.verdict is SUSPECT
    else:
        assert told.expected is None or told.got <= len(came)


def check_line(told: dict[str, SourceDay], on: date) -> None:
    """See that a digest calls no day empty or whole that is not known to be."""
    line = day_report({}, list(told.values()), since=on - ONE, on=on, n_candidates=7)
    if told[""].verdict in {COMPLETE, EXPECTED}:
        assert ", complete" in line or "no announcement on arXiv" in line
    else:
        assert "no announcement" not in line
        assert "complete" not in line
        assert any(said in line for said in ("so far", "although papers were due", "not be read"))


def test_there_are_at_least_twenty_five_failures_each_named_once() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 25
