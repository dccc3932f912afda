"""Joins words that were broken at the ends of lines, as in abstracts copied from PDF files."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_BROKEN: Final = re.compile(r"(?<![\w-])([A-Za-z]{2,20})- ([a-z]{2,20})(?![\w-])")
_WORD: Final = re.compile(r"[a-z]+")
# What follows the first half of “self- and cross-attention” and of its like.
_BETWEEN_COMPOUNDS: Final = frozenset(
    "and or to nor vs versus but as und oder bis et ou y o".split()
)


def join_words(text: str) -> str:
    """Return `text` with `infer- ence` as `inference`, if this is a known word.

    A word is known if it occurs elsewhere in `text`, or is among the 10,000 English words that
    WordLlama's tokenizer has as a whole. Everything else is unchanged, as is `two- dimensional`.
    """
    if "- " not in text or _BROKEN.search(text) is None:
        return text
    here = set(_WORD.findall(text.lower()))

    def joined(broken: re.Match[str]) -> str:
        word = (broken[1] + broken[2]).lower()
        is_known = broken[2] not in _BETWEEN_COMPOUNDS and (word in here or word in _known_words())
        return broken[1] + broken[2] if is_known else broken[0]

    return _BROKEN.sub(joined, text)


@lru_cache(maxsize=1)
def _known_words() -> frozenset[str]:
    """Return the words of the tokenizer, which is read as a file; none if it is not installed."""
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        return frozenset()
    path = Path(spec.origin).parent / "tokenizers/l2_supercat_tokenizer_config.json"
    tokens = json.loads(path.read_text("utf-8"))["model"]["vocab"]
    # "▁" marks the beginning of a word.
    return frozenset(each[1:] for each in tokens if re.fullmatch("▁[a-z]{4,}", each))
