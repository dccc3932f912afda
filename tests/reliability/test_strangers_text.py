"""Digests of what strangers wrote: never clipped, readable everywhere, and text remains text."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from tests.digest.test_message import faults
from tests.support.digests import HOSTILE, URL, digest, problems_of_html
from tests.support.factories import impression, paper, slate
from tests.support.guarantees import Guarantee
from triage.domain.plain_text import TEXT_WIDTH
from triage.domain.records import Paper, Reason, ReasonKind, Slate

SCRIPTS = (
    "本論文は草稿の長さを調べる。復号は速くなり、損失はない。",
    "ندرس أثر طول المسودة على سرعة فك التشفير. ",
    "אנו חוקרים טיוטות באורכים שונים ",
    "👩🏽‍🔬🚀 ",
    "Ordinary words of an abstract, one after the other. ",
    "Größe zählt: ε ≤ 2·10⁻³ für α → β. ",
    "<b>&amp;</b> \"quoted\" 'text' ",
    "See https://example.org/a-long-path/with-hyphens?x=1&y=2#part for the code. ",
)
ABSTRACT_BYTES = 20_000
FRAGMENTS = (
    *HOSTILE,
    "\r\nBcc: victim@example.net",
    "\nX-Evil: yes",
    "\rSubject: other",
    "%0d%0aBcc: v@example.net",
    "\u010d\u010aBcc: v@example.net",
    "=?utf-8?q?=0D=0AX-Evil:_yes?=",
    "=?utf-7?q?+AA0ACg-Bcc: v@example.net?=",
    "\r\n\r\n--=_" + "5" * 20 + "\r\nContent-Type: text/html\r\n\r\n<h1>x</h1>",
    "</td><script>alert()</script>",
    "</p></td></tr></table></body></html><h1>mine</h1>",
    "<svg onload=alert()>",
    "<a href=javascript:alert()>x</a>",
    "[x](javascript:alert())",
    "data:text/html;base64,PHNjcmlwdD4=",
    "<style>*{display:none}</style>",
    "<meta http-equiv=refresh content=0>",
    "&#x6a;avascript:alert()",
    "{{7*7}}",
    "${{7*7}}",
    "<%= 7*7 %>",
    "{% if 7*7 %}",
    "<!--% print(7*7) %-->",
    "%-->",
    "\\input{|id}",
    "\\immediate\\write18{id}",
    "\u202egnp.exe\u202c",
    "\u2066\u2069\u200e\u200f\u061c",
    "\x00\x01\x08\x7f\x9b",
    "plain words ",
)
LETTERS = "abcdefgäßç€中文عربي🚀 <>&\"'{}%\\=?@:;/.,\r\n\t"
ALIEN = re.compile("[\u202a-\u202e\u2066-\u2069\u2028\u2029\u200e\u200f\u061c]")


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def long_digest(n: int, chance: random.Random) -> Slate:
    """Return a slate of papers whose abstracts fill 20 kB each, every one in another script."""

    def text(n_bytes: int) -> str:
        words = chance.choice(SCRIPTS)
        return words * (n_bytes // len(words.encode()) + 1)

    shown = tuple(
        impression(
            position,
            paper=paper(
                position,
                title=text(chance.choice([20, 120, 400])),
                abstract=text(ABSTRACT_BYTES),
                authors=tuple(text(20) for _ in range(chance.randrange(12))),
            ),
        )
        for position in range(1, n + 1)
    )
    return slate(0, impressions=shown)


@pytest.mark.guarantee("R3")
def test_long_digests_in_all_scripts_are_whole_and_readable(guarantee: Guarantee) -> None:
    n_digests = 500 if guarantee.full else 5
    largest_html = largest = 0
    for n in range(n_digests):
        chance = random.Random(f"long {n}")  # noqa: S311
        made = digest(long_digest(chance.randint(1, 60) if n else 60, chance))
        html, text, soup = made.part("html"), made.part("plain"), made.soup

        largest_html = max(largest_html, len(made.encoded("html")))
        largest = max(largest, len(made.message.mime))
        assert problems_of_html(html) == []
        headings = [each.name for each in soup.find_all(re.compile("^h[1-6]$"))]
        assert headings == ["h1", *["h2"] * made.rendered.n_papers]
        assert soup.html is not None
        assert soup.html["lang"] == "en"
        assert 'content="light dark"' in html
        for line in text.split("\n"):
            assert columns(line) <= TEXT_WIDTH or "://" in line
        preheader = soup.find("div", class_="preheader")
        assert preheader is not None
        assert 40 <= len(preheader.get_text()) <= 120
        assert "Unsubscribe" in soup.get_text()
        assert made.links.unsubscribe in text

        # The links within the mail lead to its papers; all others are in the text, too.
        links = {str(anchor["href"]) for anchor in soup.find_all("a")}
        places = {link for link in links if link.startswith("#")}
        shown = range(1, made.rendered.n_papers + 1) if made.rendered.n_papers > 1 else ()
        assert places == {f"#paper-{number}" for number in shown}
        links -= places
        for unseen in (preheader, *soup.find_all(["style", "title"])):
            unseen.decompose()
        assert links | set(URL.findall(soup.get_text(" "))) == set(URL.findall(text))
    assert largest_html <= 80_000
    assert largest <= 150_000
    guarantee.record(
        n_long_digests=n_digests, largest_html_bytes=largest_html, largest_message_bytes=largest
    )


def fuzzed(chance: random.Random, id: int) -> Paper:
    def text() -> str:
        parts = [
            chance.choice(FRAGMENTS)
            if chance.random() < 0.7
            else "".join(chance.choices(LETTERS, k=chance.randrange(30)))
            for _ in range(chance.randint(1, 3))
        ]
        whole = chance.choice(["", " ", "\r\n"]).join(parts)
        return whole * (1_000_000 // (len(whole) + 1) + 1) if chance.random() < 0.001 else whole

    return paper(
        id,
        title=text(),
        abstract=text(),
        tldr=text(),
        comment=text(),
        venue=text(),
        authors=tuple(text() for _ in range(chance.randrange(4))),
        categories=tuple(text() for _ in range(chance.randrange(3))),
        source=chance.choice(["arxiv", "doi", f"feed:{text()}"]),
        source_id=chance.choice([None, "2603.00001", "javascript:alert()", text()]),
    )


@pytest.mark.guarantee("R4")
def test_nothing_that_strangers_write_becomes_more_than_text(guarantee: Guarantee) -> None:
    n_papers, of_digest = (10_000 if guarantee.full else 200), 10
    for n in range(n_papers // of_digest):
        chance = random.Random(f"fuzz {n}")  # noqa: S311
        shown = tuple(
            impression(
                position,
                paper=fuzzed(chance, position),
                reasons=(Reason(ReasonKind.LIKES, chance.choice(FRAGMENTS)),),
            )
            for position in range(1, of_digest + 1)
        )
        said = chance.choice(FRAGMENTS)
        made = digest(slate(0, impressions=shown, day_report=said, recap=(fuzzed(chance, 99),)))

        assert faults(made) == [], n
        html, n_shown = made.part("html"), made.rendered.n_papers
        assert problems_of_html(html) == [], n
        # The list of titles has a link to each paper, and the list and the paper have its PDF.
        n_pdfs = sum(len(each.resources) for each in made.links.papers[:n_shown])
        n_of_papers = 7 * n_shown + 2 * n_pdfs
        assert len(re.findall("<a ", html)) == n_of_papers + 5 + (n_shown < of_digest)
        assert {url.split("/")[2] for each in made.links.papers for _, url in each.resources} <= {
            "arxiv.org"
        }
        assert len(re.findall("<td", html)) == n_shown + 4
        assert len(re.findall("<h[12]", html)) == n_shown + 1
        both = html + made.part("plain") + made.rendered.subject
        assert "49" not in re.sub(r"https?://\S+|#[0-9a-f]{6}", "", both), n
        assert not ALIEN.search(both), n
        assert {unicodedata.category(c) for c in both.replace("\n", "")}.isdisjoint({"Cc", "Cs"})
    guarantee.record(n_fuzzed_papers=n_papers, n_extra_headers_parts_elements=0)


def test_a_title_of_a_megabyte_costs_no_more_than_its_beginning() -> None:
    long = impression(1, paper=paper(1, title="Long title " * 100_000, abstract="x" * 1_000_000))
    made = digest(slate(0, impressions=(long,)))
    assert faults(made) == []
    assert len(made.message.mime) < 20_000
