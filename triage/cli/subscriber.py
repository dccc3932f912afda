"""`triage subscriber …`"""

from __future__ import annotations

from datetime import date

import click

from triage.cli._edge import json_option, opened, parse_date, show
from triage.records import Detail, Frequency


@click.group("subscriber")
def command() -> None:
    """Add, list, pause and erase subscribers."""


@command.command()
@click.argument("email")
@click.option("--interests", default="", help="A sentence about what they read.")
@click.option("--category", "categories", multiple=True, help="Such as cs.CL; may be repeated.")
@click.option("--like", "likes", multiple=True, help="A paper they like; may be repeated.")
@click.option("--zone", default="UTC", show_default=True, help="Their time zone.")
@click.option("--hour", type=int, default=7, show_default=True, help="Their hour for the mail.")
@click.option(
    "--frequency",
    type=click.Choice([each.value for each in Frequency]),
    default=Frequency.DAILY.value,
)
@click.option(
    "--detail", type=click.Choice([each.value for each in Detail]), default=Detail.ABSTRACT.value
)
@click.option("--follow", "followed_authors", multiple=True, help="An author; may be repeated.")
@click.option("--include", "include_keywords", multiple=True, help="A keyword to look for.")
@click.option("--exclude", "exclude_keywords", multiple=True, help="A keyword never to show.")
@click.option("--revisions", is_flag=True, help="Tell of major revisions of papers they liked.")
@click.pass_context
def add(
    ctx: click.Context,
    email: str,
    interests: str,
    categories: tuple[str, ...],
    likes: tuple[str, ...],
    zone: str,
    hour: int,
    frequency: str,
    detail: str,
    followed_authors: tuple[str, ...],
    include_keywords: tuple[str, ...],
    exclude_keywords: tuple[str, ...],
    revisions: bool,
) -> None:
    """Add EMAIL as a confirmed subscriber: you vouch that they want the mail."""
    from triage.subscribe import add as add_subscriber

    app = opened(ctx)
    added = add_subscriber(
        app.database,
        email,
        app.clock,
        interests=interests,
        categories=categories,
        likes=likes,
        zone=zone,
        hour=hour,
        frequency=Frequency(frequency),
        detail=Detail(detail),
        followed_authors=followed_authors,
        include_keywords=include_keywords,
        exclude_keywords=exclude_keywords,
        revisions=revisions,
        address_hash=app.address_hash,
    )
    state = added.subscriber.state
    click.echo("added" if added.new else f"known already and {state}: nothing was changed")


@command.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List all subscribers."""
    from triage import store

    with opened(ctx).database.read() as conn:
        everyone = store.subscribers.everyone(conn)
    rows = [
        {name: getattr(each, name) for name in ("email", "state", "zone", "hour", "frequency")}
        for each in everyone
    ]
    show(rows, as_json=as_json, empty="no subscribers yet: `triage subscriber add EMAIL`")


@command.command("show")
@click.argument("email")
@json_option
@click.pass_context
def show_(ctx: click.Context, email: str, as_json: bool) -> None:
    """Show what is known of EMAIL."""
    from dataclasses import asdict

    from triage import store
    from triage.subscribe import find

    app = opened(ctx)
    subscriber = find(app.database, email)
    with app.database.read() as conn:
        n_votes = len(store.events.votes(conn, subscriber.id))
    fields = asdict(subscriber) | {"n_votes": n_votes}
    for hidden in ("id", "public_id"):
        del fields[hidden]
    if as_json:
        show([fields], as_json=True)
        return
    for name, value in fields.items():
        text = ", ".join(value) if isinstance(value, tuple) else value
        click.echo(f"{name:<18}{text if text not in (None, '') else '-'}")


@command.command("interests")
@click.argument("email")
@json_option
@click.pass_context
def interests_(ctx: click.Context, email: str, as_json: bool) -> None:
    """Show what EMAIL reads about, as found in their likes and words, and each one's share."""
    from triage.subscribe import find
    from triage.tuning import interests

    app = opened(ctx)
    found = interests(app.database, app.workshop, app.clock, find(app.database, email))
    rows = [
        {
            "number": each.interest.number,
            "name": each.interest.name,
            "share": round(each.share, 3),
            "likes": len(each.interest.papers),
            "state": "muted" if each.interest.muted else "live",
            "paused_until": each.interest.paused_until,
        }
        for each in found
    ]
    show(rows, as_json=as_json, empty="none: they have liked nothing and written nothing yet")


@command.command()
@click.argument("email")
@click.argument("number", type=int)
@click.option("--until", callback=parse_date, help="Wake it on this date.")
@click.pass_context
def mute(ctx: click.Context, email: str, number: int, until: date | None) -> None:
    """Show EMAIL nothing of their interest NUMBER, for good or until a date."""
    from triage.subscribe import find
    from triage.tuning import rest

    app = opened(ctx)
    reader = find(app.database, email)
    named = rest(
        app.database, app.clock, reader, number, muted=until is None, paused_until=until
    ).name
    click.echo(f"muted: {named}" if until is None else f"paused until {until}: {named}")


@command.command()
@click.argument("email")
@click.argument("number", type=int)
@click.pass_context
def unmute(ctx: click.Context, email: str, number: int) -> None:
    """Show EMAIL papers of their interest NUMBER again."""
    from triage.subscribe import find
    from triage.tuning import rest

    app = opened(ctx)
    woken = rest(app.database, app.clock, find(app.database, email), number)
    click.echo(f"live again: {woken.name}")


@command.command()
@click.argument("email")
@click.pass_context
def pause(ctx: click.Context, email: str) -> None:
    """Send EMAIL nothing until `resume`."""
    from triage.subscribe import pause as pause_subscriber

    app = opened(ctx)
    done = pause_subscriber(app.database, email, app.clock)
    click.echo("paused" if done else "nothing was being sent: nothing was changed")


@command.command()
@click.argument("email")
@click.pass_context
def resume(ctx: click.Context, email: str) -> None:
    """Send EMAIL digests again."""
    from triage.subscribe import resume as resume_subscriber

    app = opened(ctx)
    done = resume_subscriber(app.database, email, app.clock, app.address_hash)
    click.echo("active again" if done else "active already: nothing was changed")


@command.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def erase(ctx: click.Context, email: str, yes: bool) -> None:
    """Delete EMAIL with every vote, digest and message of theirs. This cannot be undone."""
    from triage.subscribe import erase as erase_subscriber
    from triage.subscribe import find

    app = opened(ctx)
    find(app.database, email)
    if not yes:
        click.confirm("Delete everything that is stored of this subscriber?", abort=True)
    erase_subscriber(app.database, email)
    click.echo("erased")
