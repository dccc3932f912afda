"""What was pressed on the votes page of a digest in the last hour, in a cookie of that browser.

A link to vote can be forwarded, so a page must not show the votes of a subscriber to whoever has
the link. It shows those that were pressed in the same browser. The cookie has a seal, because
only what was pressed here can be undone here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from triage.domain.records import EventKind
from triage.web.context import PageContext

LIFETIME = timedelta(hours=1)
MOST_VISITS = 20
"""Servers refuse requests with too many cookies."""
_KINDS = tuple(EventKind)


@dataclass(frozen=True, slots=True)
class Visit:
    """When the first button was pressed, and the last vote on each position of the slate."""

    began_at: datetime
    votes: Mapping[int, EventKind] = field(default_factory=dict)


def read_visit(page: PageContext, request: Request, slate: str) -> Visit:
    """Return the visit to a digest of this browser; a new one if it has none.

    Args:
        slate: the public id.
    """
    now = page.clock.now()
    text, _, seal = request.cookies.get(_name(slate), "").rpartition(".")
    if not page.keyring.is_seal(seal, f"{_name(slate)} {text}"):
        return Visit(now)
    at, *votes = text.split(".")
    began_at = datetime.fromtimestamp(int(at) / 1000, UTC)
    if now >= began_at + LIFETIME:
        return Visit(now)
    return Visit(began_at, {int(vote[:-1]): _KINDS[int(vote[-1])] for vote in votes})


def write_visit(
    page: PageContext, request: Request, response: Response, slate: str, visit: Visit
) -> None:
    """Give the browser its visit, for LIFETIME; the oldest of more than MOST_VISITS are deleted."""
    # Browsers send the oldest cookies first (RFC 6265, section 5.4).
    visits = [name for name in request.cookies if name.startswith(_name(""))]
    others = [name for name in visits if name != _name(slate)]
    for name in others[: 1 - MOST_VISITS]:
        page.login_cookie.delete(response, name)
    at = str(int(visit.began_at.timestamp() * 1000))
    text = ".".join([at, *(f"{n}{_KINDS.index(kind)}" for n, kind in visit.votes.items())])
    seal = page.keyring.seal(f"{_name(slate)} {text}")
    page.login_cookie.set(response, _name(slate), f"{text}.{seal}", LIFETIME)


def _name(slate: str) -> str:
    return f"votes-{slate}"
