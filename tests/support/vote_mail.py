"""A mail program, which turns buttons into mails, and the server that receives them."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiosmtpd.smtp import SMTP

from tests.support.mail_servers import _Controller
from triage.digest.message import part_of

AUTHSERV_ID = "mx.papers.example"
_ids = count(1)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and not str(dict(attrs)["href"]).startswith("#"):
            self.found.append((dict(attrs)["href"] or "", ""))

    def handle_data(self, data: str) -> None:
        if self.found and not self.found[-1][1]:
            self.found[-1] = (self.found[-1][0], data)


def links(mime: bytes) -> list[tuple[str, str]]:
    """Return (link, text) of all links of a digest."""
    reader = _Links()
    reader.feed(part_of(mime, "html"))
    return reader.found


def buttons(mime: bytes, word: str) -> list[str]:
    """Return the mailto links whose subject begins with a word, in the order of the papers."""
    return [url for url, _ in links(mime) if f"?subject={word.replace(' ', '%20')}%3A" in url]


def write(url: str, sender: str, **headers: str) -> EmailMessage:
    """Return the mail that a mail program writes for a mailto link (RFC 6068).

    Args:
        headers: more headers, or others instead; `_` stands for a hyphen.
    """
    address, _, query = url.removeprefix("mailto:").partition("?")
    mail = EmailMessage()
    # A plus is a plus here, and a space only as %20.
    fields = {"Subject": dict(parse_qsl(query.replace("+", "%2B")))["subject"]}
    fields |= {"From": sender, "To": unquote(address), "Message-ID": f"<{next(_ids)}@mua.example>"}
    for name, value in (fields | {n.replace("_", "-"): v for n, v in headers.items()}).items():
        mail[name] = value
    mail.set_content("Sent from my phone\n")
    return mail


@dataclass
class Mailbox:
    """Receives mail by SMTP, as the server of a mailbox does, into a Maildir and for IMAP.

    It signs nothing and looks nothing up: who sends by `trusted` has a valid DKIM signature.
    """

    maildir: Path
    port: int = 0
    messages: dict[int, bytes] = field(default_factory=dict)
    trusted: dict[str, str] = field(default_factory=dict)

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        domain = self.trusted.get(envelope.mail_from, "")
        result = f"dkim=pass header.d={domain}" if domain else "dkim=none"
        head = (
            f"Return-Path: <{envelope.mail_from}>\r\nDelivered-To: {envelope.rcpt_tos[0]}\r\n"
            f"Authentication-Results: {AUTHSERV_ID};\r\n {result}\r\n"
            f"Received: from mua by {AUTHSERV_ID}\r\n"
        )
        uid = len(self.messages) + 1
        self.messages[uid] = head.encode() + envelope.content
        (self.maildir / "new" / f"{uid:05d}.mail").write_bytes(
            self.messages[uid].replace(b"\r\n", b"\n")
        )
        return "250 2.0.0 delivered"

    def send(self, mail: EmailMessage | bytes, sender: str, to: str = "") -> None:
        """Send a mail to this server, with an envelope sender that may be any."""
        with smtplib.SMTP("127.0.0.1", self.port) as client:
            raw = mail if isinstance(mail, bytes) else mail.as_bytes()
            to = to or str(mail["To"]) if isinstance(mail, EmailMessage) else to
            client.sendmail(sender, [to], raw)


@contextmanager
def mailbox(folder: Path) -> Iterator[Mailbox]:
    """Yield a mailbox whose Maildir is `folder`."""
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    box = Mailbox(folder)
    controller = _Controller(box, "127.0.0.1", 0)
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()
