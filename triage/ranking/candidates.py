"""Which papers may be shown to a subscriber at all."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import date

import numpy as np

from triage.domain.records import I64, Paper, Subscriber
from triage.ranking.features import keywords_in


def eligible(
    papers: Sequence[Paper],
    subscriber: Subscriber,
    seen: Container[int],
    on: date,
    max_age_days: int,
) -> I64:
    """Return the rows of the papers that may be shown on a date, in their order.

    A subscriber's categories are a wish and not a wall: a paper elsewhere may still be the best of
    the day, so they count as a feature. Excluded keywords are a wall.

    Args:
        papers: what is stored.
        subscriber: whose excluded keywords hold, as whole words in any case, in title or abstract.
        seen: ids of papers that were mailed to the subscriber or voted on, however long ago.
        on: the digest's date; papers listed later do not exist yet.
        max_age_days: how many days before `on` a paper may have been listed; 0 means that day only.

    Returns:
        int64 (m,), ascending; empty when nothing is left.
    """
    walls = subscriber.exclude_keywords
    rows = [
        row
        for row, paper in enumerate(papers)
        if paper.id not in seen
        and 0 <= (on - paper.listed_on).days <= max_age_days
        and not (walls and keywords_in(walls, paper.text))
    ]
    return np.array(rows, dtype=np.int64)
