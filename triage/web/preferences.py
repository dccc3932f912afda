"""What somebody who is logged in may change: one form for the choices, a button for all else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.link_tokens import Claims
from triage.domain.records import Subscriber, SubscriberState
from triage.errors import ConfigError, NotFound
from triage.ranking.serving import interest_settings
from triage.subscribers import digest_feed, preferences, subscriptions
from triage.subscribers.digest_feed import FeedLinks
from triage.subscribers.erasure import owe_rewriting
from triage.web import forms
from triage.web.context import PageContext, for_reader, form_route
from triage.web.login_cookie import Login

A_WHILE = timedelta(days=30)


def routes(desk: PageContext) -> list[Route]:
    show = for_reader(desk, lambda desk, visit, _: _page(desk, visit))
    ask = for_reader(desk, lambda desk, visit, _: _erase_page(desk, visit))
    return [
        form_route("/preferences", show, partial(_done, desk)),
        form_route("/preferences/erase", ask, partial(_erased, desk)),
    ]


def _page(
    desk: PageContext, visit: Login, form: forms.Form | None = None, *, done: str = ""
) -> Response:
    today = desk.clock.now().date()
    with desk.db.read() as conn:
        reader = store.subscribers.by_id(conn, visit.reader.id)
        if reader is None:
            raise HTTPException(403)
        consent = store.subscribers.consent(conn, reader.id)
        interests = store.interests.of(conn, reader.id)
        n_votes = len(store.events.votes(conn, reader.id))
        feed = store.digest_feeds.of(conn, reader.id)
    form = form or forms.written(reader)
    return desk.pages.show(
        "preferences",
        422 if form.wrong else 200,
        reader=reader,
        is_active=reader.state is SubscriberState.ACTIVE,
        seal=visit.seal,
        form=form,
        done=done,
        consent=consent,
        interests=[(each, each.rests(today)) for each in interests],
        n_votes=n_votes,
        feed=_feed(desk, reader, feed),
        zones=forms.zones(form["zone"]),
        weekdays=forms.WEEKDAYS,
        today=today,
    )


def _done(desk: PageContext, request: Request, pairs: forms.Pairs) -> Response:
    fields = dict(pairs)
    visit = desk.door.admit(request, fields)
    if fields.get("do") == "save":
        return _saved(desk, visit, pairs)
    act = _ACTS.get(fields.get("do", ""))
    if act is None:
        return _page(desk, visit)
    try:
        return _page(desk, visit, done=act(desk, visit, fields))
    except (ConfigError, NotFound, ValueError):
        return _page(desk, visit, done="That could not be done; nothing was changed.")


def _saved(desk: PageContext, visit: Login, pairs: forms.Pairs) -> Response:
    form, good = forms.read(pairs, preferences.NAMES)
    if form.wrong:
        return _page(desk, visit, form)
    subscriptions.change(desk.db, visit.reader.public_id, **good)
    return _page(desk, visit, done="Saved. Your next digest follows it.")


def _rested(desk: PageContext, visit: Login, fields: dict[str, str], *, how: str) -> str:
    until: date | None = desk.clock.now().date() + A_WHILE if how == "rest" else None
    named = interest_settings.rest(
        desk.db,
        desk.clock,
        visit.reader,
        int(fields.get("number", "")),
        muted=how == "mute",
        paused_until=until,
    )
    told = {
        "mute": "Nothing more is shown for it",
        "rest": f"Nothing is shown until {until} for it",
        "wake": "Papers are shown again for it",
    }
    return f"{told[how]}: {named.name}."


def _started_afresh(desk: PageContext, visit: Login, _: dict[str, str]) -> str:
    n = subscriptions.start_afresh(desk.db, visit.reader)
    return f"{n} votes are forgotten, and what was learned from them."


def _feed(
    desk: PageContext, reader: Subscriber, feed: tuple[str, datetime] | None
) -> FeedLinks | None:
    if feed is None:
        return None
    public_id, made_at = feed
    claims = Claims(reader.public_id, made_at, public_id)
    return digest_feed.links(desk.keyring, claims, desk.pages.base_url)


def _made_feed(desk: PageContext, visit: Login, _: dict[str, str]) -> str:
    digest_feed.get_or_create_feed(
        desk.db, desk.clock, desk.keyring, visit.reader, desk.pages.base_url
    )
    return "Your feed is there: its addresses stand below."


def _revoked_feed(desk: PageContext, visit: Login, _: dict[str, str]) -> str:
    digest_feed.revoke(desk.db, visit.reader)
    return "The addresses of your feed lead nowhere any more."


def _came_back(desk: PageContext, visit: Login, _: dict[str, str]) -> str:
    desk.enrolment.come_back(visit.reader)
    return "Digests go on."


def _left(desk: PageContext, visit: Login, _: dict[str, str]) -> str:
    desk.enrolment.leave(visit.reader.public_id)
    return "You are unsubscribed: no further digest will be sent."


_ACTS: dict[str, Callable[[PageContext, Login, dict[str, str]], str]] = {
    "mute": lambda desk, visit, fields: _rested(desk, visit, fields, how="mute"),
    "rest": lambda desk, visit, fields: _rested(desk, visit, fields, how="rest"),
    "wake": lambda desk, visit, fields: _rested(desk, visit, fields, how="wake"),
    "afresh": _started_afresh,
    "feed": _made_feed,
    "unfeed": _revoked_feed,
    "resume": _came_back,
    "leave": _left,
}


# -- erasing ---------------------------------------------------------------------------------------


def _erase_page(desk: PageContext, visit: Login, *, is_unsure: bool = False) -> Response:
    status = 422 if is_unsure else 200
    return desk.pages.show("erase", status, seal=visit.seal, is_unsure=is_unsure)


def _erased(desk: PageContext, request: Request, pairs: forms.Pairs) -> Response:
    fields = dict(pairs)
    visit = desk.door.admit(request, fields)
    if fields.get("sure") != "yes":
        return _erase_page(desk, visit, is_unsure=True)
    subscriptions.erase(desk.db, visit.reader.email)
    owe_rewriting(desk.db, desk.clock)
    page = desk.pages.show("erased")
    desk.door.drop(page, desk.door.session_cookie)
    return page
