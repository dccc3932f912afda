"""Texts become vectors: the same text always the same, from 1 paper to 100,000, without pickle."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support import topics
from tests.support.contracts import EncoderContract
from tests.support.factories import DAY
from triage.domain.protocols import Encoder
from triage.domain.records import Encodings
from triage.errors import ModelError
from triage.ranking import model_files
from triage.ranking.encoder.contrastive import LIKES
from triage.ranking.encoder.text_encoder import TextEncoder

KEY = b"k" * 32
TEXTS = [paper.text for paper in topics.literature()]
LISTED = [DAY + timedelta(days=row) for row in range(len(TEXTS))]


class TestTextEncoder(EncoderContract):
    def encoder(self) -> Encoder:
        return topics.encoder()


def test_what_a_third_of_all_papers_speak_of_is_still_a_word() -> None:
    texts = [
        f"language models for task {n}" if n % 3 == 0 else f"galaxy {n} spins" for n in range(300)
    ]
    encoder = TextEncoder.fit(texts)
    assert encoder.encode(["language models"]).tfidf.nnz


def test_papers_of_one_topic_are_near_to_each_other() -> None:
    encodings = topics.encoder().encode(TEXTS)
    words = (encodings.tfidf @ encodings.tfidf.T).toarray()
    sense = encodings.semantic @ encodings.semantic.T
    for cosines in (words, encodings.latent @ encodings.latent.T, sense):
        proteins = list(topics.rows_of("proteins"))
        others = np.delete(cosines[proteins], proteins, axis=1)
        assert cosines[np.ix_(proteins, proteins)].mean() > 4 * max(others.mean(), 0.01)


def test_a_fit_gives_the_same_bytes_for_the_same_corpus_and_seed() -> None:
    again = TextEncoder.fit(TEXTS)
    assert again.version == topics.encoder().version
    assert TextEncoder.fit(TEXTS[:-1]).version != again.version
    assert TextEncoder.fit(TEXTS, seed=1).version != again.version


@pytest.mark.parametrize("n", [1, 2, 3, 20, 600])
def test_a_corpus_of_any_size_will_do(n: int) -> None:
    texts = (TEXTS * 10)[:n]
    encodings = TextEncoder.fit(texts).encode(texts)
    assert len(encodings) == n
    assert 1 <= encodings.latent.shape[1] <= 256
    assert np.linalg.norm(encodings.latent, axis=1) == pytest.approx(np.ones(n), abs=1e-4)


@pytest.mark.parametrize("texts", [[], [""], ["…", "1 2 3"], ["the and of"]])
def test_a_corpus_without_words_is_refused(texts: list[str]) -> None:
    with pytest.raises(ModelError, match="word to learn from"):
        TextEncoder.fit(texts)


def test_what_all_papers_share_is_no_part_of_their_sense() -> None:
    sense = topics.encoder().encode(TEXTS).semantic
    assert np.linalg.norm(sense.mean(axis=0)) < 0.1


def test_a_part_of_a_large_corpus_tells_what_all_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.MAX_SENSE_ROWS", 20)
    sense = TextEncoder.fit(TEXTS).encode(TEXTS).semantic
    assert np.linalg.norm(sense.mean(axis=0)) < 0.3


def test_a_text_without_known_words_has_no_sense_either() -> None:
    assert not topics.encoder().encode(["zebras graze"]).semantic.any()


def test_accents_case_and_plurals_do_not_part_words() -> None:
    encoder = TextEncoder.fit(["Poincaré embeddings of a graph", "an embedding of graphs", "x y"])
    one, other = encoder.encode(["POINCARE EMBEDDING graph", "poincaré embeddings graphs"]).tfidf
    assert (one - other).nnz == 0


def test_a_plural_without_its_singular_is_left_alone() -> None:
    encoder = TextEncoder.fit(["bias and physics", "bias in physics"])
    assert set(encoder.terms(encoder.encode(["bias physics"]).tfidf, 9)) >= {"bias", "physics"}


def test_pairs_of_words_are_terms_and_do_not_cross_unknown_words() -> None:
    encoder = TextEncoder.fit(["speculative decoding", "speculative decoding works"])
    both = encoder.encode(["speculative decoding", "speculative zzz decoding"]).tfidf
    assert "speculative decoding" in encoder.terms(both[0], 9)
    assert set(encoder.terms(both[1], 9)) == {"decoding", "speculative"}


def test_a_common_word_weighs_less() -> None:
    encoder = topics.encoder()
    words = encoder.encode(["study tactile"]).tfidf
    assert encoder.terms(words, 1) == ("tactile",)


@given(st.text(max_size=300))
def test_any_text_has_a_row_of_unit_length_or_zero(text: str) -> None:
    encodings = topics.encoder().encode([text])
    for rows in (encodings.latent, encodings.tfidf.toarray(), encodings.semantic):
        length = np.linalg.norm(rows)
        assert length == pytest.approx(1, abs=1e-4) or length == 0


def test_a_megabyte_of_text_is_one_row() -> None:
    assert np.isfinite(topics.encoder().encode(["protein folding " * 70_000]).latent).all()


def test_long_corpora_are_encoded_in_pieces_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = topics.encoder().encode(TEXTS)
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.CHUNK", 7)
    pieces = topics.encoder().encode(TEXTS)
    assert (whole.tfidf != pieces.tfidf).nnz == 0
    assert pieces.latent == pytest.approx(whole.latent, abs=1e-6)
    assert np.array_equal(whole.semantic, pieces.semantic)
    assert pieces.hubness == pytest.approx(whole.hubness, abs=1e-6)


def test_a_part_of_a_large_corpus_is_enough_for_the_dense_space(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.MAX_SVD_ROWS", 40)
    encoder = TextEncoder.fit(TEXTS)
    assert encoder.version == TextEncoder.fit(TEXTS).version
    dense = encoder.encode(TEXTS).latent
    assert dense[20] @ dense[22] > 2 * abs(float(dense[20] @ dense[40]))


def test_a_saved_encoder_is_the_same_encoder(tmp_path: Path) -> None:
    encoder = topics.encoder()
    encoder.save(tmp_path, KEY)
    loaded = TextEncoder.load(tmp_path, KEY)
    assert loaded.version == encoder.version
    ours, theirs = encoder.encode(TEXTS), loaded.encode(TEXTS)
    assert np.array_equal(ours.latent, theirs.latent)
    assert np.array_equal(ours.semantic, theirs.semantic)
    assert np.array_equal(ours.hubness, theirs.hubness)
    assert (ours.tfidf != theirs.tfidf).nnz == 0
    assert loaded.terms(theirs.tfidf[0], 5) == encoder.terms(ours.tfidf[0], 5)


def test_a_changed_or_foreign_folder_is_refused(tmp_path: Path) -> None:
    topics.encoder().save(tmp_path, KEY)
    with pytest.raises(ModelError, match="another secret key"):
        TextEncoder.load(tmp_path, b"x" * 32)
    state = next(tmp_path.glob("state-*"))
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(ModelError, match="damaged"):
        TextEncoder.load(tmp_path, KEY)


class _Trap:
    """Touches a file when a pickle of it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_even_a_sealed_pickle_is_not_opened(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, forms=np.array([_Trap(tmp_path / "sprung")], dtype=object))
    model_files.write(tmp_path, "encoder", {"state.npz": buffer.getvalue()}, {"version": "x"}, KEY)
    with pytest.raises(ModelError, match="unknown form"):
        TextEncoder.load(tmp_path, KEY)
    assert not (tmp_path / "sprung").exists()


def test_a_manifest_that_names_another_version_is_refused(tmp_path: Path) -> None:
    topics.encoder().save(tmp_path, KEY)
    manifest, files = model_files.read(tmp_path, "encoder", KEY)
    model_files.write(tmp_path, "encoder", files, {"version": "enc-other"}, KEY)
    assert manifest["version"] == topics.encoder().version
    with pytest.raises(ModelError, match="another encoder"):
        TextEncoder.load(tmp_path, KEY)


def test_what_papers_of_one_author_share_is_near_in_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.ranking.encoder.author_metric.FEWEST_GROUPS", 1)
    authors = [paper.authors for paper in topics.literature()]
    with_authors = TextEncoder.fit(TEXTS, authors)
    apart, together = (_contrast(encoder) for encoder in (topics.encoder(), with_authors))
    assert together > apart
    assert with_authors.version == TextEncoder.fit(TEXTS, authors).version


def _contrast(encoder: TextEncoder) -> float:
    """How much nearer papers of one topic are than those of two, in spreads of the latter."""
    sense = encoder.encode(TEXTS).semantic
    cosines = sense @ sense.T
    proteins = list(topics.rows_of("proteins"))
    own = cosines[np.ix_(proteins, proteins)]
    others = np.delete(cosines[proteins], proteins, axis=1)
    return float((own.mean() - others.mean()) / others.std())


def likes_of(*numbers: int) -> dict[int, NDArray[np.int64]]:
    """Return readers by number who like papers of proteins and of robots alike, always the same."""
    both = np.array([*topics.rows_of("proteins"), *topics.rows_of("robots")])
    return {number: np.sort(np.roll(both, 7 * number)[:20]) for number in numbers}


@pytest.fixture
def readers_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.FEWEST_READERS", 4)
    monkeypatch.setattr("triage.ranking.encoder.contrastive.WORD_RATE", 0.05)


@pytest.fixture
def few_steps(readers_are_enough: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let likes teach in few steps: enough where the question is not how much they do."""
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.LIKES", replace(LIKES, steps=15))


def taught(likes: dict[int, NDArray[np.int64]]) -> TextEncoder:
    return TextEncoder.fit(TEXTS, likes=likes, listed=LISTED)


@pytest.mark.usefixtures("readers_are_enough")
def test_what_many_readers_like_together_is_near_in_sense() -> None:
    both = [*topics.rows_of("proteins")], [*topics.rows_of("robots")]
    apart, together = (
        (sense[both[0]] @ sense[both[1]].T).mean()
        for sense in (
            encoder.encode(TEXTS).semantic
            for encoder in (topics.encoder(), taught(likes_of(1, 2, 3, 4)))
        )
    )
    assert together > apart + 0.3


@pytest.mark.usefixtures("few_steps")
def test_a_taught_encoder_gives_unit_rows_in_half_precision_of_now_and_of_the_past() -> None:
    found = taught(likes_of(1, 2, 3, 4)).encode([*TEXTS, "zzz qqq"])
    assert found.training_semantic.shape == found.semantic.shape
    for each in (found, found.for_training()):
        assert np.array_equal(each.semantic, each.semantic.astype(np.float16).astype(np.float32))
        lengths = np.linalg.norm(each.semantic[:-1], axis=1)
        assert lengths == pytest.approx(np.ones(len(TEXTS)), abs=1e-2)
        assert not each.semantic[-1].any()
        assert ((each.hubness[:-1] > 0) & (each.hubness[:-1] <= 1)).all()


@pytest.mark.usefixtures("few_steps")
def test_the_past_has_not_seen_who_likes_later_papers() -> None:
    likes = likes_of(1, 2, 3, 4)
    encoder = taught(likes)
    assert encoder.since is not None
    assert any(LISTED[row] < encoder.since for own in likes.values() for row in own)
    before = encoder.encode(TEXTS)
    assert not np.allclose(before.training_semantic, before.semantic, atol=0.01)

    def changed(row: int, other: int) -> Encodings:
        later = {number: np.where(own == row, other, own) for number, own in likes.items()}
        again = taught(later)
        assert again.since == encoder.since
        return again.encode(TEXTS)

    newest = max(int(own.max()) for own in likes.values())
    after = changed(newest, len(TEXTS) - 1)
    assert not np.array_equal(before.semantic, after.semantic)
    assert np.array_equal(before.training_semantic, after.training_semantic)
    assert np.array_equal(before.training_hubness, after.training_hubness)
    oldest = min(int(own.min()) for own in likes.values())
    assert not np.array_equal(before.training_semantic, changed(oldest, 0).training_semantic)


@pytest.mark.usefixtures("few_steps")
def test_what_is_liked_later_is_not_looked_at_for_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.MAX_SVD_ROWS", 20)
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.MAX_SENSE_ROWS", 20)
    likes = likes_of(1, 2, 3, 4)
    newest = max(int(own.max()) for own in likes.values())
    other = {number: np.where(own == newest, len(TEXTS) - 2, own) for number, own in likes.items()}
    before, after = taught(likes).encode(TEXTS), taught(other).encode(TEXTS)
    assert not np.array_equal(before.semantic, after.semantic)
    # Last bits differ, as BLAS sums in another order when the papers beside a row are others; a
    # like that was looked at would move a cosine by 1.
    cosines = [each.training_semantic @ each.training_semantic.T for each in (before, after)]
    assert np.abs(cosines[0] - cosines[1]).max() < 0.3


@pytest.mark.usefixtures("few_steps")
def test_likes_of_one_day_leave_the_past_without_any() -> None:
    likes = likes_of(1, 2, 3, 4)
    encoder = TextEncoder.fit(TEXTS, likes=likes, listed=[DAY] * len(TEXTS))
    assert encoder.since == DAY
    other = likes | {2: np.array(topics.rows_of("decoding"))[:20]}
    again = TextEncoder.fit(TEXTS, likes=other, listed=[DAY] * len(TEXTS))
    assert np.array_equal(
        encoder.encode(TEXTS).training_semantic, again.encode(TEXTS).training_semantic
    )


@pytest.mark.usefixtures("few_steps")
def test_too_few_readers_or_likes_teach_nothing() -> None:
    few = likes_of(1, 2, 3)
    assert taught(few).version == topics.encoder().version
    short = taught(few | {4: np.arange(2)})
    assert short.version == topics.encoder().version
    assert short.since is None
    encoded = short.encode(TEXTS)
    assert encoded.for_training() is encoded


@pytest.mark.usefixtures("few_steps")
def test_a_taught_encoder_is_the_same_whoever_is_told_first_and_after_it_was_kept(
    tmp_path: Path,
) -> None:
    likes = likes_of(1, 2, 3, 4)
    encoder = taught(likes)
    assert taught(dict(reversed(likes.items()))).version == encoder.version
    encoder.save(tmp_path, KEY)
    kept = TextEncoder.load(tmp_path, KEY)
    assert kept.since == encoder.since
    ours, theirs = encoder.encode(TEXTS), kept.encode(TEXTS)
    assert np.array_equal(ours.semantic, theirs.semantic)
    assert np.array_equal(ours.training_semantic, theirs.training_semantic)
    assert np.array_equal(ours.training_hubness, theirs.training_hubness)


def titled(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> TextEncoder:
    with monkeypatch.context() as patched:
        patched.setattr("triage.ranking.encoder.text_encoder.FEWEST_TITLES", len(texts))
        return TextEncoder.fit(texts)


def test_titles_are_nearer_to_their_abstracts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.ranking.encoder.contrastive.WORD_RATE", 0.05)
    papers = topics.literature()
    texts = [paper.encoded_text for paper in papers]

    def gap(encoder: TextEncoder) -> float:
        titles, abstracts = (
            encoder.encode(each).semantic
            for each in ([p.title for p in papers], [p.abstract for p in papers])
        )
        cosines = titles @ abstracts.T
        return float(np.diag(cosines).mean() - cosines.mean())

    assert gap(titled(texts, monkeypatch)) > gap(TextEncoder.fit(texts)) + 0.1


def test_a_text_of_no_title_and_abstract_tells_nothing_of_titles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = [f"{paper.title}\n{paper.title}\n" for paper in topics.literature()]
    assert titled(alone, monkeypatch).version == TextEncoder.fit(alone).version
    assert titled(TEXTS, monkeypatch).version == TextEncoder.fit(TEXTS).version
    whole = [paper.encoded_text for paper in topics.literature()]
    assert titled(whole, monkeypatch).version != TextEncoder.fit(whole).version


@pytest.mark.usefixtures("few_steps")
def test_likes_teach_beside_titles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = [paper.encoded_text for paper in topics.literature()]
    plain = titled(texts, monkeypatch)
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.FEWEST_TITLES", len(texts))
    encoder = TextEncoder.fit(texts, likes=likes_of(1, 2, 3, 4), listed=LISTED)
    encoder.save(tmp_path, KEY)
    for each in (plain, encoder, TextEncoder.load(tmp_path, KEY)):
        found = each.encode([*texts, "zzz qqq"])
        lengths = np.linalg.norm(found.semantic, axis=1)
        assert lengths == pytest.approx([1] * len(texts) + [0], abs=1e-2)
        assert np.array_equal(found.semantic, found.semantic.astype(np.float16).astype(np.float32))
    assert np.array_equal(found.semantic, encoder.encode([*texts, "zzz qqq"]).semantic)
    assert not np.array_equal(encoder.encode(texts).semantic, plain.encode(texts).semantic)


def test_of_many_papers_no_few_directions_of_the_dense_space_outweigh_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unevenness(few: int) -> float:
        monkeypatch.setattr("triage.ranking.encoder.text_encoder.FEW_ROWS", few)
        spread = (TextEncoder.fit(TEXTS).encode(TEXTS).latent ** 2).mean(axis=0)
        return float(spread.max() / spread.mean())

    assert unevenness(0) < 0.75 * unevenness(1_000_000)


def test_the_sense_is_made_of_the_dense_space_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    encodings = topics.encoder().encode(TEXTS)
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.FEW_ROWS", 0)
    stretched = TextEncoder.fit(TEXTS).encode(TEXTS)
    assert not np.allclose(encodings.latent, stretched.latent, atol=1e-3)
    assert np.array_equal(encodings.semantic, stretched.semantic)


def test_a_place_where_many_papers_are_is_denser() -> None:
    crowd = [f"protein folding of structure {n}" for n in range(60)]
    alone = ["tactile gripper", "spectral graph", "draft verification", "message of nodes"]
    encodings = TextEncoder.fit(crowd + alone).encode(crowd + alone)
    density = encodings.hubness
    assert density[:60].min() > density[60:].max()
    assert density.dtype == np.float32
    assert ((density >= 0) & (density <= 1)).all()


def test_a_paper_of_the_corpus_is_no_neighbour_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.NEAREST", 1)
    encodings = topics.encoder().encode(TEXTS)
    cosines = encodings.semantic @ encodings.semantic.T
    np.fill_diagonal(cosines, -1)
    assert encodings.hubness == pytest.approx(cosines.max(axis=1), abs=1e-3)


def test_a_text_that_says_nothing_is_in_no_crowd() -> None:
    assert topics.encoder().encode(["zebras graze", ""]).hubness.tolist() == [0, 0]
