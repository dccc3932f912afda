"""Computes sentence vectors with WordLlama (Miller 2024): the mean of static token vectors.

WordLlama is the token table of a large language model, reduced to 256 dimensions. It needs no
download, no GPU and half a millisecond per abstract. Its two files are read from the installed
package. The package itself is not imported: it would set up logging for the whole program, and it
can use the network.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from triage.domain.records import F32
from triage.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "wordllama-256"
DIMENSIONS = 256
CHUNK = 512

_one_loads = threading.Lock()


def encode_sentences(texts: Sequence[str]) -> F32:
    """Return float32 (n, 256): the mean of each text's token vectors, zero for an empty text."""
    if not len(texts):
        return np.zeros((0, DIMENSIONS), dtype=np.float32)
    return np.vstack([_means(texts[at : at + CHUNK]) for at in range(0, len(texts), CHUNK)])


def _means(texts: Sequence[str]) -> F32:
    from scipy.sparse import csr_matrix

    tokenizer, table = _model()
    # Not as a batch: that may start threads, and a process with threads should not fork.
    ids_of = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    lengths = np.array([len(ids) for ids in ids_of])
    tokens = np.concatenate([np.zeros(0, dtype=np.int32), *(np.array(i, np.int32) for i in ids_of)])
    counts = csr_matrix(
        (np.ones(len(tokens), np.float32), tokens, np.concatenate([[0], np.cumsum(lengths)])),
        shape=(len(texts), len(table)),
    )
    sums = counts @ table
    return np.asarray(sums / np.maximum(lengths, 1)[:, np.newaxis], dtype=np.float32)


def _model() -> tuple[Tokenizer, F32]:
    # Loading takes a second, and the first requests of a web server are concurrent.
    with _one_loads:
        return _loaded()


@cache
def _loaded() -> tuple[Tokenizer, F32]:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ModelError(
            "the package wordllama is not installed; install triage with all its requirements"
        )
    folder = Path(spec.origin).parent
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    table = load_file(folder / "weights/l2_supercat_256.safetensors")["embedding.weight"]
    return tokenizer, np.asarray(table, dtype=np.float32)
