"""Papers that people name by their DOI, asked of Crossref."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.enrichers.test_crossref import ANYTHING, BREAKING
from tests.support.contracts import PaperLookupContract
from tests.support.fixtures import cassette
from triage.domain.paper_ids import parse_doi
from triage.domain.protocols import PaperLookup
from triage.domain.source_records import FetchedPaper, NamedPaper
from triage.errors import RejectedRecord
from triage.sources.enrichers.crossref import MOST_DOIS, CrossrefLookup, _paper
from triage.sources.http.client import PoliteClient

NAME = NamedPaper("doi", "10.1038/s41592-026-1", "On Crystals")
WORK: dict[str, Any] = {
    "DOI": "10.1038/S41592-026-1",
    "title": ["On <i>Crystals</i>", "Second title"],
    "abstract": "<jats:title>Abstract</jats:title><jats:p>We grew\n them.</jats:p>",
    "author": [
        {"given": "Marie", "family": "Curie", "sequence": "first"},
        {"family": "Bourbaki"},
        {"name": "The ATLAS Collaboration"},
        {},
        None,
    ],
    "issued": {"date-parts": [[2017, 6, 12]]},
    "created": {"date-parts": [[2016, 1, 1]]},
    "container-title": ["Nature Methods", "Nat Methods"],
}


def works(*items: Any) -> bytes:
    return json.dumps({"status": "ok", "message": {"items": items}}).encode()


class TestContract(PaperLookupContract):
    def lookup(self, client: PoliteClient) -> PaperLookup:
        return CrossrefLookup(client, self.answers.url)

    def known(self) -> list[NamedPaper]:
        return [NAME, NamedPaper("biorxiv", "10.1101/2017.06.12.000001", "A map")]

    def unknown(self) -> NamedPaper:
        return NamedPaper("doi", "10.5555/nobody-knows-this")

    def answer(self, names: Sequence[NamedPaper]) -> bytes:
        return works(*(WORK | {"DOI": each.value, "title": [each.title]} for each in names))

    def found(self, **fields: Any) -> list[FetchedPaper]:
        self.answers.give = lambda *_: works(WORK | fields)
        return self.find([NAME])

    def test_a_work_becomes_a_paper(self) -> None:
        [paper] = self.found()
        assert (paper.source, paper.source_id) == ("doi", NAME.value)
        assert (paper.title, paper.venue) == ("On Crystals", "Nature Methods")
        assert paper.abstract.endswith("We grew them.")
        assert paper.authors == ("Marie Curie", "Bourbaki", "The ATLAS Collaboration")

    def test_the_heading_of_an_abstract_is_no_part_of_it(self) -> None:
        [paper] = self.found()
        assert paper.abstract == "We grew them."
        in_parts = (
            "<jats:sec><jats:title>Background</jats:title><jats:p>Why.</jats:p></jats:sec>"
            "<jats:sec><jats:title>Results</jats:title><jats:p>That.</jats:p></jats:sec>"
        )
        [paper] = self.found(abstract=in_parts)
        assert paper.abstract == "Background Why. Results That."

    def test_a_work_without_an_abstract_has_an_empty_one(self) -> None:
        for abstract in (None, "", "<jats:p></jats:p>", 7):
            [paper] = self.found(abstract=abstract)
            assert (paper.title, paper.abstract) == ("On Crystals", "")

    @pytest.mark.parametrize(
        ("issued", "day"),
        [
            ([[2017]], date(2017, 1, 1)),
            ([[2017, 6]], date(2017, 6, 1)),
            ([["2017", "6", "30"]], date(2017, 6, 30)),
            ([[None]], date(2016, 1, 1)),
            ([[]], date(2016, 1, 1)),
            ([], date(2016, 1, 1)),
            (None, date(2016, 1, 1)),
            ([[2017, 13]], date(2016, 1, 1)),
            ([[10**30]], date(2016, 1, 1)),
        ],
    )
    def test_its_day_is_the_first_that_is_known(self, issued: Any, day: date) -> None:
        [paper] = self.found(issued={"date-parts": issued})
        assert paper.listed_on == day

    def test_without_any_date_or_title_it_is_left_out(self) -> None:
        assert self.found(issued=None, created=None) == []
        assert self.found(title=[]) == []

    def test_an_unusable_work_costs_no_other_one(self) -> None:
        broken = WORK | {"DOI": "10.1101/2017.06.12.000001", "title": None}
        self.answers.give = lambda *_: works(broken, None, {}, {"DOI": ["x"]}, WORK)
        assert [each.source_id for each in self.find(self.known())] == [NAME.value]

    def test_forty_dois_are_one_question(self) -> None:
        names = [NamedPaper("doi", f"10.5555/{n}", f"Paper {n}") for n in range(MOST_DOIS)]
        self.answers.give = lambda *_: self.answer(names)
        assert len(self.find(names)) == MOST_DOIS
        [(_, query)] = self.answers.asked
        assert query["rows"] == str(MOST_DOIS)

    def test_a_doi_with_a_comma_is_not_asked_for_and_changes_no_other_question(self) -> None:
        comma = NamedPaper("doi", "10.1016/0370-1573(94),00080-m")
        assert self.find([comma]) == []
        assert self.answers.asked == []
        self.answers.give = lambda *_: self.answer([NAME])
        assert len(self.find([comma, NAME])) == 1
        assert self.answers.asked[0][1]["filter"] == f"doi:{NAME.value}"

    @pytest.mark.parametrize("name", ["test_works_query", "test_works_no_id_withlimit"])
    def test_recorded_works_become_papers(self, name: str) -> None:
        (said,) = cassette(f"crossref/{name}.yaml")
        self.answers.give = lambda *_: said.body
        items = [each for each in json.loads(said.body)["message"]["items"] if each.get("title")]
        names = [NamedPaper("doi", parse_doi(each["DOI"]) or "") for each in items]
        found = self.find(names)
        assert {each.source_id for each in found} == {each.value for each in names}
        assert all(each.title and each.listed_on for each in found)


@given(value=ANYTHING, key=st.sampled_from(list(WORK)))
def test_any_value_in_any_field_gives_a_clean_paper_or_none(value: Any, key: str) -> None:
    try:
        paper = _paper(NAME.value, WORK | {key: value})
    except RejectedRecord:
        return
    assert paper.listed_on
    texts = (paper.title, paper.abstract, paper.venue, *paper.authors)
    assert not BREAKING & {unicodedata.category(c) for text in texts for c in text}
