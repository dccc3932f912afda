"""Looks whether everything that a digest needs is there, and says how to mend what is not.

    examine: open the database, ask the sources → look at each thing → Findings, in one order

Everything is asked at once, each by a thread of its own, and nobody is waited for longer than
`PATIENCE_S` twice: a hung server is a finding, not a hung doctor. Nothing is changed or sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from triage.errors import TriageError
from triage.operations.doctor import database, machine, outside
from triage.operations.doctor.finding import Check, Finding, Installation, Late, Level, Seen
from triage.operations.doctor.probes import ProbeFailed, Probes, Reply
from triage.sources.http.client import user_agent

__all__ = [
    "Finding",
    "Installation",
    "Level",
    "ProbeFailed",
    "Probes",
    "Reply",
    "examine",
    "exit_code",
]

PATIENCE_S = 7.0

T = TypeVar("T")


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0 when nothing is red."""
    return max((f.exit_code for f in findings if f.level is Level.RED), default=0)


def examine(
    installation: Installation,
    addresses: Mapping[str, str],
    awaited: Mapping[str, int],
    probes: Probes | None = None,
) -> list[Finding]:
    """Look at everything and return a finding for each, in the same order every time.

    Args:
        addresses: where each source that is switched on is asked, by its name.
        awaited: the sources whose days a digest waits for, with how many days each is behind.
    """
    probes, settings = probes or Probes(), installation.settings
    agent = user_agent(settings.site.base_url, settings.site.contact)
    questions: list[Callable[[], str | Reply]] = [partial(database.open_at_schema, installation)]
    questions += [partial(probes.ask, url, agent) for url in addresses.values()]
    opened, *answers = _together(questions)
    told = {
        name: answer
        for name, answer in zip(addresses, answers, strict=True)
        if isinstance(answer, Reply)
    }
    sound = installation.database() if isinstance(opened, str) else None
    now = installation.clock.now()
    checks = [
        Check("config", partial(machine.config, settings), ""),
        Check(
            "secret",
            partial(machine.signing, settings),
            "run `triage init`, or set TRIAGE_SECRET_KEY",
        ),
        Check(
            "database",
            partial(database.opening, opened),
            "look at [database] url; `triage db upgrade` makes or upgrades what it names",
        ),
        *(database.checks(installation, probes) if sound else ()),
        Check(
            "clock",
            partial(machine.clock, now, sound, told if addresses else None),
            "compare it by hand: `date -u`",
        ),
        *outside.mail_checks(settings, probes),
        *outside.link_checks(settings, probes),
        *outside.source_checks(settings, addresses, answers),
        *(outside.day_checks(sound, now.date(), awaited) if sound else ()),
        Check(
            "libraries",
            machine.libraries,
            "install triage again; LightGBM needs the package libgomp1",
            late=Level.WARNING,
        ),
        Check(
            "disk", partial(machine.disk, settings, sound, probes), "see whether they are mounted"
        ),
        Check("time zones", partial(machine.zones, sound), "install the package tzdata"),
    ]
    return examined(checks)


def examined(checks: Sequence[Check]) -> list[Finding]:
    """Look at several things at once."""
    seen = _together([check.look for check in checks])
    return [_finding(check, one) for check, one in zip(checks, seen, strict=True)]


def _finding(check: Check, seen: Seen | Exception) -> Finding:
    if isinstance(seen, ProbeFailed):
        level = Level.WARNING if seen.passing else Level.RED
        return Finding(check.name, level, str(seen), seen.fix)
    if isinstance(seen, Late):
        return Finding(check.name, check.late, str(seen), check.fix)
    if isinstance(seen, TriageError):
        return Finding(check.name, Level.RED, str(seen), check.fix, seen.exit_code)
    if isinstance(seen, Exception):
        what = f"{type(seen).__name__}: {' '.join(str(seen).split())[:300]}"
        return Finding(check.name, Level.RED, what, check.fix)
    return Finding(check.name, *seen)


def _together(tasks: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run all tasks at once and return in their order what each gave or raised."""
    results: dict[int, T | Exception] = {}

    def run(n: int, task: Callable[[], T]) -> None:
        try:
            result: T | Exception = task()
        except Exception as error:
            result = error
        results.setdefault(n, result)

    threads = [
        # The program may end while one of them still waits for an answer.
        threading.Thread(target=run, args=item, daemon=True, name=f"doctor {item[0]}")
        for item in enumerate(tasks)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = Late(f"gave no answer in {PATIENCE_S:.0f} s")
    return [results.setdefault(n, late) for n in range(len(tasks))]
