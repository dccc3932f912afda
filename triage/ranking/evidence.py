"""What a paper and a reader have in common, and what follows when the reader wants less of it.

A reason points at something: a like, an author, a category, a phrase, an interest. Wanting less
like a paper is an argument against that very thing, so whatever could be shown for the same thing
counts less from the next digest on, and as before after a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np

from triage.domain.author_names import author_key
from triage.domain.records import F32, F64, Bools, EncodedPapers, Paper, Profile, ReasonKind
from triage.ranking.features import keywords_in
from triage.ranking.interest_clusters import LESS_DAYS, Interests

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


# What one wish for less takes from the logit of a score: half of what an author one follows gives.
LESS_MARGIN = 1.5
MOST_LESS = 3.0
# Nearest likes are looked for among the newest so many.
MAX_LIKES = 200


@dataclass(frozen=True, slots=True)
class Evidence:
    """One paper before one reader: what could be pointed at.

    Attributes:
        dense: float32 (d,), words: CSR (1, v), the paper's.
    """

    profile: Profile
    paper: Paper
    dense: F32
    words: csr_matrix

    def nearest_like(self, before: datetime | None = None) -> int | None:
        """Return the row of the like that is nearest, of those from before an instant."""
        liked = self.profile.liked
        if not len(liked):
            return None
        closeness = liked.encodings.latent @ self.dense
        closeness = closeness + (liked.encodings.tfidf @ self.words.T).toarray()[:, 0]
        if before is not None:
            late = np.array([at >= before for at in self.profile.liked_at])
            closeness[late] = 0
        nearest = int(np.argmax(closeness))
        return nearest if closeness[nearest] > 0 else None

    def phrase(self) -> int | None:
        """Return the row of the phrase of the reader's interests that fits best."""
        interests = self.profile.interests
        if not len(interests):
            return None
        closeness = _phrase_closeness(self.profile, self.dense[None, :], self.words)[0]
        best = int(np.argmax(closeness))
        return best if closeness[best] > 0 else None

    def category(self) -> str:
        """Return the paper's first category that the reader chose, else the most liked one."""
        chosen = [c for c in self.paper.categories if c in self.profile.subscriber.categories]
        if chosen:
            return chosen[0]
        liked = [c for paper in self.profile.liked.papers for c in paper.categories]
        usual = max(self.paper.categories, key=liked.count, default="")
        return usual if usual in liked else ""

    def followed_authors(self) -> list[str]:
        followed = {author_key(name) for name in self.profile.subscriber.followed_authors}
        return [name for name in self.paper.authors if author_key(name) in followed]

    def liked_authors(self) -> list[str]:
        """Return the authors of whom the reader liked a paper."""
        liked = {author_key(name) for p in self.profile.liked.papers for name in p.authors}
        return [name for name in self.paper.authors if author_key(name) in liked]

    def keywords(self) -> list[str]:
        return keywords_in(self.profile.subscriber.include_keywords, self.paper.text)


def apply_less_like_this(
    scores: F64, profile: Profile, candidates: EncodedPapers, interests: Interests, on: date
) -> F64:
    """Let papers count less that could be shown for what the reader wants less of.

    Args:
        scores: float64 (n,) in [0, 1].
        interests: the reader's, as found for the date.

    Returns:
        float64 (n,) in [0, 1], none above what it was; the same scores without such wishes. A wish
        takes LESS_MARGIN from the logit and fades over LESS_DAYS; all together take MOST_LESS.
    """
    less = np.zeros(len(scores))
    for row, (reason, at) in enumerate(zip(profile.less_of, profile.disliked_at, strict=False)):
        fresh = 1 - (on - at.date()).days / LESS_DAYS
        if reason is not None and 0 < fresh <= 1:
            same = _shown_for_the_same(reason.kind, row, at, profile, candidates, interests)
            less += LESS_MARGIN * fresh * same
    if not less.any():
        return scores
    odds = scores / np.maximum(1 - scores, 1e-12) * np.exp(-np.minimum(less, MOST_LESS))
    return np.asarray(np.where(less > 0, odds / (1 + odds), scores), dtype=np.float64)


def _shown_for_the_same(
    kind: ReasonKind,
    row: int,
    at: datetime,
    profile: Profile,
    candidates: EncodedPapers,
    interests: Interests,
) -> Bools:
    disliked, vectors = profile.disliked, candidates.encodings
    dense, words = disliked.encodings.latent[row], disliked.encodings.tfidf[row]
    case = Evidence(profile, disliked.papers[row], dense, words)
    papers = candidates.papers
    nothing = np.zeros(len(papers), dtype=bool)
    if kind in (ReasonKind.LIKES, ReasonKind.WORDS):
        like = case.nearest_like(before=at)
        if like is None or like >= MAX_LIKES:
            return nothing
        liked = profile.liked.encodings
        closeness = vectors.latent @ liked.latent[:MAX_LIKES].T
        closeness += (vectors.tfidf @ liked.tfidf[:MAX_LIKES].T).toarray()
        return np.asarray((closeness.argmax(axis=1) == like) & (closeness[:, like] > 0))
    if kind is ReasonKind.INTEREST_CLUSTER:
        (whose,) = interests.nearest(dense[None, :])
        return np.asarray(interests.nearest(vectors.latent) == whose) if whose >= 0 else nothing
    if kind is ReasonKind.INTERESTS:
        phrase = case.phrase()
        if phrase is None:
            return nothing
        closeness = _phrase_closeness(profile, vectors.latent, vectors.tfidf)
        return np.asarray((closeness.argmax(axis=1) == phrase) & (closeness[:, phrase] > 0))
    if kind in (ReasonKind.FOLLOWED_AUTHOR, ReasonKind.LIKED_AUTHOR):
        is_followed = kind is ReasonKind.FOLLOWED_AUTHOR
        named = case.followed_authors() if is_followed else case.liked_authors()
        keys = {author_key(name) for name in named}
        return np.array([any(author_key(n) in keys for n in paper.authors) for paper in papers])
    if kind is ReasonKind.CATEGORY:
        category = case.category()
        return np.array([category in paper.categories for paper in papers])
    if kind is ReasonKind.KEYWORDS:
        wanted = case.keywords()
        return np.array([bool(keywords_in(wanted, paper.text)) for paper in papers])
    if kind is ReasonKind.COMMUNITY:
        return np.array([(paper.upvotes or 0) > 0 for paper in papers])
    return nothing


def _phrase_closeness(profile: Profile, dense: F32, words: csr_matrix) -> F32:
    interests = profile.interests
    shared = (words @ interests.tfidf.T).toarray()
    return np.asarray(2 * shared + dense @ interests.latent.T, dtype=np.float32)
