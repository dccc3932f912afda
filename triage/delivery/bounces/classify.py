"""Classifies returned mail: delivery reports, complaints, automatic replies and others.

Reports are read by their fields (RFC 3464 for deliveries, RFC 5965 for complaints). Reports in free
text are recognised by flufl.bounce, Mailman's library. Codes with dots are those of RFC 3463.

This module does not check whether a message is about our mail: it returns the tokens that it finds,
and the caller verifies them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr
from enum import StrEnum

from flufl.bounce import all_failures


class Kind(StrEnum):
    """The kind of a message. Only `HARD`, `SOFT` and `COMPLAINT` count against an address."""

    HARD = "hard"
    """The mailbox does not exist."""
    SOFT = "soft"
    """The mailbox cannot be reached, or accepts nothing now."""
    POLICY = "policy"
    """The receiver rejects us or our message: this says nothing about the mailbox."""
    NOTICE = "notice"
    """A report that is no failure: delayed, delivered, forwarded."""
    COMPLAINT = "complaint"
    AUTO_REPLY = "auto_reply"
    UNSUBSCRIBE = "unsubscribe"
    UNKNOWN = "unknown"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class ClassifiedMail:
    """A classified message; no token in it is verified.

    Attributes:
        kind: any but `UNSUBSCRIBE` and `FORGED`, which need verified tokens.
        status: a code like 5.1.1; "" if there is none.
        addressed: possible tokens in the recipient addresses of the message.
        quoted: possible tokens in the mail that it reports on.
        links: possible tokens of unsubscribe links, in its subject.
        quoted_links: possible tokens of unsubscribe links, in the mail that it complains about.
    """

    kind: Kind
    status: str = ""
    addressed: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    quoted_links: tuple[str, ...] = ()


_RECIPIENT_HEADERS = (
    "Delivered-To",
    "X-Original-To",
    "Envelope-To",
    "X-Envelope-To",
    "X-Rcpt-To",
    "To",
    "Cc",
)
_TOKEN = re.compile(r"\+([bu][a-z0-9]{30,60})@", re.IGNORECASE)
_LINK_TOKEN = re.compile(r"v1\.[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_COMPLAINTS = {"abuse", "fraud", "opt-out", "opt-out-list", "complaint", "miscategorized"}
# Enough for any report; the rest of longer text is not searched. Free text stands at the start.
_LONGEST = 1_000_000
_LONGEST_WORDED = 64_000
_LONGEST_LINE = 998
_LONGEST_FIELD = 2000

_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_REPLY = re.compile(r"\b([45])\d\d\b(?!\.)")
_GONE = {(1, 1), (1, 10), (2, 1)}
_VAGUE = {(1, 0), (5, 0)}
# The subjects "media" and "security" of RFC 3463: about the message and its sender.
_ABOUT_US = {6, 7}
# A bad sender, or a message that is too large: this would fail for any recipient.
_OURS = {(1, 7), (1, 8), (2, 3), (3, 4)}
_SAYS_GONE = re.compile(
    r"""user\ unknown|unknown\ (user|recipient|address|mailbox|account|local)
    |no\ such\ (user|mailbox|recipient|address|account|person|local)|no\ mailbox\ (here|by)
    |(user|mailbox|recipient|address|account)\ (was\ )?not\ found
    |does\ ?(n[o'’]t|n'?t)\ exist|doesn'?t\ have\ an?\ \S+\ account
    |invalid\ (recipient|mailbox|user)|not\ a\ valid\ (mailbox|user|recipient)
    |(account|mailbox|user|recipient)\ (is|has\ been)\ (disabled|closed|deleted|deactivated)
    |(account|mailbox|user)\ is\ inactive
    |no\ longer\ (active|valid|exists|in\ use|works)|unroute?able\ address|addressee\ unknown""",
    re.IGNORECASE | re.VERBOSE,
)
_SAYS_BLOCKED = re.compile(
    r"""spam|\bblock(ed|ing|list)|black\ ?list|\b(dns|r)bl\b|reputation|polic(y|ies)|unsolicited
    |\bdenied|prohibited|not\ (authori[sz]ed|permitted|allowed|accepted\ from)|banned|virus|malware
    |\b(spf|dkim|dmarc|ptr)\b|rate\ limit|content\ (rejected|filter)|\bjunk|\bbulk|relay""",
    re.IGNORECASE | re.VERBOSE,
)
# Below such a line is our own mail; the words of its papers say nothing about the failure.
_COPY = re.compile(
    r"^[-=_> \t]*(below this line|this is a copy|copy of (the|your) message|(original|returned)"
    r" message|(the )?(header|body)s? of|message headers? follow|-{3,} )",
    re.IGNORECASE | re.MULTILINE,
)
_DAEMON = re.compile(
    r"(mail(er)?[-_. ]?daemon|mdaemon|post(master|office)|mail[-_.]?delivery.*)$", re.IGNORECASE
)
_AUTO_HEADERS = (
    "X-Autoreply",
    "X-Auto-Reply",
    "X-Autorespond",
    "X-Autoresponder",
    "X-AutoReply-From",
    "X-Mail-Autoreply",
    "X-Challenge",
)
_AUTO_SUBJECT = re.compile(
    r"""^\W*(auto(matic|mated)?[-\s:]*(repl(y|ies)|response|respon(d|se)|antwort)|autoreply
    |automatische?s?\ (antwort|beantwoording)|r[ée]ponse\ automatique|respuesta\ autom[áa]tica
    |risposta\ automatica|abwesenheit|out\ of\ (the\ )?office|(i'?m\ )?on\ (vacation|leave|holiday)
    |vacation|away\ from|absence|自動応答|自动回复|自動回覆|автоответ)
    |requires?\ (verification|confirmation)|confirm\ your\ (message|e-?mail\ to)
    |sender\ verification
    |please\ confirm\ (your|that\ you)|verify\#""",
    re.IGNORECASE | re.VERBOSE,
)


def classify(raw: bytes) -> ClassifiedMail:
    """Classify a message as received; any bytes are accepted, and give `UNKNOWN` at worst."""
    message = message_from_bytes(raw[:_LONGEST])
    addressed = tuple(_tokens(message, *_RECIPIENT_HEADERS))
    links = tuple(_LINK_TOKEN.findall(_subject(message)))
    parts = list(message.walk())
    report = next((p for p in parts if p.get_content_type() == "message/feedback-report"), None)
    if report is not None:
        return _feedback(parts, report, addressed)
    kind, status = (
        _delivery_status(parts)
        or _free_text(raw, message, addressed, by_daemon=True)
        or (_is_automatic(message, addressed) and (Kind.AUTO_REPLY, ""))
        or _free_text(raw, message, addressed, by_daemon=False)
        or (Kind.UNKNOWN, "")
    )
    quoted = tuple(_of_originals(message, parts, "Return-Path"))
    return ClassifiedMail(kind, status, addressed, quoted, links)


# -- reports ---------------------------------------------------------------------------------------


def _feedback(parts: list[Message], report: Message, addressed: tuple[str, ...]) -> ClassifiedMail:
    """Read a complaint (RFC 5965), which has its fields in a part of its own."""
    fields = _blocks(report)[0]
    feedback_type = str(fields["Feedback-Type"] or "").strip().lower()
    quoted = [*_tokens(fields, "Original-Mail-From")]
    quoted += _of_originals(report, parts, "Return-Path", "List-Unsubscribe")
    links = [
        token
        for part in parts
        for value in part.get_all("List-Unsubscribe", [])
        for token in _LINK_TOKEN.findall(str(value))
    ]
    kind = Kind.COMPLAINT if feedback_type in _COMPLAINTS else Kind.UNKNOWN
    return ClassifiedMail(kind, "", addressed, tuple(quoted), (), tuple(links))


def _delivery_status(parts: list[Message]) -> tuple[Kind, str] | None:
    """Read a report about one or more recipients (RFC 3464); the worst result counts."""
    found = []
    for part in parts:
        if part.get_content_type() != "message/delivery-status":
            continue
        for block in _blocks(part):
            action = str(block["Action"] or "").strip().lower()
            if action == "failed":
                diagnostic = str(block["Diagnostic-Code"] or "")[:_LONGEST_FIELD]
                found.append(_meaning(str(block["Status"] or ""), " ".join(diagnostic.split())))
            elif action:
                found.append((Kind.NOTICE, str(block["Status"] or "").strip()[:20]))
    order = [Kind.HARD, Kind.SOFT, Kind.POLICY, Kind.NOTICE]
    return min(found, key=lambda each: order.index(each[0]), default=None)


def _blocks(part: Message) -> list[Message]:
    """Return the groups of fields in a part; a damaged part gives one empty group."""
    payload = part.get_payload()
    if isinstance(payload, list):
        blocks = [block for block in payload if isinstance(block, Message)]
        return blocks or [Message()]
    return [message_from_bytes(str(payload).encode("utf-8", "replace"))]


# -- free text -------------------------------------------------------------------------------------


def _free_text(
    raw: bytes, message: Message, addressed: tuple[str, ...], *, by_daemon: bool
) -> tuple[Kind, str] | None:
    """Read a report in free text; only mail to a bounce address can be one.

    Args:
        by_daemon: read only mail whose sender looks like a mail server.
    """
    if not any(token[:1] in "bB" for token in addressed):
        return None
    sender = parseaddr(str(message["From"] or ""))
    from_daemon = _DAEMON.match(sender[1].partition("@")[0]) or "X-Failed-Recipients" in message
    if by_daemon and not from_daemon:
        return None
    # The time of the detectors grows with the square of the line length.
    lines = (line[:_LONGEST_LINE] for line in raw[:_LONGEST_WORDED].split(b"\n"))
    short = message_from_bytes(b"\n".join(lines))
    try:
        temporary, permanent = all_failures(short)
    except Exception:  # a detector that fails has detected nothing
        return None
    if permanent:
        return _meaning("", _COPY.split(_text(short), maxsplit=1)[0][:_LONGEST_FIELD])
    return (Kind.NOTICE, "") if temporary else None


def _meaning(status: str, text: str) -> tuple[Kind, str]:
    """Return the kind of a failure and its code, from the code and the text of the server."""
    codes = [tuple(map(int, code)) for code in _STATUS.findall(f"{status} {text}")]
    codes = [code for code in codes if code[0] != 2]
    codes = [code for code in codes if code[1:] != (0, 0)] or codes
    return _kind_of(codes, text), ".".join(map(str, codes[0])) if codes else ""


def _kind_of(codes: list[tuple[int, ...]], text: str) -> Kind:
    """Return the kind of a failure; the first code is the most important."""
    if any(code[1] in _ABOUT_US or code[1:] in _OURS for code in codes):
        return Kind.POLICY
    gone, blocked = bool(_SAYS_GONE.search(text)), bool(_SAYS_BLOCKED.search(text))
    if any(code[0] == 5 and code[1:] in _GONE for code in codes) and (gone or not blocked):
        return Kind.HARD
    if blocked:
        return Kind.POLICY
    return Kind.HARD if gone and _is_vague(codes, text) else Kind.SOFT


def _is_vague(codes: list[tuple[int, ...]], text: str) -> bool:
    """Return whether the codes allow a permanent failure but give no reason for it."""
    if codes:
        return codes[0][0] != 4 and (codes[0][1] == 0 or codes[0][1:] in _VAGUE)
    reply = _REPLY.search(text)
    return reply is None or reply[1] != "4"


def _is_automatic(message: Message, addressed: tuple[str, ...]) -> bool:
    """Return whether a program wrote it (RFC 3834, and older headers for the same).

    Mail programs may mark a request to unsubscribe as generated, so this is no such sign.
    """
    submitted = str(message["Auto-Submitted"] or "no").strip().lower()
    if submitted.startswith("auto-replied") or any(name in message for name in _AUTO_HEADERS):
        return True
    if _AUTO_SUBJECT.search(_subject(message)):
        return True
    if any(token[:1] in "uU" for token in addressed):
        return False
    precedence = str(message["Precedence"] or "").strip().lower()
    return not submitted.startswith("no") or precedence in {"auto_reply", "bulk", "junk"}


# -- headers and texts -----------------------------------------------------------------------------


def _tokens(fields: Message, *names: str) -> Iterator[str]:
    for name in names:
        for value in fields.get_all(name, []):
            yield from _TOKEN.findall(str(value))


def _of_originals(outer: Message, parts: list[Message], *names: str) -> Iterator[str]:
    """Yield possible tokens in the headers of mail that is inside a message."""
    for part in parts:
        if part is parts[0] or part is outer:
            continue
        yield from _tokens(part, *names)
        if part.get_content_type() == "text/rfc822-headers":
            head = part.get_payload(decode=True)
            if isinstance(head, bytes):
                yield from _tokens(message_from_bytes(head), *names)


def _subject(message: Message) -> str:
    subject = str(message["Subject"] or "")[:_LONGEST_FIELD]
    with suppress(LookupError, ValueError):
        subject = str(make_header(decode_header(subject)))
    return " ".join(subject.split())


def _text(message: Message) -> str:
    """Return the first text part of a message; "" if there is none."""
    for part in message.walk():
        if part.get_content_maintype() == "text":
            content = part.get_payload(decode=True)
            return content.decode("utf-8", "replace") if isinstance(content, bytes) else ""
    return ""
