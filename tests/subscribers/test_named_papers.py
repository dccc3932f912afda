"""Papers that people name: asked for, awaited, found later, and told of once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.factories import NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import (
    add_reader,
    fetched,
    installed,
    rows,
    stored_papers,
    take_in,
)
from triage import store
from triage.domain.paper_ids import title_key
from triage.domain.records import EventKind, Subscriber
from triage.domain.source_records import FetchedPaper, NamedPaper, PaperId
from triage.errors import DatabaseError, NoAnswerInTime, NotFound, SourceError
from triage.store import Database
from triage.store.named_papers import Outcome
from triage.subscribers import forgotten_votes, subscriptions
from triage.subscribers.library_import import likes, read_library
from triage.subscribers.named_papers import (
    ASKED_AGAIN,
    MOST_ASKED,
    MOST_AT_ONCE,
    MOST_REQUESTS,
    LookupReport,
    describe_waiting,
    fetch_ids,
    fetch_waiting,
    look_up,
)

A_DAY = ASKED_AGAIN + timedelta(minutes=1)


@dataclass
class Archive:
    """Has papers by the key of their names, and notes what it is asked."""

    schemes: Sequence[str] = ("arxiv",)
    papers: dict[str, FetchedPaper] = field(default_factory=dict)
    name: str = "arXiv"
    at_once: int = 200
    breaks: Exception | None = None
    asked: list[list[str]] = field(default_factory=list)

    def find(self, names: Sequence[NamedPaper], deadline: datetime) -> list[FetchedPaper]:
        assert deadline > NOON
        self.asked.append([each.value for each in names])
        if self.breaks is not None:
            raise self.breaks
        return [self.papers[each.value] for each in names if each.value in self.papers]


@dataclass
class World:
    db: Database
    ada: Subscriber
    arxiv: Archive = field(default_factory=Archive)
    clock: StoppedClock = field(default_factory=StoppedClock)

    def has(self, n: int) -> None:
        self.arxiv.papers[f"2603.{n:05d}"] = fetched(n, named=True)

    def name(self, *values: str, method: str = "library") -> None:
        names = [NamedPaper("arxiv", value) for value in values]
        with self.db.write() as conn:
            store.named_papers.add(conn, self.ada.id, names, method, self.clock.now())

    def later(self) -> tuple[str, ...]:
        """Let the scheduler ask, a day later."""
        self.clock.at += A_DAY
        return fetch_waiting(self.db, [self.arxiv], self.clock)

    def liked(self) -> list[str | None]:
        return sorted(each.paper.source_id or "" for each in likes(self.db, self.ada))

    def outcome(self, *, untold: bool = False) -> Outcome:
        with self.db.read() as conn:
            if untold:
                found = store.named_papers.untold_outcomes(conn, [self.ada.id])
                return found.get(self.ada.id, Outcome(0, 0, ()))
            return store.named_papers.outcome(conn, self.ada.id)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with installed(tmp_path) as database:
        yield World(database, add_reader(database))


# -- at once ---------------------------------------------------------------------------------------


def test_a_liked_paper_that_is_not_stored_is_fetched_and_liked(world: World) -> None:
    world.has(1)
    added = subscriptions.add(
        world.db, "b@example.org", world.clock, likes=["2603.00001v2"], lookups=[world.arxiv]
    )
    assert (added.new, added.n_waiting, added.problems) == (True, 0, ())
    [event] = rows(world.db, "events")
    assert (event["kind"], event["evidence"]) == (
        EventKind.VOTE_UP, {"method": "like given at the start"},
    )  # fmt: skip
    assert rows(world.db, "named_papers") == []
    [record] = rows(world.db, "paper_records")
    assert record["origin"] == "named:arxiv"


def test_who_is_known_already_costs_no_question(world: World) -> None:
    again = subscriptions.add(
        world.db, world.ada.email, world.clock, likes=["2603.00001"], lookups=[world.arxiv]
    )
    assert not again.new
    assert world.arxiv.asked == []


@pytest.mark.parametrize("like", ["attention", "10.1038/s1", "title: Attention is all you need"])
def test_a_like_that_nobody_can_be_asked_for_is_refused_before_any_question(
    world: World, like: str
) -> None:
    with pytest.raises(NotFound, match="no paper"):
        subscriptions.add(
            world.db, "b@example.org", world.clock, likes=["2603.00001", like],
            lookups=[world.arxiv],
        )  # fmt: skip
    assert world.arxiv.asked == []
    assert len(rows(world.db, "subscribers")) == 1


def test_without_archives_a_like_that_is_not_stored_is_refused(world: World) -> None:
    with pytest.raises(NotFound, match="import the papers first"):
        subscriptions.add(world.db, "b@example.org", world.clock, likes=["2603.00001"])


def test_a_library_is_fetched_at_once_and_every_entry_counts_once(world: World) -> None:
    world.has(1)
    take_in(world.db, [fetched(2)])
    report = read_library(
        world.db, world.clock, world.ada, "2603.00001 2603.00002 2603.00003",
        lookups=[world.arxiv],
    )  # fmt: skip
    assert world.liked() == ["2603.00001", "2603.00002"]
    assert (report.stored, report.liked, report.known, report.waiting) == (1, 2, 0, 1)
    assert report.read == report.liked + report.known + report.waiting
    assert report.problems == (
        "1 paper was not found: `triage schedule` asks for it again in a day",
    )
    # What arXiv said already is told by the next digest.
    assert world.outcome() == Outcome(0, 0, (NamedPaper("arxiv", "2603.00003"),))


def test_a_title_is_found_by_an_author_even_if_others_wrote_one_of_that_name(world: World) -> None:
    title = "The title of two papers"
    take_in(world.db, [fetched(5, title=title, authors=("Somebody Else",))])
    own = fetched(6, title=title, authors=("Marie Curie",), abstract="Another.", named=True)
    titles = Archive(schemes=("title",), papers={title_key(title): own}, at_once=10)
    entry = f"@misc{{k, title={{{title}}}, author={{Curie, M.}}}}"
    report = read_library(world.db, world.clock, world.ada, entry, lookups=[titles])
    assert (report.liked, world.liked()) == (1, ["2603.00006"])
    assert titles.asked == [[title_key(title)]]


def test_a_title_that_nobody_has_is_not_recognised_and_does_not_wait(world: World) -> None:
    titles = Archive(schemes=("title",), at_once=10)
    entry = "@book{k, title={The Art of Computer Programming}, author={Knuth, D.}}"
    report = read_library(world.db, world.clock, world.ada, entry, lookups=[titles])
    assert (report.waiting, len(report.unrecognised)) == (0, 1)
    assert rows(world.db, "named_papers") == []


def test_a_title_waits_if_arxiv_does_not_answer(world: World) -> None:
    titles = Archive(schemes=("title",), at_once=10, breaks=NoAnswerInTime("no"))
    entry = "@book{k, title={The Art of Computer Programming}, author={Knuth, D.}}"
    report = read_library(world.db, world.clock, world.ada, entry, lookups=[titles])
    assert (report.waiting, report.unrecognised) == (1, ())


@pytest.mark.parametrize(("n", "n_questions"), [(MOST_AT_ONCE, 1), (MOST_AT_ONCE + 1, 0)])
def test_more_than_two_hundred_names_are_left_to_the_scheduler(
    world: World, n: int, n_questions: int
) -> None:
    ids = [f"2603.{i:05d}" for i in range(1, n + 1)]
    report = read_library(world.db, world.clock, world.ada, " ".join(ids), lookups=[world.arxiv])
    assert report.waiting == n
    assert len(world.arxiv.asked) == n_questions
    if not n_questions:
        assert report.problems == (
            f"{n} papers are not stored yet: `triage schedule` asks for them soon, and the next"
            " digest says what was found",
        )
        fetch_waiting(world.db, [world.arxiv], world.clock)
        assert [len(each) for each in world.arxiv.asked] == [200, 1]


def test_the_operators_list_counts_what_was_stored_and_what_waits(world: World) -> None:
    world.has(1)
    ids = [PaperId("arxiv", f"2603.{n:05d}", None, "line 1") for n in (1, 2, 1)]
    report, left = fetch_ids(world.db, [world.arxiv], world.clock, ids)
    assert (report.stored, left) == (1, (ids[1],))
    fetch_ids(world.db, [world.arxiv], world.clock, ids)
    [row] = rows(world.db, "named_papers")
    assert (row["subscriber_id"], row["value"], row["n_asked"]) == (None, "2603.00002", 2)


def test_nobody_is_asked_for_nothing(world: World) -> None:
    assert look_up(world.db, [world.arxiv], world.clock, []) == LookupReport()
    assert fetch_waiting(world.db, [world.arxiv], world.clock) == ()
    assert world.arxiv.asked == []


def test_only_the_first_service_for_a_scheme_is_asked_and_no_more_than_it_may_be(
    world: World,
) -> None:
    biorxiv = Archive(schemes=("biorxiv",), name="bioRxiv", at_once=1)
    crossref = Archive(schemes=("doi", "biorxiv"), name="Crossref", at_once=40)
    names = [NamedPaper("biorxiv", f"10.1101/{n}") for n in range(MOST_REQUESTS + 5)]
    with world.db.write() as conn:
        store.named_papers.add(conn, world.ada.id, names, "library", NOON)
    fetch_waiting(world.db, [biorxiv, crossref], world.clock)
    assert len(biorxiv.asked) == MOST_REQUESTS
    assert crossref.asked == []
    fetch_waiting(world.db, [crossref], world.clock)
    assert crossref.asked == [[f"10.1101/{n}" for n in range(MOST_REQUESTS, MOST_REQUESTS + 5)]]


# -- services that do not answer -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoAnswerInTime("x"), "arXiv gave no answer within 10 seconds"),
        (SourceError("It is full. Wait."), "arXiv gave no usable answer (It is full. Wait)"),
        (ZeroDivisionError("secret"), "arXiv gave no usable answer (ZeroDivisionError)"),
    ],
)
def test_a_service_that_fails_is_told_in_plain_words_and_names_wait(
    world: World, error: Exception, words: str
) -> None:
    world.arxiv.breaks = error
    added = subscriptions.add(
        world.db, "b@example.org", world.clock, likes=["2603.00001"], lookups=[world.arxiv]
    )
    assert (added.new, added.n_waiting) == (True, 1)
    assert added.problems == (
        f"{words}; `triage schedule` asks it again",
        "1 paper is not stored yet: `triage schedule` asks for it soon, and the next digest says"
        " what was found",
    )
    [row] = rows(world.db, "named_papers")
    assert (row["asked_at"], row["n_asked"]) == (None, 0)


def test_a_service_that_failed_gets_no_more_requests_and_the_others_are_asked(
    world: World,
) -> None:
    ids = Archive(at_once=1, breaks=SourceError("down"))
    titles = Archive(schemes=("title",))
    crossref = Archive(schemes=("doi",), name="Crossref")
    names = [
        NamedPaper("arxiv", "2603.00001"), NamedPaper("arxiv", "2603.00002"),
        NamedPaper("title", "x" * 20, "X", ("A. B",)), NamedPaper("doi", "10.1/x"),
    ]  # fmt: skip
    report = look_up(world.db, [ids, titles, crossref], world.clock, names)
    assert (len(ids.asked), len(titles.asked), len(crossref.asked)) == (1, 0, 1)
    assert report.answered == {("doi", "10.1/x")}
    assert len(report.problems) == 1


def test_trouble_of_the_database_is_no_trouble_of_a_service(world: World) -> None:
    world.arxiv.breaks = DatabaseError("locked")
    with pytest.raises(DatabaseError):
        look_up(world.db, [world.arxiv], world.clock, [NamedPaper("arxiv", "2603.00001")])


def test_lines_about_what_waits_know_one_from_many() -> None:
    names = [NamedPaper("arxiv", f"2603.{n:05d}") for n in range(1, 1203)]
    other = [NamedPaper("doi", "10.1/x"), NamedPaper("biorxiv", "10.1101/y")]
    arxiv = [Archive()]
    assert describe_waiting(names, arxiv, (), follows="") == [
        "1,202 papers are not stored yet: `triage schedule` asks for them soon"
    ]
    assert describe_waiting(names[:2], arxiv, {each.key for each in names}) == [
        "2 papers were not found: `triage schedule` asks for them again in a day"
    ]
    assert describe_waiting(other, arxiv, ()) == [
        "2 papers are not stored, and nobody is asked for them: switch on `[sources.biorxiv]` and"
        " `[sources.crossref]`"
    ]
    assert describe_waiting(names[:1], [], ()) == [
        "1 paper is not stored, and nobody is asked for it: switch on `[sources.arxiv]`"
    ]
    assert describe_waiting([], arxiv, ()) == []


# -- later -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["library", "zotero", "like given at the start"])
def test_what_is_found_later_is_liked_as_it_was_named(world: World, method: str) -> None:
    world.name("2603.00001", method=method)
    world.has(1)
    assert world.later() == ()
    [event] = rows(world.db, "events")
    assert (event["kind"], event["evidence"]) == (EventKind.VOTE_UP, {"method": method})
    world.later()
    assert len(rows(world.db, "events")) == 1


def test_a_paper_that_several_people_named_is_asked_for_once_and_liked_by_all(
    world: World,
) -> None:
    ben = add_reader(world.db, 2)
    world.name("2603.00001")
    with world.db.write() as conn:
        name = NamedPaper("arxiv", "2603.00001")
        store.named_papers.add(conn, ben.id, [name], "library", NOON)
        store.named_papers.add(conn, None, [name], "", NOON)
    world.has(1)
    world.later()
    assert world.arxiv.asked == [["2603.00001"]]
    assert sorted(row["subscriber_id"] for row in rows(world.db, "events")) == [
        world.ada.id, ben.id,
    ]  # fmt: skip


def test_a_vote_that_was_cast_meanwhile_is_kept(world: World) -> None:
    world.name("2603.00001")
    take_in(world.db, [fetched(1)])
    [paper] = stored_papers(world.db)
    vote = store.events.Event(world.ada.id, paper.id, EventKind.VOTE_DOWN, NOON, NOON)
    with world.db.write() as conn:
        store.events.append(conn, vote)
    world.later()
    assert [row["kind"] for row in rows(world.db, "events")] == [EventKind.VOTE_DOWN]


def test_what_comes_in_another_way_is_liked_and_not_asked_for(world: World) -> None:
    world.name("2603.00001")
    take_in(world.db, [fetched(1)])
    assert fetch_waiting(world.db, [world.arxiv], world.clock) == ()
    assert world.liked() == ["2603.00001"]
    assert world.arxiv.asked == []


def test_what_was_given_up_is_liked_when_a_list_brings_it(world: World) -> None:
    world.name("2603.00001")
    for _ in range(MOST_ASKED + 2):
        world.later()
    assert len(world.arxiv.asked) == MOST_ASKED
    take_in(world.db, [fetched(1)])
    world.later()
    assert world.liked() == ["2603.00001"]


def test_it_is_asked_once_a_day_and_three_times_at_most(world: World) -> None:
    world.name("2603.00001")
    for _ in range(10):
        fetch_waiting(world.db, [world.arxiv], world.clock)
        world.clock.at += ASKED_AGAIN / 2
    assert len(world.arxiv.asked) == MOST_ASKED


def test_a_failure_does_not_count_as_asked(world: World) -> None:
    world.name("2603.00001")
    world.arxiv.breaks = SourceError("down")
    for _ in range(5):
        assert fetch_waiting(world.db, [world.arxiv], world.clock)
    assert world.outcome() == Outcome(0, 1, ())
    world.arxiv.breaks = None
    world.has(1)
    fetch_waiting(world.db, [world.arxiv], world.clock)
    assert world.liked() == ["2603.00001"]


def test_who_lets_votes_be_forgotten_gets_no_likes_of_what_they_named_before(world: World) -> None:
    world.name("2603.00001")
    forgotten_votes.forget(world.db, world.clock, world.ada)
    world.has(1)
    world.later()
    assert world.liked() == []


def test_who_is_erased_is_asked_for_no_more(world: World) -> None:
    world.name("2603.00001")
    with world.db.write() as conn:
        store.zotero_libraries.save(conn, world.ada.id, "AbCdEfGh1234567890zotero", NOON)
    subscriptions.erase(world.db, world.ada.email)
    world.later()
    assert world.arxiv.asked == []
    assert rows(world.db, "named_papers") == rows(world.db, "zotero_libraries") == []


# -- telling ---------------------------------------------------------------------------------------


def test_an_outcome_is_told_once_and_again_if_the_paper_is_found_later(world: World) -> None:
    world.name("2603.00001", "2603.00002", "2603.00003")
    world.has(1)
    world.later()
    missing = (NamedPaper("arxiv", "2603.00002"), NamedPaper("arxiv", "2603.00003"))
    assert world.outcome(untold=True) == Outcome(1, 0, missing)
    with world.db.write() as conn:
        store.named_papers.mark_told(conn, [world.ada.id], NOON)
    assert world.outcome(untold=True) == Outcome(0, 0, ())
    assert world.outcome() == Outcome(1, 0, missing)
    world.has(2)
    world.later()
    assert world.outcome(untold=True) == Outcome(1, 0, ())


def test_what_still_waits_is_not_told_and_stays_to_be_told(world: World) -> None:
    world.name("2603.00001")
    with world.db.write() as conn:
        store.named_papers.mark_told(conn, [world.ada.id], NOON)
    world.has(1)
    world.later()
    assert world.outcome(untold=True) == Outcome(1, 0, ())


def test_what_is_not_found_after_a_digest_is_told_by_the_next(world: World) -> None:
    world.name("2603.00001")
    with world.db.write() as conn:
        store.named_papers.mark_told(conn, [world.ada.id], NOON)
    world.later()
    assert world.outcome(untold=True) == Outcome(0, 0, (NamedPaper("arxiv", "2603.00001"),))


def test_naming_a_paper_again_changes_nothing(world: World) -> None:
    world.name("2603.00001")
    world.later()
    before = rows(world.db, "named_papers")
    world.name("2603.00001", "2603.00001", method="zotero")
    assert rows(world.db, "named_papers") == before


def test_a_paper_is_found_by_another_of_its_ids(world: World) -> None:
    world.name("2603.00001")
    take_in(world.db, [replace(fetched(1), source_id="2603.00009", doi="10.1/x")])
    with world.db.write() as conn:
        name = NamedPaper("doi", "10.1/x")
        store.named_papers.add(conn, world.ada.id, [name], "library", NOON)
    world.later()
    assert world.liked() == ["2603.00009"]
