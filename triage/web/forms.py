"""Reads forms field by field, so that a page can show each error beside its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Any

from starlette.datastructures import ImmutableMultiDict

from triage import store
from triage.domain import arxiv_categories
from triage.domain.digest_calendar import is_known_zone
from triage.domain.records import Detail, Frequency, Subscriber
from triage.store import Database
from triage.subscribers import preferences

Fields = ImmutableMultiDict[str, str]
NO_FIELDS = Fields()
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SWITCHES = ("revisions", "recap", "explores")
LABELS = {
    "hour": "Hour",
    "zone": "Time zone",
    "frequency": "How often",
    "weekdays": "Days",
    "paused_until": "Pause until",
    "interests": "What you read",
    "categories": "Categories",
    "likes": "Papers that you liked",
    "followed_authors": "Authors to follow",
    "include_keywords": "Words to look for",
    "exclude_keywords": "Words to exclude",
    "size": "Most papers",
    "score_floor": "Length",
    "detail": "For each paper, show",
    "community": "Weight of upvotes from other people",
    "email": "Your mail address",
    "since": "Listed since",
    "until": "Listed until",
}
"""What the fields are called in the list of errors, in the order of the pages."""


@dataclass
class Form:
    """A form as it was typed, and its errors, both by field.

    `weekdays` has the numbers of the ticked days, 0 for Monday.
    """

    typed: dict[str, str]
    weekdays: frozenset[int] = frozenset()
    wrong: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.typed.get(name, "")

    @property
    def errors(self) -> list[tuple[str, str, str]]:
        """The name, the label and the error of each wrong field, in the order of the page."""
        return [
            (name, label, self.wrong[name]) for name, label in LABELS.items() if name in self.wrong
        ]

    @property
    def first_wrong(self) -> str:
        """The name of the first wrong field, "" without any; this one gets the focus."""
        return next((name for name, _, _ in self.errors), "")

    @property
    def fingerprint(self) -> str:
        """A text that is the same for two forms in which the same preferences are typed."""
        # Browsers send lines with CRLF (HTML, "append an entry").
        typed = [(name, "\n".join(self[name].splitlines())) for name in preferences.NAMES]
        return blake2b(repr((typed, sorted(self.weekdays))).encode(), digest_size=10).hexdigest()


def read(fields: Fields, names: Iterable[str]) -> tuple[Form, dict[str, Any]]:
    """Return a form as it was typed, and its valid preferences."""
    typed = dict(fields)
    days = frozenset(int(day) for day in fields.getlist("weekday") if day in set("0123456"))
    form = Form(typed, days)
    values: dict[str, Any] = {}
    for name in names:
        if name == "weekdays":
            values[name] = sum(1 << day for day in days)
        elif name in SWITCHES:
            values[name] = name in typed
        else:
            parse, advice = _PARSERS[name]
            try:
                values[name] = parse(typed.get(name, ""))
            except ValueError:
                form.wrong[name] = advice
    valid, errors = preferences.check_each(values)
    form.wrong |= errors
    return form, valid


def refuse_unknown_categories(
    db: Database, form: Form, valid: Mapping[str, Any], known: Collection[str] = ()
) -> None:
    """Note an error if a category is not one of arXiv's and no stored paper has it.

    Without any papers, all are accepted.

    Args:
        known: categories that are not looked up.
    """
    chosen = [name for name in valid.get("categories", ()) if name not in known]
    others = [name for name in chosen if not arxiv_categories.is_known(name)]
    if not others:
        return
    with db.read() as conn:
        if not store.papers.count(conn):
            return
        for name in others:
            if not store.search.has_category(conn, name):
                hint = arxiv_categories.describe_nearest(name)
                form.wrong["categories"] = f"no paper here has the category {name!r}: {hint}"
                return


def fill(subscriber: Subscriber, today: date) -> Form:
    """Return a form that shows the preferences of a subscriber, without a pause that is over."""
    until = subscriber.paused_until
    typed = {
        "zone": subscriber.zone if is_known_zone(subscriber.zone) else "UTC",
        "hour": str(subscriber.hour),
        "frequency": str(subscriber.frequency),
        "detail": str(subscriber.detail),
        "interests": subscriber.interests,
        "categories": " ".join(subscriber.categories),
        "paused_until": until.isoformat() if until and until > today else "",
        "size": "" if subscriber.size is None else str(subscriber.size),
        "score_floor": "" if subscriber.score_floor is None else f"{subscriber.score_floor:g}",
        "community": f"{subscriber.community:g}",
        **{name: "\n".join(getattr(subscriber, name)) for name in _LINES},
        **{name: "on" for name in SWITCHES if getattr(subscriber, name)},
    }
    return Form(typed, frozenset(day for day in range(7) if subscriber.weekdays >> day & 1))


def zones(chosen: str) -> list[str]:
    """Return the time zones to choose from: those named after places, UTC, and the chosen one."""
    places = {
        zone for zone in preferences.zones() if "/" in zone and not zone.startswith(_NO_PLACES)
    }
    return sorted(places | {"UTC"} | ({chosen} & preferences.zones()))


_NO_PLACES = ("Etc/", "US/", "Canada/", "Brazil/", "Chile/", "Mexico/", "SystemV/", "posix/")
_LINES = ("followed_authors", "include_keywords", "exclude_keywords")


def split_words(text: str) -> list[str]:
    """Return the parts of a text that are separated by spaces, commas or semicolons."""
    return re.sub(r"[,;]", " ", text).split()


def _or_none(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: parse(text.strip()) if text.strip() else None


def _fraction(text: str) -> float:
    value = float(text.replace(",", "."))
    if value != value:  # not a number
        raise ValueError
    return value


_PARSERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "zone": (lambda text: text or "UTC", ""),
    "hour": (int, "choose an hour"),
    "frequency": (Frequency, "choose daily or weekly"),
    "detail": (Detail, "choose how much of each paper is shown"),
    "interests": (str, ""),
    "categories": (split_words, ""),
    "paused_until": (_or_none(date.fromisoformat), "write a date such as 2026-03-02"),
    "size": (_or_none(int), "write a number, or leave the field empty"),
    "score_floor": (_or_none(_fraction), "write a number such as 0.2, or leave the field empty"),
    "community": (lambda text: _fraction(text or "1"), "choose a number from 0 to 2"),
    **dict.fromkeys(_LINES, (str.splitlines, "")),
}
