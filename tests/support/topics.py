"""A small made-up literature on four topics, for tests that need papers with a meaning."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

import numpy as np

from tests.support.factories import DAY, NOON, paper, subscriber
from triage.domain.records import EncodedPapers, Encodings, Paper, Profile, Subscriber
from triage.ranking.encoder.text_encoder import TextEncoder
from triage.ranking.features import split_phrases

TOPICS = {
    "decoding": "speculative decoding draft model tokens verification latency language inference",
    "proteins": "protein folding structure residues amino sequence binding docking molecule design",
    "robots": "robot grasping manipulation policy gripper arm tactile control demonstration touch",
    "graphs": "graph neural network node edges message passing molecules spectral embedding link",
}
CATEGORIES = {"decoding": "cs.CL", "proteins": "q-bio.BM", "robots": "cs.RO", "graphs": "cs.LG"}
N_EACH = 15


@lru_cache(maxsize=1)
def literature() -> tuple[Paper, ...]:
    """Return 60 papers, 15 a topic in the order of TOPICS, ids from 1."""
    rng = np.random.default_rng(7)
    papers = []
    for topic, text in TOPICS.items():
        words = text.split()
        for number in range(N_EACH):
            chosen = [str(word) for word in rng.permutation(words)]
            papers.append(
                paper(
                    len(papers) + 1,
                    title=f"{chosen[0]} {chosen[1]} for {topic}".capitalize(),
                    abstract=f"We study {' '.join(words[:2])} with {' and '.join(chosen[:7])}.",
                    categories=(CATEGORIES[topic],),
                    authors=(f"Author {topic.title()} {number % 5}", "Ann Other"),
                )
            )
    return tuple(papers)


@lru_cache(maxsize=1)
def encoder() -> TextEncoder:
    return TextEncoder.fit([p.text for p in literature()])


def library(*rows: int) -> EncodedPapers:
    """Return the papers of these rows of the literature; no rows give an empty library."""
    chosen = tuple(literature()[row] for row in rows)
    return EncodedPapers(chosen, encode([p.text for p in chosen]))


def of_papers(*papers: Paper) -> EncodedPapers:
    return EncodedPapers(papers, encode([p.text for p in papers]))


def encode(texts: list[str]) -> Encodings:
    return encoder().encode(texts)


def everything() -> EncodedPapers:
    return library(*range(len(literature())))


def listings(n_days: int, n_each: int) -> EncodedPapers:
    """Return so many papers a day from DAY on, of all topics, oldest first, ids from 1.

    They are the papers of the literature again and again, in an order by chance.
    """
    rows = np.random.default_rng(11).integers(0, len(literature()), n_days * n_each)
    papers = [
        replace(
            literature()[row],
            id=number,
            source_id=f"2603.{number:05d}",
            listed_on=DAY + timedelta(days=(number - 1) // n_each),
        )
        for number, row in enumerate(rows.tolist(), start=1)
    ]
    return EncodedPapers(tuple(papers), everything().encodings.select(rows))


def topic_of(paper: Paper) -> str:
    return next(topic for topic in TOPICS if CATEGORIES[topic] in paper.categories)


def rows_of(topic: str) -> range:
    start = list(TOPICS).index(topic) * N_EACH
    return range(start, start + N_EACH)


def profile(
    interests: str = "",
    liked: tuple[int, ...] = (),
    disliked: tuple[int, ...] = (),
    who: Subscriber | None = None,
) -> Profile:
    """Return a profile; rows are of the literature, the newest vote first."""
    wanted = split_phrases(interests)
    return Profile(
        subscriber=who or subscriber(interests=interests),
        liked=library(*liked),
        liked_at=tuple(NOON - timedelta(days=i) for i in range(len(liked))),
        disliked=library(*disliked),
        disliked_at=tuple(NOON - timedelta(days=i) for i in range(len(disliked))),
        phrases=wanted,
        interests=encode(list(wanted)),
    )


__all__ = ["DAY", "encoder", "everything", "library", "literature", "profile", "rows_of"]
