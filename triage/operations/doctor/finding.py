"""What the doctor finds, and the looks that find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from triage.errors import TriageError

if TYPE_CHECKING:
    from triage.domain.protocols import Clock, ModelStore
    from triage.settings import Settings
    from triage.store import Database


@dataclass(frozen=True, slots=True)
class Installation:
    """What is looked at.

    Attributes:
        database: opens it unchecked, and may raise.
        workshop: opens the model store, and may raise.
    """

    settings: Settings
    clock: Clock
    database: Callable[[], Database]
    workshop: Callable[[], ModelStore]


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    RED = "red"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look has shown. `exit_code` is what a red one ends the command with."""

    name: str
    level: Level
    what: str
    fix: str = ""
    exit_code: int = 1


Seen = tuple[Level, str, str]
"""Level, what was seen, and the fix."""


@dataclass(frozen=True, slots=True)
class Check:
    """One look at one thing.

    Attributes:
        fix: goes with whatever `look` raises, which is red.
        late: what it means when `look` gives no answer in time.
    """

    name: str
    look: Callable[[], Seen]
    fix: str
    late: Level = Level.RED


class Late(TriageError):
    """No answer came in time."""


def ok(what: str) -> Seen:
    return Level.OK, what, ""


def warning(what: str, fix: str) -> Seen:
    return Level.WARNING, what, fix


def red(what: str, fix: str) -> Seen:
    return Level.RED, what, fix


def not_applicable(why: str) -> Seen:
    return Level.NOT_APPLICABLE, why, ""
