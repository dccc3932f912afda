"""Sorts what mail servers answer by whom it is about: us, the message, or the mailbox.

Only a mailbox's own refusal may ever count against a subscriber. What is about us (our address,
account, relay, name, rate or reputation) would meet every message, so sending stops. Codes with
dots are those of RFC 3463; where servers use them for something else, their words decide
(`refusal_words`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from triage.delivery import refusal_words as words


class Whom(StrEnum):
    """Whom a refusal is about."""

    US = "us"
    MESSAGE = "message"
    MAILBOX = "mailbox"


@dataclass(frozen=True, slots=True)
class Blame:
    """Whom a refusal is about, and what for.

    Attributes:
        kind: of us `sender`, `relay`, `login`, `name`, `rate`, `reputation`, `greylisted`,
            `session` (this connection ends, no more) or `unknown`; of the message `too_large`,
            `content`, `restricted` (the mailbox takes mail only from some) or `unknown`; of the
            mailbox `gone` (a whole point against it), `full` and `unreachable` (half a point), or
            `busy` (none).
        is_temporary: the same message may be accepted later.
    """

    whom: Whom
    kind: str
    is_temporary: bool

    @property
    def is_unreachable(self) -> bool:
        """Whether the mailbox accepts nothing, although it may exist."""
        return self.whom is Whom.MAILBOX and self.kind in {"full", "unreachable"}

    @property
    def advice(self) -> str:
        """What an operator can do about a refusal of us."""
        return _ADVICE.get(self.kind, _ADVICE["sender"])


_ADVICE = {
    "sender": "Set [mail] from to an address that this account may send from",
    "relay": "Set [mail] username, or ask its operator to relay mail from this machine",
    "login": "Correct [mail] username and TRIAGE_MAIL_PASSWORD, or ask its operator",
    "rate": "Wait until it accepts more, or set [mail] per_second",
    "session": "Ask its operator how many messages it takes in one connection",
    "name": "Set [mail] helo_name to this machine's name in DNS, and check its reverse DNS",
    "reputation": "Run `triage doctor`, or ask its operator why",
}

CONNECTING = frozenset({"greeting", "ehlo", "starttls", "auth"})
"""The steps before a message is offered: whatever is refused there is about us."""

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
# An address stands between the words that belong together, and may have words of its own.
ADDRESS = re.compile(r"[\w.+=-]{1,64}@[\w.-]+", re.ASCII)


def enhanced_code(text: str) -> str:
    """Return the first code of RFC 3463 in an answer, like 5.1.1; "" if there is none."""
    found = _ENHANCED.search(text)
    return found[0] if found else ""


_OURS = {"1.7", "1.8", "7.7", "7.8", "7.9", "7.20", "7.21", "7.22", "7.23", "7.24", "7.25"}
_OURS |= {"7.26", "7.27", "7.30", "7.32", "7.40", "7.60", "7.64", "7.508", "7.509", "7.511"}
_OURS |= {"7.515", "7.57", "7.501", "7.502", "7.503", "7.606", "7.700", "7.705", "7.750", "7.708"}
# The message is not allowed for this recipient, a group or a closed mailbox (Exchange).
_CLOSED = {"7.12", "7.120", "7.121", "7.122", "7.123", "7.124", "7.129", "7.13", "7.133", "7.134"}
_CLOSED |= {"7.2", "7.135", "7.136", "7.520"}
# Of 1.6, a mailbox that has moved, RFC 3463 says that it accepts no mail any more.
_NO_MAILBOX = {"1.1", "1.6", "1.10", "2.1"}
_AWAY = {"1.2", "1.3", "1.4", "2.0", "2.4", "4.0", "4.1", "4.2", "4.3", "4.4", "4.6", "4.7"}
# Cisco's gateways say 5.1.0 of a mailbox that they do not have, but also to whom they do not relay.
_AWAY |= {"4.300", "4.310", "4.312", "4.316", "1.0"}


def classify(step: str, code: int, enhanced: str, text: str) -> Blame:
    """Return whom a refusal is about.

    Args:
        step: `greeting`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `end` (after the
            final dot), or `report` for a delivery report (RFC 3464), which may quote any step.
        code: the three digits of the answer; 0 in a report that has none.
        enhanced: a code like 5.1.1; "" if there is none.
        text: the words of the server, all lines, with or without the codes.
    """
    text = ADDRESS.sub("", " ".join(text.split()))
    is_temporary = code // 100 == 4 if code else enhanced.startswith("4")
    if code == 421:
        return Blame(Whom.US, "session", True)
    if words.ENOUGH.search(text):
        return Blame(Whom.US, "session", is_temporary)
    detail = enhanced.partition(".")[2]
    about_us = _kind_about_us(step, detail, text)
    if step in CONNECTING:
        kind = about_us or ("login" if step == "auth" else "unknown")
        return Blame(Whom.US, kind, is_temporary)
    whom, kind = _blame(step, code, detail, text, about_us)
    if whom is Whom.US and is_temporary and not about_us and kind != "greylisted":
        # Many servers that greylist do not say so.
        kind = "unknown"
    if kind == "gone" and is_temporary:
        kind = "unreachable"
    return Blame(whom, kind, is_temporary or kind == "busy")


def _kind_about_us(step: str, detail: str, text: str) -> str:
    """Return what for a refusal blames us in its words; "" if they do not."""
    kind = next((kind for kind, words in words.ABOUT_US if words.search(text)), "")
    if kind == "rate" and detail == "2.2" and not words.SENDS.search(text):
        return ""  # "message quota exceeded" is said of a mailbox, too
    if kind == "reputation" and step == "end" and words.LINKED.search(text):
        return ""
    return kind


def _blame(step: str, code: int, detail: str, text: str, about_us: str) -> tuple[Whom, str]:
    is_gone = bool(words.GONE.search(text))
    says_gone = is_gone and code == 552 and detail != "2.2"
    storage = "" if says_gone else _storage(step, code, detail, text, about_us)
    if storage == "too_large":
        return Whom.MESSAGE, storage
    if words.GREYLISTED.search(text):
        return Whom.US, "greylisted"
    if code in {525, 530, 534, 535, 538}:
        return Whom.US, about_us or "login"
    if step == "mail":
        return Whom.US, about_us or "unknown"
    if words.BUSY.search(text):
        return Whom.MAILBOX, "busy"
    if rule := _rule(detail, text, about_us):
        return rule
    if detail in _OURS:
        return Whom.US, about_us or ("sender" if detail[:1] == "1" else "reputation")
    # If code and words agree, the rest is an address to read or a warning.
    is_certain = is_gone and detail[:2] == "1."
    if about_us and not (is_certain and about_us in {"reputation", "name", "rate"}):
        return Whom.US, about_us
    if storage:
        return Whom.MAILBOX, storage
    return _plain(step, detail, text, is_gone=is_gone)


def _storage(step: str, code: int, detail: str, text: str, about_us: str) -> str:
    """Return `full` for a mailbox without room, `too_large` for such a message, else ""."""
    if detail in {"3.4", "2.3"}:
        return "too_large"
    if detail == "2.2" or words.FULL.search(text):
        return "full"
    if about_us:
        return ""
    if words.LARGE.search(text):
        return "too_large"
    if code == 552 and detail in {"", "0.0"}:
        # RFC 5321, 4.2.3: storage, which at RCPT is that of the mailbox.
        return "full" if step == "rcpt" else "too_large"
    return ""


def _rule(detail: str, text: str, about_us: str) -> tuple[Whom, str] | None:
    """Return whom a refusal is about that names a rule of the recipient's; None if it does not."""
    rejects_recipient = bool(words.RESTRICTED.search(text))
    if detail == "4.1" and rejects_recipient:
        # Exchange Online says so of a mailbox that its directory does not have.
        return Whom.MAILBOX, "gone"
    is_policy = detail[:2] == "7." and rejects_recipient and not about_us
    is_closed = detail in _CLOSED and about_us not in {"rate", "reputation"}
    if is_closed or "RESOLVER.RST" in text or is_policy:
        return Whom.MESSAGE, "restricted"
    return None


def _plain(step: str, detail: str, text: str, *, is_gone: bool) -> tuple[Whom, str]:
    """Return whom a refusal is about that does not speak of us."""
    if detail[:2] == "7." and is_gone:
        # The code says one thing and the words another: nobody is blamed.
        return Whom.MESSAGE, "unknown"
    # At RCPT the server has seen only us; after the message it may mean its content.
    policy = (Whom.US, "reputation") if step == "rcpt" else (Whom.MESSAGE, "content")
    if detail[:2] == "7.":
        return policy
    is_spam = bool(words.SPAM.search(text))
    if is_gone or (detail in _NO_MAILBOX and step not in {"data", "end"}):
        return (Whom.MESSAGE, "content") if is_spam else (Whom.MAILBOX, "gone")
    if is_spam:
        return policy
    # Outlook.com says this of a mailbox that it does not have, but at times also of many others.
    is_away = detail == "5.0" and "mailbox unavailable" in text.lower()
    if is_away or detail in _AWAY or words.AWAY.search(text):
        return Whom.MAILBOX, "unreachable"
    return Whom.MESSAGE, "content" if detail[:2] == "6." else "unknown"


# -- many refusals at once -------------------------------------------------------------------------

FIRST = 50
MOST_OF_FIRST = FIRST // 5
MOST_IN_A_ROW = 10


@dataclass
class RefusalCount:
    """Counts what a drain was refused for good, since so many at once are hardly all right."""

    n_answered: int = 0
    n_refused: int = 0
    in_a_row: int = 0

    def add(self, *, is_refused: bool) -> bool:
        """Count an answer; return whether this many refusals are too many."""
        self.n_answered += 1
        self.n_refused += is_refused
        self.in_a_row = self.in_a_row + 1 if is_refused else 0
        too_many = self.n_answered <= FIRST and self.n_refused > MOST_OF_FIRST
        return is_refused and (too_many or self.in_a_row >= MOST_IN_A_ROW)
