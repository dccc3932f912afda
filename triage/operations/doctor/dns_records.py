"""Looks at what the domain's names say of its mail: SPF, DKIM, DMARC, MX and the server's own name.

The receivers' demands are those of Gmail and Yahoo (February 2024) and Outlook (May 2025): SPF or
DKIM must pass for a domain that is aligned with the one in From.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parseaddr
from functools import partial
from typing import TYPE_CHECKING

from triage.delivery.dkim import load_signer
from triage.operations.doctor.finding import Check, Level, Seen, not_applicable, ok, red, warning

if TYPE_CHECKING:
    from triage.operations.doctor.probes import Probes
    from triage.settings import MailSettings, Settings

Lookup = Callable[[str, str], tuple[str, ...]]
"""Returns the records of a name of a kind, or none; raises ProbeFailed where nobody could tell."""

# RFC 7208, section 4.6.4.
MOST_SPF_LOOKUPS = 10
_LOOKING_UP = ("include", "a", "mx", "ptr", "exists", "redirect")


def checks(settings: Settings, server: MailSettings, probes: Probes, *, here: bool) -> list[Check]:
    """Return the looks at names, of which none is for mail that stays on this machine."""
    mail = settings.mail
    sender = _domain(mail.sender)
    envelope = _domain(mail.bounces) or sender
    selector, lookup = mail.dkim_selector, probes.lookup
    looks: dict[str, Callable[[], Seen]] = {
        "SPF": partial(_spf, envelope, lookup),
        "DKIM": partial(_dkim, settings, sender, selector, lookup),
        "DMARC": partial(_dmarc, sender, lookup),
        "alignment": partial(_alignment, sender, envelope, selector, lookup),
        "MX": partial(_mx, envelope, lookup),
        "PTR": partial(_ptr, server.host, lookup),
    }
    fix = "ask again later, or correct this machine's DNS"
    if here or "." not in sender:
        stays = "mail stays on this machine" if here else "the sender has no domain"
        looks = dict.fromkeys(looks, partial(not_applicable, stays))
    return [Check(name, look, fix, late=Level.WARNING) for name, look in looks.items()]


def _domain(address: str) -> str:
    return parseaddr(address)[1].rpartition("@")[2].lower().rstrip(".")


def _policies(name: str, begin: str, lookup: Lookup) -> list[str]:
    return [text for text in lookup(name, "TXT") if text.lower().startswith(begin)]


def _spf(domain: str, lookup: Lookup) -> Seen:
    found = _policies(domain, "v=spf1", lookup)
    if not found:
        return red(
            f"{domain} does not say who may send for it",
            f'publish a TXT record at {domain}, such as "v=spf1 a:<your mail server> -all"',
        )
    if len(found) > 1:
        return red(
            f"{domain} has {len(found)} SPF records, and receivers then heed none (RFC 7208, 4.5)",
            "join them into one",
        )
    terms = found[0].lower().split()[1:]
    if {"all", "+all"} & set(terms):
        return red(
            f"the SPF record of {domain} lets everybody send for it", 'end it with "-all" or "~all"'
        )
    n_lookups = _n_lookups(domain, lookup, frozenset())
    if n_lookups > MOST_SPF_LOOKUPS:
        return red(
            f"the SPF record of {domain} needs {n_lookups} look-ups, more than {MOST_SPF_LOOKUPS}:"
            " receivers take that for an error",
            "leave out what does not send, or name addresses with ip4: and ip6:",
        )
    return ok(f"{domain}: {n_lookups} look-ups")


def _n_lookups(domain: str, lookup: Lookup, above: frozenset[str]) -> int:
    """Count look-ups as a receiver does, those of included records with them."""
    if domain in above or len(above) > MOST_SPF_LOOKUPS:
        return 0
    n = 0
    for term in next(iter(_policies(domain, "v=spf1", lookup)), "").lower().split()[1:]:
        name, *value = re.split("[:=/]", term.lstrip("+-~?"), maxsplit=1)
        n += name in _LOOKING_UP
        if name in ("include", "redirect") and value and n <= MOST_SPF_LOOKUPS:
            n += _n_lookups(value[0], lookup, above | {domain})
    return n


def _tags(record: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in record.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _dkim(settings: Settings, domain: str, selector: str, lookup: Lookup) -> Seen:
    if not selector:
        return not_applicable("[mail] dkim_selector names no key")
    name = f"{selector}._domainkey.{domain}"
    keys = [tags for text in lookup(name, "TXT") if "p" in (tags := _tags(text))]
    if not keys:
        return red(
            f"there is no key at {name}",
            "publish the record that your mail server shows for its key, or correct dkim_selector",
        )
    if not keys[0]["p"]:
        return red(
            f"the key at {name} is revoked",
            "have mail signed with another key, and name its selector",
        )
    own = load_signer(settings.mail, settings.folder)
    if own is None:
        return ok(f"a key at {name}")
    if not own.is_published_as(keys[0]["p"]):
        return red(
            f"the key at {name} is not the one that digests are signed with",
            "publish its public half as p=: `openssl rsa -in dkim_key -pubout -outform der |"
            " base64 -w0` prints it",
        )
    return ok(f"the key that digests are signed with is at {name}")


def _dmarc(domain: str, lookup: Lookup) -> Seen:
    found = _dmarc_records(domain, lookup)
    if not found:
        return warning(
            f"{domain} has no DMARC record, so anybody may write in its name",
            f'publish "v=DMARC1; p=none; rua=mailto:<you>" at _dmarc.{domain}; quarantine later',
        )
    if len(found) > 1:
        return red(
            f"{domain} has {len(found)} DMARC records, and receivers then heed none (RFC 7489)",
            "leave one",
        )
    wanted = _tags(found[0]).get("p", "").lower()
    if wanted not in ("none", "quarantine", "reject"):
        return red(
            f"the DMARC record of {domain} says nothing receivers understand",
            'write p=none, p=quarantine or p=reject behind "v=DMARC1;"',
        )
    return ok(f"{domain}: {wanted}")


def _dmarc_records(domain: str, lookup: Lookup) -> list[str]:
    for name in dict.fromkeys((domain, _organisation(domain))):
        if found := _policies(f"_dmarc.{name}", "v=dmarc1", lookup):
            return found
    return []


def _organisation(domain: str) -> str:
    # Without the list of public suffixes; where that is wrong, more is asked than needed.
    return ".".join(domain.split(".")[-2:])


def _alignment(sender: str, envelope: str, selector: str, lookup: Lookup) -> Seen:
    tags = _tags(next(iter(_dmarc_records(sender, lookup)), ""))
    strict = tags.get("aspf", "r").lower() == "s"
    same = sender == envelope if strict else _organisation(sender) == _organisation(envelope)
    if same:
        return ok(f"bounces go to {envelope}, which belongs to From's {sender}")
    if selector:
        return ok(f"signed for {sender}, though bounces go to {envelope}")
    return red(
        f"bounces go to {envelope}, so SPF passes for another domain than From's {sender}",
        "let `bounces` in [mail] be at the domain of `from`, or have mail signed (dkim_selector)",
    )


def _mx(domain: str, lookup: Lookup) -> Seen:
    found = lookup(domain, "MX")
    if any(record.split()[-1] == "." for record in found):
        return red(
            f"{domain} says that it takes no mail (RFC 7505), so bounces are lost",
            "publish a mail server for it, or set `bounces` to a mailbox elsewhere",
        )
    if not found and not lookup(domain, "A") and not lookup(domain, "AAAA"):
        return red(
            f"no server takes mail for {domain}, and some receivers refuse mail from such",
            "publish an MX record for it",
        )
    return ok(f"{domain} takes mail")


def _ptr(host: str, lookup: Lookup) -> Seen:
    addresses = [*lookup(host, "A"), *lookup(host, "AAAA")]
    if not addresses:
        return red(f"{host} has no address", "correct `host` in [mail]")
    for address in addresses:
        names = lookup(address, "PTR")
        if not names:
            return warning(
                f"{address} of {host} has no name, and many receivers refuse such a sender",
                "ask whoever gave you the address to publish its name (PTR)",
            )
        if not any(address in (*lookup(name, "A"), *lookup(name, "AAAA")) for name in names):
            return warning(
                f"{address} is called {names[0]}, and that name does not lead back to it",
                "let name and address agree in both directions",
            )
    return ok(f"{host} and its address name each other")
