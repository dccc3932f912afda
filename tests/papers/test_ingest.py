"""Which work a record is, what it may change, and that nothing is lost or stored twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import (
    ListedSource,
    fetched,
    installed,
    rows,
    stored_papers,
    take_in,
    unnamed,
)
from tests.support.paths import SHARED
from triage import store
from triage.domain.records import Verdict
from triage.domain.source_records import Batch, FetchedPaper, PaperId, Rejected, SourceDay
from triage.errors import SourceError
from triage.papers.ingest import IngestReport, ingest
from triage.sources.files.detect import open_source
from triage.store import Database, open_database

ONE_DAY = timedelta(days=1)
LISTINGS = SHARED / "listings"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def run(database: Database, source: ListedSource, *, resume: bool = False) -> IngestReport:
    return list(ingest(database, source, StoppedClock(), resume=resume))[-1]


# -- which work a record is ------------------------------------------------------------------------


def test_the_same_records_again_store_nothing_new(database: Database) -> None:
    papers = [fetched(1), fetched(2), unnamed(3)]
    assert take_in(database, papers) == IngestReport(read=3, stored=3)
    before = {table: rows(database, table) for table in ("papers", "paper_ids", "paper_records")}
    assert take_in(database, papers) == IngestReport(read=3, known=3)
    assert {table: rows(database, table) for table in before} == before


def test_a_paper_twice_in_one_batch_is_one_paper(database: Database) -> None:
    assert take_in(database, [fetched(1), unnamed(2), fetched(1), unnamed(2)]) == IngestReport(
        read=4, stored=2, known=2
    )
    assert len(stored_papers(database)) == 2


def test_two_that_store_the_same_papers_at_once_store_each_once(database: Database) -> None:
    other = open_database(database.engine.url.render_as_string(hide_password=False))
    batches = [Batch(papers=(fetched(n), unnamed(100 + n))) for n in range(20)]
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda db: run(db, ListedSource(*batches)), [database, other]))
    other.close()
    assert sum(report.stored for report in reports) == 40
    assert sum(report.known for report in reports) == 40
    assert len(stored_papers(database)) == len({p.title for p in stored_papers(database)}) == 40


@pytest.mark.parametrize("one_batch", [True, False])
def test_a_record_with_an_id_joins_the_work_that_had_only_a_title(
    database: Database, one_batch: bool
) -> None:
    listed = unnamed(1, title="Speculative   DECODING, with 1 drafts")
    batches = [[listed, fetched(1)]] if one_batch else [[listed], [fetched(1)]]
    for papers in batches:
        take_in(database, papers)
    [joined] = stored_papers(database)
    assert (joined.source, joined.source_id) == ("arxiv", "2603.00001")
    assert joined.title == fetched(1).title
    assert joined.authors == ("Ada Lovelace",)


@pytest.mark.parametrize("one_batch", [True, False])
def test_a_record_without_an_id_joins_the_work_of_its_title(
    database: Database, one_batch: bool
) -> None:
    listed = unnamed(1, upvotes=31, abstract="Another wording.")
    batches = [[fetched(1), listed]] if one_batch else [[fetched(1)], [listed]]
    for papers in batches:
        take_in(database, papers)
    [joined] = stored_papers(database)
    assert (joined.source, joined.source_id) == ("arxiv", "2603.00001")
    assert joined.abstract == fetched(1).abstract
    assert joined.upvotes == 31
    assert [each["source"] for each in rows(database, "paper_records")] == ["arxiv", "listing"]


def test_two_ids_with_one_title_are_two_works(database: Database) -> None:
    title = "A survey"
    take_in(database, [fetched(1, title=title), fetched(2, title=title)])
    take_in(database, [fetched(3, title=title)])
    assert [each.source_id for each in stored_papers(database)] == [
        "2603.00001",
        "2603.00002",
        "2603.00003",
    ]


def test_only_the_first_of_two_ids_takes_over_a_title(database: Database) -> None:
    title = "A survey"
    take_in(database, [unnamed(9, title=title)])
    take_in(database, [fetched(1, title=title), fetched(2, title=title)])
    assert [each.source_id for each in stored_papers(database)] == ["2603.00001", "2603.00002"]


def test_a_doi_joins_the_published_form_with_the_preprint(database: Database) -> None:
    preprint = fetched(1, doi="10.1000/x")
    published = fetched(2, source="doi", source_id="10.1000/x", doi="10.1000/x", title="Final")
    assert take_in(database, [preprint]).stored == 1
    assert take_in(database, [published]).known == 1
    [joined] = stored_papers(database)
    assert (joined.source, joined.title) == ("arxiv", preprint.title)


def test_the_same_id_of_another_source_is_another_work(database: Database) -> None:
    take_in(database, [fetched(1), fetched(1, source="feed:mine", title="Other")])
    assert len(stored_papers(database)) == 2


def test_titles_without_letters_are_works_of_their_own(database: Database) -> None:
    take_in(database, [unnamed(1, title="???"), unnamed(2, title="!!!"), unnamed(3, title="???")])
    assert [each.title for each in stored_papers(database)] == ["???", "!!!"]


# -- what a record may change ----------------------------------------------------------------------


def encoded_versions(database: Database) -> list[str]:
    return [each["encoder_version"] for each in rows(database, "encodings")]


def pretend_encoded(database: Database) -> None:
    import numpy as np
    from scipy.sparse import csr_matrix

    from triage.domain.records import Encodings

    ones = np.ones((1, 2), np.float32)
    one = Encodings(ones, csr_matrix(ones), ones, ones[0, :1], ones, ones[0, :1])
    with database.write() as conn:
        for paper in store.papers.iterate(conn):
            store.encodings.save(conn, "e1", [paper.id], one)


def test_a_newer_version_replaces_the_text_and_forgets_its_vectors(database: Database) -> None:
    take_in(database, [fetched(1), fetched(2)])
    pretend_encoded(database)
    take_in(database, [fetched(1, version=2, title="A better title", abstract="More.")])
    changed, other = stored_papers(database)
    assert (changed.version, changed.title, changed.abstract) == (2, "A better title", "More.")
    assert [each["paper_id"] for each in rows(database, "encodings")] == [other.id]
    with database.read() as conn:
        assert store.papers.resolve(conn, "title:a better TITLE") == changed.id


def test_an_older_version_changes_nothing(database: Database) -> None:
    take_in(database, [fetched(1, version=2)])
    pretend_encoded(database)
    before = rows(database, "papers")
    take_in(database, [fetched(1, version=1, title="An early title", abstract="Less.")])
    [paper] = rows(database, "papers")
    # That the newer one was a revision is now known.
    assert paper["revised_on"] == DAY
    assert [paper | {"revised_on": None, "updated_at": NOON}] == before
    assert encoded_versions(database) == ["e1"]
    assert [each["version"] for each in rows(database, "paper_records")] == [2, 1]


def test_what_does_not_touch_the_text_keeps_the_vectors(database: Database) -> None:
    take_in(database, [fetched(1)])
    pretend_encoded(database)
    take_in(database, [unnamed(1, upvotes=12, tldr="Drafts help.", categories=("cs.LG",))])
    [paper] = stored_papers(database)
    assert (paper.upvotes, paper.tldr) == (12, "Drafts help.")
    assert paper.categories == ("cs.CL", "cs.LG")
    assert encoded_versions(database) == ["e1"]


def test_gaps_are_filled_and_what_is_known_stays(database: Database) -> None:
    take_in(database, [fetched(1, authors=())])
    take_in(database, [unnamed(1, authors=("Grace Hopper",), comment="8 pages", tldr="Drafts.")])
    take_in(database, [fetched(1, version=None, comment="9 pages", venue="Drafting 2026")])
    [paper] = stored_papers(database)
    assert paper.authors == ("Ada Lovelace",)
    assert (paper.tldr, paper.venue) == ("Drafts.", "Drafting 2026")
    # What another version or another source remarks is not said of this text.
    assert paper.comment == ""


def test_the_most_upvotes_that_were_seen_stay(database: Database) -> None:
    for upvotes, known in ((None, None), (3, 3), (31, 31), (12, 31), (None, 31)):
        take_in(database, [unnamed(1, upvotes=upvotes)])
        assert stored_papers(database)[0].upvotes == known


def test_links_that_a_source_names_later_are_added(database: Database) -> None:
    for links in ((), ("https://b.org",), ("https://a.org",), ()):
        take_in(database, [fetched(1, links=links)])
    with database.read() as conn:
        assert store.papers.keys_of(conn, [1])[1][1:] == (
            ("link", "https://a.org"),
            ("link", "https://b.org"),
        )
    assert len(rows(database, "paper_records")) == 1


def test_a_paper_stays_listed_on_its_first_day(database: Database) -> None:
    take_in(database, [fetched(1, listed_on=DAY)])
    take_in(database, [fetched(1, listed_on=DAY + ONE_DAY)])
    assert stored_papers(database)[0].listed_on == DAY
    take_in(database, [fetched(1, listed_on=DAY - ONE_DAY)])
    assert stored_papers(database)[0].listed_on == DAY - ONE_DAY


def test_what_each_origin_said_is_kept_as_received(database: Database) -> None:
    take_in(database, [fetched(1, raw_title="$\\alpha$", title="α")], origin="a.jsonl")
    take_in(database, [fetched(1, raw_title="alpha", title="α")], origin="b.jsonl")
    with database.read() as conn:
        records = store.papers.records_of(conn, stored_papers(database)[0].id)
    assert [(each["origin"], each["raw_title"]) for each in records] == [
        ("a.jsonl", "$\\alpha$"),
        ("b.jsonl", "alpha"),
    ]


# -- the order in which records come does not matter -----------------------------------------------

VERSIONS = st.lists(st.integers(1, 4), unique=True, min_size=1, max_size=3)


@st.composite
def records_of_works(draw: st.DrawFn) -> list[FetchedPaper]:
    """Return what arXiv and a listing page say of up to three works, each under one title."""
    records = []
    for n in range(draw(st.integers(1, 3))):
        records += [
            fetched(
                n,
                version=version,
                abstract=f"Version {version}.",
                authors=tuple(f"Author {i}" for i in range(version)),
                categories=tuple(draw(st.sets(st.sampled_from(["cs.CL", "cs.LG", "stat.ML"])))),
                comment=draw(st.sampled_from(["", f"{version} pages"])),
                listed_on=DAY + version * ONE_DAY,
            )
            for version in draw(VERSIONS)
        ]
        if draw(st.booleans()):
            seen = [
                unnamed(n, upvotes=upvotes, tldr="Drafts.", listed_on=DAY + 9 * ONE_DAY)
                for upvotes in draw(st.lists(st.integers(0, 9) | st.none(), max_size=2))
            ]
            records += seen
    return records


def what_is_stored(batches: list[list[FetchedPaper]]) -> list[dict[str, Any]]:
    with TemporaryDirectory() as folder, installed(Path(folder)) as database:
        for batch in batches:
            take_in(database, batch)
        found = rows(database, "papers")
    for row in found:
        row["categories"] = sorted(row["categories"])
        for name in ("id", "first_seen_at", "updated_at", "merged_into", "merged_because"):
            del row[name]
    return sorted(found, key=str)


@settings(max_examples=40)
@given(st.data())
def test_the_order_of_records_does_not_matter(data: st.DataObject) -> None:
    records = data.draw(records_of_works())
    shuffled = data.draw(st.permutations(records))
    cut = data.draw(st.integers(0, len(records)))
    assert what_is_stored([records]) == what_is_stored([shuffled[:cut], shuffled[cut:]])


# -- what cannot be used ---------------------------------------------------------------------------


def test_rejected_records_are_kept_once_with_their_reason(database: Database) -> None:
    bad = Rejected("no abstract", '{"title": "x"}', "line 3")
    for _ in range(2):
        report = run(database, ListedSource(Batch(papers=(fetched(1),), rejected=(bad,))))
        assert report.quarantined == 1
    with database.read() as conn:
        assert store.sources.quarantined(conn, "listed") == [bad]


def test_ids_that_are_known_count_and_others_wait(database: Database) -> None:
    take_in(database, [fetched(1)])
    ids = (
        PaperId("arxiv", "2603.00001", None, "line 1"),
        PaperId("arxiv", "2603.00002", 1, "line 2"),
    )
    report = run(database, ListedSource(Batch(ids=ids), name="ids.txt"))
    assert report == IngestReport(read=2, known=1, unknown=ids[1:])
    assert str(report) == "read 2, stored 0, known 1, quarantined 0, waiting 1"


def test_every_record_is_counted_once(database: Database) -> None:
    bad = Rejected("no abstract", "{}", "line 9")
    ids = tuple(PaperId("arxiv", f"2603.{n:05d}", None, "") for n in (1, 8))
    batch = Batch(papers=(fetched(1), fetched(2), fetched(1)), rejected=(bad,), ids=ids)
    report = run(database, ListedSource(batch))
    assert report == IngestReport(read=6, stored=2, known=2, quarantined=1, unknown=ids[1:])
    assert str(report) == "read 6, stored 2, known 2, quarantined 1, waiting 1"


# -- sources that break, and going on --------------------------------------------------------------

BATCHES = (
    Batch(papers=(fetched(1), fetched(2)), cursor="a"),
    Batch(papers=(fetched(3),), cursor="b"),
    Batch(papers=(fetched(4),), cursor="c"),
)


def test_a_source_that_breaks_keeps_what_came_before(database: Database) -> None:
    source = ListedSource(*BATCHES, breaks=True)
    progress = ingest(database, source, StoppedClock(), resume=True)
    assert [next(progress).stored for _ in BATCHES] == [2, 3, 4]
    with pytest.raises(SourceError, match="plug it in again"):
        next(progress)
    assert len(stored_papers(database)) == 4


def test_reading_goes_on_after_the_last_stored_batch(database: Database) -> None:
    first_night = ingest(database, ListedSource(*BATCHES), StoppedClock(), resume=True)
    next(first_night)
    with database.read() as conn:
        assert store.sources.cursor(conn, "listed") == "a"
    assert run(database, ListedSource(*BATCHES), resume=True) == IngestReport(read=2, stored=2)
    with database.read() as conn:
        assert store.sources.cursor(conn, "listed") == "c"


def test_a_batch_that_cannot_be_stored_leaves_its_cursor_where_it_was(database: Database) -> None:
    broken = Batch(papers=(fetched(3, listed_on=None),), cursor="b")
    progress = ingest(database, ListedSource(BATCHES[0], broken), StoppedClock(), resume=True)
    next(progress)
    with pytest.raises(AssertionError):
        next(progress)
    with database.read() as conn:
        assert store.sources.cursor(conn, "listed") == "a"


class Watched(Database):
    """Notes how many papers are stored after each write."""

    sizes: list[int]

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as conn:
            yield conn
        self.sizes.append(len(rows(self, "papers")))


def watched(database: Database) -> Watched:
    watching = Watched(database.engine, database._checkpointer)
    watching.sizes = [len(rows(database, "papers"))]
    return watching


def test_other_writers_wait_for_a_few_papers_and_never_for_a_whole_batch(
    database: Database,
) -> None:
    watching = watched(database)
    batch = Batch(papers=tuple(fetched(n) for n in range(31)), cursor="a")
    assert run(watching, ListedSource(batch)) == IngestReport(read=31, stored=31)
    assert np.diff(watching.sizes).tolist() == [10, 20, 1, 0]


def test_a_slow_disk_is_given_fewer_papers_at_once(database: Database) -> None:
    clock = StoppedClock()

    class Slow(Watched):
        @contextmanager
        def write(self) -> Iterator[Connection]:
            before = len(rows(self, "papers"))
            with super().write() as conn:
                yield conn
            # Each paper takes 4 ms.
            clock.sleep(0.004 * (len(rows(self, "papers")) - before))

    slow = Slow(database.engine, database._checkpointer)
    slow.sizes = [0]
    batch = Batch(papers=tuple(fetched(n) for n in range(65)), cursor="a")
    list(ingest(slow, ListedSource(batch), clock, resume=False))
    assert np.diff(slow.sizes).tolist() == [10, 12, 12, 12, 12, 7, 0]


def test_a_batch_that_breaks_off_is_read_again_whole(database: Database) -> None:
    papers = [fetched(n) for n in range(11)]
    broken = Batch(papers=(*papers[:-1], fetched(99, listed_on=None)), cursor="a")
    with pytest.raises(AssertionError):
        run(database, ListedSource(broken, name="s"), resume=True)
    with database.read() as conn:
        assert store.sources.cursor(conn, "s") is None
    whole = Batch(papers=tuple(papers), cursor="a")
    found = run(database, ListedSource(whole, name="s"), resume=True)
    assert (found.read, len(stored_papers(database))) == (11, 11)
    with database.read() as conn:
        assert store.sources.cursor(conn, "s") == "a"


def test_a_new_version_counts_if_its_paper_comes_later_in_the_batch(database: Database) -> None:
    between = [fetched(n) for n in range(2, 12)]
    second = fetched(1, version=2, title="The second version", update_only=True)
    take_in(database, [second, *between, fetched(1)])
    found = {paper.source_id: paper for paper in stored_papers(database)}
    assert found["2603.00001"].title == "The second version"


def test_reading_from_the_beginning_neither_uses_nor_moves_the_cursor(database: Database) -> None:
    with database.write() as conn:
        store.sources.save_cursor(conn, "listed", "b", StoppedClock().now())
    assert run(database, ListedSource(*BATCHES)).read == 4
    with database.read() as conn:
        assert store.sources.cursor(conn, "listed") == "b"


def test_how_a_day_ended_is_stored_with_its_batch(database: Database) -> None:
    day = SourceDay("listed", DAY, Verdict.COMPLETE, 1, 1)
    run(database, ListedSource(Batch(papers=(fetched(1),), days=(day,))))
    with database.read() as conn:
        assert store.sources.days(conn, DAY, DAY) == [day]


# -- real files ------------------------------------------------------------------------------------


@pytest.mark.skipif(not LISTINGS.is_dir(), reason="the saved listing pages are not here")
def test_real_listing_pages_are_stored_once(database: Database) -> None:
    def import_all() -> IngestReport:
        total = IngestReport()
        for path in sorted(LISTINGS.glob("*.txt")):
            source = open_source(path, DAY)
            total += list(ingest(database, source, StoppedClock(), resume=False))[-1]
        return total

    assert str(import_all()) == "read 421, stored 371, known 50, quarantined 0"
    assert str(import_all()) == "read 421, stored 0, known 421, quarantined 0"
