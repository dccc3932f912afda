"""The log that rankers are trained on: impressions as arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from triage.domain.records import I64, Origin
from triage.store import papers as papers_store
from triage.store.tables import events, impressions, papers, slates

CHUNK = 10_000
_IS_KEPT = impressions.c.released_at.is_(None)
_HAS_VOTED = impressions.c.subscriber_id.in_(
    select(events.c.subscriber_id).where(events.c.origin == Origin.PERSON)
)


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """Impressions as one array for each column, ordered by date, slate and position.

    Attributes:
        slate_ids, subscriber_ids, paper_ids: int64 (n,).
        days: int32 (n,), the slate's date as `date.toordinal()`.
        positions: int32 (n,), 1-based.
        scores: float64 (n,), as ranked; propensities: float32 (n,).
        features: float32 (n, n_features).
    """

    slate_ids: I64
    subscriber_ids: I64
    paper_ids: I64
    days: NDArray[np.int32]
    positions: NDArray[np.int32]
    scores: NDArray[np.float64]
    propensities: NDArray[np.float32]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.slate_ids)

    def select_rows(self, rows: slice | I64 | NDArray[np.bool_]) -> TrainingLog:
        """Return some rows; a slice copies nothing."""
        return TrainingLog(*(getattr(self, each.name)[rows] for each in fields(self)))


def load(conn: Connection, feature_version: str, n_features: int, every: int = 1) -> TrainingLog:
    """Return every impression with features of that version that was not released.

    Rows whose features are not `n_features` finite numbers are damaged and left out. The rows are
    read in chunks, because a log may have a million rows.

    Args:
        every: if this is k > 1, only the rows of every k-th subscriber who has voted.
    """
    of_version = select(slates.c.id, slates.c.on).filter_by(feature_version=feature_version)
    days = {id: on.toordinal() for id, on in conn.execute(of_version)}
    each = impressions.c
    query = (
        select(
            *each["slate_id", "subscriber_id"],
            papers_store.WORK,
            *each["position", "score", "propensity", "features"],
        )
        .join(slates, slates.c.id == each.slate_id)
        .join(papers, papers.c.id == each.paper_id)
        .where(slates.c.feature_version == feature_version, _IS_KEPT)
        .order_by(each.id)
    )
    if every > 1:
        query = query.where(each.subscriber_id % every == 0, _HAS_VOTED)
    n_rows = conn.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    columns = np.empty((6, n_rows), dtype=np.float64)
    features = np.empty((n_rows, n_features), dtype=np.float32)
    n = 0
    rows = conn.execute(query.execution_options(yield_per=CHUNK))
    for part in rows.partitions():
        complete = [row for row in part if len(row[-1]) == 4 * n_features]
        if not complete:
            continue
        *values, blobs = zip(*complete, strict=True)
        found = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, n_features)
        good = np.isfinite(found).all(axis=1)
        end = n + int(good.sum())
        columns[:, n:end] = np.array(values, dtype=np.float64)[:, good]
        features[n:end] = found[good]
        n = end
    columns, features = columns[:, :n], features[:n]
    slate_ids = columns[0].astype(np.int64)
    log = TrainingLog(
        slate_ids=slate_ids,
        subscriber_ids=columns[1].astype(np.int64),
        paper_ids=columns[2].astype(np.int64),
        days=np.array([days[id] for id in slate_ids.tolist()], dtype=np.int32),
        positions=columns[3].astype(np.int32),
        scores=columns[4],
        propensities=columns[5].astype(np.float32),
        features=features,
    )
    order = np.lexsort((log.positions, log.slate_ids, log.days))
    # The nightly run writes in this order, and then the features need no second copy.
    return log if bool((order == np.arange(n)).all()) else log.select_rows(order)


def training_step(conn: Connection, feature_version: str, most: int) -> int:
    """Return the k for which `training_log` of every k-th subscriber has about `most` rows."""
    query = (
        select(func.count())
        .select_from(impressions.join(slates, slates.c.id == impressions.c.slate_id))
        .where(slates.c.feature_version == feature_version, _IS_KEPT, _HAS_VOTED)
    )
    return max(1, -(-(conn.scalar(query) or 0) // most))
