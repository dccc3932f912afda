"""Subscribing, confirming, logging in and out: what nobody is known for yet."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from triage.domain.link_tokens import LIFETIMES, Purpose
from triage.domain.records import Impression
from triage.errors import ConfigError, TokenError, TokenExpired
from triage.subscribers import library_import, subscriptions
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.sessions import SESSION
from triage.subscribers.signup import FORM
from triage.web import form_timestamp, forms
from triage.web.context import PageContext, form_route

# Nobody reads the page and fills it in so fast; nobody leaves it open for so long.
SHORTEST_FILLING = timedelta(seconds=2)
LONGEST_FILLING = timedelta(days=1)
PREVIEWS_A_MINUTE = 12
MOST_LIKES = 200
# Whoever changes these words gives them another date: they are kept with each confirmation.
CONSENT = "Send me the digest until I unsubscribe. (words of 2026-11-22)"
_ASKING_FOR = LIFETIMES[Purpose.LOGIN] or timedelta()


def routes(desk: PageContext) -> list[Route]:
    def asking(_: Request) -> Response:
        return desk.pages.show("login", form=forms.Form({}))

    confirming, entering = partial(_confirming, desk), partial(_entering, desk)
    return [
        form_route("/subscribe", partial(_blank, desk), partial(_subscribing, desk)),
        form_route("/c/{token}", confirming, confirming),
        form_route("/login", asking, partial(_asked_to_log_in, desk)),
        form_route("/l/{token}", entering, entering),
        form_route("/logout", None, partial(_logged_out, desk)),
    ]


# -- subscribing -----------------------------------------------------------------------------------


def _blank(desk: PageContext, _: Request) -> Response:
    return _subscribe_page(
        desk, forms.Form({"hour": "7", "zone": "UTC", "stamp": form_timestamp.new(desk)})
    )


def _subscribe_page(
    desk: PageContext,
    form: forms.Form,
    status: int = 200,
    *,
    shown: tuple[Impression, ...] | None = None,
    strange: int = 0,
    notice: str = "",
) -> Response:
    return desk.pages.show(
        "subscribe",
        status,
        form=form,
        stamp=form["stamp"],
        zones=forms.zones(form["zone"]),
        shown=shown,
        strange=strange,
        notice=notice,
    )


def _subscribing(desk: PageContext, request: Request, fields: forms.Pairs) -> Response:
    form, good = forms.read(fields, FORM)
    filled_for = form_timestamp.age(desk, form["stamp"])
    if filled_for is None or filled_for >= LONGEST_FILLING or not desk.door.is_ours(request):
        notice = "This page was open for very long. Please press the button once more."
        form.typed["stamp"] = form_timestamp.new(desk)
        return _subscribe_page(desk, form, 422, notice=notice)
    if form["do"] == "preview":
        return _previewed(desk, request, form, good)
    try:
        email = subscriptions.normal_address(form["email"][:400])
    except ConfigError:
        form.wrong["email"] = "That is not a mail address; one looks like ada@example.org."
    if form.wrong:
        return _subscribe_page(desk, form, 422)
    if filled_for < SHORTEST_FILLING:
        notice = "That was quick. Please press the button once more."
        return _subscribe_page(desk, form, 422, notice=notice)
    # People do not see this field; whatever fills it in learns nothing from the answer.
    if not form["website"]:
        likes, _ = _likes(desk, form)
        preferences = SubscriberPreferences(**good)
        desk.enrolment.ask_to_subscribe(email, preferences, desk.peer(request), likes)
    return desk.pages.show("subscribe_sent")


def _previewed(
    desk: PageContext, request: Request, form: forms.Form, good: dict[str, Any]
) -> Response:
    if form.wrong:
        return _subscribe_page(desk, form, 422)
    likes, strange = _likes(desk, form)
    if not (good["interests"] or good["categories"] or likes):
        form.wrong["interests"] = "Write what you read, and the papers of today are sorted by it."
        return _subscribe_page(desk, form, 422)
    if not desk.previews_left.take(desk.peer(request), desk.clock.now()):
        notice = "Enough previews for now: please wait a minute."
        return _subscribe_page(desk, form, 429, notice=notice)
    nobody = subscriptions.new_subscriber("nobody@example.org", SubscriberPreferences(**good))
    shown = desk.preview(nobody, likes)
    if shown is None:
        notice = "There are no papers to choose from yet: this site is new."
        return _subscribe_page(desk, form, notice=notice)
    return _subscribe_page(desk, form, shown=shown, strange=strange)


def _likes(desk: PageContext, form: forms.Form) -> tuple[tuple[int, ...], int]:
    """Return the papers that were pasted and are stored, and how many entries name none."""
    ids, strange = library_import.named(desk.db, form["likes"])
    return tuple(ids[:MOST_LIKES]), strange


def _confirming(desk: PageContext, request: Request, fields: forms.Pairs = ()) -> Response:
    desk.claims(request, Purpose.CONFIRM, "error_used")
    if ("do", "confirm") not in fields:
        return desk.pages.show("confirm")
    try:
        reader = desk.enrolment.confirm(request.path_params["token"], CONSENT)
    except TokenExpired:
        return desk.pages.show("error_used", 410)
    except TokenError:
        raise HTTPException(404) from None
    return desk.pages.show("confirmed", hour=reader.hour, zone=reader.zone)


# -- logging in ------------------------------------------------------------------------------------


def _asked_to_log_in(desk: PageContext, request: Request, fields: forms.Pairs) -> Response:
    form = forms.Form(dict(fields))
    if not desk.door.is_ours(request):
        raise HTTPException(403)
    try:
        kept, code = desk.enrolment.ask_to_log_in(form["email"][:400], desk.peer(request))
    except ConfigError:
        form.wrong["email"] = "That is not a mail address; one looks like ada@example.org."
        return desk.pages.show("login", 422, form=form)
    page = desk.pages.show("login_sent", code=f"{code[:3]} {code[3:]}")
    desk.door.keep(page, desk.door.asking_cookie, kept, _ASKING_FOR)
    return page


def _entering(desk: PageContext, request: Request, pairs: forms.Pairs = ()) -> Response:
    desk.claims(request, Purpose.LOGIN, "error_used")
    fields = dict(pairs)
    token = request.path_params["token"]
    kept = request.cookies.get(desk.door.asking_cookie, "")
    try:
        if fields.get("do") == "enter" and desk.door.is_ours(request):
            return _entered(desk, desk.sessions.begin(token, kept, fields.get("code", "")))
        is_asking = desk.sessions.is_asking(token, kept)
    except TokenExpired:
        return desk.pages.show("error_used", 410)
    except TokenError:
        return desk.pages.show("enter", 403, needs_code=True, is_wrong=True)
    return desk.pages.show("enter", needs_code=not is_asking, is_wrong=False)


def _entered(desk: PageContext, session: str) -> Response:
    there = RedirectResponse(desk.pages.root + "/preferences", 303)
    desk.door.keep(there, desk.door.session_cookie, session, SESSION)
    desk.door.drop(there, desk.door.asking_cookie)
    return there


def _logged_out(desk: PageContext, request: Request, pairs: forms.Pairs) -> Response:
    visit = desk.door.admit(request, dict(pairs))
    desk.sessions.end_all(visit.reader)
    page = desk.pages.show("logged_out")
    desk.door.drop(page, desk.door.session_cookie)
    return page
