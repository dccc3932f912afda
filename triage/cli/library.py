"""The commands of `triage subscriber` that import a library and export a subscriber's data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click

from triage.app.application import App
from triage.cli.app_context import PARTLY_DONE, load_app_and_subscriber, warn
from triage.errors import ConfigError

SHOWN = 20


@click.command("import")
@click.argument("email")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--author", help="Like the stored papers of this author.")
@click.option(
    "--zotero-key",
    type=click.File("r"),
    help="Read their Zotero library. The file has the API key; - is standard input.",
)
@click.option("--all", "all_", is_flag=True, help="Show every entry that was not recognised.")
def import_(
    email: str, files: tuple[Path, ...], author: str | None, zotero_key: TextIO | None, all_: bool
) -> None:
    """Import likes of EMAIL from FILES: BibTeX, RIS, CSL-JSON, or text with ids and links.

    ORCID exports lists of works as BibTeX. An entry with abstract and date is stored as a paper.
    For other entries, the ids are stored for later. Importing a file again changes nothing.
    """
    from triage.subscribers.library_import import LibraryReport, like_own, read_library

    if not files and author is None and zotero_key is None:
        raise click.UsageError("name FILES, or give --author or --zotero-key")
    app, subscriber = load_app_and_subscriber(email)
    reports: list[tuple[str, LibraryReport]] = [
        (name, read_library(app.database, app.clock, subscriber, content, new_papers=True))
        for name, content in _contents(app, files, zotero_key)
    ]
    if author is not None:
        reports.append((author, like_own(app.database, app.clock, subscriber, author)))
    for name, report in reports:
        shown = report.unrecognised if all_ else report.unrecognised[:SHOWN]
        for entry in shown:
            title = f" “{entry.title[:80]}”" if entry.title else ""
            warn(f"{name} {entry.where}{title}: {entry.why}")
        if n_left := len(report.unrecognised) - len(shown):
            warn(f"and {n_left} more: --all shows them")
        click.echo(f"{name}: {report}")
    if any(report.unrecognised for _, report in reports):
        sys.exit(PARTLY_DONE if any(report.recognised for _, report in reports) else 1)


def _contents(
    app: App, files: tuple[Path, ...], zotero_key: TextIO | None
) -> Iterator[tuple[str, bytes | str]]:
    for path in files:
        try:
            yield path.name, path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from error
    if zotero_key is not None:
        yield "Zotero", app.live_sources.zotero(zotero_key.read().strip()).library()


@click.command("export")
@click.argument("email")
def export(email: str) -> None:
    """Print all stored data of EMAIL, as JSON."""
    from triage.subscribers.data_export import export as export_all

    app, subscriber = load_app_and_subscriber(email)
    click.echo(export_all(app.database, app.clock, subscriber, app.address_hash))


@click.command("feed")
@click.argument("email")
@click.option("--revoke", is_flag=True, help="Make the addresses invalid.")
def feed(email: str, revoke: bool) -> None:
    """Print the secret addresses of EMAIL's feed, Atom and JSON."""
    from triage.subscribers import digest_feed

    app, subscriber = load_app_and_subscriber(email)
    if revoke:
        done = digest_feed.revoke(app.database, subscriber)
        click.echo("revoked" if done else "there was none: nothing was changed")
        return
    addresses = digest_feed.get_or_create_feed(
        app.database, app.clock, app.keyring, subscriber, app.settings.site.base_url
    )
    click.echo(f"{addresses.atom}\n{addresses.json}")
