"""A file of vectors gives what was put in, and a file that is not whole gives nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.papers.test_vector_index import ids, some_vectors
from triage.domain.records import F32, I64
from triage.papers import vector_file
from triage.papers.vector_index import Nearest

VERSION = "enc-0123456789ab"
OTHER = "enc-ba9876543210"


def in_chunks(vectors: F32) -> Iterator[tuple[I64, F32]]:
    for at in range(0, len(vectors), vector_file.BLOCK):
        some = vectors[at : at + vector_file.BLOCK]
        yield ids(len(some), at + 1), some


def write(folder: Path, vectors: F32, version: str = VERSION) -> None:
    vector_file.write(folder, version, len(vectors), in_chunks(vectors))


def mapped(folder: Path) -> Nearest:
    return Nearest(vector_file.map_blocks(folder, VERSION))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "search"


@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 64), (7, 65), (10, 272), (11, 300), (25, 512)])
def test_the_file_finds_what_memory_finds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, n: int, d: int
) -> None:
    monkeypatch.setattr(vector_file, "BLOCK", 10)
    vectors = some_vectors(n, d)
    write(folder, vectors)
    in_memory = Nearest()
    for chunk in in_chunks(vectors):
        in_memory.add(*chunk)
    found = mapped(folder)
    assert (len(found), found.newest) == (n, n)
    for vector in vectors:
        assert found.find(vector, n) == in_memory.find(vector, n)
    assert np.array_equal(found.vectors(ids(n)), in_memory.vectors(ids(n)))
    assert vector_file.is_intact(folder, VERSION)


def test_what_comes_later_is_added_to_what_is_mapped(folder: Path) -> None:
    vectors = some_vectors(40)
    write(folder, vectors[:30])
    found = mapped(folder)
    found.add(ids(10, 31), vectors[30:])
    assert [found.find(vectors[row], 1) for row in (0, 29, 30, 39)] == [[1], [30], [31], [40]]


def test_a_mapped_file_stays_while_another_one_replaces_it(folder: Path) -> None:
    old, new = some_vectors(2, 20_000, seed=1), some_vectors(3, 20_000, seed=2)
    write(folder, old)
    before = mapped(folder)
    write(folder, new)
    assert before.find(old[1], 1) == [2]
    assert len(mapped(folder)) == 3


def test_only_the_file_of_the_newest_encoder_stays(folder: Path) -> None:
    write(folder, some_vectors(3), OTHER)
    assert not mapped(folder)
    write(folder, some_vectors(3))
    assert [path.name for path in folder.iterdir()] == [f"{VERSION}.vectors"]


def test_a_file_that_was_given_another_name_is_not_used(folder: Path) -> None:
    write(folder, some_vectors(3), OTHER)
    vector_file.path_in(folder, OTHER).rename(vector_file.path_in(folder, VERSION))
    assert not mapped(folder)


@given(st.data())
def test_a_damaged_file_is_not_used_or_is_known_as_damaged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    write(folder, some_vectors(4, 70))
    path = vector_file.path_in(folder, VERSION)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), "place")
    kind = data.draw(st.sampled_from(["cut", "longer", "changed"]), "damage")
    if kind == "changed":
        content[at] ^= data.draw(st.integers(1, 255), "bits")
    path.write_bytes(
        bytes(content[:at]) if kind == "cut" else bytes(content) + b" " * (kind == "longer")
    )
    blocks = vector_file.map_blocks(folder, VERSION)
    # Nothing is lost if a space of the header is another kind of space.
    same = kind == "changed" and len(Nearest(blocks)) == 4 and at < 512
    assert not blocks or same or not vector_file.is_intact(folder, VERSION)


def test_without_a_file_there_is_nothing(folder: Path) -> None:
    assert not mapped(folder)
    assert not vector_file.is_intact(folder, VERSION)


def test_a_full_disk_leaves_the_old_file(folder: Path) -> None:
    write(folder, some_vectors(3))
    writing = (
        "import resource, signal, sys, numpy as np; from pathlib import Path;"
        "from triage.papers import vector_file;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "chunk = np.arange(1, 101), np.ones((100, 64), dtype=np.float32);"
        f"vector_file.write(Path(sys.argv[1]), {VERSION!r}, 100, [chunk])"
    )
    done = subprocess.run(
        [sys.executable, "-c", writing, str(folder)], check=False, capture_output=True, text=True
    )
    assert "File too large" in done.stderr
    assert [path.name for path in folder.iterdir()] == [f"{VERSION}.vectors"]
    assert len(mapped(folder)) == 3


def test_what_a_killed_writer_left_is_deleted_but_not_what_one_is_writing(folder: Path) -> None:
    write(folder, some_vectors(2))
    (folder / f".{VERSION}.vectors.dead").write_bytes(b"half")

    def slowly() -> Iterator[tuple[I64, F32]]:
        yield from in_chunks(some_vectors(3, seed=3))
        write(folder, some_vectors(2, seed=4))

    vector_file.write(folder, VERSION, 3, slowly())
    assert len(mapped(folder)) == 3
    assert [path.name for path in folder.iterdir()] == [f"{VERSION}.vectors"]


def test_several_may_write_at_once(folder: Path) -> None:
    several = [some_vectors(500, seed=seed) for seed in range(4)]
    writers = [Thread(target=write, args=(folder, vectors)) for vectors in several]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = mapped(folder)
    assert [500] in [found.find(vectors[499], 1) for vectors in several]
    assert vector_file.is_intact(folder, VERSION)
    assert [path.name for path in folder.iterdir()] == [f"{VERSION}.vectors"]
