"""The calibration of each subscriber, from the shown papers and votes until now or a date.

Digests without any vote were perhaps never opened, so they are left out. In the others a paper
without a vote counts as not liked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import TypeAlias

import numpy as np
import structlog

from triage import store
from triage.domain.records import F64, LIKES, Bools, EventKind, Vote
from triage.errors import ModelError
from triage.ranking.calibration import Calibration, Correction, Prior, logit
from triage.ranking.serving import pretrained_ranker
from triage.store import Connection
from triage.store.slates import ShownChance

log = structlog.get_logger()

_LastVotes: TypeAlias = Mapping[tuple[int, int], EventKind]

MOST_OF_ALL = 20_000
MOST_OF_EACH = 200
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
        tonight: digests of this date or later are left out, but no votes. So all processes of a
            night correct alike, whenever they begin.
    """

    def __init__(
        self, conn: Connection, before: date | None = None, *, tonight: date | None = None
    ) -> None:
        self._prior = load_prior()
        newest: dict[int, list[ShownChance]] = {}
        for each in store.slates.shown_chances(conn, MOST_OF_ALL, before=before or tonight):
            newest.setdefault(each.subscriber_id, []).append(each)
        # Nobody who votes on everything decides for the others.
        shown = [each for own in newest.values() for each in own[:MOST_OF_EACH]]
        self._of_all = _refine(Correction(), *_join_votes(shown, _last_votes(conn, before)))

    def of(
        self,
        conn: Connection,
        subscriber_id: int,
        votes: Sequence[Vote],
        before: date | None = None,
    ) -> Calibration:
        """Return the calibration of a subscriber with these votes, the last on each paper."""
        return self.of_each(conn, {subscriber_id: votes}, before)[subscriber_id]

    def of_each(
        self, conn: Connection, votes: Mapping[int, Sequence[Vote]], before: date | None = None
    ) -> dict[int, Calibration]:
        """Return the calibrations of several subscribers with these votes; see `of`."""
        shown = store.slates.shown_chances_of_each(conn, MOST_OF_ONE, votes, before)
        return {
            id: self._refined(shown.get(id, ()), {(id, v.paper_id): v.kind for v in own})
            for id, own in votes.items()
        }

    def _refined(self, shown: Sequence[ShownChance], last: _LastVotes) -> Calibration:
        return Calibration(self._prior, _refine(self._of_all, *_join_votes(shown, last)))


def load_told_chances(conn: Connection, first: date, before: date) -> tuple[F64, Bools]:
    """Return the chances that digests of some days told, and which papers were liked.

    float64 (n,) and bool (n,); the newest MOST_OF_ALL papers of digests with votes.
    """
    shown = store.slates.shown_chances(conn, MOST_OF_ALL, first=first, before=before)
    rows, liked = _join_votes(shown, _last_votes(conn))
    return np.array([each.chance for each in rows], dtype=np.float64), liked


def _last_votes(conn: Connection, before: date | None = None) -> _LastVotes:
    until = datetime.combine(before, time(), UTC) if before else None
    return {(who, paper): kind for who, paper, kind in store.events.all_votes(conn, until)}


def _join_votes(shown: Sequence[ShownChance], last: _LastVotes) -> tuple[list[ShownChance], Bools]:
    """Return the papers of digests with votes, and bool (n,), which of them were liked."""
    voted = {each.slate_id for each in shown if (each.subscriber_id, each.paper_id) in last}
    rows = [each for each in shown if each.slate_id in voted]
    kinds = [last.get((each.subscriber_id, each.paper_id)) for each in rows]
    return rows, np.array([kind in LIKES for kind in kinds], dtype=np.bool_)


def _refine(start: Correction, rows: Sequence[ShownChance], liked: Bools) -> Correction:
    return start.refine(logit(np.array([each.prior for each in rows], dtype=np.float64)), liked)
