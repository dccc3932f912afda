"""When a page was shown, in its form: signed, so that nobody makes one up."""

from __future__ import annotations

from datetime import timedelta

from triage.web.context import PageContext


def new(desk: PageContext) -> str:
    """Return the stamp of a page that is shown now."""
    at = str(int(desk.clock.now().timestamp() * 1000))
    return f"{at}.{desk.keyring.seal(f'stamp {at}')}"


def age(desk: PageContext, stamp: str) -> timedelta | None:
    """Return how long ago a page was shown, None for a stamp that is none of ours."""
    at, _, seal = stamp.partition(".")
    if not at.isascii() or not at.isdigit() or not desk.keyring.is_seal(seal, f"stamp {at}"):
        return None
    return timedelta(seconds=desk.clock.now().timestamp() - int(at) / 1000)
