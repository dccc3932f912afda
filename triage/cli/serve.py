"""`triage serve`"""

from __future__ import annotations

import logging
import signal
from contextlib import AbstractContextManager, nullcontext

import click

from triage.cli.app_context import freeze_garbage_collector, load_app


@click.command("serve")
@click.option("--host", help="The address to listen on.  [default: from the config]")
@click.option("--port", type=int, help="The port to listen on.  [default: from the config]")
@click.option("--pages-only", is_flag=True, help="Serve only the pages: no schedule.")
def command(host: str | None, port: int | None, pages_only: bool) -> None:
    """Serve the pages to which mails link, and fetch, send and train on schedule.

    This one process is enough for an installation: it fetches, sends, trains and backs up.
    """
    from triage.cli.http_server import serve, serve_in_thread
    from triage.operations.scheduler import Scheduler
    from triage.web.operator import create_operator_page

    app = load_app(log_level=logging.INFO)
    logging.basicConfig(format="%(asctime)s [%(levelname)s] %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("triage.web").setLevel(logging.INFO)
    # Uvicorn raises the signal that stopped it again. It must not stop this process at once.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: None)
    web = app.settings.web
    host, port = host or web.host, port or web.port
    scheduler = (
        None if pages_only else Scheduler(app.new_schedule(), app.account_mail_sender(), app.clock)
    )
    pages = app.new_web_app()
    operators_page: AbstractContextManager[None] = nullcontext()
    freeze_garbage_collector()
    click.echo(f"serving {app.settings.site.base_url} on {host}:{port}", err=True)
    if web.operator_port not in (0, port):
        click.echo(
            f"serving the operator's page on http://127.0.0.1:{web.operator_port}/", err=True
        )
        max_age_days = app.settings.digest.max_age_days
        page = create_operator_page(app.database, app.clock, app.settings.site, max_age_days)
        operators_page = serve_in_thread(page, web.operator_port)
    if scheduler:
        scheduler.start()
    try:
        with operators_page:
            serve(pages, host, port)
    finally:
        if scheduler:
            click.echo("finishing current work", err=True)
            scheduler.stop()
