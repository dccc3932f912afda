"""The places at which a test can kill the program, see `triage.domain.crash_points`."""

from __future__ import annotations

BEFORE_THE_DOT = (
    "resumed",
    "claiming",
    "claimed",
    "sender_given",
    "recipient_given",
    "body_begun",
    "body_written",
    "doubting",
)
"""Places of a delivery at which the receiver cannot have the message."""

IN_THE_WINDOW = ("in_doubt", "dot_written", "handed_over")
"""Places of a delivery at which only the receiver knows whether it has the message."""

DELIVERY = (*BEFORE_THE_DOT, *IN_THE_WINDOW, "settled")
"""All places of a delivery, in order."""

POINTS = (
    *("fetched", "encoded", "composed", "queued", "ranked"),
    *DELIVERY[:-1],
    "journalled",
    DELIVERY[-1],
    "drained",
)
"""All places, in the order of a run."""
