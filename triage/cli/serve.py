"""`triage serve`"""

from __future__ import annotations

import logging

import click

from triage.cli._edge import opened


@click.command("serve")
@click.option("--host", help="Listen here instead of where the config says.")
@click.option("--port", type=int, help="Listen there instead of where the config says.")
@click.pass_context
def command(ctx: click.Context, host: str | None, port: int | None) -> None:
    """Serve the pages behind the links in the mails until interrupted."""
    import uvicorn

    app = opened(ctx, log_level=logging.INFO)
    web = app.settings.web
    host, port = host or web.host, port or web.port
    click.echo(f"serving {app.settings.site.base_url} on {host}:{port}", err=True)
    # The access log would hold tokens; the program writes one of its own without them.
    uvicorn.run(app.web(), host=host, port=port, access_log=False, log_level="warning")
