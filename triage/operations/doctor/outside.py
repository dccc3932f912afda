"""Check other machines: the mail server, the links in mails, and the sources."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from email.utils import parseaddr
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from triage import store
from triage.delivery.dkim import KEY_FILE, load_signer
from triage.domain.announcement_calendar import announcement_days
from triage.operations.doctor import dns_records
from triage.operations.doctor.dns_records import is_loopback
from triage.operations.doctor.finding import Check, Level, Result, not_applicable, ok, red, warning
from triage.operations.doctor.probes import ProbeFailed, Probes, Reply
from triage.operations.jobs import SETTLED
from triage.settings import read_secret
from triage.sources.http.client import user_agent

if TYPE_CHECKING:
    from triage.settings import MailSettings, Settings
    from triage.store import Database

# One or two missing announcements may be a delay; a third one is a problem.
MOST_MISSING_DAYS = 2
LONGEST_GAP = timedelta(days=30)


def mail_checks(settings: Settings, probes: Probes) -> list[Check]:
    if settings.mail.transport != "smtp":
        fix = "give this account the right to write"
        return [Check("mail", partial(_mail_folder, settings), fix)]
    return [
        Check("mail", partial(_handshake, settings.mail, probes), "correct [mail] in the config"),
        Check("sender", partial(_sender, settings.mail), "correct `from` in [mail]"),
        Check("signing", partial(_signing, settings), "correct the key or remove it"),
        *dns_records.checks(settings, probes),
    ]


def _mail_folder(settings: Settings) -> Result:
    path = settings.mail_path
    folder = next(each for each in (path, *path.parents) if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return red(f"{folder} is not writable", "make it a folder that this account owns")
    return ok(f"mail is written into files below {path}")


def _handshake(server: MailSettings, probes: Probes) -> Result:
    what = f"{server.host}:{server.port}: {probes.greet(server, read_secret('MAIL_PASSWORD'))}"
    if server.security == "none" and not is_loopback(server.host):
        return warning(f"{what}, without encryption", 'set `security = "starttls"` or "smtps"')
    return ok(what)


def _sender(mail: MailSettings) -> Result:
    if is_loopback(mail.host):
        return not_applicable("mail stays on this machine")
    domain = parseaddr(mail.sender)[1].rpartition("@")[2]
    if "." not in domain:
        return red(
            f"no receiver accepts mail from an address at {domain!r}",
            "set `from` in [mail] to an address at a domain that you own",
        )
    return ok(f"an address at {domain}")


def _signing(settings: Settings) -> Result:
    if load_signer(settings.mail, settings.folder) is None:
        return not_applicable("there is no DKIM key here: only the mail server may sign")
    path = settings.folder / KEY_FILE
    if path.exists() and path.stat().st_mode & 0o077:
        return red(f"other accounts can read {path}", f"chmod 600 {path}")
    return ok("triage signs the digests (DKIM)")


def link_checks(settings: Settings, probes: Probes) -> list[Check]:
    return [
        Check("base_url", partial(base_url, settings), "correct [site] base_url"),
        Check(
            "one-click",
            partial(one_click, settings, probes),
            "check whether `triage serve` can be reached at [site] base_url",
        ),
        Check("votes", partial(_votes, settings), "correct `votes` in [mail]"),
    ]


def base_url(settings: Settings) -> Result:
    url = urlsplit(settings.site.base_url)
    if settings.mail.transport != "smtp" or is_loopback(settings.mail.host):
        return not_applicable("mail stays on this machine")
    if settings.mail.votes == "mailto":
        return not_applicable("mails have no links to it: subscribers vote and leave by mail")
    if is_loopback(url.hostname or ""):
        return warning(
            "links in mails point to this machine and work only here",
            "before others subscribe, set [site] base_url to the public address of `triage serve`",
        )
    if url.scheme != "https":
        return red(
            "links in mails are not https, so votes and addresses are sent without encryption",
            "put `triage serve` behind a server with a certificate, and correct [site] base_url",
        )
    return ok(f"https://{url.netloc}")


def one_click(settings: Settings, probes: Probes) -> Result:
    """Send the POST request of a one-click unsubscribe, with a token that is not valid."""
    if base_url(settings)[0] is not Level.OK:
        return not_applicable("no mail has a public link for it: see base_url")
    site = settings.site
    agent = user_agent(site.base_url, site.contact)
    status = probes.post(f"{site.base_url.rstrip('/')}/u/doctor", agent).status
    if 300 <= status < 400:
        return red(
            "the POST request to unsubscribe is redirected, which RFC 8058 forbids",
            "change the server in front of `triage serve` so that it does not redirect",
        )
    if status in {401, 403, 405, 407, 411, 501}:
        return red(
            f"the server at [site] base_url refuses POST ({status}), so nobody can unsubscribe",
            "let it pass POST requests on to `triage serve`, without a login",
        )
    if status >= 500:
        return red(
            f"the POST request to unsubscribe got the answer {status}",
            "start `triage serve`, and read its log",
        )
    return ok("the POST request to unsubscribe arrives")


def _votes(settings: Settings) -> Result:
    """Check that the mails that vote come from outside, and that somebody reads them."""
    if settings.mail.votes == "links":
        return not_applicable("subscribers vote on web pages")
    address = settings.mail.bounces or parseaddr(settings.site.contact)[1]
    domain = address.rpartition("@")[2]
    if (
        "." not in domain
        and settings.mail.transport == "smtp"
        and not is_loopback(settings.mail.host)
    ):
        return red(
            f"votes go to an address at {domain!r}, which no mail from outside reaches",
            "set `bounces` in [mail] to a mailbox, or `contact` in [site]",
        )
    if not (settings.bounces.maildir or settings.bounces.imap_host):
        return warning(
            f"votes go to {address}, and no mailbox is configured from which they are read",
            "set imap_host or maildir in [bounces], or pipe them into `triage bounces intake -`",
        )
    if not settings.bounces.authserv_id:
        return ok(
            "read from the mailbox; the envelope sender alone proves who votes (no authserv_id)"
        )
    return ok("read from the mailbox")


def source_checks(
    settings: Settings, addresses: Mapping[str, str], answers: Sequence[object]
) -> list[Check]:
    """Check the answers of the sources; `answers` are in the order of `addresses`."""
    if not addresses:
        return [Check("sources", partial(_no_source, settings))]
    return [
        Check(f"source {name}", partial(_source, name, url, answer))
        for (name, url), answer in zip(addresses.items(), answers, strict=True)
    ]


def _source(name: str, url: str, reply: object) -> Result:
    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(reply, ProbeFailed):
        level = Level.WARNING if reply.is_temporary else Level.RED
        return level, f"{host} {reply}", reply.fix
    if not isinstance(reply, Reply):
        return red(f"{host}: {reply}", "check the network, and the address in the config")
    if reply.status in {408, 425, 429} or reply.status >= 500:
        return warning(f"{host} answers {reply.status}", "try again in an hour")
    if reply.status >= 400:
        return red(
            f"{host} answers {reply.status}",
            f"correct the address and the categories in [sources.{name}]",
        )
    return ok(f"{host} answers")


def day_checks(database: Database, today: date, awaited: Mapping[str, int]) -> list[Check]:
    """Check that the sources whose days digests wait for still have complete days."""
    return [
        Check(
            f"days of {name}",
            partial(_days, database, name, today - timedelta(days=behind)),
            level_without_answer=Level.WARNING,
        )
        for name, behind in awaited.items()
    ]


def _days(database: Database, name: str, today: date) -> Result:
    days = database.fetch(store.sources.days, today - LONGEST_GAP, today)
    days = [day for day in days if day.source == name]
    if not days:
        return not_applicable(f"nothing was read in {LONGEST_GAP.days} days: run `triage fetch`")
    complete = [day.on for day in days if day.verdict in SETTLED]
    last = max(complete, default=today - LONGEST_GAP)
    n_missing = len(announcement_days(last + timedelta(days=1), today))
    if n_missing > MOST_MISSING_DAYS:
        note = days[-1].note
        return warning(
            f"no day is complete since {last}, {n_missing} announcements ago{note and f': {note}'}",
            f"run `triage fetch --source {name}` and read its messages",
        )
    return ok(f"complete up to {last}")


def _no_source(settings: Settings) -> Result:
    if settings.sources.arxiv.enabled:
        return warning(
            "no source is enabled: [sources.arxiv] has no categories",
            'set `categories`, for example ["cs.CL", "cs.LG"], or import papers from files',
        )
    return not_applicable("no source is enabled; papers come from files")
