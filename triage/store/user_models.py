"""A cache of user models; each row has the key of the inputs that it was fitted on.

The part that all user models of one background share is stored once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, delete, select

from triage.domain.records import F32
from triage.store.engine.upsert import insert_missing, rows_in, upsert_all
from triage.store.tables import user_model_backgrounds, user_models

BACKGROUNDS_KEPT = 3


@dataclass(frozen=True, slots=True)
class StoredUserModel:
    """The key of the inputs of a model, and the model as `ranking.user_model_format` packs it."""

    key: str
    content: bytes


def load_many(conn: Connection, subscriber_ids: Collection[int]) -> dict[int, StoredUserModel]:
    """Return the stored models by subscriber id, whatever their key; some may have none."""
    query = select(user_models.c.subscriber_id, user_models.c.key, user_models.c.content)
    found = rows_in(conn, query, user_models.c.subscriber_id, subscriber_ids)
    return {id: StoredUserModel(key, content) for id, key, content in found}


def save_many(conn: Connection, models: Mapping[int, StoredUserModel], at: datetime) -> None:
    """Store the models by subscriber id in one statement, and replace the old ones."""
    # Rows in one order, so that two writers never wait for each other in a circle.
    rows = [
        {"subscriber_id": id, "key": each.key, "content": each.content, "made_at": at}
        for id, each in sorted(models.items())
    ]
    upsert_all(conn, user_models, ["subscriber_id"], rows)


def forget(conn: Connection, subscriber_id: int) -> None:
    conn.execute(delete(user_models).where(user_models.c.subscriber_id == subscriber_id))


def load_shared_weights(conn: Connection, name: str) -> F32 | None:
    """Return the shared weights of a background, float32 (v,); None if they are not stored."""
    content = conn.scalar(select(user_model_backgrounds.c.everybody).filter_by(name=name))
    return None if content is None else np.frombuffer(content, dtype="<f4").astype(np.float32)


def save_shared_weights(conn: Connection, name: str, weights: F32, at: datetime) -> None:
    """Store the shared weights of a background, and delete those of older backgrounds."""
    row = {"name": name, "everybody": weights.astype("<f4").tobytes(), "made_at": at}
    insert_missing(conn, user_model_backgrounds, [row])
    newest = user_model_backgrounds.c.made_at.desc(), user_model_backgrounds.c.name.desc()
    keep = select(user_model_backgrounds.c.name).order_by(*newest).limit(BACKGROUNDS_KEPT)
    old = user_model_backgrounds.c.name.not_in(keep.scalar_subquery())
    conn.execute(delete(user_model_backgrounds).where(old))
