"""What words mean outside the corpus: from the package's own files, and from nowhere else."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.ranking.encoder import sentence_vectors
from triage.ranking.encoder.sentence_vectors import DIMENSIONS, encode_sentences

TEXTS = ["Folding of proteins", "A dog barks in the garden.", "", "量子 computers", "dog " * 600]

# Ends with an error where anything asks for an address, opens a log or says a word.
ALONE = """
import logging, os, sys

def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}:
        raise SystemExit(f"{event} {arguments}")

sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
from triage.ranking.encoder.sentence_vectors import encode_sentences

assert encode_sentences(["protein folding"]).any()
assert not logging.getLogger().handlers
child = os.fork()
if not child:
    os._exit(0 if encode_sentences(["protein folding"]).any() else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def cosine(one: str, other: str) -> float:
    first, second = encode_sentences([one, other])
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_other_words_for_the_same_thing_are_near() -> None:
    assert cosine("physician", "doctor") > cosine("physician", "galaxy") + 0.2


@given(st.permutations(TEXTS))
def test_a_text_has_one_vector_whatever_stands_beside_it(texts: list[str]) -> None:
    alone = np.vstack([encode_sentences([text]) for text in texts])
    assert encode_sentences(texts).tobytes() == alone.tobytes()


def test_many_texts_are_read_in_pieces_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = encode_sentences(TEXTS)
    monkeypatch.setattr(sentence_vectors, "CHUNK", 2)
    assert encode_sentences(TEXTS).tobytes() == whole.tobytes()


def test_an_empty_text_is_zero_and_no_texts_are_no_rows() -> None:
    assert not encode_sentences(["", "x"])[0].any()
    assert encode_sentences([]).shape == (0, DIMENSIONS)
    assert encode_sentences(["x"]).dtype == np.float32


def test_a_long_text_is_read_to_its_end() -> None:
    assert not np.allclose(
        *encode_sentences(["dog " * 5_000, "dog " * 5_000 + "cat " * 5_000]), atol=1e-3
    )


def test_it_needs_no_network_sets_up_no_log_and_stands_a_fork(root: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", ALONE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence_vectors._loaded.cache_clear()
    monkeypatch.setattr(sentence_vectors, "find_spec", lambda name: None)
    with pytest.raises(sentence_vectors.ModelError, match="wordllama"):
        encode_sentences(["x"])


def test_many_threads_at_once_read_the_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    n_read = 0
    real = sentence_vectors.find_spec

    def find(name: str) -> object:
        nonlocal n_read
        n_read += 1
        return real(name)

    sentence_vectors._loaded.cache_clear()
    monkeypatch.setattr(sentence_vectors, "find_spec", find)
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda _: encode_sentences(["protein folding"]), range(8)))
    assert n_read == 1
    assert all((each == vectors[0]).all() for each in vectors)
