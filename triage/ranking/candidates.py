"""Says what keeps a paper out of the digests of a subscriber."""

from __future__ import annotations

from collections.abc import Container
from datetime import date

from triage.domain.author_names import author_keys
from triage.domain.paper_outcome import DigestFilter
from triage.domain.records import Paper, Subscriber
from triage.ranking.features import find_keywords


def find_filter(
    paper: Paper,
    subscriber: Subscriber,
    seen: Container[int],
    on: date,
    max_age_days: int,
    own_authors: frozenset[str] = frozenset(),
) -> DigestFilter | None:
    """Return what keeps a listed paper out of a digest; None if a subscriber may get it.

    Categories exclude nothing, they are a feature. Excluded keywords are matched as whole words in
    any case, in title or abstract.

    Args:
        seen: ids of papers that were mailed to the subscriber or voted on at any time.
        on: the digest's date; papers listed later are left out.
        max_age_days: how many days before `on` a paper may have been listed; 0 means that day only.
        own_authors: keys of the subscriber's names as an author.
    """
    if paper.id in seen:
        return DigestFilter.SEEN
    if own_authors and not own_authors.isdisjoint(author_keys(paper.authors)):
        return DigestFilter.OWN
    if not 0 <= (on - paper.listed_on).days <= max_age_days:
        return DigestFilter.DATE
    excluded = subscriber.exclude_keywords
    return DigestFilter.KEYWORD if excluded and find_keywords(excluded, paper.text) else None
