"""Migrates a database to the schema of this program, with alembic."""

from __future__ import annotations

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from triage.resources import migrations_dir
from triage.store import Database, Turn, revision_of, tables, take_turn


def config(conn: Connection | None = None) -> Config:
    """Return alembic's configuration for the database of a connection."""
    found = Config()
    found.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    found.attributes["connection"] = conn
    return found


def upgrade(database: Database) -> tuple[str | None, str]:
    """Migrate to the newest schema in one transaction; return the revision before and after.

    Raises:
        SchemaError: the database is of a newer triage, or from before the first release.
    """
    return database.execute(_upgrade), tables.SCHEMA_REVISION


def _upgrade(conn: Connection) -> str | None:
    take_turn(conn, Turn.SCHEMA)
    before = revision_of(conn)
    command.upgrade(config(conn), "head")
    return before


def differences(database: Database) -> list[str]:
    """Return the differences between the database and `tables`; [] if there are none."""
    with database.read() as conn:
        opts = {"compare_type": True, "include_name": _is_described}
        context = MigrationContext.configure(conn, opts=opts)
        return [str(difference) for difference in compare_metadata(context, tables.metadata)]


def _is_described(name: str | None, kind: str, _parents: object) -> bool:
    """Return whether SQLAlchemy can describe a table; it cannot describe the word index."""
    return kind != "table" or name is None or not name.startswith("paper_words")
