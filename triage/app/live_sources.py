"""The live sources, and who knows more of their papers, each behind its gate as the settings say.

A new source is one more entry of `Upstreams._live`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from triage.domain.announcement_calendar import arxiv_today
from triage.settings import Settings, secret

if TYPE_CHECKING:
    from triage.domain.protocols import Clock, Enricher, Source
    from triage.settings import (
        ArxivSettings,
        BiorxivSettings,
        FeedSettings,
        HuggingFaceDailySettings,
    )
    from triage.sources.http.client import PoliteClient
    from triage.sources.zotero import Zotero
    from triage.store import Database

# A day of preprints can be judged when it is over, which is the day after.
PREPRINTS_BEHIND: Final = 1
# Between two requests to the host of a feed, in seconds, and how many a day.
FEED_INTERVAL_S: Final = 1.0
FEED_REQUESTS: Final = 500
# The same for Zotero, and how long somebody waits for a library.
ZOTERO_INTERVAL_S: Final = 1.0
ZOTERO_REQUESTS: Final = 2000
ZOTERO_PATIENCE: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Live:
    """What one section of the settings switches on.

    Attributes:
        name: of the section and of the gate.
        address: where it can be asked whether it answers.
        names: of its sources, whose days a digest waits for.
        opened: makes the sources.
        behind: how many days their newest day lies behind the digest's.
    """

    name: str
    settings: ArxivSettings | HuggingFaceDailySettings | BiorxivSettings
    address: str
    names: Sequence[str]
    opened: Callable[[PoliteClient], Sequence[Source]]
    behind: int = 0


class Upstreams:
    """Makes sources and enrichers, and keeps their gates, so that spacing holds over fetches.

    Args:
        database: returns where all processes share their turns.
        owner: returns a new name of this process.
        is_gone: whether an owner is known to be a process that has ended.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        database: Callable[[], Database],
        *,
        owner: Callable[[], str],
        is_gone: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._owner = owner
        self._is_gone = is_gone
        self._gates: dict[str, PoliteClient] = {}

    def sources(
        self, on: date | None = None, deadline: datetime | None = None, since: date | None = None
    ) -> list[Source]:
        """Return the live sources that are switched on.

        Args:
            on: acts as if this were today; else each source has the day that it is there.
            deadline: when a fetch must have ended; none for one that may wait its turn.
            since: the first day to read again, of the sources that can read the past.
        """
        from triage.sources.feed.source import FeedSource

        today = self._clock.now().date()
        sources: list[Source] = []
        for live in self._live(on, since):
            limits = live.settings
            gate = self._gate(live.name, limits.min_interval_s, deadline, limits.daily_requests)
            sources += live.opened(gate)
        for feed in self._settings.sources.feed:
            gate = self._feed_gate(feed, deadline)
            sources.append(FeedSource(gate, feed.name, feed.url, on or today))
        return sources

    def addresses(self) -> Mapping[str, str]:
        """Return where each of them is asked, by the name of its settings; feeds are not among."""
        return {live.name: live.address for live in self._live()}

    def awaited(self) -> Mapping[str, int]:
        """Return the sources that a digest waits for, with how far their day lies behind its own.

        Feeds have no day on which something is due, so nobody waits for them.
        """
        return {name: live.behind for live in self._live() for name in live.names}

    def _live(self, on: date | None = None, since: date | None = None) -> Iterator[_Live]:
        """Yield what is switched on; the arguments are as for `sources`."""
        from triage.sources.arxiv.source import Arxiv
        from triage.sources.biorxiv.source import Biorxiv
        from triage.sources.hf_daily import HuggingFaceDaily

        wanted, now = self._settings.sources, self._clock.now()
        arxiv, hf, bio = wanted.arxiv, wanted.hf_daily, wanted.biorxiv
        if arxiv.enabled and arxiv.categories:
            urls = arxiv.rss_url, arxiv.api_url, arxiv.oai_url
            yield _Live(
                "arxiv",
                arxiv,
                f"{arxiv.rss_url}/{'+'.join(arxiv.categories)}",
                ["arxiv"],
                lambda gate: [Arxiv(gate, arxiv.categories, *urls, on or arxiv_today(now), since)],
            )
        if hf.enabled:
            # What trends is known of this moment only, and not of a day of the past.
            trends = hf.trending and on is None
            yield _Live(
                "hf_daily",
                hf,
                hf.url,
                ["hf_daily"],
                lambda gate: [HuggingFaceDaily(gate, hf.url, on or now.date(), since, trends)],
            )
        if bio.enabled:
            day = on or arxiv_today(now) - timedelta(days=PREPRINTS_BEHIND)
            over = now.date() - timedelta(days=PREPRINTS_BEHIND)
            yield _Live(
                "biorxiv",
                bio,
                f"{bio.url}/details/{bio.servers[0]}/{over}/{over}/0/json",
                bio.servers,
                lambda gate: [Biorxiv(gate, s, bio.url, day, since=since) for s in bio.servers],
                PREPRINTS_BEHIND,
            )

    def enrichers(self, deadline: datetime | None = None) -> list[Enricher]:
        """Return who is asked for more than the sources told, whom to believe first; often nobody.

        Args:
            deadline: as for `sources`.
        """
        from triage.sources.enrichers.crossref import Crossref
        from triage.sources.enrichers.semantic_scholar import SemanticScholar

        crossref = self._settings.sources.crossref
        scholar = self._settings.sources.semantic_scholar
        enrichers: list[Enricher] = []
        if crossref.enabled:
            gate = self._gate(
                "crossref", crossref.min_interval_s, deadline, crossref.daily_requests
            )
            enrichers.append(Crossref(gate, crossref.url))
        if scholar.enabled:
            gate = self._gate(
                "semantic_scholar", scholar.min_interval_s, deadline, scholar.daily_requests
            )
            key = secret("SEMANTIC_SCHOLAR_KEY")
            enrichers.append(SemanticScholar(gate, scholar.url, key))
        return enrichers

    def zotero(self, key: str) -> Zotero:
        """Return the library at Zotero that a key opens."""
        from triage.sources.zotero import Zotero

        deadline = self._clock.now() + ZOTERO_PATIENCE
        return Zotero(self._gate("zotero", ZOTERO_INTERVAL_S, deadline, ZOTERO_REQUESTS), key)

    def close(self) -> None:
        """Close the connections; the gates can be used again and keep their distance."""
        for gate in self._gates.values():
            gate.close()

    def _gate(
        self,
        name: str,
        min_interval_s: float,
        deadline: datetime | None,
        daily_requests: int,
        *,
        is_public: bool = False,
    ) -> PoliteClient:
        """Return the gate of one source, always the same; all processes share what it stands for.

        Args:
            name: of whoever is asked, the host's where nothing better is known.
            is_public: reach public addresses only.
        """
        from triage.domain.request_limits import Rules
        from triage.sources.http.client import PoliteClient, user_agent
        from triage.sources.http.public_only import PinnedTransport
        from triage.store.shared_limiter import SharedRequestLimiter

        key = f"{name}, public" if is_public else name
        if key not in self._gates:
            site = self._settings.site
            turns = SharedRequestLimiter(
                self._database(),
                self._clock,
                name,
                Rules(min_interval_s, daily_requests),
                owner=self._owner(),
                is_gone=self._is_gone,
            )
            self._gates[key] = PoliteClient(
                self._clock,
                user_agent(site.base_url, site.contact),
                min_interval_s,
                turns=turns,
                transport=PinnedTransport if is_public else None,
            )
        self._gates[key].deadline = deadline
        return self._gates[key]

    def _feed_gate(self, feed: FeedSettings, deadline: datetime | None) -> PoliteClient:
        """Return the gate of a feed's host, which is arXiv's own where the feed is one of arXiv."""
        host = urlsplit(feed.url).hostname or ""
        name, interval_s, daily_requests = host, FEED_INTERVAL_S, FEED_REQUESTS
        if host == "arxiv.org" or host.endswith(".arxiv.org"):
            arxiv = self._settings.sources.arxiv
            name, interval_s = "arxiv", arxiv.min_interval_s
            daily_requests = arxiv.daily_requests
        return self._gate(
            name, interval_s, deadline, daily_requests, is_public=not feed.allow_private
        )
