"""What words mean outside the corpus: static word vectors of a package that carries them.

WordLlama (Miller 2024) is the token table of a large language model, trained down to 256 numbers a
token; a text is the mean of its tokens. It needs no download, no graphics card and half a
millisecond an abstract. Its two files are read as they lie in the package and nothing of it is
imported: it would set up logging for the whole program, and could reach the network.
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


def sense(texts: Sequence[str]) -> F32:
    """Return float32 (n, 256): the mean of each text's token vectors, zero for an empty text.

    One text has the same vector whatever stands beside it.
    """
    if not len(texts):
        return np.zeros((0, DIMENSIONS), dtype=np.float32)
    return np.vstack([_means(texts[at : at + CHUNK]) for at in range(0, len(texts), CHUNK)])


def _means(texts: Sequence[str]) -> F32:
    from scipy.sparse import csr_matrix

    tokenizer, table = _model()
    # One by one: a batch may start threads, and a process that forks later is then warned of them.
    found = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    lengths = np.array([len(ids) for ids in found])
    tokens = np.concatenate([np.zeros(0, dtype=np.int32), *(np.array(i, np.int32) for i in found)])
    counts = csr_matrix(
        (np.ones(len(tokens), np.float32), tokens, np.concatenate([[0], np.cumsum(lengths)])),
        shape=(len(texts), len(table)),
    )
    sums = counts @ table
    return np.asarray(sums / np.maximum(lengths, 1)[:, np.newaxis], dtype=np.float32)


def _model() -> tuple[Tokenizer, F32]:
    # A second's work, and the first requests of a web server come side by side.
    with _one_loads:
        return _loaded()


@cache
def _loaded() -> tuple[Tokenizer, F32]:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ModelError("the package wordllama is not installed; install what triage requires")
    folder = Path(spec.origin).parent
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    table = load_file(folder / "weights/l2_supercat_256.safetensors")["embedding.weight"]
    return tokenizer, np.asarray(table, dtype=np.float32)
