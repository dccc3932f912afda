"""The preferences of a logged-in subscriber: one form to save, and buttons for other changes."""

from __future__ import annotations

from datetime import timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.link_tokens import Claims
from triage.domain.records import Subscriber, SubscriberState
from triage.errors import ConfigError, NotFound
from triage.ranking.serving import interest_settings
from triage.subscribers import digest_feed, forgotten_votes, preferences, subscriptions
from triage.subscribers.erasure import request_rewrite
from triage.web import forms
from triage.web.context import PageContext, form_route, with_login, with_own_form
from triage.web.login_cookie import Login

PAUSE = timedelta(days=30)


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
    *,
    done: str = "",
) -> Response:
    today = page.clock.now().date()
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
    form = form or forms.fill(subscriber)
    return page.show(
        request,
        "preferences",
        422 if form.wrong else 200,
        subscriber=subscriber,
        is_active=subscriber.state is SubscriberState.ACTIVE,
        seal=login.seal,
        form=form,
        done=done,
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
        today=today,
    )


def _submit(page: PageContext, login: Login, request: Request, fields: forms.Fields) -> Response:
    if fields.get("do") == "save":
        form, valid = forms.read(fields, preferences.NAMES)
        if form.wrong:
            return _show(page, login, request, form)
        subscriptions.change(page.db, login.subscriber.public_id, **valid)
        return _show(
            page, login, request, done="Saved. Your next digest will use these preferences."
        )
    try:
        return _show(page, login, request, done=_press_button(page, login.subscriber, fields))
    except (ConfigError, NotFound, ValueError):
        return _show(page, login, request, done="This did not work, and nothing was changed.")


def _press_button(page: PageContext, subscriber: Subscriber, fields: forms.Fields) -> str:
    """Make the change of a button, and return the sentence that reports it; "" for no button."""
    match fields.get("do"):
        case "mute" | "rest" | "wake" as action:
            until = page.clock.now().date() + PAUSE if action == "rest" else None
            interest = interest_settings.set_interest_pause(
                page.db,
                page.clock,
                subscriber,
                int(fields.get("number", "")),
                muted=action == "mute",
                paused_until=until,
            )
            state = {"mute": "muted", "rest": f"paused until {until}", "wake": "active again"}
            return f"This interest is {state[action]}: {interest.name}."
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
    response = page.show(request, "erased", login=None)
    page.login_cookie.delete(response, page.login_cookie.session)
    return response
