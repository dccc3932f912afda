"""The vectors of papers, one row for each paper and encoder version."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, select

from triage.domain.records import F32, Encodings
from triage.store.engine.upsert import insert_missing, rows_in, split_values
from triage.store.tables import encodings, papers


def missing(conn: Connection, encoder_version: str) -> list[int]:
    """Return the ids of all papers without vectors of this encoder."""
    have = select(encodings.c.paper_id).where(encodings.c.encoder_version == encoder_version)
    query = select(papers.c.id).where(papers.c.id.not_in(have), papers.c.merged_into.is_(None))
    return list(conn.scalars(query.order_by(papers.c.id)))


def save(conn: Connection, encoder_version: str, ids: Sequence[int], encoded: Encodings) -> None:
    """Store row i of `encoded` for paper `ids[i]`."""
    words = encoded.tfidf
    spans = [slice(*ends) for ends in pairwise(words.indptr)]
    rows = [
        {
            "encoder_version": encoder_version,
            "paper_id": id,
            "latent": encoded.latent[i].astype("<f4").tobytes(),
            "semantic": encoded.semantic[i].astype("<f2").tobytes(),
            "tfidf_ids": words.indices[spans[i]].astype("<i4").tobytes(),
            "tfidf_weights": words.data[spans[i]].astype("<f4").tobytes(),
            "hubness": float(encoded.hubness[i]),
            "training_semantic": encoded.training_semantic[i].astype("<f2").tobytes(),
            "training_hubness": float(encoded.training_hubness[i]),
        }
        for i, id in enumerate(ids)
    ]
    insert_missing(conn, encodings, rows)


def load(
    conn: Connection, encoder_version: str, ids: Sequence[int], like: Encodings
) -> tuple[list[int], Encodings]:
    """Return the ids among `ids` that have vectors, in the order of `ids`, and their rows.

    Args:
        like: any vectors of that encoder, to get their widths.
    """
    from scipy.sparse import csr_matrix

    query = select(encodings).where(encodings.c.encoder_version == encoder_version)
    found = {row.paper_id: row for row in rows_in(conn, query, encodings.c.paper_id, ids)}
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
    """Delete the vectors of all encoders except these."""
    conn.execute(delete(encodings).where(encodings.c.encoder_version.not_in(list(keep))))


def forget(conn: Connection, paper_ids: Collection[int]) -> None:
    """Delete the vectors of papers whose text changed."""
    for some in split_values(paper_ids):
        conn.execute(delete(encodings).where(encodings.c.paper_id.in_(some)))
