"""Searches have the vectors of all papers, from a file where there are many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from tests.support.factories import DAY
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers, fetched, installed, stored_papers, take_in
from tests.support.topics import literature
from triage import store
from triage.domain.protocols import Encoder
from triage.errors import DatabaseError
from triage.papers import paper_vectors, vector_file
from triage.papers.search import Search
from triage.ranking.serving.active_models import encode_new, ensure_active_models, promote
from triage.ranking.serving.model_store import ModelStore
from triage.store import Database

CLOCK = StoppedClock()
N = len(literature())
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_vectors, "_MOST_READ", 20)
    monkeypatch.setattr(paper_vectors, "_NEARLY", 1)
    monkeypatch.setattr(paper_vectors, "_EVERY_S", 0.01)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        add_papers(opened, literature())
        yield opened


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", b"a key of the tests")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "search"


@pytest.fixture
def encoder(database: Database, models: ModelStore) -> Encoder:
    """The encoder that serves and has encoded all papers."""
    active = ensure_active_models(database, models, CLOCK, DAY).encoder
    encode_new(database, active)
    return active


@pytest.fixture
def n_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many vectors each query brought from the database."""
    counted: list[int] = []
    real = store.search.vectors

    def counting(*args: object) -> object:
        ids, vectors = real(*args)  # type: ignore[arg-type]
        counted.append(len(ids))
        return ids, vectors

    monkeypatch.setattr(store.search, "vectors", counting)
    return counted


def by_meaning(search: Search, query: str = "gripper") -> set[str]:
    """Return what is found, although it has not the word."""
    found = [hit.paper for hit in search.find(query, limit=60)]
    return {paper.title for paper in found if query not in paper.text.lower()}


@contextmanager
def kept(search: Search) -> Iterator[Search]:
    stopped = Event()
    thread = search.keep_ready(stopped)
    try:
        yield search
    finally:
        stopped.set()
        thread.join()


def soon(is_true: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_the_file_is_written_once_and_then_mapped(
    database: Database, models: ModelStore, encoder: Encoder, folder: Path, n_read: list[int]
) -> None:
    in_memory = Search(database, models.load_encoder)
    expected = in_memory.find("gripper", limit=60)
    first = Search(database, models.load_encoder, folder)
    assert first.find("gripper", limit=60) == expected
    path = vector_file.path_in(folder, encoder.version)
    written = path.stat().st_ino
    n_read.clear()
    again = Search(database, models.load_encoder, folder)
    assert again.find("gripper", limit=60) == expected
    # The newest one, to see whether the file belongs to this database.
    assert sum(n_read) == 1
    assert path.stat().st_ino == written


def test_few_vectors_need_no_file(
    database: Database,
    models: ModelStore,
    encoder: Encoder,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paper_vectors, "_MOST_READ", N)
    assert by_meaning(Search(database, models.load_encoder, folder))
    assert not folder.exists()


def test_new_papers_are_read_until_they_are_many(
    database: Database, models: ModelStore, encoder: Encoder, folder: Path, n_read: list[int]
) -> None:
    search = Search(database, models.load_encoder, folder)
    path = vector_file.path_in(folder, encoder.version)
    search.find("gripper")
    for n_new, is_written in ((15, False), (15, True)):
        before = path.stat().st_ino
        have = len(stored_papers(database))
        take_in(
            database,
            [
                fetched(n, title=f"Gloves {n}", abstract=literature()[35].abstract)
                for n in range(900 + have, 900 + have + n_new)
            ],
        )
        encode_new(database, encoder)
        n_read.clear()
        for opened in (search, Search(database, models.load_encoder, folder)):
            titles = {hit.paper.title for hit in opened.find("gripper", limit=90)}
            assert sum(title.startswith("Gloves") for title in titles) == have - N + n_new
        assert (path.stat().st_ino != before) == is_written


def test_a_file_of_papers_that_the_database_lost_is_not_used(
    database: Database, models: ModelStore, encoder: Encoder, folder: Path, n_read: list[int]
) -> None:
    """As after a restored back-up, whose new papers get the ids of lost ones."""
    Search(database, models.load_encoder, folder).find("gripper")
    last = stored_papers(database)[-1].id
    another = encoder.encode([literature()[30].encoded_text])
    for is_new in (True, False):
        with database.write() as conn:
            store.encodings.forget(conn, [last])
            if is_new:
                store.encodings.save(conn, encoder.version, [last], another)
        n_read.clear()
        assert by_meaning(Search(database, models.load_encoder, folder))
        assert sum(n_read) >= N - 1


@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_a_file_that_is_not_whole_is_made_anew(
    database: Database, models: ModelStore, encoder: Encoder, folder: Path, damage: str
) -> None:
    expected = by_meaning(Search(database, models.load_encoder, folder))
    path = vector_file.path_in(folder, encoder.version)
    path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else b"")
    assert by_meaning(Search(database, models.load_encoder, folder)) == expected
    assert vector_file.is_intact(folder, encoder.version)


def test_where_no_file_can_be_written_the_vectors_are_in_memory(
    database: Database, models: ModelStore, encoder: Encoder, folder: Path, n_read: list[int]
) -> None:
    folder.write_text("no folder")
    search = Search(database, models.load_encoder, folder)
    assert by_meaning(search)
    n_read.clear()
    assert by_meaning(search)
    assert sum(n_read) == 0


def test_on_a_network_file_system_the_vectors_are_in_memory(
    database: Database,
    models: ModelStore,
    encoder: Encoder,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who replaces a file there takes it from those who have it mapped."""
    monkeypatch.setattr(paper_vectors, "network_file_system", lambda _: "nfs4")
    assert by_meaning(Search(database, models.load_encoder, folder))
    assert not folder.exists()


# -- in a server -----------------------------------------------------------------------------------


def test_while_a_server_loads_words_are_found_and_then_meaning(
    database: Database,
    models: ModelStore,
    encoder: Encoder,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paper_vectors, "_PATIENCE_S", 0.01)
    loads = Event()

    def load_slowly(version: str) -> Encoder:
        assert loads.wait(PATIENCE_S)
        return models.load_encoder(version)

    with kept(Search(database, load_slowly, folder)) as search:
        assert search.find("gripper")
        assert not by_meaning(search)
        loads.set()
        assert soon(lambda: by_meaning(search))


def test_a_server_finds_new_papers_without_a_query_in_each_search(
    database: Database, models: ModelStore, encoder: Encoder, folder: Path
) -> None:
    with kept(Search(database, models.load_encoder, folder)) as search:
        assert soon(lambda: by_meaning(search))
        take_in(database, [fetched(99, title="Gloves", abstract=literature()[35].abstract)])
        encode_new(database, encoder)
        assert soon(lambda: "Gloves" in by_meaning(search, "manipulation-touch"))


def test_a_server_makes_a_damaged_file_anew(
    database: Database, models: ModelStore, encoder: Encoder, folder: Path
) -> None:
    expected = by_meaning(Search(database, models.load_encoder, folder))
    path = vector_file.path_in(folder, encoder.version)
    content = bytearray(path.read_bytes())
    content[600:900] = bytes(300)
    path.unlink()
    path.write_bytes(content)
    with kept(Search(database, models.load_encoder, folder)) as search:
        assert soon(lambda: vector_file.is_intact(folder, encoder.version))
        assert soon(lambda: by_meaning(search) == expected)


def test_a_database_that_is_away_at_the_start_is_read_when_it_is_back(
    database: Database, models: ModelStore, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = store.model_versions.history, []

    def history(conn: object) -> object:
        tries.append(conn)
        if len(tries) < 3:
            raise DatabaseError("the database cannot be reached")
        return real(conn)  # type: ignore[arg-type]

    monkeypatch.setattr(store.model_versions, "history", history)
    with kept(Search(database, models.load_encoder)) as search:
        assert soon(lambda: by_meaning(search))


def test_a_new_encoder_serves_when_it_has_encoded_the_papers(
    database: Database, models: ModelStore, encoder: Encoder, folder: Path
) -> None:
    search = Search(database, models.load_encoder, folder)
    expected = search.find("gripper", limit=60)
    texts = [paper.encoded_text for paper in literature()[:50]]
    new = models.fit_encoder(texts)
    promote(database, CLOCK, models.pretrained_scorer(), new, "a test")
    assert new.version != encoder.version
    assert search.find("gripper", limit=60) == expected
    assert vector_file.path_in(folder, encoder.version).exists()
    encode_new(database, new)
    assert by_meaning(search)
    assert [path.stem for path in folder.iterdir()] == [new.version]
