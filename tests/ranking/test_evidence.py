"""Less like a paper is an argument against what it was shown for, and against nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import topics
from tests.support.factories import DAY, NOON, paper, subscriber
from triage.domain.records import F64, EncodedPapers, Paper, Profile, Reason, ReasonKind, Subscriber
from triage.ranking.evidence import LESS_MARGIN, MOST_LESS, Evidence, apply_less_like_this
from triage.ranking.interest_clusters import cluster_interests, similarity_threshold

KINDS = tuple(ReasonKind)
DECODING, PROTEINS = topics.rows_of("decoding"), topics.rows_of("proteins")


def wish(
    kind: ReasonKind | None,
    about: Paper | None = None,
    *,
    text: str = "",
    liked: tuple[int, ...] = (),
    who: Subscriber | None = None,
) -> Profile:
    """Return a reader who wants less like a paper that was shown for a reason of that kind."""
    profile = topics.profile(text, liked=liked, who=who)
    return replace(
        profile,
        disliked=topics.of_papers(about or topics.literature()[DECODING[9]]),
        disliked_at=(NOON,),
        less_of=(Reason(kind, "…") if kind else None,),
        liked_at=tuple(NOON - timedelta(days=i + 1) for i in range(len(liked))),
    )


def scored(profile: Profile, candidates: EncodedPapers, days: int = 0, score: float = 0.5) -> F64:
    on = DAY + timedelta(days)
    interests = cluster_interests(
        profile, on, similarity_threshold(topics.everything().encodings.latent)
    )
    return apply_less_like_this(np.full(len(candidates), score), profile, candidates, interests, on)


def lessened(profile: Profile, *papers: Paper) -> list[bool]:
    return [bool(score < 0.5) for score in scored(profile, topics.of_papers(*papers))]


ELSEWHERE = paper(90, title="Zebras", abstract="of the savannah", authors=("Jo Nobody",),
                  categories=("q-bio.PE",))  # fmt: skip


def test_an_author_one_follows_counts_less_and_others_do_not() -> None:
    who = subscriber(followed_authors=("Ann Other", "Ada Lovelace"))
    about = replace(ELSEWHERE, authors=("Other, Ann",))
    more = [replace(ELSEWHERE, id=n, authors=(name,)) for n, name in enumerate(
        ["Ann Other", "Ada Lovelace", "Jo Nobody"], start=91)]  # fmt: skip
    assert lessened(wish(ReasonKind.FOLLOWED_AUTHOR, about, who=who), *more) == [True, False, False]


def test_an_author_of_a_like_counts_less() -> None:
    profile = wish(ReasonKind.LIKED_AUTHOR, liked=(DECODING[0],))
    by_the_same = replace(ELSEWHERE, authors=(topics.literature()[DECODING[0]].authors[1],))
    assert lessened(profile, by_the_same, ELSEWHERE) == [True, False]


def test_a_category_counts_less() -> None:
    who = subscriber(categories=("cs.CL",))
    assert lessened(wish(ReasonKind.CATEGORY, who=who), paper(1), ELSEWHERE) == [True, False]


def test_a_keyword_counts_less() -> None:
    profile = wish(ReasonKind.KEYWORDS, replace(ELSEWHERE, title="Zebras and drafts"),
                   who=subscriber(include_keywords=("drafts", "lions")))  # fmt: skip
    more = [replace(ELSEWHERE, title=title) for title in ("Old drafts", "Lions", "Cats")]
    assert lessened(profile, *more) == [True, False, False]


def test_being_liked_by_others_counts_less() -> None:
    profile = wish(ReasonKind.COMMUNITY, replace(ELSEWHERE, upvotes=9))
    assert lessened(profile, replace(ELSEWHERE, upvotes=3), ELSEWHERE) == [True, False]


@pytest.mark.parametrize("kind", [ReasonKind.LIKES, ReasonKind.WORDS])
def test_a_like_that_brought_it_counts_less_and_other_likes_as_before(kind: ReasonKind) -> None:
    profile = wish(kind, liked=(DECODING[0], PROTEINS[0]))
    drafts, folds = topics.literature()[DECODING[1]], topics.literature()[PROTEINS[1]]
    assert lessened(profile, drafts, folds, ELSEWHERE) == [True, False, False]


def test_the_like_is_the_one_that_the_reason_could_have_meant() -> None:
    about = topics.literature()[DECODING[9]]
    profile = wish(ReasonKind.LIKES, about, liked=(DECODING[8], DECODING[0], PROTEINS[0]))
    case = Evidence(profile, about, profile.disliked.encodings.latent[0],
                   profile.disliked.encodings.tfidf[0])  # fmt: skip
    nearest = case.nearest_like()
    assert nearest is not None
    times = list(profile.liked_at)
    times[nearest[0]] = NOON
    other = replace(profile, liked_at=tuple(times))
    another = replace(case, profile=other).nearest_like(before=NOON)
    assert another is not None
    assert another[0] != nearest[0]
    assert another[1] < nearest[1]


def test_a_phrase_of_ones_own_counts_less() -> None:
    profile = wish(ReasonKind.INTERESTS, text="speculative decoding; protein folding")
    drafts, folds = topics.literature()[DECODING[1]], topics.literature()[PROTEINS[1]]
    assert lessened(profile, drafts, folds, ELSEWHERE) == [True, False, False]


def test_an_interest_counts_less() -> None:
    profile = wish(ReasonKind.INTEREST_CLUSTER, liked=(*DECODING[:4], *PROTEINS[:4]))
    drafts, folds = topics.literature()[DECODING[6]], topics.literature()[PROTEINS[6]]
    assert lessened(profile, drafts, folds, ELSEWHERE) == [True, False, False]


@pytest.mark.parametrize("kind", [None, ReasonKind.EXPLORATION, ReasonKind.FRESHNESS])
def test_what_points_at_nothing_changes_nothing(kind: ReasonKind | None) -> None:
    profile = wish(kind, liked=(DECODING[0],))
    assert lessened(profile, *topics.literature()) == [False] * 60


def test_a_wish_fades_and_two_weigh_more_up_to_a_limit() -> None:
    who = subscriber(categories=("cs.CL",))
    once = wish(ReasonKind.CATEGORY, who=who)
    of_cs = topics.of_papers(paper(1))

    def logit(profile: Profile, days: int = 0) -> float:
        score = float(scored(profile, of_cs, days)[0])
        return float(np.log(score / (1 - score)))

    assert logit(once) == pytest.approx(-LESS_MARGIN)
    assert logit(once, 30) == pytest.approx(-LESS_MARGIN / 2)
    assert logit(once, 60) == logit(once, -1) == 0
    many = replace(
        once,
        disliked=topics.of_papers(*[paper(n) for n in range(1, 5)]),
        disliked_at=(NOON,) * 4,
        less_of=once.less_of * 4,
    )
    assert logit(many) == pytest.approx(-MOST_LESS)


@given(
    st.sampled_from(KINDS),
    st.sampled_from(["", "protein folding", "zzzz"]),
    st.lists(st.integers(0, 59), max_size=5, unique=True),
    st.integers(0, 59),
    st.floats(0, 1),
    st.integers(-2, 90),
)
def test_whatever_the_wish_no_score_rises_or_leaves_its_range(
    kind: ReasonKind, text: str, liked: list[int], about: int, score: float, days: int
) -> None:
    profile = wish(kind, topics.literature()[about], text=text, liked=tuple(liked))
    now = scored(profile, topics.everything(), days, score)
    assert np.isfinite(now).all()
    assert (now >= 0).all()
    assert (now <= score + 1e-12).all()
    assert not len(scored(profile, topics.library(), days, score))
