"""Classifies returned mail: delivery reports, complaints, automatic replies and others.

Reports are read by their fields (RFC 3464 and RFC 6533 for deliveries, RFC 5965 for complaints).
Reports in free text are recognised by flufl.bounce, Mailman's library, or by the words of
`refusals`, which also tells whom a failure is about: never the reader if it is about the sender.

This module does not check whether a message is about our mail: it returns the tokens that it finds,
and the caller verifies them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, message_from_string
from email.errors import MessageError, MissingHeaderBodySeparatorDefect
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr
from enum import StrEnum
from html import unescape
from urllib.parse import unquote

from flufl.bounce import all_failures

from triage.delivery.refusals import ADDRESS, Blame, Whom
from triage.delivery.refusals import classify as classify_refusal
from triage.domain.vote_texts import VOTE_WORDS


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
    VOTE = "vote"
    IGNORED_VOTE = "ignored_vote"
    """A vote that does not count: its sender is not proved to be the subscriber, or it is late."""
    UNKNOWN = "unknown"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class ClassifiedMail:
    """A classified message; no token in it is verified.

    Attributes:
        kind: any but `UNSUBSCRIBE`, the votes and `FORGED`, which need verified tokens.
        status: a code like 5.1.1; "" if there is none.
        addressed: possible tokens in the recipient addresses of the message.
        quoted: possible tokens in the mail that it reports on.
        links: possible tokens of unsubscribe links, in its subject.
        quoted_links: possible tokens of unsubscribe links, in the mail that it complains about.
        votes: possible tokens of votes, in the address that it was written to, or in its subject.
    """

    kind: Kind
    status: str = ""
    addressed: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    quoted_links: tuple[str, ...] = ()
    votes: tuple[str, ...] = ()


_RECIPIENT_HEADERS = "Delivered-To X-Original-To Envelope-To X-Envelope-To X-Rcpt-To To Cc".split()
_TOKEN = re.compile(r"\+([bu][a-z0-9]{30,60})@", re.IGNORECASE)
_LINK_TOKEN = re.compile(r"v1\.[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
# To alone, which DKIM signs: a server may write any address into the others.
_VOTE_ADDRESS = re.compile(r"\+(v[a-z0-9]{30,60})@", re.IGNORECASE)
# Anywhere, because some mail programs leave a subject percent-encoded.
_VOTE_IN_SUBJECT = re.compile(r"(?=(v[a-z2-7]{42}))", re.IGNORECASE)
_VOTE_SUBJECT = re.compile(rf"\b({'|'.join(VOTE_WORDS.values())}):.*", re.IGNORECASE)
_COMPLAINTS = {"abuse", "fraud", "opt-out", "opt-out-list", "complaint", "miscategorized"}
# Enough for any report; the rest of longer text is not searched. Free text stands at the start.
_LONGEST = 1_000_000
_LONGEST_WORDED = 64_000
_LONGEST_LINE = 998
_LONGEST_FIELD = 2000

_STATUS = re.compile(r"(?<![\d.])([45])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_REPLY = re.compile(r"(?<![\d.])([45]\d\d)(?![\d.]*\d)")
# Codes that give no reason, so that a later one counts.
_VAGUE = {"0.0", "1.0", "5.0"}
# The subjects "media" and "security" of RFC 3463: about the message and its sender.
_ABOUT_US = ("6.", "7.")
_COMMENT = re.compile(r"\([^()]*\)")
_MARKUP = re.compile(r"<(style|script)\b[^<]*</\1>|<[a-z/!][^@<>]*>", re.IGNORECASE)
_BLANK_LINE = re.compile(r"\n\s*\n")
_DEEPEST = 20
_HEADERS_ONLY = {"text/rfc822-headers", "text/rfc822", "text/global-headers"}
_FIELDS = ("delivery-status", "feedback-report", "disposition-notification")
# Below such a line is our own mail; the words of its papers say nothing about the failure.
_COPY = re.compile(
    r"""^[-=_>\ \t]*(below\ (this\ line|is\ a\ copy)|this\ is\ a\ copy|copy\ of\ (the|your)\ message
    |(original|returned)\ message|(the\ )?(header|body)s?\ of|message\ headers?\ follow
    |urspr[uü]ngliche\ nachricht|message\ (d['’]origine|original)|mensaje\ original
    |исходное\ (письмо|сообщение)|原始?邮件|元のメッセージ|-{3,}[ ]
    |return-path:|received:|mime-version:)""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_RETURN_PATH = re.compile(r"^[> \t]*return-path:.*$", re.IGNORECASE | re.MULTILINE)
_DELAYED = re.compile(
    r"""(not|n't)\ (yet\ )?been\ delivered\ yet|not\ yet\ been\ delivered|(is|been|was)\ delayed
    |will\ (be\ retried|keep\ trying|continue)|still\ (trying|being\ retried)|do\ not\ resend
    |noch\ nicht\ zugestellt|verz[oö]gert|pas\ encore\ [ée]t[ée]
    |retard[ée]|retrasad|a[uú]n\ no\ se\ ha
    |ещ[её]\ не\ (было\ )?доставл|задерж|延迟|稍后.{0,6}重|遅延""",
    re.IGNORECASE | re.VERBOSE,
)
# Microsoft's JMRP adds this header to the mail that a reader marks as junk.
_JUNKED = "X-HmXmrOriginalRecipient"
_COMPLAINT_SUBJECT = re.compile(
    r"\W*(complaint about message from|email (feedback|abuse) report|client tos notification"
    r"|(spam|abuse) (complaint|report)\b)",
    re.IGNORECASE,
)
_DAEMON = re.compile(
    r"(mail(er)?[-_. ]?daemon|mdaemon|post(master|office)|mail[-_.]?delivery.*)$", re.IGNORECASE
)
_AUTO_HEADERS = (
    "X-Autoreply X-Auto-Reply X-Autorespond X-Autoresponder X-AutoReply-From X-Mail-Autoreply "
    "X-Challenge"
).split()
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
    subject = _subject(message)
    links = tuple(_LINK_TOKEN.findall(subject))
    to = ",".join(map(str, message.get_all("To", [])))
    votes = tuple(dict.fromkeys(_VOTE_ADDRESS.findall(to) + _VOTE_IN_SUBJECT.findall(subject)))
    parts = list(_parts(message))
    complaint = _feedback(message, parts)
    if complaint is not None:
        return _complaint(complaint, addressed, parts)
    returned = [*_of_originals(parts, "Return-Path")]
    from_daemon = _is_from_daemon(message)
    if from_daemon and not addressed and not returned:
        returned = [t for line in _RETURN_PATH.findall(_text(parts)) for t in _TOKEN.findall(line)]
    to_bounces = any(token[:1] in "bB" for token in addressed)
    kind, status = (
        _delivery_status(parts)
        or (from_daemon and (to_bounces or returned) and _free_text(raw, parts))
        or (_is_automatic(message, addressed, is_vote=bool(votes)) and (Kind.AUTO_REPLY, ""))
        or (to_bounces and not from_daemon and _detect(raw, parts))
        or (Kind.UNKNOWN, "")
    )
    return ClassifiedMail(kind, status, addressed, tuple(returned), links, votes=votes)


def _complaint(kind: Kind, addressed: tuple[str, ...], parts: list[Message]) -> ClassifiedMail:
    """Return a complaint with the tokens of the mail that it quotes."""
    quoted = _of_originals(parts, "Original-Mail-From", "Return-Path", "List-Unsubscribe")
    values = (str(value) for part in parts for value in part.get_all("List-Unsubscribe", []))
    quoted_links = tuple(token for value in values for token in _LINK_TOKEN.findall(value))
    return ClassifiedMail(kind, "", addressed, tuple(quoted), (), quoted_links)


# -- reports ---------------------------------------------------------------------------------------


def _feedback(message: Message, parts: list[Message]) -> Kind | None:
    """Read a complaint (RFC 5965); None if it is none.

    Older ones, like those of Microsoft's JMRP, are only the mail that they complain about.
    """
    subtypes = [part.get_content_subtype() for part in parts]
    if "feedback-report" in subtypes:
        blocks = _blocks(parts[subtypes.index("feedback-report")])
        says = [_word(block["Feedback-Type"]) for block in blocks if block["Feedback-Type"]]
        return Kind.COMPLAINT if says and says[0] in _COMPLAINTS else Kind.UNKNOWN
    if any(subtype.endswith("delivery-status") for subtype in subtypes):
        return None
    named = _COMPLAINT_SUBJECT.match(_subject(message)) and any(
        _of_originals(parts, "Return-Path", "List-Unsubscribe")
    )
    return Kind.COMPLAINT if named or any(_JUNKED in part for part in parts[1:]) else None


def _delivery_status(parts: list[Message]) -> tuple[Kind, str] | None:
    """Read a report about one or more recipients (RFC 3464); the worst result counts."""
    found = []
    for part in parts:
        if not part.get_content_subtype().endswith("delivery-status"):
            continue
        for block in _blocks(part):
            action, status = _word(block["Action"]), str(block["Status"] or "").strip()
            if action == "failed":
                found.append(_meaning(status, _decoded(block["Diagnostic-Code"]) or _said(parts)))
            elif action:
                found.append((Kind.NOTICE, status[:20]))
    order = [Kind.HARD, Kind.SOFT, Kind.POLICY, Kind.NOTICE]
    return min(found, key=lambda each: order.index(each[0]), default=None)


def _blocks(part: Message) -> list[Message]:
    text = _content(part).decode("utf-8", "replace").replace("\r\n", "\n")
    return [message_from_string(block) for block in _BLANK_LINE.split(text.strip())]


def _word(field: object) -> str:
    """Return the first word of a field without its comments, in lower case; "" if it is missing."""
    text, n_comments = str(field or "")[:_LONGEST_FIELD], 1
    while n_comments:  # comments may lie in comments
        text, n_comments = _COMMENT.subn(" ", text)
    words = text.split()
    return words[0].strip(";,.").lower() if words else ""


# -- free text -------------------------------------------------------------------------------------


def _is_from_daemon(message: Message) -> bool:
    """Return whether the sender looks like a mail server."""
    local_part = parseaddr(str(message["From"] or ""))[1].partition("@")[0]
    return bool(_DAEMON.match(local_part)) or "X-Failed-Recipients" in message


def _free_text(raw: bytes, parts: list[Message]) -> tuple[Kind, str] | None:
    """Read a report of a mail server in free text; None if it names no failure."""
    found = _detect(raw, parts)
    if found is not None:
        return found
    said = _said(parts)
    if _DELAYED.search(said):
        return Kind.NOTICE, ""
    is_permanent = any(code[0] == "5" for code in _STATUS.findall(said) + _REPLY.findall(said))
    blame = _blame("", said)
    is_named = (blame.whom, blame.kind) != (Whom.MESSAGE, "unknown")
    return _meaning("", said) if is_permanent or is_named else None


def _detect(raw: bytes, parts: list[Message]) -> tuple[Kind, str] | None:
    """Read a report that flufl.bounce knows."""
    # The time of the detectors grows with the square of the line length.
    lines = (line[:_LONGEST_LINE] for line in raw[:_LONGEST_WORDED].split(b"\n"))
    try:
        temporary, permanent = all_failures(message_from_bytes(b"\n".join(lines)))
    except Exception:  # a detector that fails has detected nothing
        return None
    if permanent:
        return _meaning("", _said(parts))
    return (Kind.NOTICE, "") if temporary else None


def _meaning(status: str, text: str) -> tuple[Kind, str]:
    """Return the kind of a failure and its code, from the code and the text of the server."""
    code = _code(status, text)
    blame = _blame(status, text)
    if blame.whom is Whom.MAILBOX:
        is_hard = blame.kind == "gone" and not blame.is_temporary
        return Kind.HARD if is_hard else Kind.SOFT, code
    is_unknown = blame.kind == "unknown" and blame.whom is Whom.MESSAGE
    return Kind.SOFT if is_unknown and code[2:4] not in _ABOUT_US else Kind.POLICY, code


def _code(status: str, text: str) -> str:
    """Return the most telling code of a failure, like 5.1.1; "" if there is none."""
    codes = [".".join(code) for code in _STATUS.findall(f"{status} {text}")]
    about_us = [code for code in codes if code[2:4] in _ABOUT_US]
    telling = [code for code in codes if code[2:] not in _VAGUE]
    return next(iter(about_us or telling or codes), "")


def _blame(status: str, text: str) -> Blame:
    reply = _REPLY.search(ADDRESS.sub("", text))
    code = int(reply[1]) if reply else 0
    # In a report the session is over: the mailbox was not reached.
    return classify_refusal("report", 450 if code == 421 else code, _code(status, text), text)


def _is_automatic(message: Message, addressed: tuple[str, ...], *, is_vote: bool) -> bool:
    """Return whether a program wrote it (RFC 3834, and older headers for the same).

    Mail programs may mark a request to unsubscribe as generated, so this is no such sign. Nobody
    votes through a mailing list. The title of a paper, in the subject of a vote, may say anything.
    """
    submitted = str(message["Auto-Submitted"] or "no").strip().lower()
    if submitted.startswith("auto-replied") or any(name in message for name in _AUTO_HEADERS):
        return True
    subject = _subject(message)
    if _AUTO_SUBJECT.search(_VOTE_SUBJECT.sub("", unquote(subject)) if is_vote else subject):
        return True
    if any(token[:1] in "uU" for token in addressed):
        return False
    precedence = str(message["Precedence"] or "").strip().lower()
    is_empty = str(message["Return-Path"] or "").strip() == "<>"
    if is_vote and (is_empty or precedence == "list" or "List-Id" in message):
        return True
    return not submitted.startswith("no") or precedence in {"auto_reply", "bulk", "junk"}


# -- headers and texts -----------------------------------------------------------------------------


def _tokens(fields: Message, *names: str) -> Iterator[str]:
    for name in names:
        for value in fields.get_all(name, []):
            yield from _TOKEN.findall(str(value))


def _of_originals(parts: list[Message], *names: str) -> Iterator[str]:
    """Yield possible tokens in the headers of mail that is inside a message."""
    for part in parts[1:]:
        if part.get_content_subtype() == "feedback-report":
            for block in _blocks(part):
                yield from _tokens(block, *names)
        else:
            yield from _tokens(part, *names)


def _subject(message: Message) -> str:
    return _decoded(message["Subject"])


def _decoded(field: object) -> str:
    """Return a header field as text, on one line; "" if it is missing."""
    text = str(field or "")[:_LONGEST_FIELD]
    with suppress(LookupError, ValueError, MessageError):
        text = str(make_header(decode_header(text)))
    return " ".join(text.split())


def _said(parts: list[Message]) -> str:
    """Return what a report says in words, without the copy of our mail below them."""
    return _COPY.split(_text(parts), maxsplit=1)[0][:_LONGEST_FIELD]


def _text(parts: list[Message]) -> str:
    """Return the first text part of a message, without markup; "" if there is none."""
    for part in parts:
        if part.get_content_maintype() == "text" and part.get_content_type() not in _HEADERS_ONLY:
            content = _content(part)[:_LONGEST_WORDED]
            try:
                text = content.decode(part.get_content_charset() or "utf-8", "replace")
            except LookupError:
                text = content.decode("utf-8", "replace")
            is_html = part.get_content_subtype() == "html"
            return unescape(_MARKUP.sub(" ", text)) if is_html else text.replace("\r\n", "\n")
    return ""


# -- parts -----------------------------------------------------------------------------------------


def _parts(part: Message, depth: int = 0) -> Iterator[Message]:
    """Yield a message and all parts of it, also those of mail that it returns.

    The email package does not decode parts of the type `message`, since MIME allows no encoding
    there (RFC 2046, 5.2.1); servers use one all the same. It does not read headers in `text` parts.
    """
    yield part
    if depth > _DEEPEST or part.get_content_subtype().endswith(_FIELDS):
        return
    is_mail = part.get_content_maintype() == "message"
    payload = part.get_payload()
    if part.get_content_type() in _HEADERS_ONLY or (is_mail and _coding(part)):
        yield from _parts(message_from_bytes(_content(part).lstrip()), depth + 1)
    elif isinstance(payload, list):
        for each in payload:
            if isinstance(each, Message):
                yield from _parts(each, depth + 1)


def _coding(part: Message) -> str:
    """Return the encoding of a part; "" if it is none."""
    coding = _word(part["Content-Transfer-Encoding"])
    return coding if coding in {"base64", "quoted-printable", "x-uuencode", "uuencode"} else ""


def _content(part: Message) -> bytes:
    """Return the content of a part, decoded; what is damaged gives what can be read."""
    payload = part.get_payload()
    if isinstance(payload, list):
        payload = "\n".join(_written(each) for each in payload if isinstance(each, Message))
    leaf = Message()
    leaf["Content-Transfer-Encoding"] = _coding(part) or "8bit"
    leaf.set_payload(payload)
    content = leaf.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _written(message: Message) -> str:
    """Return a message as it was written; of a multipart only the parts.

    `as_bytes` takes minutes for a header of many words. An encoded line may end within a header,
    which the email package takes for the end of them all.
    """
    payload = message.get_payload()
    if isinstance(payload, list):
        payload = "\n".join(_written(each) for each in payload if isinstance(each, Message))
    is_cut = any(isinstance(each, MissingHeaderBodySeparatorDefect) for each in message.defects)
    headers = "".join(f"{name}: {value}\n" for name, value in message.raw_items())
    return f"{headers}{'' if is_cut else chr(10)}{payload}"
