"""A reader's library: what is recognised in it, and that what goes out comes in again."""

from __future__ import annotations

import csv
import json
import random
import unicodedata
from contextlib import suppress
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.factories import NOON, paper
from tests.support.mutations import mutated
from tests.support.paths import SHARED
from triage.errors import ConfigError
from triage.sources.text.cleaning import clean
from triage.subscribers.bibliography import bibtex, ris
from triage.subscribers.bibliography import entries as bibliography
from triage.subscribers.bibliography.citation import published
from triage.subscribers.bibliography.entries import LibraryEntry, Liked

ZOTERO = SHARED / "payloads" / "zotero"
ATTENTION = ("arxiv", "1706.03762")


def only(text: str) -> LibraryEntry:
    (entry,) = bibliography.read(text)
    return entry


@pytest.mark.parametrize(
    "fields",
    [
        "eprint = {1706.03762}, archivePrefix = {arXiv}, primaryClass = {cs.CL}",
        "eprint = {arXiv:1706.03762v5}",
        "eprinttype = arxiv, eprint = 1706.03762",
        "arxivId = {1706.03762}",
        "doi = {10.48550/arXiv.1706.03762}",
        "doi = {https://doi.org/10.48550/ARXIV.1706.03762}",
        r"url = {http://arxiv.org/abs/1706.03762}",
        r"url = {\url{https://arxiv.org/pdf/1706.03762v7.pdf}}",
        "url = {https://huggingface.co/papers/1706.03762}",
        "journal = {arXiv preprint arXiv:1706.03762}",
        "journal = {CoRR}, volume = {abs/1706.03762}",
        "howpublished = {arXiv:1706.03762 [cs.CL]}",
        "note = {Accepted at NeurIPS. arXiv: 1706.03762}",
        "ee = {http://arxiv.org/abs/1706.03762}",
        "doi = {10.5555/3295222.3295349}, eprint = {1706.03762}",
    ],
)
def test_an_arxiv_paper_is_recognised_wherever_its_id_stands(fields: str) -> None:
    assert only(f"@article{{k, title={{Attention}}, {fields}}}").ids[0] == ATTENTION


@pytest.mark.parametrize(
    ("written", "doi"),
    [
        ("doi = {10.1145/3292500.3330701}", "10.1145/3292500.3330701"),
        (r"doi = {10.1007/978-3-030\_1}", "10.1007/978-3-030_1"),
        ("doi = {https://dx.doi.org/10.1038/S41586-1}", "10.1038/s41586-1"),
        ("url = {https://dl.acm.org/doi/abs/10.1145/1.2?x=y}", "10.1145/1.2"),
        ("url = {https://onlinelibrary.wiley.com/doi/10.1002/adma.1/full}", "10.1002/adma.1"),
        ("url = {https://link.springer.com/content/pdf/10.1007/s1.pdf}", "10.1007/s1"),
        (
            "url = {https://www.biorxiv.org/content/10.1101/2020.01.02.123456v2.full.pdf}",
            "10.1101/2020.01.02.123456",
        ),
        (
            r"doi = {10.1002/(SICI)1-2(1998)17:15{\textless}16::AID-X{\textgreater}3.0.CO;2-2}",
            "10.1002/(sici)1-2(1998)17:15<16::aid-x>3.0.co;2-2",
        ),
        (
            "doi = {10.1002/(SICI)1097-0258(19980815)17:15$<$1661::AID-X$>$3.0.CO;2-2}",
            "10.1002/(sici)1097-0258(19980815)17:15<1661::aid-x>3.0.co;2-2",
        ),
        ("note = {see doi:10.1016/S0004-3702(00)00001-2.}", "10.1016/s0004-3702(00)00001-2"),
    ],
)
def test_a_doi_is_recognised_in_every_dress(written: str, doi: str) -> None:
    assert only(f"@article{{k, {written}}}").ids == (("doi", doi),)


def test_a_remark_that_names_several_papers_names_none() -> None:
    assert only("@misc{k, note={extends arXiv:1706.03762 and arXiv:1810.04805}}").ids == ()


def test_another_archives_eprint_is_no_arxiv_id() -> None:
    assert only("@misc{k, eprint={2004.05150}, eprinttype={jstor}}").ids == ()


def test_an_entry_says_who_wrote_what_when() -> None:
    entry = only(
        "@article{vaswani, title={{Attention} is {A}ll}, author={Vaswani, Ashish and Shazeer, N.},"
        "\n year=2017, month=jun, abstract={We \\emph{propose}.}}"
    )
    assert entry == LibraryEntry(
        where="line 1, vaswani",
        title="Attention is All",
        authors=("Ashish Vaswani", "N. Shazeer"),
        abstract="We propose.",
        published_on=date(2017, 6, 1),
    )


def test_ris_is_recognised() -> None:
    entry = only(
        "TY  - JOUR\nID  - 7\nT1  - Attention\nAU  - Vaswani, Ashish\nY1  - 2017/06/12\n"
        "UR  - https://arxiv.org/abs/1706.03762\nDO  - 10.5555/3295222\nN2  - We propose.\nER  -\n"
    )
    assert entry.ids == (ATTENTION, ("doi", "10.5555/3295222"))
    assert (entry.title, entry.abstract) == ("Attention", "We propose.")
    assert (entry.authors, entry.published_on) == (("Ashish Vaswani",), date(2017, 6, 1))


def test_csl_json_is_recognised() -> None:
    record = {
        "id": "v", "title": "Attention", "DOI": "10.48550/arXiv.1706.03762",
        "author": [{"given": "Ashish", "family": "Vaswani"}, {"literal": "A Group"}],
        "issued": {"date-parts": [["2017", 6, 12]]}, "abstract": "We propose.",
    }  # fmt: skip
    entry = only(json.dumps([record]))
    assert entry == LibraryEntry(
        "record 1, v", "Attention", (ATTENTION,), ("Ashish Vaswani", "A Group"), "We propose.",
        date(2017, 6, 1),
    )  # fmt: skip
    assert only(json.dumps({"items": [record]})) == entry


@pytest.mark.parametrize(
    ("fields", "month"),
    [
        ({"issued": {"date-parts": [[2017, 6]]}}, 6),
        ({"issued": {"date-parts": [["2017", "06", "12"]]}}, 6),
        ({"issued": {"date-parts": [[2017, 6, 12], [2018, 1]]}}, 6),
        ({"issued": {"raw": "12 June 2017"}}, 6),
        ({"issued": {"literal": "12. Juni 2017"}}, 6),
        ({"issued": {"date-parts": [[2017]], "raw": "juin 2017"}}, 6),
        ({"issued": "2017-06"}, 6),
        ({"date": "3 de septiembre de 2017"}, 9),
        ({"date": "août 2017"}, 8),
        ({"date": "März 2017"}, 3),
        ({"date": "06/2017"}, 6),
        ({"date": "2017"}, 1),
        ({"year": "2017"}, 1),
    ],
)
def test_dates_are_read_in_every_common_form(fields: dict[str, object], month: int) -> None:
    assert only(json.dumps([fields])).published_on == date(2017, month, 1)


@pytest.mark.parametrize("fields", [{"date": "n.d."}, {"issued": {"date-parts": [[]]}}, {}])
def test_what_is_no_date_is_none(fields: dict[str, object]) -> None:
    assert only(json.dumps([{"title": "T", **fields}])).published_on is None


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        (
            {"extra": "Citation Key: a\nDOI: 10.5555/A\nsee arXiv:2401.00011"},
            [("doi", "10.5555/a")],
        ),
        ({"extra": "arXiv: 2401.00001 [cs]\nPMID: 1"}, [("arxiv", "2401.00001")]),
        ({"note": "arXiv:2401.00001"}, [("arxiv", "2401.00001")]),
        ({"number": "arXiv:2401.00001"}, [("arxiv", "2401.00001")]),
        ({"archiveID": "arXiv:2401.00001", "extra": "DOI: 10.5555/b"}, [("arxiv", "2401.00001")]),
        ({"extra": "like 10.5555/a and 10.5555/b"}, []),
    ],
)
def test_ids_in_extra_count_where_no_field_has_one(
    fields: dict[str, str], ids: list[tuple[str, str]]
) -> None:
    assert list(only(json.dumps([fields])).ids) == ids


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff[{"title": "Attention", "DOI": "10.5555/a"}]',
        '{"config": {}, "items": [{"itemType": "note"}, {"title": "A", "DOI": "10.5555/a"}]}',
        '{"DOI": "10.5555/a", "title": "Attention"}\n\n{"itemType": "attachment"}\r\n',
        '[{"key": "K", "data": {"title": "Atten\x01tion", "DOI": "10.5555/a"}}]',
        '{"title": "Attention",\n "DOI": "10.5555/a"}',
        '["https://doi.org/10.5555/a"]',
    ],
)
def test_json_is_read_in_every_common_shape(text: str) -> None:
    assert only(text).ids == (("doi", "10.5555/a"),)


@pytest.mark.parametrize(
    ("fields", "on"),
    [
        ("year=2017, month=jun", date(2017, 6, 1)),
        ("year={2017}, month={6}", date(2017, 6, 1)),
        ("year=2017, month={June}, day=12", date(2017, 6, 1)),
        ('year=2017, month="12~" # jun', date(2017, 6, 1)),
        ("date={2017-06-12}", date(2017, 6, 1)),
        ("year={{2017}}, month={{Jun}}", date(2017, 6, 1)),
        ("date={2017-06/2017-08}", date(2017, 6, 1)),
        ("year={2017}, date={2017-06}", date(2017, 6, 1)),
        ("year=2017", date(2017, 1, 1)),
        ("year={in press}", None),
    ],
)
def test_dates_of_bibtex_are_read(fields: str, on: date | None) -> None:
    assert only(f"@article{{k, title={{T}}, {fields}}}").published_on == on


@pytest.mark.parametrize(
    "title",
    ["CO<sub>2</sub> &amp; <i>E. coli</i>", "CO$_2$ &amp;amp; \\emph{E. coli}", "CO₂ & E. coli"],
)
def test_titles_are_clean_in_every_format(title: str) -> None:
    for text in (
        f"@article{{k, title={{{title}}}}}",
        f"TY  - JOUR\nTI  - {title}\nER  - ",
        json.dumps([{"title": title}]),
        f"Title,DOI,Year\n{title},,2017\n",
    ):
        assert only(text).title == "CO₂ & E. coli"


@pytest.mark.parametrize(
    ("lines", "on"),
    [
        ("DA  - Jun 12\nPY  - 2017", date(2017, 6, 1)),
        ("PY  - 2017///\nDA  - 2017/06/12/", date(2017, 6, 1)),
        ("PY  - 2017\nY1  - 2017/06//", date(2017, 6, 1)),
        ("Y1  - 2017-06-12", date(2017, 6, 1)),
        ("DA  - n.d.\nPY  - 2017", date(2017, 1, 1)),
        ("DA  - n.d.", None),
    ],
)
def test_the_most_exact_date_of_ris_counts(lines: str, on: date | None) -> None:
    assert only(f"TY  - JOUR\nTI  - T\n{lines}\nER  - \n").published_on == on


def test_pubmeds_and_endnotes_records_are_entries() -> None:
    entry = only(
        "PMID- 31000001\nDP  - 2019 Mar 3\nTI  - On engines.\nLID - 10.1000/182 [doi]\n"
        "AB  - We do.\nFAU - Lovelace, Ada\nAU  - Lovelace A\nCIN - doi: 10.1000/other\n"
    )
    engines = LibraryEntry(
        "line 1", "On engines.", (("doi", "10.1000/182"),), ("Ada Lovelace",), "We do.",
        date(2019, 3, 1),
    )  # fmt: skip
    assert entry == engines
    entry = only(
        "%0 Journal Article\n%T On engines.\n%A Lovelace, Ada\n%D 2019\n%8 March 3\n"
        "%R 10.1000/182\n%X We do.\n"
    )
    assert entry == engines
    entry = only(
        "<xml><records><record><contributors><authors><author>Lovelace, Ada</author></authors>"
        "</contributors><titles><title>On engines.</title></titles><abstract>We do.</abstract>"
        "<dates><year>2019</year><pub-dates><date>March 3</date></pub-dates></dates>"
        "<electronic-resource-num>10.1000/182</electronic-resource-num></record></records></xml>"
    )
    assert entry == replace(engines, where="record 1")
    entry = only(
        '"Key","Item Type","Author","Title","DOI","Abstract Note","Date"\n'
        '"K","note","","","","",""\n'
        '"K","journalArticle","Lovelace, Ada","On engines.","10.1000/182","We do.","2019-03-03"\n'
    )
    assert entry == replace(engines, where="row 2, K")


@pytest.mark.parametrize(
    "broken",
    ["[", '[{"title": 3, "author": "x", "creators": [4, {}], "issued": {"date-parts": [[]]}}]',
     '[null, 1, "x", {"data": 3}]', '{"items": 3}', "[" * 100_000],
)  # fmt: skip
def test_json_of_another_shape_is_no_error(broken: str) -> None:
    assert all(not entry.ids for entry in bibliography.read(broken))


def test_zoteros_own_records_are_recognised() -> None:
    record = {
        "key": "ABCD2345",
        "data": {
            "key": "ABCD2345", "itemType": "preprint", "title": "Attention",
            "creators": [{"creatorType": "author", "firstName": "Ashish", "lastName": "Vaswani"},
                         {"creatorType": "editor", "name": "Nobody"}],
            "archiveID": "arXiv:1706.03762", "date": "2017-06-12", "extra": "arXiv:1810.04805",
        },
    }  # fmt: skip
    note = {"key": "N", "data": {"itemType": "note", "note": "arXiv:1706.03762"}}
    entry = only(json.dumps([record, note]))
    assert (entry.ids, entry.authors) == ((ATTENTION,), ("Ashish Vaswani",))
    assert entry.published_on == date(2017, 6, 1)


@pytest.mark.skipif(not ZOTERO.is_dir(), reason="Zotero's recorded answers are not here")
def test_zoteros_recorded_answers_are_read() -> None:
    entries = bibliography.read((ZOTERO / "items_doc.json").read_text())
    records = [each["data"] for each in json.loads((ZOTERO / "items_doc.json").read_text())]
    papers = [each for each in records if each["itemType"] not in {"attachment", "note"}]
    assert [entry.title for entry in entries] == [
        " ".join(each["title"].split()) for each in papers
    ]
    for entry, each in zip(entries, papers, strict=True):
        assert not each.get("DOI") or entry.ids == (("doi", each["DOI"].lower()),)
    # One has its DOI in its address alone.
    assert sum(bool(entry.ids) for entry in entries) == 1 + sum(
        bool(each.get("DOI")) for each in papers
    )


def test_running_text_gives_its_ids_and_lines_without_any() -> None:
    entries = bibliography.read(
        "# mine\nI like https://arxiv.org/abs/1706.03762v2, 10.1145/1.2 and (hep-th/9901001).\n"
        "arXiv: 1706.03762 again; version 1234.5678\n\nAttention is all you need\n"
    )
    assert [(entry.where, entry.ids or entry.title) for entry in entries] == [
        ("line 2", (ATTENTION,)),
        ("line 2", (("doi", "10.1145/1.2"),)),
        ("line 2", (("arxiv", "hep-th/9901001"),)),
        ("line 5", "Attention is all you need"),
    ]


FILES = (
    # JabRef
    "% Encoding: UTF-8\n\n@Article{Vaswani2017,\n"
    "  author = {Vaswani, Ashish and Shazeer, Noam},\n"
    "  title  = {Attention Is All You Need},\n  year   = {2017},\n  month  = jun,\n"
    "  doi    = {10.48550/arXiv.1706.03762},\n}\n\n@Comment{jabref-meta: databaseType:bibtex;}\n",
    # Zotero, as BibLaTeX
    "@misc{devlin_bert_2019,\n\ttitle = {{BERT}: {Pre}-training},\n\tdate = {2019-05-24},\n"
    "\teprinttype = {arxiv},\n\teprint = {1810.04805 [cs]},\n"
    "\tauthor = {Devlin, Jacob and Lee},\n"
    "}\n",
    # Written by hand
    '@string{cacm = "Communications of the " # {ACM}}\n'
    '@article(knuth, journal = cacm, title = "The {\\TeX}book", year = 1984, note = {a # b})\n',
    "@misc{a, title={Drafts}, eprint={2603.00001}} @misc{b, title={Tokens}, doi={10.1000/182}}",
    # PubMed
    "TY  - JOUR\r\nID  - 1\r\nAU  - Lovelace, Ada\r\nAU  - Babbage, C.\r\n"
    "TI  - On engines\r\n"
    "PY  - 1843/10//\r\nDO  - 10.1098/rstl.1843.0001\r\nAB  - One line\r\n  and another\r\n"
    "UR  - https://arxiv.org/abs/1706.03762v5\r\nER  - \r\n\r\n"
    "TY  - BOOK\r\nT1  - Notes\r\nER  - \r\n",
    # CSL-JSON and Zotero's own
    '[{"id": "a", "type": "article-journal", "title": "On engines", "DOI": "10.1000/182", "author":'
    ' [{"family": "Lovelace", "given": "Ada"}, {"literal": "A Group"}],'
    ' "issued": {"date-parts": [[1843, 10, 1]]}, "note": "arXiv:1706.03762"}]',
    '{"items": [{"key": "K", "data": {"itemType": "preprint", "title": "Drafts", "creators":'
    ' [{"creatorType": "author", "firstName": "Ada", "lastName": "Lovelace"}],'
    ' "archiveID": "arXiv:1706.03762", "date": "2017-06-12", "extra": "seen"}}]}',
    # JSON lines
    '{"DOI": "10.1000/182", "issued": {"raw": "12 June 2017"}}\n{"title": "B", "date": "2017"}\n',
    # PubMed's .nbib
    "PMID- 31000001\nOWN - NLM\nDP  - 2019 Mar 3\nTI  - On engines that\n      calculate.\n"
    "LID - 10.1000/182 [doi]\nAID - e17 [pii]\nFAU - Lovelace, Ada\nAU  - Lovelace A\n\n"
    "PMID- 31000002\nTI  - Second.\n",
    # EndNote's .enw and XML
    "%0 Journal Article\n%T On engines\n%A Lovelace, Ada\n%D 1843\n%R 10.1000/182\n%X We\n do.\n",
    "<xml><records><record><titles><title><style face='normal'>On engines</style></title></titles>"
    "<dates><year>1843</year></dates><electronic-resource-num>10.1000/182"
    "</electronic-resource-num></record></records></xml>",
    # Zotero's CSV
    '"Key","Item Type","Author","Title","DOI"\n'
    '"K","book","Lovelace, Ada; B","On ""x""","10.1000/1"\n',
    # Lists
    "2401.00011\nhttps://arxiv.org/abs/2401.00012v2\ndoi:10.1000/182\nAttention is all you need\n",
)
PIECES = (
    "@", "{", "}", "(", ")", '"', ",", "=", "#", "%", "\\", "\n", "\r", "\n% ", "\n@misc{k,\n",
    "}@b{", "\nTY  - ", "\nER  -", "\nAU  - ", "[", "]", ":", "null", "\x00", "\u2028", "\ud800",
    "é", "1e400", "<", "&", ">", ";", "\nPMID- 1", "\n%0 ", "%", "\n      ", "\ufeff", '","',
    "- ", "-",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Draw a file as programs write it, with a few places cut, doubled or written over."""
    text = draw(st.sampled_from(FILES))
    if text[0] in "[{<" and "}\n{" not in text:
        # A value of another kind, as no cut makes one.
        rng = random.Random(draw(st.integers(0)))  # noqa: S311 - no secret
        text = mutated(text.encode(), rng)[0].decode("utf-8", "replace")
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 40, len(text))))
        kept = draw(st.sampled_from(("", text[start:end], 2 * text[start:end])))
        text = text[:start] + kept + draw(st.sampled_from(("", *PIECES))) + text[end:]
    return text


@settings(derandomize=True, max_examples=500)
@given(damaged())
@example("% {x}@misc{a, title={X}}")
@example('[{"itemType": ["note"], "title": "X"}]')
def test_no_damage_makes_reading_fail(text: str) -> None:
    list(bibtex.read(text))
    list(ris.read(text))
    with suppress(ConfigError):  # it has no known format any more
        bibliography.read(text)


@pytest.mark.parametrize(
    "piece", ["10.1000.1", "10.1000/)", "arxiv ", "arxiv:", " ", "a-b/", "/full", "1\n"]
)
def test_reading_text_takes_no_more_than_its_length(piece: str) -> None:
    # With a square of the work this would take minutes.
    for begun, n in (("", 300_000), ("see arxiv", 100_000), ("10.1000/", 100_000)):
        with suppress(ConfigError):  # it may be no list
            bibliography.read(begun + piece * (n // len(piece)))


def test_nothing_in_nothing_out() -> None:
    assert bibliography.read("") == bibliography.read(" \n\n") == []
    assert bibliography.write([], "bibtex") == bibliography.write([], "ris") == ""


# -- a library of five hundred ---------------------------------------------------------------------


def shelf(n: int, seed: int) -> tuple[str, list[set[tuple[str, str]]]]:
    """Return a BibTeX file as people's grow over years, and what each entry names."""
    chance = random.Random(seed)  # noqa: S311
    blocks = ['% Encoding: UTF-8\n@string{nips = "Advances in {NeurIPS}"}\n@string(icml={ICML})\n']
    named: list[set[tuple[str, str]]] = []
    for i in range(n):
        number = f"{chance.randrange(15, 26):02d}{chance.randrange(1, 13):02d}.{i:05d}"
        doi = f"10.{chance.choice((1145, 1038, 48550, 1101))}/x{chance.randrange(10**6)}.{i}"
        arxiv, by_doi = {("arxiv", number)}, {("doi", doi)}
        shapes: list[tuple[str, set[tuple[str, str]]]] = [
            (
                f"eprint = {{{number}}},\n archivePrefix={{arXiv}},\n primaryClass = {{cs.LG}}",
                arxiv,
            ),
            (f"journal = {{arXiv preprint arXiv:{number}}}", arxiv),
            (
                f"journal={{CoRR}}, volume = {{abs/{number}}}, biburl = {{https://dblp.org/x}}",
                arxiv,
            ),
            (
                f"url = {{http://arxiv.org/abs/{number}v{i % 9 + 1}}},\n urldate = {{2020-01-01}}",
                arxiv,
            ),
            (f'archivePrefix = "arXiv",\n eprint = "{number}"', arxiv),
            (f"note = {{\\url{{https://arxiv.org/pdf/{number}.pdf}}}}", arxiv),
            (f"doi = {{10.48550/arXiv.{number}}}, publisher = {{arXiv}}", arxiv),
            (f"doi = {{{doi}}}, journal = nips", by_doi),
            (f'DOI = "https://doi.org/{doi.upper()}"', by_doi),
            (f"doi = {{{doi}}}, eprint = {{{number}}}", arxiv | by_doi),
            (f"url = {{https://dl.acm.org/doi/{doi}}}", by_doi),
            ('booktitle = icml # " Workshop", pages = {1--9}', set()),
            ("howpublished = {Personal page \\textasciitilde ada}", set()),
        ]
        fields, ids = shapes[i % len(shapes)]
        title = chance.choice(
            ["{BERT}: {Pre}-training", r"G{\"o}del {M}achines", r"$\alpha$-nets \& more", "A {{B}}"]
        )
        author = chance.choice([r"Schölkopf, B. and {\'E}tienne, A.", "Ada Lovelace and others"])
        key = "dup2019" if i % 17 == 0 else f"key:{i}"
        ending = chance.choice(["\n}", ",\n}", "}", " }\n@comment{x, y={z}}"])
        # Every fiftieth is broken: a brace that is never closed, or no closing of the entry.
        if i % 50 == 49:
            title, ending = chance.choice([("Lost {brace", "\n}"), ("Never closed", "")])
        kind = chance.choice(["article", "Misc", "INPROCEEDINGS", "online"])
        blocks.append(
            f"@{kind}{{{key},\n  title = {{{title} {i}}},\n  author = {{{author}}},\n"
            f"  {fields}{ending}\n" + ("\nsaid me@example.org {once}\n" if i % 40 == 0 else "")
        )
        named.append(ids)
    return "".join(blocks), named


@pytest.mark.parametrize("seed", range(5))
def test_of_500_entries_those_with_an_id_are_recognised(seed: int) -> None:
    text, named = shelf(500, seed)
    entries = bibliography.read(text)
    assert len(entries) == 500
    with_id = [(e, ids) for e, ids in zip(entries, named, strict=True) if ids]
    right = sum(set(entry.ids) == ids for entry, ids in with_id)
    assert right >= 0.95 * len(with_id), [e for e, ids in with_id if set(e.ids) != ids][:3]
    without = [entry for entry, ids in zip(entries, named, strict=True) if not ids]
    assert not any(entry.ids for entry in without)
    assert all(entry.where and entry.title for entry in without)


# -- out and in again ------------------------------------------------------------------------------


words = st.text(max_size=60) | st.text(
    alphabet=st.sampled_from("{}\\$&%#_~^-'`\"@(,) an=+\r\n\t\u2028\x85\x1c;"), max_size=40
)


@st.composite
def liked(draw: st.DrawFn) -> Liked:
    number = draw(st.integers(1, 99999))
    source, id = draw(
        st.sampled_from(
            [("arxiv", f"2603.{number:05d}"), ("biorxiv", f"10.1101/2026.03.{number}"),
             ("doi", f"10.1000/(a)b_{number}"), ("listing", None)]
        )
    )  # fmt: skip
    people = [name for name in draw(st.lists(words, max_size=4)) if shown(name)]
    one = paper(
        number, source=source, source_id=id, title=clean("T" + draw(words), 500),
        abstract=clean(draw(words), 500),
        authors=tuple(people), venue=draw(words),
    )  # fmt: skip
    return Liked(one, NOON)


def shown(text: str) -> str:
    printable = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return " ".join(unicodedata.normalize("NFC", printable).split())


@pytest.mark.parametrize("form", ["bibtex", "ris", "json"])
@settings(max_examples=50)
@given(likes=st.lists(liked(), max_size=4))
def test_what_goes_out_comes_in_again(form: str, likes: list[Liked]) -> None:
    entries = bibliography.read(bibliography.write(likes, form))
    assert len(entries) == len(likes)
    for entry, each in zip(entries, likes, strict=True):
        one = each.paper
        # Other formats have no escapes, so a price may be read as a formula.
        title = one.title if form == "bibtex" else clean(one.title, 500)
        assert shown(entry.title) == shown(title)
        assert shown(entry.abstract) == shown(one.abstract)
        scheme = "arxiv" if one.source == "arxiv" else "doi"
        if one.source_id is not None:
            assert entry.ids[0] == (scheme, one.source_id)
        else:
            assert entry.ids == ()
        on = published(one)
        assert entry.published_on == date(on.year, on.month or 1, 1)


def test_names_come_in_as_they_went_out() -> None:
    people = (
        *("Ada Lovelace", "Łukasz O'Neil-{x}", "Plato", "Jan van der Berg", "王小明"),
        *("Santiago Ramón y Cajal", "Martin Luther King Jr.", "ATLAS Collaboration"),
    )
    for form in ("bibtex", "ris", "json", "csv"):
        text = bibliography.write([Liked(paper(authors=people), NOON)], form)
        assert only(text).authors == people
    # RIS has no sign for a comma that belongs to a name.
    company = ("Research and Co, Inc",)
    for form in ("bibtex", "json"):
        text = bibliography.write([Liked(paper(authors=company), NOON)], form)
        assert only(text).authors == company


ATTENTION_PAPER = paper(
    source_id="1706.03762", title="Attention & All {You} Need", abstract="", categories=("cs.CL",),
    authors=("Ashish Vaswani", "Jan van der Berg", "Martin King Jr.", "ATLAS Collaboration"),
)  # fmt: skip


def test_a_preprint_is_cited_with_its_id_and_the_month_of_its_id() -> None:
    assert bibliography.write([Liked(ATTENTION_PAPER, NOON)], "bibtex") == (
        r"""@misc{vaswani2017attention,
  author = {Vaswani, Ashish and van der Berg, Jan and King, Jr., Martin and {ATLAS Collaboration}},
  title = {{Attention \& All \textbraceleft{}You\textbraceright{} Need}},
  year = {2017},
  month = jun,
  eprint = {1706.03762},
  archivePrefix = {arXiv},
  primaryClass = {cs.CL},
  url = {https://arxiv.org/abs/1706.03762},
}
"""
    )
    assert bibliography.write([Liked(ATTENTION_PAPER, NOON)], "ris").split("\r\n") == [
        *("TY  - UNPB", "ID  - vaswani2017attention", "TI  - Attention & All {You} Need"),
        *("AU  - Vaswani, Ashish", "AU  - van der Berg, Jan", "AU  - King, Martin, Jr."),
        *("AU  - ATLAS Collaboration", "PY  - 2017", "DA  - 2017/06//"),
        *("UR  - https://arxiv.org/abs/1706.03762", "PB  - arXiv", "ER  - ", ""),
    ]


@pytest.mark.parametrize(
    ("venue", "bibtex_form", "ris_form", "csl_form"),
    [
        ("Nature", ("@article{", "  journal = {{Nature}},"), "JOUR", "article-journal"),
        ("ICML 2018", ("@inproceedings{", "  booktitle = {{ICML 2018}},"), "CONF",
         "paper-conference"),
    ],
)  # fmt: skip
def test_an_article_is_cited_with_its_journal_or_conference(
    venue: str, bibtex_form: tuple[str, str], ris_form: str, csl_form: str
) -> None:
    liked = [Liked(replace(ATTENTION_PAPER, venue=venue), NOON, "10.1000/x")]
    text = bibliography.write(liked, "bibtex")
    for part in (*bibtex_form, "  doi = {10.1000/x},", "  eprint = {1706.03762},"):
        assert part in text
    text = bibliography.write(liked, "ris")
    for part in (f"TY  - {ris_form}", f"T2  - {venue}", "DO  - 10.1000/x"):
        assert part in text
    assert "PB" not in text
    [record] = json.loads(bibliography.write(liked, "json"))
    assert record["type"] == csl_form


def test_a_preprint_of_biology_is_cited_with_its_server() -> None:
    one = paper(source="biorxiv", source_id="10.1101/2020.01.30.927871", categories=("genomics",))
    text = bibliography.write([Liked(one, NOON)], "bibtex")
    assert text.startswith("@misc{lovelace2020speculative,")
    assert "howpublished = {{bioRxiv}}" in text
    assert "eprint" not in text
    assert "primaryClass" not in text


@pytest.mark.parametrize("form", ["bibtex", "ris", "json", "csv"])
def test_every_format_has_the_year_of_publication_and_no_search_for_the_title(form: str) -> None:
    text = bibliography.write([Liked(ATTENTION_PAPER, NOON)], form)
    assert "2017" in text
    assert only(text).published_on == date(2017, 6, 1)
    bare = paper(source="listing", source_id=None)
    assert "http" not in bibliography.write([Liked(bare, NOON)], form)


def test_papers_with_equal_keys_are_told_apart_in_one_file() -> None:
    several = [Liked(paper(n, title="Drafts"), NOON) for n in (1, 2)]
    text = bibliography.write(several, "bibtex")
    assert [entry.key for entry in bibtex.read(text)] == [
        "lovelace2026drafts",
        "lovelace2026draftsa",
    ]
    assert "ID  - lovelace2026draftsa" in bibliography.write(several, "ris")


@given(likes=st.lists(liked(), max_size=4))
def test_no_cell_is_a_formula_and_every_like_is_a_row(likes: list[Liked]) -> None:
    text = bibliography.write(likes, "csv")
    rows = list(csv.reader(text.splitlines(keepends=True)))
    assert len(rows) == 1 + len(likes) == text.count("\r\n")
    for row in rows:
        assert len(row) == 8
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_a_formula_in_a_title_is_shown_and_not_computed() -> None:
    text = bibliography.write(
        [Liked(paper(title='=HYPERLINK("http://evil.example","x")'), NOON)], "csv"
    )
    assert next(csv.reader([text.split("\r\n")[1]]))[1].startswith("'=HYPERLINK")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="bibtex, ris, json, csv"):
        bibliography.write([], "docx")
