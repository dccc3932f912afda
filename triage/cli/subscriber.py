"""`triage subscriber …`"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import click

from triage.cli import library
from triage.cli.app_context import json_option, opened, options, parse_date, show
from triage.domain.records import Detail, Frequency

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# The choice to leave a number to the settings, which is not the same as to say nothing.
_DEFAULT = "default"


def _weekdays(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Read days as in `mon,tue`, or `all`, as bits."""
    if value is None:
        return None
    named = WEEKDAYS if value == "all" else [day.strip().lower() for day in value.split(",")]
    for day in named:
        if day not in WEEKDAYS:
            raise click.BadParameter(f"{day!r} is no day: write them as in {','.join(WEEKDAYS)}")
    return sum(1 << WEEKDAYS.index(day) for day in set(named))


def _number(
    kind: Callable[[str], int | float],
) -> Callable[[click.Context, click.Parameter, str | None], int | float | str | None]:
    def read(
        _ctx: click.Context, _parameter: click.Parameter, value: str | None
    ) -> int | float | str | None:
        if value in (None, _DEFAULT):
            return value
        try:
            return kind(value)
        except ValueError:
            raise click.BadParameter(f"{value!r} is neither a number nor `{_DEFAULT}`") from None

    return read


_choices = options(
    click.option("--interests", help="A sentence about what they read."),
    click.option("--category", "categories", multiple=True, help="Such as cs.CL; may be repeated."),
    click.option("--zone", help="Their time zone; UTC unless told."),
    click.option("--hour", type=int, help="Their hour for the mail; 7 unless told."),
    click.option("--frequency", type=click.Choice([each.value for each in Frequency])),
    click.option("--weekdays", callback=_weekdays, help="Their days, as in mon,tue,fri; or all."),
    click.option(
        "--size", callback=_number(int), help="The most papers of a digest; or `default`."
    ),
    click.option(
        "--score-floor", callback=_number(float), help="The least score of a paper; or `default`."
    ),
    click.option("--community", type=float, help="What upvotes count: 0 to 2, 1 as usual."),
    click.option(
        "--explores/--no-explores",
        default=None,
        help="Now and then a paper from outside their usual, marked so.",
    ),
    click.option("--detail", type=click.Choice([each.value for each in Detail])),
    click.option("--follow", "followed_authors", multiple=True, help="An author; may be repeated."),
    click.option("--include", "include_keywords", multiple=True, help="A keyword to look for."),
    click.option("--exclude", "exclude_keywords", multiple=True, help="A keyword never to show."),
    click.option(
        "--revisions/--no-revisions",
        default=None,
        help="Tell of major revisions of papers they liked.",
    ),
    click.option(
        "--recap/--no-recap",
        default=None,
        help="Once a week, name the best papers that no digest had room for.",
    ),
)
"""Gives a command an option for each thing that a subscriber may choose."""


def _said(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the choices that were made on the command line, as records hold them."""
    said: dict[str, Any] = {}
    for name, value in chosen.items():
        if value is None or value == ():
            continue
        if isinstance(value, tuple):
            value = tuple(each for each in value if each)
        said[name] = None if value == _DEFAULT and name in ("size", "score_floor") else value
    return said


@click.group("subscriber")
def command() -> None:
    """Add, list, change, pause and erase subscribers."""


@command.command()
@click.argument("email")
@click.option("--like", "likes", multiple=True, help="A paper they like; may be repeated.")
@_choices
@click.pass_context
def add(ctx: click.Context, /, email: str, likes: tuple[str, ...], **chosen: Any) -> None:
    """Add EMAIL as a confirmed subscriber: you vouch that they want the mail."""
    from triage.subscribers.preferences import SubscriberPreferences
    from triage.subscribers.subscriptions import add as add_subscriber

    app = opened(ctx)
    added = add_subscriber(
        app.database,
        email,
        app.clock,
        SubscriberPreferences(**_said(chosen)),
        likes=likes,
        address_hash=app.address_hash,
    )
    state = added.subscriber.state
    click.echo("added" if added.new else f"known already and {state}: nothing was changed")


@command.command()
@click.argument("email")
@_choices
@click.pass_context
def change(ctx: click.Context, /, email: str, **chosen: Any) -> None:
    """Change what EMAIL has chosen; what is not named stays as it is.

    A list that is named replaces the one before; "" empties it.
    """
    from triage.subscribers.subscriptions import change as change_subscriber
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    said = _said(chosen)
    if not said:
        raise click.UsageError("name what to change, as in `--hour 6`")
    change_subscriber(app.database, find(app.database, email).public_id, **said)
    click.echo(f"changed: {', '.join(said)}")


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
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    subscriber = find(app.database, email)
    with app.database.read() as conn:
        n_votes = len(store.events.votes(conn, subscriber.id))
    fields = asdict(subscriber) | {"n_votes": n_votes}
    for hidden in ("id", "public_id"):
        del fields[hidden]
    fields["weekdays"] = tuple(
        day for bit, day in enumerate(WEEKDAYS) if subscriber.weekdays >> bit & 1
    )
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
    from triage.ranking.serving.interest_settings import refresh_interests
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    found = refresh_interests(app.database, app.workshop, app.clock, find(app.database, email))
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
    from triage.ranking.serving.interest_settings import rest
    from triage.subscribers.subscriptions import find

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
    from triage.ranking.serving.interest_settings import rest
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    woken = rest(app.database, app.clock, find(app.database, email), number)
    click.echo(f"live again: {woken.name}")


@command.command()
@click.argument("email")
@click.option("--until", callback=parse_date, help="Send again from this date on.")
@click.pass_context
def pause(ctx: click.Context, email: str, until: date | None) -> None:
    """Send EMAIL nothing until `resume`, or until a date."""
    from triage.subscribers.subscriptions import pause as pause_subscriber

    app = opened(ctx)
    done = pause_subscriber(app.database, email, app.clock, until)
    paused = "paused" if until is None else f"paused until {until}"
    click.echo(paused if done else "nothing was being sent: nothing was changed")


@command.command()
@click.argument("email")
@click.pass_context
def resume(ctx: click.Context, email: str) -> None:
    """Send EMAIL digests again."""
    from triage.subscribers.subscriptions import resume as resume_subscriber

    app = opened(ctx)
    done = resume_subscriber(app.database, email, app.clock, app.address_hash)
    click.echo("active again" if done else "active already: nothing was changed")


@command.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def erase(ctx: click.Context, email: str, yes: bool) -> None:
    """Delete EMAIL with every vote, digest and message of theirs. This cannot be undone."""
    from triage.subscribers.subscriptions import erase as erase_subscriber
    from triage.subscribers.subscriptions import find

    app = opened(ctx)
    find(app.database, email)
    if not yes:
        click.confirm("Delete everything that is stored of this subscriber?", abort=True)
    erase_subscriber(app.database, email)
    click.echo("erased")
    app.database.rewrite()


for _each in (library.import_, library.export, library.feed):
    command.add_command(_each)
