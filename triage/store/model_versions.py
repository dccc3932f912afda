"""Fitted encoders and scorers, and which pair of them is active.

`model_promotions` is append-only, and its last row is the active pair. A roll-back adds a row with
an earlier pair. So an encoder and its scorer are always replaced together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from triage.store.engine.upsert import insert_missing
from triage.store.tables import model_promotions, model_versions

MODELS_KEPT = 5
"""How many models, and how many formerly active pairs, keep their files."""


def add(
    conn: Connection,
    version: str,
    kind: str,
    encoder_version: str | None,
    metrics: dict[str, Any],
    at: datetime,
) -> None:
    """Store a fitted encoder or scorer; an existing version is not changed."""
    row = {
        "version": version,
        "kind": kind,
        "encoder_version": encoder_version,
        "metrics": metrics,
        "created_at": at,
    }
    insert_missing(conn, model_versions, [row])


def get(conn: Connection, version: str) -> Row[Any] | None:
    query = select(model_versions).where(model_versions.c.version == version)
    return conn.execute(query).one_or_none()


def everything(conn: Connection) -> Sequence[Row[Any]]:
    """Return all versions, newest first."""
    order = (model_versions.c.created_at.desc(), model_versions.c.version)
    return conn.execute(select(model_versions).order_by(*order)).all()


def mark_deleted(conn: Connection, version: str, at: datetime) -> None:
    """Store that the files of a version were deleted; its metrics stay."""
    row = get(conn, version)
    if row is not None:
        metrics = {**row.metrics, "deleted_at": at.isoformat()}
        change = update(model_versions).where(model_versions.c.version == version)
        conn.execute(change.values(metrics=metrics))


def promote(
    conn: Connection, scorer_version: str, encoder_version: str, why: str, at: datetime
) -> None:
    row = {"scorer_version": scorer_version, "encoder_version": encoder_version}
    conn.execute(insert(model_promotions), row | {"why": why, "at": at})


def history(conn: Connection) -> Sequence[Row[Any]]:
    """Return all promotions, newest first; the first one is active."""
    return conn.execute(select(model_promotions).order_by(model_promotions.c.id.desc())).all()
