"""One paper, one work: what is joined, how it is parted, and that nobody is shown it twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.factories import DAY, NOON, impression, slate
from tests.support.fakes import StoppedClock
from tests.support.installation import (
    add_reader,
    fetched,
    installed,
    queue,
    rows,
    stored_papers,
    take_in,
    unnamed,
)
from triage import store
from triage.domain.records import EventKind, MessageState, Subscriber
from triage.domain.source_records import Enrichment, FetchedPaper, KnownPaper
from triage.errors import NotFound
from triage.papers.deduplicate import merge, provenance, split
from triage.papers.enrich import enrich
from triage.store import Database

ABSTRACT = (
    "We study drafts of length one. They make decoding faster at no loss, as nine experiments with"
    " large and small models on three kinds of machines show beyond all doubt."
)
PREPRINT = fetched(1, abstract=ABSTRACT, source="biorxiv", source_id="10.1101/2026.03.01.1")
ARTICLE = fetched(1, abstract=ABSTRACT, source="feed:journal", source_id="7", version=None)
CLOCK = StoppedClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def ids(database: Database) -> list[tuple[str, str | None]]:
    return [(paper.source, paper.source_id) for paper in stored_papers(database)]


def row_of(database: Database, text: str) -> int:
    with database.read() as conn:
        keys = store.papers.keys_meant(text)
        return next(iter(store.works.find_rows(conn, keys).values()))


def show(database: Database, reader: Subscriber, row: int, n: int = 1) -> str:
    """Show one row of papers to a reader, as a digest does."""
    with database.read() as conn:
        paper = replace(store.papers.load(conn, [row])[row], id=row)
    shown = (impression(1, paper=paper),)
    on = DAY + timedelta(days=n)
    return queue(
        database, slate(0, public_id=f"{n:020x}", subscriber=reader, on=on, impressions=shown)
    )


def vote(database: Database, reader: Subscriber, row: int, kind: EventKind) -> None:
    with database.write() as conn:
        store.events.append(
            conn,
            store.events.Event(
                subscriber_id=reader.id, paper_id=row, kind=kind, at=NOON, recorded_at=NOON
            ),
        )


# -- what is joined --------------------------------------------------------------------------------


@pytest.mark.parametrize("papers", [[PREPRINT, ARTICLE], [ARTICLE, PREPRINT]])
@pytest.mark.parametrize("one_batch", [True, False])
def test_near_identical_records_of_two_archives_are_one_work(
    database: Database, papers: list[FetchedPaper], one_batch: bool
) -> None:
    told = [take_in(database, part) for part in ([papers] if one_batch else [[p] for p in papers])]
    assert sum(each.stored for each in told) == sum(each.known for each in told) == 1
    assert ids(database) == [("biorxiv", "10.1101/2026.03.01.1")]
    with database.read() as conn:
        assert store.papers.resolve(conn, "feed:journal:7") == stored_papers(database)[0].id
        assert store.papers.count(conn) == 1
        assert store.encodings.missing(conn, "e1") == [stored_papers(database)[0].id]
    [merged] = [each for each in rows(database, "papers") if each["merged_into"]]
    assert merged["merged_because"] == "title, authors and abstract are the same"


def test_a_published_doi_joins_what_was_stored_as_two(database: Database) -> None:
    article = fetched(2, source="doi", source_id="10.1000/x", version=None, title="Final form")
    take_in(database, [PREPRINT, article])
    assert len(ids(database)) == 2
    take_in(database, [replace(PREPRINT, doi="10.1000/x", venue="Drafting", update_only=True)])
    [paper] = stored_papers(database)
    assert (paper.source, paper.venue) == ("biorxiv", "Drafting")
    [merged] = [each for each in rows(database, "papers") if each["merged_into"]]
    assert merged["merged_because"] == "both are DOI 10.1000/x"


def test_an_id_that_somebody_else_gave_a_paper_joins_the_record_that_bears_it(
    database: Database,
) -> None:
    take_in(database, [PREPRINT])
    with database.write() as conn:
        store.papers.add_ids(conn, [(("doi", "10.1000/x"), stored_papers(database)[0].id)])
    take_in(database, [fetched(2, source="doi", source_id="10.1000/x", title="Final form")])
    assert ids(database) == [("biorxiv", "10.1101/2026.03.01.1")]
    assert len(rows(database, "papers")) == 2


class Scholar:
    """Knows one more id of every paper."""

    name = "scholar"

    def enrich(self, papers: Sequence[KnownPaper]) -> Iterator[Enrichment]:
        for paper in papers:
            if ("doi", "10.1000/x") not in paper.ids:
                yield Enrichment(paper.id, ids=(("doi", "10.1000/x"),))


def test_an_id_that_somebody_knows_joins_the_rows_that_bear_it(database: Database) -> None:
    article = fetched(2, source="doi", source_id="10.1000/x", version=None, title="Final form")
    take_in(database, [PREPRINT, article])
    enrich(database, [Scholar()], CLOCK, max_age_days=9)
    assert ids(database) == [("biorxiv", "10.1101/2026.03.01.1")]


def test_a_title_joins_the_work_whose_abstract_is_likest_and_never_two(database: Database) -> None:
    title = "A survey"
    listed = unnamed(9, title=title, abstract=ABSTRACT)
    other = fetched(1, title=title, abstract="Of coins that strangers toss we know little more.")
    take_in(database, [listed, other])
    assert ids(database) == [("arxiv", "2603.00001")]
    take_in(database, [fetched(2, title=title, abstract=ABSTRACT, upvotes=1)])
    assert len(ids(database)) == 2
    with database.read() as conn:
        second = store.papers.resolve(conn, "2603.00002")
        assert second is not None
        told = {each.id for each in provenance(conn, second)}
    assert told == {"arxiv:2603.00002", f"title:{title}"}


def test_provenance_says_who_said_what_and_why_it_belongs(database: Database) -> None:
    take_in(database, [PREPRINT], origin="biorxiv")
    take_in(database, [ARTICLE], origin="a feed")
    with database.read() as conn:
        told = provenance(conn, row_of(database, "feed:journal:7"))
    assert [(each.origin, each.id, bool(each.why)) for each in told] == [
        ("biorxiv", "biorxiv:10.1101/2026.03.01.1", False),
        ("a feed", "feed:journal:7", True),
    ]


# -- how it is parted ------------------------------------------------------------------------------


def test_a_wrong_merge_is_parted_and_stays_so(database: Database) -> None:
    article = replace(ARTICLE, upvotes=31, categories=("q-bio.NC",))
    take_in(database, [PREPRINT, article])
    assert split(database, "feed:journal:7", CLOCK) == [row_of(database, PREPRINT.source_id or "")]
    for _ in range(2):
        first, second = stored_papers(database)
        assert (first.source, first.upvotes, first.categories) == ("biorxiv", None, ("cs.CL",))
        assert (second.source, second.upvotes, second.categories) == (
            "feed:journal",
            31,
            ("q-bio.NC",),
        )
        take_in(database, [article, PREPRINT, replace(PREPRINT, version=2)])
    assert split(database, "feed:journal:7", CLOCK) == []


def test_a_title_is_parted_from_the_id_that_it_joined(database: Database) -> None:
    title = fetched(1).title
    take_in(database, [unnamed(1, upvotes=4), fetched(1)])
    assert split(database, f"title:{title}", CLOCK)
    for _ in range(2):
        assert sorted(ids(database), key=str) == [("arxiv", "2603.00001"), ("listing", None)]
        take_in(database, [unnamed(1), fetched(1, version=2)])


def test_a_person_may_join_what_nothing_joins_and_part_it_again(database: Database) -> None:
    take_in(database, [fetched(1), fetched(2, abstract=ABSTRACT)])
    assert merge(database, "2603.00002", "2603.00001", CLOCK)
    assert not merge(database, "2603.00002", "2603.00001", CLOCK)
    take_in(database, [fetched(2, version=2)])
    assert ids(database) == [("arxiv", "2603.00001")]
    assert split(database, "2603.00001", CLOCK)
    assert len(ids(database)) == 2
    assert merge(database, "2603.00002", "2603.00001", CLOCK)


@pytest.mark.parametrize("text", ["2603.99999", "title:Nothing", "nonsense"])
def test_what_is_not_stored_cannot_be_parted(database: Database, text: str) -> None:
    with pytest.raises(NotFound, match="no paper"):
        split(database, text, CLOCK)


# -- shown once, voted on once ---------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["feed:journal:7", "10.1101/2026.03.01.1"])
def test_a_paper_that_was_shown_as_one_row_was_shown(database: Database, shown: str) -> None:
    apart = replace(ARTICLE, authors=(), abstract="")
    reader = add_reader(database)
    take_in(database, [apart, PREPRINT, fetched(5, title="Another", abstract="Of coins.")])
    assert len(ids(database)) == 3
    show(database, reader, row_of(database, shown))
    take_in(database, [ARTICLE])
    with database.read() as conn:
        seen = store.slates.shown_papers(conn, reader.id)
        listed = store.papers.listed_between(conn, DAY, DAY)
        assert [paper.title for paper in listed if paper.id not in seen] == ["Another"]
        assert {paper for _, paper in store.slates.shown_by_day(conn, reader.id)} == seen


def test_a_vote_on_either_row_counts_for_the_work_and_the_last_one_wins(
    database: Database,
) -> None:
    reader = add_reader(database)
    take_in(database, [PREPRINT, ARTICLE])
    merged, stands = row_of(database, "feed:journal:7"), stored_papers(database)[0].id
    vote(database, reader, stands, EventKind.VOTE_UP)
    vote(database, reader, merged, EventKind.VOTE_DOWN)
    with database.read() as conn:
        [counted] = store.events.votes(conn, reader.id)
        assert (counted.paper_id, counted.kind) == (stands, EventKind.VOTE_DOWN)
        assert {paper for _, paper, _ in store.events.all_votes(conn)} == {stands}
        for row in (merged, stands):
            last = store.events.last_vote(conn, reader.id, row)
            assert last is not None
            assert last.kind is EventKind.VOTE_DOWN


# -- withdrawn -------------------------------------------------------------------------------------


def test_a_withdrawn_paper_is_no_candidate_until_a_new_version_comes(database: Database) -> None:
    take_in(database, [fetched(1), fetched(1, version=2, withdrawn=True)])
    with database.read() as conn:
        assert store.papers.listed_between(conn, DAY, DAY) == []
    take_in(database, [fetched(1, version=3)])
    with database.read() as conn:
        assert len(store.papers.listed_between(conn, DAY, DAY)) == 1


def test_a_digest_that_shows_a_withdrawn_paper_is_not_claimed_and_is_made_anew(
    database: Database,
) -> None:
    reader = add_reader(database)
    take_in(database, [fetched(1), fetched(2, title="Another", abstract="Of coins.")])
    show(database, reader, row_of(database, "2603.00001"), 1)
    show(database, reader, row_of(database, "2603.00002"), 2)
    take_in(database, [fetched(1, version=2, withdrawn=True, update_only=True)])
    with database.write() as conn:
        bad, good = store.messages.waiting(conn, NOON)
        claims = [
            store.messages.move(conn, each, MessageState.CLAIMED, NOON, wanted_at="")
            for each in (bad, good)
        ]
        assert [claim is not None for claim in claims] == [False, True]
        assert store.messages.unwanted_because(conn, bad, "") == "paper_withdrawn"
        assert store.messages.unwanted_because(conn, good, "") is None
        for n, dropped in ((2, 0), (1, 1), (1, 0)):
            on = DAY + timedelta(days=n)
            assert store.messages.drop_withdrawn(conn, on) == dropped
        assert store.slates.by_day(conn, reader.id, DAY + timedelta(days=1)) is None
        assert len(store.slates.shown_papers(conn, reader.id)) == 1
