"""`triage db …`"""

from __future__ import annotations

import re
import sys
from contextlib import closing
from pathlib import Path

import click

from triage.app.application import App
from triage.cli.app_context import FILE, PARTLY_DONE, load_app, progress_bar, warn
from triage.errors import ConfigError, DatabaseError, SchemaError

_PASSWORD = re.compile(r"(//[^:/@]*:).*(?=@)|(\bpassword=)[^&]*")


@click.group("db")
def command() -> None:
    """Upgrade, check, copy and restore the database."""


@command.command()
def upgrade() -> None:
    """Bring the database to this program's schema, after a backup."""
    from triage.delivery.sent_log_check import check_sent_log
    from triage.store import revision_of, tables
    from triage.store.migrate import upgrade as upgrade_database

    app = load_app()
    database = app.unchecked_database
    with database.read() as conn:
        revision = revision_of(conn)
    if revision not in {None, tables.SCHEMA_REVISION} and database.is_file:
        from triage.operations.backup import back_up

        click.echo(f"{back_up(database, app.settings.backup_path, app.clock)} in backups/ first")
    before, after = upgrade_database(database)
    if before == after:
        click.echo(f"the database is at schema {after} already")
    else:
        click.echo(f"the database is at schema {after} now ({before or 'nothing'} before)")
        if why := check_sent_log(database, app.sent_log, app.clock):
            warn(f"nothing is sent yet: {why}")


@command.command()
def check() -> None:
    """Compare the database with the schema that this program expects."""
    from triage.store.migrate import differences

    if found := differences(load_app().database):
        raise SchemaError("the database differs from this program's schema:\n" + "\n".join(found))
    click.echo("the database is as this program expects")


@command.command()
def compact() -> None:
    """Rewrite the file of the database, so that no deleted data is left in it."""
    load_app().database.rewrite()
    click.echo("nothing of what was deleted is left in the file")


@command.command()
@click.argument("file", required=False, type=FILE)
def backup(file: Path | None) -> None:
    """Copy the database while it is in use, to FILE or to backups/.

    An existing FILE is replaced only when the copy is complete and checked.
    """
    from triage.operations.backup import back_up, copy_to

    app = load_app()
    if not app.unchecked_database.is_file:
        raise DatabaseError("the database is on a server: use its own tools, such as `pg_dump`")
    if file is not None:
        copy_to(app.unchecked_database, file)
        click.echo(f"wrote {file}")
    else:
        folder = app.settings.backup_path
        click.echo(f"{back_up(app.unchecked_database, folder, app.clock)} in {folder}")


@command.command()
@click.argument("file", type=FILE)
def restore(file: Path) -> None:
    """Replace the database by a copy. Stop triage first.

    The old database is kept under another name. The sent journal has the mail that was sent after
    the copy was made, so nothing is sent twice.
    """
    from triage.operations.backup import restore as restore_copy

    app = load_app()
    path = app.settings.database_file
    if path is None:
        raise DatabaseError("the database is on a server: use its own tools, such as `pg_restore`")
    old = restore_copy(path, file, app.clock)
    click.echo(f"{path} is the copy {file} now")
    if old is not None:
        click.echo(f"the old database is {old}")
    _check_after_restore(app)


@command.command("migrate-to")
@click.argument("url")
def migrate_to(url: str) -> None:
    """Copy the SQLite database to a new PostgreSQL database. Stop triage first.

    Every row of the copy is compared with the original, which is not changed. If this is
    interrupted, run it again: it continues.
    """
    from triage.store import open_database
    from triage.store.copy_database import begin_copy, copy_rows, open_alone

    app = load_app()
    file, target = app.settings.database_file, open_database(url)
    if file is None:
        raise ConfigError("[database] url: this copies a SQLite database, and that is another one")
    if target.is_file:
        raise ConfigError("the copy goes to PostgreSQL: give an address such as postgresql://…")
    if not file.exists():
        raise DatabaseError(f"{file} does not exist: there is nothing to copy")
    source = open_alone(app.settings.database_url)
    with closing(target), closing(source):
        source.check_schema()
        kind = begin_copy(source, target, app.installation_id)
        if kind == "restarted":
            warn("the SQLite database was changed since the copy began: it is copied anew")
        elif kind == "continued":
            click.echo("the copy continues where it was interrupted", err=True)
        with progress_bar() as progress:
            n_rows = copy_rows(source, target, progress)
    old, shown = app.settings, _PASSWORD.sub(r"\1\2***", url)
    click.echo(f"{n_rows} rows are copied and compared")
    click.echo(f"Now change two lines of {click.get_current_context().find_root().obj}:\n")
    click.echo(f'[database]\nurl = "{shown}"\n')
    if "***" in shown:
        click.echo("Write the password instead of ***, or keep it in ~/.pgpass.")
    new = old.model_copy(update={"database": old.database.model_copy(update={"url": url})})
    if old.sent_log_path != new.sent_log_path:
        click.echo(f"Move {old.sent_log_path} to {new.sent_log_path}.")
    click.echo(
        "Then start triage again, and back up the server from now on (`pg_dump`). To go back, write"
        f' url = "{old.database.url}" again: what happens from now on is only in PostgreSQL.'
    )


def _check_after_restore(app: App) -> None:
    from triage.delivery.sent_log_check import check_sent_log

    try:
        why = check_sent_log(app.database, app.sent_log, app.clock)
    except SchemaError as error:
        warn(error)
        sys.exit(PARTLY_DONE)
    if why:
        warn(f"nothing is sent yet: {why}")
        sys.exit(PARTLY_DONE)
    click.echo("it has all mail that was sent: start triage again")
