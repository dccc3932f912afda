"""A cache of user models as plain arrays; a model is valid while its key is the same.

The part that all user models of one background share is stored once.
"""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, select

from triage.domain.records import F32, UserModel
from triage.store.engine.upsert import insert_missing, upsert
from triage.store.tables import user_model_backgrounds, user_models

BACKGROUNDS_KEPT = 3
_DENSE = (
    "intercepts", "semantic_models", "latent_centres", "semantic_centres", "latent_anchors",
    "semantic_anchors",
)  # fmt: skip
_SPARSE = ("tfidf_models", "tfidf_centres", "tfidf_anchors")
_PARTS = ("data", "indices", "indptr")


def load(conn: Connection, subscriber_id: int, key: str) -> bytes | None:
    """Return the stored model of a subscriber for `unpack`; None if the key differs."""
    return conn.scalar(
        select(user_models.c.content).filter_by(subscriber_id=subscriber_id, key=key)
    )


def save(conn: Connection, subscriber_id: int, key: str, model: UserModel, at: datetime) -> None:
    """Store the user model of a subscriber, and replace the old one."""
    row = {"subscriber_id": subscriber_id, "key": key, "content": _pack(model), "made_at": at}
    upsert(conn, user_models, ["subscriber_id"], row)


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


def _pack(model: UserModel) -> bytes:
    arrays: dict[str, Any] = {name: getattr(model, name) for name in _DENSE}
    for name in _SPARSE:
        matrix = getattr(model, name)
        arrays |= {f"{name}_{part}": getattr(matrix, part) for part in _PARTS}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpack(content: bytes, everybody: F32) -> UserModel:
    """Return the user model that `save` packed.

    Args:
        everybody: the shared weights of its background, float32 (v,).

    Raises:
        Exception: of any type, if the content is damaged or is for another number of words.
    """
    from scipy.sparse import csr_matrix

    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        found = dict(arrays)
    sparse: dict[str, Any] = {}
    for name in _SPARSE:
        parts = [found[f"{name}_{part}"] for part in _PARTS]
        sparse[name] = csr_matrix(tuple(parts), shape=(len(parts[2]) - 1, len(everybody)))
        sparse[name].check_format(full_check=True)
    return UserModel(**{name: found[name] for name in _DENSE}, **sparse, everybody=everybody)
