"""`triage report`"""

from __future__ import annotations

from pathlib import Path

import click

from triage.cli.app_context import opened, write_page

NAME = "triage-report.html"


@click.command("report")
@click.option(
    "--to",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Write it here instead of into {NAME} beside the config.",
)
@click.pass_context
def command(ctx: click.Context, path: Path | None) -> None:
    """Write health and quality of the last 90 days as one HTML page with plots.

    The page is a single file that needs no network, and it names no subscriber.
    """
    from triage.operations.report import history, render_report

    app = opened(ctx)
    path = path or app.settings.folder / NAME
    page = render_report(history(app.database, app.clock.now()), app.settings.site.name)
    write_page(path, page)
    click.echo(f"wrote {path}")
