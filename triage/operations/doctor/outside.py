"""Looks at what others run or see: the mail server, the links in mails, and the sources."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from email.utils import parseaddr
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from triage import store
from triage.delivery.dkim import KEY_FILE, load_signer
from triage.domain.announcement_calendar import announcement_days
from triage.operations.doctor import dns_records
from triage.operations.doctor.finding import Check, Level, Seen, not_applicable, ok, red, warning
from triage.operations.doctor.probes import ProbeFailed, Probes, Reply
from triage.operations.jobs import SETTLED
from triage.settings import secret
from triage.sources.http.client import user_agent

if TYPE_CHECKING:
    from triage.settings import MailSettings, Settings
    from triage.store import Database

# A source may be late once; the third announcement that is missing is no accident.
MOST_OPEN_DAYS = 2
LOOKED_BACK = timedelta(days=30)


def mail_server(mail: MailSettings) -> MailSettings | None:
    """Return where mail is handed over; None when it is written into files."""
    return mail if mail.transport == "smtp" else None


def mail_checks(settings: Settings, probes: Probes) -> list[Check]:
    server = mail_server(settings.mail)
    if server is None:
        return [
            Check("mail", partial(_mail_folder, settings), "give this account the right to write")
        ]
    return [
        Check("mail", partial(_handshake, server, probes), "see `host` and `port` in [mail]"),
        Check("sender", partial(_sender, settings, server), "correct `from` in [mail]"),
        Check("signing", partial(_signing, settings), "correct the key, or take it away"),
        *dns_records.checks(settings, server, probes, here=is_loopback(server.host)),
    ]


def _mail_folder(settings: Settings) -> Seen:
    path = settings.mail_path
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return red(f"{there} cannot be written", "make it a folder that this account owns")
    return ok(f"goes into files below {path}")


def _handshake(server: MailSettings, probes: Probes) -> Seen:
    agreed = probes.greet(server, secret("MAIL_PASSWORD"))
    what = f"{server.host}:{server.port}: {agreed}"
    if server.security == "none" and not is_loopback(server.host):
        return warning(
            f"{what}; everything goes there in the clear", 'set `security = "starttls"` or "smtps"'
        )
    return ok(what)


def _sender(settings: Settings, server: MailSettings) -> Seen:
    if is_loopback(server.host):
        return not_applicable("mail goes to this machine")
    domain = parseaddr(settings.mail.sender)[1].rpartition("@")[2]
    if "." not in domain:
        return red(
            f"no receiver takes mail from an address at {domain!r}",
            "set `from` in [mail] to an address at a domain that you own",
        )
    return ok(f"an address at {domain}")


def _signing(settings: Settings) -> Seen:
    if load_signer(settings.mail, settings.folder) is None:
        return not_applicable("there is no DKIM key here: the mail server signs, or nobody")
    path = settings.folder / KEY_FILE
    if path.exists() and path.stat().st_mode & 0o077:
        return red(f"{path} can be read by other accounts", f"chmod 600 {path}")
    return ok("digests are signed here (DKIM)")


def link_checks(settings: Settings, probes: Probes) -> list[Check]:
    return [
        Check("base_url", partial(base_url, settings), "correct [site] base_url"),
        Check(
            "one-click",
            partial(one_click, settings, probes),
            "see whether `triage serve` can be reached at [site] base_url",
        ),
    ]


def base_url(settings: Settings) -> Seen:
    server = mail_server(settings.mail)
    url = urlsplit(settings.site.base_url)
    if server is None or is_loopback(server.host):
        return not_applicable("mail stays on this machine")
    if is_loopback(url.hostname or ""):
        return warning(
            "links in mails lead to this machine and work for nobody else",
            "set [site] base_url to where subscribers reach `triage serve`, once there are others",
        )
    if url.scheme != "https":
        return red(
            "links in mails are not https, so votes and addresses travel in the clear",
            "put `triage serve` behind a server with a certificate and correct [site] base_url",
        )
    return ok(f"https://{url.netloc}")


def one_click(settings: Settings, probes: Probes) -> Seen:
    """Post to where mail programs unsubscribe, with a token of nobody."""
    if base_url(settings)[0] is not Level.OK:
        return not_applicable("links are not for others yet: see base_url")
    site = settings.site
    agent = user_agent(site.base_url, site.contact)
    status = probes.post(f"{site.base_url.rstrip('/')}/u/doctor", agent).status
    if 300 <= status < 400:
        return red(
            "whoever posts to unsubscribe is sent elsewhere, which RFC 8058 forbids",
            "let the server before `triage serve` answer at [site] base_url itself",
        )
    if status in {401, 403, 405, 407, 411, 501}:
        return red(
            f"the server at [site] base_url refuses a post ({status}): nobody can unsubscribe",
            "let it pass POST on to `triage serve`, without a log-in",
        )
    if status >= 500:
        return red(
            f"a post to unsubscribe is answered {status}",
            "start `triage serve`, and look into its log",
        )
    return ok("a post to unsubscribe arrives")


def is_loopback(host: str) -> bool:
    """Tell whether a host name is this machine."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def source_checks(
    settings: Settings, addresses: Mapping[str, str], answers: Sequence[object]
) -> list[Check]:
    """Judge the sources' answers, which come in the order of `addresses`."""
    if not addresses:
        return [Check("sources", partial(_no_source, settings), "")]
    return [
        Check(f"source {name}", partial(_source, name, url, answer), "")
        for (name, url), answer in zip(addresses.items(), answers, strict=True)
    ]


def _source(name: str, url: str, reply: object) -> Seen:
    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(reply, ProbeFailed):
        level = Level.WARNING if reply.passing else Level.RED
        return level, f"{host} {reply}", reply.fix
    if not isinstance(reply, Reply):
        return red(f"{host}: {reply}", "check the network, and the address in the config")
    if reply.status in {408, 425, 429} or reply.status >= 500:
        return warning(f"{host} answers {reply.status}", "look again in an hour")
    if reply.status >= 400:
        return red(
            f"{host} answers {reply.status}",
            f"correct the address and the categories in [sources.{name}]",
        )
    return ok(f"{host} answers")


def day_checks(database: Database, today: date, awaited: Mapping[str, int]) -> list[Check]:
    """Look for each source that has days to be waited for whether they still come."""
    return [
        Check(
            f"days of {name}",
            partial(_days, database, name, today - timedelta(days=behind)),
            "",
            late=Level.WARNING,
        )
        for name, behind in awaited.items()
    ]


def _days(database: Database, name: str, today: date) -> Seen:
    with database.read() as conn:
        known = store.sources.days(conn, today - LOOKED_BACK, today)
    of_source = [day for day in known if day.source == name]
    if not of_source:
        return not_applicable(f"nothing was read in {LOOKED_BACK.days} days: run `triage fetch`")
    settled = [day.on for day in of_source if day.verdict in SETTLED]
    last = max(settled, default=today - LOOKED_BACK)
    n_open = len(announcement_days(last + timedelta(days=1), today))
    if n_open > MOST_OPEN_DAYS:
        note = of_source[-1].note
        return warning(
            f"no day is complete since {last}, {n_open} announcements ago{note and f': {note}'}",
            f"run `triage fetch --source {name}` and see what it says",
        )
    return ok(f"complete up to {last}")


def _no_source(settings: Settings) -> Seen:
    if settings.sources.arxiv.enabled:
        return warning(
            "no source is read: [sources.arxiv] names no categories",
            'set `categories`, for example ["cs.CL", "cs.LG"], or import papers from files',
        )
    return not_applicable("none is switched on; papers come from files")
