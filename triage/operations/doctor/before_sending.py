"""Keeps mail back while what the doctor sees of the set-up is red.

Only what mail itself depends on is looked at, all at once and for seconds at most, and what was
seen holds for some minutes. Sources are not asked, for a digest says itself what it lacks; nor is
the clock looked at: what one wrote that was ahead nobody can mend, and it would hold all mail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from smtplib import SMTPException
from ssl import SSLError

from triage.operations.doctor import database, examined, machine, outside
from triage.operations.doctor.finding import Check, Finding, Installation, Level, Seen
from triage.operations.doctor.probes import ProbeFailed, Probes

GREEN_HOLDS_S = 600.0
# Whoever has mended something waits no longer than this.
RED_HOLDS_S = 60.0


def red_before_sending(installation: Installation, probes: Probes | None = None) -> list[Finding]:
    """Return what is red of all that mail by SMTP depends on; nothing where it goes into files."""
    probes, settings = probes or Probes(), installation.settings
    server = outside.mail_server(settings.mail)
    if server is None:
        return []
    here = outside.is_loopback(server.host)
    checks = [
        Check("secret", partial(machine.signing, settings), "set TRIAGE_SECRET_KEY"),
        *(each for each in database.checks(installation, probes) if each.name == "database place"),
        # A server of this machine, and one that cannot be reached now, are left to the drain.
        *(
            replace(each, look=partial(_patiently, each.look), late=Level.WARNING)
            for each in outside.mail_checks(settings, probes)
            if not (here and each.name == "mail")
        ),
        *outside.link_checks(settings, probes),
        Check(
            "time zones",
            partial(machine.zones, installation.database()),
            "install the package tzdata",
        ),
    ]
    return [finding for finding in examined(checks) if finding.level is Level.RED]


def _patiently(look: Callable[[], Seen]) -> Seen:
    try:
        return look()
    except ProbeFailed as error:
        cause = error.__cause__
        unreachable = isinstance(cause, OSError) and not isinstance(cause, SSLError | SMTPException)
        if unreachable:
            raise ProbeFailed(str(error), error.fix, passing=True) from error
        raise


class SendingGate:
    """Says why no mail may go, and asks others again only every few minutes.

    Args:
        monotonic: a clock in seconds that nobody sets.
    """

    def __init__(
        self,
        installation: Installation,
        probes: Probes | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._installation = installation
        self._probes = probes
        self._monotonic = monotonic
        self._why = ""
        self._holds_until = float("-inf")

    def __call__(self) -> str:
        """Return what is red and how to mend it; "" if nothing is."""
        now = self._monotonic()
        if now >= self._holds_until:
            red = red_before_sending(self._installation, self._probes)
            self._why = "; ".join(f"{each.name}: {each.what} ({each.fix})" for each in red)
            self._holds_until = now + (RED_HOLDS_S if red else GREEN_HOLDS_S)
        return self._why
