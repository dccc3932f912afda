"""Feeds as publishers and blogs really write them, after public reports of bugs in feed readers."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from tests.support.contracts import error_text
from tests.support.fakes import StoppedClock
from tests.support.feed_world import MONDAY, TUESDAY, WEDNESDAY, World, entry, papers_of, rss
from tests.support.fixtures import recorded
from triage.domain.records import Verdict
from triage.domain.source_records import FetchedPaper, SourceDay
from triage.errors import SourceError
from triage.sources.feed.source import FeedSource, parse
from triage.sources.http.client import PoliteClient

pytestmark = pytest.mark.any_database(
    "its papers and days go the way that test_ingest shows on each"
)

URL = "https://lab.example/feed"
IN_NOVEMBER = date(2026, 11, 24)


def read(body: bytes, url: str = URL, on: date = IN_NOVEMBER) -> list[FetchedPaper]:
    papers = papers_of(body, url, on)
    assert not [each for each in papers if isinstance(each, str)], papers
    return [each for each in papers if isinstance(each, FetchedPaper)]


def with_text(text: str) -> bytes:
    """Return a feed of one entry with this text, as it is, in its description."""
    item = f"<item><title>T</title><guid>1</guid><description>{text}</description></item>"
    return f'<rss version="2.0"><channel>{item}</channel></rss>'.encode()


def fetched_over_http(body: bytes, **headers: str) -> list[str]:
    """Return the titles of a feed that a server sends with these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers=named, stream=httpx.ByteStream(body))
    )
    clock = StoppedClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    with PoliteClient(clock, "triage/test", 0.0, transport=lambda _: transport) as client:
        batches = list(FeedSource(client, "lab", URL, IN_NOVEMBER).fetch(None))
    return [paper.title for batch in batches for paper in batch.papers]


# -- XML that is not quite XML ---------------------------------------------------------------------


def test_entities_of_html_are_characters() -> None:
    first, second, third = read(recorded("feed_html_entities.xml"))
    assert second.abstract == "Sorting networks by Müller – depth matters a lot here."
    assert first.title.endswith("1")
    assert third.title.endswith("3")


@pytest.mark.parametrize(
    ("text", "abstract"),
    [
        ("caf&eacute; &alpha; &hellip;", "café α …"),
        ("&ldquo;p &lt; 0.05&rdquo; &amp; more", "“p < 0.05” & more"),
        ("Never &foo; nor &copy 2026", "Never &foo; nor &copy 2026"),
        ("AT&T and R&D", "AT&T and R&D"),
        ("see ?a=1&foo=bar&amp;b=2", "see ?a=1&foo=bar&b=2"),
        ("one & two && three &", "one & two && three &"),
        ("curly &#8220;quotes&#8221; and &#150; dash", "curly “quotes” and – dash"),
        ("null &#0; bell &#x7; half &#xD800;", "null bell half"),
        ("a face &#55357;&#56832; in halves", "a face 😀 in halves"),
        ("p < 0.05 and a <= b", "p < 0.05 and a <= b"),
        ("control\x08 characters\x1f go", "control characters go"),
        ("noncharacters\ufffe go", "noncharacters go"),
        ("end ]]> of nothing", "end ]]> of nothing"),
        ("<![CDATA[R&D &nbsp;in CDATA]]>", "R&D in CDATA"),
        ("a <!-- remark -- with dashes --> text", "a text"),
        ("an <?php echo 1 ?> instruction", "an instruction"),
    ],
)
def test_what_xml_forbids_is_read_for_what_it_means(text: str, abstract: str) -> None:
    (paper,) = read(with_text(text))
    assert paper.abstract == abstract


def test_a_bare_ampersand_is_text() -> None:
    papers = read(recorded("feed_bare_ampersand.xml"))
    assert [paper.title for paper in papers] == [
        "A study of sorting number 1",
        "Filters & their proofs",
        "A study of sorting number 3",
    ]


def test_an_ampersand_in_an_address_is_text() -> None:
    item = (
        "<entry><id>urn:1</id><title>T</title><summary>x</summary>"
        "<link href='https://lab.example/?p=1&q=2&copy=3'/></entry>"
    )
    body = f'<feed xmlns="http://www.w3.org/2005/Atom">{item}</feed>'.encode()
    assert parse(body, URL)[0][0].link == "https://lab.example/?p=1&q=2&copy=3"


def test_known_prefixes_without_a_declaration_mean_what_they_mean_elsewhere() -> None:
    papers = read(recorded("feed_undeclared_prefix.xml"))
    assert [paper.authors for paper in papers] == [("Ada Lovelace",), ()]


@pytest.mark.parametrize(
    "inside",
    [
        "<content:encoded>The whole text.</content:encoded>",
        "<description>The whole text.</description><made:up x:y='1'>z</made:up>",
        "<description>The whole text.</description><media:thumbnail url='u'/><slash:comments/>",
        # Declared at one element, used at another one.
        "<a:b xmlns:a='urn:a'/><a:c/><description>The whole text.</description>",
    ],
)
def test_other_prefixes_do_no_harm(inside: str) -> None:
    body = f"<rss title='a>b' xmlns:q='urn:q'><channel><item><title>T</title><guid>1</guid>{inside}"
    (paper,) = read(f"{body}</item></channel></rss>".encode())
    assert paper.abstract == "The whole text."


@pytest.mark.parametrize(
    "before",
    [
        "\n\n  \n<?xml version='1.0'?>",
        "\ufeff\n<?xml version='1.0' encoding='utf-8'?>",
        "<br />\n<b>Notice</b>: Undefined index: x in <b>/srv/www/a.php</b> on line <b>5</b><br />"
        "\n<?xml version='1.0'?>",
        "<?xml version='1.0'?>\n<?xml version='1.0'?>",
        "<?xml version='1.1'?>",
        "<!-- made by a program --><?xml version='1.0'?><?xml-stylesheet href='a.xsl'?>",
        "Warning: out of memory\n",
        "<!DOCTYPE rss>",
        '<?xml version="1.0"?><!doctype rss SYSTEM "rss-0.91.dtd" >\n<!-- x -->',
    ],
)
@pytest.mark.parametrize("after", ["", "\n<!-- cached -->\n", "<script>track()</script>", "\0\0"])
def test_what_stands_around_the_document_is_left_out(before: str, after: str) -> None:
    (paper,) = read(before.encode() + with_text("A text.") + after.encode())
    assert paper.abstract == "A text."


def test_the_doctype_of_rss_0_91_is_harmless() -> None:
    (paper,) = read(recorded("feed_doctype.xml"))
    assert paper.title == "A study of sorting number 1"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE rss [<!ENTITY x 'y'>]>" + with_text("&x;"), "unsafe XML (DTD"),
        (b"<!DOCTYPE rss SYSTEM 'a' []>" + with_text("x"), "unsafe XML (DTD"),
        (with_text("a text that is cut")[:-30], "is no XML"),
        (with_text("an <b>element without end"), "is no XML"),
        (with_text("<![CDATA[a section without end"), "is no XML"),
        (with_text("a <!-- comment without end"), "is no XML"),
        (with_text("twice") * 2, "is no XML"),
        (with_text("<a>" * 200 + "</a>" * 200), "nested more than 100 deep"),
        (with_text("&" * 1_000_001), "too many lines and references"),
        (with_text("<1" * 1_000_001), "too many lines and references"),
        (with_text("<!---->" * 1_000_001), "too many lines and references"),
        (b"<html><body>Error: &nbsp;</body></html>", "is a web page"),
    ],
)
def test_what_is_broken_or_hostile_is_refused_as_before(body: bytes, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse(body, URL)
    assert said in error_text(caught.value)


def test_a_title_that_was_escaped_twice_is_readable() -> None:
    (paper,) = read(recorded("feed_twice_escaped.xml"))
    assert paper.title == "E. coli sorting in CO₂"


@pytest.mark.parametrize(
    "body",
    [
        b"<RSS VERSION='2.0'><CHANNEL><ITEM><TITLE>T</TITLE><DESCRIPTION>x</DESCRIPTION></ITEM>"
        b"</CHANNEL></RSS>",
        b"<rdf:RDF><channel/><item><title>T</title><description>x</description></item></rdf:RDF>",
        b"<feed><entry><id>1</id><title>T</title><summary>x</summary></entry></feed>",
        b"<a:feed xmlns:a='http://www.w3.org/2005/Atom'><a:entry><a:id>1</a:id><a:title>T</a:title>"
        b"<a:summary>x</a:summary></a:entry></a:feed>",
        b'{"version": "https://jsonfeed.org/version/1", "items": [{"id": "1", "title": "T\n",'
        b'\t"content_text": "x\r\n"}]}',
        '{"version": "https://jsonfeed.org/version/1", "items": [{"id": "1", "title": "T", "é": 1,'
        '"content_text": "x"}]}'.encode("latin-1"),
    ],
)
def test_other_forms_that_no_standard_has_are_read(body: bytes) -> None:
    (paper,) = read(body)
    assert (paper.title, paper.abstract) == ("T", "x")
    assert parse(body, URL)[1] == 1


# -- encodings -------------------------------------------------------------------------------------


def test_a_feed_in_gb2312_has_its_chinese_title() -> None:
    (paper,) = read(recorded("feed_gb2312.xml"))
    assert paper.title == "排序网络研究"


def encoded(encoding: str, label: str, text: str) -> bytes:
    feed = with_text(text).decode()
    return f'<?xml version="1.0" encoding="{label}"?>{feed}'.encode(encoding)


@pytest.mark.parametrize(
    ("encoding", "label", "text"),
    [
        ("gbk", "GBK", "镕基的论文"),
        ("gb18030", "gb2312", "㐀 and 镕, which GB2312 has not"),
        ("shift_jis", "Shift_JIS", "並べ替えの研究"),
        ("cp932", "shift_jis", "①番目の研究"),
        ("euc_jp", "EUC-JP", "並べ替えの研究"),
        ("iso2022_jp", "ISO-2022-JP", "並べ替え"),
        ("euc_kr", "EUC-KR", "정렬 연구"),
        ("cp949", "ks_c_5601-1987", "똠방각하"),
        ("big5", "Big5", "排序網路研究"),
        ("windows-1251", "windows-1251", "Сортировка"),
        ("iso8859_15", "ISO-8859-15", "Prix en €"),
        ("cp1252", "iso-8859-1", "“quoted” – as browsers read it"),
        ("utf-16", "utf-16", "Füße 排序"),
        ("utf-16-le", "utf-8", "Füße 排序"),
        ("utf-16-be", "", "Füße 排序"),
        ("utf-32", "utf-32", "Füße 排序"),
        ("utf-8-sig", "iso-8859-1", "Füße"),
        # Labels that cannot be true.
        ("utf-8", "utf-16", "Füße 排序"),
        ("utf-8", "iso-8859-1", "Füße"),
        ("utf-8", "gb2312", "排序网络研究的深度与复杂度"),
        ("utf-8", "no-such-encoding", "Füße"),
        ("utf-8", "rot13", "Füße"),
        ("cp1252", "utf-8", "Füße und Grüße"),
    ],
)
def test_any_encoding_is_read_whatever_its_label(encoding: str, label: str, text: str) -> None:
    (paper,) = read(encoded(encoding, label, text))
    assert paper.abstract == text


@pytest.mark.parametrize(
    ("encoding", "label", "charset"),
    [
        ("gbk", "utf-8", "gbk"),  # The header is before the declaration (RFC 7303).
        ("gbk", "gbk", "utf-8"),  # It cannot be true.
        ("gbk", "gbk", "no-such-charset"),
        ("utf-8", "utf-8", "iso-8859-1"),  # The default of a web server.
        ("utf-8-sig", "gbk", "gbk"),  # The byte order mark is before both.
    ],
)
def test_the_charset_of_the_header_counts_if_it_can_be_true(
    encoding: str, label: str, charset: str
) -> None:
    text = "排序网络研究的深度与复杂度"
    body = encoded(encoding, label, text).replace(
        b"<title>T<", f"<title>{text}<".encode(encoding.removesuffix("-sig"))
    )
    assert fetched_over_http(body, Content_Type=f"text/xml; charset={charset}") == [text]


def test_one_broken_character_does_not_cost_the_others() -> None:
    (paper,) = read(with_text("Füße und Grüße XX").replace(b"XX", b"\xc3"))
    assert paper.abstract == "Füße und Grüße \ufffd"


@pytest.mark.parametrize(
    "coding", ["utf-8", "gzip", "none", "identity", "x-gzip", "UTF-8", "", "binary", "gzip, utf-8"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_body_is_what_it_is_whatever_the_coding_says(coding: str, packed: bool) -> None:
    body = recorded("feed_wrong_coding.xml")
    sent = gzip.compress(body) if packed else body
    assert fetched_over_http(sent, Content_Encoding=coding) == ["A study of sorting number 1"]


# -- ids, authors and dates ------------------------------------------------------------------------


def test_highwire_names_the_doi_and_the_authors() -> None:
    (paper,) = read(recorded("feed_highwire.xml"), "http://j.example/rss/current.xml")
    assert (paper.source, paper.source_id) == ("doi", "10.5555/leader-2024-001191")
    assert paper.authors == ("Vavilova, C. D.", "Hertz, C. M.", "Wid, M.")
    assert "<st>" not in paper.abstract
    assert paper.abstract.endswith("We make a useful case for careers with data.")


def test_the_links_of_publishers_name_the_paper() -> None:
    papers = read(recorded("feed_links_of_publishers.xml"))
    assert [(paper.source, paper.source_id) for paper in papers] == [
        ("doi", "10.3389/fpsyg.2026.123456"),
        ("doi", "10.1007/s00125-026-0001-1"),
        ("doi", "10.1088/1361-6633/ab0001"),
        ("doi", "10.1371/journal.pone.0300001"),
        ("doi", "10.1101/2026.10.13.562187"),
        ("doi", "10.1111/nous.12244"),
        ("doi", "10.5555/q"),
        ("arxiv", "2611.00011"),
    ]


def test_an_id_in_running_text_is_of_another_paper() -> None:
    (paper,) = read(rss(entry(1, description="We answer arXiv:2401.00001 and 10.5555/other.")))
    assert (paper.source, paper.doi) == ("feed:x", None)


@pytest.mark.parametrize("name", ["feed_author_atom.xml", "feed_author.json"])
def test_the_author_of_a_feed_is_that_of_its_entries(name: str) -> None:
    (paper,) = read(recorded(name))
    assert paper.authors == ("Ada Lovelace",)


def test_the_author_of_an_entry_is_before_that_of_the_feed() -> None:
    person = "<author><name>{}</name></author>"
    entries = [
        f"<entry><id>1</id><title>A</title><summary>x</summary>{person.format('Own')}</entry>",
        f"<entry><id>2</id><title>B</title><summary>x</summary><source>{person.format('Source')}"
        "</source></entry>",
        "<entry><id>3</id><title>C</title><summary>x</summary></entry>",
    ]
    two = person.format("Feed One") + person.format("Feed Two")
    body = f'<feed xmlns="http://www.w3.org/2005/Atom">{two}{"".join(entries)}</feed>'
    authors = [paper.authors for paper in read(body.encode())]
    assert authors == [("Own",), ("Source",), ("Feed One", "Feed Two")]


def test_the_editor_of_a_journal_is_no_author_of_its_papers() -> None:
    editor = b"<channel><managingEditor>ed@j.example (Ed Itor)</managingEditor>"
    (paper,) = read(with_text("x").replace(b"<channel>", editor))
    assert paper.authors == ()


@pytest.mark.parametrize(
    ("creators", "authors"),
    [
        (["Ada Lovelace and Charles Babbage"], ("Ada Lovelace", "Charles Babbage")),
        (["Lovelace, Ada"], ("Lovelace, Ada",)),
        (["Lovelace, Ada", "Babbage, Charles"], ("Lovelace, Ada", "Babbage, Charles")),
        (["Lovelace, A., Babbage, C."], ("Lovelace, A.", "Babbage, C.")),
        (["ada@lab.example (Ada Lovelace)"], ("Ada Lovelace",)),
        (["Ada Lovelace<sup>1,2</sup>, Bob Ray<sup>3</sup>"], ("Ada Lovelace", "Bob Ray")),
        (["M. Curie <em>et al.</em> (CMS Collaboration)"], ("M. Curie", "CMS Collaboration")),
    ],
)
def test_each_author_is_a_name(creators: Sequence[str], authors: tuple[str, ...]) -> None:
    several = "".join(f"<dc:creator><![CDATA[{each}]]></dc:creator>" for each in creators)
    body = with_text("A text.").replace(b"<title>T</title>", f"<title>T</title>{several}".encode())
    (paper,) = read(body)
    assert paper.authors == authors


def test_an_old_entry_keeps_its_old_day() -> None:
    days = [paper.listed_on for paper in read(recorded("feed_dates.xml"))]
    assert days == [
        date(2019, 8, 15),
        date(2018, 9, 18),
        date(2018, 10, 5),
        date(2022, 10, 7),
        date(2019, 8, 1),
    ]


@pytest.mark.parametrize(
    ("dates", "day"),
    [
        ({"pubDate": "15 août 2019"}, date(2019, 8, 15)),
        ({"pubDate": "3 de septiembre de 2020"}, date(2020, 9, 3)),
        ({"pubDate": "20 März 2019, 10:00 Uhr"}, date(2019, 3, 20)),
        ({"pubDate": "soon", "dc:date": "2020-05-06"}, date(2020, 5, 6)),
        ({"pubDate": "1970-01-01", "prism:publicationDate": "2020-05-06"}, date(2020, 5, 6)),
        ({"prism:coverDate": "2020-05-06"}, date(2020, 5, 6)),
        ({"dc:date": "2026-11"}, IN_NOVEMBER),  # It may be today.
        ({"dc:date": "2026-10"}, date(2026, 10, 1)),
        ({"dc:date": "2026"}, IN_NOVEMBER),
        ({"prism:coverDisplayDate": "2019", "pubDate": "n.d."}, IN_NOVEMBER),
    ],
)
def test_the_first_date_that_can_be_read_and_true_is_the_day(
    dates: dict[str, str], day: date
) -> None:
    (paper,) = read(rss(entry(1, pubDate="") | dates))
    assert paper.listed_on == day


# -- the day ---------------------------------------------------------------------------------------


def test_a_quarter_without_abstracts_is_a_quiet_day(world: World) -> None:
    world.show(recorded("feed_without_abstracts.xml"))
    assert world.fetch(IN_NOVEMBER).stored == 9
    note = "3 kept aside: no abstract"
    quiet = SourceDay("feed:lab", IN_NOVEMBER, Verdict.COMPLETE, 9, 9, note)
    assert world.days()[IN_NOVEMBER] == quiet
    assert world.fetch(IN_NOVEMBER).stored == 0
    assert world.days()[IN_NOVEMBER] == quiet
    later = IN_NOVEMBER + timedelta(days=1)
    world.fetch(later)
    assert world.days()[later] == SourceDay("feed:lab", later, Verdict.COMPLETE, 0, 0)


def test_entries_without_abstract_do_not_hide_those_that_are_unusable(world: World) -> None:
    papers = [entry(n) for n in range(8)]
    bare = [entry(n, description="<p>&nbsp;</p>") for n in range(8, 12)]
    world.show(rss(*papers, *bare, entry(12, title="")))
    assert world.fetch().stored == 8
    note = "1 kept aside: could not be used; 4 kept aside: no abstract"
    assert world.days()[MONDAY] == SourceDay("feed:lab", MONDAY, Verdict.COMPLETE, 9, 8, note)
    world.show(rss(*papers, *bare, *(entry(n, title="") for n in range(12, 16))))
    with pytest.raises(SourceError, match="4 of the 16"):
        world.fetch(TUESDAY)
    assert world.days()[TUESDAY].verdict is Verdict.FAILED


def test_a_feed_without_any_abstract_is_said_to_fail(world: World) -> None:
    world.show(rss(*(entry(n, description="") for n in range(12))))
    with pytest.raises(SourceError) as caught:
        world.fetch()
    assert "12 of the 12 entries of this feed have no abstract" in error_text(caught.value)
    # An editorial alone is no failure.
    world.show(rss(entry(1, description="")))
    world.fetch(TUESDAY)
    assert world.days()[TUESDAY].verdict is Verdict.COMPLETE


def many(n: int, first: int = 1) -> bytes:
    """Return a feed of n entries, the newest first, of which the oldest has the number `first`."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    return rss(
        *(
            entry(
                k,
                link=f"https://lab.example/{k}",
                pubDate=f"{start - timedelta(hours=first + n - 1 - k):%a, %d %b %Y %H:%M:%S} GMT",
            )
            for k in reversed(range(first, first + n))
        )
    )


def test_of_6066_entries_the_newest_5000_are_read_once_and_the_day_says_so(world: World) -> None:
    world.show(many(6_066))
    batches = list(world.source().fetch(None))
    ids = {paper.source_id for batch in batches for paper in batch.papers}
    assert ids == {f"guid:https://lab.example/{n}" for n in range(1_067, 6_067)}
    (day,) = batches[-1].days
    note = "only the newest 5,000 of 6,066 entries were read"
    assert day == SourceDay("feed:lab", MONDAY, Verdict.PARTIAL, 6_066, 5_000, note)
    (again,) = world.source().fetch(batches[-1].cursor)
    assert (again.papers, again.days) == ((), (day,))
    # On the next day all that is new is among the newest.
    world.show(many(6_069))
    (later,) = world.source(TUESDAY).fetch(again.cursor)
    assert [paper.source_id for paper in later.papers] == [
        f"guid:https://lab.example/{n}" for n in (6_069, 6_068, 6_067)
    ]
    assert later.days[0].verdict is Verdict.COMPLETE
    assert (later.days[0].expected, later.days[0].got) == (3, 3)
    # Two more than are new among the newest: they were added with an old date.
    world.show(many(6_072))
    (last,) = world.source(WEDNESDAY).fetch(
        later.cursor.replace('"n_total":6069', '"n_total":6067')
    )
    assert last.days[0].verdict is Verdict.PARTIAL
    assert (last.days[0].expected, last.days[0].got) == (5, 3)
