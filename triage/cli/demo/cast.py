"""The three subscribers of the demo.

triage gets only their `interests` and `likes`; `taste` decides how they vote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from triage.domain.records import Paper


@dataclass(frozen=True, slots=True)
class Character:
    """One subscriber. `likes` are arXiv ids; papers that match the regex `taste` get an upvote."""

    email: str
    about: str
    interests: str
    likes: tuple[str, ...]
    taste: str

    @property
    def name(self) -> str:
        return self.email.partition("@")[0]

    def likes_it(self, paper: Paper) -> bool:
        return re.search(self.taste, paper.text, re.IGNORECASE) is not None


CAST = (
    Character(
        email="ada@example.org",
        about="names broad interests, but likes only papers on fast and small models:",
        interests="Large language models, reasoning with language models",
        likes=(),
        taste=r"speculative|kv[- ]cache|quantiz|prun(e|ing)|token reduction|compression"
        r"|inference (cost|speed|effic)|efficient inference|latency|throughput"
        r"|sparse attention|mixture[- ]of[- ]exp",
    ),
    Character(
        email="ben@example.org",
        about="names no interests, but three papers on 3D scenes that he likes",
        interests="",
        likes=("2506.19291", "2506.19415", "2506.19844"),
        taste=r"gaussian splat|\bnerf|radiance field|novel[- ]view|3d reconstruction|3d scene"
        r"|point cloud|\bslam\b|depth estimation",
    ),
    Character(
        email="chen@example.org",
        about="names two interests that have nothing in common:",
        interests="Medical image segmentation; teaching robots to manipulate objects",
        likes=(),
        taste=r"(mri|ct|ultrasound|medical|clinical|patholog|tumou?r|x-ray|radiolog)"
        r"[^.]*(segment|image)"
        r"|manipulation|dexterous|grasp|robot learning|imitation learning",
    ),
)
