"""Papers are found by words and by meaning, whatever is written, on every kind of database."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.support.databases import on_postgres
from tests.support.factories import DAY
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers, fetched, installed, stored_papers, take_in
from tests.support.topics import CATEGORIES, N_EACH, literature
from triage import store
from triage.domain.records import Paper
from triage.domain.source_records import FetchedPaper
from triage.errors import NotFound
from triage.papers import deduplicate
from triage.papers.search import EVERYTHING, Filters, Hit, Search
from triage.ranking.serving.active_models import encode_new, ensure_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.store import Database
from triage.store.search import MatchTerms

CLOCK = StoppedClock()
KEY = b"a key of the tests"
FILLER = "in a larger study of many things that have been measured over and over again"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def model_store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", KEY)


@pytest.fixture
def search(database: Database, model_store: ModelStore) -> Search:
    """A search without an encoder, until one is promoted."""
    return Search(database, model_store.load_encoder)


def learn(database: Database, model_store: ModelStore) -> None:
    """Let an encoder serve and encode what is there."""
    encode_new(database, ensure_active_models(database, model_store, CLOCK, DAY).encoder)


def about(n: int, title: str, abstract: str = FILLER, **fields: object) -> FetchedPaper:
    return fetched(n, title=title, abstract=abstract, **fields)


def titles(hits: list[Hit]) -> list[str]:
    return [hit.paper.title for hit in hits]


# -- what is new -----------------------------------------------------------------------------------


def test_the_newest_papers_with_all_words_of_a_query_come_newest_first(
    database: Database, search: Search
) -> None:
    take_in(
        database,
        [
            about(1, "Sparse graphs", listed_on=DAY - timedelta(days=2)),
            about(2, "Graphs that are sparse"),
            about(3, "Graphs", listed_on=DAY + timedelta(days=1)),
            about(4, "Sparse graphs, a survey", categories=("math.CO",)),
        ],
    )

    def newest(query: str, filters: Filters = EVERYTHING, limit: int = 9) -> list[str]:
        return [paper.title for paper, _ in search.newest(query, filters, limit)]

    surveyed, plain, old = "Sparse graphs, a survey", "Graphs that are sparse", "Sparse graphs"
    assert newest("the sparse graph") == [surveyed, plain, old]
    assert newest("sparse graph", limit=1) == [surveyed]
    assert newest('"sparse graphs"') == [surveyed, old]
    assert newest("sparse -survey") == [plain, old]
    assert newest("", Filters(categories=("math",))) == [surveyed]
    assert newest("sparse", Filters(until=DAY - timedelta(days=1))) == [old]
    assert newest("") == newest("-survey") == newest("sparse zebra") == []


# -- words -----------------------------------------------------------------------------------------


def test_words_find_papers_by_their_stems_and_without_accents(
    database: Database, search: Search
) -> None:
    take_in(
        database,
        [
            about(1, "Composing transformers"),
            about(2, "The Schrödinger bridge"),
            about(3, "Graphs", "Nothing but graphs."),
        ],
    )
    assert titles(search.find("composed transformer")) == ["Composing transformers"]
    assert titles(search.find("SCHRODINGER bridges")) == ["The Schrödinger bridge"]
    assert titles(search.find("schrödinger")) == ["The Schrödinger bridge"]
    assert search.find("nowhere") == []


def test_what_a_hyphen_joins_stands_together(database: Database, search: Search) -> None:
    take_in(
        database,
        [
            about(1, "Means of k kinds"),
            about(2, "k-means at scale"),
            about(3, "GPT-4 writes"),
            about(4, "GPT-3 writes 4 pages"),
            about(5, "A β-VAE of faces"),
        ],
    )
    assert titles(search.find("k-means")) == ["k-means at scale"]
    assert titles(search.find("gpt-4")) == ["GPT-4 writes"]
    assert titles(search.find("β-vae")) == ["A β-VAE of faces"]
    assert titles(search.find("vae-β of faces")) == ["A β-VAE of faces"]


def test_a_title_says_more_than_an_abstract(database: Database, search: Search) -> None:
    take_in(
        database,
        [
            about(1, "Other things", f"Tokamaks and tokamaks {FILLER}."),
            about(2, "Tokamaks for all", FILLER),
            about(3, "Yet other things", f"Tokamaks and tokamaks {FILLER}."),
        ],
    )
    assert titles(search.find("tokamak"))[0] == "Tokamaks for all"


def test_neighbours_in_the_query_stand_best_as_neighbours(
    database: Database, search: Search
) -> None:
    take_in(
        database,
        [
            about(1, "One", f"A layer {FILLER} of attention."),
            about(2, "Two", f"An attention layer {FILLER} here."),
            about(3, "Three", f"Attention {FILLER} in a layer."),
        ],
    )
    assert titles(search.find("attention layer"))[0] == "Two"
    assert len(search.find("attention layer")) == 3


def test_where_nothing_says_all_some_will_do(database: Database, search: Search) -> None:
    take_in(database, [about(1, "Whales sing"), about(2, "Birds sing"), about(3, "Fish")])
    assert titles(search.find("whales orchestra"))[0] == "Whales sing"
    assert {*titles(search.find("sing orchestra whales"))} == {"Whales sing", "Birds sing"}
    # Hyphens that no paper has where they are.
    assert titles(search.find("whales-orchestra-like")) == ["Whales sing"]


def test_quotes_demand_and_a_minus_forbids_in_meaning_too(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    add_papers(database, literature())
    for learned in (False, True):
        if learned:
            learn(database, model_store)
        for hit in search.find('robot "tactile control"', limit=60):
            assert "tactile control" in hit.paper.text.lower().replace(" and ", " ")
        some = search.find("protein folding", limit=60)
        fewer = search.find("protein folding -docking", limit=60)
        assert len(some) > len(fewer) > 0
        assert not [hit for hit in fewer if "docking" in hit.paper.text.lower()]
        assert search.find('robot "docking speculative protein"', limit=60) == []


def test_a_word_of_very_many_papers_is_looked_for_in_titles(
    database: Database, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(database, [about(n, f"Paper {n}", "Everyone writes model.") for n in range(1, 9)])
    take_in(database, [about(20, "A model", "Of something.")])
    assert len(search.find("model")) == 9
    monkeypatch.setattr("triage.papers.search._BUDGET", 5)
    assert titles(search.find("model")) == ["A model"]
    assert titles(search.find("model something"))[0] == "A model"


def test_of_too_many_to_compare_the_last_stored_are(database: Database) -> None:
    take_in(database, [about(n, f"Whales {n}") for n in range(1, 9)])
    newest = [paper.id for paper in stored_papers(database)][-3:]
    with database.read() as conn:
        wanted = MatchTerms(any_of=(("whales",),))
        found = store.search.best(conn, wanted, Filters(), 10, at_most=3)
        assert sorted(found) == newest
        assert store.search.count(conn, wanted, at_most=5) == 5
        assert store.search.count(conn, wanted, at_most=50) == 8


def test_who_quotes_a_sentence_finds_its_paper_first(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    add_papers(database, literature())
    sentence = "On several benchmarks, a gripper of ours folds more towels than any before"
    take_in(
        database,
        [
            about(101, "Towels", f"{FILLER} {sentence}, which is new. {FILLER}"),
            about(102, "Ours folds more towels than any gripper", "Several benchmarks before."),
        ],
    )
    learn(database, model_store)
    for written in (sentence, sentence.upper(), f"  {sentence}. "):
        assert titles(search.find(written))[0] == "Towels"
    assert "Towels" not in titles(search.find(f"{sentence} -gripper"))


def test_a_phrase_of_everybodys_is_no_quote(database: Database, search: Search) -> None:
    phrase = "in this work we propose something"
    take_in(database, [about(n, f"Paper {n}", f"So {phrase}.") for n in range(1, 13)])
    take_in(database, [about(20, "A work to propose something", FILLER)])
    assert titles(search.find(phrase))[0] == "A work to propose something"


# -- whatever is written ---------------------------------------------------------------------------

ODD = [
    "", " ", '"', '""', "-", "--", "*", "AND", "OR NOT", "NEAR(a b)", "title:", "title:x", "a:b",
    "(", "a ^b", "{x}", "'; DROP TABLE papers", "🙂", "\x00", "a\x00b", "\ud83d", "%", "_", "\\",
    "<->", "!a", "a & | b", "'a':*", "१२ देवनागरी", "½ ² ﬁ", "-only -minus", '"unclosed', "0",
    "x" * 1_000_000, "word " * 200_000, '"' * 100_000, "-" * 100_000, "(" * 100_000,
]  # fmt: skip


def test_nothing_that_is_written_is_an_error(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    take_in(database, [about(1, "A paper"), about(2, "0 1 2", authors=())])
    for learned in (False, True):
        if learned:
            learn(database, model_store)
        for written in ODD:
            assert isinstance(search.find(written), list), repr(written[:40])
            search.find("paper", Filters(author=written, categories=(written, "cs.CL")))
            search.find(written, Filters(since=DAY))


@pytest.fixture(scope="module")
def some_papers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    folder = tmp_path_factory.mktemp("some")
    with installed(folder) as database:
        add_papers(database, literature()[::6])
        yield Search(database, ModelStore(folder / "models", KEY).load_encoder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.text(), st.text("ab \"-():*^&|!<>\\'{}" + string.ascii_letters)))
def test_any_text_is_answered(some_papers: Search, written: str) -> None:
    found = some_papers.find(written)
    assert all(0 < hit.score <= 1 for hit in found)
    assert len({hit.paper.id for hit in found}) == len(found)


# -- what may be found -----------------------------------------------------------------------------


def test_what_changes_is_found_by_its_new_words_only(database: Database, search: Search) -> None:
    take_in(database, [about(1, "Whales sing", version=1)])
    take_in(database, [about(1, "Birds dance", version=2)])
    assert titles(search.find("dance")) == ["Birds dance"]
    assert search.find("whales") == []


def test_merged_and_withdrawn_papers_are_not_found(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    add_papers(database, literature())
    learn(database, model_store)
    first, second, *_ = [hit.paper for hit in search.find("protein folding")]
    deduplicate.merge(
        database, store.papers.outside_id(first), store.papers.outside_id(second), CLOCK
    )
    hidden = literature()[N_EACH + 1]
    assert hidden.id not in (first.id, second.id)
    take_in(database, [gone(hidden)])
    found = {hit.paper.id for hit in search.find("protein folding", limit=60)}
    merged = max(first.id, second.id)
    assert merged not in found
    assert min(first.id, second.id) in found
    assert hidden.id not in found

    deduplicate.split(database, store.papers.outside_id(second), CLOCK)
    again = {hit.paper.id for hit in search.find("protein folding", limit=60)}
    assert {first.id, second.id} <= again


def gone(paper: Paper) -> FetchedPaper:
    return fetched(paper.id, title=paper.title, abstract=paper.abstract, version=2, withdrawn=True)


def test_the_index_holds_each_paper_that_can_be_found_once(database: Database) -> None:
    """Whatever happened before: the words of a deleted or hidden paper are gone, too."""
    add_papers(database, literature()[:12])
    one, two, three, *_ = stored_papers(database)
    take_in(database, [gone(one)])
    deduplicate.merge(database, store.papers.outside_id(two), store.papers.outside_id(three), CLOCK)
    take_in(database, [about(3, "Speculative words", version=3)])
    everything = MatchTerms(any_of=(("study",), ("drafts",), ("speculative",), ("decoding",)))
    with database.write() as conn:
        other = stored_papers(database)[-1]
        for name in ("blocking_keys", "paper_ids", "paper_records"):
            conn.execute(text(f"DELETE FROM {name} WHERE paper_id = {other.id}"))  # noqa: S608
        conn.execute(text(f"DELETE FROM papers WHERE id = {other.id}"))  # noqa: S608
    with database.read() as conn:
        found = store.search.find_all_matching(conn, everything, Filters()).tolist()
        assert len(found) == len({*found})
        assert {*found} <= {paper.id for paper in store.papers.iterate(conn)} - {one.id, other.id}
        if not on_postgres():
            conn.execute(
                text("INSERT INTO paper_words (paper_words, rank) VALUES ('integrity-check', 0)")
            )


# -- filters ---------------------------------------------------------------------------------------


def test_filters_leave_in_what_they_say(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    days = [DAY + timedelta(n % 5) for n in range(len(literature()))]
    take_in(
        database,
        [
            fetched(
                paper.id,
                title=paper.title,
                abstract=paper.abstract,
                authors=(*paper.authors, "José Ñandú"),
                categories=paper.categories,
                listed_on=day,
                **({"source": "biorxiv", "source_id": f"10.1101/{n}"} if n % 7 == 0 else {}),
            )
            for n, (paper, day) in enumerate(zip(literature(), days, strict=True))
        ],
    )
    cases = [
        Filters(since=DAY + timedelta(2)),
        Filters(until=DAY + timedelta(1)),
        Filters(since=DAY + timedelta(1), until=DAY + timedelta(3), sources=("arxiv",)),
        Filters(categories=("q-bio.BM", "cs.RO")),
        Filters(categories=("q-bio",)),
        Filters(sources=("biorxiv",)),
        Filters(author="author proteins 3"),
        Filters(author="Nandu"),
        Filters(author="Ñandú José"),
        Filters(author="3 Ann"),
        Filters(author="proteins 2", since=DAY + timedelta(1), categories=("q-bio.bm",)),
        Filters(sources=("nowhere",)),
        Filters(categories=("cs.XY",)),
        Filters(categories=("?",)),
        Filters(author="?"),
    ]

    def passes(hit: Hit, filters: Filters) -> bool:
        paper = hit.paper
        name = filters.author.casefold()
        names = [each.casefold() for each in paper.authors]
        return (
            (filters.since or date.min) <= paper.listed_on <= (filters.until or date.max)
            and (not filters.sources or paper.source in filters.sources)
            and (
                not filters.categories
                or any(
                    own.lower().startswith(each.lower())
                    for own in paper.categories
                    for each in filters.categories
                )
            )
            and (not name or any(name in each for each in names) or name in {"nandu", "ñandú josé"})
        )

    for learned in (False, True):
        if learned:
            learn(database, model_store)
        everything = search.find("study", limit=100)
        assert len(everything) == len(stored_papers(database))
        for filters in cases:
            found = search.find("study", filters, limit=100)
            expected = {hit.paper.id for hit in everything if passes(hit, filters)}
            assert {hit.paper.id for hit in found} >= expected, filters
            assert all(passes(hit, filters) for hit in found), filters
            listed = search.find("", filters, limit=100)
            assert all(passes(hit, filters) for hit in listed), filters
            assert {hit.paper.id for hit in listed} >= expected, filters


def test_filters_alone_give_the_newest(database: Database, search: Search) -> None:
    take_in(database, [about(n, f"Whales {n}", listed_on=DAY + timedelta(n)) for n in (1, 3, 2)])
    assert titles(search.find("", Filters(sources=("arxiv",)))) == [
        "Whales 3", "Whales 2", "Whales 1",
    ]  # fmt: skip
    assert titles(search.find("", Filters(categories=("cs",)), limit=1)) == ["Whales 3"]
    assert search.find("") == []


# -- ids -------------------------------------------------------------------------------------------


def test_an_id_goes_straight_to_its_paper(database: Database, search: Search) -> None:
    take_in(database, [about(1, "Whales sing"), about(2, "Birds sing", doi="10.1000/birds")])
    for written in ("2603.00001", "arXiv:2603.00001v3", "https://arxiv.org/abs/2603.00001"):
        assert titles(search.find(written)) == ["Whales sing"]
    assert titles(search.find("https://doi.org/10.1000/BIRDS")) == ["Birds sing"]
    assert titles(search.find("sing 10.1000/birds")) == ["Birds sing", "Whales sing"]
    assert titles(search.find("2603.00002 2603.00001")) == ["Birds sing", "Whales sing"]
    assert search.find("2603.09999") == []


# -- meaning ---------------------------------------------------------------------------------------


def test_meaning_finds_what_words_do_not(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    add_papers(database, literature())
    by_words = search.find("gripper", limit=60)
    assert by_words
    assert all("gripper" in hit.paper.text.lower() for hit in by_words)
    learn(database, model_store)
    found = search.find("gripper", limit=60)
    assert {hit.paper.id for hit in found} > {hit.paper.id for hit in by_words}


def test_papers_that_come_later_are_found_by_words_and_once_encoded_by_meaning(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    add_papers(database, literature()[:45])
    learn(database, model_store)
    take_in(database, [about(99, "Tactile gloves", literature()[35].abstract)])
    assert "Tactile gloves" in titles(search.find("gloves"))
    learn(database, model_store)
    assert "Tactile gloves" in titles(search.similar([id_of(database, 35)], limit=5))


def id_of(database: Database, row: int) -> int:
    with database.read() as conn:
        found = store.papers.resolve(conn, literature()[row].source_id or "")
    assert found is not None
    return found


def test_a_damaged_encoder_leaves_the_words(
    database: Database, model_store: ModelStore, tmp_path: Path
) -> None:
    add_papers(database, literature())
    learn(database, model_store)
    for file in (tmp_path / "models").rglob("*.npz"):
        file.write_bytes(b"damaged")
    search = Search(database, ModelStore(tmp_path / "models", KEY).load_encoder)
    found = search.find("gripper", limit=60)
    assert found
    assert all("gripper" in hit.paper.text.lower() for hit in found)
    assert search.similar([found[0].paper.id])


# -- similar ---------------------------------------------------------------------------------------


def test_similar_papers_are_about_the_same(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    add_papers(database, literature())
    given = id_of(database, 20)
    without_encoder = search.similar([given], limit=5)
    assert without_encoder
    learn(database, model_store)
    found = search.similar([given], limit=N_EACH - 5)
    assert {hit.paper.categories for hit in found} == {(CATEGORIES["proteins"],)}
    assert given not in {hit.paper.id for hit in found}


def test_more_like_several_is_like_all_of_them(
    database: Database, model_store: ModelStore, search: Search
) -> None:
    add_papers(database, literature())
    learn(database, model_store)
    given = [id_of(database, 2), id_of(database, 32), id_of(database, 33)]
    found = search.similar(given, limit=20)
    kinds = [hit.paper.categories[0] for hit in found]
    assert {CATEGORIES["decoding"], CATEGORIES["robots"]} <= {*kinds}
    assert kinds.count(CATEGORIES["proteins"]) + kinds.count(CATEGORIES["graphs"]) < 5
    assert not {*given} & {hit.paper.id for hit in found}
    only = search.similar(given, Filters(categories=("cs.RO",)), limit=20)
    assert {hit.paper.categories for hit in only} == {("cs.RO",)}


def test_an_unknown_paper_has_nothing_similar(search: Search) -> None:
    with pytest.raises(NotFound, match="no paper is stored under the number 7"):
        search.similar([7])
    assert search.similar([]) == []


def test_the_limit_holds(database: Database, model_store: ModelStore, search: Search) -> None:
    add_papers(database, literature())
    learn(database, model_store)
    for limit in (0, 1, 7):
        assert len(search.find("protein", limit=limit)) == limit
        assert len(search.similar([id_of(database, 1)], limit=limit)) == limit
