"""A notice in a cookie: a form answers with a redirect, and the page after it shows the notice.

So Back and reload never send a form again. The cookie has a seal, so that nobody can put words on
our pages.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from triage.domain.link_tokens import Keyring
from triage.web.login_cookie import LoginCookie

COOKIE = "flash"
LIFETIME = timedelta(minutes=1)
LONGEST = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence, and the id of the element on the page that shows it; "" for the page's top."""

    text: str
    place: str = ""


def write_notice(
    response: Response, notice: Notice, keyring: Keyring, cookies: LoginCookie
) -> None:
    """Give the browser a notice for the next page; longer ones are cut to LONGEST characters."""
    text = f"{notice.place}\n{notice.text[:LONGEST]}"
    value = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    cookies.set(response, COOKIE, f"{value}.{keyring.seal(f'flash {text}')}", LIFETIME)


def read_notice(request: Request, keyring: Keyring) -> Notice | None:
    """Return the notice of a request; None if it has none of ours."""
    value, _, seal = request.cookies.get(COOKIE, "").partition(".")
    try:
        text = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    place, _, words = text.partition("\n")
    return Notice(words, place) if words and keyring.is_seal(seal, f"flash {text}") else None
