"""The commands of `triage subscriber` that import a library and export a subscriber's data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from triage.app.application import App
from triage.cli.app_context import PARTLY_DONE, load_app_and_subscriber, progress_bar, warn
from triage.domain.protocols import Progress
from triage.domain.records import Subscriber
from triage.errors import ConfigError

if TYPE_CHECKING:
    from triage.subscribers.library_import import LibraryReport

SHOWN = 20


@click.command("import")
@click.argument("email")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--author", help="Their name as an author: like their own stored papers.")
@click.option("--own", is_flag=True, help="EMAIL wrote the papers in FILES.")
@click.option(
    "--zotero-key",
    type=click.File("r"),
    help="Read their Zotero library. The file has the API key; - is standard input.",
)
@click.option(
    "--daily/--no-daily",
    default=None,
    help="Read the Zotero library again once a day. --no-daily ends this.",
)
@click.option("--all", "all_", is_flag=True, help="Show every entry that was not recognised.")
def import_(
    email: str,
    files: tuple[Path, ...],
    author: str | None,
    own: bool,
    zotero_key: TextIO | None,
    daily: bool | None,
    all_: bool,
) -> None:
    """Import likes of EMAIL from FILES: libraries, or lists of ids, links and titles.

    Libraries are BibTeX, RIS, PubMed's .nbib, EndNote's XML and .enw, CSL-JSON, Zotero's JSON and
    CSV. ORCID exports lists of works as BibTeX (use --own, so that new papers by EMAIL are not
    offered to them). An entry with an abstract is stored as a paper.
    Other papers are requested from arXiv, bioRxiv and Crossref: up to 200 now, the others soon by
    the scheduler. Importing a file again changes nothing.
    """
    from triage.subscribers.library_import import like_own, read_library

    if own and not files:
        raise click.UsageError("--own needs FILES")
    if daily and zotero_key is None:
        raise click.UsageError("--daily needs --zotero-key")
    if not files and author is None and zotero_key is None and daily is None:
        raise click.UsageError("name FILES, or give --author or --zotero-key")
    app, subscriber = load_app_and_subscriber(email)
    lookups = app.live_sources.lookups()
    reports: list[tuple[str, LibraryReport]] = []
    with progress_bar() as progress:
        for path in files:
            content = _read(path)
            report = read_library(
                app.database,
                app.clock,
                subscriber,
                content,
                new_papers=True,
                own=own,
                lookups=lookups,
                progress=progress,
            )
            reports.append((path.name, report))
        if zotero_key is not None:
            key = zotero_key.read().strip()
            reports.append(("Zotero", _import_zotero(app, subscriber, key, daily, progress)))
    if daily is False:
        _forget_zotero(app, subscriber)
    if author is not None:
        reports.append((author, like_own(app.database, app.clock, subscriber, author)))
    for name, report in reports:
        _show(name, report, len(report.unrecognised) if all_ else SHOWN)
    if any(report.unrecognised for _, report in reports):
        sys.exit(PARTLY_DONE if any(report.recognised for _, report in reports) else 1)


def _show(name: str, report: LibraryReport, n_shown: int) -> None:
    shown = report.unrecognised[:n_shown]
    for entry in shown:
        title = f" “{entry.title[:80]}”" if entry.title else ""
        warn(f"{name} {entry.where}{title}: {entry.why}")
    if n_left := len(report.unrecognised) - len(shown):
        warn(f"and {n_left} more: --all shows them")
    for problem in report.problems:
        warn(problem)
    click.echo(f"{name}: {report}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from error


def _import_zotero(
    app: App, subscriber: Subscriber, key: str, daily: bool | None, progress: Progress
) -> LibraryReport:
    from triage import store
    from triage.subscribers.library_import import sync_zotero

    content = app.live_sources.zotero(key).library()
    lookups = app.live_sources.lookups()
    if daily:
        with app.database.write() as conn:
            store.zotero_libraries.save(conn, subscriber.id, key, app.clock.now())
    return sync_zotero(app.database, app.clock, subscriber, content, lookups, progress)


def _forget_zotero(app: App, subscriber: Subscriber) -> None:
    from triage import store

    with app.database.write() as conn:
        was_stored = store.zotero_libraries.forget(conn, subscriber.id)
    text = "their Zotero library is no longer read" if was_stored else "none was read daily"
    click.echo(text)


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
