"""Semantic Scholar as an enricher: by the hundred, in order, and nobody else's paper."""

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
from triage.domain.protocols import Enricher
from triage.domain.source_records import Enrichment, KnownPaper
from triage.errors import SourceError
from triage.sources.enrichers.semantic_scholar import MOST_IDS, SemanticScholar
from triage.sources.http.client import PoliteClient

BREAKING = {"Cc", "Cs", "Zl", "Zp"}
ARXIV = KnownPaper(1, (("arxiv", "2603.00001"),))
BIORXIV = KnownPaper(2, (("biorxiv", "10.1101/2026.03.01.123456"),))
RECORD: dict[str, Any] = {
    "paperId": "0" * 40,
    "externalIds": {"ArXiv": "2603.00001", "DOI": "10.1038/S41592-026-1", "CorpusId": 1},
    "publicationVenue": {"name": "Nature Methods", "type": "journal"},
    "venue": "Nat. Methods",
    "citationCount": 12,
    "tldr": {"model": "tldr@v2.0.0", "text": "Drafts  make decoding $2\\times$ faster."},
}


@pytest.fixture
def scholars() -> Iterator[Scholars]:
    with Scholars() as scholars:
        yield scholars


def asking(scholars: Scholars, key: str | None = None) -> SemanticScholar:
    return SemanticScholar(
        PoliteClient(StoppedClock(), "triage/test", 1.0), scholars.semantic_url, key
    )


def told(scholars: Scholars, *papers: KnownPaper) -> list[Enrichment]:
    return list(asking(scholars).enrich(papers))


class TestContract(EnricherContract):
    @pytest.fixture(autouse=True)
    def _server(self, scholars: Scholars) -> None:
        self.scholars = scholars

    def enricher(self) -> Enricher:
        return asking(self.scholars)

    def known(self) -> list[KnownPaper]:
        papers = [KnownPaper(n, (("arxiv", f"2603.{n:05d}"),)) for n in range(1, 2 * MOST_IDS)]
        for paper in papers:
            record = {"citationCount": paper.id, "tldr": {"text": "\u202eAll\x00 of\nit."}}
            self.scholars.semantic[f"ARXIV:{paper.ids[0][1]}"] = record
        return papers

    def n_asked(self) -> int:
        return len(self.scholars.asked)


def test_summary_venue_citations_and_doi_are_told(scholars: Scholars) -> None:
    scholars.semantic["ARXIV:2603.00001"] = RECORD
    assert told(scholars, ARXIV) == [
        Enrichment(
            1,
            tldr="Drafts make decoding 2× faster.",
            venue="Nature Methods",
            citations=12,
            ids=(("arxiv", "2603.00001"), ("doi", "10.1038/s41592-026-1")),
        )
    ]
    assert set(scholars.asked[0].query["fields"].split(",")) <= RECORD.keys()


def test_papers_are_asked_for_by_arxiv_id_else_by_doi(scholars: Scholars) -> None:
    both = KnownPaper(3, (("arxiv", "hep-th/9901001"), ("doi", "10.1016/one")))
    journal = KnownPaper(4, (("doi", "10.1038/two"), ("feed:nature", "guid")))
    told(scholars, ARXIV, BIORXIV, both, journal)
    assert scholars.asked[0].ids[:-1] == (
        "ARXIV:2603.00001",
        "DOI:10.1101/2026.03.01.123456",
        "ARXIV:hep-th/9901001",
        "DOI:10.1038/two",
    )


def test_papers_that_nobody_knows_yet_are_no_error(scholars: Scholars) -> None:
    assert told(scholars, ARXIV, BIORXIV) == []
    # It refuses a question without any id that it knows, so each holds one.
    assert len(scholars.asked) == 1


@pytest.mark.parametrize("server", ["arXiv.org", "bioRxiv", "CoRR", "medRxiv", "SSRN", " ", "—"])
def test_where_preprints_lie_is_no_venue(scholars: Scholars, server: str) -> None:
    scholars.semantic["ARXIV:2603.00001"] = RECORD | {
        "venue": "NeurIPS",
        "publicationVenue": {"name": server},
    }
    assert told(scholars, ARXIV)[0].venue == "NeurIPS"
    scholars.semantic["ARXIV:2603.00001"] = RECORD | {"venue": server, "publicationVenue": None}
    assert told(scholars, ARXIV)[0].venue == ""


def test_a_doi_that_arxiv_gave_out_is_the_arxiv_id(scholars: Scholars) -> None:
    ids = {"ArXiv": "2603.00001", "DOI": "10.48550/arXiv.2603.00001"}
    scholars.semantic["ARXIV:2603.00001"] = RECORD | {"externalIds": ids}
    assert told(scholars, ARXIV)[0].ids == (("arxiv", "2603.00001"),)


def test_a_record_of_another_paper_is_passed_over(scholars: Scholars) -> None:
    another = RECORD | {"externalIds": {"ArXiv": "2603.00002"}}
    scholars.semantic["ARXIV:2603.00001"] = another
    assert told(scholars, ARXIV) == []
    # What a preprint server and arXiv both have is one work.
    scholars.semantic["DOI:10.1101/2026.03.01.123456"] = another
    assert told(scholars, BIORXIV)[0].ids == (("arxiv", "2603.00002"),)


def test_a_key_is_shown_where_there_is_one(scholars: Scholars) -> None:
    told(scholars, ARXIV)
    assert "x-api-key" not in {name.lower() for name in scholars.asked[0].headers}
    list(asking(scholars, "a key of the tests").enrich([ARXIV]))
    headers = {name.lower(): value for name, value in scholars.asked[1].headers.items()}
    assert headers["x-api-key"] == "a key of the tests"
    assert headers["user-agent"] == "triage/test"


def test_a_key_is_shown_to_nobody_else(scholars: Scholars) -> None:
    with Scholars() as elsewhere:
        scholars.moved_to = f"{elsewhere.semantic_url}/paper/batch"
        with pytest.raises(SourceError) as caught:
            list(asking(scholars, "a key of the tests").enrich([ARXIV]))
        assert elsewhere.asked == []
    assert "a key of the tests" not in error_text(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"{}", b"[]", b"[null]", b'[{"citationCount": 3}, null, null]', b"<html></html>"],
)
def test_an_answer_that_is_not_one_record_an_id_is_refused(scholars: Scholars, body: bytes) -> None:
    scholars.bodies.append((200, body))
    with pytest.raises(SourceError) as caught:
        told(scholars, ARXIV)
    assert "Semantic Scholar" in error_text(caught.value)


def test_too_many_requests_are_waited_out(scholars: Scholars) -> None:
    scholars.semantic["ARXIV:2603.00001"] = RECORD
    scholars.bodies.append((429, b'{"message": "Too Many Requests"}'))
    assert told(scholars, ARXIV)[0].citations == 12
    first, second = scholars.asked
    assert first.ids == second.ids


def test_a_refused_key_is_spoken_of(scholars: Scholars) -> None:
    scholars.bodies.append((403, b'{"message": "Forbidden"}'))
    with pytest.raises(SourceError, match="Check the key"):
        told(scholars, ARXIV)


def test_a_refusal_with_reasons_is_told(scholars: Scholars) -> None:
    scholars.bodies.append((200, b'{"error": "Unrecognized or unsupported fields: [tldr]"}'))
    with pytest.raises(SourceError, match="unsupported fields"):
        told(scholars, ARXIV)


def test_what_came_before_a_failure_stands(scholars: Scholars) -> None:
    papers = [KnownPaper(n, (("arxiv", f"2603.{n:05d}"),)) for n in range(1, 2 * MOST_IDS)]
    everybody: list[Any] = [{"citationCount": 1}] * MOST_IDS
    scholars.bodies.extend([(200, json.dumps(everybody).encode()), (403, b'{"message": "no"}')])
    answers = asking(scholars).enrich(papers)
    assert [next(answers).paper_id for _ in range(MOST_IDS - 1)] == list(range(1, MOST_IDS))
    with pytest.raises(SourceError, match="403"):
        next(answers)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(value=ANYTHING, key=st.sampled_from(sorted(RECORD)))
def test_any_value_in_any_field_is_told_clean_or_not_at_all(value: Any, key: str) -> None:
    from triage.sources.enrichers.semantic_scholar import _enrichment

    made = _enrichment(1, RECORD | {key: value})
    assert made.citations is None or made.citations >= 0
    # A letter that this Python does not know yet is no harm.
    assert not BREAKING & {unicodedata.category(c) for c in made.tldr + made.venue}
    assert all(scheme in {"arxiv", "doi"} for scheme, _ in made.ids)


# -- what it really said ---------------------------------------------------------------------------


def test_recorded_records_are_told_in_the_order_of_the_question(scholars: Scholars) -> None:
    (said,) = cassette("semantic_scholar/test_get_papers_not_found_warning.yaml")
    n = len(json.loads(said.question)["ids"])
    papers = [KnownPaper(i, (("doi", f"10.5555/{i}"),)) for i in range(n)]
    # Its first paper is unknown, and the last stands where we put one that is known.
    scholars.bodies.append((said.status, said.body[:-1].strip()[:-1] + b", null]"))
    first, second, third = told(scholars, *papers)
    assert (first.paper_id, first.citations, first.venue) == (1, 10670, "")
    assert first.ids == (("doi", "10.2139/ssrn.288970"),)
    assert (second.paper_id, third.paper_id) == (2, 3)
    assert [second.citations, third.citations] == [
        record["citationCount"] for record in json.loads(said.body)[2:]
    ]


def test_recorded_records_without_what_we_want_tell_nothing(scholars: Scholars) -> None:
    (said,) = cassette("semantic_scholar/test_get_papers.yaml")
    papers = [KnownPaper(i, (("doi", f"10.5555/{i}"),)) for i in range(2)]
    scholars.bodies.append((said.status, said.body))
    assert told(scholars, *papers) == [Enrichment(0), Enrichment(1)]
