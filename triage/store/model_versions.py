"""Fitted encoders and scorers, and which pair of them serves.

`model_promotions` is append-only: the last row serves, and a roll-back is one more row that repeats
an earlier pair, so an encoder and the scorer bound to it always move together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from triage.store.engine.upsert import insert_missing
from triage.store.tables import model_promotions, model_versions

MODELS_KEPT = 5
"""How many models, and how many pairs that served, keep their files."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A pair that went live."""

    id: int
    scorer_version: str
    encoder_version: str
    why: str
    at: datetime


def add(
    conn: Connection,
    version: str,
    kind: str,
    encoder_version: str | None,
    metrics: dict[str, Any],
    at: datetime,
) -> None:
    """Note a fitted encoder or scorer; the same version again changes nothing."""
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
    """Note that the files of a version are gone; its card stays."""
    row = get(conn, version)
    if row is not None:
        card = {**row.metrics, "deleted_at": at.isoformat()}
        conn.execute(
            update(model_versions).where(model_versions.c.version == version).values(metrics=card)
        )


def promote(
    conn: Connection, scorer_version: str, encoder_version: str, why: str, at: datetime
) -> None:
    conn.execute(
        insert(model_promotions).values(
            scorer_version=scorer_version, encoder_version=encoder_version, why=why, at=at
        )
    )


def history(conn: Connection) -> list[Promotion]:
    """Return what served, newest first: the first one serves now."""
    query = select(model_promotions).order_by(model_promotions.c.id.desc())
    return [Promotion(**row._mapping) for row in conn.execute(query)]
