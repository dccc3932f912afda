"""All that an encoder's fit learns, as plain arrays, and its bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from triage.domain.records import F32, I64

F16 = NDArray[np.float16]


def _no_rows() -> F16:
    return np.zeros((0, 0), dtype=np.float16)


def _no_pair() -> F16:
    return np.zeros((0, 0, 0), dtype=np.float16)


@dataclass(frozen=True, slots=True)
class State:
    """What a fit learns; s is d + 256, and an array that was not learned has no rows.

    Attributes:
        forms: known word forms; `stems[i]` is the word that form i counts as, -1 for a stop word.
        keys: int64 (v,), ascending: a word's number, or for a pair (first + 1) * n + second.
        idf: float32 (v,).
        components: float32 (d, v), singular vectors.
        stretch: float32 (d,), what half whitens them.
        sense_mean: float32 (256,), the mean of the sentence encoder over the corpus.
        joint_mean: float32 (s,), of both side by side.
        metric: float32 (s, s), see `triage.ranking.encoder.author_metric`.
        title_turn: float16 (s, s // 2), by which titles are near their abstracts, see
            `triage.ranking.encoder.contrastive`; learned where papers are many.
        title_words: float16 (v, s // 2), likewise.
        main: float16 (s + s // 2, s), the main directions of the above and that side by side.
        turns: float16 (2, s, s // 2), by which likes of one reader are near, now and in the past;
            learned where readers are many.
        word_turns: float16 (2, v, s // 2), likewise.
        since: the ordinal of the day from which on papers did not teach the past, 0 without one.
        sample: float16 (m, width of the sense), the sense of some papers of the corpus.
        past_sample: float16 (m, width of the past sense), their past sense.
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
    title_turn: F16 = field(default_factory=_no_rows)
    title_words: F16 = field(default_factory=_no_rows)
    main: F16 = field(default_factory=_no_rows)
    turns: F16 = field(default_factory=_no_pair)
    word_turns: F16 = field(default_factory=_no_pair)
    since: int = 0
    sample: F16 = field(default_factory=_no_rows)
    past_sample: F16 = field(default_factory=_no_rows)


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
    """Return the state that was packed.

    Raises:
        KeyError, ValueError, OSError: these are bytes of another form.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        values = {each.name: arrays[each.name] for each in fields(State)}
    values |= {name: int(values[name]) for name in _NUMBERS}
    values["forms"] = tuple(values["forms"].tobytes().decode().split("\n"))
    return State(**values)
