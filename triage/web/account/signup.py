"""The pages to subscribe, confirm, log in and log out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage.digest.preview import Preview
from triage.domain.link_tokens import LIFETIMES, Purpose
from triage.domain.source_records import NamedPaper
from triage.errors import ConfigError, TokenError, TokenExpired, TooManyRequests
from triage.subscribers import library_import, subscriptions
from triage.subscribers.network_limit import Limit
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.sessions import SESSION
from triage.subscribers.signup import FORM, login_code
from triage.web import form_timestamp, forms
from triage.web.context import (
    PageContext,
    form_route,
    own_path,
    peer_address,
    say_wait,
    with_own_form,
)
from triage.web.forms import NO_FIELDS, Fields
from triage.web.login_cookie import Login

# Nobody fills in the form faster, and nobody leaves it open for longer.
SHORTEST_FILLING = timedelta(seconds=2)
LONGEST_FILLING = timedelta(days=1)
PREVIEWS = Limit(12, timedelta(minutes=1), "a minute")
MOST_LIKES = 200
# Change the date together with the words: both are stored with each confirmation.
CONSENT = "Send me the digest until I unsubscribe. (words of 2026-11-22)"
NEXT = "next"
"""The cookie with the page to return to after the login."""
_LOGIN_REQUEST = LIFETIMES[Purpose.LOGIN]


def routes(page: PageContext) -> list[Route]:
    def show_subscribe(request: Request) -> Response:
        form = forms.Form({"hour": "7", "zone": "UTC", "stamp": form_timestamp.create(page)})
        return _show_form(page, request, form)

    def confirm(request: Request, fields: Fields = NO_FIELDS) -> Response:
        page.claims(request, Purpose.CONFIRM, "error_used")
        if fields.get("do") != "confirm":
            return page.show(request, "confirm")
        try:
            subscriber = page.signup.confirm(request.path_params["token"], CONSENT)
        except TokenExpired:
            raise HTTPException(410, "error_used") from None
        except TokenError:
            raise HTTPException(404) from None
        when = f"{subscriber.hour:02d}:00 ({subscriber.zone})"
        first = f"The next digest comes at {when}, if there are new papers for you."
        return page.redirect("/subscribed", first, place="first")

    def show_login(request: Request) -> Response:
        form = forms.Form({"next": own_path(request.query_params.get("next", ""))})
        return page.show(request, "login", form=form)

    def request_login(request: Request, fields: Fields) -> Response:
        form = forms.Form(dict(fields))
        if not page.login_cookie.is_same_origin(request):
            raise HTTPException(403)
        try:
            secret, _ = page.signup.ask_to_log_in(form["email"][:400], peer_address(request))
        except ConfigError as error:
            form.wrong["email"] = _as_sentence(error)
            return page.show(request, "login", 422, form=form)
        except TooManyRequests as error:
            told = page.show(request, "login", 429, form=form, notice=str(error))
            return say_wait(told, error)
        response = page.redirect("/login/sent")
        page.login_cookie.set(response, page.login_cookie.login_request, secret, _LOGIN_REQUEST)
        page.login_cookie.set(response, NEXT, quote(own_path(form["next"])), _LOGIN_REQUEST)
        return response

    def show_login_sent(request: Request) -> Response:
        secret = request.cookies.get(page.login_cookie.login_request, "")
        if not secret:
            return page.redirect("/login")
        code = login_code(secret)
        return page.show(request, "login_sent", code=f"{code[:3]} {code[3:]}")

    def log_in(request: Request, fields: Fields = NO_FIELDS) -> Response:
        page.claims(request, Purpose.LOGIN, "error_used")
        token, cookie = request.path_params["token"], page.login_cookie
        secret = request.cookies.get(cookie.login_request, "")
        try:
            if fields.get("do") != "enter" or not cookie.is_same_origin(request):
                is_same_browser = page.sessions.is_requesting_browser(token, secret)
                return page.show(request, "enter", needs_code=not is_same_browser, wrong_code=None)
            session = page.sessions.begin(token, secret, fields.get("code", ""))
        except TokenExpired:
            if request.method != "POST" and cookie.read(request):
                # Who has logged in with this link goes Back to it.
                return page.redirect("/")
            raise HTTPException(410, "error_used") from None
        except TokenError:
            code = fields.get("code", "")[:20]
            return page.show(request, "enter", 403, needs_code=True, wrong_code=code)
        response = page.redirect(own_path(unquote(request.cookies.get(NEXT, ""))) or "/")
        cookie.set(response, cookie.session, session, SESSION)
        cookie.delete(response, cookie.login_request)
        cookie.delete(response, NEXT)
        return response

    def static(name: str) -> Callable[[Request], Response]:
        return lambda request: page.show(request, name)

    return [
        form_route("/subscribe", show_subscribe, partial(_subscribe, page)),
        Route("/subscribe/sent", static("subscribe_sent"), methods=["GET"]),
        form_route("/c/{token}", confirm, confirm),
        Route("/subscribed", static("subscribed"), methods=["GET"]),
        form_route("/login", show_login, request_login),
        Route("/login/sent", show_login_sent, methods=["GET"]),
        form_route("/l/{token}", log_in, log_in),
        form_route("/logout", None, with_own_form(page, _log_out)),
    ]


def _show_form(
    page: PageContext,
    request: Request,
    form: forms.Form,
    status: int = 200,
    *,
    preview: Preview | None = None,
    n_named: int = 0,
    n_unknown: int = 0,
    notice: str = "",
) -> Response:
    return page.show(
        request,
        "subscribe",
        status,
        form=form,
        stamp=form["stamp"],
        zones=forms.zones(form["zone"]),
        preview=preview,
        n_named=n_named,
        n_unknown=n_unknown,
        notice=notice,
    )


def _subscribe(page: PageContext, request: Request, fields: Fields) -> Response:
    form, valid = forms.read(fields, FORM)
    forms.refuse_unknown_categories(page.db, form, valid)
    age = form_timestamp.age(page, form["stamp"])
    if age is None or age >= LONGEST_FILLING or not page.login_cookie.is_same_origin(request):
        notice = "This page was open for too long. Please press the button again."
        form.typed["stamp"] = form_timestamp.create(page)
        return _show_form(page, request, form, 422, notice=notice)
    if form["do"] == "preview":
        return _preview(page, request, form, valid)
    try:
        email = subscriptions.normal_address(form["email"][:400])
    except ConfigError as error:
        form.wrong["email"] = _as_sentence(error)
    if form.wrong:
        return _show_form(page, request, form, 422)
    if age < SHORTEST_FILLING:
        notice = "That was very fast. Please press the button again."
        return _show_form(page, request, form, 422, notice=notice)
    # People do not see the field `website`. A robot that fills it in gets the same response.
    if not form["website"]:
        likes, names, _ = _read_likes(page, form)
        if form.wrong:
            return _show_form(page, request, form, 422)
        chosen = SubscriberPreferences(**valid)
        try:
            page.signup.ask_to_subscribe(email, chosen, peer_address(request), likes, names)
        except TooManyRequests as error:
            return say_wait(_show_form(page, request, form, 429, notice=str(error)), error)
    return page.redirect("/subscribe/sent")


def _preview(
    page: PageContext, request: Request, form: forms.Form, valid: dict[str, Any]
) -> Response:
    likes, names, n_unknown = _read_likes(page, form)
    if form.wrong:
        return _show_form(page, request, form, 422)
    if not (valid["interests"] or valid["categories"] or likes):
        form.wrong["interests"] = "Write what you read. The preview needs it."
        return _show_form(page, request, form, 422)
    try:
        page.preview_limit.count(peer_address(request), page.clock.now())
    except TooManyRequests as error:
        return say_wait(_show_form(page, request, form, 429, notice=str(error)), error)
    chosen = SubscriberPreferences(**valid)
    preview = page.ranking.preview(
        subscriptions.new_subscriber("nobody@example.org", chosen), likes
    )
    return _show_form(page, request, form, preview=preview, n_named=len(names), n_unknown=n_unknown)


def _read_likes(page: PageContext, form: forms.Form) -> tuple[list[int], list[NamedPaper], int]:
    """Return the pasted papers that are stored, those to fetch, and the number of other entries.

    A text that is no list is an error of its field.
    """
    try:
        ids, missing, n_unknown = library_import.find_papers_in_text(page.db, form["likes"])
    except ConfigError as error:
        form.wrong["likes"] = _as_sentence(error)
        return [], [], 0
    names = [each for each in missing if each.scheme in page.named_schemes]
    return ids[:MOST_LIKES], names[:MOST_LIKES], n_unknown + len(missing) - len(names)


def _as_sentence(error: ConfigError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _log_out(page: PageContext, login: Login, request: Request, fields: Fields) -> Response:
    if fields.get("do") == "everywhere":
        page.sessions.end_all(login.subscriber)
        response = page.redirect("/", "You are logged out, in every browser.")
    else:
        page.sessions.end(request.cookies.get(page.login_cookie.session, ""))
        response = page.redirect("/", "You are logged out.")
    page.login_cookie.forget_session(response)
    return response
