"""Holds the fitted state of an encoder as plain arrays, and converts it to bytes and back."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from triage.domain.records import F32, I64

F16 = NDArray[np.float16]


def _empty(n_axes: int = 2) -> F16:
    return np.zeros((0,) * n_axes, dtype=np.float16)


@dataclass(frozen=True, slots=True)
class State:
    """The fitted arrays. s is d + 256; "sense" is the semantic vector; unused arrays are empty.

    Attributes:
        forms: known word forms; form i is counted as word `stems[i]`, -1 for a stop word.
        keys: int64 (v,), ascending, see `vocabulary`.
        idf: float32 (v,).
        components: float32 (d, v), the singular vectors.
        stretch: float32 (d,), the scale of each latent dimension.
        sense_mean: float32 (256,), the mean sentence vector of the corpus.
        joint_mean: float32 (s,), the mean of latent and sentence vectors side by side.
        metric: float32 (s, s), see `author_metric`.
        title_turn: float16 (s, s // 2), the contrastive map of titles and abstracts, for vectors.
        title_words: float16 (v, s // 2), the same map, for words.
        main: float16 (s + s // 2, s), the principal directions of its input and output together.
        turns: float16 (2, s, s // 2), the contrastive maps of all likes and of the earlier likes.
        word_turns: float16 (2, v, s // 2), the same maps, for words.
        since: ordinal of the first day that the map of earlier likes has not used; 0 without it.
        sample: float16 (m, width of the semantic vector), those of a sample of the corpus.
        past_sample: float16 (m, width of the training vector), the same with the earlier likes.
    """

    forms: tuple[str, ...]
    stems: NDArray[np.int32]
    n_stems: int
    keys: I64
    idf: F32
    components: F32
    stretch: F32
    sense_mean: F32
    joint_mean: F32
    metric: F32
    title_turn: F16 = field(default_factory=_empty)
    title_words: F16 = field(default_factory=_empty)
    main: F16 = field(default_factory=_empty)
    turns: F16 = field(default_factory=lambda: _empty(3))
    word_turns: F16 = field(default_factory=lambda: _empty(3))
    since: int = 0
    sample: F16 = field(default_factory=_empty)
    past_sample: F16 = field(default_factory=_empty)


_NUMBERS = ("n_stems", "since")


def pack(state: State) -> bytes:
    """Return the state as an npz file, the same bytes for the same state."""
    arrays = {each.name: getattr(state, each.name) for each in fields(State)}
    arrays |= {name: np.array(arrays[name], dtype=np.int64) for name in _NUMBERS}
    arrays["forms"] = np.frombuffer("\n".join(state.forms).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpack(content: bytes) -> State:
    """Return the state that `pack` converted.

    Raises:
        KeyError, ValueError, OSError: the bytes have another form.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        values = {each.name: arrays[each.name] for each in fields(State)}
    values |= {name: int(values[name]) for name in _NUMBERS}
    values["forms"] = tuple(values["forms"].tobytes().decode().split("\n"))
    return State(**values)
