"""`triage db …`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from triage.app.application import App
from triage.cli.app_context import FILE, PARTLY_DONE, load_app, warn
from triage.errors import DatabaseError, SchemaError


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
