"""Why a paper is shown, in words, from the scorer's own numbers.

The contributions of all features that mean the same to a person are added up; the two or three
groups that raised the paper most are said, each only where there is something to point at.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from triage.domain.paper_ids import source_name
from triage.domain.protocols import Encoder
from triage.domain.records import (
    F32,
    F64,
    EncodedPapers,
    Paper,
    Placement,
    Policy,
    Profile,
    Reason,
    ReasonKind,
)
from triage.ranking.evidence import Evidence
from triage.ranking.features import GROUPS
from triage.ranking.interest_clusters import without_parts

MAX_REASONS = 3
# A third reason has to weigh something beside the first.
MIN_SHARE = 0.1
MAX_TITLE = 70
N_SHARED_WORDS = 3
# What a reader's own linear model found is told by the words that it knows from their likes.
TOLD_AS = {"taste": ReasonKind.WORDS}


def reasons(
    profile: Profile,
    candidates: EncodedPapers,
    placement: Placement,
    features_row: F32,
    contributions_row: F64,
    encoder: Encoder,
    interest: str = "",
) -> tuple[Reason, ...]:
    """Say why one candidate is shown.

    Args:
        profile: the subscriber's, as it was scored.
        candidates: the library that the placement's row counts in.
        placement: which candidate; an exploration slot has one reason, that it is one.
        features_row: float32 (n_features,), its features.
        contributions_row: float64 (n_features,), what the scorer says each of them added.
        encoder: names the shared words.
        interest: the name of the one of several interests that the paper belongs to.

    Returns:
        One to three reasons, strongest first, plain text without markup; never none.
    """
    if placement.policy is Policy.EXPLORATION:
        known = len(profile.liked) or len(profile.interests)
        usual = "outside your usual picks" if known else "unlike the others"
        return (Reason(ReasonKind.EXPLORATION, f"a paper {usual}, to learn what you like"),)
    raised: defaultdict[str, float] = defaultdict(float)
    present: set[str] = set()
    for (name, group), value, part in zip(
        GROUPS.items(), features_row, contributions_row, strict=True
    ):
        told = TOLD_AS.get(group, group)
        raised[told] += float(part)
        if value > 0 and name != "age_days":
            present.add(told)
    # Words and the dense space tell one story of likes, and a title says more than words do.
    words = math.nextafter(raised[ReasonKind.WORDS], math.inf)
    raised[ReasonKind.LIKES] = max(raised[ReasonKind.LIKES], words)
    case = _Case(profile, candidates, placement.row, encoder, interest)
    sayable = (kind for kind in case.sayings if kind in present)
    strongest = sorted(sayable, key=lambda kind: (-raised[kind], kind))
    found: list[Reason] = []
    for kind in strongest:
        least = MIN_SHARE * raised[strongest[0]] if found else 0
        text = case.sayings[kind]() if raised[kind] > 0 and raised[kind] >= least else ""
        if text:
            found.append(Reason(kind, text))
        if len(found) == MAX_REASONS:
            break
    return tuple(found) or (_newness(candidates.papers[placement.row]),)


class _Case:
    """One candidate before one subscriber, with a sentence for each group of features."""

    def __init__(
        self, profile: Profile, candidates: EncodedPapers, row: int, encoder: Encoder, interest: str
    ) -> None:
        self.profile, self.encoder, self.interest = profile, encoder, interest
        self.paper = candidates.papers[row]
        self.words = candidates.encodings.tfidf[row]
        dense = candidates.encodings.latent[row]
        self.grounds = Evidence(profile, self.paper, dense, self.words)
        self.sayings: dict[ReasonKind, Callable[[], str]] = {
            ReasonKind.LIKES: self._nearest_like,
            ReasonKind.WORDS: self._shared_words,
            ReasonKind.INTERESTS: self._phrase,
            ReasonKind.INTEREST_CLUSTER: self._interest,
            ReasonKind.CATEGORY: self._category,
            ReasonKind.FOLLOWED_AUTHOR: self._followed_author,
            ReasonKind.LIKED_AUTHOR: self._liked_author,
            ReasonKind.KEYWORDS: self._keywords,
            ReasonKind.COMMUNITY: self._community,
        }

    def _nearest_like(self) -> str:
        nearest = self.grounds.nearest_like()
        if nearest is None:
            return ""
        return f"close to “{short_title(self.profile.liked.papers[nearest].title)}” that you liked"

    def _shared_words(self) -> str:
        liked = self.profile.liked
        if not len(liked):
            return ""
        total = np.asarray(liked.encodings.tfidf.sum(axis=0)).ravel()
        shared = self.words.copy()
        shared.data = shared.data * total[shared.indices]
        shared.eliminate_zeros()
        told = without_parts(self.encoder.terms(shared, 3 * N_SHARED_WORDS))
        if not told:
            return ""
        listed = ", ".join(told[:N_SHARED_WORDS])
        noun = "words" if len(told) > 1 else "word"
        papers = "papers" if len(liked) > 1 else "a paper"
        return f"shares the {noun} {listed} with {papers} you liked"

    def _phrase(self) -> str:
        best = self.grounds.phrase()
        if best is None:
            return ""
        shared = (self.profile.interests.tfidf[best] @ self.words.T).nnz > 0
        verb = "matches" if shared else "is near to"
        return f"{verb} “{short_title(self.profile.phrases[best])}” in your interests"

    def _interest(self) -> str:
        return f"about “{short_title(self.interest)}” that you read on" if self.interest else ""

    def _category(self) -> str:
        category = self.grounds.category()
        if not category:
            return ""
        if category in self.profile.subscriber.categories:
            return f"in {category}, which you chose"
        return f"in {category}, like papers you liked"

    def _followed_author(self) -> str:
        names = self.grounds.followed_authors()
        if not names:
            return ""
        return f"{'author' if len(names) == 1 else 'authors'} you follow: {', '.join(names[:2])}"

    def _liked_author(self) -> str:
        names = self.grounds.liked_authors()
        return f"by {', '.join(names[:2])}, of whom you liked a paper" if names else ""

    def _keywords(self) -> str:
        hits = self.grounds.keywords()
        if not hits:
            return ""
        told = ", ".join(f"“{short_title(word)}”" for word in hits[:N_SHARED_WORDS])
        return f"has your {'keyword' if len(hits) == 1 else 'keywords'} {told}"

    def _community(self) -> str:
        n = self.paper.upvotes or 0
        return f"{n} {'upvote' if n == 1 else 'upvotes'} on Hugging Face" if n > 0 else ""


def short_title(title: str) -> str:
    """Return a title of at most MAX_TITLE characters, cut between words, on one line."""
    plain = " ".join(title.split())
    if len(plain) <= MAX_TITLE:
        return plain
    cut = plain[:MAX_TITLE]
    head, space, _ = cut.rpartition(" ")
    return (head if space else cut).rstrip(" ,;:-([") + "…"


def _newness(paper: Paper) -> Reason:
    where = f" in {paper.categories[0]}" if paper.categories else ""
    return Reason(ReasonKind.FRESHNESS, f"new on {source_name(paper.source)}{where}")
