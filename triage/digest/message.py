"""The MIME message of a digest: built once, checked as the receiver will read it, then frozen.

Headers follow RFC 5322, RFC 2919 (List-Id), RFC 2369 and RFC 8058 (List-Unsubscribe and its
one-click POST) and RFC 3834 (Auto-Submitted). The same arguments give the same bytes.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from email import message_from_bytes, policy
from email.errors import MessageError as UnparsableError
from email.header import Header
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from quopri import encodestring
from typing import NamedTuple

from triage.domain.records import DigestLinks, OutgoingMessage, RenderedDigest, RenderedNote, Slate
from triage.errors import MessageError

HEADERS = (
    "From",
    "To",
    "Date",
    "Message-ID",
    "Subject",
    "MIME-Version",
    "Reply-To",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Auto-Submitted",
    "Precedence",
    "Feedback-ID",
)
"""Every digest has each of these exactly once."""

MAY_HAVE = "DKIM-Signature"
"""One of it, if the message was signed here."""

Sign = Callable[[bytes], bytes]
"""Puts a signature before a finished message."""

LONGEST_LINE = 998
LARGEST_MESSAGE = 150_000
_FOLD_AT = 76
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,185}")
_WRITTEN_IN = {
    "From": "[mail] from",
    "Reply-To": "[site] contact",
    "To": "the subscriber's address",
}
_UNSUBSCRIBE = re.compile(rb"List-Unsubscribe: <https?://[!-~]+>, <mailto:[!-~]+>")


class _Part(NamedTuple):
    subtype: str
    encoding: str
    body: bytes


def build_digest(
    slate: Slate,
    links: DigestLinks,
    rendered: RenderedDigest,
    *,
    sender: str,
    reply_to: str,
    site_name: str,
    date: datetime,
    sign: Sign = bytes,
) -> OutgoingMessage:
    """Build and check the message that carries a slate.

    Args:
        sender: the From address, with or without a display name; its domain names the message.
        reply_to: who reads replies.
        date: when the digest was made.

    Raises:
        MessageError: a header or part cannot be sent lawfully.
    """
    domain = parseaddr(sender)[1].partition("@")[2]
    message_id = f"<d.{slate.public_id}@{domain}>"
    recipient = slate.subscriber.email
    list_id = f"digest.{domain}"
    headers = {
        **_common(sender, recipient, date, message_id, rendered.subject, reply_to),
        "List-Id": f"{_named('List-Id', site_name)} <{list_id}>",
        "List-Unsubscribe": f"<{links.unsubscribe}>, <{links.unsubscribe_mailto}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",
        "Precedence": "bulk",
        "Feedback-ID": f"{slate.on:%Y%m%d}:digest:triage:{domain}",
    }
    parts = [_part("plain", rendered.text), _part("html", rendered.html)]
    mime = sign(_assembled(headers, parts, boundary=f"=_{slate.public_id}"))
    verify(mime)
    return OutgoingMessage(message_id, recipient, mime)


def build_note(
    public_id: str,
    recipient: str,
    rendered: RenderedNote,
    *,
    sender: str,
    reply_to: str,
    date: datetime,
    sign: Sign = bytes,
) -> OutgoingMessage:
    """Build a mail that is no digest: plain text, of no list, from an address of its own.

    Args:
        public_id: names the message.

    Raises:
        MessageError: a header cannot be sent lawfully.
    """
    message_id = f"<n.{public_id}@{parseaddr(sender)[1].partition('@')[2]}>"
    headers = {
        **_common(sender, recipient, date, message_id, rendered.subject, reply_to),
        "Auto-Submitted": "auto-generated",
    }
    part = _part("plain", rendered.text)
    head = _head(headers, part)
    mime = sign(head + b"\r\n" + part.body + b"\r\n")
    return OutgoingMessage(message_id, recipient, mime)


def _common(
    sender: str, recipient: str, date: datetime, message_id: str, subject: str, reply_to: str
) -> dict[str, str]:
    return {
        "From": _with_name("From", sender),
        "To": _address("To", recipient),
        "Date": format_datetime(date),
        "Message-ID": message_id,
        "Subject": _folded("Subject", subject),
        "MIME-Version": "1.0",
        "Reply-To": _with_name("Reply-To", reply_to),
    }


def verify(mime: bytes) -> None:
    """Read a finished digest as a receiver would and refuse it if anything is amiss.

    Raises:
        MessageError: every breach by name.
    """
    breaches = list(_breaches(mime))
    if breaches:
        raise MessageError("the message may not be sent: " + "; ".join(breaches))


def part_of(mime: bytes, subtype: str) -> str:
    """Return the text of the `plain` or `html` part of a message."""
    message = message_from_bytes(mime, policy=policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - the policy says so
    part = message.get_body((subtype,))
    return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


def _breaches(mime: bytes) -> list[str]:
    found = []
    head, _, _ = mime.partition(b"\r\n\r\n")
    if not mime.count(b"\r\n") == mime.count(b"\r") == mime.count(b"\n") or b"\0" in mime:
        found.append("a bare line break or NUL")
    if max(map(len, mime.split(b"\r\n"))) > LONGEST_LINE:
        found.append(f"a line of more than {LONGEST_LINE} bytes")
    if not mime.isascii():
        found.append("bytes that are not ASCII")
    if len(mime) > LARGEST_MESSAGE:
        found.append(f"more than {LARGEST_MESSAGE} bytes")
    names = [
        line.partition(b":")[0].decode("ascii", "replace").lower()
        for line in head.split(b"\r\n")
        if line[:1] not in (b" ", b"\t")
    ]
    allowed = [name.lower() for name in (*HEADERS, "Content-Type")]
    found += [
        f"header {name} {names.count(name)} times" for name in allowed if names.count(name) != 1
    ]
    signature = MAY_HAVE.lower()
    if names.count(signature) > 1:
        found.append(f"header {signature} {names.count(signature)} times")
    allowed.append(signature)
    found += [f"unknown header {name[:40]}" for name in names if name not in allowed]
    if not any(_UNSUBSCRIBE.fullmatch(line) for line in head.split(b"\r\n")):
        found.append("List-Unsubscribe is folded or not a web and a mail address")
    try:
        message = message_from_bytes(mime, policy=policy.compat32.clone(raise_on_defect=True))
        kinds = [part.get_content_type() for part in message.walk()]
    except UnparsableError as error:
        return [*found, f"not MIME: {type(error).__name__}"]
    if kinds != ["multipart/alternative", "text/plain", "text/html"]:
        found.append(f"parts {' '.join(kinds)[:80]}")
    return found


def _assembled(headers: dict[str, str], parts: Sequence[_Part], boundary: str) -> bytes:
    """Write the message out: headers in order, then the parts, every line ended by CRLF.

    The email package could do this, but it folds List-Unsubscribe, picks boundaries by chance, and
    in older Pythons lets line breaks through into headers.
    """
    kind = f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n'
    out = [_lines(headers) + kind.encode("ascii")]
    for part in parts:
        out += [f"--{boundary}".encode("ascii"), _head({}, part), part.body]
    out.append(f"--{boundary}--\r\n".encode("ascii"))
    return b"\r\n".join(out)


def _head(headers: dict[str, str], part: _Part) -> bytes:
    return _lines(headers) + (
        f'Content-Type: text/{part.subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {part.encoding}\r\n".encode("ascii")
    )


def _lines(headers: dict[str, str]) -> bytes:
    lines = []
    for name, value in headers.items():
        bare = value.replace("\r\n ", "")
        if any(c in bare for c in "\r\n\0") or not bare.isascii():
            raise MessageError(
                f"the header {name} holds a line break or a character that may not be"
            )
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("ascii")


def _part(subtype: str, text: str) -> _Part:
    """Encode a part in whichever way takes fewer bytes."""
    raw = "\n".join(text.splitlines()).encode() + b"\n"
    quoted = encodestring(raw).replace(b"\n", b"\r\n")
    packed = b64encode(raw.replace(b"\n", b"\r\n")).decode("ascii")
    based = "\r\n".join(packed[i : i + _FOLD_AT] for i in range(0, len(packed), _FOLD_AT))
    if len(quoted) <= len(based):
        return _Part(subtype, "quoted-printable", quoted.removesuffix(b"\r\n"))
    return _Part(subtype, "base64", based.encode("ascii"))


def _address(header: str, address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise MessageError(f"{_WRITTEN_IN[header]} is not a mail address of plain ASCII")
    return address


def _with_name(header: str, address: str) -> str:
    name, bare = parseaddr(address)
    address = _address(header, bare)
    return f"{_named(header, name)} <{address}>" if name else address


def _named(header: str, name: str) -> str:
    """Return a display name as RFC 5322 and RFC 2047 want it."""
    if _plain(name) and name.isprintable():
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _folded(header, name)


def _folded(header: str, value: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise MessageError(f"the header {header} holds a control character")
    charset = "us-ascii" if _plain(value) else "utf-8"
    return Header(value, charset, maxlinelen=_FOLD_AT, header_name=header).encode(linesep="\r\n")


def _plain(value: str) -> bool:
    """Tell whether a value can stand as it is: what looks like an encoded word would be decoded."""
    return value.isascii() and "=?" not in value
