"""Check everything that a digest needs, and say how to fix each problem.

    examine: open the database, ask the sources → run all checks → Findings, always in one order

All checks run at once, each in its own thread with a timeout, so a server that hangs is a finding.
Nothing is changed, and no mail is sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from triage.errors import TriageError
from triage.operations.doctor import database, machine, outside, subscribers
from triage.operations.doctor.finding import (
    Check,
    Finding,
    Installation,
    Level,
    NoAnswer,
    Result,
    ok,
)
from triage.operations.doctor.probes import ProbeFailed, Probes, Reply
from triage.sources.http.client import user_agent

__all__ = ["Finding", "Installation", "Level", "ProbeFailed", "Probes", "Reply"]

TIMEOUT_S = 7.0

T = TypeVar("T")


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the exit code of the command: 0 if nothing is red."""
    return max((f.exit_code for f in findings if f.level is Level.RED), default=0)


def examine(
    installation: Installation,
    addresses: Mapping[str, str],
    awaited: Mapping[str, int],
    probes: Probes | None = None,
) -> list[Finding]:
    """Check everything and return one finding for each check, always in the same order.

    Args:
        addresses: the URL to ask of each enabled source, by its name.
        awaited: the sources for whose days digests wait, with the number of days each is behind.
    """
    probes, settings = probes or Probes(), installation.settings
    agent = user_agent(settings.site.base_url, settings.site.contact)
    tasks: list[Callable[[], str | Reply]] = [partial(database.open_at_schema, installation)]
    tasks += [partial(probes.ask, url, agent) for url in addresses.values()]
    opened, *answers = _run_together(tasks)
    replies = {
        name: answer
        for name, answer in zip(addresses, answers, strict=True)
        if isinstance(answer, Reply)
    }
    usable = installation.database() if isinstance(opened, str) else None
    now = installation.clock.now()
    checks = [
        # A wrong key or value in the config stops every command before it starts.
        Check("config", lambda: ok(f"read from {settings.folder}, all keys and values are valid")),
        Check(
            "secret",
            partial(machine.secret_key, settings),
            "run `triage init`, or set TRIAGE_SECRET_KEY",
        ),
        Check(
            "database",
            partial(database.report_opening, opened),
            "check [database] url; `triage db upgrade` creates or upgrades that database",
        ),
        *(database.checks(installation) if usable else ()),
        Check(
            "clock",
            partial(machine.clock, now, usable, replies if addresses else None, probes),
            "run `date -u` and compare its time with another clock",
        ),
        *outside.mail_checks(settings, probes),
        *outside.link_checks(settings, probes),
        *outside.source_checks(settings, addresses, answers),
        *(outside.day_checks(usable, now.date(), awaited) if usable else ()),
        Check(
            "libraries",
            machine.libraries,
            "install triage again; LightGBM needs the package libgomp1",
            level_without_answer=Level.WARNING,
        ),
        Check(
            "disk",
            partial(machine.disk, settings, usable, probes),
            "check whether these folders are mounted",
        ),
        *(
            [Check("subscribers", partial(subscribers.left_out, usable, now), "read the log")]
            if usable
            else ()
        ),
        Check("time zones", partial(machine.zones, usable), "install the package tzdata"),
    ]
    return run_checks(checks)


def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """Run checks at the same time and return their findings in the same order."""
    results = _run_together([check.run for check in checks])
    return [_finding(check, result) for check, result in zip(checks, results, strict=True)]


def _finding(check: Check, result: Result | Exception) -> Finding:
    if isinstance(result, ProbeFailed):
        level = Level.WARNING if result.is_temporary else Level.RED
        return Finding(check.name, level, str(result), result.fix)
    if isinstance(result, NoAnswer):
        return Finding(check.name, check.level_without_answer, str(result), check.fix)
    if isinstance(result, TriageError):
        return Finding(check.name, Level.RED, str(result), check.fix, result.exit_code)
    if isinstance(result, Exception):
        what = f"{type(result).__name__}: {' '.join(str(result).split())[:300]}"
        return Finding(check.name, Level.RED, what, check.fix)
    return Finding(check.name, *result)


def _run_together(tasks: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run all tasks at once; return what each returned or raised, in the same order."""
    results: dict[int, T | Exception] = {}

    def run(n: int, task: Callable[[], T]) -> None:
        try:
            result: T | Exception = task()
        except Exception as error:
            result = error
        results.setdefault(n, result)

    threads = [
        # Daemon threads, so that the program can end while one still waits for an answer.
        threading.Thread(target=run, args=item, daemon=True, name=f"doctor {item[0]}")
        for item in enumerate(tasks)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + TIMEOUT_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    no_answer = NoAnswer(f"gave no answer in {TIMEOUT_S:.0f} s")
    return [results.setdefault(n, no_answer) for n in range(len(tasks))]
