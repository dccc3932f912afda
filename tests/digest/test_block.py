"""What the slates of a block of subscribers share, and what is each one's own."""

from __future__ import annotations

from datetime import timedelta

from tests.support.factories import DAY, NOON, paper, subscriber
from triage.digest.block import Due, _select_revised
from triage.domain.records import EventKind, Vote

OLD = NOON - timedelta(days=30)


def test_a_revision_is_told_after_the_last_digest_of_each_and_after_the_like() -> None:
    """The papers are loaded for all of a block, since the earliest of their last digests."""
    revised = [(paper(n), DAY - timedelta(days=n)) for n in (1, 3)]
    votes = [Vote(n, EventKind.VOTE_UP, OLD) for n in (1, 3)]

    def told(since: int, likes: list[Vote], **wishes: object) -> list[int]:
        who = subscriber(**({"revisions": True} | wishes))
        due = Due(who, DAY - timedelta(days=since), 14, recap=False)
        return [each.id for each in _select_revised(likes, revised, due)]

    assert told(7, votes) == [1, 3]
    assert told(2, votes) == [1]
    assert told(1, votes) == []
    assert told(7, votes[:1]) == [1]
    assert told(7, [Vote(1, EventKind.VOTE_UP, NOON), votes[1]]) == [3]
    assert told(7, [Vote(1, EventKind.VOTE_DOWN, OLD)]) == []
    assert told(7, votes, revisions=False) == []
