"""What triage decides about each answer and report that is tested, as a table for operators.

`python -m tests.support.verdict_table` writes it into docs/operations.md; a test fails if it is
old.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.bounce_corpus_more import ALL_CASES
from tests.support.paths import DATA, ROOT
from triage.delivery.refusals import CONNECTING, Whom

PAGE = ROOT / "docs" / "operations.md"
_TABLE = re.compile(r"(?<=<!-- verdicts -->\n).*(?=<!-- end of verdicts -->)", re.DOTALL)
_LONGEST = 110


@dataclass(frozen=True)
class Conversation:
    """An answer of a server at a step, whom it is about, and what for (`refusals.Blame`)."""

    server: str
    step: str
    answer: str
    whom: str
    kind: str
    is_temporary: bool

    @property
    def effect(self) -> str:
        """What happens then, in the words of docs/operations.md."""
        if self.kind == "session" and not self.is_temporary:
            return "new session, or stops"
        if self.kind == "session" or (self.step in CONNECTING and self.is_temporary):
            return "new session"
        if self.whom == Whom.US:
            if not self.is_temporary:
                return "stops"
            return "later" if self.kind in {"greylisted", "unknown"} else "ends the drain"
        if self.whom == Whom.MESSAGE or self.kind == "busy":
            return "later" if self.is_temporary else "fails"
        if self.is_temporary:
            return "later, at last soft"
        return "hard" if self.kind == "gone" else "soft"


def conversations() -> list[Conversation]:
    """Return those of tests/data/refusals.txt."""
    lines = (DATA / "refusals.txt").read_text("utf-8").splitlines()[1:]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [Conversation(*row[:5], is_temporary=row[5] == "temporary") for row in rows]


def table() -> str:
    """Return the table in Markdown, a line for each answer and each report."""
    rows = [
        (
            each.server,
            each.step,
            f"`{_short(each.answer)}`",
            f"{each.whom}: {each.kind}",
            each.effect,
        )
        for each in conversations()
    ]
    rows += [("returned", "report", _short(case.name), "", str(case.kind)) for case in ALL_CASES]
    head = ("server", "step", "answer or report", "about", "then")
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ("---",) * len(head), *rows])


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"


def written() -> str:
    """Return docs/operations.md with the table as it should be."""
    return _TABLE.sub(lambda _: table(), PAGE.read_text("utf-8"), count=1)


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
