"""`triage db …`"""

from __future__ import annotations

import click

from triage.cli._edge import opened
from triage.errors import SchemaError


@click.group("db")
def command() -> None:
    """Upgrade and check the database."""


@command.command()
@click.pass_context
def upgrade(ctx: click.Context) -> None:
    """Bring the database to this program's schema."""
    from triage.migrate import upgrade as upgrade_database

    before, after = upgrade_database(opened(ctx).unchecked_database)
    if before == after:
        click.echo(f"the database is at schema {after} already")
    else:
        click.echo(f"the database is at schema {after} now ({before or 'nothing'} before)")


@command.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Compare the database with what this program expects."""
    from triage.migrate import differences

    app = opened(ctx)
    found = differences(app.database)
    if found:
        raise SchemaError("the database differs from this program's schema:\n" + "\n".join(found))
    click.echo("the database is as this program expects")
