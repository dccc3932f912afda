"""Tells which entries of a feed are one paper, in one fetch and from fetch to fetch.

Guids and links should do that, but some feeds have one guid for all entries, or a new guid for each
entry at each fetch, or add the names of campaigns to their links. So a guid counts as far as link,
title and text do not contradict it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from triage.domain.chunks import group
from triage.sources.feed.entries import FeedEntry, hash_text

_TRACKING: Final = re.compile(
    r"(?:utm|mtm|pk|hsa|mc|at|trk)_\w*=.*|_hs\w+=.*|(?:fbclid|gclid|dclid|msclkid|igshid|ref_src|rss"
    r"|xtor|cmpid|ncid|af|wt\.mc_id|phpsessid|jsessionid|sessionid|sid)=.*"
    r"|\w+=(?:rss|feed|rssfeed|atom)",
    re.ASCII | re.IGNORECASE,
)
_SESSION: Final = re.compile(r";jsessionid=[^/?#]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Names:
    """Hashes by which an entry is known again; empty ones say nothing.

    Attributes:
        guid, link: of addresses without what changes from fetch to fetch.
        title, text: these, if no other entry of the fetch has the same; so for the others.
        whole: title and text together.
        key: of the guid, link or title as received, for cursors of form 1.
    """

    guid: str = ""
    link: str = ""
    title: str = ""
    text: str = ""
    whole: str = ""
    key: str = ""

    def agree(self, other: Names) -> bool:
        """Return whether two entries of different fetches with a name in common are one paper."""
        same_title = self.title == other.title != ""
        same_text = self.text == other.text != ""
        same_whole = self.whole == other.whole != ""
        same_address = self.guid == other.guid != "" and self.link == other.link
        return same_title or same_text or same_whole or same_address


def distinct_entries(entries: Sequence[FeedEntry]) -> list[FeedEntry]:
    """Return each paper of one fetch once, in order, without the ids that tell nothing.

    The same title, link and text are one paper. So is the same guid with two of these three; of
    several, the first is kept. A guid, link or id that other papers of the feed have, too, is
    removed; an entry that had no other gets one from its title, or from title and text.
    """
    entries = _first_of_each(entries, _content)
    by_guid = group((entry.guid, entry) for entry in entries)
    shared_guids = {guid for guid, several in by_guid.items() if not _are_one_paper(several)}
    entries = _first_of_each(
        entries, lambda each: each.guid if each.guid not in {"", *shared_guids} else None
    )
    links = Counter(entry.link for entry in entries)
    shared_ids = _ids_of_several_papers(entries)
    titles = Counter(entry.title.value for entry in entries)
    return [
        _without(
            entry, shared_guids, links, shared_ids, is_title_unique=titles[entry.title.value] < 2
        )
        for entry in entries
    ]


def name_entries(entries: Sequence[FeedEntry]) -> list[Names]:
    """Return the names of the distinct entries of one fetch."""
    guids = _unique([(page(entry.guid), entry.guid) for entry in entries])
    links = _unique([(_link_page(entry), entry.link) for entry in entries])
    all_titles = [" ".join(entry.title.value.split()) for entry in entries]
    all_texts = [entry.text if entry.text != "\0" else "" for entry in entries]
    pairs = zip(all_titles, all_texts, strict=True)
    # "Editorial" and "Read more" are no names.
    titles, texts = (
        _unique([(each,) for each in all_titles]),
        _unique([(each,) for each in all_texts]),
    )
    wholes = _unique([(title and f"{title}\0{text}",) for title, text in pairs])
    names = []
    for place, own in enumerate(zip(guids, links, titles, texts, wholes, strict=True)):
        guid, link, title, text, whole = (hash_text(each) if each else "" for each in own)
        if not (guid or link or whole):
            guid = f"#{place}"
        names.append(Names(guid, link, title, text, whole, entries[place].key))
    return names


def page(address: str) -> str:
    """Return an address without what does not tell pages apart; any other text as it is."""
    if not address.lower().startswith(("http://", "https://")):
        return address
    try:
        parts = urlsplit(_SESSION.sub("", address))
        host = (parts.hostname or "").removeprefix("www.")
        port = f":{parts.port}" if parts.port not in {None, 80, 443} else ""
    except ValueError:
        return address
    query = "&".join(each for each in parts.query.split("&") if not _TRACKING.fullmatch(each))
    shown = f"//{host}{port}{parts.path.rstrip('/')}"
    return shown + (query and f"?{query}") + (parts.fragment and f"#{parts.fragment}")


def _content(entry: FeedEntry) -> tuple[str, ...] | None:
    """Return what makes two entries the same; None if that is nothing."""
    named = entry.guid or entry.link or entry.title.value
    return (entry.title.value, _link_page(entry), entry.text) if named else None


def _link_page(entry: FeedEntry) -> str:
    return page(entry.link).partition("#")[0]


def _first_of_each(
    entries: Iterable[FeedEntry], key: Callable[[FeedEntry], object]
) -> list[FeedEntry]:
    """Return the first entry of each key, and all that have none."""
    found: dict[object, FeedEntry] = {}
    for place, entry in enumerate(entries):
        own = key(entry)
        found.setdefault(place if own is None else (own,), entry)
    return list(found.values())


def _are_one_paper(several: Sequence[FeedEntry]) -> bool:
    first = several[0]
    return all(
        (first.title == other.title)
        + (_link_page(first) == _link_page(other))
        + (first.text == other.text)
        >= 2
        for other in several[1:]
    )


def _ids_of_several_papers(entries: Iterable[FeedEntry]) -> set[tuple[str, str]]:
    """Return the ids that stand in entries with different titles and texts."""
    first: dict[tuple[str, str], FeedEntry] = {}
    shared = set()
    for entry in entries:
        for id in entry.ids:
            other = first.setdefault(id, entry)
            if other.title != entry.title and other.text != entry.text:
                shared.add(id)
    return shared


def _without(
    entry: FeedEntry,
    shared_guids: set[str],
    links: Counter[str],
    shared_ids: set[tuple[str, str]],
    *,
    is_title_unique: bool,
) -> FeedEntry:
    guid = "" if entry.guid in shared_guids else entry.guid
    link = entry.link if links[entry.link] < 2 else ""
    title = entry.title.value
    if not (guid or link):
        if not (title and is_title_unique):
            guid = f"text:{hash_text(entry.fingerprint + _link_page(entry))}"
        elif entry.guid or entry.link:  # Else the paper has no id, and is known by its title.
            guid = f"title:{hash_text(title)}"
    ids = tuple(id for id in entry.ids if id not in shared_ids)
    return replace(entry, guid=guid, link=link, ids=ids, first_key=entry.key)


def _unique(forms: Sequence[tuple[str, ...]]) -> list[str]:
    """Return for each entry the first of its forms that no other entry has; empty if none."""
    counts = [Counter(column) for column in zip(*forms, strict=True)]
    return [
        next((form for form, n in zip(each, counts, strict=True) if n[form] < 2), "")
        for each in forms
    ]
