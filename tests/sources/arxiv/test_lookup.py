"""Papers that people name, asked of arXiv's API by id or by title."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from xml.sax.saxutils import escape

import pytest

from tests.support.contracts import PaperLookupContract
from triage.domain.paper_ids import title_key
from triage.domain.protocols import PaperLookup
from triage.domain.source_records import FetchedPaper, NamedPaper
from triage.errors import SourceError
from triage.sources.arxiv.lookup import ArxivIdLookup, ArxivTitleLookup
from triage.sources.http.client import PoliteClient

ATTENTION = NamedPaper("arxiv", "1706.03762", "Attention Is All You Need", ("A. Vaswani",))
STRINGS = NamedPaper("arxiv", "hep-th/9711200", "The Large N Limit", ("J. Maldacena",))


def atom(*entries: str) -> bytes:
    text = '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
    return f"{text}<title>ArXiv Query</title>{''.join(entries)}</feed>".encode()


def entry(
    id: str,
    title: str,
    authors: Sequence[str] = ("Ashish Vaswani",),
    published: str = "2017-06-12T17:57:34Z",
    summary: str = "We propose\n it.",
    comment: str = "",
) -> str:
    names = "".join(f"<author><name>{escape(each)}</name></author>" for each in authors)
    comment = f"<arxiv:comment>{comment}</arxiv:comment>" if comment else ""
    return f"""<entry xmlns:arxiv="http://arxiv.org/schemas/atom">
      <id>http://arxiv.org/abs/{id}</id><published>{published}</published>
      <title>{escape(title)}</title><summary>{escape(summary)}</summary>{names}{comment}
      <arxiv:primary_category term="cs.CL"/><category term="cs.CL"/></entry>"""


class TestIdContract(PaperLookupContract):
    def lookup(self, client: PoliteClient) -> PaperLookup:
        return ArxivIdLookup(client, self.answers.url)

    def known(self) -> list[NamedPaper]:
        return [ATTENTION, STRINGS]

    def unknown(self) -> NamedPaper:
        return NamedPaper("arxiv", "2603.99999")

    def answer(self, names: Sequence[NamedPaper]) -> bytes:
        return atom(*(entry(f"{each.value}v3", each.title, each.authors) for each in names))

    def found(self, *entries: str, asked: NamedPaper = ATTENTION) -> list[FetchedPaper]:
        self.answers.give = lambda *_: atom(*entries)
        return self.find([asked])

    def test_two_hundred_ids_are_one_question(self) -> None:
        names = [NamedPaper("arxiv", f"2603.{n:05d}") for n in range(200)]
        self.answers.give = lambda _, query: self.answer(
            [NamedPaper("arxiv", id, f"Paper {id}") for id in query["id_list"].split(",")]
        )
        assert [each.source_id for each in self.find(names)] == [each.value for each in names]
        [(_, query)] = self.answers.asked
        assert query["max_results"] == "200"

    def test_the_version_is_that_of_the_answer(self) -> None:
        [paper] = self.found(entry("1706.03762v7", "Attention Is All You Need"))
        assert (paper.source_id, paper.version) == ("1706.03762", 7)

    def test_an_old_id_is_found_with_and_without_a_subject_class(self) -> None:
        for id in ("hep-th/9711200v3", "hep-th.GT/9711200"):
            [paper] = self.found(entry(id, "The Large N Limit"), asked=STRINGS)
            assert paper.source_id == "hep-th/9711200"

    def test_without_a_day_it_is_of_the_month_of_its_id(self) -> None:
        for published in ("", "yesterday", "2017-13-45T00:00:00Z"):
            [paper] = self.found(entry("1706.03762v1", "Attention", published=published))
            assert paper.listed_on == date(2017, 6, 1)
        [paper] = self.found(entry("hep-th/9711200v1", "N", published=""), asked=STRINGS)
        assert paper.listed_on == date(1997, 11, 1)

    def test_a_withdrawn_paper_is_known_as_such(self) -> None:
        gone = entry("1706.03762v2", "Attention", comment="This paper has been withdrawn.")
        [paper] = self.found(gone)
        assert paper.withdrawn

    def test_an_unusable_entry_costs_no_other_one(self) -> None:
        whole = entry("1706.03762v1", "Attention")
        for broken in (
            entry("1706.03762v1", ""),
            "<entry/>",
            "<entry><id>http://arxiv.org/abs/nonsense</id></entry>",
        ):
            found = self.found(broken, whole)
            assert [each.title for each in found] == ["Attention"]

    def test_a_refused_question_is_an_error_with_its_reason(self) -> None:
        refused = "<entry><id>http://arxiv.org/api/errors#x</id><summary>bad id</summary></entry>"
        with pytest.raises(SourceError, match="bad id"):
            self.found(refused)


def by_title(title: str, *authors: str) -> NamedPaper:
    return NamedPaper("title", title_key(title), title, authors)


class TestTitleContract(PaperLookupContract):
    def lookup(self, client: PoliteClient) -> PaperLookup:
        return ArxivTitleLookup(client, self.answers.url)

    def known(self) -> list[NamedPaper]:
        return [
            by_title("Attention Is All You Need", "Vaswani, Ashish"),
            by_title("The Large N Limit of Field Theories", "Maldacena, Juan"),
        ]

    def unknown(self) -> NamedPaper:
        return by_title("A paper that nobody has written", "Nobody, N.")

    def answer(self, names: Sequence[NamedPaper]) -> bytes:
        return atom(
            *(
                entry(f"1706.{n:05d}v1", each.title, each.authors)
                for n, each in enumerate(names, start=3762)
            )
        )

    def found(self, asked: NamedPaper, *entries: str) -> list[str | None]:
        self.answers.give = lambda *_: atom(*entries)
        return [each.source_id for each in self.find([asked])]

    def test_several_titles_are_one_question(self) -> None:
        self.answers.give = lambda *_: self.answer(self.known())
        assert len(self.find(self.known())) == 2
        [(_, query)] = self.answers.asked
        assert query["search_query"] == (
            'ti:"Attention Is All You Need" OR ti:"The Large N Limit of Field Theories"'
        )

    def test_the_same_title_by_others_is_another_paper(self) -> None:
        asked = by_title("Attention Is All You Need", "Vaswani, A.")
        others = entry("2401.00001v1", asked.title, ["Somebody Else"])
        own = entry("1706.03762v1", asked.title)
        assert self.found(asked, others, own) == ["1706.03762"]
        assert self.found(asked, others) == []

    def test_a_longer_or_shorter_title_is_another_paper(self) -> None:
        asked = by_title("Attention Is All You Need", "Vaswani, A.")
        for title in ("Attention Is All You Need?! A Survey", "Attention Is All"):
            assert self.found(asked, entry("1706.03762v1", title)) == []

    @pytest.mark.parametrize(
        ("own", "theirs"),
        [
            ("ATTENTION is all you need.", "Attention Is All You Need"),
            ("Gr\u00f6bner bases of modules", "Gro\u0308bner Bases\n of Modules"),
            ("Self-attention for  graphs: a survey", "Self-Attention for Graphs: A Survey"),
        ],
    )
    def test_spellings_of_one_title_are_the_same(self, own: str, theirs: str) -> None:
        found = self.found(by_title(own, "Vaswani, A."), entry("1706.03762v1", theirs))
        assert found == ["1706.03762"]

    @pytest.mark.parametrize(
        ("title", "phrase"),
        [
            ("On $\\alpha$-decay of heavy nuclei", "decay of heavy nuclei"),
            ('He said "no": OR NOT? (a study)', "He said no OR NOT a study"),
            (
                "\u0442\u0435\u043e\u0440\u0438\u0438 strings and branes",
                "strings and branes",
            ),
            (" ".join(f"word{n}" for n in range(50)), " ".join(f"word{n}" for n in range(20))),
        ],
    )
    def test_only_plain_words_are_searched(self, title: str, phrase: str) -> None:
        self.found(by_title(title, "A. Author"))
        [(_, query)] = self.answers.asked
        assert query["search_query"] == f'ti:"{phrase}"'

    def test_a_title_without_plain_words_is_not_asked_for(self) -> None:
        assert self.found(by_title("\u8bba\u6587\u6807\u9898" * 5, "A. Author")) == []
        assert self.answers.asked == []
