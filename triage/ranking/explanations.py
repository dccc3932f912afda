"""Writes the reasons why a paper is shown, from the contributions of its features to its score.

Features with the same meaning for a person form a group, and their contributions are summed. The
two or three groups with the largest sums give the reasons, if there is evidence to name.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from triage.domain.arxiv_categories import watched
from triage.domain.paper_ids import source_name
from triage.domain.protocols import Encoder
from triage.domain.records import (
    F32,
    F64,
    Bools,
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
from triage.ranking.term_names import MAX_TERMS, name_terms, shared_parts

MAX_REASONS = 3
# A further reason needs at least this share of the first one's contribution.
MIN_SHARE = 0.1
MAX_TITLE = 70
N_SHARED_WORDS = 3
# A shared word needs at least this share of the first one's weight.
MIN_WORD_SHARE = 0.25
# The sum of the cosines of two papers, in words and latent space, from which they are close. The
# ten best of a day have about 0.3 to 0.9 to a reading list on their topic.
CLOSE = 0.5
# The contribution of the subscriber's own linear models is explained by shared words.
SHOWN_AS = {"taste": ReasonKind.WORDS}
_EXPLAINED = frozenset(ReasonKind) - {ReasonKind.FRESHNESS, ReasonKind.EXPLORATION}


def explain_placement(
    profile: Profile,
    candidates: EncodedPapers,
    placement: Placement,
    features_row: F32,
    contributions_row: F64,
    encoder: Encoder,
    interest: str = "",
    liked_words: F32 | None = None,
) -> tuple[Reason, ...]:
    """Return one to three reasons for a candidate, strongest first, plain text.

    `features_row` and `contributions_row` are float (n_features,), the candidate's features and
    what each of them adds to the score. `interest` is the name of the interest that the paper
    belongs to, if there are several. `liked_words` is float32 (v,), see `sum_liked_words`, by
    default with all terms. An exploration slot gets one reason, which says so.
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
        kind = SHOWN_AS.get(group, group)
        raised[kind] += float(part)
        if value > 0 and name != "age_days":
            present.add(kind)
    # Shared words and a near like explain the same thing, and the title of the like says more.
    words = math.nextafter(raised[ReasonKind.WORDS], math.inf)
    raised[ReasonKind.LIKES] = max(raised[ReasonKind.LIKES], words)
    paper, vectors = candidates.papers[placement.row], candidates.encodings
    evidence = Evidence(profile, paper, vectors.latent[placement.row], vectors.tfidf[placement.row])
    strongest = sorted(present & _EXPLAINED, key=lambda kind: (-raised[kind], kind))
    found: list[Reason] = []
    for name in strongest:
        kind = ReasonKind(name)
        least = MIN_SHARE * raised[strongest[0]] if found else 0
        if raised[kind] > 0 and raised[kind] >= least:
            text = _sentence(kind, evidence, encoder, interest, liked_words)
            found += [Reason(kind, text)] if text else []
        if len(found) == MAX_REASONS:
            break
    return tuple(found) or (_newness(paper),)


def _sentence(
    kind: ReasonKind, evidence: Evidence, encoder: Encoder, interest: str, liked_words: F32 | None
) -> str:
    """Return a reason in words, weaker ones for a weak match; empty without evidence to name."""
    if kind is ReasonKind.LIKES:
        like = evidence.nearest_like()
        if like is None:
            return ""
        row, similarity = like
        nearness = "close to" if similarity >= CLOSE else "somewhat like"
        title = short_title(evidence.profile.liked.papers[row].title)
        return f"{nearness} “{title}” that you liked"
    if kind is ReasonKind.WORDS:
        return _shared_words(evidence, encoder, liked_words)
    if kind is ReasonKind.INTERESTS:
        return _phrase(evidence)
    if kind is ReasonKind.INTEREST_CLUSTER:
        return f"about “{short_title(interest)}” that you read on" if interest else ""
    if kind is ReasonKind.CATEGORY:
        category = evidence.category()
        is_chosen = watched(evidence.profile.subscriber.categories, (category,))
        why = "which you chose" if is_chosen else "like papers you liked"
        return f"in {category}, {why}" if category else ""
    if kind is ReasonKind.FOLLOWED_AUTHOR:
        names = evidence.followed_authors()
        noun = "author" if len(names) == 1 else "authors"
        return f"{noun} you follow: {', '.join(names[:2])}" if names else ""
    if kind is ReasonKind.LIKED_AUTHOR:
        names = evidence.liked_authors()
        return f"by {', '.join(names[:2])}, of whom you liked a paper" if names else ""
    if kind is ReasonKind.KEYWORDS:
        return _keywords(evidence)
    n = evidence.paper.upvotes or 0
    return f"{n} {'upvote' if n == 1 else 'upvotes'} on Hugging Face" if n > 0 else ""


def sum_liked_words(profile: Profile, common: Bools) -> F32:
    """Return float32 (v,): the summed TF-IDF weights of the likes.

    They are 0 for the terms that many papers of the day have, `common`, bool (v,).
    """
    total = np.asarray(profile.liked.encodings.tfidf.sum(axis=0), dtype=np.float32).ravel()
    total[common] = 0
    return total


def _shared_words(evidence: Evidence, encoder: Encoder, liked_words: F32 | None) -> str:
    liked = evidence.profile.liked
    if not len(liked):
        return ""
    if liked_words is None:
        liked_words = sum_liked_words(evidence.profile, np.zeros(evidence.words.shape[1], bool))
    shared = evidence.words.copy()
    shared.data = shared.data * liked_words[shared.indices]
    shared.data[shared.data < MIN_WORD_SHARE * shared.data.max(initial=0)] = 0
    shared.eliminate_zeros()
    terms = name_terms(encoder.terms(shared, MAX_TERMS), evidence.paper.text)
    if not terms:
        return ""
    listed = ", ".join(terms[:N_SHARED_WORDS])
    noun = "words" if len(terms) > 1 else "word"
    papers = "papers" if len(liked) > 1 else "a paper"
    return f"shares the {noun} {listed} with {papers} you liked"


def _phrase(evidence: Evidence) -> str:
    best = evidence.phrase()
    if best is None:
        return ""
    paper, phrase = evidence.paper, evidence.profile.phrases[best]
    quoted = f"“{short_title(phrase)}” in your interests"
    if shared_parts(phrase, paper.title) == [phrase]:
        return f"its title matches {quoted}"
    parts = shared_parts(phrase, paper.text)
    if not parts:
        return f"loosely related to {quoted}"
    if parts == [phrase]:
        return f"matches {quoted}"
    if sum(len(part.split()) for part in parts) >= len(phrase.split()):
        return f"has the words of {quoted}"
    named = ", ".join(f"“{short_title(part)}”" for part in parts[:N_SHARED_WORDS])
    return f"shares {named} with {quoted}"


def _keywords(evidence: Evidence) -> str:
    hits = evidence.keywords()
    if not hits:
        return ""
    quoted = ", ".join(f"“{short_title(word)}”" for word in hits[:N_SHARED_WORDS])
    return f"has your {'keyword' if len(hits) == 1 else 'keywords'} {quoted}"


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
