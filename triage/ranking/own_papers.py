"""Finds the names under which a subscriber writes papers, from their likes.

The likes of an author are often their own papers. These show topics, but not whom the author likes
to read: by their names, papers of the author and the co-authors would be the best ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from triage.domain.author_names import author_key, author_keys
from triage.domain.records import Paper, Profile, Vote

FEWEST = 3
# Own papers show topics, but other likes show better what somebody wants to read.
ENOUGH_LIKES = 20
# Of a collaboration, everybody is an author of every paper.
MOST_NAMES = 5


def find_known_authors(votes: Iterable[Vote], papers: Mapping[int, Paper]) -> frozenset[str]:
    """Return the author keys that are known to be the subscriber's.

    They are the names given with own papers. Where none is given, it is the author of more than
    half of at least FEWEST own papers, if this is only one.

    Args:
        papers: by id; own papers that are not among them are left out.
    """
    own = [vote for vote in votes if vote.own is not None]
    given = frozenset(author_key(vote.own) for vote in own if vote.own)
    if given:
        return given
    usual = _usual_authors([papers[vote.paper_id] for vote in own if vote.paper_id in papers])
    return usual if len(usual) == 1 else frozenset()


def select_likes(likes: Sequence[Vote]) -> list[Vote]:
    """Return the likes that make the profile, in order; of own papers only the newest that count.

    Other likes always count, and own papers fill them up to ENOUGH_LIKES. Without other likes all
    own papers count.
    """
    n_others = sum(vote.own is None for vote in likes)
    room = max(ENOUGH_LIKES - n_others, 0) if n_others else len(likes)
    own = [vote for vote in likes if vote.own is not None]
    left_out = {vote.paper_id for vote in own[room:]}
    return [vote for vote in likes if vote.paper_id not in left_out]


def find_evident_authors(liked: Collection[Paper]) -> frozenset[str]:
    """Return the keys of the authors of more than half of at least FEWEST likes.

    The subscriber is probably one of them. More than MOST_NAMES are a collaboration, and give none.
    """
    usual = _usual_authors(liked)
    return usual if len(usual) <= MOST_NAMES else frozenset()


def find_liked_authors(profile: Profile) -> frozenset[str]:
    """Return the keys of the authors of liked papers, except of those that are own papers."""
    liked = profile.liked.papers
    own = profile.own_authors | find_evident_authors(liked)
    names = {paper.id: author_keys(paper.authors) for paper in liked}
    others = (
        keys for id, keys in names.items() if id not in profile.own_papers and own.isdisjoint(keys)
    )
    return frozenset().union(*others)


def _usual_authors(papers: Collection[Paper]) -> frozenset[str]:
    counts = Counter(key for paper in papers for key in author_keys(paper.authors) if key)
    least = max(FEWEST, len(papers) // 2 + 1)
    return frozenset(key for key, n in counts.items() if n >= least)
