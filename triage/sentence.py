"""What words mean outside the corpus: static word vectors of a package that carries them.

WordLlama (Miller 2024) is the token table of a large language model, trained down to 256 numbers a
token; a text is the mean of its tokens. It needs no download, no graphics card and half a
millisecond an abstract. This is its only importer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triage.records import F32

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "wordllama-256"
DIMENSIONS = 256
CHUNK = 512


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
    found = [each.ids for each in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    lengths = np.array([len(ids) for ids in found])
    tokens = np.concatenate([np.zeros(0, dtype=np.int32), *(np.array(i, np.int32) for i in found)])
    counts = csr_matrix(
        (np.ones(len(tokens), np.float32), tokens, np.concatenate([[0], np.cumsum(lengths)])),
        shape=(len(texts), len(table)),
    )
    sums = counts @ table
    return np.asarray(sums / np.maximum(lengths, 1)[:, np.newaxis], dtype=np.float32)


@cache
def _model() -> tuple[Tokenizer, F32]:
    import wordllama

    folder = Path(wordllama.__file__).parent
    model: Any = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    model.tokenizer.no_padding()
    model.tokenizer.no_truncation()
    return model.tokenizer, np.asarray(model.embedding, dtype=np.float32)
