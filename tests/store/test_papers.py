"""Papers and their vectors in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from tests.support.factories import DAY, NOON, paper
from tests.support.installation import add_papers, fetched, installed, take_in
from triage import store
from triage.domain.paper_links import NAMED_LINK
from triage.domain.records import Encodings, EventKind
from triage.store import Database
from triage.store.tables import papers

UP, DOWN, SAVE = EventKind.VOTE_UP, EventKind.VOTE_DOWN, EventKind.SAVE
ONE_DAY = timedelta(days=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


# -- papers ----------------------------------------------------------------------------------------


def row(n: int, **fields: object) -> dict[str, object]:
    return {
        "source": "arxiv",
        "source_id": f"2603.{n:05d}",
        "title": f"Title {n}",
        "title_key": f"title{n}",
        "abstract": "",
        "authors": ["Ada Lovelace"],
        "categories": [],
        "listed_on": DAY,
        "first_seen_at": NOON,
        "updated_at": NOON,
    } | fields


def test_new_papers_get_their_ids_in_the_order_in_which_they_came(database: Database) -> None:
    numbers = [int(n) for n in np.random.default_rng(1).permutation(2500)]
    with database.write() as conn:
        ids = store.papers.insert_papers(conn, [row(n) for n in numbers])
        found = store.papers.load(conn, ids)
    assert [found[id].title for id in ids] == [f"Title {n}" for n in numbers]


def test_no_papers_make_no_rows(database: Database) -> None:
    with database.write() as conn:
        assert store.papers.insert_papers(conn, []) == []
        assert store.papers.load(conn, []) == {}
        assert store.papers.find(conn, []) == {}
        assert store.papers.find_titles(conn, []) == {}
        assert store.papers.count(conn) == 0


def test_a_paper_comes_back_as_it_was(database: Database) -> None:
    given = paper(7, title="On “ℝ”, naïvely", authors=("Ω",), upvotes=3, categories=())
    [stored] = add_papers(database, [given])
    assert replace(stored, id=7) == given


def test_a_paper_is_found_under_each_of_its_ids(database: Database) -> None:
    with database.write() as conn:
        [first, second] = store.papers.insert_papers(conn, [row(1), row(2)])
        arxiv, doi = ("arxiv", "2603.00001"), ("doi", "10.1/x")
        store.papers.add_ids(conn, [(arxiv, first), (doi, first)])
        # An id that is taken keeps its paper.
        store.papers.add_ids(conn, [(doi, second)])
        assert store.papers.find(conn, [arxiv, doi, ("doi", "2603.00001")]) == {
            arxiv: first,
            doi: first,
        }


def test_a_work_has_the_ids_and_links_of_all_its_rows(database: Database) -> None:
    repository = "https://github.com/ada/engine"
    take_in(database, [fetched(1, links=(repository,)), fetched(2), fetched(3, doi="10.1/z")])
    with database.write() as conn:
        conn.execute(papers.update().where(papers.c.id == 2).values(merged_into=1))
        assert store.papers.keys_of(conn, [1, 3, 77]) == {
            1: (("arxiv", "2603.00001"), ("arxiv", "2603.00002"), (NAMED_LINK, repository)),
            3: (("arxiv", "2603.00003"), ("doi", "10.1/z")),
            77: (),
        }


def test_the_doi_of_a_work_is_not_that_of_arxiv(database: Database) -> None:
    with database.write() as conn:
        [first, second] = store.papers.insert_papers(conn, [row(1), row(2)])
        own = [(("doi", f"10.48550/arxiv.2603.0000{n}"), n) for n in (first, second)]
        store.papers.add_ids(conn, [*own, (("doi", "10.5555/yarn"), first)])
        assert store.papers.dois(conn, [first, second]) == {first: "10.5555/yarn"}


def test_titles_are_found(database: Database) -> None:
    with database.write() as conn:
        ids = store.papers.insert_papers(
            conn, [row(1, title_key="same"), row(2, title_key="same"), row(3)]
        )
        assert store.papers.find_titles(conn, ["same", "title3", "none"]) == {
            "same": ids[:2],
            "title3": ids[2:],
        }


@pytest.mark.parametrize(
    "spelling",
    [
        "2603.00002",
        " arXiv:2603.00002v3 ",
        "https://arxiv.org/abs/2603.00002v1",
        "https://huggingface.co/papers/2603.00002",
        "10.48550/arXiv.2603.00002",
        "arxiv:2603.00002",
        "title: SPECULATIVE decoding, with 2 drafts!",
    ],
)
def test_a_paper_is_meant_by_any_spelling_of_its_name(database: Database, spelling: str) -> None:
    stored = add_papers(database, [paper(1), paper(2), paper(3)])
    with database.read() as conn:
        assert store.papers.resolve(conn, spelling) == stored[1].id


@pytest.mark.parametrize("text", ["", "title:", "title:?!", "2603.99999", "nonsense", "1" * 5000])
def test_what_names_no_stored_paper_means_none(database: Database, text: str) -> None:
    add_papers(database, [paper(1)])
    with database.read() as conn:
        assert store.papers.resolve(conn, text) is None


@pytest.mark.parametrize(
    ("source", "source_id"),
    [
        ("arxiv", "2603.00001"),
        ("arxiv", "hep-th/9901001"),
        ("biorxiv", "10.1101/2024.01.01.1"),
        ("doi", "10.1000/x"),
        ("feed:nature: news", "https://nature.example/a:b"),
        ("listing", None),
    ],
)
def test_the_outside_id_of_a_paper_leads_back_to_it(
    database: Database, source: str, source_id: str | None
) -> None:
    add_papers(database, [paper(9), paper(1, source=source, source_id=source_id)])
    with database.read() as conn:
        for each in store.papers.iterate(conn):
            assert store.papers.resolve(conn, store.papers.outside_id(each)) == each.id


def test_papers_are_listed_by_day_and_withdrawn_ones_are_not(database: Database) -> None:
    days = [DAY - n * ONE_DAY for n in range(4)]
    stored = add_papers(database, [paper(n, listed_on=day) for n, day in enumerate(days, 1)])
    with database.write() as conn:
        store.works.save(conn, [(stored[1].id, {"withdrawn_at": NOON})])
        listed = store.papers.listed_between(conn, days[2], days[0])
        counts = store.papers.counts_by_source(conn, days[2], days[0])
        in_order = [each.listed_on for each in store.papers.iterate(conn)]
    assert [each.id for each in listed] == [stored[0].id, stored[2].id]
    assert counts == {"arxiv": 2}
    assert in_order == sorted(days)


# -- encodings -------------------------------------------------------------------------------------


def encodings(n: int, seed: int = 0) -> Encodings:
    rng = np.random.default_rng(seed)
    words = np.where(rng.random((n, 9)) < 0.4, rng.random((n, 9)), 0).astype(np.float32)
    dense = rng.random((n, 3)).astype(np.float32)
    # Encoders give them in half precision.
    sense, past = (rng.random((n, width)).astype(np.float16).astype(np.float32) for width in (2, 4))
    density, past_density = rng.random((2, n)).astype(np.float32)
    return Encodings(dense, csr_matrix(words), sense, density, past, past_density)


def test_vectors_come_back_bit_by_bit_in_the_order_asked_for(database: Database) -> None:
    stored = add_papers(database, [paper(n) for n in range(1, 6)])
    ids, kept = [each.id for each in stored[:4]], encodings(4)
    with database.write() as conn:
        store.encodings.save(conn, "e1", ids, kept)
        asked = [ids[2], stored[4].id, ids[0], ids[3]]
        order, found = store.encodings.load(conn, "e1", asked, encodings(0))
    assert order == [ids[2], ids[0], ids[3]]
    assert found.latent.dtype == found.tfidf.dtype == found.semantic.dtype == np.float32
    assert np.array_equal(found.latent, kept.latent[[2, 0, 3]])
    assert np.array_equal(found.semantic, kept.semantic[[2, 0, 3]])
    assert np.array_equal(found.hubness, kept.hubness[[2, 0, 3]])
    assert np.array_equal(found.training_semantic, kept.training_semantic[[2, 0, 3]])
    assert np.array_equal(found.training_hubness, kept.training_hubness[[2, 0, 3]])
    assert np.array_equal(found.tfidf.toarray(), kept.tfidf[[2, 0, 3]].toarray())


def test_a_text_without_known_words_has_an_empty_row(database: Database) -> None:
    [stored] = add_papers(database, [paper(1)])
    nothing = encodings(1)
    nothing.tfidf.data[:] = 0
    nothing.tfidf.eliminate_zeros()
    with database.write() as conn:
        store.encodings.save(conn, "e1", [stored.id], nothing)
        _, found = store.encodings.load(conn, "e1", [stored.id], encodings(0))
    assert found.tfidf.nnz == 0
    assert found.tfidf.shape == (1, 9)


def test_no_vectors_have_the_encoders_width_all_the_same(database: Database) -> None:
    with database.read() as conn:
        order, found = store.encodings.load(conn, "e1", [1, 2], encodings(0))
    assert order == []
    assert found.latent.shape == (0, 3)
    assert found.semantic.shape == (0, 2)
    assert found.tfidf.shape == (0, 9)


def test_vectors_of_different_encoders_never_meet(database: Database) -> None:
    stored = add_papers(database, [paper(1), paper(2)])
    ids = [each.id for each in stored]
    with database.write() as conn:
        store.encodings.save(conn, "e1", ids[:1], encodings(1, seed=1))
        store.encodings.save(conn, "e2", ids, encodings(2, seed=2))
        assert store.encodings.missing(conn, "e1") == ids[1:]
        assert store.encodings.missing(conn, "e2") == []
        _, found = store.encodings.load(conn, "e1", ids, encodings(0))
        assert np.array_equal(found.latent, encodings(1, seed=1).latent)

        store.encodings.drop_others(conn, ["e1"])
        assert store.encodings.missing(conn, "e1") == ids[1:]
        assert store.encodings.missing(conn, "e2") == ids


def test_a_paper_whose_text_changed_is_to_be_encoded_again(database: Database) -> None:
    stored = add_papers(database, [paper(1), paper(2)])
    ids = [each.id for each in stored]
    with database.write() as conn:
        store.encodings.save(conn, "e1", ids, encodings(2))
        store.encodings.forget(conn, ids[:1])
        assert store.encodings.missing(conn, "e1") == ids[:1]
