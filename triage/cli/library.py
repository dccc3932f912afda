"""What of `triage subscriber` takes a reader's library in, and gives out what is theirs."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from triage.cli.app_context import PARTLY_DONE, opened
from triage.errors import ConfigError

SHOWN = 20


@click.command("import")
@click.argument("email")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--author", help="Like the stored papers of this author.")
@click.option(
    "--zotero-key",
    type=click.File("r"),
    help="Read their Zotero library with the API key in this file, - for the standard input.",
)
@click.option("--all", "all_", is_flag=True, help="Name every entry that was not recognised.")
@click.pass_context
def import_(
    ctx: click.Context,
    email: str,
    files: tuple[Path, ...],
    author: str | None,
    zotero_key: TextIO | None,
    all_: bool,
) -> None:
    """Make likes of EMAIL's library: FILES of BibTeX, RIS, CSL-JSON, or text with ids and links.

    ORCID gives out its lists of works as BibTeX. Papers that a file has in full, with abstract and
    date, are stored; of the others the ids are kept aside. Reading a file again changes nothing.
    """
    from triage.subscribers.library_import import LibraryReport, like_own, read_library
    from triage.subscribers.subscriptions import find

    if not files and author is None and zotero_key is None:
        raise click.UsageError("name FILES, or give --author or --zotero-key")
    app = opened(ctx)
    reader = find(app.database, email)
    reports: list[tuple[str, LibraryReport]] = []
    for path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from error
        report = read_library(app.database, app.clock, reader, content, new_papers=True)
        reports.append((path.name, report))
    if zotero_key is not None:
        text = app.upstreams.zotero(zotero_key.read().strip()).library()
        report = read_library(app.database, app.clock, reader, text, new_papers=True)
        reports.append(("Zotero", report))
    if author is not None:
        reports.append((author, like_own(app.database, app.clock, reader, author)))
    for name, report in reports:
        several = report.unrecognised if all_ else report.unrecognised[:SHOWN]
        for each in several:
            title = f" “{each.title[:80]}”" if each.title else ""
            click.echo(f"triage: {name} {each.where}{title}: {each.why}", err=True)
        if len(report.unrecognised) > len(several):
            left = len(report.unrecognised) - len(several)
            click.echo(f"triage: and {left} more: --all names them", err=True)
        click.echo(f"{name}: {report}")
    if any(report.unrecognised for _, report in reports):
        ctx.exit(PARTLY_DONE if any(report.recognised for _, report in reports) else 1)


@click.command("export")
@click.argument("email")
@click.pass_context
def export(ctx: click.Context, email: str) -> None:
    """Print everything that is stored of EMAIL, as JSON, for them to keep."""
    from triage.subscribers.data_export import export as export_all
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    reader = find(app.database, email)
    click.echo(export_all(app.database, app.clock, reader, app.address_hash))


@click.command("feed")
@click.argument("email")
@click.option("--revoke", is_flag=True, help="Let the addresses lead nowhere from now on.")
@click.pass_context
def feed(ctx: click.Context, email: str, revoke: bool) -> None:
    """Print the secret addresses of EMAIL's feed, Atom and JSON."""
    from triage.subscribers import digest_feed
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    reader = find(app.database, email)
    if revoke:
        done = digest_feed.revoke(app.database, reader)
        click.echo("revoked" if done else "there was none: nothing was changed")
        return
    base_url = app.settings.site.base_url
    found = digest_feed.get_or_create_feed(app.database, app.clock, app.keyring, reader, base_url)
    click.echo(f"{found.atom}\n{found.json}")
