"""Mailboxes that are read and left as they are: nothing in them is ever deleted.

Both readers yield a message at a time and mark it as seen when the next one is asked for, so that
one whose reader fails is there again next time.
"""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from triage.errors import ConfigError, InboxError

PATIENCE_S = 60.0
# What is more waits for the next call, so that none takes for ever.
MOST_AT_ONCE = 1000
# Reports are small; of what is not, this much is kept.
LARGEST = 1_000_000

_LITERAL = re.compile(rb"BODY\[\]")


def maildir(path: Path) -> Iterator[bytes]:
    """Yield what is new in a Maildir, oldest first, and move it from `new` to `cur`.

    Raises:
        InboxError: there is no Maildir, or it cannot be read and changed.
    """
    try:
        new = sorted(each for each in (path / "new").iterdir() if each.is_file())
        for file in new[:MOST_AT_ONCE]:
            with file.open("rb") as opened:
                content = opened.read(LARGEST)
            yield content
            seen = path / "cur" / f"{file.name.partition(':')[0]}:2,S"
            if seen.exists():
                raise InboxError(f"{file} was there before: move one of the two out of the way")
            file.rename(seen)
    except OSError as error:
        raise InboxError(
            f"the Maildir {path} cannot be read: {error.strerror}. It has the folders new and cur,"
            " and this account may write into both"
        ) from error


def imap(
    host: str, port: int, username: str, password: str, context: ssl.SSLContext | None = None
) -> Iterator[bytes]:
    """Yield what is unseen in the INBOX of an IMAP account, over TLS, and mark it as seen.

    Args:
        context: whom TLS trusts; None trusts the system's authorities.

    Raises:
        ConfigError: the server refuses user name and password.
        InboxError: the server cannot be reached or does not do as asked.
    """
    server = None
    try:
        tls = context or ssl.create_default_context()
        server = imaplib.IMAP4_SSL(host, port, ssl_context=tls, timeout=PATIENCE_S)
        try:
            server.login(username, password)
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, UnicodeError):
            raise ConfigError(
                f"the IMAP server {host}:{port} refuses user name and password: correct [bounces]"
                " username and TRIAGE_IMAP_PASSWORD; many providers want an app password"
            ) from None
        _done(server.select("INBOX"))
        [found] = _done(server.uid("SEARCH", "UNSEEN"))
        for uid in (found or b"").decode("ascii").split()[:MOST_AT_ONCE]:
            answer = _done(server.uid("FETCH", uid, f"(BODY.PEEK[]<0.{LARGEST}>)"))
            for part in answer:
                if isinstance(part, tuple) and _LITERAL.search(part[0]):
                    yield part[1]
            _done(server.uid("STORE", uid, "+FLAGS.SILENT", r"(\Seen)"))
    except (OSError, imaplib.IMAP4.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        why = re.sub(r"\S+@\S+", "(address)", why)[:200] or type(error).__name__
        raise InboxError(
            f"the IMAP server {host}:{port} cannot be read: {why}. Check [bounces] imap_host and"
            " imap_port: the connection is TLS from the start, usually at port 993"
        ) from error
    finally:
        if server is not None:
            with suppress(OSError, imaplib.IMAP4.error):
                server.logout()


def _done(answer: tuple[str, list[Any]]) -> list[Any]:
    status, data = answer
    if status != "OK":
        raise imaplib.IMAP4.error("it does not do as asked")
    return data
