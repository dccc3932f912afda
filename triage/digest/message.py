"""Build the MIME message of a digest once, and check the finished bytes.

Headers follow RFC 5322, RFC 2919 (List-Id), RFC 2369 and RFC 8058 (List-Unsubscribe and its
one-click POST) and RFC 3834 (Auto-Submitted). The same arguments give the same bytes.
"""

from __future__ import annotations

import re
from base64 import encodebytes
from collections.abc import Callable, Sequence
from datetime import datetime
from email import message_from_bytes, policy
from email.errors import MessageError as UnparsableError
from email.header import Header
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from quopri import encodestring
from typing import NamedTuple

from triage.domain.mail_addresses import to_ascii, why_unmailable
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
"""Every digest has each of these exactly once, but for the POST header: only with a web address."""

_SIGNATURE = "dkim-signature"

Sign = Callable[[bytes], bytes]
"""Returns a finished message with a DKIM signature in front."""

LONGEST_LINE = 998
LARGEST_MESSAGE = 150_000
_FOLD_AT = 76
_ORIGINS = {
    "From": "[mail] from",
    "Reply-To": "[site] contact",
    "To": "the subscriber's address",
}
_BOUNDARY = re.compile(rb'boundary="([^"]+)"')
_UNSUBSCRIBE = re.compile(rb"List-Unsubscribe: (<https?://[!-~]+>, )?<mailto:[!-~]+>")


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
    """Build and check the message of a digest.

    Args:
        sender: the From address, with or without a display name; its domain is in the Message-ID.
        date: the time at which the digest was made.

    Raises:
        MessageError: a header or part violates a standard.
    """
    domain = parseaddr(sender)[1].partition("@")[2]
    message_id = f"<d.{slate.public_id}@{domain}>"
    recipient = slate.subscriber.email
    list_id = f"digest.{domain}"
    headers = {
        **_common_headers(sender, recipient, date, message_id, rendered.subject, reply_to),
        "List-Id": f"{_display_name('List-Id', site_name)} <{list_id}>",
        **_unsubscribe_headers(links),
        "Auto-Submitted": "auto-generated",
        "Precedence": "bulk",
        "Feedback-ID": f"{slate.on:%Y%m%d}:digest:triage:{domain}",
    }
    parts = [_part("plain", rendered.text), _part("html", rendered.html)]
    mime = sign(_assemble(headers, parts, boundary=f"=_{slate.public_id}"))
    verify(mime)
    return OutgoingMessage(message_id, recipient, mime)


def _unsubscribe_headers(links: DigestLinks) -> dict[str, str]:
    """Return both headers; without web pages only the mail address, which takes no POST."""
    if not links.home:
        return {"List-Unsubscribe": f"<{links.unsubscribe_mailto}>"}
    return {
        "List-Unsubscribe": f"<{links.unsubscribe}>, <{links.unsubscribe_mailto}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


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
    """Build an account mail: plain text, without the headers of a mailing list.

    Args:
        public_id: the part of the Message-ID before the domain.

    Raises:
        MessageError: a header violates a standard.
    """
    message_id = f"<n.{public_id}@{parseaddr(sender)[1].partition('@')[2]}>"
    headers = {
        **_common_headers(sender, recipient, date, message_id, rendered.subject, reply_to),
        "Auto-Submitted": "auto-generated",
    }
    part = _part("plain", rendered.text)
    mime = sign(_head(headers, part) + b"\r\n" + part.body + b"\r\n")
    return OutgoingMessage(message_id, recipient, mime)


def _common_headers(
    sender: str, recipient: str, date: datetime, message_id: str, subject: str, reply_to: str
) -> dict[str, str]:
    return {
        "From": _mailbox("From", sender),
        "To": _address("To", recipient),
        "Date": format_datetime(date),
        "Message-ID": message_id,
        "Subject": _encode_header("Subject", subject),
        "MIME-Version": "1.0",
        "Reply-To": _mailbox("Reply-To", reply_to),
    }


def verify(mime: bytes) -> None:
    """Check the bytes of a finished digest.

    Raises:
        MessageError: there are problems; the message lists all of them.
    """
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
    # A signed message has one signature more.
    fewest = {name.lower(): 1 for name in (*HEADERS, "Content-Type")} | {_SIGNATURE: 0}
    if b"\r\nList-Unsubscribe: <http" not in head:
        del fewest["list-unsubscribe-post"]
    found += [
        f"header {name} {n} times"
        for name, at_least in fewest.items()
        if not at_least <= (n := names.count(name)) <= 1
    ]
    found += [f"unknown header {name[:40]}" for name in names if name not in fewest]
    if not any(_UNSUBSCRIBE.fullmatch(line) for line in head.split(b"\r\n")):
        found.append("List-Unsubscribe is folded, or not a web address and a mail address")
    try:
        skeleton = _without_bodies(mime, head)
        message = message_from_bytes(skeleton, policy=policy.compat32.clone(raise_on_defect=True))
        kinds = [part.get_content_type() for part in message.walk()]
        if kinds != ["multipart/alternative", "text/plain", "text/html"]:
            found.append(f"parts {' '.join(kinds)[:80]}")
    except UnparsableError as error:
        found.append(f"not MIME: {type(error).__name__}")
    if found:
        raise MessageError("the message may not be sent: " + "; ".join(found))


def _without_bodies(mime: bytes, head: bytes) -> bytes:
    """Return the headers of a message and of its parts, which take a tenth of the time to parse."""
    named = _BOUNDARY.search(head)
    if named is None:
        return mime
    parts = mime.split(b"\r\n--" + named[1])
    return (b"\r\n--" + named[1]).join(
        part if part.startswith(b"--") else b"%s\r\n\r\n" % part.partition(b"\r\n\r\n")[0]
        for part in parts
    )


def part_of(mime: bytes, subtype: str) -> str:
    """Return the text of the `plain` or `html` part of a message."""
    message = message_from_bytes(mime, policy=policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - the policy says so
    part = message.get_body((subtype,))
    return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


def _assemble(headers: dict[str, str], parts: Sequence[_Part], boundary: str) -> bytes:
    """Return the bytes of a message: headers in their order, then the parts, with CRLF line ends.

    The `email` package is not used here: it folds List-Unsubscribe, its boundaries are random, and
    older versions allow line breaks in headers.
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
            raise MessageError(f"the header {name} has a line break or a forbidden character")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("ascii")


def _part(subtype: str, text: str) -> _Part:
    """Encode a part as quoted-printable or base64, whichever is shorter."""
    raw = "\n".join(text.splitlines()).encode() + b"\n"
    quoted = encodestring(raw).replace(b"\n", b"\r\n")
    packed = encodebytes(raw.replace(b"\n", b"\r\n")).rstrip().replace(b"\n", b"\r\n")
    if len(quoted) <= len(packed):
        return _Part(subtype, "quoted-printable", quoted.removesuffix(b"\r\n"))
    return _Part(subtype, "base64", packed)


def _address(header: str, address: str) -> str:
    if why := why_unmailable(address):
        raise MessageError(f"no mail can use {_ORIGINS[header]}: {why}")
    return to_ascii(address)


def _mailbox(header: str, address: str) -> str:
    name, bare = parseaddr(address)
    address = _address(header, bare)
    return f"{_display_name(header, name)} <{address}>" if name else address


def _display_name(header: str, name: str) -> str:
    """Return a display name, quoted (RFC 5322) or encoded (RFC 2047)."""
    if _is_plain(name) and name.isprintable():
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _encode_header(header, name)


def _encode_header(header: str, value: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise MessageError(f"the header {header} has a control character")
    charset = "us-ascii" if _is_plain(value) else "utf-8"
    return Header(value, charset, maxlinelen=_FOLD_AT, header_name=header).encode(linesep="\r\n")


def _is_plain(value: str) -> bool:
    """Tell whether a value needs no encoding; receivers decode what looks like an encoded word."""
    return value.isascii() and "=?" not in value
