"""Texts to vectors: weighted words, their latent dimensions, and what they mean elsewhere.

Words are TF-IDF over words and pairs of neighbouring words (Salton & Buckley 1988: sublinear term
frequency, inverse document frequency, unit length). The dense space is their truncated singular
value decomposition (Deerwester et al. 1990), found by random projection with a fixed seed (Halko,
Martinsson & Tropp 2011) and half whitened. Reading words is done here and not by scikit-learn's
vectoriser, because it is four times faster and because the fitted state is then nothing but arrays
and words. The third vector knows more: latent dimensions and a sentence encoder's side by side,
stretched where papers of one author agree (`author_metric`), so that what sets two fields apart
counts more than what two papers of one field differ in. Beside it comes a map by which titles are
near their abstracts, and of both the main directions are kept; where readers are many, these are
moved so that what one reader likes is near (`contrastive`). What a vector has learned from
looks better by it than what comes; so there is another, of the likes of papers listed before a
certain day, by which a ranker can learn from later days what such a vector is worth.

Where many papers crowd, each is near to many likes by chance (hubs: Radovanović, Nanopoulos &
Ivanović 2010). How near a paper is to its nearest ones says how crowded its place is (as in CSLS:
Conneau et al. 2018); a sample of the corpus, which the state keeps, stands for all papers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triage.domain.records import F32, I64, Encodings
from triage.errors import ModelError
from triage.ranking import model_files
from triage.ranking.encoder.author_metric import fit_author_metric, same_author
from triage.ranking.encoder.contrastive import (
    LIKES,
    TITLES,
    ContrastiveMap,
    fit_contrastive_map,
    main_directions,
)
from triage.ranking.encoder.sentence_vectors import NAME, sense
from triage.ranking.encoder.state import State, pack, unpack
from triage.ranking.encoder.vocabulary import (
    STOP,
    UNKNOWN,
    WORD,
    choose_terms,
    fold,
    merge_forms,
    occurrences,
    read_forms,
    used_forms,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


KIND = "encoder"
MAX_DIMENSIONS = 256
# The latent dimensions of 20,000 papers serve 60,000 as well; the fit costs a third.
MAX_SVD_ROWS = 20_000
# Along which directions so few papers spread is half chance.
FEW_ROWS = 1_000
# As many tell how all of them spread, and how densely.
MAX_SENSE_ROWS = 5_000
NEAREST = 30
# What is as near as this is the paper itself, or a version of it.
ITSELF = 0.995
CHUNK = 4_096
BLAS_THREADS = 2
# What fewer readers like tells of them and not of papers.
FEWEST_READERS = 300
FEWEST_LIKES = 3
# Of fewer papers than these titles tell little; of more than the other no more.
FEWEST_TITLES = 2_000
MOST_TITLES = 20_000
# So many of the likes teach the past; the days of the others are left for a ranker to learn from.
EARLIER = 0.7


class TextEncoder:
    """The encoder that needs no download: see the module's docstring.

    Attributes:
        version: hash of the fitted state; the same corpus, likes and seed give the same.
        since: see `ports.Encoder`.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._stem_of = dict(zip(state.forms, state.stems.tolist(), strict=True))
        self._projection: F32 = np.ascontiguousarray(state.components.T)
        self._samples: list[F32] = [
            np.ascontiguousarray(sample.astype(np.float32).T)
            for sample in (state.sample, state.past_sample)
        ]
        self._main = state.main.astype(np.float32)
        self._titles = _contrast(state.title_turn, state.title_words)
        self._likes = [_contrast(*each) for each in zip(state.turns, state.word_turns, strict=True)]
        self.since = date.fromordinal(state.since) if state.since else None

    @cached_property
    def version(self) -> str:
        # Packing takes seconds, and a fit makes encoders on its way that nobody asks.
        return f"enc-{hashlib.sha256(pack(self._state)).hexdigest()[:12]}"

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        authors: Sequence[Sequence[str]] = (),
        likes: Mapping[int, I64] = MappingProxyType({}),
        listed: Sequence[date] = (),
        seed: int = 0,
    ) -> TextEncoder:
        """Learn words, weights and latent dimensions from a corpus of any size.

        A word must occur in more papers the larger the corpus is (one of 3, five of 2,000), and
        terms of more than half of a larger corpus tell nothing. A plural counts as its singular
        when the corpus has both.

        Args:
            texts: of papers; `Paper.encoded_text` tells titles from abstracts, which teach, too.
            authors: who wrote each of them; none at all where that is not known.
            likes: int64 (n,), rows of what each reader likes, by the reader's number.
            listed: when each paper was listed; not needed where there are no likes.
            seed: of the random projection, and of which papers are learned from in what order.

        Raises:
            ModelError: no text holds a word.
        """
        forms, ids, documents = read_forms(texts)
        stems, n_stems = merge_forms(forms, ids, documents, len(texts))
        ids = stems[ids]
        keep = ids != STOP
        ids, documents = ids[keep].astype(np.int64), documents[keep]
        rows, keys = occurrences(ids, documents, n_stems)
        vocabulary, frequency = choose_terms(rows, keys, len(texts))
        if not len(vocabulary):
            raise ModelError("no paper holds a word to learn from; import papers with abstracts")
        idf = (np.log((1 + len(texts)) / (1 + frequency)) + 1).astype(np.float32)
        words = _weighed(vocabulary, idf, rows, keys, len(texts))
        components, stretch = _components(words, seed)
        sense_mean, joint_mean, stretched = _joint(texts, words, components, authors)
        used = used_forms(stems, vocabulary, n_stems)
        state = State(
            forms=tuple(form for form, use in zip(forms, used, strict=True) if use),
            stems=stems[used],
            n_stems=n_stems,
            keys=vocabulary,
            idf=idf,
            components=components,
            stretch=stretch,
            sense_mean=sense_mean,
            joint_mean=joint_mean,
            metric=stretched,
        )
        pairs = _titles_and_abstracts(texts)
        if len(pairs) >= FEWEST_TITLES:
            state = _titled(state, pairs, seed)
        telling = [own for _, own in sorted(likes.items()) if len(own) >= FEWEST_LIKES]
        if len(telling) >= FEWEST_READERS:
            state = _taught(state, texts, telling, listed, seed)
        return cls(_sampled(state, texts))

    def encode(self, texts: Sequence[str]) -> Encodings:
        """Return the vectors of `texts`; no texts give empty arrays of the right widths."""
        from scipy.sparse import vstack

        parts = [
            self._encode_words(texts[start : start + CHUNK])
            for start in range(0, max(len(texts), 1), CHUNK)
        ]
        words = parts[0] if len(parts) == 1 else vstack(parts, format="csr", dtype=np.float32)
        latent = np.vstack([part @ self._projection for part in parts])
        now, past = self._seen(words, self._meant(texts, words, _unit(latent)))
        return Encodings(
            _unit(latent * self._state.stretch),
            words,
            semantic=now,
            hubness=_density(now, self._samples[0]),
            training_semantic=past,
            training_hubness=_density(past, self._samples[1]),
        )

    def terms(self, words: csr_matrix, k: int) -> tuple[str, ...]:
        """Return the at most `k` heaviest terms of one row, heaviest first."""
        order = np.lexsort((words.indices, -words.data))[: max(k, 0)]
        return tuple(self._names[column] for column in words.indices[order])

    def save(self, folder: Path, key: bytes) -> None:
        """Seal the state in `folder` as an npz file of plain arrays beside its manifest."""
        import scipy
        import sklearn

        facts = {
            "version": self.version,
            "n_terms": len(self._state.keys),
            "n_dimensions": int(self._state.components.shape[0]),
            "sentence_encoder": NAME,
            "libraries": {
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "scikit-learn": sklearn.__version__,
            },
        }
        model_files.write(folder, KIND, {"state.npz": pack(self._state)}, facts, key)

    @classmethod
    def load(cls, folder: Path, key: bytes) -> TextEncoder:
        """Return the encoder that was sealed in `folder`.

        Raises:
            ModelError: the folder is missing, damaged, foreign or sealed with another key.
        """
        manifest, files = model_files.read(folder, KIND, key)
        try:
            encoder = cls(unpack(files["state.npz"]))
        except (KeyError, ValueError, OSError) as error:
            raise ModelError(f"{folder} holds an encoder of an unknown form; fit again") from error
        if encoder.version != manifest["version"]:
            raise ModelError(f"{folder} holds another encoder than its manifest says; fit again")
        return encoder

    def _encode_words(self, texts: Sequence[str]) -> csr_matrix:
        stem_of, ids, lengths = self._stem_of, [], []
        for text in texts:
            found = [stem_of.get(word, UNKNOWN) for word in WORD.findall(fold(text))]
            ids += found
            lengths.append(len(found))
        stems = np.array(ids, dtype=np.int64)
        documents = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
        keep = stems != STOP
        rows, keys = occurrences(stems[keep], documents[keep], self._state.n_stems)
        return _weighed(self._state.keys, self._state.idf, rows, keys, len(texts))

    def _meant(self, texts: Sequence[str], words: csr_matrix, latent: F32) -> F32:
        """Return the sense of texts as it is before titles and likes move it."""
        state = self._state
        joint = np.hstack([latent, _unit(sense(texts) - state.sense_mean)])
        meant = _as_stored(_unit((joint - state.joint_mean) @ state.metric))
        # A text without known words says nothing that the corpus could judge.
        meant[np.diff(words.indptr) == 0] = 0
        return meant

    def _seen(self, words: csr_matrix, meant: F32) -> tuple[F32, F32]:
        """Return the sense, and the past sense."""
        if len(self._main):
            both = np.hstack([meant, self._titles.transform(meant, words)])
            meant = _as_stored(_unit(both @ self._main))
        if not self._likes:
            return meant, meant[:, :0]
        now, past = (_as_stored(each.transform(meant, words)) for each in self._likes)
        return now, past

    @cached_property
    def _names(self) -> list[str]:
        """The terms as they are told: of a word the shortest form."""
        shortest: dict[int, str] = {}
        for form, stem in zip(self._state.forms, self._state.stems.tolist(), strict=True):
            if stem not in shortest or len(form) < len(shortest[stem]):
                shortest[stem] = form
        n = self._state.n_stems
        return [
            shortest[key] if key < n else f"{shortest[key // n - 1]} {shortest[key % n]}"
            for key in self._state.keys.tolist()
        ]


def _weighed(vocabulary: I64, idf: F32, rows: I64, keys: I64, n_rows: int) -> csr_matrix:
    """Return the TF-IDF rows of term occurrences (row, key), in any order."""
    from scipy.sparse import csr_matrix

    n_terms = len(vocabulary)
    columns = np.searchsorted(vocabulary, keys)
    columns[columns == n_terms] = 0
    known = vocabulary[columns] == keys
    cells, counts = np.unique(rows[known] * n_terms + columns[known], return_counts=True)
    at, terms = np.divmod(cells, n_terms)
    weights = ((1 + np.log(counts)) * idf[terms]).astype(np.float32)
    norms = np.sqrt(np.bincount(at, weights.astype(np.float64) ** 2, minlength=n_rows))
    weights /= norms[at].astype(np.float32)
    starts = np.concatenate(([0], np.cumsum(np.bincount(at, minlength=n_rows))))
    return csr_matrix(
        (weights, terms.astype(np.int32), starts.astype(np.int32)), shape=(n_rows, n_terms)
    )


def _components(words: csr_matrix, seed: int) -> tuple[F32, F32]:
    """Return the leading right singular vectors of at most MAX_SVD_ROWS rows, and their stretch.

    Stretched, papers spread more alike along all of them: the first few, which most papers share,
    would outweigh what sets single papers apart.

    Returns:
        float32 (d, v) and float32 (d,).
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    n, v = words.shape
    d = min(n, v, max(16, min(MAX_DIMENSIONS, n // 4)))
    if n > MAX_SVD_ROWS:
        words = words[_spread(n, MAX_SVD_ROWS)]
    # The number of threads decides how sums are split, and so the last bits.
    with threadpool_limits(BLAS_THREADS):
        _, _, components = randomized_svd(words, d, n_iter=4, random_state=seed)
        spread = (_unit(words @ components.T) ** 2).mean(axis=0)
    trust = words.shape[0] / (words.shape[0] + FEW_ROWS)
    stretch = (spread + spread.mean()) ** (-trust / 2)
    return np.ascontiguousarray(components, dtype=np.float32), stretch.astype(np.float32)


def _joint(
    texts: Sequence[str],
    words: csr_matrix,
    components: F32,
    authors: Sequence[Sequence[str]],
) -> tuple[F32, F32, F32]:
    """Return the mean sense, that of dense and sense side by side, and the metric of both."""
    from threadpoolctl import threadpool_limits

    sample = _spread(len(texts), MAX_SENSE_ROWS)
    groups = same_author(authors)
    used = np.unique(np.concatenate([sample, *groups]))
    raw = sense([texts[row] for row in used])
    in_sample = np.searchsorted(used, sample)
    sense_mean = raw[in_sample].mean(axis=0)
    joint = np.hstack([_unit(words[used] @ components.T), _unit(raw - sense_mean)])
    mean = joint[in_sample].mean(axis=0)
    with threadpool_limits(BLAS_THREADS):
        stretched = fit_author_metric(
            joint - mean, in_sample, [np.searchsorted(used, group) for group in groups]
        )
    return sense_mean, mean, stretched


def _titles_and_abstracts(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return them of the texts that have both, see `Paper.encoded_text`."""
    parts = [text.split("\n", 2) for text in texts]
    return [(each[0], each[2]) for each in parts if len(each) == 3 and each[0] and each[2]]


def _titled(state: State, pairs: Sequence[tuple[str, str]], seed: int) -> State:
    """Return the state with what titles tell: each is to be near its abstract."""
    from threadpoolctl import threadpool_limits

    some = [pairs[row] for row in _spread(len(pairs), MOST_TITLES)]
    texts = [text for pair in some for text in pair]
    known = TextEncoder(state).encode(texts)
    own = np.arange(len(texts), dtype=np.int64).reshape(-1, 2)
    dice = np.random.default_rng(seed)
    with threadpool_limits(BLAS_THREADS):
        abstracts = known.semantic[1::2]
        width = abstracts.shape[1]
        start = main_directions(abstracts, width // 2)
        contrast = fit_contrastive_map(known.semantic, known.tfidf, list(own), start, dice, TITLES)
        both = np.hstack([abstracts, contrast.transform(abstracts, known.tfidf[1::2])])
        main = main_directions(both, width)
    return replace(
        state,
        main=main.astype(np.float16),
        title_turn=contrast.projection.astype(np.float16),
        title_words=contrast.words.astype(np.float16),
    )


def _taught(
    state: State, texts: Sequence[str], likes: Sequence[I64], listed: Sequence[date], seed: int
) -> State:
    """Return the state with what likes teach, all of them and the earlier ones alone."""
    from threadpoolctl import threadpool_limits

    days = np.array([day.toordinal() for day in listed], dtype=np.int64)
    since = int(np.quantile(days[np.concatenate(likes)], EARLIER))
    at_large = _spread(len(texts), MAX_SVD_ROWS)
    used = np.unique(np.concatenate([at_large, *likes]))
    known = TextEncoder(state).encode([texts[row] for row in used])

    def by(likes: Sequence[I64]) -> ContrastiveMap:
        # Papers beside those that are liked must not be what is liked later.
        rows = np.unique(np.concatenate([at_large, *likes]))
        among = known.select(np.searchsorted(used, rows))
        own = [np.searchsorted(rows, each) for each in likes]
        dice = np.random.default_rng(seed)
        start = main_directions(among.semantic, known.semantic.shape[1] // 2)
        return fit_contrastive_map(among.semantic, among.tfidf, own, start, dice, LIKES)

    with threadpool_limits(BLAS_THREADS):
        contrasts = by(likes), by([own[days[own] < since] for own in likes])
    return replace(
        state,
        turns=np.stack([each.projection for each in contrasts]).astype(np.float16),
        word_turns=np.stack([each.words for each in contrasts]).astype(np.float16),
        since=since,
    )


def _sampled(state: State, texts: Sequence[str]) -> State:
    """Return the state with the sense of some papers, which stand for all."""
    some = TextEncoder(state).encode([texts[row] for row in _spread(len(texts), MAX_SENSE_ROWS)])
    return replace(
        state,
        sample=some.semantic.astype(np.float16),
        past_sample=some.training_semantic.astype(np.float16),
    )


def _contrast(turn: NDArray[np.float16], words: NDArray[np.float16]) -> ContrastiveMap:
    return ContrastiveMap(turn.astype(np.float32), words.astype(np.float32))


def _spread(n: int, most: int) -> I64:
    """Return at most so many of n rows, evenly."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


def _as_stored(rows: F32) -> F32:
    """Return rows as they come back from half precision, so that they are the same before."""
    return rows.astype(np.float16).astype(np.float32)


def _density(sense: F32, sample: F32) -> F32:
    """Return float32 (n,): the mean cosine to the nearest columns of the sample, 0 without any."""
    density = np.zeros(len(sense), dtype=np.float32)
    if not sample.size:
        return density
    for at in range(0, len(sense), CHUNK):
        cosines = sense[at : at + CHUNK] @ sample
        cosines[cosines >= ITSELF] = -1
        nearest = np.partition(cosines, -min(NEAREST, cosines.shape[1]), axis=1)[:, -NEAREST:]
        density[at : at + CHUNK] = np.maximum(nearest, 0).mean(axis=1)
    return density


def _unit(rows: F32) -> F32:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 1e-12, norms, 1), dtype=np.float32, order="C")
