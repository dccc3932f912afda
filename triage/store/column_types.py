"""What tables are made of: types that both databases keep alike, and names of constraints."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    TypeDecorator,
    text,
)
from sqlalchemy import String as _String
from sqlalchemy import Text as _Text


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite keeps it without its zone and would give it back naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class String(TypeDecorator[str]):
    """Text of any origin: PostgreSQL stores no NUL, and no database half a character.

    U+FFFD takes their place, in what is written and in what is looked for alike.
    """

    impl = _String
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return value and _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)


class Text(String):
    """The same without a greatest length."""

    impl = _Text
    cache_ok = True


Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Return an index of the rows alone of which something is true."""
    rows = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=rows, postgresql_where=rows)


def reference(name: str, target: str, *, index: bool = True, nullable: bool = False) -> Column[int]:
    """Return a column that goes when the row that it points at goes."""
    key = ForeignKey(target, ondelete="CASCADE")
    return Column(name, Id, key, nullable=nullable, index=index)


def key_of(name: str, target: str, *, index: bool = False) -> Column[int]:
    """Return the same as the primary key, or a part of it."""
    key = ForeignKey(target, ondelete="CASCADE")
    return Column(name, Id, key, primary_key=True, autoincrement=False, index=index)
