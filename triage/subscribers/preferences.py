"""The preferences of a subscriber, and their limits."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Final
from zoneinfo import available_timezones

from triage.domain import arxiv_categories
from triage.domain.plain_text import clean
from triage.domain.records import Detail, Frequency
from triage.errors import ConfigError

LONGEST_INTERESTS = 2000
LONGEST_NAME = 100
MOST_NAMES = 200
LARGEST_SIZE = 60
MOST_COMMUNITY = 2
ALL_DAYS = 127
_CATEGORY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberPreferences:
    """The choices of a new subscriber, not checked yet; fields as in `Subscriber`."""

    zone: str = "UTC"
    hour: int = 7
    frequency: Frequency = Frequency.DAILY
    weekdays: int = ALL_DAYS
    paused_until: date | None = None
    size: int | None = None
    score_floor: float | None = None
    detail: Detail = Detail.ABSTRACT
    interests: str = ""
    categories: Sequence[str] = ()
    followed_authors: Sequence[str] = ()
    include_keywords: Sequence[str] = ()
    exclude_keywords: Sequence[str] = ()
    revisions: bool = False
    recap: bool = False
    explores: bool = True
    community: float = 1.0


NAMES: Final = tuple(each.name for each in fields(SubscriberPreferences))


def check_each(chosen: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the valid choices in their stored form, and the errors of the others.

    Args:
        chosen: by the names of `Subscriber`.
    """
    good: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, value in chosen.items():
        try:
            good[name] = _CHECKS[name](value)
        except ConfigError as error:
            wrong[name] = str(error)
    return good, wrong


def check_all(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices in their stored form.

    Raises:
        ConfigError: one of them cannot be.
    """
    return {name: _CHECKS[name](value) for name, value in chosen.items()}


@functools.cache
def zones() -> frozenset[str]:
    """Return the names of all time zones."""
    # Looks through every folder of the machine's zones, too slow for each subscriber again.
    return frozenset(available_timezones())


def _zone(zone: str) -> str:
    known = zones()
    if zone in known:
        return zone
    by_folded = {each.casefold(): each for each in known} | {
        each.rpartition("/")[2].casefold(): each for each in sorted(known)
    }
    asked = zone[:60].strip().replace(" ", "_").casefold()
    near = difflib.get_close_matches(asked, by_folded, n=1, cutoff=0.0)
    raise ConfigError(
        f"no time zone {zone[:60]!r}: did you mean {by_folded[near[0]]!r}?"
        if near
        else "this machine has no time zones: install tzdata"
    )


def _hour(hour: int) -> int:
    if not 0 <= hour <= 23:
        raise ConfigError(f"the hour is {hour}: it is the subscriber's own, from 0 to 23")
    return hour


def _interests(text: str) -> str:
    plain = clean(text)
    if len(plain) > LONGEST_INTERESTS:
        raise ConfigError(
            f"the interests have {len(plain)} characters: at most {LONGEST_INTERESTS} are read,"
            " a sentence or two is best"
        )
    return plain


def _categories(categories: Iterable[str]) -> tuple[str, ...]:
    chosen = _counted(tuple(dict.fromkeys(categories)))
    for category in chosen:
        if len(category) > 40 or _CATEGORY.fullmatch(category) is None:
            raise ConfigError(
                f"{category[:60]!r} is not a category: write one as in cs.CL or hep-th"
            )
    return tuple(dict.fromkeys(map(arxiv_categories.check, chosen)))


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    names = dict.fromkeys(clean(text) for text in texts)
    if any(len(name) > LONGEST_NAME for name in names):
        raise ConfigError(f"an author or keyword has at most {LONGEST_NAME} characters")
    return _counted(tuple(name for name in names if name))


def _counted(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) > MOST_NAMES:
        raise ConfigError(f"{len(names)} are too many: at most {MOST_NAMES} are read")
    return names


def _weekdays(days: int) -> int:
    if not 1 <= days <= ALL_DAYS:
        raise ConfigError("choose one day or more; to get nothing for a while, pause")
    return days


def _score_floor(floor: float | None) -> float | None:
    if floor is not None and not 0 <= floor < 1:
        raise ConfigError("the floor is a chance from 0 to 0.99")
    return floor


def _community(weight: float) -> float:
    if not 0 <= weight <= MOST_COMMUNITY:
        raise ConfigError(f"what upvotes count is a number from 0 to {MOST_COMMUNITY}")
    return weight


def _size(size: int | None) -> int | None:
    if size is not None and not 1 <= size <= LARGEST_SIZE:
        raise ConfigError(f"a digest has 1 to {LARGEST_SIZE} papers")
    return size


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "zone": _zone,
    "hour": _hour,
    "frequency": Frequency,
    "detail": Detail,
    "interests": _interests,
    "categories": _categories,
    "followed_authors": _names,
    "include_keywords": _names,
    "exclude_keywords": _names,
    "weekdays": _weekdays,
    "paused_until": lambda on: on,
    "score_floor": _score_floor,
    "size": _size,
    "revisions": bool,
    "recap": bool,
    "explores": bool,
    "community": _community,
}
