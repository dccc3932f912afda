"""Finds out who sent a mail, and what proves it.

From can be forged. It is proved by the envelope sender (Return-Path), or by the results that the
server of the mailbox wrote into Authentication-Results (RFC 8601): a DKIM signature of the domain
in From, or a pass of DMARC. Only the topmost results that bear the server's name are read, because
a sender may have put such a header into the mail, too, and every server writes above what it got.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

from triage.store.subscribers import email_key

_LONGEST_HEAD = 500_000
_LONGEST_FIELD = 2_000
_LONGEST_RESULTS = 10_000
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
# A sender who repeats one of these shows one value to the server, and another one to us. A space
# before the colon is no field for the email package, but one for DKIM (RFC 6376, 3.4.2).
_ONCE = [
    re.compile(rb"^%s[ \t]*:" % name, re.IGNORECASE | re.MULTILINE)
    for name in (b"from", b"to", b"subject")
]
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_COMMENT = re.compile(r"\((?:[^()\\]|\\.)*\)", re.DOTALL)
_ADDRESS = r"[^\s<>@,;:\"()\[\]\\]+@[^\s<>@,;:\"()\[\]\\]+"
_MAILBOX = re.compile(rf"[^<>@,;:]*<\s*({_ADDRESS})\s*>|({_ADDRESS})")
_DOUBTS = {("spf", "fail"), ("spf", "softfail"), ("dmarc", "fail")}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a mail.

    Attributes:
        address: the one in From; "" if there is not exactly one.
        proof: `dkim`, `dmarc`, `envelope`, or "" if nothing proves it.
    """

    address: str = ""
    proof: str = ""


def prove_sender(raw: bytes, authserv_id: str) -> Sender:
    """Return the sender of a mail as received; any bytes are accepted.

    Args:
        authserv_id: the name in Authentication-Results that is believed; "" believes none.
    """
    head = _END_OF_HEAD.split(raw[:_LONGEST_HEAD], maxsplit=1)[0]
    message = message_from_bytes(head)
    address = _from_address(message)
    if not address or any(len(field.findall(head)) > 1 for field in _ONCE):
        return Sender(address)
    domain = email_key(address).rpartition("@")[2]
    results = _trusted_results(message, authserv_id)
    for method, properties in ("dkim", ("header.d", "header.i")), ("dmarc", ("header.from",)):
        for name, result, found in results:
            signers = [_domain(found[each]) for each in properties if each in found]
            # The owner of a domain may sign for its subdomains; DMARC is about one exactly.
            is_aligned = any(
                domain == signer or (method == "dkim" and domain.endswith(f".{signer}"))
                for signer in filter(None, signers)
            )
            if (name, result) == (method, "pass") and is_aligned:
                return Sender(address, method)
    if any((name, result) in _DOUBTS for name, result, _ in results):
        return Sender(address)
    envelope = message.get_all("Return-Path", [])
    is_envelope = len(envelope) == 1 and _same(str(envelope[0]).strip().strip("<>"), address)
    return Sender(address, "envelope" if is_envelope else "")


def _same(one: str, other: str) -> bool:
    return email_key(one) == email_key(other)


def _domain(value: str) -> str:
    return email_key(f"x@{value.rpartition('@')[2]}").removeprefix("x@").rstrip(".")


def _from_address(message: Message) -> str:
    """Return the address in From; "" if there are none or several, or it can be read in two ways.

    `parseaddr` is not used: it takes a part of a display name for the address in some cases.
    """
    fields = message.get_all("From", [])
    if len(fields) != 1:
        return ""
    text = _QUOTED.sub(" ", str(fields[0])[:_LONGEST_FIELD])
    n_comments = 1
    while n_comments:
        text, n_comments = _COMMENT.subn(" ", text)
    found = _MAILBOX.fullmatch(text.strip())
    return (found[1] or found[2]) if found else ""


def _trusted_results(message: Message, authserv_id: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return (method, result, properties) of the topmost results of a server; all in small letters.

    Empty if the server wrote none, or its name is "".
    """
    for field in message.get_all("Authentication-Results", []):
        first, *parts = _plain(str(field)[:_LONGEST_RESULTS]).lower().split(";")
        if first.split()[:1] == [authserv_id.lower()]:
            return [result for part in parts if (result := _result(part))]
    return []


def _result(part: str) -> tuple[str, str, dict[str, str]] | None:
    pairs = [word.partition("=") for word in re.sub(r"\s*=\s*", "=", part).split()]
    if not pairs:
        return None
    (method, _, result), *properties = pairs
    return method.partition("/")[0], result, {name: value for name, _, value in properties}


def _plain(field: str) -> str:
    """Return a structured field without its comments, and quoted text without what separates."""
    out: list[str] = []
    depth, is_quoted, characters = 0, False, iter(field)
    for character in characters:
        if character == "\\":
            next(characters, "")
        elif character == '"' and not depth:
            is_quoted = not is_quoted
        elif is_quoted:
            out.append(character if character.isalnum() or character in "@.-_" else "_")
        elif character in "()":
            depth = max(0, depth + (1 if character == "(" else -1))
        elif not depth:
            out.append(character)
    return "".join(out)
