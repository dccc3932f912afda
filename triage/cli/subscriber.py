"""`triage subscriber …`"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date
from typing import Any, BinaryIO

import click

from triage.cli import library
from triage.cli.app_context import (
    PARTLY_DONE,
    json_option,
    load_app,
    load_app_and_subscriber,
    options,
    parse_date,
    show,
    show_fields,
    warn,
)
from triage.domain.chances import LENGTHS, length_of
from triage.domain.records import Detail, Frequency
from triage.errors import ConfigError, NotFound

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# This value removes the subscriber's own number, so that the number of the settings is used.
_DEFAULT = "default"
_NUMBERS = ("size", "length", "score_floor")


def _weekdays(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Parse days such as `mon,tue`, or `all`, into bits; bit 0 is Monday."""
    if value is None:
        return None
    days = WEEKDAYS if value == "all" else [day.strip().lower() for day in value.split(",")]
    for day in days:
        if day not in WEEKDAYS:
            raise click.BadParameter(f"{day!r} is not a day: use {','.join(WEEKDAYS)}")
    return sum(1 << WEEKDAYS.index(day) for day in set(days))


def _number(kind: type[int] | type[float]) -> Callable[[Any, Any, str | None], Any]:
    """Return a callback that parses a number, or returns `default` as it is."""

    def parse(_ctx: object, _parameter: object, value: str | None) -> Any:
        try:
            return value if value in (None, _DEFAULT) else kind(value)
        except ValueError:
            raise click.BadParameter(f"{value!r} is neither a number nor `{_DEFAULT}`") from None

    return parse


_choices = options(
    click.option("--interests", help="A sentence about what they read."),
    click.option("--category", "categories", multiple=True, help="Such as cs.CL; may be repeated."),
    click.option("--zone", help="Their time zone; default: UTC."),
    click.option("--hour", type=int, help="The hour of their mail; default: 7."),
    click.option("--frequency", type=click.Choice([each.value for each in Frequency])),
    click.option("--weekdays", callback=_weekdays, help="Their days, such as mon,tue,fri; or all."),
    click.option(
        "--size", callback=_number(int), help="The most papers in a digest, or `default`."
    ),
    click.option(
        "--length",
        type=click.Choice([*LENGTHS, _DEFAULT]),
        help="Only what they are likely to read, a bit more, or all that is worth a look.",
    ),
    click.option(
        "--score-floor",
        callback=_number(float),
        help="Instead of a length: the lowest chance of a vote for a paper, or `default`.",
    ),
    click.option("--community", type=float, help="The weight of upvotes, 0 to 2; default: 1."),
    click.option(
        "--explores/--no-explores",
        default=None,
        help="Sometimes show a paper outside their interests, labelled as such.",
    ),
    click.option("--detail", type=click.Choice([each.value for each in Detail])),
    click.option("--follow", "followed_authors", multiple=True, help="An author; may be repeated."),
    click.option(
        "--include", "include_keywords", multiple=True, help="A keyword to prefer; may be repeated."
    ),
    click.option(
        "--exclude", "exclude_keywords", multiple=True, help="A keyword to avoid; may be repeated."
    ),
    click.option(
        "--revisions/--no-revisions",
        default=None,
        help="Report major revisions of papers they liked.",
    ),
    click.option(
        "--recap/--no-recap",
        default=None,
        help="Once a week, list good papers that had no place in a digest.",
    ),
)
"""Adds one option for each preference."""


def _preferences(values: dict[str, Any]) -> dict[str, Any]:
    """Return the preferences that the command line sets, with the values of the record's fields."""
    preferences: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or value == ():
            continue
        if isinstance(value, tuple):
            value = tuple(each for each in value if each)
        preferences[name] = None if value == _DEFAULT and name in _NUMBERS else value
    if "length" in preferences:
        if "score_floor" in preferences:
            raise click.UsageError("give --length or --score-floor: a length is a floor")
        length = preferences.pop("length")
        preferences["score_floor"] = None if length is None else LENGTHS[length]
    return preferences


@click.group("subscriber")
def command() -> None:
    """Add, list, change, pause and erase subscribers."""


@command.command()
@click.argument("email", required=False)
@click.option("--from", "table", type=click.File("rb"), help="Add the people in this CSV file.")
@click.option("--dry-run", is_flag=True, help="With --from: only say what would be added.")
@click.option("--like", "likes", multiple=True, help="A paper they like; may be repeated.")
@_choices
def add(
    email: str | None, table: BinaryIO | None, dry_run: bool, likes: tuple[str, ...], **values: Any
) -> None:
    """Add EMAIL as a confirmed subscriber. You are responsible for their consent.

    `--from FILE` adds many. The first line of this CSV file names its columns: email, and any of
    interests, category, like, zone, hour and frequency. A cell of category or like may have
    several values. Rows that cannot be are named and left out; the others are added.
    """
    if table is not None:
        if email is not None or likes or _preferences(values):
            raise click.UsageError("--from takes people and preferences from the file alone")
        _add_people(table, dry_run=dry_run)
        return
    if email is None or dry_run:
        raise click.UsageError("name one EMAIL, or use --from FILE [--dry-run]")
    from triage.subscribers.preferences import SubscriberPreferences
    from triage.subscribers.subscriptions import add as add_subscriber

    app = load_app()
    added = add_subscriber(
        app.database,
        email,
        app.clock,
        SubscriberPreferences(**_preferences(values)),
        likes=likes,
        lookups=app.live_sources.lookups() if likes else (),
        address_hash=app.address_hash,
    )
    for problem in added.problems:
        warn(problem)
    if not added.new:
        click.echo(f"known already and {added.subscriber.state}: nothing was changed")
        return
    click.echo(f"added, waiting {added.n_waiting}" if added.n_waiting else "added")


def _add_people(table: BinaryIO, *, dry_run: bool) -> None:
    from triage.store.subscribers import email_key
    from triage.subscribers.people_csv import read_people
    from triage.subscribers.subscriptions import add as add_subscriber
    from triage.subscribers.subscriptions import would_add

    people = read_people(table.read())
    app = load_app()
    lookups = app.live_sources.lookups() if any(each.likes for each in people) else ()
    n_added = n_refused = 0
    seen: set[str] = set()
    for each in people:
        fields: dict[str, Any] = {
            "likes": each.likes, "lookups": lookups, "address_hash": app.address_hash,
        }  # fmt: skip
        try:
            if each.problem:
                raise ConfigError(each.problem)
            if dry_run:
                is_new = would_add(app.database, each.email, each.preferences, **fields)
                n_added += is_new and email_key(each.email) not in seen
                seen.add(email_key(each.email))
                continue
            added = add_subscriber(app.database, each.email, app.clock, each.preferences, **fields)
            n_added += added.new
            for problem in added.problems:
                warn(f"line {each.line}: {problem}")
        except (ConfigError, NotFound) as error:
            warn(f"line {each.line}: {error}")
            n_refused += 1
    n_known = len(people) - n_added - n_refused
    click.echo(
        f"{'would be ' if dry_run else ''}added {n_added}, known already {n_known},"
        f" refused {n_refused}"
    )
    if n_refused:
        sys.exit(PARTLY_DONE if n_added or n_known else 1)


@command.command()
@click.argument("email")
@_choices
def change(email: str, **values: Any) -> None:
    """Change preferences of EMAIL; the others stay as they are.

    A new list replaces the old list; "" makes it empty.
    """
    from triage.subscribers.subscriptions import change as change_subscriber

    app, subscriber = load_app_and_subscriber(email)
    preferences = _preferences(values)
    if not preferences:
        raise click.UsageError("give at least one option, such as `--hour 6`")
    change_subscriber(app.database, subscriber.public_id, **preferences)
    given = [name for name, value in values.items() if value not in (None, ())]
    click.echo(f"changed: {', '.join(given)}")


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all subscribers: their schedule, pause, last sent digest and number of votes."""
    from triage import store

    app = load_app()
    today = app.clock.now().date()
    with app.database.read() as conn:
        everyone = store.subscribers.everyone(conn)
        unreadable = store.subscribers.unreadable(conn)
        # Before `date.max`, only the newest date of each is returned.
        last_digests = store.slates.sent_days(conn, date.max, [each.id for each in everyone])
        n_votes = store.events.n_votes(conn)
    rows = [
        {name: getattr(each, name) for name in ("email", "state", "zone", "hour", "frequency")}
        | {
            # A pause that is over is none.
            "paused_until": each.paused_until if (each.paused_until or today) > today else None,
            "last_digest": max(last_digests.get(each.id, ()), default=None),
            "n_votes": n_votes.get(each.id, 0),
        }
        for each in everyone
    ]
    show(rows, as_json=as_json, empty="no subscribers yet: `triage subscriber add EMAIL`")
    for row in unreadable:
        warn(f"{row.email}: the row in the database cannot be read ({row.why})")


@command.command("show")
@click.argument("email")
@json_option
def show_(email: str, as_json: bool) -> None:
    """Show the preferences and the state of EMAIL."""
    from dataclasses import asdict

    from triage import store

    app, subscriber = load_app_and_subscriber(email)
    with app.database.read() as conn:
        n_votes = len(store.events.votes(conn, subscriber.id))
    fields = asdict(subscriber) | {"length": length_of(subscriber.score_floor), "n_votes": n_votes}
    for hidden in ("id", "public_id"):
        del fields[hidden]
    fields["weekdays"] = tuple(
        day for bit, day in enumerate(WEEKDAYS) if subscriber.weekdays >> bit & 1
    )
    show_fields(fields, as_json=as_json, width=18)


@command.command("interests")
@click.argument("email")
@json_option
def interests_(email: str, as_json: bool) -> None:
    """Show the interests of EMAIL, found in their likes and their text, and the share of each."""
    from triage.ranking.serving.interest_settings import refresh_interests

    app, subscriber = load_app_and_subscriber(email)
    interests = refresh_interests(app.database, app.model_store, app.clock, subscriber)
    rows = [
        {
            "number": each.interest.number,
            "name": each.interest.name,
            "share": round(each.share, 3),
            "likes": len(each.interest.papers),
            "state": "muted" if each.interest.muted else "live",
            "paused_until": each.interest.paused_until,
        }
        for each in interests
    ]
    show(rows, as_json=as_json, empty="none: they have no likes and no interests text yet")


@command.command()
@click.argument("email")
@click.argument("number", type=int)
@click.option("--until", callback=parse_date, help="Until this date.")
def mute(email: str, number: int, until: date | None) -> None:
    """Show EMAIL no papers of their interest NUMBER, permanently or until a date."""
    from triage.ranking.serving.interest_settings import set_interest_pause

    app, subscriber = load_app_and_subscriber(email)
    muted = until is None
    interest = set_interest_pause(
        app.database, app.clock, subscriber, number, muted=muted, paused_until=until
    )
    click.echo(f"{'muted' if muted else f'paused until {until}'}: {interest.name}")


@command.command()
@click.argument("email")
@click.argument("number", type=int)
def unmute(email: str, number: int) -> None:
    """Show EMAIL papers of their interest NUMBER again."""
    from triage.ranking.serving.interest_settings import set_interest_pause

    app, subscriber = load_app_and_subscriber(email)
    click.echo(
        f"live again: {set_interest_pause(app.database, app.clock, subscriber, number).name}"
    )


@command.command()
@click.argument("email")
@click.option("--until", callback=parse_date, help="Send again from this date on.")
def pause(email: str, until: date | None) -> None:
    """Send EMAIL nothing until `resume`, or until a date."""
    from triage.subscribers.subscriptions import pause as pause_subscriber

    app = load_app()
    done = pause_subscriber(app.database, email, app.clock, until)
    paused = "paused" if until is None else f"paused until {until}"
    click.echo(paused if done else "nothing was being sent: nothing was changed")


@command.command()
@click.argument("email")
def resume(email: str) -> None:
    """Send EMAIL digests again."""
    from triage.subscribers.subscriptions import resume as resume_subscriber

    app = load_app()
    done = resume_subscriber(app.database, email, app.clock, app.address_hash)
    click.echo("active again" if done else "active already: nothing was changed")


@command.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(email: str, yes: bool) -> None:
    """Delete EMAIL with all their votes, digests and messages. This cannot be undone."""
    from triage.subscribers.subscriptions import erase as erase_subscriber
    from triage.subscribers.subscriptions import find_id

    app = load_app()
    find_id(app.database, email)
    if not yes:
        click.confirm("Delete all stored data of this subscriber?", abort=True)
    erase_subscriber(app.database, email)
    click.echo("erased")
    app.database.rewrite()


for _each in (library.import_, library.export, library.feed):
    command.add_command(_each)
