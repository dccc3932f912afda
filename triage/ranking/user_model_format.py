"""Packs user models into few bytes, and unpacks them.

    length of the header │ header (JSON) │ the bytes of each array

All is compressed by zlib, whose checksum shows damage. The header names each array with its type
and shape. Weights are in half precision, to which `fit_user_model` rounds them, so that a stored
model gives the same scores as a new one. Equal models are stored once. The centres of interests are
means of likes, so only the interest of each like is stored.
"""

from __future__ import annotations

import json
import zlib
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage.domain.records import CSR, F32, Encodings, UserModel
from triage.ranking.user_model import interest_centres

# Another number also where the same likes would give other models: then no old part is kept.
LAYOUT = 1
_HALF = np.dtype("<f2")
_Arrays = dict[str, NDArray[Any]]


def pack_user_model(model: UserModel, encoder_version: str) -> bytes:
    """Return the bytes of a model; they are the same for the same model."""
    arrays: _Arrays = {
        "intercepts": model.intercepts.astype("<f4"),
        "interest_keys": model.interest_keys.astype("<i8"),
        "like_interests": model.like_interests.astype("<i1"),
        "latent_anchors": model.latent_anchors.astype(_HALF),
        "semantic_anchors": model.semantic_anchors.astype(_HALF),
        **_pack_dense("semantic_models", model.semantic_models),
        **_pack_sparse("tfidf_models", model.tfidf_models),
        **_pack_sparse("tfidf_anchors", model.tfidf_anchors),
    }
    told = [(name, each.dtype.str, each.shape) for name, each in arrays.items()]
    n_terms = model.tfidf_models.shape[1]
    header = json.dumps([LAYOUT, encoder_version, n_terms, told], separators=(",", ":")).encode()
    parts = (each.tobytes() for each in arrays.values())
    return zlib.compress(b"".join([len(header).to_bytes(4, "little"), header, *parts]), 1)


def unpack_user_model(
    content: bytes, encoder_version: str, everybody: F32, liked: Encodings | None
) -> UserModel:
    """Return a packed model.

    Args:
        encoder_version: the version of the encoder that `pack_user_model` was called with.
        everybody: the shared weights of its background, float32 (v,).
        liked: the likes that it was fitted on. If they are not known any more, it is None: then
            the model has no centres, and is only good as the start of a fit.

    Raises:
        ValueError: the content is damaged, has another layout, or is from another encoder.
    """
    arrays = _read(content, encoder_version, len(everybody))
    latent, semantic = (arrays[f"{name}_anchors"].astype(np.float32) for name in _DENSE_SPACES)
    like_interests = arrays["like_interests"].astype(np.int32)
    models = _unpack_sparse("tfidf_models", arrays, len(everybody))
    n_likes = len(like_interests) if liked is None else len(liked)
    if n_likes != len(like_interests):
        raise ValueError(f"the user model is of {len(like_interests)} likes, and not of {n_likes}")
    centres = (models[:0], latent[:0], semantic[:0])
    if liked is not None:
        centres = interest_centres(liked, like_interests)
    return UserModel(
        tfidf_models=models,
        intercepts=arrays["intercepts"].astype(np.float32),
        semantic_models=_unpack_dense("semantic_models", arrays),
        interest_keys=arrays["interest_keys"].astype(np.int64),
        like_interests=like_interests,
        tfidf_centres=centres[0],
        latent_centres=centres[1],
        semantic_centres=centres[2],
        tfidf_anchors=_unpack_sparse("tfidf_anchors", arrays, len(everybody)),
        latent_anchors=latent,
        semantic_anchors=semantic,
        everybody=everybody,
    )


_DENSE_SPACES = ("latent", "semantic")


def _read(content: bytes, encoder_version: str, n_terms: int) -> _Arrays:
    try:
        content = zlib.decompress(content)
    except zlib.error as error:
        raise ValueError("the user model is damaged, or has an old layout") from error
    length = int.from_bytes(content[:4], "little")
    layout, *made_for, told = json.loads(content[4 : 4 + length])
    if layout != LAYOUT or made_for != [encoder_version, n_terms]:
        raise ValueError(f"the user model is of layout {layout} for encoder {made_for}")
    arrays, at = {}, 4 + length
    for name, dtype, shape in told:
        arrays[name] = np.frombuffer(content, dtype, prod(shape), at).reshape(shape)
        at += arrays[name].nbytes
    return arrays


def _pack_dense(name: str, rows: F32) -> _Arrays:
    """Return each different row once, and which of them each row is."""
    unique, which = _number_equal([row.tobytes() for row in rows])
    return {name: rows[unique].astype(_HALF), f"{name}_which": which}


def _unpack_dense(name: str, arrays: _Arrays) -> F32:
    rows: F32 = arrays[name].astype(np.float32)[arrays[f"{name}_which"]]
    return rows


def _pack_sparse(name: str, rows: CSR) -> _Arrays:
    """Return each different row once: their columns, a bit for each row and column, the weights."""
    each = [rows.indices[a:b].tobytes() + rows.data[a:b].tobytes() for a, b in _spans(rows)]
    unique, which = _number_equal(each)
    few = rows[unique]
    columns = np.unique(few.indices)
    found = few[:, columns].toarray()
    return {
        # Differences are small numbers, which can be compressed.
        f"{name}_columns": np.diff(columns, prepend=0).astype("<u4"),
        f"{name}_bits": np.packbits(found != 0, axis=1),
        name: found[found != 0].astype(_HALF),
        f"{name}_which": which,
    }


def _unpack_sparse(name: str, arrays: _Arrays, n_terms: int) -> CSR:
    from scipy.sparse import csr_matrix

    columns = np.cumsum(arrays[f"{name}_columns"], dtype=np.int32)
    bits = arrays[f"{name}_bits"]
    row, column = np.unpackbits(bits, axis=1, count=len(columns)).nonzero()
    starts = np.searchsorted(row, np.arange(len(bits) + 1)).astype(np.int32)
    parts = (arrays[name].astype(np.float32), columns[column], starts)
    rows: CSR = csr_matrix(parts, shape=(len(bits), n_terms))[arrays[f"{name}_which"]]
    return rows


def _spans(rows: CSR) -> list[tuple[int, int]]:
    return list(zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True))


def _number_equal(rows: list[bytes]) -> tuple[list[int], NDArray[np.uint8]]:
    """Return the first position of each different value, and the number of each value."""
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    return [rows.index(row) for row in numbers], np.array([numbers[r] for r in rows], np.uint8)
