"""A library becomes likes: once, of what is stored, and with a reason for all the rest."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import add_reader, fetched, installed, rows, stored_papers, take_in
from tests.support.paths import DATA
from triage import store
from triage.domain.records import EventKind, Origin, Paper, Subscriber
from triage.errors import ConfigError
from triage.sources.text.cleaning import normalise
from triage.store import Database
from triage.subscribers import library_import
from triage.subscribers.bibliography import entries
from triage.subscribers.library_import import LibraryReport, like_own, read_library, sync_zotero
from triage.subscribers.named_papers import make_likes

FULL = """@misc{new, title={A brand new approach to everything}, author={Curie, Marie},
 eprint={1706.03762}, doi={10.5555/7}, year=2017, month=jun, abstract={We propose it.}}"""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as database:
        take_in(database, [fetched(n) for n in range(1, 4)])
        yield database


@pytest.fixture
def reader(db: Database) -> Subscriber:
    return add_reader(db)


def read(db: Database, reader: Subscriber, content: bytes | str, **how: bool) -> LibraryReport:
    return read_library(db, StoppedClock(), reader, content, **how)


def liked(db: Database, reader: Subscriber) -> list[str | None]:
    return sorted(each.paper.source_id or "" for each in library_import.likes(db, reader))


def test_stored_papers_become_likes_and_the_rest_is_listed(
    db: Database, reader: Subscriber
) -> None:
    report = read(
        db,
        reader,
        "@misc{a, eprint={2603.00001}}\n@misc{b, eprint={2509.12345}}\n@book{c, title={Of Mice}}\n"
        "@misc{d}\n@misc{e, url={https://arxiv.org/abs/2603.00001v3}}\n",
    )
    assert liked(db, reader) == ["2603.00001"]
    assert (report.read, report.liked, report.known, report.waiting) == (5, 1, 1, 1)
    assert report.recognised == 3
    assert [(each.where, each.title) for each in report.unrecognised] == [
        ("line 3, c", "Of Mice"),
        ("line 4, d", ""),
    ]
    assert "title" in report.unrecognised[0].why
    assert "read 5, recognised 3" in str(report)


def test_a_like_says_that_it_came_from_a_library(db: Database, reader: Subscriber) -> None:
    read(db, reader, "2603.00002")
    [event] = rows(db, "events")
    assert (event["kind"], event["origin"], event["slate_id"]) == (
        EventKind.VOTE_UP, Origin.PERSON, None,
    )  # fmt: skip
    assert (event["at"], event["evidence"]) == (NOON, {"method": "library"})


def test_reading_again_adds_nothing_and_no_vote_is_overruled(
    db: Database, reader: Subscriber
) -> None:
    papers = {paper.source_id: paper.id for paper in stored_papers(db)}
    with db.write() as conn:
        store.events.append(
            conn,
            store.events.Event(
                subscriber_id=reader.id,
                paper_id=papers["2603.00002"],
                kind=EventKind.VOTE_DOWN,
                at=NOON,
                recorded_at=NOON,
            ),
        )
    text = "2603.00001, 2603.00002"
    assert read(db, reader, text).liked == 1
    again = read(db, reader, text)
    assert (again.liked, again.known) == (0, 2)
    assert liked(db, reader) == ["2603.00001"]


def test_a_paper_is_known_by_its_title_where_an_author_agrees(
    db: Database, reader: Subscriber
) -> None:
    title = "{Speculative} decoding with 3 drafts"
    stranger = read(db, reader, f"@misc{{k, title={{{title}}}, author={{Nobody, Else}}}}")
    assert stranger.liked == 0
    report = read(db, reader, f"@misc{{k, title={{{title}}}, author={{Lovelace, A.}}}}")
    assert (report.liked, liked(db, reader)) == (1, ["2603.00003"])


def test_what_a_visitor_says_of_a_paper_is_not_stored(db: Database, reader: Subscriber) -> None:
    before = rows(db, "papers"), rows(db, "quarantine")
    assert read(db, reader, FULL).waiting == 1
    assert (rows(db, "papers"), rows(db, "quarantine")) == before


def test_what_the_operator_vouches_for_is_stored_on_its_own_month(
    db: Database, reader: Subscriber
) -> None:
    report = read(db, reader, FULL + "\n@misc{x, eprint={2501.00001}}", new_papers=True)
    assert (report.stored, report.liked, report.waiting) == (1, 1, 1)
    [paper] = [each for each in stored_papers(db) if each.source_id == "1706.03762"]
    assert (paper.title, paper.authors) == ("A brand new approach to everything", ("Marie Curie",))
    assert paper.listed_on == date(2017, 6, 1)
    assert library_import.likes(db, reader)[0].doi == "10.5555/7"
    [named] = rows(db, "named_papers")
    assert (named["scheme"], named["value"], named["method"]) == ("arxiv", "2501.00001", "library")


def test_no_paper_is_stored_on_a_day_to_come(db: Database, reader: Subscriber) -> None:
    read(db, reader, FULL.replace("1706.03762", "2912.00001"), new_papers=True)
    assert stored_papers(db)[-1].listed_on == DAY


def test_old_arxiv_ids_and_dois_have_their_days(db: Database, reader: Subscriber) -> None:
    old = FULL.replace("1706.03762", "hep-th/9912001").replace("10.5555/7", "")
    journal = '@article{j, title={One in print}, doi={10.1/x}, abstract={A.}, year="1999"}'
    read(db, reader, old + journal.replace("10.1/x", "10.1000/x"), new_papers=True)
    days = {each.source_id: each.listed_on for each in stored_papers(db)}
    assert days["hep-th/9912001"] == date(1999, 12, 1)
    assert days["10.1000/x"] == date(1999, 1, 1)


def test_an_authors_own_papers_become_likes(db: Database, reader: Subscriber) -> None:
    take_in(db, [fetched(7, authors=("Grace Hopper", "Ada Lovelace"))])
    report = like_own(db, StoppedClock(), reader, "Hopper, Grace")
    assert (report.liked, liked(db, reader)) == (1, ["2603.00007"])
    assert like_own(db, StoppedClock(), reader, "ada lovelace").liked == 3
    assert like_own(db, StoppedClock(), reader, "Nobody Else").read == 0
    with pytest.raises(ConfigError, match="first name"):
        like_own(db, StoppedClock(), reader, "Li")


def own(db: Database, reader: Subscriber) -> dict[int, str | None]:
    with db.read() as conn:
        return {vote.paper_id: vote.own for vote in store.events.votes(conn, reader.id)}


def test_an_author_name_marks_own_papers_also_among_earlier_likes(
    db: Database, reader: Subscriber
) -> None:
    read(db, reader, "2603.00001\n2603.00002")
    before = [(each.paper.id, each.at) for each in library_import.likes(db, reader)]
    assert set(own(db, reader).values()) == {None}
    assert str(like_own(db, StoppedClock(), reader, " Lovelace,  Ada")).endswith(
        "new likes 1, known 2, waiting 0"
    )
    assert set(own(db, reader).values()) == {"Lovelace, Ada"}
    assert set(before) < {(each.paper.id, each.at) for each in library_import.likes(db, reader)}
    n_events = len(rows(db, "events"))
    like_own(db, StoppedClock(), reader, "Lovelace, Ada")
    read(db, reader, "2603.00001\n2603.00002", own=True)
    assert len(rows(db, "events")) == n_events


def test_a_later_vote_leaves_a_paper_an_own_one(db: Database, reader: Subscriber) -> None:
    like_own(db, StoppedClock(), reader, "Ada Lovelace")
    with db.write() as conn:
        event = store.events.Event(reader.id, 1, EventKind.SAVE, NOON, NOON)
        store.events.append(conn, event)
        store.events.forget(conn, reader.id, 2)
    assert own(db, reader) == {1: "Ada Lovelace", 3: "Ada Lovelace"}


def test_a_list_of_own_works_marks_those_that_come_later_too(
    db: Database, reader: Subscriber
) -> None:
    works = "@misc{a, eprint={2603.00001}}\n@misc{b, eprint={2603.00009}}"
    assert read(db, reader, works, own=True).waiting == 1
    take_in(db, [fetched(9)])
    assert make_likes(db, StoppedClock()) == 1
    assert list(own(db, reader).values()) == ["", ""]


def test_my_publications_of_zotero_are_own_papers(db: Database, reader: Subscriber) -> None:
    items = [
        {"data": {"itemType": "preprint", "archiveID": f"arXiv:2603.0000{n}"} | more}
        for n, more in enumerate(
            [{"inPublications": True}, {"inPublications": False}, {}, {"inPublications": True}], 1
        )
    ]
    assert sync(db, reader, items).liked == 3
    assert sorted(own(db, reader).items()) == [(1, ""), (2, None), (3, None)]
    take_in(db, [fetched(4)])
    make_likes(db, StoppedClock())
    # The paper that had to be waited for is marked when the library is read the next time.
    for _ in range(2):
        sync(db, reader, items, before=[f"arxiv:2603.0000{n}" for n in range(1, 5)])
        assert sorted(own(db, reader).items()) == [(1, ""), (2, None), (3, None), (4, "")]
    assert len(rows(db, "events")) == 5
    sync(db, reader, items[1:])
    assert sorted(own(db, reader)) == [2, 3, 4]


def sync(
    db: Database, reader: Subscriber, items: list[dict[str, object]], before: Container[str] = ()
) -> LibraryReport:
    return sync_zotero(db, StoppedClock(), reader, json.dumps(items), before=before)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_files_of_other_programs_are_read(db: Database, reader: Subscriber, encoding: str) -> None:
    text = "@misc{é, title={Ünïque}, eprint={2603.00001}}"
    assert read(db, reader, text.encode(encoding)).liked == 1


@pytest.mark.parametrize(
    "text",
    [
        "\u200b\u200a2603.00001\n2603.00002\u200b",
        "https://arxiv.org/abs/arxiv:2603.00001\n<https://www.alphaxiv.org/abs/2603.00002>",
        "arXiv:2603.00001v3 [cs.LG] 5 Mar 2026\narXiv:2603.00002v1 [math.ST] 6 Mar 2026",
    ],
)
def test_lists_of_ids_with_stamps_and_invisible_characters_are_read(
    db: Database, reader: Subscriber, text: str
) -> None:
    report = read(db, reader, text)
    assert (report.liked, report.read) == (2, 2)


def test_what_is_no_library_is_refused(db: Database, reader: Subscriber) -> None:
    with pytest.raises(ConfigError, match="no text"):
        read(db, reader, b"PK\x03\x04\0\0")
    with pytest.raises(ConfigError, match="20 MiB"):
        read(db, reader, b"x" * (library_import.LARGEST + 1))
    assert read(db, reader, b"") == LibraryReport((), known=0)


@pytest.mark.parametrize("form", ["bibtex", "ris", "json"])
def test_likes_that_go_out_are_known_when_they_come_in(
    db: Database, reader: Subscriber, form: str
) -> None:
    read(db, reader, "2603.00001 2603.00002 2603.00003")
    out = entries.write(library_import.likes(db, reader), form)
    other = add_reader(db, 2)
    assert read(db, other, out).liked == 3
    assert liked(db, other) == liked(db, reader)


# -- what users of other programs reported ---------------------------------------------------------

LIBRARIES = DATA / "libraries"


def stored_from(db: Database, reader: Subscriber, name: str) -> dict[str | None, Paper]:
    """Import a library as the operator does, and return the papers that are new by their ids."""
    before = {each.id for each in stored_papers(db)}
    read(db, reader, (LIBRARIES / name).read_bytes(), new_papers=True)
    return {each.source_id: each for each in stored_papers(db) if each.id not in before}


def test_mathematics_of_bibtex_is_kept(db: Database, reader: Subscriber) -> None:
    title = r"$\beta$-VAE-Net: Learning $\alpha$-divergence bounds in $O(n\log n)$ time"
    take_in(db, [normalise(fetched(11, source_id="2401.00011", title=title, raw_title=title))])
    [paper] = stored_from(db, reader, "mathematics.bib").values()
    assert liked(db, reader) == ["10.5555/xyz", "2401.00011"]
    assert paper.title == "Production of Σ⁰ hyperons and Σ⁰ hypernuclei at 10 μW"
    assert " and 1/2 for CO₂ at √s=13 TeV." in paper.abstract


def test_an_entry_of_the_american_physical_society_is_read(
    db: Database, reader: Subscriber
) -> None:
    [paper] = stored_from(db, reader, "aps.bib").values()
    assert paper.title == "Testing ⁴He at √s=13 TeV with Bi₂Se₃"
    assert paper.authors == ("R. Skibiński", "H. Witała", "Igor Žutić")
    assert paper.listed_on == date(2016, 6, 1)


def test_one_paper_is_known_by_every_dress_of_its_doi(db: Database, reader: Subscriber) -> None:
    dois = ["10.1101/2024.01.02.573999", "10.1145/3292500.3330701"]
    take_in(
        db, [fetched(20, source="biorxiv", source_id=dois[0], title="Gene drives in mosquitoes")]
    )
    take_in(db, [fetched(21, source="doi", source_id=dois[1], title="A framework for tuning")])
    report = read(db, reader, (LIBRARIES / "dressed_dois.bib").read_bytes())
    assert (report.liked, report.known, report.waiting) == (2, 4, 0)
    assert liked(db, reader) == dois


def test_the_most_exact_of_several_dates_counts(db: Database, reader: Subscriber) -> None:
    papers = stored_from(db, reader, "dates.ris")
    assert {id: each.listed_on for id, each in papers.items()} == {
        "10.5555/0": date(2017, 6, 1),
        "10.5555/1": date(2017, 6, 1),
        "10.5555/2": date(2016, 10, 1),
    }


def test_ris_of_loose_form_is_read(db: Database, reader: Subscriber) -> None:
    [loose] = stored_from(db, reader, "loose.ris").values()
    assert (loose.source_id, loose.title) == ("10.5555/a", "A title that is long enough")
    late = stored_from(db, reader, "ty_late.ris")
    assert {id: each.title for id, each in late.items()} == {
        "10.5555/b1": "Habitat use of baboons number 1",
        "10.5555/b2": "Habitat use of baboons number 2",
    }


def test_remarks_within_entries_hide_no_id(db: Database, reader: Subscriber) -> None:
    report = read(db, reader, (LIBRARIES / "remarks.bib").read_bytes())
    assert [entry.ids for entry in report.absent] == [
        (("arxiv", f"2401.{n:05d}"),) for n in (11, 12, 13)
    ]


@pytest.mark.parametrize(
    ("name", "n"),
    [("list_invisible", 2), ("list_links", 3), ("list_powershell", 2), ("list_stamps", 2)],
)
def test_lists_of_ids_are_read(db: Database, reader: Subscriber, name: str, n: int) -> None:
    report = read(db, reader, (LIBRARIES / f"{name}.txt").read_bytes())
    assert [entry.ids for entry in report.absent] == [
        (("arxiv", f"2401.{i:05d}"),) for i in range(11, 11 + n)
    ]


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig"])
def test_lists_in_utf_16_are_read_with_and_without_a_mark(
    db: Database, reader: Subscriber, coding: str
) -> None:
    assert read(db, reader, "2603.00001\r\n2603.00002\r\n".encode(coding)).liked == 2


def test_an_entry_without_a_date_keeps_the_day_on_which_it_was_first_seen(
    db: Database, reader: Subscriber
) -> None:
    text = (
        "@misc{a, title={A paper without a day}, doi={10.5555/n}, abstract={We do.}, year={n.d.}}"
    )
    for clock in (StoppedClock(), StoppedClock(NOON + timedelta(days=9))):
        read_library(db, clock, reader, text, new_papers=True)
        [paper] = [each for each in stored_papers(db) if each.source_id == "10.5555/n"]
        assert paper.listed_on == DAY


def test_an_entry_without_an_abstract_is_left_to_the_archives(
    db: Database, reader: Subscriber
) -> None:
    entry = "@misc{a, title={Only a title}, eprint={2401.00011}, abstract={%s}}"
    for abstract in ("", "{}", "<p></p>", "\u200b"):
        report = read(db, reader, entry % abstract, new_papers=True)
        assert (report.stored, report.waiting) == (0, 1)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n1 0 obj 2401.00011", "a PDF"),
        (b"PK\x03\x04\x14\x00word/document.xml", "a ZIP or Office file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no text"),
    ],
)
def test_a_file_that_is_no_text_is_named(
    db: Database, reader: Subscriber, content: bytes, kind: str
) -> None:
    with pytest.raises(ConfigError, match=f"{kind}: give one of BibTeX"):
        read(db, reader, content)
    assert liked(db, reader) == []
