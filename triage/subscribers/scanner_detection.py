"""Estimates whether a person or a mail scanner cast a vote.

Following a link is no vote; only the button is. Some scanners press buttons, too: immediately, soon
after delivery, and on every link of a digest or every button of a page, with opposite votes. People
sometimes do one of these, so only several papers with opposite votes are enough on their own, and
several changed votes. People also vote on ten papers of a page in half a minute, so the number of
votes is no sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

BELIEVED: Final = 0.5
"""Votes with less trust are not used."""

MANY_LINKS: Final = 8
MOST_LINKS: Final = 20


def trust(evidence: Mapping[str, Any]) -> float:
    """Return the trust in a vote, in [0, 1]; missing evidence does not lower it.

    Args:
        evidence: `on_page_s` seconds from page to button, on one page since its first button,
            None without a page; `since_sent_s`
            seconds since the digest was sent, None before; `links_opened` different links of the
            digest in the minute before; `papers_contradicted` papers with opposite votes among
            them; `votes_changed` how often another button of the same paper was pressed in the ten
            minutes before, at most twice for a paper, less one for every six papers with votes;
            `agent`; `same_origin` and `user_gesture` from the browser (W3C Fetch Metadata,
            Sec-Fetch-Site and Sec-Fetch-User).
    """
    doubts = 0
    on_page_s = evidence.get("on_page_s", 60)
    if on_page_s is None:
        doubts += 30
    elif on_page_s < 2:
        doubts += 40 if on_page_s < 1 else 10
    since_sent_s = evidence.get("since_sent_s")
    if since_sent_s is not None and since_sent_s < 60:
        doubts += 40 if since_sent_s < 10 else 20
    if evidence.get("links_opened", 0) >= MANY_LINKS:
        doubts += 50 if evidence["links_opened"] >= MOST_LINKS else 20
    doubts += (0, 10, 40, 60)[min(_contradictions(evidence), 3)]
    if evidence.get("same_origin") and not evidence.get("user_gesture"):
        # A script pressed the button: a browser that sends one header sends both for a person.
        doubts += 40
    if evidence.get("agent", "browser") != "browser":
        doubts += 10
    return max(0, 100 - doubts) / 100


def is_burst(evidence: Mapping[str, Any]) -> bool:
    """Return whether the votes shortly before are suspect, too, as those of one machine."""
    n_opened: int = evidence.get("links_opened", 0)
    return n_opened >= MANY_LINKS or _contradictions(evidence) > 1


def _contradictions(evidence: Mapping[str, Any]) -> int:
    return max(int(evidence.get(name, 0)) for name in ("papers_contradicted", "votes_changed"))
