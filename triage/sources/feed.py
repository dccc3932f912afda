"""Any feed: RSS 0.9x, 1.0 and 2.0, Atom, and JSON Feed 1.x. Gatekeeper of feedparser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from triage.records import Batch
from triage.sources._http import Gate


class FeedSource:
    """One feed.

    Args:
        gate: shared by all requests to the feed's host; unless the operator allows a private
            address, its transport is `PinnedTransport`.
        name: as configured; the source's own name is `feed:<name>`.
        url: the feed's address.
        on: the day that counts as today.
    """

    def __init__(self, gate: Gate, name: str, url: str, on: date) -> None:
        self.name = f"feed:{name}"
        self._gate = gate
        self._url = url
        self._on = on

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield what is new or changed since `cursor`."""
        raise NotImplementedError
