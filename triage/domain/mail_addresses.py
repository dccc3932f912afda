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
    is_allowed = _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain)
    troubles = {
        "it has not the form name@domain": not (local and domain),
        "the part before the @ has characters outside ASCII, which many servers refuse": not (
            local.isascii()
        ),
        "the domain is not a valid international domain name": not domain.isascii(),
        "it has a character that is not allowed in a mail address": not is_allowed,
        f"the part before the @ has more than {LONGEST_LOCAL} characters": len(local)
        > LONGEST_LOCAL,
        f"the domain has more than {LONGEST_DOMAIN} characters": len(domain) > LONGEST_DOMAIN,
    }
    return next((why for why, is_so in troubles.items() if is_so), "")
