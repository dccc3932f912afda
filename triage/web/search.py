"""The search page: by words and meaning, with filters; or for papers like some ticked ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.paper_ids import source_name
from triage.domain.records import Paper
from triage.domain.search_query import parse, without_diacritics
from triage.papers.search import Ranked
from triage.store.search import Filters
from triage.web.cache import TimedCache
from triage.web.cards import cards_for
from triage.web.context import PageContext, count_pages, number, page_number
from triage.web.forms import Form, split_words

PAGE: Final = 20
MOST: Final = 100
MOST_LIKED: Final = 3
LONGEST: Final = 2000
_SOURCES_FOR: Final = timedelta(minutes=10)
_FILTERS: Final = ("since", "until", "category", "source", "author")
_SNIPPET: Final = 280
_LEAD: Final = 120
_ENDING: Final = re.compile(r"(?<=\w{3})(?:ations?|ings?|ers?|ed|e?s|e)$")

Piece = tuple[str, bool]
"""A part of a text, and whether it matches the search."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The search in an address. `filters` are as typed, without empty ones."""

    words: str
    liked: tuple[int, ...]
    filters: Mapping[str, str]

    def path(self, root: str, *, without: str = "", page: int = 1, **other: str) -> str:
        """Return the address of this search, or of a similar one."""
        return f"{root}/search?{self.query(without=without, page=page, **other)}"

    def query(self, *, without: str = "", page: int = 1, **other: str) -> str:
        """Return what `read_search` reads; "" for a search for nothing."""
        pairs = [("q", other.get("q", self.words))]
        pairs += [("like", str(id)) for id in self.liked if without != f"like {id}"]
        pairs += [pair for pair in self.filters.items() if without not in {pair[0], "filters"}]
        pairs += [("page", str(page))] if page > 1 else []
        return urlencode([(name, value) for name, value in pairs if value])


def routes(page: PageContext) -> list[Route]:
    # The query for the sources reads all papers.
    cache = TimedCache[list[tuple[str, str]]](page.clock, _SOURCES_FOR)

    def load_sources() -> list[tuple[str, str]]:
        with page.db.read() as conn:
            return [(name, source_name(name)) for name in store.search.sources(conn)]

    def search(request: Request) -> Response:
        wanted = read_search(request.query_params)
        form, filters = read_filters(wanted)
        ranked: list[Ranked] = []
        liked: list[Paper] = []
        if not form.wrong:
            ranked, liked = _find(page, wanted, filters)
        n = page_number(request)
        n_pages = count_pages(len(ranked), PAGE, n)
        sources = cache.get("sources", load_sources)
        hits = page.search.load(ranked[(n - 1) * PAGE : n * PAGE])
        papers = [hit.paper for hit in hits]
        stems = frozenset() if liked else _stems(wanted.words)
        return page.show(
            request,
            "search",
            422 if form.wrong else 200,
            form=form,
            wanted=wanted,
            liked=liked,
            n_ticked=len(wanted.liked),
            listed=[
                (
                    card,
                    marked(card.paper.title, stems),
                    snippet(card.paper.tldr or card.paper.abstract, stems, _SNIPPET),
                )
                for card in cards_for(page, page.login_cookie.read(request), papers)
            ],
            n_found=len(ranked),
            is_all=len(ranked) < MOST,
            page=n,
            n_pages=n_pages,
            sources=[("", "any"), *sources],
            names=dict(sources),
            plain=" ".join(word for term in parse(wanted.words).terms for word in term),
        )

    return [Route("/search", search, methods=["GET"])]


def read_search(query: QueryParams) -> SearchRequest:
    """Return the search in the query of an address; what is too long is cut."""
    liked = dict.fromkeys(number(each) for each in query.getlist("like"))
    typed = {name: query.get(name, "").strip()[:200] for name in _FILTERS}
    return SearchRequest(
        words=query.get("q", "").strip()[:LONGEST],
        liked=tuple(id for id in liked if id),
        filters={name: value for name, value in typed.items() if value},
    )


def read_filters(wanted: SearchRequest) -> tuple[Form, Filters]:
    """Return the form as it was filled in, and its valid filters."""
    form = Form({"q": wanted.words, **wanted.filters})
    days: dict[str, date | None] = {"since": None, "until": None}
    for name in days:
        try:
            days[name] = date.fromisoformat(form[name]) if form[name] else None
        except ValueError:
            form.wrong[name] = "Write a date such as 2026-03-02."
    filters = Filters(
        days["since"],
        days["until"],
        tuple(split_words(form["category"])[:10]),
        (form["source"],) if form["source"] else (),
        form["author"],
    )
    return form, filters


def _find(
    page: PageContext, wanted: SearchRequest, filters: Filters
) -> tuple[list[Ranked], list[Paper]]:
    """Return what was found, and the papers to which they are similar; words take precedence."""
    if wanted.words or not wanted.liked:
        return page.search.rank(wanted.words, filters, MOST), []
    first = wanted.liked[:MOST_LIKED]
    with page.db.read() as conn:
        stored = store.papers.load(conn, first)
    liked = [stored[id] for id in first if id in stored]
    return page.search.rank_similar([paper.id for paper in liked], filters, MOST), liked


# -- marking the matches ---------------------------------------------------------------------------


def _stems(words: str) -> frozenset[str]:
    return frozenset(_stem(word) for term in parse(words).terms for word in term)


# The words of papers are few, and many times the same.
@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    """Return a word without its ending, roughly as in the search indexes."""
    return _ENDING.sub("", without_diacritics(word.lower()))


@lru_cache(maxsize=512)
def _possible_matches(stems: frozenset[str], is_ascii: bool) -> re.Pattern[str]:
    """Return a pattern of the words in lower case that begin with a stem, accents or not."""
    beginnings = [re.escape(stem) for stem in sorted(stems)]
    if not is_ascii:
        beginnings.append(r"[^\W_]*[^\W_\x00-\x7f]")
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(beginnings)})[^\W_]*")


def _matches(text: str, stems: frozenset[str]) -> list[tuple[int, int, str]]:
    """Return where the words with these stems begin and end, and the stem of each."""
    if not stems:
        return []
    lower = text.lower()
    if len(lower) != len(text):
        # The dotted capital I is two letters in lower case.
        lower = text
    words = _possible_matches(stems, text.isascii()).finditer(lower)
    found = ((word, _stem(word[0])) for word in words)
    return [(word.start(), word.end(), stem) for word, stem in found if stem in stems]


def _pieces(text: str, matches: Sequence[tuple[int, int, str]]) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for start, end, _ in matches:
        pieces += [(text[at:start], False), (text[start:end], True)]
        at = end
    return [piece for piece in (*pieces, (text[at:], False)) if piece[0]]


def marked(text: str, stems: frozenset[str]) -> list[Piece]:
    """Return a text in pieces, in which the words with these stems are marked."""
    return _pieces(text, _matches(text, stems))


def snippet(text: str, stems: frozenset[str], longest: int) -> list[Piece]:
    """Return the part of a text with most of these stems, in pieces, and at most `longest` long."""
    text = text[: 8 * longest]
    matches = _matches(text, stems)
    start, most = 0, 0
    for first, _, _ in matches:
        n = len({stem for at, _, stem in matches if first <= at < first + longest - _LEAD})
        if n > most:
            start, most = first, n
    if start <= longest // 2:
        start = 0
    else:
        sentence = max(text.rfind(mark, start - _LEAD, start) for mark in (". ", "? ", "! "))
        start = sentence + 2 if sentence >= 0 else start
    end = len(text) if len(text) <= start + longest else text.rfind(" ", start, start + longest)
    end = end if end > start else start + longest
    inside = [(at - start, to - start, stem) for at, to, stem in matches if start <= at < to <= end]
    before = [("… ", False)] if start else []
    after = [(" …", False)] if end < len(text) else []
    return [*before, *_pieces(text[start:end], inside), *after]
