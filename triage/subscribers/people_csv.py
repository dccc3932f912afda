"""Reads a table of people to add: the CSV of `triage subscriber add --from`."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from triage.domain.records import Frequency
from triage.errors import ConfigError
from triage.sources.text.decoding import decode
from triage.subscribers.preferences import SubscriberPreferences

COLUMNS: Final = ("email", "interests", "category", "like", "zone", "hour", "frequency")
_SEVERAL: Final = re.compile(r"[\s,;|]+")


@dataclass(frozen=True, slots=True)
class Person:
    """One row; `line` is where it begins in the file, and the preferences are not checked yet.

    `problem` says why the row cannot be read; "" if it can.
    """

    line: int
    email: str = ""
    preferences: SubscriberPreferences = SubscriberPreferences()  # noqa: RUF009 - it is frozen
    likes: tuple[str, ...] = ()
    problem: str = ""


def read_people(content: bytes) -> list[Person]:
    """Return the people in a file, in its order; rows without any text are left out.

    Commas, semicolons or tabs may stand between cells: spreadsheets write what their country uses.
    A cell of `category` or `like` may have several values, with spaces, commas or semicolons
    between them. An empty cell means the default.

    Raises:
        ConfigError: this is no CSV, or its first line does not name the columns.
    """
    try:
        text = decode(content)
    except ValueError as error:
        raise ConfigError(f"{error}: save the table as CSV") from error
    head = next(iter(text.lstrip().splitlines()), "")
    rows = _rows(text, max(",;\t", key=head.count))
    _, first = next(rows, (0, []))
    columns = _columns(first)
    return [_person(line, columns, cells) for line, cells in rows]


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that have any text, each with the number of its first line."""
    # Strict: otherwise a quote that is never closed would hide all rows after it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(
            f"the row that begins on line {line} cannot be read ({error}): put a cell that has"
            ' quotes in quotes, and write each quote in it twice, as in "the ""best"" papers"'
        ) from error


def _columns(first: list[str]) -> list[str]:
    names = [name.lower() for name in first]
    if "email" not in names:
        raise ConfigError(
            f"the first line must name the columns: email, and any of {', '.join(COLUMNS[1:])}"
        )
    for name in names:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"use any of {', '.join(COLUMNS)}"
            raise ConfigError(f"there is no column {name[:40]!r}: {hint}")
        if names.count(name) > 1:
            raise ConfigError(f"the column {name!r} is there twice")
    return names


def _person(line: int, columns: list[str], cells: list[str]) -> Person:
    if any(cells[len(columns) :]):
        problem = (
            f"it has {len(cells)} cells, and the first line {len(columns)}: put a cell that has"
            " a comma or semicolon in quotes"
        )
        return Person(line, problem=problem)
    given = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
    if "email" not in given:
        return Person(line, problem="it has no email")
    email = given.pop("email")
    likes = _several(given.pop("like", ""))
    try:
        chosen = {_FIELDS[name]: _READ[name](cell) for name, cell in given.items()}
    except ValueError as error:
        return Person(line, email, problem=str(error))
    return Person(line, email, SubscriberPreferences(**chosen), likes)


def _several(cell: str) -> tuple[str, ...]:
    return tuple(filter(None, _SEVERAL.split(cell)))


def _hour(cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", cell):
        raise ValueError(f"{cell[:40]!r} is no hour: write a number from 0 to 23")
    return int(cell)


def _frequency(cell: str) -> Frequency:
    try:
        return Frequency(cell.lower())
    except ValueError:
        raise ValueError(f"{cell[:40]!r} is no frequency: use {' or '.join(Frequency)}") from None


_READ: Final[dict[str, Callable[[str], Any]]] = {
    "interests": str,
    "category": _several,
    "zone": str,
    "hour": _hour,
    "frequency": _frequency,
}
_FIELDS: Final = {name: name for name in _READ} | {"category": "categories"}
"""The names of the columns in `SubscriberPreferences`."""
