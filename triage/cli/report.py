"""`triage report`"""

from __future__ import annotations

from pathlib import Path

import click

from triage.cli.app_context import FILE, load_app, write_page

NAME = "triage-report.html"


@click.command("report")
@click.option("--to", "path", type=FILE, help=f"The file.  [default: {NAME} beside the config]")
def command(path: Path | None) -> None:
    """Write health and quality of the last 90 days as one HTML page with plots.

    The page is a single file that needs no network. It names no subscriber.
    """
    from triage.operations.report import history, render_report

    app = load_app()
    path = path or app.settings.folder / NAME
    read = history(app.database, app.clock.now(), app.settings.digest.max_age_days)
    page = render_report(read, app.settings.site.name)
    write_page(path, page)
    click.echo(f"wrote {path}")
