"""What subscribers may choose: refused with advice where it cannot be, stored in one spelling."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from triage.errors import ConfigError
from triage.subscribers import preferences

GOOD: dict[str, tuple[Any, Any]] = {
    "zone": ("Asia/Tokyo", "Asia/Tokyo"),
    "hour": (23, 23),
    "frequency": ("weekly", "weekly"),
    "detail": ("tldr", "tldr"),
    "interests": ("  two\n words\x00\u202e ", "two words"),
    "categories": (
        ["cs.CL", "hep-th", "cs.cl", "math", "neuroscience"],
        ("cs.CL", "hep-th", "math", "neuroscience"),
    ),
    "followed_authors": (["Ada  Lovelace", " "], ("Ada Lovelace",)),
    "include_keywords": (["a", "a"], ("a",)),
    "exclude_keywords": ([], ()),
    "weekdays": (0b0010101, 0b0010101),
    "paused_until": (date(2026, 5, 1), date(2026, 5, 1)),
    "score_floor": (0.25, 0.25),
    "size": (5, 5),
    "revisions": (True, True),
    "recap": (False, False),
    "explores": (False, False),
    "community": (0.5, 0.5),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_can_be_is_kept_in_one_spelling(name: str) -> None:
    given, kept = GOOD[name]
    assert preferences.check_all({name: given}) == {name: kept}


@pytest.mark.parametrize("name", ["paused_until", "score_floor", "size"])
def test_what_may_be_left_to_the_program_is_none(name: str) -> None:
    assert preferences.check_all({name: None}) == {name: None}


BAD = [
    ("zone", "Mars/Base", "no time zone"),
    ("zone", "z" * 60_000, "did you mean"),
    ("hour", 24, "from 0 to 23"),
    ("hour", -1, "from 0 to 23"),
    ("interests", "x" * 2001, "at most 2000"),
    ("categories", ["cs.CL; DROP"], "is not a category"),
    ("categories", ["c" * 41], "is not a category"),
    ("categories", ["cs.CL", "cs.XX"], "did you mean cs."),
    ("categories", ["hep-thh"], "did you mean hep-th"),
    ("categories", ["maths.AG"], "did you mean math.AG"),
    ("followed_authors", ["x" * 101], "at most 100"),
    ("include_keywords", [str(n) for n in range(201)], "too many"),
    ("weekdays", 0, "one day or more"),
    ("weekdays", 128, "one day or more"),
    ("score_floor", 1.0, "from 0 to"),
    ("score_floor", -0.1, "from 0 to"),
    ("size", 0, "1 to 60"),
    ("size", 61, "1 to 60"),
    ("community", -0.1, "from 0 to 2"),
    ("community", 2.5, "from 0 to 2"),
]


@pytest.mark.parametrize(("name", "value", "advice"), BAD)
def test_what_cannot_be_is_refused_with_advice(name: str, value: Any, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        preferences.check_all({name: value})


def test_every_wrong_choice_is_told_and_the_others_are_kept() -> None:
    good, wrong = preferences.check_each({"hour": 99, "zone": "UTC", "size": 0})
    assert good == {"zone": "UTC"}
    assert set(wrong) == {"hour", "size"}


def test_the_machines_zones_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []

    def list_zones() -> set[str]:
        listed.append(1)
        return {"UTC"}

    monkeypatch.setattr(preferences, "available_timezones", list_zones)
    preferences.zones.cache_clear()
    try:
        for _ in range(3):
            preferences.check_all({"zone": "UTC"})
    finally:
        preferences.zones.cache_clear()
    assert len(listed) == 1
