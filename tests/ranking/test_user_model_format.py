"""A packed user model comes back as it was, and nothing else is taken for one."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from tests.support import topics
from triage.domain.records import Encodings, UserModel
from triage.ranking.user_model import empty_user_model, fit_background, fit_user_model
from triage.ranking.user_model_format import pack_user_model, unpack_user_model

PAST = fit_background("then", topics.everything(), topics.library(*range(40)).encodings.tfidf)
LIKES = (1, 2, 3, 20, 21, 22, 23, 50)
DENSE = (
    "intercepts", "semantic_models", "like_interests", "latent_centres", "semantic_centres",
    "latent_anchors", "semantic_anchors", "everybody",
)  # fmt: skip
SPARSE = ("tfidf_models", "tfidf_centres", "tfidf_anchors")


def model(*likes: int, phrases: str = "protein folding") -> UserModel:
    return fit_user_model(topics.profile(phrases, liked=likes), PAST)


def liked(*likes: int) -> Encodings:
    return topics.library(*likes).encodings


def assert_equal(found: UserModel, expected: UserModel) -> None:
    for name in DENSE:
        one, other = getattr(found, name), getattr(expected, name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.array_equal(one, other)
    for name in SPARSE:
        one, other = getattr(found, name), getattr(expected, name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.array_equal(one.toarray(), other.toarray())


@pytest.mark.parametrize("likes", [LIKES, LIKES[:1], (), range(30)])
def test_a_model_comes_back_bit_by_bit(likes: tuple[int, ...]) -> None:
    before = model(*likes)
    content = pack_user_model(before, "e")
    after = unpack_user_model(content, "e", PAST.everybody, liked(*likes))
    assert_equal(after, before)
    assert pack_user_model(after, "e") == content


def test_the_model_of_nobody_comes_back() -> None:
    before = empty_user_model(PAST)
    content = pack_user_model(before, "e")
    assert_equal(unpack_user_model(content, "e", PAST.everybody, liked()), before)


def test_without_the_likes_there_are_models_but_no_centres() -> None:
    before = model(*LIKES)
    after = unpack_user_model(pack_user_model(before, "e"), "e", PAST.everybody, None)
    assert np.array_equal(after.tfidf_models.toarray(), before.tfidf_models.toarray())
    assert np.array_equal(after.semantic_models, before.semantic_models)
    assert len(before.latent_centres) > len(after.latent_centres) == 0


def test_equal_models_are_stored_once() -> None:
    equal = model(*range(25), phrases="")
    weights = equal.tfidf_models.copy()
    start, end = weights.indptr[1:3]
    weights.data[start:end] = np.random.default_rng(0).normal(size=end - start)
    other = replace(equal, tfidf_models=weights)
    more = len(pack_user_model(other, "e")) - len(pack_user_model(equal, "e"))
    assert more > end - start > 20


def damaged() -> list[bytes]:
    content = pack_user_model(model(*LIKES), "e")
    archive = io.BytesIO()
    np.savez(archive, intercepts=np.zeros(4))
    turned = bytearray(content)
    turned[-9] ^= 1
    return [b"", b"nothing", content[:-1], content[:40], bytes(turned), archive.getvalue()]


@pytest.mark.parametrize("content", damaged())
def test_damaged_bytes_and_those_of_an_older_program_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        unpack_user_model(content, "e", PAST.everybody, liked(*LIKES))


def test_a_model_for_another_encoder_or_other_likes_is_refused() -> None:
    content = pack_user_model(model(*LIKES), "e")
    with pytest.raises(ValueError, match="encoder"):
        unpack_user_model(content, "f", PAST.everybody, liked(*LIKES))
    with pytest.raises(ValueError, match="encoder"):
        unpack_user_model(content, "e", PAST.everybody[1:], liked(*LIKES))
    with pytest.raises(ValueError, match="likes"):
        unpack_user_model(content, "e", PAST.everybody, liked(*LIKES[1:]))
