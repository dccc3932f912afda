"""Search: words and what they mean, narrowed down; and papers like some that were ticked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from triage import store
from triage.domain.paper_ids import source_name
from triage.domain.records import Paper
from triage.domain.search_query import parse, without_diacritics
from triage.papers.search import Hit
from triage.store.search import Filters
from triage.web.cache import TimedCache
from triage.web.context import PageContext, number
from triage.web.forms import Form

PAGE: Final = 20
MOST: Final = 100
MOST_LIKED: Final = 3
LONGEST: Final = 2000
_SOURCES_FOR: Final = timedelta(minutes=10)
_FILTERS: Final = ("since", "until", "category", "source", "author")
_SNIPPET: Final = 280
_LEAD: Final = 120
_WORD: Final = re.compile(r"[^\W_]+")
_ENDING: Final = re.compile(r"(?<=\w{3})(?:ations?|ings?|ers?|ed|e?s|e)$")

Piece = tuple[str, bool]
"""A part of a text, and whether it is what was searched for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks for. `filters` are as typed, those that are empty left out."""

    words: str
    liked: tuple[int, ...]
    filters: Mapping[str, str]

    def path(self, root: str, *, without: str = "", page: int = 1, **other: str) -> str:
        """Return the address of this search, or of one that differs a little."""
        pairs = [("q", other.get("q", self.words))]
        pairs += [("like", str(id)) for id in self.liked if without != f"like {id}"]
        pairs += [pair for pair in self.filters.items() if without not in {pair[0], "filters"}]
        pairs += [("page", str(page))] if page > 1 else []
        return f"{root}/search?" + urlencode([(name, value) for name, value in pairs if value])


@dataclass(frozen=True, slots=True)
class Found:
    """A hit as it is shown."""

    paper: Paper
    title: list[Piece]
    snippet: list[Piece]


def routes(desk: PageContext) -> list[Route]:
    # Looking them up reads all papers.
    kept = TimedCache[list[tuple[str, str]]](desk.clock, _SOURCES_FOR)

    def look_up_sources() -> list[tuple[str, str]]:
        with desk.db.read() as conn:
            return [(name, source_name(name)) for name in store.search.sources(conn)]

    def search(request: Request) -> Response:
        asked = _asked(request)
        form, filters = _read(asked)
        hits: list[Hit] = []
        liked: list[Paper] = []
        if not form.wrong:
            hits, liked = _hits(desk, asked, filters)
        n_pages = max(-(-len(hits) // PAGE), 1)
        at = number(request.query_params.get("page", "1"))
        if not 1 <= at <= n_pages:
            raise HTTPException(404)
        sources = kept.get("sources", look_up_sources)
        stems = frozenset() if liked else _stems(asked.words)
        return desk.pages.show(
            "search",
            422 if form.wrong else 200,
            form=form,
            asked=asked,
            liked=liked,
            n_ticked=len(asked.liked),
            listed=[_shown(hit.paper, stems) for hit in hits[(at - 1) * PAGE : at * PAGE]],
            n_found=len(hits),
            is_all=len(hits) < MOST,
            page=at,
            n_pages=n_pages,
            sources=[("", "any"), *sources],
            names=dict(sources),
            plain=" ".join(word for term in parse(asked.words).terms for word in term),
        )

    return [Route("/search", search, methods=["GET"])]


def _asked(request: Request) -> Asked:
    given = request.query_params
    liked = dict.fromkeys(number(each) for each in given.getlist("like"))
    typed = {name: given.get(name, "").strip()[:200] for name in _FILTERS}
    return Asked(
        words=given.get("q", "").strip()[:LONGEST],
        liked=tuple(id for id in liked if id),
        filters={name: value for name, value in typed.items() if value},
    )


def _read(asked: Asked) -> tuple[Form, Filters]:
    """Return the form as it was filled in, and the filters in it that can be."""
    form = Form({"q": asked.words, **asked.filters})
    days: dict[str, date | None] = {"since": None, "until": None}
    for name in days:
        try:
            days[name] = date.fromisoformat(form[name]) if form[name] else None
        except ValueError:
            form.wrong[name] = "Write a date as in 2026-03-02."
    filters = Filters(
        days["since"],
        days["until"],
        tuple(re.split(r"[\s,;]+", form["category"]))[:10] if form["category"] else (),
        (form["source"],) if form["source"] else (),
        form["author"],
    )
    return form, filters


def _hits(desk: PageContext, asked: Asked, filters: Filters) -> tuple[list[Hit], list[Paper]]:
    """Return what was found, and the papers that it is to be like; words go before these."""
    if asked.words or not asked.liked:
        return desk.search.find(asked.words, filters, MOST), []
    first = asked.liked[:MOST_LIKED]
    with desk.db.read() as conn:
        stored = store.papers.load(conn, first)
    liked = [stored[id] for id in first if id in stored]
    return desk.search.similar([paper.id for paper in liked], filters, MOST), liked


# -- what was searched for, within texts -----------------------------------------------------------


def _shown(paper: Paper, stems: frozenset[str]) -> Found:
    return Found(
        paper, marked(paper.title, stems), snippet(paper.tldr or paper.abstract, stems, _SNIPPET)
    )


def _stems(words: str) -> frozenset[str]:
    return frozenset(_stem(word) for term in parse(words).terms for word in term)


def _stem(word: str) -> str:
    """Return a word without its ending, roughly as the indexes have it."""
    return _ENDING.sub("", without_diacritics(word.lower()))


def marked(text: str, stems: frozenset[str]) -> list[Piece]:
    """Return a text in pieces, the words with these stems apart from the rest."""
    pieces: list[Piece] = []
    at = 0
    for word in _WORD.finditer(text) if stems else ():
        if _stem(word[0]) in stems:
            pieces += [(text[at : word.start()], False), (word[0], True)]
            at = word.end()
    return [piece for piece in (*pieces, (text[at:], False)) if piece[0]]


def snippet(text: str, stems: frozenset[str], longest: int) -> list[Piece]:
    """Return the part of a text that has most of the words with these stems, in pieces."""
    text = text[: 8 * longest]
    said = [(word.start(), _stem(word[0])) for word in _WORD.finditer(text)] if stems else []
    said = [each for each in said if each[1] in stems]
    start, most = 0, 0
    for place, _ in said:
        n = len({stem for at, stem in said if place <= at < place + longest - _LEAD})
        if n > most:
            start, most = place, n
    if start <= longest // 2:
        start = 0
    else:
        sentence = max(text.rfind(mark, start - _LEAD, start) for mark in (". ", "? ", "! "))
        start = sentence + 2 if sentence >= 0 else start
    end = len(text) if len(text) <= start + longest else text.rfind(" ", start, start + longest)
    end = end if end > start else start + longest
    cut = text[start:end]
    before, after = "… " if start else "", " …" if end < len(text) else ""
    return marked(f"{before}{cut}{after}", stems)
