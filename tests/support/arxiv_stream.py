"""A made-up stream of arXiv announcements, as the emulator serves it, and what is true of it.

Every announcement day has new papers in several archives, numbered in the order of announcement,
some older ones listed in one more category, and some in a new version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from tests.support.topics import CATEGORIES, TOPICS

WATCHED = ("cs.CL", "cs.LG", "cs.RO", "stat.ML")
ELSEWHERE = ("math.NT", "hep-th")


@dataclass
class Stream:
    """Announcements of some days.

    Attributes:
        records: all announcements, in order.
        listed_on: of each paper that is ever announced in a watched category, its first day there.
    """

    days: Sequence[date]
    n_new: int = 16
    records: list[dict[str, Any]] = field(default_factory=list)
    listed_on: dict[str, date] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(11)
        number: dict[str, int] = {}
        places = [*CATEGORIES.values(), "cs.CL", "stat.ML", *ELSEWHERE]
        for on in self.days:
            new = [record for record in self.records if record["kind"] == "new"]
            earlier = list(enumerate(new))[-8 * self.n_new :]
            month = f"{on - timedelta(days=1):%y%m}"
            for n in range(self.n_new):
                number[month] = number.get(month, 0) + int(rng.integers(1, 4))
                id = f"{month}.{number[month]:05d}"
                self._announce(_paper(id, places[n % len(places)], on, rng), on, "new")
            elsewhere = [each for _, each in earlier if each["id"] not in self.listed_on]
            for record in _some(rng, elsewhere, 2):
                more = [*record["categories"], str(rng.choice(WATCHED))]
                self._announce({**record, "categories": more}, on, "cross")
            # Of a paper that changed since, nothing tells when it came to the watched ones from
            # elsewhere, nor of which day it is if it was among the last of one.
            steady = [
                each
                for n, each in earlier
                if each["categories"][0] in WATCHED and n % self.n_new < self.n_new // 2
            ]
            for record in _some(rng, steady, 4):
                version = 1 + sum(each["id"] == record["id"] for each in self.records)
                title = f"{record['title']}, again {version}"
                self._announce({**record, "version": version, "title": title}, on, "replace")

    def _announce(self, record: dict[str, Any], on: date, kind: str) -> None:
        record = {**record, "listed_date": on.isoformat(), "kind": kind}
        self.records.append(record)
        if kind != "replace" and set(WATCHED) & set(record["categories"]):
            self.listed_on.setdefault(record["id"], on)

    def announced(self, days: Iterable[date]) -> set[str]:
        """Return the papers that first stand in a watched category on one of some days."""
        wanted = set(days)
        return {id for id, on in self.listed_on.items() if on in wanted}


def _some(rng: np.random.Generator, records: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    return [records[place] for place in rng.permutation(len(records))[:n]]


def _day_before(on: str) -> str:
    return str(date.fromisoformat(on) - timedelta(days=1))


def _paper(id: str, category: str, on: date, rng: np.random.Generator) -> dict[str, Any]:
    topic = next((name for name, place in CATEGORIES.items() if place == category), "graphs")
    words = [str(word) for word in rng.permutation(TOPICS[topic].split())]
    also = [str(rng.choice(WATCHED))] if rng.random() < 0.3 else []
    return {
        "id": id,
        "title": f"{' '.join(words[:4])} of kind {id}".capitalize(),
        "abstract": f"We study {' and '.join(words)} in {id} ways.",
        "authors": ["Ada Lovelace", f"Author Of {id[5:]}"],
        "categories": list(dict.fromkeys([category, *also])),
        "created": _day_before(on.isoformat()),
    }
