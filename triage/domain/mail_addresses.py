"""Tells which mail addresses mail can go to, and writes them in ASCII.

A domain outside ASCII is written in A-labels, such as `xn--bcher-kva.example` (RFC 5890), which
every mail server understands. What stands before the @ has no such form: it needs SMTPUTF8 (RFC
6531) at each server on the way, which nobody can know in advance, so it must be ASCII.
"""

from __future__ import annotations

import re

LONGEST_LOCAL = 64
# With these, an address of ours with a token in it (see `digest.links`) still has at most the 254
# characters that SMTP allows (RFC 5321, 4.5.3.1).
LONGEST_DOMAIN = 185
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]+")


def to_ascii(address: str) -> str:
    """Return an address with its domain in A-labels; unchanged if that is not possible."""
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    import idna

    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
    except idna.IDNAError:
        return address


def to_unicode(address: str) -> str:
    """Return an address with its domain in Unicode; unchanged if that is not possible."""
    local, _, domain = address.rpartition("@")
    if "xn--" not in domain.lower():
        return address
    import idna

    try:
        return f"{local}@{idna.decode(domain, uts46=True)}"
    except idna.IDNAError:
        return address


def why_unmailable(address: str) -> str:
    """Return why no mail can go to an address, as a part of a sentence; "" if it can."""
    local, _, domain = to_ascii(address).rpartition("@")
    if not local or not domain:
        return "it has not the form name@domain"
    if not local.isascii():
        return "the part before the @ has characters outside ASCII, which many servers refuse"
    if not domain.isascii():
        return "the domain is not a valid international domain name"
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        return "it has a character that is not allowed in a mail address"
    if len(local) > LONGEST_LOCAL:
        return f"the part before the @ has more than {LONGEST_LOCAL} characters"
    if len(domain) > LONGEST_DOMAIN:
        return f"the domain has more than {LONGEST_DOMAIN} characters"
    return ""
