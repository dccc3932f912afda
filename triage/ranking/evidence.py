"""Finds what connects a paper with a subscriber, and lowers scores after "less like this".

A reason names its evidence: a like, an author, a category, a phrase, a keyword or an interest. When
a subscriber asks for less like a paper, all candidates with the same evidence get lower scores from
the next digest on. The effect fades with time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from triage.domain.arxiv_categories import watched
from triage.domain.author_names import author_key
from triage.domain.records import CSR, F32, F64, Bools, EncodedPapers, Paper, Profile, ReasonKind
from triage.ranking.features import find_keywords
from triage.ranking.interest_clusters import LESS_DAYS, Interests
from triage.ranking.own_papers import find_liked_authors

# One "less like this" lowers the logit by this: half of the weight of a followed author.
LESS_MARGIN = 1.5
MOST_LESS = 3.0
# Only so many of the newest likes are compared with a paper.
MAX_LIKES = 200


@dataclass(frozen=True, slots=True)
class Evidence:
    """What connects one paper with one subscriber.

    Attributes:
        dense: float32 (d,), the latent vector of the paper.
        words: CSR (1, v), its TF-IDF vector.
    """

    profile: Profile
    paper: Paper
    dense: F32
    words: CSR

    def nearest_like(self, before: datetime | None = None) -> tuple[int, float] | None:
        """Return the row of the like most similar to the paper, None if none is similar.

        With it comes the similarity: the sum of the cosines in latent space and in words. Only
        likes from before the given instant count, if one is given.
        """
        liked = self.profile.liked
        if not len(liked):
            return None
        similarity = liked.encodings.latent @ self.dense
        similarity = similarity + (liked.encodings.tfidf @ self.words.T).toarray()[:, 0]
        if before is not None:
            late = np.array([at >= before for at in self.profile.liked_at])
            similarity[late] = 0
        nearest = int(np.argmax(similarity))
        return (nearest, float(similarity[nearest])) if similarity[nearest] > 0 else None

    def phrase(self) -> int | None:
        """Return the row of the interests phrase that fits best, None if none fits."""
        interests = self.profile.interests
        if not len(interests):
            return None
        similarity = _phrase_similarity(self.profile, self.dense[None, :], self.words)[0]
        best = int(np.argmax(similarity))
        return best if similarity[best] > 0 else None

    def category(self) -> str:
        """Return the paper's first chosen category, else its most liked one, else ""."""
        for category in self.paper.categories:
            if watched(self.profile.subscriber.categories, (category,)):
                return category
        liked = [c for paper in self.profile.liked.papers for c in paper.categories]
        most_liked = max(self.paper.categories, key=liked.count, default="")
        return most_liked if most_liked in liked else ""

    def followed_authors(self) -> list[str]:
        followed = {author_key(name) for name in self.profile.subscriber.followed_authors}
        return [name for name in self.paper.authors if author_key(name) in followed]

    def liked_authors(self) -> list[str]:
        """Return the authors of the paper who also wrote a liked paper, without the subscriber."""
        liked = find_liked_authors(self.profile)
        return [name for name in self.paper.authors if author_key(name) in liked]

    def keywords(self) -> list[str]:
        return find_keywords(self.profile.subscriber.include_keywords, self.paper.text)


def apply_less_like_this(
    scores: F64, profile: Profile, candidates: EncodedPapers, interests: Interests, on: date
) -> F64:
    """Return lower scores for candidates with the same evidence as papers to show less of.

    `scores` is float64 (n,) in [0, 1]; the result too, and it is the same array if nothing applies.
    One "less like this" takes LESS_MARGIN from the logit at first and nothing after LESS_DAYS; all
    together take at most MOST_LESS.
    """
    penalty = np.zeros(len(scores))
    for row, (reason, at) in enumerate(zip(profile.less_of, profile.disliked_at, strict=False)):
        strength = 1 - (on - at.date()).days / LESS_DAYS
        if reason is not None and 0 < strength <= 1:
            same = _have_same_evidence(reason.kind, row, at, profile, candidates, interests)
            penalty += LESS_MARGIN * strength * same
    if not penalty.any():
        return scores
    odds = scores / np.maximum(1 - scores, 1e-12) * np.exp(-np.minimum(penalty, MOST_LESS))
    return np.asarray(np.where(penalty > 0, odds / (1 + odds), scores), dtype=np.float64)


def _have_same_evidence(
    kind: ReasonKind,
    row: int,
    at: datetime,
    profile: Profile,
    candidates: EncodedPapers,
    interests: Interests,
) -> Bools:
    disliked, vectors = profile.disliked, candidates.encodings
    dense, words = disliked.encodings.latent[row], disliked.encodings.tfidf[row]
    evidence = Evidence(profile, disliked.papers[row], dense, words)
    papers = candidates.papers
    none = np.zeros(len(papers), dtype=bool)
    if kind in (ReasonKind.LIKES, ReasonKind.WORDS):
        found = evidence.nearest_like(before=at)
        if found is None or found[0] >= MAX_LIKES:
            return none
        like, _ = found
        liked = profile.liked.encodings
        similarity = vectors.latent @ liked.latent[:MAX_LIKES].T
        similarity += (vectors.tfidf @ liked.tfidf[:MAX_LIKES].T).toarray()
        return np.asarray((similarity.argmax(axis=1) == like) & (similarity[:, like] > 0))
    if kind is ReasonKind.INTEREST_CLUSTER:
        (interest,) = interests.nearest(dense[None, :])
        return np.asarray(interests.nearest(vectors.latent) == interest) if interest >= 0 else none
    if kind is ReasonKind.INTERESTS:
        phrase = evidence.phrase()
        if phrase is None:
            return none
        similarity = _phrase_similarity(profile, vectors.latent, vectors.tfidf)
        return np.asarray((similarity.argmax(axis=1) == phrase) & (similarity[:, phrase] > 0))
    if kind in (ReasonKind.FOLLOWED_AUTHOR, ReasonKind.LIKED_AUTHOR):
        is_followed = kind is ReasonKind.FOLLOWED_AUTHOR
        authors = evidence.followed_authors() if is_followed else evidence.liked_authors()
        keys = {author_key(name) for name in authors}
        return np.array([any(author_key(n) in keys for n in paper.authors) for paper in papers])
    if kind is ReasonKind.CATEGORY:
        category = evidence.category()
        return np.array([category in paper.categories for paper in papers])
    if kind is ReasonKind.KEYWORDS:
        keywords = evidence.keywords()
        return np.array([bool(find_keywords(keywords, paper.text)) for paper in papers])
    if kind is ReasonKind.COMMUNITY:
        return np.array([(paper.upvotes or 0) > 0 for paper in papers])
    return none


def _phrase_similarity(profile: Profile, dense: F32, words: CSR) -> F32:
    interests = profile.interests
    shared = (words @ interests.tfidf.T).toarray()
    return np.asarray(2 * shared + dense @ interests.latent.T, dtype=np.float32)
