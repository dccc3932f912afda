"""What the votes are called, the same in mails and on pages."""

from __future__ import annotations

from triage.domain.records import EventKind

VOTE_WORDS = {
    EventKind.VOTE_UP: "Like",
    EventKind.SAVE: "Save",
    EventKind.VOTE_DOWN: "Not for me",
    EventKind.LESS_LIKE_THIS: "Less like this",
}
