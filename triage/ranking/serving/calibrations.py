"""The calibration of each subscriber, from the shown papers and votes until now or a date.

Digests without any vote were perhaps never opened, so they are left out. In the others a paper
without a vote counts as not liked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time

import numpy as np
import structlog

from triage import store
from triage.domain.records import F64, RELEVANCE, Bools, EventKind, Vote
from triage.errors import ModelError
from triage.ranking.calibration import Calibration, Correction, Prior, logit
from triage.ranking.serving import pretrained_ranker
from triage.store import Connection
from triage.store.slates import ShownChance

log = structlog.get_logger()

MOST_OF_ALL = 20_000
MOST_OF_ONE = 1_000


def load_prior() -> Prior:
    """Return the prior that comes with the program; if its file is damaged, a rough one."""
    try:
        return pretrained_ranker.load_shipped_prior()
    except ModelError as error:
        log.error("the calibration that comes with triage cannot be used", error=str(error))
        return Prior()


class Calibrations:
    """The calibrations of an installation.

    Args:
        before: digests of this date or later, and votes of this day or later, are left out.
    """

    def __init__(self, conn: Connection, before: date | None = None) -> None:
        self._prior = load_prior()
        shown = store.slates.shown_chances(conn, MOST_OF_ALL, before=before)
        until = datetime.combine(before, time(), UTC) if before else None
        votes = store.events.all_votes(conn, until) if shown else []
        liked = {(who, paper): kind for who, paper, kind in votes}
        self._of_all = Correction().refine(*judged_chances(shown, liked))

    def of(
        self,
        conn: Connection,
        subscriber_id: int,
        votes: Sequence[Vote],
        before: date | None = None,
    ) -> Calibration:
        """Return the calibration of a subscriber with these votes, the last on each paper."""
        shown = store.slates.shown_chances(conn, MOST_OF_ONE, subscriber_id, before=before)
        last = {(subscriber_id, vote.paper_id): vote.kind for vote in votes}
        return Calibration(self._prior, self._of_all.refine(*judged_chances(shown, last)))


def judged_chances(
    shown: Sequence[ShownChance], last: dict[tuple[int, int], EventKind]
) -> tuple[F64, Bools]:
    """Return the prior log-odds of papers in digests with votes, and which of them were liked.

    float64 (n,) and bool (n,). `last` has the last vote by subscriber and paper.
    """
    voted = {each.slate_id for each in shown if (each.subscriber_id, each.paper_id) in last}
    rows = [each for each in shown if each.slate_id in voted]
    return logit(np.array([each.prior for each in rows])), _are_liked(rows, last)


def _are_liked(rows: Iterable[ShownChance], last: dict[tuple[int, int], EventKind]) -> Bools:
    kinds = (last.get((each.subscriber_id, each.paper_id)) for each in rows)
    return np.array([kind is not None and RELEVANCE[kind] > 0 for kind in kinds], dtype=bool)
