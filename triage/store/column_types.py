"""Column types that are the same in both databases, and helpers to define tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    TypeDecorator,
    text,
)
from sqlalchemy import String as _String
from sqlalchemy import Text as _Text
from sqlalchemy.schema import SchemaItem

from triage.domain.plain_text import storable


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite stores it without its zone."""

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


class String(TypeDecorator[str]):
    """Text with NUL and lone surrogates replaced by U+FFFD, in stored values and in queries.

    PostgreSQL cannot store NUL, and no database can store a lone surrogate.
    """

    impl = _String
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return value and storable(value)


class Text(String):
    """A `String` without a maximum length."""

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


def table(name: str, *content: SchemaItem, **options: Any) -> Table:
    return Table(name, metadata, *content, **options)


def numbered_table(name: str, *content: SchemaItem) -> Table:
    """Return a table whose rows have ids."""
    return table(name, Column("id", Id, primary_key=True), *content)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Return an index of only the rows that meet a condition."""
    rows = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=rows, postgresql_where=rows)


def reference(name: str, target: str, *, index: bool = True, nullable: bool = False) -> Column[int]:
    """Return a foreign key; its row is deleted together with the target."""
    return Column(name, Id, ForeignKey(target, ondelete="CASCADE"), nullable=nullable, index=index)


def key_of(name: str, target: str, *, index: bool = False) -> Column[int]:
    """Return a `reference` that is the primary key or a part of it."""
    key = ForeignKey(target, ondelete="CASCADE")
    return Column(name, Id, key, primary_key=True, autoincrement=False, index=index)
