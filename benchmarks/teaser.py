"""Measure how often the teaser of a digest says what the paper contributes (target: 80 %).

    python -m benchmarks.teaser

`benchmarks/teaser.jsonl` has 200 abstracts of arXiv, whose metadata are CC0: computer science,
physics, astronomy, biology and medicine. All sentences were read and labelled before there was a
scorer. `contribution` has the numbers of those that say what the paper proposes, does or finds, but
not that it is better than others, and no details of a method. `background` has those about what was
known or missing before. The scorer was tuned on the abstracts whose `split` is `tune`; the figures
are of those with `report`. But one author labelled all of them and wrote the scorer.

A sentence counts as shown if at least its first half is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import record
from triage.digest.contribution import MAX_SENTENCES, choose_teaser
from triage.domain.plain_text import shorten

LABELS = Path(__file__).with_name("teaser.jsonl")
# What a mail shows at most of an abstract, and what it shows of one as a summary.
LIMITS = (600, 320)

Choose = Callable[["Abstract", int], str]


@dataclass(frozen=True)
class Abstract:
    id: str
    field: str
    split: str
    sentences: tuple[str, ...]
    contribution: tuple[int, ...]
    background: tuple[int, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def abstracts(split: str) -> list[Abstract]:
    rows = map(json.loads, LABELS.read_text("utf-8").splitlines())
    return [
        Abstract(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()})
        for row in rows
        if row["split"] == split
    ]


def first_sentences(abstract: Abstract, limit: int) -> str:
    return " ".join(_that_fit(abstract.sentences, limit))


def last_sentences(abstract: Abstract, limit: int) -> str:
    return " ".join(reversed(_that_fit(abstract.sentences[::-1], limit)))


def beginning(abstract: Abstract, limit: int) -> str:
    """Return as much from the beginning as fits, which is what mails showed before."""
    return shorten(abstract.text, limit, at_sentence=True)


def _that_fit(sentences: Sequence[str], limit: int) -> list[str]:
    chosen = [shorten(sentences[0], limit)]
    for sentence in sentences[1:MAX_SENTENCES]:
        if len(" ".join([*chosen, sentence])) > limit:
            break
        chosen.append(sentence)
    return chosen


def chosen_sentences(abstract: Abstract, limit: int) -> str:
    return choose_teaser(abstract.text, limit)


def shows(text: str, abstract: Abstract, rows: Sequence[int]) -> bool:
    halves = (abstract.sentences[row][: -(-len(abstract.sentences[row]) // 2)] for row in rows)
    return any(half in text for half in halves)


WAYS: dict[str, Choose] = {
    "chosen": chosen_sentences,
    "first_sentences": first_sentences,
    "last_sentences": last_sentences,
    "beginning": beginning,
}
ROWS: dict[str, Callable[[Abstract], Sequence[int]]] = {
    "contribution": lambda each: each.contribution,
    "background": lambda each: each.background,
}


def main() -> None:
    read = abstracts("report")
    figures: dict[str, tuple[float, str]] = {}
    for limit in LIMITS:
        unit = f"% of {len(read)} abstracts, at most {limit} characters"
        for name, choose in WAYS.items():
            shown = [(choose(each, limit), each) for each in read]
            for what, rows in ROWS.items():
                n = sum(shows(text, each, rows(each)) for text, each in shown)
                figures[f"teaser_{name}_{limit}_{what}"] = (100 * n / len(read), unit)
    record("python -m benchmarks.teaser", figures)


if __name__ == "__main__":
    main()
