"""Draw the result of a replay as one self-contained SVG file, for light and dark screens.

Dots are means, and lines are their 95 % intervals. Every series has its own shape and colour.
"""

from __future__ import annotations

import math

from triage.digest.templates import environment
from triage.training.evaluation.replay import Replay


def draw_replay(replay: Replay) -> str:
    """Draw the nDCG@10 of every ranker, and the calibration of those with probabilities."""
    scores = [each.ndcg for each in replay.standings if not math.isnan(each.ndcg.mean)]
    highest = max((_finite(each.high, each.mean) for each in scores), default=1.0)
    template = environment().get_template("plots/replay.svg")
    return template.render(
        replay=replay,
        most=min(1.0, math.ceil(10 * max(highest, 0.01)) / 10),
        finite=_finite,
        known=lambda value: not math.isnan(value),
    )


def _finite(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value
