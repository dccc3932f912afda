"""A signed time in a form that says when its page was shown, so that nobody can forge the time."""

from __future__ import annotations

from datetime import timedelta

from triage.web.context import PageContext


def create(page: PageContext) -> str:
    """Return the timestamp for a page that is shown now."""
    at = str(int(page.clock.now().timestamp() * 1000))
    return f"{at}.{page.keyring.seal(f'stamp {at}')}"


def age(page: PageContext, timestamp: str) -> timedelta | None:
    """Return how long ago a page was shown, None if we did not create the timestamp."""
    at, _, seal = timestamp.partition(".")
    if not at.isascii() or not at.isdigit() or not page.keyring.is_seal(seal, f"stamp {at}"):
        return None
    return timedelta(seconds=page.clock.now().timestamp() - int(at) / 1000)
