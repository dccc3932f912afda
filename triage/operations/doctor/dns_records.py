"""Check the DNS records that concern mail: SPF, DKIM, DMARC, MX and PTR.

Gmail and Yahoo (since February 2024) and Outlook (since May 2025) demand that SPF or DKIM passes
for a domain that is aligned with the domain in From.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parseaddr
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from triage.delivery.dkim import load_signer
from triage.operations.doctor.finding import Check, Level, Result, not_applicable, ok, red, warning

if TYPE_CHECKING:
    from triage.operations.doctor.probes import Probes
    from triage.settings import Settings

Lookup = Callable[[str, str], tuple[str, ...]]
"""Returns the records of a name and kind, or none; raises ProbeFailed if the DNS fails."""

# RFC 7208, section 4.6.4.
MOST_SPF_LOOKUPS = 10
_LOOKUP_TERMS = ("include", "a", "mx", "ptr", "exists", "redirect")


def checks(settings: Settings, probes: Probes) -> list[Check]:
    """Return the checks of DNS records; they do not apply if mail stays on this machine."""
    mail = settings.mail
    sender = _domain(mail.sender)
    envelope = _domain(mail.bounces) or sender
    selector, lookup = mail.dkim_selector, probes.lookup
    runs: dict[str, Callable[[], Result]] = {
        "SPF": partial(_spf, envelope, lookup),
        "DKIM": partial(_dkim, settings, sender, selector, lookup),
        "DMARC": partial(_dmarc, sender, lookup),
        "alignment": partial(_alignment, sender, envelope, selector, lookup),
        "MX": partial(_mx, envelope, lookup),
        "PTR": partial(_ptr, mail.host, lookup),
    }
    fix = "try again later, or correct the DNS settings of this machine"
    if is_loopback(mail.host):
        runs = dict.fromkeys(runs, lambda: not_applicable("mail stays on this machine"))
    elif "." not in sender:
        runs = dict.fromkeys(runs, lambda: not_applicable("the sender has no domain"))
    return [Check(name, run, fix, Level.WARNING) for name, run in runs.items()]


def is_loopback(host: str) -> bool:
    """Tell whether a host name is this machine."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _domain(address: str) -> str:
    return parseaddr(address)[1].rpartition("@")[2].lower().rstrip(".")


def _policies(name: str, begin: str, lookup: Lookup) -> list[str]:
    return [text for text in lookup(name, "TXT") if text.lower().startswith(begin)]


def _spf(domain: str, lookup: Lookup) -> Result:
    found = _policies(domain, "v=spf1", lookup)
    if not found:
        return red(
            f"{domain} does not say who may send for it",
            f'publish a TXT record at {domain}, such as "v=spf1 a:<your mail server> -all"',
        )
    if len(found) > 1:
        return red(
            f"{domain} has {len(found)} SPF records, so receivers ignore them (RFC 7208, 4.5)",
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
            f"the SPF record of {domain} needs {n_lookups} lookups; receivers accept at most"
            f" {MOST_SPF_LOOKUPS}",
            "remove servers that do not send, or give addresses with ip4: and ip6:",
        )
    return ok(f"{domain}: {n_lookups} lookups")


def _n_lookups(domain: str, lookup: Lookup, above: frozenset[str]) -> int:
    """Count lookups as a receiver does, with those of included records."""
    if domain in above or len(above) > MOST_SPF_LOOKUPS:
        return 0
    n = 0
    for term in next(iter(_policies(domain, "v=spf1", lookup)), "").lower().split()[1:]:
        name, *value = re.split("[:=/]", term.lstrip("+-~?"), maxsplit=1)
        n += name in _LOOKUP_TERMS
        if name in ("include", "redirect") and value and n <= MOST_SPF_LOOKUPS:
            n += _n_lookups(value[0], lookup, above | {domain})
    return n


def _tags(record: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in record.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _dkim(settings: Settings, domain: str, selector: str, lookup: Lookup) -> Result:
    if not selector:
        return not_applicable("[mail] dkim_selector is empty")
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
            "let your mail server sign with another key, and set dkim_selector to its selector",
        )
    own = load_signer(settings.mail, settings.folder)
    if own is None:
        return ok(f"a key at {name}")
    if not own.is_published_as(keys[0]["p"]):
        return red(
            f"the key at {name} is not the one that signs the digests",
            "publish its public key as p=: `openssl rsa -in dkim_key -pubout -outform der |"
            " base64 -w0` prints it",
        )
    return ok(f"the key that signs the digests is at {name}")


def _dmarc(domain: str, lookup: Lookup) -> Result:
    found = _dmarc_records(domain, lookup)
    if not found:
        return warning(
            f"{domain} has no DMARC record, so others can send mail in its name",
            f'publish "v=DMARC1; p=none; rua=mailto:<you>" at _dmarc.{domain}; quarantine later',
        )
    if len(found) > 1:
        return red(
            f"{domain} has {len(found)} DMARC records, so receivers ignore them (RFC 7489)",
            "remove all but one",
        )
    p = _tags(found[0]).get("p", "").lower()
    if p not in ("none", "quarantine", "reject"):
        return red(
            f"the DMARC record of {domain} has no valid policy",
            'write p=none, p=quarantine or p=reject after "v=DMARC1;"',
        )
    return ok(f"{domain}: {p}")


def _dmarc_records(domain: str, lookup: Lookup) -> list[str]:
    for name in dict.fromkeys((domain, _organisation(domain))):
        if found := _policies(f"_dmarc.{name}", "v=dmarc1", lookup):
            return found
    return []


def _organisation(domain: str) -> str:
    # No list of public suffixes is used. If this guess is wrong, there is only one more lookup.
    return ".".join(domain.split(".")[-2:])


def _alignment(sender: str, envelope: str, selector: str, lookup: Lookup) -> Result:
    tags = _tags(next(iter(_dmarc_records(sender, lookup)), ""))
    strict = tags.get("aspf", "r").lower() == "s"
    if sender == envelope if strict else _organisation(sender) == _organisation(envelope):
        return ok(f"bounces go to {envelope}, which is aligned with {sender} in From")
    if selector:
        return ok(f"mail is signed for {sender}; bounces go to {envelope}")
    return red(
        f"bounces go to {envelope}, so SPF passes for another domain than {sender} in From",
        "set `bounces` in [mail] to an address at the domain of `from`, or let your mail server"
        " sign mail and set dkim_selector",
    )


def _mx(domain: str, lookup: Lookup) -> Result:
    found = lookup(domain, "MX")
    if any(record.split()[-1] == "." for record in found):
        return red(
            f"{domain} accepts no mail (RFC 7505), so bounces are lost",
            "publish an MX record for it, or set `bounces` to an address at another domain",
        )
    if not found and not lookup(domain, "A") and not lookup(domain, "AAAA"):
        return red(
            f"{domain} has no mail server, and some receivers refuse mail from such domains",
            "publish an MX record for it",
        )
    return ok(f"{domain} accepts mail")


def _ptr(host: str, lookup: Lookup) -> Result:
    addresses = [*lookup(host, "A"), *lookup(host, "AAAA")]
    if not addresses:
        return red(f"{host} has no address", "correct `host` in [mail]")
    for address in addresses:
        names = lookup(address, "PTR")
        if not names:
            return warning(
                f"{address} of {host} has no name, and many receivers refuse such senders",
                "ask the provider of the address to publish its name (PTR)",
            )
        if not any(address in (*lookup(name, "A"), *lookup(name, "AAAA")) for name in names):
            return warning(
                f"{address} has the name {names[0]}, but this name does not have that address",
                "correct the PTR record of the address or the A record of the name",
            )
    return ok(f"{host} and its address match in both directions")
