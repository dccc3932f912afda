"""The cursor of a feed: the entries that it had, and what became of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from datetime import date
from typing import Final

from triage.sources.feed.entries import FeedEntry, hash_text
from triage.sources.feed.identity import Names, name_entries

UNUSABLE: Final = 0
NO_ABSTRACT: Final = -1
_FORM: Final = 2
# Entries that left the feed are remembered, for feeds that alternate; the oldest are forgotten.
_MOST_GONE: Final = 1_000


@dataclass(slots=True)
class SeenEntry:
    """An entry of an earlier fetch.

    Attributes:
        version: the number of versions that became papers; UNUSABLE or NO_ABSTRACT if none did.
        on: the day on which it was first seen.
        fingerprint: the hash of its title and text.
        id: the paper's id in the feed's own scheme; empty if it has another.
    """

    version: int
    on: date
    fingerprint: str
    names: Names
    id: str = ""

    def is_news(self, entry: FeedEntry) -> bool:
        """Return whether an entry is new or has another text."""
        return self.fingerprint != entry.fingerprint


@dataclass(slots=True)
class FeedState:
    """The cursor's content.

    Attributes:
        url: a hash of the feed's address; a cursor of another feed is not used.
        on: the day of `is_read` and of the counts.
        got: entries that became papers on this day.
        n_unusable, n_no_abstract: entries that did not.
        n_left_out: entries of this day beyond those that are read of one feed.
        n_total: the number of entries at the last fetch.
        seen: the entries at the last fetch, and then those of before that left the feed.
    """

    url: str
    on: date
    etag: str = ""
    modified: str = ""
    is_read: bool = False
    got: int = 0
    n_unusable: int = 0
    n_no_abstract: int = 0
    n_left_out: int = 0
    n_total: int = 0
    seen: list[SeenEntry] = field(default_factory=list)

    @classmethod
    def load(cls, cursor: str | None, url: str, on: date) -> FeedState:
        """Read a cursor; an unreadable one starts from the beginning, which loses nothing.

        Entries that were first seen after `on`, by a clock that was ahead, are read again: their
        papers then get the earlier day.
        """
        url = hash_text(url)
        try:
            content = json.loads(cursor or "")
            form = content.pop("form")
            if content["url"] != url or form not in {1, _FORM}:
                return cls(url, on)
            content["on"] = last = date.fromisoformat(content["on"])
            if form == 1:
                content["n_unusable"] = content.pop("n_bad")
                content["seen"] = [
                    SeenEntry(int(version), last, str(fingerprint), Names(key=str(key)))
                    for key, (fingerprint, version) in content["seen"].items()
                ]
            else:
                content["seen"] = [_seen(*each) for each in content["seen"]]
            state = cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls(url, on)
        known = [each for each in state.seen if each.on <= on]
        if len(known) < len(state.seen):
            state.seen, state.etag, state.modified, state.is_read = known, "", "", False
        if state.on != on:
            state.on, state.is_read = on, False
            state.got = state.n_unusable = state.n_no_abstract = state.n_left_out = 0
        return state

    def cursor(self) -> str:
        seen = [
            [
                each.version,
                each.on.isoformat(),
                each.fingerprint,
                each.id,
                *astuple(each.names)[:-1],
            ]
            for each in self.seen
        ]
        content = {name: getattr(self, name) for name in self.__slots__}
        content |= {"form": _FORM, "on": self.on.isoformat(), "seen": seen}
        return json.dumps(content, separators=(",", ":"))

    def match(self, entries: Sequence[FeedEntry]) -> list[SeenEntry]:
        """Return what is known of each entry; one that is new has an empty fingerprint.

        `seen` then has these, with the names that they have now, and those that left the feed.
        """
        names = name_entries(entries)
        n_keys = Counter(each.key for each in names)
        found: dict[int, SeenEntry] = {}
        free = {id(each): each for each in self.seen}
        for kind in ("guid", "link", "whole", "key"):
            index = {getattr(each.names, kind): each for each in reversed(free.values())}
            index.pop("", None)
            for place, own in enumerate(names):
                known = index.get(getattr(own, kind))
                if known is None or place in found or id(known) not in free:
                    continue
                if kind == "key":
                    is_same = (
                        known.fingerprint == entries[place].fingerprint or n_keys[own.key] == 1
                    )
                else:
                    is_same = own.agree(known.names)
                if is_same:
                    found[place] = free.pop(id(known))
        current = []
        for place, own in enumerate(names):
            known = found.get(place) or SeenEntry(UNUSABLE, self.on, "", own)
            known.names = own
            current.append(known)
        self.seen = current + [each for each in free.values() if each.version > 0][:_MOST_GONE]
        return current

    def count(self, entry: SeenEntry, version: int) -> None:
        """Count an entry that gets this version, and no longer as what it was on this day."""
        if entry.version > 0:
            return
        if entry.fingerprint and entry.on == self.on:
            self.n_unusable -= bool(self.n_unusable and entry.version == UNUSABLE)
            self.n_no_abstract -= bool(self.n_no_abstract and entry.version == NO_ABSTRACT)
        self.got += version > 0
        self.n_unusable += version == UNUSABLE
        self.n_no_abstract += version == NO_ABSTRACT

    def count_left_out(self, n_total: int, n_left: int, known: Sequence[SeenEntry]) -> None:
        """Count the entries beyond the limit that were not in the feed at the last fetch."""
        n_new = sum(not each.fingerprint for each in known)
        if not self.n_total or n_new == len(known):
            self.n_left_out += n_left
        elif n_left:
            self.n_left_out += max(0, n_total - self.n_total - n_new)
        self.n_total = n_total

    def forget_unusable(self) -> None:
        """Let the next fetch read them again: the feed or triage may be corrected by then."""
        self.seen = [each for each in self.seen if each.version > 0]
        self.n_unusable = self.n_no_abstract = 0


def _seen(version: int, on: str, fingerprint: str, id: str, *names: str) -> SeenEntry:
    return SeenEntry(int(version), date.fromisoformat(on), str(fingerprint), Names(*names), str(id))
