"""`triage db …`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.cli.app_context import PARTLY_DONE, opened
from triage.errors import DatabaseError, SchemaError

if TYPE_CHECKING:
    from triage.app.application import App


@click.group("db")
def command() -> None:
    """Upgrade, check, copy and restore the database."""


@command.command()
@click.pass_context
def upgrade(ctx: click.Context) -> None:
    """Bring the database to this program's schema, after a back-up."""
    from triage.delivery.sent_log_check import check_sent_log
    from triage.store import revision_of, tables
    from triage.store.migrate import upgrade as upgrade_database

    app = opened(ctx)
    database = app.unchecked_database
    with database.read() as conn:
        found = revision_of(conn)
    if found not in {None, tables.SCHEMA_REVISION} and database.is_file:
        from triage.operations.backup import back_up

        click.echo(f"{back_up(database, app.settings.backup_path, app.clock)} in backups/ first")
    before, after = upgrade_database(database)
    if before == after:
        click.echo(f"the database is at schema {after} already")
    else:
        click.echo(f"the database is at schema {after} now ({before or 'nothing'} before)")
        if why := check_sent_log(database, app.journal, app.clock):
            click.echo(f"triage: nothing is sent yet: {why}", err=True)


@command.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Compare the database with what this program expects."""
    from triage.store.migrate import differences

    app = opened(ctx)
    found = differences(app.database)
    if found:
        raise SchemaError("the database differs from this program's schema:\n" + "\n".join(found))
    click.echo("the database is as this program expects")


@command.command()
@click.pass_context
def compact(ctx: click.Context) -> None:
    """Write the database's file anew: nothing of what was deleted is left in it."""
    opened(ctx).database.rewrite()
    click.echo("nothing of what was deleted is left in the file")


@command.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def backup(ctx: click.Context, file: Path | None) -> None:
    """Copy the database while it is in use, to FILE or to backups/.

    A file that is there already is replaced by the copy once that is whole and checked.
    """
    from triage.operations.backup import back_up, copy_to

    app = opened(ctx)
    if not app.unchecked_database.is_file:
        raise DatabaseError("the database is a server: use its own tools, as `pg_dump`")
    if file is not None:
        copy_to(app.unchecked_database, file)
        click.echo(f"wrote {file}")
    else:
        folder = app.settings.backup_path
        click.echo(f"{back_up(app.unchecked_database, folder, app.clock)} in {folder}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def restore(ctx: click.Context, file: Path) -> None:
    """Put a copy in the database's place; triage must not run.

    The database that was there is kept. What was sent after the copy was made stands in the sent
    journal, so nothing is sent twice.
    """
    from triage.operations.backup import restore as restore_copy

    app = opened(ctx)
    place = app.settings.database_file
    if place is None:
        raise DatabaseError("the database is a server: use its own tools, as `pg_restore`")
    kept = restore_copy(place, file, app.clock)
    click.echo(f"{place} is the copy {file} now")
    if kept is not None:
        click.echo(f"what was there lies in {kept}")
    _say_what_to_do(ctx, app)


def _say_what_to_do(ctx: click.Context, app: App) -> None:
    from triage.delivery.sent_log_check import check_sent_log

    try:
        app.unchecked_database.check_schema()
    except SchemaError as error:
        click.echo(f"triage: {error}", err=True)
        ctx.exit(PARTLY_DONE)
    why = check_sent_log(app.database, app.journal, app.clock)
    if why:
        click.echo(f"triage: nothing is sent yet: {why}", err=True)
        ctx.exit(PARTLY_DONE)
    click.echo("it knows of all that was sent: start triage again")
