"""Chooses the words and word pairs of a corpus that become the terms of TF-IDF.

Word forms are read (`read_forms`) and plurals merged with singulars (`merge_forms`). The key of a
word is its number, that of a pair of neighbours (first + 1) * number of words + second
(`occurrences`). `choose_terms` selects keys by document frequency.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triage.domain.plain_text import without_accents
from triage.domain.records import I64, Bools

MAX_TERMS = 30_000
WORD = re.compile(r"\w\w+")
STOP, UNKNOWN = -1, -2


def fold(text: str) -> str:
    """Return lower-case text without accents."""
    return without_accents(text).lower()


def read_forms(texts: Sequence[str]) -> tuple[dict[str, int], NDArray[np.int32], I64]:
    """Number all word forms. Return them, and int32 form and int64 document per occurrence."""
    forms: defaultdict[str, int] = defaultdict()
    forms.default_factory = forms.__len__
    parts, lengths = [], []
    for text in texts:
        found = [forms[word] for word in WORD.findall(fold(text))]
        parts.append(np.array(found, dtype=np.int32))
        lengths.append(len(found))
    ids = np.concatenate([np.zeros(0, np.int32), *parts])
    return dict(forms), ids, np.repeat(np.arange(len(texts), dtype=np.int64), lengths)


def merge_forms(
    forms: dict[str, int], ids: NDArray[np.int32], documents: I64, n_documents: int
) -> tuple[NDArray[np.int32], int]:
    """Return int32 (n_forms,), the word that each form counts as, and the number of words.

    A plural counts as its singular; stop words are STOP, rare forms and numbers UNKNOWN.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    n_forms = len(forms)
    pairs = np.unique(documents * max(n_forms, 1) + ids)
    frequency = np.bincount(pairs % max(n_forms, 1), minlength=n_forms)
    least = _least_frequency(n_documents)
    stand_for = np.arange(n_forms)
    for form, number in forms.items():
        singular = forms.get(_singular(form), number)
        if frequency[singular] >= least:
            stand_for[number] = singular
    total = np.bincount(stand_for, frequency, minlength=n_forms)
    stems = np.full(n_forms, UNKNOWN, dtype=np.int32)
    common = np.flatnonzero((total >= least) & (stand_for == np.arange(n_forms)))
    stems[common] = np.arange(len(common), dtype=np.int32)
    stems = stems[stand_for]
    for form, number in forms.items():
        if form in ENGLISH_STOP_WORDS:
            stems[number] = STOP
        elif form.isdigit():
            stems[number] = UNKNOWN
    return stems, len(common)


def _singular(form: str) -> str:
    """Return the singular that an English plural may have (Harman 1991, the S stemmer)."""
    if len(form) < 4 or not form.endswith("s") or form.endswith(("ss", "us")):
        return form
    if form.endswith("ies") and not form.endswith(("eies", "aies")):
        return form[:-3] + "y"
    return form[: -2 if form.endswith(("ches", "shes", "xes", "sses")) else -1]


def occurrences(stems: I64, documents: I64, n_stems: int) -> tuple[I64, I64]:
    """Return the document and key of every word and every pair of neighbours in one document."""
    known = stems >= 0
    paired = known[:-1] & known[1:] & (documents[:-1] == documents[1:])
    pairs = (stems[:-1][paired] + 1) * n_stems + stems[1:][paired]
    return (
        np.concatenate([documents[known], documents[:-1][paired]]),
        np.concatenate([stems[known], pairs]),
    )


def _least_frequency(n_documents: int) -> int:
    return min(5, 1 + n_documents // 500)


def choose_terms(rows: I64, keys: I64, n_documents: int) -> tuple[I64, I64]:
    """Return the keys of the terms, ascending, and their document frequencies."""
    order = np.lexsort((keys, rows))
    rows, keys = rows[order], keys[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = (keys[1:] != keys[:-1]) | (rows[1:] != rows[:-1])
    vocabulary, frequency = np.unique(keys[first], return_counts=True)
    # The limit is high, so that the common words of a field, as "language models", are terms.
    most = n_documents if n_documents < 100 else n_documents // 2
    fit = (frequency >= _least_frequency(n_documents)) & (frequency <= most)
    vocabulary, frequency = vocabulary[fit], frequency[fit]
    chosen = np.sort(np.lexsort((vocabulary, -frequency))[:MAX_TERMS])
    return vocabulary[chosen], frequency[chosen]


def used_forms(stems: NDArray[np.int32], vocabulary: I64, n_stems: int) -> Bools:
    """Return bool (n_forms,): the forms to store, which are stop words or part of a term."""
    needed = np.zeros(n_stems, dtype=bool)
    pairs = vocabulary[vocabulary >= n_stems]
    needed[vocabulary[vocabulary < n_stems]] = True
    needed[pairs // n_stems - 1] = True
    needed[pairs % n_stems] = True
    return np.asarray((stems == STOP) | ((stems >= 0) & needed[stems]), dtype=np.bool_)
