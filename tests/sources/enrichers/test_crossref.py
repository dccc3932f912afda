"""Crossref as an enricher: by DOI, where it was published, and which DOIs are one work."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import EnricherContract, error_text
from tests.support.fakes import StoppedClock
from tests.support.fixtures import cassette
from tests.support.scholars import Scholars
from triage.domain.paper_ids import parse_doi
from triage.domain.protocols import Enricher
from triage.domain.source_records import Enrichment, KnownPaper
from triage.errors import SourceError
from triage.sources.enrichers.crossref import MOST_DOIS, Crossref
from triage.sources.http.client import PoliteClient, user_agent

BREAKING = {"Cc", "Cs", "Zl", "Zp"}
PREPRINT = KnownPaper(1, (("biorxiv", "10.1101/2026.03.01.123456"),))
ARTICLE = KnownPaper(2, (("doi", "10.1038/s41592-026-1"),))
ARXIV = KnownPaper(3, (("arxiv", "2603.00001"), ("doi", "10.48550/arxiv.2603.00001")))
POSTED: dict[str, Any] = {
    "type": "posted-content",
    "container-title": [],
    "is-referenced-by-count": 4,
    "relation": {
        "is-preprint-of": [
            {"id-type": "doi", "id": "10.1038/S41592-026-1", "asserted-by": "subject"}
        ]
    },
}
PUBLISHED: dict[str, Any] = {
    "type": "journal-article",
    "container-title": ["Nature &amp; Methods", "Nat Methods"],
    "is-referenced-by-count": 12,
    "relation": {
        "has-preprint": [{"id-type": "doi", "id": "10.1101/2026.03.01.123456"}],
        "has-review": [{"id-type": "doi", "id": "10.5555/review"}],
    },
}


@pytest.fixture
def scholars() -> Iterator[Scholars]:
    with Scholars() as scholars:
        yield scholars


def asking(scholars: Scholars) -> Crossref:
    agent = user_agent("https://triage.example", "help@triage.example")
    return Crossref(PoliteClient(StoppedClock(), agent, 1.0), scholars.crossref_url)


def told(scholars: Scholars, *papers: KnownPaper) -> list[Enrichment]:
    return list(asking(scholars).enrich(papers))


class TestContract(EnricherContract):
    @pytest.fixture(autouse=True)
    def _server(self, scholars: Scholars) -> None:
        self.scholars = scholars

    def enricher(self) -> Enricher:
        return asking(self.scholars)

    def known(self) -> list[KnownPaper]:
        papers = [KnownPaper(n, (("doi", f"10.1038/{n}"),)) for n in range(1, 2 * MOST_DOIS)]
        for paper in papers:
            work = {"container-title": ["\u202eNature\x00 \nMethods"], "relation": None}
            self.scholars.crossref[paper.ids[0][1]] = PUBLISHED | work
        return papers

    def n_asked(self) -> int:
        return len(self.scholars.asked)


def test_journal_citations_and_the_preprint_are_told(scholars: Scholars) -> None:
    scholars.crossref["10.1038/s41592-026-1"] = PUBLISHED
    assert told(scholars, ARTICLE) == [
        Enrichment(
            2,
            venue="Nature & Methods",
            citations=12,
            ids=(("doi", "10.1101/2026.03.01.123456"),),
        )
    ]
    assert "mailto:help@triage.example" in scholars.asked[0].headers["User-Agent"]


def test_a_preprint_is_told_its_article_and_no_venue(scholars: Scholars) -> None:
    scholars.crossref["10.1101/2026.03.01.123456"] = POSTED
    expected = Enrichment(1, citations=4, ids=(("doi", "10.1038/s41592-026-1"),))
    assert told(scholars, PREPRINT) == [expected]
    scholars.crossref["10.1101/2026.03.01.123456"] = POSTED | {"container-title": ["Some series"]}
    assert told(scholars, PREPRINT) == [expected]


def test_a_preprint_on_arxiv_is_its_arxiv_id(scholars: Scholars) -> None:
    relation = {"has-preprint": [{"id-type": "doi", "id": "10.48550/arXiv.2603.00001"}]}
    scholars.crossref["10.1038/s41592-026-1"] = PUBLISHED | {"relation": relation}
    assert told(scholars, ARTICLE)[0].ids == (("arxiv", "2603.00001"),)


def test_what_is_related_by_other_than_a_doi_is_passed_over(scholars: Scholars) -> None:
    relation = {
        "is-preprint-of": [
            {"id-type": "uri", "id": "https://example.org/10.1038/one"},
            {"id-type": "doi", "id": "javascript:alert(1)"},
            {"id-type": "doi", "id": None},
            {"id-type": "doi", "id": "https://doi.org/10.1038/two"},
            "10.1038/three",
        ]
    }
    scholars.crossref["10.1101/2026.03.01.123456"] = POSTED | {"relation": relation}
    assert told(scholars, PREPRINT)[0].ids == (("doi", "10.1038/two"),)


def test_each_doi_of_a_work_is_asked_for(scholars: Scholars) -> None:
    scholars.crossref |= {"10.1101/1": POSTED, "10.1038/2": PUBLISHED}
    work = KnownPaper(9, (("biorxiv", "10.1101/1"), ("doi", "10.1101/1"), ("doi", "10.1038/2")))
    assert [(each.paper_id, each.citations) for each in told(scholars, work)] == [(9, 12), (9, 4)]
    assert scholars.asked[0].ids == ("10.1101/1", "10.1038/2")


def test_dois_of_arxiv_and_dois_with_a_comma_are_not_asked_for(scholars: Scholars) -> None:
    comma = KnownPaper(4, (("doi", "10.1016/0370-1573(94),00080-m"),))
    assert told(scholars, ARXIV, comma) == []
    assert scholars.asked == []


def test_a_work_that_was_not_asked_for_is_passed_over(scholars: Scholars) -> None:
    works = [{"DOI": "10.1038/other"} | PUBLISHED, {"DOI": None}, None, {"DOI": ["10.1038/x"]}]
    scholars.bodies.append((200, json.dumps({"message": {"items": works}}).encode()))
    assert told(scholars, ARTICLE) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"message": []}', b'{"message": {"items": 3}}', b"<html></html>"]
)
def test_an_answer_that_is_no_list_of_works_is_refused(scholars: Scholars, body: bytes) -> None:
    scholars.bodies.append((200, body))
    with pytest.raises(SourceError) as caught:
        told(scholars, ARTICLE)
    assert "Crossref" in error_text(caught.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(value=ANYTHING, key=st.sampled_from([*PUBLISHED, "has-preprint"]))
def test_any_value_in_any_field_is_told_clean_or_not_at_all(value: Any, key: str) -> None:
    from triage.sources.enrichers.crossref import _enrichment

    made = _enrichment(1, PUBLISHED | {key: value, "relation": {key: value}})
    assert made.citations is None or made.citations >= 0
    # A letter that this Python does not know yet is no harm.
    assert not BREAKING & {unicodedata.category(c) for c in made.venue}
    assert all(scheme in {"arxiv", "doi"} for scheme, _ in made.ids)


# -- what it really said ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test_works_query", "test_works_no_id_withlimit", "test_cursor"])
def test_recorded_lists_of_works_are_told(scholars: Scholars, name: str) -> None:
    (said,) = cassette(f"crossref/{name}.yaml")
    items = json.loads(said.body)["message"]["items"]
    papers = [
        KnownPaper(n, (("doi", parse_doi(item["DOI"]) or ""),)) for n, item in enumerate(items)
    ]
    scholars.bodies.append((said.status, said.body))
    answers = told(scholars, *papers)
    assert [each.citations for each in answers] == [i["is-referenced-by-count"] for i in items]
    assert all(
        bool(each.venue) == bool(item.get("container-title"))
        for each, item in zip(answers, items, strict=True)
    )


def test_a_recorded_article_is_told(scholars: Scholars) -> None:
    (said,) = cassette("crossref/test_works_with_one_id.yaml")
    work = json.loads(said.body)["message"]
    scholars.bodies.append((200, json.dumps({"message": {"items": [work]}}).encode()))
    paper = KnownPaper(5, (("doi", "10.1371/journal.pone.0033693"),))
    assert told(scholars, paper) == [Enrichment(5, venue="PLoS ONE", citations=72)]
