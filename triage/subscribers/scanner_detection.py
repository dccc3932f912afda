"""How far a vote that came by a mail's link is believed to be a person's.

What only follows links never votes, for nothing but the button does. Some scanners press buttons,
too: at once, soon after delivery, and on every link of a digest, opposite ones included. People do
one of these now and then, so that no sign but the last tells on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

BELIEVED: Final = 0.5
"""A vote that is trusted less teaches nothing."""

MANY_LINKS: Final = 8
MOST_LINKS: Final = 20


def trust(evidence: Mapping[str, Any]) -> float:
    """Return how far a vote is believed, in [0, 1]; what is not known of it is no doubt.

    Args:
        evidence: `on_page_s` seconds between the page and the button, None without a page;
            `since_sent_s` seconds since the digest was sent, None before; `links_opened` of this
            digest in the minute before, each once; `papers_contradicted`, those of which opposite
            votes were among them; `agent`; `same_origin` and `user_gesture` as the browser tells
            (Fetch Metadata, W3C, Sec-Fetch-Site and Sec-Fetch-User).
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
    doubts += (0, 10, 40, 60)[min(evidence.get("papers_contradicted", 0), 3)]
    if evidence.get("same_origin") and not evidence.get("user_gesture"):
        # A script's press: a browser that tells the one tells the other of a person's.
        doubts += 40
    if evidence.get("agent", "browser") != "browser":
        doubts += 10
    return max(0, 100 - doubts) / 100


def is_burst(evidence: Mapping[str, Any]) -> bool:
    """Tell whether so many links were opened that votes of the minute before are doubtful, too."""
    n_opened: int = evidence.get("links_opened", 0)
    n_contradicted: int = evidence.get("papers_contradicted", 0)
    return n_opened >= MANY_LINKS or n_contradicted > 1
