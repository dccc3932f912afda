"""Papers that people name by their DOI, asked of bioRxiv, then of medRxiv."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from tests.support.biorxiv_server import recorded
from tests.support.contracts import PaperLookupContract
from triage.domain.protocols import PaperLookup
from triage.domain.source_records import FetchedPaper, NamedPaper
from triage.sources.biorxiv.lookup import BiorxivLookup
from triage.sources.http.client import PoliteClient

NAME = NamedPaper("biorxiv", "10.1101/2017.06.12.000001", "A map of the macaque")
NONE = {"messages": [{"status": "no posts found"}], "collection": []}


def row(name: NamedPaper, **fields: Any) -> dict[str, Any]:
    told = {"doi": name.value.upper(), "title": name.title, "date": "2017-06-12", "version": "1"}
    return recorded("details") | told | fields


def page(*rows: dict[str, Any]) -> bytes:
    return json.dumps(
        {"messages": [{"status": "ok"}], "collection": rows} if rows else NONE
    ).encode()


class TestContract(PaperLookupContract):
    most_requests = 2

    def lookup(self, client: PoliteClient) -> PaperLookup:
        return BiorxivLookup(client, f"{self.answers.url}/")

    def known(self) -> list[NamedPaper]:
        return [NAME, NamedPaper("biorxiv", "10.64898/2026.01.02.000003", "Another map")]

    def unknown(self) -> NamedPaper:
        return NamedPaper("biorxiv", "10.1101/none")

    def answer(self, names: Sequence[NamedPaper]) -> bytes:
        return page(*map(row, names))

    def found(self, *rows: dict[str, Any]) -> list[FetchedPaper]:
        self.answers.give = lambda *_: page(*rows)
        return self.find([NAME])

    def test_one_server_is_asked_and_the_other_only_without_an_answer(self) -> None:
        self.found(row(NAME))
        assert self.answers.asked == [(f"/details/biorxiv/{NAME.value}/na/json", {})]
        self.answers.asked.clear()
        self.answers.give = lambda path, _: page(*([row(NAME)] if "/medrxiv/" in path else []))
        [paper] = self.find([NAME])
        assert (paper.source, paper.source_id) == ("medrxiv", NAME.value)
        assert len(self.answers.asked) == 2

    def test_the_newest_text_has_the_first_day(self) -> None:
        newest = row(NAME, version="10", date="2019-1-31", title="A better map")
        [paper] = self.found(newest, row(NAME, version="2", date="2018-03-04"), row(NAME))
        assert (paper.title, paper.version) == ("A better map", 10)
        assert paper.listed_on == date(2017, 6, 12)

    def test_a_withdrawn_paper_is_known_as_such(self) -> None:
        [paper] = self.found(row(NAME), row(NAME, version="2", type="withdrawn"))
        assert paper.withdrawn

    def test_the_doi_of_the_journal_is_kept(self) -> None:
        [paper] = self.found(row(NAME, published="10.1038/s1"))
        assert paper.doi == "10.1038/s1"

    def test_an_unusable_version_costs_no_other_one(self) -> None:
        for broken in (
            row(NAME, version="2", title=""),
            row(NAME, version="0"),
            row(NAME, version="2", date="NA"),
            row(NAME, version="2", doi="none"),
        ):
            [paper] = self.found(broken, row(NAME))
            assert paper.version == 1

    def test_signs_of_a_doi_stay_inside_its_path(self) -> None:
        odd = NamedPaper("biorxiv", "10.1101/a<b>;c", "Odd")
        self.answers.give = lambda *_: page(row(odd))
        [paper] = self.find([odd])
        assert paper.source_id == odd.value
        assert self.answers.asked == [(f"/details/biorxiv/{odd.value}/na/json", {})]
