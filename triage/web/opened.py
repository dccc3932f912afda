"""Which links of a digest were opened in the last minute: kept in memory, for nobody's record."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

from triage.records import EventKind

WINDOW = timedelta(seconds=60)
LIKING = frozenset({EventKind.VOTE_UP, EventKind.SAVE})
Link = tuple[int | None, EventKind]


class LinksOpened:
    """Counts for each digest what was opened by whoever has it, and forgets it after a minute."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._slates: OrderedDict[str, dict[Link, datetime]] = OrderedDict()

    def note(self, slate: str, link: Link, now: datetime) -> tuple[int, int]:
        """Note that a link, of a position and an action, was opened.

        Returns:
            How many links of the digest were opened in the last minute, each counted once; and of
            how many papers both one that likes and one that dislikes.
        """
        with self._guard:
            links = self._slates.setdefault(slate, {})
            self._slates.move_to_end(slate)
            links[link] = now
            self._slates[slate] = new = {k: at for k, at in links.items() if now - at < WINDOW}
            while all(now - at >= WINDOW for at in next(iter(self._slates.values())).values()):
                self._slates.popitem(last=False)
        liked = {position for position, kind in new if kind in LIKING}
        return len(new), len(liked & {position for position, kind in new if kind not in LIKING})
