"""Brings a database to this program's schema: the only user of alembic."""

from __future__ import annotations

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from triage._assets import migrations_dir
from triage.errors import SchemaError
from triage.store import Database
from triage.tables import metadata


def _config(conn: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    config.attributes["connection"] = conn
    return config


def newest_revision() -> str:
    """Return the revision that the newest migration leads to."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def revision_of(database: Database) -> str | None:
    """Return the schema that a database is at, None for one without tables."""
    with database.read() as conn:
        return MigrationContext.configure(conn).get_current_revision()


def upgrade(database: Database) -> tuple[str | None, str]:
    """Migrate to the newest schema in one transaction; return the revision before and after.

    Raises:
        SchemaError: the database was made by a newer triage.
    """
    with database.write() as conn:
        before = MigrationContext.configure(conn).get_current_revision()
        newest = newest_revision()
        if before is not None and before > newest:
            raise SchemaError(
                f"the database is at schema {before}, newer than this program ({newest}):"
                " install the newer triage"
            )
        command.upgrade(_config(conn), "head")
    return before, newest


def differences(database: Database) -> list[str]:
    """Return how the database differs from the program's tables; none means that they agree."""
    with database.read() as conn:
        opts = {"compare_type": True, "include_name": _is_described}
        context = MigrationContext.configure(conn, opts=opts)
        return [str(difference) for difference in compare_metadata(context, metadata)]


def _is_described(name: str | None, kind: str, _parents: object) -> bool:
    """Tell whether SQLAlchemy can describe a table: not so the index of words, see 0008."""
    return kind != "table" or name is None or not name.startswith("paper_words")
