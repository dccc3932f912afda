"""Stop mail by SMTP while one of the doctor's checks that it depends on is red.

These checks run at once, take some seconds at most, and their results are kept for some minutes.
Sources are not checked, because a digest reports itself what is missing. The clock is not checked
either: times in the future that it once wrote into the database cannot be fixed, and they would
stop all mail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from smtplib import SMTPException
from ssl import SSLError

from triage.operations.doctor import dns_records, machine, outside, run_checks
from triage.operations.doctor.finding import Check, Finding, Installation, Level, Result
from triage.operations.doctor.probes import ProbeFailed, Probes

GREEN_HOLDS_S = 600.0
# Shorter, so that mail goes out soon after a problem is fixed.
RED_HOLDS_S = 60.0


def _run(check: Check) -> Result:
    """Run a check; a server that cannot be reached is a temporary problem."""
    try:
        return check.run()
    except ProbeFailed as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, SSLError | SMTPException):
            raise ProbeFailed(str(error), error.fix, is_temporary=True) from error
        raise


@dataclass
class SendingGate:
    """Returns why no mail may be sent, and repeats the checks only every few minutes.

    Attributes:
        monotonic: a clock in seconds that is never set.
    """

    installation: Installation
    probes: Probes = field(default_factory=Probes)
    monotonic: Callable[[], float] = time.monotonic
    _reason: str = ""
    _valid_until: float = float("-inf")

    def __call__(self) -> str:
        """Return the red findings with their fixes as one text; "" if nothing is red."""
        now = self.monotonic()
        if now >= self._valid_until:
            red = self._find_red()
            self._reason = "; ".join(f"{each.name}: {each.what} ({each.fix})" for each in red)
            self._valid_until = now + (RED_HOLDS_S if red else GREEN_HOLDS_S)
        return self._reason

    def _find_red(self) -> list[Finding]:
        """Return the red findings that concern mail by SMTP; none if mail is written into files."""
        settings, probes = self.installation.settings, self.probes
        if settings.mail.transport != "smtp":
            return []
        is_local = dns_records.is_loopback(settings.mail.host)
        checks = [
            Check("secret", partial(machine.secret_key, settings), "set TRIAGE_SECRET_KEY"),
            # Sending itself handles a mail server on this machine, and one that is unreachable now.
            *(
                replace(each, run=partial(_run, each), level_without_answer=Level.WARNING)
                for each in outside.mail_checks(settings, probes)
                if not (is_local and each.name == "mail")
            ),
            *outside.link_checks(settings, probes),
            Check(
                "time zones",
                partial(machine.zones, self.installation.database()),
                "install the package tzdata",
            ),
        ]
        return [finding for finding in run_checks(checks) if finding.level is Level.RED]
