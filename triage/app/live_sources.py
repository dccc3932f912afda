"""Creates the sources and enrichers that are switched on, each with a rate-limited HTTP client.

To add a source, add an entry to `Upstreams._live`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from triage.domain.announcement_calendar import arxiv_today
from triage.domain.request_limits import Rules
from triage.settings import Settings, read_secret

if TYPE_CHECKING:
    from triage.domain.protocols import Clock, Enricher, PaperLookup, Source
    from triage.settings import (
        ArxivSettings,
        BiorxivSettings,
        CrossrefSettings,
        FeedSettings,
        HuggingFaceDailySettings,
        SemanticScholarSettings,
    )
    from triage.sources.http.client import PoliteClient
    from triage.sources.zotero import Zotero
    from triage.store import Database

# bioRxiv and medRxiv list a day completely only on the day after.
PREPRINTS_BEHIND: Final = 1
# Rate limits of the host of a feed: seconds between two requests, and requests a day.
FEED_RULES: Final = Rules(1.0, 500)
# The same for Zotero, and the time limit for reading a whole library.
ZOTERO_RULES: Final = Rules(1.0, 2000)
ZOTERO_PATIENCE: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Live:
    """The sources of one section of the settings.

    Attributes:
        name: the section and the rate limit.
        address: a page to test whether the service responds.
        names: the sources; a digest waits for their days.
        opened: creates the sources.
        behind: days between the newest day of the sources and the date of the digest.
    """

    name: str
    settings: ArxivSettings | HuggingFaceDailySettings | BiorxivSettings
    address: str
    names: Sequence[str]
    opened: Callable[[PoliteClient], Sequence[Source]]
    behind: int = 0


def _rules(
    section: ArxivSettings
    | HuggingFaceDailySettings
    | BiorxivSettings
    | CrossrefSettings
    | SemanticScholarSettings,
) -> Rules:
    return Rules(section.min_interval_s, section.daily_requests)


@dataclass
class LiveSources:
    """Creates sources and enrichers, and keeps their HTTP clients from one fetch to the next.

    Attributes:
        database: returns the database in which all processes share the rate limits.
        owner: returns a new name for this process.
        is_gone: returns True if the owner is a process that certainly has ended.
        on_wait: see `PoliteClient`.
    """

    settings: Settings
    clock: Clock
    database: Callable[[], Database]
    owner: Callable[[], str]
    is_gone: Callable[[str], bool]
    on_wait: Callable[[str], None] | None = None
    _gates: dict[str, PoliteClient] = field(default_factory=dict)

    def sources(
        self, on: date | None = None, deadline: datetime | None = None, since: date | None = None
    ) -> list[Source]:
        """Return the sources that are switched on.

        Args:
            on: the day to read; without it, each source reads its own current day.
            deadline: when a fetch must end; without it, a fetch waits for its rate limit.
            since: the first day to read again, for sources that can read past days.
        """
        from triage.papers.leased_source import LeasedSource
        from triage.sources.feed.source import FeedSource

        today = self.clock.now().date()
        sources: list[Source] = []
        for live in self._live(on, since):
            sources += live.opened(self._gate(live.name, _rules(live.settings), deadline))
        for feed in self.settings.sources.feed:
            gate = self._feed_gate(feed, deadline)
            sources.append(FeedSource(gate, feed.name, feed.url, on or today))
        return [
            LeasedSource(each.name, each, self.database(), self.clock, self._reads_as, self.is_gone)
            for each in sources
        ]

    @cached_property
    def _reads_as(self) -> str:
        return self.owner()

    def addresses(self) -> Mapping[str, str]:
        """Return an address of each service by the name of its settings; feeds are not included."""
        return {live.name: live.address for live in self._live()}

    def days_behind(self) -> Mapping[str, int]:
        """Return the sources that a digest waits for, with the days that they are behind it.

        Feeds are not included, because they have no fixed days.
        """
        return {name: live.behind for live in self._live() for name in live.names}

    def _live(self, on: date | None = None, since: date | None = None) -> Iterator[_Live]:
        """Yield the sections that are switched on; the arguments are those of `sources`."""
        from triage.sources.arxiv.source import Arxiv
        from triage.sources.biorxiv.source import Biorxiv
        from triage.sources.hf_daily import HuggingFaceDaily

        wanted, now = self.settings.sources, self.clock.now()
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
            # The trending papers are those of now; there is no list for past days.
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
        """Return the enrichers that are switched on, the most reliable first."""
        from triage.sources.enrichers.crossref import Crossref
        from triage.sources.enrichers.semantic_scholar import SemanticScholar

        sources = self.settings.sources
        crossref, scholar = sources.crossref, sources.semantic_scholar
        enrichers: list[Enricher] = []
        if crossref.enabled:
            gate = self._gate("crossref", _rules(crossref), deadline)
            enrichers.append(Crossref(gate, crossref.url))
        if scholar.enabled:
            gate = self._gate("semantic_scholar", _rules(scholar), deadline)
            key = read_secret("SEMANTIC_SCHOLAR_KEY")
            enrichers.append(SemanticScholar(gate, scholar.url, key))
        return enrichers

    def lookups(self) -> list[PaperLookup]:
        """Return the services that are asked for single papers, for which one need not subscribe.

        arXiv is asked whatever its categories are. They have their own clients, as another thread
        may be using those of the sources, and leave half of the day's requests to the sources.
        """
        from triage.sources.arxiv.lookup import ArxivIdLookup, ArxivTitleLookup
        from triage.sources.biorxiv.lookup import BiorxivLookup
        from triage.sources.enrichers.crossref import CrossrefLookup

        wanted = self.settings.sources
        lookups: list[PaperLookup] = []
        if wanted.arxiv.enabled:
            gate = self._lookup_gate("arxiv", wanted.arxiv)
            lookups += [
                ArxivIdLookup(gate, wanted.arxiv.api_url),
                ArxivTitleLookup(gate, wanted.arxiv.api_url),
            ]
        if wanted.biorxiv.enabled:
            gate = self._lookup_gate("biorxiv", wanted.biorxiv)
            lookups.append(BiorxivLookup(gate, wanted.biorxiv.url))
        if wanted.crossref.enabled:
            gate = self._lookup_gate("crossref", wanted.crossref)
            lookups.append(CrossrefLookup(gate, wanted.crossref.url))
        return lookups

    def zotero(self, key: str) -> Zotero:
        """Return the Zotero library of an API key."""
        from triage.sources.zotero import Zotero

        deadline = self.clock.now() + ZOTERO_PATIENCE
        return Zotero(self._gate("zotero", ZOTERO_RULES, deadline), key)

    def close(self) -> None:
        """Close the connections; the clients can be used again and keep their rate limits."""
        for gate in self._gates.values():
            gate.close()

    def _gate(
        self,
        name: str,
        rules: Rules,
        deadline: datetime | None,
        *,
        is_public: bool = False,
        use: str = "",
    ) -> PoliteClient:
        """Return the client of one service for one use, always the same object.

        Args:
            name: of the rate limit that all processes share.
            is_public: connect only to public addresses.
        """
        from triage.sources.http.client import PoliteClient, user_agent
        from triage.sources.http.public_only import PinnedTransport
        from triage.store.shared_limiter import SharedRequestLimiter

        key = f"{name}, public" if is_public else f"{name}, {use}"
        if key not in self._gates:
            site = self.settings.site
            limiter = SharedRequestLimiter(
                self.database(),
                self.clock,
                name,
                rules,
                owner=self.owner(),
                is_gone=self.is_gone,
            )
            self._gates[key] = PoliteClient(
                self.clock,
                user_agent(site.base_url, site.contact),
                rules.interval_s,
                turns=limiter,
                transport=PinnedTransport if is_public else None,
            )
        self._gates[key].deadline = deadline
        self._gates[key].on_wait = self.on_wait
        return self._gates[key]

    def _lookup_gate(
        self, name: str, section: ArxivSettings | BiorxivSettings | CrossrefSettings
    ) -> PoliteClient:
        rules = Rules(section.min_interval_s, (section.daily_requests + 1) // 2)
        return self._gate(name, rules, None, use="lookup")

    def _feed_gate(self, feed: FeedSettings, deadline: datetime | None) -> PoliteClient:
        """Return the client of a feed; a feed of arXiv shares arXiv's rate limit."""
        name, rules = urlsplit(feed.url).hostname or "", FEED_RULES
        if name == "arxiv.org" or name.endswith(".arxiv.org"):
            name, rules = "arxiv", _rules(self.settings.sources.arxiv)
        return self._gate(name, rules, deadline, is_public=not feed.allow_private)
