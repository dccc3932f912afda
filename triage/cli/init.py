"""`triage init`"""

from __future__ import annotations

from pathlib import Path

import click

from triage.app.installation import create_installation
from triage.resources import example_config


@click.command("init")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The folder of the installation; created if missing.",
)
def command(folder: Path) -> None:
    """Write a config file and a signing secret, and make the database.

    If there is a config file already, nothing is changed, and other missing parts are listed. Mail
    is written to a Maildir in the folder until you change the config.
    """
    config, fresh = create_installation(folder, example_config())
    if not fresh:
        from triage.operations.doctor.installation import missing_parts

        click.echo(f"{config} exists already: nothing was changed")
        for missing in missing_parts(config):
            click.echo(missing)
        return
    click.echo(f"wrote {config}, a signing secret and a database")
    click.echo(
        f"next: triage --config {config} papers import FILE…\n"
        f"      triage --config {config} subscriber add YOU@EXAMPLE.ORG --interests 'a sentence'\n"
        f"      triage --config {config} run"
    )
