"""Reads mailboxes; nothing in them is ever deleted.

Both functions yield one message at a time, and mark it as seen when the next one is requested. So
a message whose handling fails is read again next time.
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

TIMEOUT_S = 60.0
# More messages wait for the next call, so that a call ends.
MOST_AT_ONCE = 1000
# Bytes read of a message; reports are smaller.
LARGEST = 1_000_000

_LITERAL = re.compile(rb"BODY\[\]")


def read_maildir(path: Path) -> Iterator[bytes]:
    """Yield the new messages of a Maildir, oldest first, and move them from `new` to `cur`.

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
                raise InboxError(f"{seen} exists already: move it or {file} to another folder")
            file.rename(seen)
    except OSError as error:
        raise InboxError(
            f"the Maildir {path} cannot be read: {error.strerror}. Check that it has the folders"
            " new and cur, and that this account may write into both"
        ) from error


def read_imap(
    host: str,
    port: int,
    username: str,
    password: str,
    context: ssl.SSLContext | None = None,
    folder: str = "INBOX",
) -> Iterator[bytes]:
    """Yield the unseen messages in a folder of an IMAP account, and mark them as seen.

    Args:
        context: the TLS context; None trusts the system's certificate authorities.
        folder: its name in ASCII, without quotes and backslashes.

    Raises:
        ConfigError: the server refuses the user name or password.
        InboxError: the server cannot be reached, or refuses a command.
    """
    server = None
    try:
        tls = context or ssl.create_default_context()
        server = imaplib.IMAP4_SSL(host, port, ssl_context=tls, timeout=TIMEOUT_S)
        try:
            server.login(username, password)
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, UnicodeError):
            raise ConfigError(
                f"the IMAP server {host}:{port} refuses the user name or password: correct"
                " [bounces] username and TRIAGE_IMAP_PASSWORD; many providers require an app"
                " password"
            ) from None
        _check(server.select(f'"{folder}"'), f"it does not open the folder {folder}")
        [found] = _check(server.uid("SEARCH", "UNSEEN"))
        for uid in (found or b"").decode("ascii").split()[:MOST_AT_ONCE]:
            answer = _check(server.uid("FETCH", uid, f"(BODY.PEEK[]<0.{LARGEST}>)"))
            for part in answer:
                if isinstance(part, tuple) and _LITERAL.search(part[0]):
                    yield part[1]
            _check(server.uid("STORE", uid, "+FLAGS.SILENT", r"(\Seen)"))
    except (OSError, imaplib.IMAP4.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        why = re.sub(r"\S+@\S+", "(address)", why)[:200] or type(error).__name__
        raise InboxError(
            f"the IMAP server {host}:{port} cannot be read: {why}. Check [bounces] imap_host,"
            " imap_port and imap_folder: the connection uses TLS from the start, usually on 993"
        ) from error
    finally:
        if server is not None:
            with suppress(OSError, imaplib.IMAP4.error):
                server.logout()


def _check(answer: tuple[str, list[Any]], why: str = "it refuses a command") -> list[Any]:
    """Return the data of an answer; raise if the server refused the command."""
    status, data = answer
    if status != "OK":
        raise imaplib.IMAP4.error(why)
    return data
