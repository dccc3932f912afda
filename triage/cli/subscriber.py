"""`triage subscriber …`"""

from __future__ import annotations

import click

from triage.cli._edge import json_option, opened, show
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
    done = resume_subscriber(app.database, email, app.clock)
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
