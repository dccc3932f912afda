"""Digests for tests, from plain to hostile, and a reader that takes them apart again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import html5lib
from bs4 import BeautifulSoup
from hypothesis import strategies as st

from tests.support.factories import DAY, impression, paper, slate, subscriber
from triage.digest.links import digest_links
from triage.digest.message import build_digest
from triage.digest.render import render_digest
from triage.domain.link_tokens import Keyring
from triage.domain.records import (
    Detail,
    DigestLinks,
    Frequency,
    OutgoingMessage,
    Policy,
    Reason,
    ReasonKind,
    RenderedDigest,
    Slate,
)

KEYRING = Keyring("for tests only, long enough to sign")
SITE = "triage"
SENDER = "triage <digest@papers.example.org>"
CONTACT = "Ada <ada@papers.example.org>"
BASE_URL = "https://papers.example.org"
MADE_AT = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
URL = re.compile(r"https?://[^\s<>\"]+")

ELEMENTS = set("html head meta title style body div table tbody tr td h1 h2 p span a ol li".split())
ATTRIBUTES = set(
    "lang charset name content class id style role cellpadding cellspacing border width align dir"
    " href".split()
)  # fmt: skip

HOSTILE = (
    "Title\r\nBcc: victim@example.net\r\n\r\nbody",
    "one\rtwo\nthree\0four",
    "=?utf-8?B?DQpCY2M6IHZpY3RpbUBleGFtcGxlLm5ldA==?=",
    "=?utf-8?q?x=0D=0ABcc:_v@example.net?=",
    "</td></tr></table><script>alert(1)</script>",
    "<img src=x onerror=alert(1)><form action=//e.vil><a href='javascript:alert(1)'>x</a>",
    '"><a href="data:text/html,<script>alert(1)</script>">',
    "{{7*7}}{{ config }}${7*7}#{7*7}",
    "{% for x in [] %}<!--% if 7*7 %-->{%raw%}",
    "\\input{|id} \\write18{id} $\\href{javascript:alert(1)}{x}$",
    "abc\u202etxt.exe\u202c\u2066\u2069\u200f",
    "line\u2028separator\u2029and\x85more\x0b\x0c\x1c",
    "<!--[if mso]><b>--> <![CDATA[ ]]> &lt;b&gt; &#60;i&#62;",
    "=_" + "5" * 20 + "\n--=_" + "5" * 20 + "--",
    "\ud800 \ufffe \U0001fffe \ufeff",
    ".\n..\n.\r\n",
    "日本語の題名 " * 60,
    "עברית وعربية " * 60,
    "👩🏽‍🔬" * 200,
    "e" + "\u0301" * 500,
    "w" * 1200,
    "see https://example.org/a-b/c-d?x=1&y=2#z, and (https://example.net/e).",
    "",
)

_TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=80), st.just("An ordinary line."))


@st.composite
def slates(draw: st.DrawFn) -> Slate:
    """Draw slates of which every text came from a stranger."""
    shown = tuple(
        impression(
            position,
            paper=paper(
                position,
                title=draw(_TEXT),
                abstract=draw(_TEXT),
                tldr=draw(_TEXT),
                authors=tuple(draw(st.lists(_TEXT, max_size=8))),
                categories=tuple(draw(st.lists(_TEXT, max_size=3))),
                source=draw(st.sampled_from(["arxiv", "doi", "listing", "feed:<b>Nature</b>\r\n"])),
                source_id=draw(st.sampled_from([None, "2603.00001", "javascript:alert(1)"])),
                upvotes=draw(st.sampled_from([None, 0, 1, 12_345])),
            ),
            policy=draw(st.sampled_from(list(Policy))),
            reasons=tuple(
                Reason(ReasonKind.LIKES, draw(_TEXT)) for _ in range(draw(st.integers(0, 3)))
            ),
        )
        for position in range(1, draw(st.integers(1, 4)) + 1)
    )
    reader = subscriber(
        detail=draw(st.sampled_from(list(Detail))), frequency=draw(st.sampled_from(list(Frequency)))
    )
    return slate(
        0,
        impressions=shown,
        subscriber=reader,
        day_report=draw(_TEXT),
        n_candidates=draw(st.integers(1, 10_000)),
    )


@dataclass(frozen=True)
class Digest:
    """A finished digest and its parts as a receiver reads them."""

    slate: Slate
    links: DigestLinks
    rendered: RenderedDigest
    message: OutgoingMessage

    @property
    def parsed(self) -> EmailMessage:
        parsed = message_from_bytes(self.message.mime, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def part(self, subtype: str) -> str:
        body = self.parsed.get_body((subtype,))
        assert body is not None
        return str(body.get_content()).replace("\r\n", "\n")

    def encoded(self, subtype: str) -> str:
        """Return a part as it travels."""
        [part] = [part for part in self.parsed.walk() if part.get_content_subtype() == subtype]
        payload = part.get_payload()
        assert isinstance(payload, str)
        return payload

    @property
    def soup(self) -> BeautifulSoup:
        return BeautifulSoup(self.part("html"), "html5lib")


def links_of(made: Slate) -> DigestLinks:
    return digest_links(made, KEYRING, BASE_URL, CONTACT, MADE_AT.date())


def digest(made: Slate | None = None, **headers: Any) -> Digest:
    """Make a digest the whole way; `headers` are arguments of `build_digest`."""
    made = made or slate()
    links = links_of(made)
    arguments: dict[str, Any] = {
        "sender": SENDER,
        "reply_to": CONTACT,
        "site_name": SITE,
        "date": MADE_AT,
    } | headers
    rendered = render_digest(made, links, arguments["site_name"])
    return Digest(made, links, rendered, build_digest(made, links, rendered, **arguments))


def with_abstracts(n: int, abstract: str, **fields: Any) -> Slate:
    shown = tuple(
        impression(i, paper=paper(i, abstract=abstract, **fields)) for i in range(1, n + 1)
    )
    return slate(0, impressions=shown)


def examples() -> dict[str, Slate]:
    """Return one slate for each way in which a digest can look."""
    tldr = {"tldr": "Drafts make decoding faster.", "upvotes": 41}
    return {
        "plain": slate(5),
        "one-paper": slate(1, n_candidates=1),
        "chances": slate(
            0,
            impressions=tuple(
                impression(position, score=chance, prior=0.1)
                for position, chance in enumerate((0.93, 0.6, 0.25, 0.04), start=1)
            ),
        ),
        "exploration": slate(
            0,
            impressions=(
                impression(1),
                impression(
                    2,
                    policy=Policy.EXPLORATION,
                    reasons=(Reason(ReasonKind.EXPLORATION, "a paper outside your usual picks"),),
                ),
            ),
        ),
        "tldr": slate(
            0,
            subscriber=subscriber(detail=Detail.TLDR),
            impressions=(impression(1, paper=paper(1, **tldr)), impression(2)),
        ),
        "weekly": slate(2, subscriber=subscriber(frequency=Frequency.WEEKLY)),
        "cjk-rtl-emoji": slate(
            0,
            impressions=(
                impression(
                    1,
                    paper=paper(
                        1,
                        title="大規模言語モデルの投機的復号：草稿の長さについて",
                        abstract="本論文は草稿の長さを調べる。復号は速くなり、損失はない。" * 12,
                        authors=("山田 太郎", "王小明"),
                    ),
                ),
                impression(
                    2,
                    paper=paper(
                        2,
                        title="تسريع فك التشفير في النماذج اللغوية (LLM) الكبيرة",
                        abstract="ندرس أثر طول المسودة على سرعة فك التشفير. " * 12,
                        authors=("محمد علي", "דנה כהן"),
                    ),
                ),
                impression(
                    3, paper=paper(3, title="Emoji 👩🏽‍🔬 in titles: 🚀🚀 or not? Größe zählt")
                ),
            ),
        ),
        "long": with_abstracts(2, "A sentence about drafts that is repeated quite often. " * 60),
        "many-authors": slate(
            0,
            impressions=(
                impression(1, paper=paper(1, authors=tuple(f"Author {i}" for i in range(2000)))),
            ),
        ),
        "feed": slate(
            0,
            impressions=(
                impression(
                    1,
                    paper=paper(
                        1,
                        source="feed:Nature Methods",
                        source_id=None,
                        authors=(),
                        categories=(),
                        abstract="Code: https://example.org/a-long-path/with-hyphens?x=1&y=2 here.",
                    ),
                    reasons=(),
                ),
            ),
        ),
        "biorxiv": slate(
            0,
            impressions=(
                impression(
                    1,
                    paper=paper(
                        1,
                        source="biorxiv",
                        source_id="10.1101/2026.03.01.123456",
                        categories=("neuroscience",),
                        version=2,
                    ),
                ),
            ),
        ),
        "hostile-title": slate(
            0,
            impressions=tuple(
                impression(i, paper=paper(i, title=text))
                for i, text in enumerate(HOSTILE[:2], start=1)
            ),
        ),
        "cut-short": with_abstracts(60, "長い要旨。" * 4000),
        "hostile": slate(
            0,
            impressions=tuple(
                impression(i, paper=paper(i, title=text, abstract=text, authors=(text,)))
                for i, text in enumerate(HOSTILE, start=1)
            ),
        ),
        "incomplete-source": slate(2, day_report="arXiv could not be read; 214 older papers."),
    }


TOO_LARGE_FOR_GOLD = {"cut-short", "hostile"}


def problems_of_html(html: str) -> list[str]:
    """Parse strictly and return every element, attribute and link that no template has."""
    html5lib.HTMLParser(strict=True).parse(html)
    found = []
    for element in BeautifulSoup(html, "html5lib").find_all(True):
        if element.name not in ELEMENTS:
            found.append(f"element {element.name}")
        found += [f"attribute {name}" for name in element.attrs if name not in ATTRIBUTES]
        href = element.get("href")
        if href is not None and not re.match(r"https?://|#paper-\d+$", str(href)):
            found.append(f"link {href}")
    return found


assert MADE_AT.date() == DAY
