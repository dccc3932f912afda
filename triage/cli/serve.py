"""`triage serve`"""

from __future__ import annotations

import logging
import signal
from contextlib import AbstractContextManager, nullcontext

import click

from triage.cli.app_context import freeze_garbage_collector, opened


@click.command("serve")
@click.option("--host", help="Listen here instead of where the config says.")
@click.option("--port", type=int, help="Listen there instead of where the config says.")
@click.option("--pages-only", is_flag=True, help="Serve pages, and let nothing else happen.")
@click.pass_context
def command(ctx: click.Context, host: str | None, port: int | None, pages_only: bool) -> None:
    """Serve the pages behind the mails' links, and do on schedule all that is due.

    One process for a whole installation: it fetches, sends, retrains and backs up.
    """
    from triage.cli.http_server import beside, listen
    from triage.operations.scheduler import Scheduler

    app = opened(ctx, log_level=logging.INFO)
    logging.basicConfig(format="%(asctime)s [%(levelname)s] %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("triage.web").setLevel(logging.INFO)
    # Uvicorn raises the signal that ended it once more, which must not end us half way.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: None)
    web = app.settings.web
    host, port = host or web.host, port or web.port
    scheduler = None if pages_only else Scheduler(app.schedule(), app.answers(), app.clock.now())
    pages = app.web()
    operators_page: AbstractContextManager[None] = nullcontext()
    freeze_garbage_collector()
    click.echo(f"serving {app.settings.site.base_url} on {host}:{port}", err=True)
    if web.operator_port not in (0, port):
        click.echo(
            f"serving the operator's page on http://127.0.0.1:{web.operator_port}/", err=True
        )
        operators_page = beside(app.operators_page(), web.operator_port)
    if scheduler:
        scheduler.start()
    try:
        with operators_page:
            listen(pages, host, port)
    finally:
        if scheduler:
            click.echo("finishing what is under way", err=True)
            scheduler.stop()
