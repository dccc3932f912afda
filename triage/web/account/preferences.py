"""The preferences of a logged-in subscriber: one form to save, and buttons for other changes."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.digest.preview import Preview
from triage.domain.digest_calendar import zone_or_utc
from triage.domain.link_tokens import Claims
from triage.domain.records import Subscriber, SubscriberState
from triage.errors import ConfigError, NotFound, TooManyRequests
from triage.ranking.serving import interest_settings
from triage.subscribers import digest_feed, forgotten_votes, preferences, subscriptions
from triage.subscribers.erasure import request_rewrite
from triage.web import forms
from triage.web.context import (
    PageContext,
    form_route,
    peer_address,
    say_wait,
    with_login,
    with_own_form,
)
from triage.web.login_cookie import Login

ONE_DAY = timedelta(days=1)
PAUSE = timedelta(days=30)
PLACES = {
    "mute": "interests-found",
    "rest": "interests-found",
    "wake": "interests-found",
    "feed": "elsewhere",
    "unfeed": "elsewhere",
}
"""Where the page says what a button did, by the name of the button; else at its top."""
SAVED = "Saved. Your next digest will use these preferences."
ERASED = (
    "Everything is erased. We store nothing about you any more. Backups still contain your data"
    " until newer backups replace them."
)

log = logging.getLogger("triage.web")


def routes(page: PageContext) -> list[Route]:
    show = with_login(page, _show)
    confirm = with_login(page, _confirm_erasing)
    return [
        form_route("/preferences", show, with_own_form(page, _submit)),
        form_route("/preferences/erase", confirm, with_own_form(page, _erase)),
    ]


def _show(
    page: PageContext,
    login: Login,
    request: Request,
    form: forms.Form | None = None,
    status: int = 200,
    *,
    notice: str = "",
    preview: Preview | None = None,
) -> Response:
    with page.db.read() as conn:
        # The change that was just made is not in `login`.
        subscriber = store.subscribers.by_id(conn, login.subscriber.id)
        if subscriber is None:
            raise HTTPException(403)
        consent = store.subscribers.consent(conn, subscriber.id)
        interests = store.interests.of(conn, subscriber.id)
        n_votes = len(store.events.votes(conn, subscriber.id))
        feed = store.digest_feeds.of(conn, subscriber.id)
        undo_until = forgotten_votes.can_restore_until(conn, page.clock, subscriber)
    today = _today(page, subscriber.zone)
    stored = forms.fill(subscriber, today)
    form = form or stored
    return page.show(
        request,
        "preferences",
        status,
        subscriber=subscriber,
        is_active=subscriber.state is SubscriberState.ACTIVE,
        seal=login.seal,
        form=form,
        shown=stored.fingerprint,
        notice=notice,
        preview=preview,
        consent=consent,
        interests=[(each, each.rests(today)) for each in interests],
        n_votes=n_votes,
        undo_until=undo_until,
        feed=feed
        and digest_feed.links(
            page.keyring,
            Claims(subscriber.public_id, feed[1], feed[0]),
            page.pages.site.base_url,
        ),
        zones=forms.zones(form["zone"]),
        weekdays=forms.WEEKDAYS,
        tomorrow=today + ONE_DAY,
    )


def _submit(page: PageContext, login: Login, request: Request, fields: forms.Fields) -> Response:
    """Do what a button says, and save what was typed; a button never loses it.

    A form that shows what was stored when its page was made is not saved: this would undo what
    another browser has saved since.
    """
    form, valid = _read(page, login.subscriber, fields)
    button, _, number = form["do"].partition(" ")
    if button == "preview":
        return _preview(page, login, request, form, valid)
    try:
        done = "" if button == "save" else _press_button(page, login.subscriber, button, number)
    except (ConfigError, NotFound, ValueError):
        failed = "This did not work, and nothing was changed."
        return _show(page, login, request, form, 422, notice=failed)
    if button == "save" or form["shown"] not in ("", form.fingerprint):
        if form.wrong:
            return _show(page, login, request, form, 422, notice=done)
        _save(page, login.subscriber, valid)
        done = f"{done} What you typed is saved, too." if done else SAVED
    return page.redirect("/preferences", done, place=PLACES.get(button, ""))


def _read(
    page: PageContext, subscriber: Subscriber, fields: forms.Fields
) -> tuple[forms.Form, dict[str, Any]]:
    """Return the form as it was typed, and its valid preferences."""
    form, valid = forms.read(fields, preferences.NAMES)
    forms.refuse_unknown_categories(page.db, form, valid, known=subscriber.categories)
    until, today = valid.get("paused_until"), _today(page, valid.get("zone", "UTC"))
    if until and until <= today:
        form.wrong["paused_until"] = (
            f"{until} is not in the future: the nearest date is {today + ONE_DAY}"
        )
    return form, valid


def _preview(
    page: PageContext,
    login: Login,
    request: Request,
    form: forms.Form,
    valid: dict[str, Any],
) -> Response:
    if form.wrong:
        return _show(page, login, request, form, 422)
    try:
        page.preview_limit.count(peer_address(request), page.clock.now())
    except TooManyRequests as error:
        return say_wait(_show(page, login, request, form, 429, notice=str(error)), error)
    preview = page.ranking.preview(replace(login.subscriber, **valid), ())
    return _show(page, login, request, form, preview=preview)


def _save(page: PageContext, subscriber: Subscriber, valid: dict[str, Any]) -> None:
    changed = subscriptions.change(page.db, subscriber.public_id, **valid)
    if changed.interests != subscriber.interests:
        try:
            page.ranking.refresh_interests(changed)
        except Exception:
            # The preferences are saved. The next digest finds the interests again.
            log.exception("the interests were not found again")


def _today(page: PageContext, zone: str) -> date:
    return page.clock.now().astimezone(zone_or_utc(zone)).date()


def _press_button(page: PageContext, subscriber: Subscriber, button: str, number: str) -> str:
    """Make the change of a button, and return the sentence that reports it; "" for no button.

    Args:
        number: of an interest, for the buttons that change one.
    """
    match button:
        case "mute" | "rest" | "wake" as action:
            until = _today(page, subscriber.zone) + PAUSE if action == "rest" else None
            interest = interest_settings.set_interest_pause(
                page.db,
                page.clock,
                subscriber,
                int(number),
                muted=action == "mute",
                paused_until=until,
            )
            state = {"mute": "muted", "rest": f"paused until {until}", "wake": "active again"}
            return f"This interest is {state[action]}: {interest.name}."
        case "undo":
            is_back = forgotten_votes.restore(page.db, page.clock, subscriber)
            return (
                "Your votes are back." if is_back else "The hour is over: your votes are deleted."
            )
        case "feed":
            digest_feed.get_or_create_feed(
                page.db, page.clock, page.keyring, subscriber, page.pages.site.base_url
            )
            return "Your feed was created. Its addresses are below."
        case "unfeed":
            digest_feed.revoke(page.db, subscriber)
            return "The addresses of your feed do not work any more."
        case "resume":
            page.signup.come_back(subscriber)
            return "You will get digests again."
        case "leave":
            page.signup.leave(subscriber.public_id)
            return "You are unsubscribed. You will get no more digests."
    return ""


def _confirm_erasing(
    page: PageContext, login: Login, request: Request, *, is_unsure: bool = False
) -> Response:
    status = 422 if is_unsure else 200
    return page.show(request, "erase", status, seal=login.seal, is_unsure=is_unsure)


def _erase(page: PageContext, login: Login, request: Request, fields: forms.Fields) -> Response:
    if fields.get("sure") != "yes":
        return _confirm_erasing(page, login, request, is_unsure=True)
    subscriptions.erase(page.db, login.subscriber.email)
    request_rewrite(page.db, page.clock)
    response = page.redirect("/", ERASED)
    page.login_cookie.forget_session(response)
    return response
