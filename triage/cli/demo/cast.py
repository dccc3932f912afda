"""Who the demo's subscribers are: what they told us, and what they really like.

A subscriber is known to the program by `interests` and `likes` alone; `taste` only decides how
they vote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from triage.domain.records import Paper


@dataclass(frozen=True, slots=True)
class Character:
    """One subscriber of the demo. `likes` are arXiv ids; `taste` matches what they vote up."""

    email: str
    about: str
    interests: str
    likes: tuple[str, ...]
    taste: re.Pattern[str]

    @property
    def name(self) -> str:
        return self.email.partition("@")[0]

    def likes_it(self, paper: Paper) -> bool:
        return self.taste.search(paper.text) is not None


def _taste(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


CAST = (
    Character(
        email="ada@example.org",
        about="wrote one broad sentence; really likes fast and small models",
        interests="Large language models and how to make them reason",
        likes=(),
        taste=_taste(
            r"speculative|kv[- ]cache|quantiz|prun(e|ing)|token reduction|compression"
            r"|inference (cost|speed|effic)|efficient inference|latency|throughput"
            r"|sparse attention|mixture[- ]of[- ]exp"
        ),
    ),
    Character(
        email="ben@example.org",
        about="gave three papers on 3D scenes",
        interests="",
        likes=("2506.19291", "2506.19415", "2506.19844"),
        taste=_taste(
            r"gaussian splat|\bnerf|radiance field|novel[- ]view|3d reconstruction|3d scene"
            r"|point cloud|\bslam\b|depth estimation"
        ),
    ),
    Character(
        email="chen@example.org",
        about="wrote of two unrelated interests",
        interests="Medical image segmentation; teaching robots to manipulate objects",
        likes=(),
        taste=_taste(
            r"(mri|ct|ultrasound|medical|clinical|patholog|tumou?r|x-ray|radiolog)[^.]*(segment|image)"
            r"|manipulation|dexterous|grasp|robot learning|imitation learning"
        ),
    ),
)
