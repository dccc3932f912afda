"""Cursors as JSON: the fields of a dataclass, checked against their types."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import PlainSerializer, TypeAdapter

T = TypeVar("T")
Keys = Annotated[set[str], PlainSerializer(sorted)]
"""A set of texts that is written in order, so that equal states have equal cursors."""
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def read_cursor(kind: type[T], cursor: str | None) -> T | None:
    """Return the state in a cursor; None if there is no cursor, or it has another form.

    Args:
        kind: a dataclass. Its field `form: Literal[n] = n` tells old cursors from new ones.
    """
    try:
        state: T = _adapter(kind).validate_json(cursor or "")
    except ValueError:
        return None
    return state


def write_cursor(state: Any) -> str:
    return _adapter(type(state)).dump_json(state).decode()
