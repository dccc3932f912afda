"""The words for votes, the same in mails and on pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from triage.domain.records import EventKind


@dataclass(frozen=True, slots=True)
class VoteTexts:
    """The texts for one kind of vote; `link` is on its buttons, too."""

    link: str
    question: str
    done: str
    effect: str


VOTE_TEXTS: Mapping[EventKind, VoteTexts] = {
    EventKind.VOTE_UP: VoteTexts(
        "Like",
        "Do you like this paper?",
        "You like this paper.",
        "Papers close to this one move up, from your next digest on.",
    ),
    EventKind.SAVE: VoteTexts(
        "Save",
        "Save this paper?",
        "Saved.",
        "It counts as one of your best likes, from your next digest on.",
    ),
    EventKind.VOTE_DOWN: VoteTexts(
        "Not for me",
        "Is this paper not for you?",
        "This paper is not for you.",
        "Papers close to this one move down, from your next digest on.",
    ),
    EventKind.LESS_LIKE_THIS: VoteTexts(
        "Less like this",
        "Do you want less like this?",
        "You will see fewer papers like this.",
        "The whole direction moves down, from your next digest on.",
    ),
}

VOTE_WORDS: Mapping[EventKind, str] = {kind: texts.link for kind, texts in VOTE_TEXTS.items()}
