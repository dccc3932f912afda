"""Short ways to make records for tests; every argument has a harmless default."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np

from triage.domain.records import (
    Detail,
    Frequency,
    Impression,
    Paper,
    Policy,
    Reason,
    ReasonKind,
    Slate,
    Subscriber,
    SubscriberState,
)

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def paper(id: int = 1, **fields: object) -> Paper:
    defaults: dict[str, object] = {
        "id": id,
        "source": "arxiv",
        "source_id": f"2603.{id:05d}",
        "version": 1,
        "title": f"Speculative decoding with {id} drafts",
        "abstract": f"We study drafts of length {id}. They make decoding faster at no loss.",
        "authors": ("Ada Lovelace", "Charles Babbage"),
        "categories": ("cs.CL", "cs.LG"),
        "listed_on": DAY,
    }
    return Paper(**(defaults | fields))  # type: ignore[arg-type]


def subscriber(id: int = 1, **fields: object) -> Subscriber:
    defaults: dict[str, object] = {
        "id": id,
        "public_id": f"{id:020x}",
        "email": f"reader{id}@example.org",
        "state": SubscriberState.ACTIVE,
        "zone": "UTC",
        "hour": 7,
        "frequency": Frequency.DAILY,
        "detail": Detail.ABSTRACT,
        "created_at": NOON,
    }
    return Subscriber(**(defaults | fields))  # type: ignore[arg-type]


def impression(position: int = 1, **fields: object) -> Impression:
    defaults: dict[str, object] = {
        "paper": paper(position),
        "position": position,
        "score": 0.9 - position / 100,
        "propensity": 1.0,
        "policy": Policy.RANKED,
        "features": np.zeros(4, dtype=np.float32),
        "reasons": (Reason(ReasonKind.INTERESTS, "matches “speculative decoding”"),),
    }
    return Impression(**(defaults | fields))  # type: ignore[arg-type]


def slate(n: int = 3, **fields: object) -> Slate:
    defaults: dict[str, object] = {
        "public_id": "5" * 20,
        "subscriber": subscriber(),
        "on": DAY,
        "impressions": tuple(impression(i) for i in range(1, n + 1)),
        "n_candidates": 214,
        "scorer_version": "cold-2",
        "encoder_version": "enc-test",
        "feature_version": "f1",
        "day_report": "arXiv: 214 new papers, complete.",
    }
    return Slate(**(defaults | fields))  # type: ignore[arg-type]
