"""A single odd sign is a person's; several together, or opposite presses, are a machine's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.subscribers.scanner_detection import BELIEVED, is_burst, trust

PERSON: dict[str, Any] = {
    "on_page_s": 4.0,
    "since_sent_s": 7200,
    "links_opened": 2,
    "papers_contradicted": 0,
    "agent": "browser",
    "same_origin": True,
    "user_gesture": True,
}
ODD: list[dict[str, Any]] = [
    {"on_page_s": 0.4},
    {"on_page_s": None},
    {"since_sent_s": 3},
    {"since_sent_s": None},
    {"links_opened": 30},
    {"papers_contradicted": 2},
    {"votes_changed": 2},
    {"agent": "none"},
    {"user_gesture": False},
    {"same_origin": False, "user_gesture": False},
]
evidences = st.fixed_dictionaries(
    {},
    optional={
        "on_page_s": st.none() | st.floats(0, 1e6),
        "since_sent_s": st.none() | st.integers(-5, 10**7),
        "links_opened": st.integers(0, 200),
        "papers_contradicted": st.integers(0, 50),
        "votes_changed": st.integers(0, 50),
        "agent": st.sampled_from(["browser", "other", "none"]),
        "same_origin": st.booleans(),
        "user_gesture": st.booleans(),
    },
)


def test_what_nothing_speaks_against_is_believed_wholly() -> None:
    assert trust(PERSON) == trust({}) == 1


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_sign_is_no_reason_to_doubt_a_person(odd: dict[str, Any]) -> None:
    assert trust(PERSON | odd) >= BELIEVED


@pytest.mark.parametrize(
    "signs",
    [
        {"on_page_s": 0.1, "since_sent_s": 8},
        {"links_opened": 20, "user_gesture": False},
        {"papers_contradicted": 3},
        {"votes_changed": 3},
        {"papers_contradicted": 2, "links_opened": 8},
        {"on_page_s": None, "user_gesture": False},
    ],
)
def test_what_no_person_does_is_not_believed(signs: dict[str, Any]) -> None:
    assert trust(PERSON | signs) < BELIEVED


@given(evidences, st.integers(0, 20), st.integers(0, 5))
def test_more_links_never_make_a_vote_more_believable(
    evidence: dict[str, Any], more: int, contradicted: int
) -> None:
    worse = evidence | {
        "links_opened": evidence.get("links_opened", 0) + more,
        "papers_contradicted": evidence.get("papers_contradicted", 0) + contradicted,
    }
    assert 0 <= trust(worse) <= trust(evidence) <= 1
    assert is_burst(worse) >= is_burst(evidence)
