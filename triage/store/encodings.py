"""Papers as vectors, one row for each paper and encoder version."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, delete, select

from triage.domain.records import F32, Encodings
from triage.store.engine.upsert import chunks, insert_missing
from triage.store.tables import encodings, papers


def missing(conn: Connection, encoder_version: str) -> list[int]:
    """Return the ids of all papers that this encoder has not encoded."""
    have = select(encodings.c.paper_id).where(encodings.c.encoder_version == encoder_version)
    query = select(papers.c.id).where(papers.c.id.not_in(have), papers.c.merged_into.is_(None))
    return list(conn.scalars(query.order_by(papers.c.id)))


def save(conn: Connection, encoder_version: str, ids: Sequence[int], encoded: Encodings) -> None:
    """Keep row i of `encoded` for paper `ids[i]`."""
    words = encoded.tfidf
    rows = []
    for i, id in enumerate(ids):
        start, end = words.indptr[i], words.indptr[i + 1]
        rows.append(
            {
                "encoder_version": encoder_version,
                "paper_id": id,
                "latent": encoded.latent[i].astype("<f4").tobytes(),
                "semantic": encoded.semantic[i].astype("<f2").tobytes(),
                "tfidf_ids": words.indices[start:end].astype("<i4").tobytes(),
                "tfidf_weights": words.data[start:end].astype("<f4").tobytes(),
                "hubness": float(encoded.hubness[i]),
                "training_semantic": encoded.training_semantic[i].astype("<f2").tobytes(),
                "training_hubness": float(encoded.training_hubness[i]),
            }
        )
    insert_missing(conn, encodings, rows)


def load(
    conn: Connection, encoder_version: str, ids: Sequence[int], like: Encodings
) -> tuple[list[int], Encodings]:
    """Read vectors back.

    Args:
        like: any vectors of that encoder, for their widths.

    Returns:
        The ids among `ids` that are encoded, in the order of `ids`, and their rows in that order.
    """
    from scipy.sparse import csr_matrix

    found: dict[int, Row[Any]] = {}
    for some in chunks(ids):
        query = select(encodings).where(
            encodings.c.encoder_version == encoder_version, encodings.c.paper_id.in_(some)
        )
        found |= {row.paper_id: row for row in conn.execute(query)}

    order = [id for id in ids if id in found]
    rows = [found[id] for id in order]

    def numbers(column: str, dtype: str) -> NDArray[Any]:
        return np.frombuffer(b"".join(getattr(row, column) for row in rows), dtype=dtype)

    def vectors(column: str, dtype: str, width: int) -> F32:
        return numbers(column, dtype).reshape(len(rows), width).astype(np.float32, copy=False)

    lengths = [len(row.tfidf_ids) // 4 for row in rows]
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)
    content = (numbers("tfidf_weights", "<f4"), numbers("tfidf_ids", "<i4"), indptr)
    return order, Encodings(
        latent=vectors("latent", "<f4", like.latent.shape[1]),
        tfidf=csr_matrix(content, shape=(len(rows), like.tfidf.shape[1])),
        semantic=vectors("semantic", "<f2", like.semantic.shape[1]),
        hubness=np.array([row.hubness for row in rows], dtype=np.float32),
        training_semantic=vectors("training_semantic", "<f2", like.training_semantic.shape[1]),
        training_hubness=np.array([row.training_hubness for row in rows], dtype=np.float32),
    )


def drop_others(conn: Connection, keep: Sequence[str]) -> None:
    """Delete the vectors of encoders that no promotion needs any more."""
    conn.execute(delete(encodings).where(encodings.c.encoder_version.not_in(list(keep))))


def forget(conn: Connection, paper_ids: Collection[int]) -> None:
    """Delete the vectors of papers whose text changed."""
    for some in chunks(paper_ids):
        conn.execute(delete(encodings).where(encodings.c.paper_id.in_(some)))
