"""A replay as a picture: one SVG file that needs nothing but itself, by day and by night.

Dots are means with their 95 % intervals, so that what overlaps is seen to overlap. Every series
has a shape as well as a colour.
"""

from __future__ import annotations

import math

from triage.digest.templates import environment
from triage.training.evaluation.replay import Replay


def draw_replay(told: Replay) -> str:
    """Draw the nDCG@10 of every contender, and how far scores are chances."""
    known = [each.ndcg for each in told.standings if not math.isnan(each.ndcg.mean)]
    highest = max((_finite(each.high, each.mean) for each in known), default=1.0)
    return (
        environment()
        .get_template("plots/replay.svg")
        .render(
            told=told,
            most=min(1.0, math.ceil(10 * max(highest, 0.01)) / 10),
            finite=_finite,
            known=lambda value: not math.isnan(value),
        )
    )


def _finite(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value
