"""Fits the encoder on a corpus and computes three vectors of each text.

`tfidf`: words and pairs of neighbouring words, with sublinear term frequency, inverse document
frequency and unit length (Salton & Buckley 1988). scikit-learn's vectorizer is not used, because
this code is four times faster and its state is only arrays and words.

`latent`: LSA, the truncated SVD of `tfidf` (Deerwester et al. 1990) by randomized projection with a
fixed seed (Halko, Martinsson & Tropp 2011), then partly whitened.

`semantic`: `latent` and WordLlama's sentence vector side by side, under a map that brings papers of
one author together (`author_metric`). A large corpus adds a map that brings titles to their
abstracts, and many subscribers add one that brings the likes of each together (`contrastive`).
Vectors fitted on likes describe these likes too well. So `training_semantic` uses only likes of
papers listed before `since`, and a ranker is trained on later days.

`hubness` is the mean cosine to the nearest papers of a sample of the corpus, as in CSLS (Conneau et
al. 2018). In crowded regions a paper is near to many likes by chance (hubs: Radovanović, Nanopoulos
& Ivanović 2010).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from triage.domain.records import CSR, F32, I64, Encodings
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
from triage.ranking.encoder.sentence_vectors import NAME, encode_sentences
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

KIND = "encoder"
MAX_DIMENSIONS = 256
# The SVD of 20,000 papers is as good as that of 60,000, and takes a third of the time.
MAX_SVD_ROWS = 20_000
# With few papers the variance along a direction is partly chance, so the whitening is weaker.
FEW_ROWS = 1_000
# The size of the sample for means, variances and hubness.
MAX_SENSE_ROWS = 5_000
NEAREST = 30
# A paper with this cosine is the paper itself or another version of it.
ITSELF = 0.995
CHUNK = 4_096
BLAS_THREADS = 2
# With fewer subscribers the map of likes would describe these people and not papers in general.
FEWEST_READERS = 300
FEWEST_LIKES = 3
# Fewer titles are not enough to fit their map; more than MOST_TITLES do not improve it.
FEWEST_TITLES = 2_000
MOST_TITLES = 20_000
# The share of likes, by listing day, that the training vectors are fitted on.
EARLIER = 0.7


class TextEncoder:
    """The encoder, see the module's docstring.

    Attributes:
        version: hash of the fitted state; the same corpus, likes and seed give the same.
        since: see `protocols.Encoder`.
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
        # Lazy, because packing takes seconds and a fit makes encoders that need no version.
        return _version(hashlib.sha256(pack(self._state)).hexdigest())

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        authors: Sequence[Sequence[str]] = (),
        likes: Mapping[int, I64] = MappingProxyType({}),
        listed: Sequence[date] = (),
        seed: int = 0,
    ) -> TextEncoder:
        """Fit on a corpus of any size.

        A word must occur in one paper of 3, in five of 2,000; in a larger corpus a term in more
        than half of the papers is left out. A plural counts as its singular if both occur.

        Args:
            texts: see `Paper.encoded_text`, which tells titles from abstracts.
            authors: the authors of each text; empty if unknown.
            likes: int64 (n,), the rows that each subscriber likes, by subscriber id.
            listed: the listing day of each text; not needed without likes.
            seed: for the randomized SVD, and for the samples and their order.

        Raises:
            ModelError: no text has a word.
        """
        forms, ids, documents = read_forms(texts)
        stems, n_stems = merge_forms(forms, ids, documents, len(texts))
        ids = stems[ids]
        keep = ids != STOP
        ids, documents = ids[keep].astype(np.int64), documents[keep]
        rows, keys = occurrences(ids, documents, n_stems)
        vocabulary, frequency = choose_terms(rows, keys, len(texts))
        if not len(vocabulary):
            raise ModelError("no paper has a word to learn from; import papers with abstracts")
        idf = (np.log((1 + len(texts)) / (1 + frequency)) + 1).astype(np.float32)
        words = _tfidf(vocabulary, idf, rows, keys, len(texts))
        components, stretch = _components(words, seed)
        sense_mean, joint_mean, metric = _fit_joint(texts, words, components, authors)
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
            metric=metric,
        )
        parts = [text.split("\n", 2) for text in texts]
        pairs = [(each[0], each[2]) for each in parts if len(each) == 3 and each[0] and each[2]]
        if len(pairs) >= FEWEST_TITLES:
            state = _fit_titles(state, pairs, seed)
        groups = [own for _, own in sorted(likes.items()) if len(own) >= FEWEST_LIKES]
        if len(groups) >= FEWEST_READERS:
            state = _fit_likes(state, texts, groups, listed, seed)
        sample = cls(state).encode([texts[row] for row in _spread(len(texts), MAX_SENSE_ROWS)])
        now = sample.semantic.astype(np.float16)
        past = sample.training_semantic.astype(np.float16)
        return cls(replace(state, sample=now, past_sample=past))

    def encode(self, texts: Sequence[str]) -> Encodings:
        """Return the vectors of texts; no texts give arrays with no rows and the right widths."""
        from scipy.sparse import vstack

        parts = [
            self._encode_words(texts[start : start + CHUNK])
            for start in range(0, max(len(texts), 1), CHUNK)
        ]
        words = parts[0] if len(parts) == 1 else vstack(parts, format="csr", dtype=np.float32)
        latent = np.vstack([part @ self._projection for part in parts])
        semantic, training = self._semantic(words, self._joint(texts, words, _unit(latent)))
        return Encodings(
            _unit(latent * self._state.stretch),
            words,
            semantic=semantic,
            hubness=_hubness(semantic, self._samples[0]),
            training_semantic=training,
            training_hubness=_hubness(training, self._samples[1]),
        )

    def terms(self, words: CSR, k: int) -> tuple[str, ...]:
        """Return at most `k` terms of one row, those with the largest weights first."""
        order = np.lexsort((words.indices, -words.data))[: max(k, 0)]
        return tuple(self._names[column] for column in words.indices[order])

    def save(self, folder: Path, key: bytes) -> None:
        """Write the state as an npz file and its manifest into `folder`, sealed."""
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
        """Return the encoder in `folder`.

        Raises:
            ModelError: the folder is missing, damaged, or sealed with another key.
        """
        manifest, files = model_files.read(folder, KIND, key)
        try:
            encoder = cls(unpack(files["state.npz"]))
        except (KeyError, ValueError, OSError) as error:
            raise ModelError(f"{folder} has an encoder of an unknown form; fit again") from error
        encoder.version = _version(manifest["files"]["state.npz"]["sha256"])
        if encoder.version != manifest["version"]:
            raise ModelError(f"{folder} has another encoder than its manifest says; fit again")
        return encoder

    def _encode_words(self, texts: Sequence[str]) -> CSR:
        stem_of, ids, lengths = self._stem_of, [], []
        for text in texts:
            stems_of_text = [stem_of.get(word, UNKNOWN) for word in WORD.findall(fold(text))]
            ids += stems_of_text
            lengths.append(len(stems_of_text))
        stems = np.array(ids, dtype=np.int64)
        documents = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
        keep = stems != STOP
        rows, keys = occurrences(stems[keep], documents[keep], self._state.n_stems)
        return _tfidf(self._state.keys, self._state.idf, rows, keys, len(texts))

    def _joint(self, texts: Sequence[str], words: CSR, latent: F32) -> F32:
        """Return the semantic vectors before the maps of titles and likes."""
        state = self._state
        joint = np.hstack([latent, _unit(encode_sentences(texts) - state.sense_mean)])
        joint = _round_to_half(_unit((joint - state.joint_mean) @ state.metric))
        # Without a known word there is nothing that the corpus could be compared with.
        joint[np.diff(words.indptr) == 0] = 0
        return joint

    def _semantic(self, words: CSR, joint: F32) -> tuple[F32, F32]:
        """Return the semantic vectors, and those for training."""
        if len(self._main):
            both = np.hstack([joint, self._titles.transform(joint, words)])
            joint = _round_to_half(_unit(both @ self._main))
        if not self._likes:
            return joint, joint[:, :0]
        semantic, training = (_round_to_half(each.transform(joint, words)) for each in self._likes)
        return semantic, training

    @cached_property
    def _names(self) -> list[str]:
        """The name of each term, with the shortest form of each word."""
        shortest: dict[int, str] = {}
        for form, stem in zip(self._state.forms, self._state.stems.tolist(), strict=True):
            if stem not in shortest or len(form) < len(shortest[stem]):
                shortest[stem] = form
        n = self._state.n_stems
        return [
            shortest[key] if key < n else f"{shortest[key // n - 1]} {shortest[key % n]}"
            for key in self._state.keys.tolist()
        ]


def _version(sha256: str) -> str:
    """Return the version of the encoder whose packed state has this hash."""
    return f"enc-{sha256[:12]}"


def _tfidf(vocabulary: I64, idf: F32, rows: I64, keys: I64, n_rows: int) -> CSR:
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


def _components(words: CSR, seed: int) -> tuple[F32, F32]:
    """Return the SVD components, float32 (d, v), and the scale of each, float32 (d,).

    The scale partly whitens: without it the first dimensions, which most papers share, would
    outweigh those that tell papers apart.
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    n, v = words.shape
    d = min(n, v, max(16, min(MAX_DIMENSIONS, n // 4)))
    if n > MAX_SVD_ROWS:
        words = words[_spread(n, MAX_SVD_ROWS)]
    # The number of threads changes the order of sums, and so the last bits.
    with threadpool_limits(BLAS_THREADS):
        _, _, components = randomized_svd(words, d, n_iter=4, random_state=seed)
        spread = (_unit(words @ components.T) ** 2).mean(axis=0)
    trust = words.shape[0] / (words.shape[0] + FEW_ROWS)
    stretch = (spread + spread.mean()) ** (-trust / 2)
    return np.ascontiguousarray(components, dtype=np.float32), stretch.astype(np.float32)


def _fit_joint(
    texts: Sequence[str], words: CSR, components: F32, authors: Sequence[Sequence[str]]
) -> tuple[F32, F32, F32]:
    """Return the mean sentence vector, the mean of latent and sentence vectors, and their map."""
    from threadpoolctl import threadpool_limits

    sample = _spread(len(texts), MAX_SENSE_ROWS)
    groups = same_author(authors)
    used = np.unique(np.concatenate([sample, *groups]))
    sentences = encode_sentences([texts[row] for row in used])
    in_sample = np.searchsorted(used, sample)
    sense_mean = sentences[in_sample].mean(axis=0)
    joint = np.hstack([_unit(words[used] @ components.T), _unit(sentences - sense_mean)])
    mean = joint[in_sample].mean(axis=0)
    with threadpool_limits(BLAS_THREADS):
        metric = fit_author_metric(
            joint - mean, in_sample, [np.searchsorted(used, group) for group in groups]
        )
    return sense_mean, mean, metric


def _fit_titles(state: State, pairs: Sequence[tuple[str, str]], seed: int) -> State:
    """Return the state with the map that brings titles to their abstracts."""
    from threadpoolctl import threadpool_limits

    texts = [text for row in _spread(len(pairs), MOST_TITLES) for text in pairs[row]]
    encoded = TextEncoder(state).encode(texts)
    own = np.arange(len(texts), dtype=np.int64).reshape(-1, 2)
    rng = np.random.default_rng(seed)
    with threadpool_limits(BLAS_THREADS):
        abstracts = encoded.semantic[1::2]
        width = abstracts.shape[1]
        start = main_directions(abstracts, width // 2)
        contrast = fit_contrastive_map(
            encoded.semantic, encoded.tfidf, list(own), start, rng, TITLES
        )
        both = np.hstack([abstracts, contrast.transform(abstracts, encoded.tfidf[1::2])])
        main = main_directions(both, width)
    return replace(
        state,
        main=main.astype(np.float16),
        title_turn=contrast.projection.astype(np.float16),
        title_words=contrast.words.astype(np.float16),
    )


def _fit_likes(
    state: State, texts: Sequence[str], likes: Sequence[I64], listed: Sequence[date], seed: int
) -> State:
    """Return the state with the maps of all likes and of the earlier ones."""
    from threadpoolctl import threadpool_limits

    days = np.array([day.toordinal() for day in listed], dtype=np.int64)
    since = int(np.quantile(days[np.concatenate(likes)], EARLIER))
    sample_rows = _spread(len(texts), MAX_SVD_ROWS)
    used = np.unique(np.concatenate([sample_rows, *likes]))
    encoded = TextEncoder(state).encode([texts[row] for row in used])

    def fit(likes: Sequence[I64]) -> ContrastiveMap:
        # Negatives must not include papers that are liked only later.
        rows = np.unique(np.concatenate([sample_rows, *likes]))
        among = encoded.select(np.searchsorted(used, rows))
        own = [np.searchsorted(rows, each) for each in likes]
        rng = np.random.default_rng(seed)
        start = main_directions(among.semantic, encoded.semantic.shape[1] // 2)
        return fit_contrastive_map(among.semantic, among.tfidf, own, start, rng, LIKES)

    with threadpool_limits(BLAS_THREADS):
        contrasts = fit(likes), fit([own[days[own] < since] for own in likes])
    return replace(
        state,
        turns=np.stack([each.projection for each in contrasts]).astype(np.float16),
        word_turns=np.stack([each.words for each in contrasts]).astype(np.float16),
        since=since,
    )


def _contrast(turn: NDArray[np.float16], words: NDArray[np.float16]) -> ContrastiveMap:
    return ContrastiveMap(turn.astype(np.float32), words.astype(np.float32))


def _spread(n: int, most: int) -> I64:
    """Return at most `most` of n row numbers, evenly spaced."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


def _round_to_half(rows: F32) -> F32:
    """Return rows rounded to half precision, in which they are stored."""
    return rows.astype(np.float16).astype(np.float32)


def _hubness(semantic: F32, sample: F32) -> F32:
    """Return float32 (n,): the mean cosine to the NEAREST columns of the sample, 0 without any."""
    hubness = np.zeros(len(semantic), dtype=np.float32)
    if not sample.size:
        return hubness
    for at in range(0, len(semantic), CHUNK):
        cosines = semantic[at : at + CHUNK] @ sample
        cosines[cosines >= ITSELF] = -1
        nearest = np.partition(cosines, -min(NEAREST, cosines.shape[1]), axis=1)[:, -NEAREST:]
        hubness[at : at + CHUNK] = np.maximum(nearest, 0).mean(axis=1)
    return hubness


def _unit(rows: F32) -> F32:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 1e-12, norms, 1), dtype=np.float32, order="C")
