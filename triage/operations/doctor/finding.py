"""The checks of the doctor and their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from triage.errors import TriageError

if TYPE_CHECKING:
    from triage.domain.protocols import Clock
    from triage.ranking.serving.model_store import ModelStore
    from triage.settings import Settings
    from triage.store import Database


@dataclass(frozen=True, slots=True)
class Installation:
    """The parts of an installation that the doctor checks.

    Attributes:
        database: opens the database without checking its schema; may raise.
        model_store: opens the model store; may raise.
    """

    settings: Settings
    clock: Clock
    database: Callable[[], Database]
    model_store: Callable[[], ModelStore]


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    RED = "red"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `exit_code` is the exit code of the command if it is red."""

    name: str
    level: Level
    what: str
    fix: str = ""
    exit_code: int = 1


Result = tuple[Level, str, str]
"""The level, what was found, and the fix."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        fix: the fix if `run` raises; the finding is red then.
        level_without_answer: the level of the finding if `run` does not end in time.
    """

    name: str
    run: Callable[[], Result]
    fix: str = ""
    level_without_answer: Level = Level.RED


class NoAnswer(TriageError):
    """A check did not end in time."""


def ok(what: str) -> Result:
    return Level.OK, what, ""


def warning(what: str, fix: str) -> Result:
    return Level.WARNING, what, fix


def red(what: str, fix: str) -> Result:
    return Level.RED, what, fix


def not_applicable(why: str) -> Result:
    return Level.NOT_APPLICABLE, why, ""
