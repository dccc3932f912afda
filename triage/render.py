"""Turn a slate into the subject, text and HTML of a digest; the only module that knows Jinja.

Upstream text is shown as text and nothing else: it is cleaned again here, HTML is escaped by the
template engine, and only the links that the caller built become links. Text and HTML show the same
papers with the same words and the same links.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

from triage._assets import templates_dir
from triage.errors import MessageError
from triage.records import (
    Detail,
    DigestLinks,
    Impression,
    Paper,
    PaperLinks,
    Policy,
    RenderedDigest,
    Slate,
)

if TYPE_CHECKING:
    from jinja2 import Template

# Gmail cuts a message off near 102 kB of encoded HTML, and with it the way to unsubscribe.
MAX_HTML_BYTES = 80_000
MAX_MESSAGE_BYTES = 150_000
_HEADERS_BYTES = 6_000

# How many characters of a paper's text are shown: the first is the choice of taste, the others are
# tried in turn when the whole is too large.
_ABSTRACT_CHARS = (900, 480, 280, 160)
_TLDR_CHARS = 320
_SUBJECT_CHARS = 106
_TEXT_WIDTH = 78

_SOURCES = {
    "arxiv": "arXiv",
    "biorxiv": "bioRxiv",
    "medrxiv": "medRxiv",
    "hf": "Hugging Face",
    "hf_daily": "Hugging Face",
    "huggingface": "Hugging Face",
    "doi": "DOI",
    "listing": "Listing",
    "title": "Listing",
}
EXPLORATION = "Exploration: outside your usual picks, to learn what else you like"
VOTES_NOTE = (
    "Opening a link changes nothing: a vote counts when you press the button on its page. "
    "Every vote shapes your next digest."
)

# Control, bidirectional and separator characters, lone surrogates and noncharacters: none of them
# belongs in a line of text, and some hide or reorder what stands around them (Unicode TR 36).
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufeff"
    "\ufff9-\ufffc"
    + "".join(chr((plane << 16) | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
_URL = re.compile(r"https?://[!#-;=?-~]+")
_LINK = re.compile(r"https?://[A-Za-z0-9\[][!#-;=?-~]*")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]?(?= [A-Z0-9])|[\u3002\uff01\uff1f]")


def render_digest(slate: Slate, links: DigestLinks, site_name: str) -> RenderedDigest:
    """Render a slate, made to fit into what mail programs show.

    A digest that is too large first shows less of each abstract and then fewer papers;
    `n_papers` tells how many of the slate's first papers it shows.

    Args:
        slate: one paper or more.
        links: `links.papers[i]` belongs to `slate.impressions[i]`.
        site_name: how the sender calls itself.

    Raises:
        MessageError: there is no paper, links are missing, one of them is not an http(s) URL, or
            the digest is too large even with a single paper.
    """
    if not slate.impressions:
        raise MessageError("A digest needs at least one paper; skip this subscriber instead.")
    if len(links.papers) != len(slate.impressions):
        raise MessageError(
            f"The slate has {len(slate.impressions)} papers but there are links for "
            f"{len(links.papers)}; build one set of links for each paper."
        )
    _check_links(links)
    parts = list(zip(slate.impressions, links.papers, strict=True))
    n_papers = len(parts)
    for chars in _ABSTRACT_CHARS:
        rendered = _render(slate, links, parts, site_name, chars)
        if _fits(rendered):
            return rendered
    while n_papers > 1:
        share = MAX_HTML_BYTES / encoded_size(rendered.html)
        n_papers = max(1, min(n_papers - 1, int(n_papers * share)))
        rendered = _render(slate, links, parts[:n_papers], site_name, chars)
        if _fits(rendered):
            return rendered
    raise MessageError(
        f"The digest takes {encoded_size(rendered.html)} bytes with one paper, more than "
        f"{MAX_HTML_BYTES}; look at the template and at the length of its links."
    )


def encoded_size(body: str) -> int:
    """Return how many bytes a body takes in a message: quoted-printable or base64, the smaller."""
    raw = body.replace("\n", "\r\n").encode()
    as_base64 = len(base64.encodebytes(raw))
    # encodebytes ends lines with LF where the message has CRLF
    return min(len(binascii.b2a_qp(raw)), as_base64 + -(-as_base64 // 77))


def _fits(rendered: RenderedDigest) -> bool:
    html = encoded_size(rendered.html)
    whole = html + encoded_size(rendered.text) + _HEADERS_BYTES
    return html <= MAX_HTML_BYTES and whole <= MAX_MESSAGE_BYTES


def _render(
    slate: Slate,
    links: DigestLinks,
    parts: Sequence[tuple[Impression, PaperLinks]],
    site_name: str,
    abstract_chars: int,
) -> RenderedDigest:
    templates = _templates()
    site = _shorten(_clean(site_name), 60)
    papers = [
        _view(impression, paper_links, slate.subscriber.detail, abstract_chars)
        for impression, paper_links in parts
    ]
    n = len(papers)
    heading = f"{n} {'paper' if n == 1 else 'papers'} for you"
    titles = [paper["title"] for paper in papers]
    subject = templates.subject.render(
        heading=heading, titles=_few_titles(titles, _SUBJECT_CHARS - len(heading) - 2)
    )
    context = {
        "subject": subject,
        "preheader": _preheader(slate, titles[1:]),
        "heading": heading,
        "day": f"{slate.on:%A}, {_day(slate.on)}",
        "site_name": site,
        "day_report": _shorten(_clean(slate.day_report), 400),
        "papers": papers,
        "n_dropped": len(slate.impressions) - n,
        "exploration": EXPLORATION,
        "votes_note": VOTES_NOTE,
        "why_note": f"This address is subscribed to the {slate.subscriber.frequency.value} "
        f"digest of {site}.",
        "links": links,
    }
    return RenderedDigest(
        subject=subject,
        text=templates.text.render(context),
        html=templates.html.render(context),
        n_papers=n,
    )


# -- what is shown of a paper ----------------------------------------------------------------------


def _view(
    impression: Impression, links: PaperLinks, detail: Detail, abstract_chars: int
) -> dict[str, Any]:
    paper = impression.paper
    badge = _badge(paper.source)
    facts = _facts(paper)
    text, more = _text(paper, detail, abstract_chars)
    upstream = links.upstream if _LINK.fullmatch(links.upstream) else links.page
    return {
        "title": _shorten(_clean(paper.title), 300) or "(without a title)",
        "authors": _authors(paper.authors),
        "badge": badge,
        "after_badge": "".join(f" · {fact}" for fact in facts),
        "facts": " · ".join([badge, *facts]),
        "reasons": "; ".join(_shorten(_clean(r.text), 160) for r in impression.reasons[:3]),
        "text": text,
        "more": more,
        "exploration": impression.policy is Policy.EXPLORATION,
        "links": {**asdict(links), "upstream": upstream},
    }


def _text(paper: Paper, detail: Detail, abstract_chars: int) -> tuple[str, str]:
    """Return what is shown of the abstract and the words of the link to the rest."""
    abstract, tldr = _spaced_urls(_clean(paper.abstract)), _spaced_urls(_clean(paper.tldr))
    if detail is Detail.TLDR:
        whole, limit = tldr or abstract, min(_TLDR_CHARS, abstract_chars)
    else:
        whole, limit = abstract or tldr, abstract_chars
    shown = _shorten(whole, limit, at_sentence=True)
    if shown != abstract and whole == abstract:
        return shown, "Rest of the abstract"
    return shown, "Abstract" if shown and whole == tldr != abstract else "More about it"


def _authors(names: Sequence[str]) -> str:
    """Name the first three and the last two of many authors."""
    if len(names) <= 6:
        shown, n_left = list(names), 0
    else:
        shown, n_left = [*names[:3], *names[-2:]], len(names) - 5
    shown = [name for name in (_shorten(_clean(name), 80) for name in shown) if name]
    if not n_left:
        return ", ".join(shown)
    return f"{', '.join(shown[:-2])}, … {', '.join(shown[-2:])} … and {n_left:,} more"


def _facts(paper: Paper) -> list[str]:
    facts = [" ".join(_shorten(_clean(category), 40) for category in paper.categories[:6])]
    facts.append(_day(paper.listed_on))
    if paper.upvotes is not None:
        facts.append(f"{paper.upvotes:,} {'upvote' if paper.upvotes == 1 else 'upvotes'}")
    return [fact for fact in facts if fact]


def _badge(source: str) -> str:
    scheme, _, name = source.partition(":")
    return _SOURCES.get(scheme) or _shorten(_clean(name or scheme), 40)


def _day(on: date) -> str:
    return f"{on.day} {on:%B %Y}"


def _few_titles(titles: Sequence[str], room: int) -> str:
    """Name as many titles as fit into `room` characters, each at least recognisable."""
    shown = _shorten(titles[0], room if len(titles) == 1 else min(room - 3, 70))
    for i, title in enumerate(titles[1:], start=2):
        left = room - len(shown) - 2 - (3 if i < len(titles) else 0)
        if left < min(24, len(title)):
            return f"{shown}, …" if not shown.endswith("…") else shown
        shown = f"{shown}, {_shorten(title, min(left, 70))}"
    return shown


def _preheader(slate: Slate, others: Sequence[str]) -> str:
    """Say what the subject left out, in 40 to 120 characters: mail programs show it beside it."""
    noun = "paper" if slate.n_candidates == 1 else "papers"
    start = f"Chosen from {slate.n_candidates:,} {noun} on {slate.on:%A}, {_day(slate.on)}"
    return _shorten(f"{start}. Also: {'; '.join(others)}" if others else f"{start}.", 118)


# -- text ------------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    return " ".join(_UNSAFE.sub(" ", text[:20_000]).split())


def _spaced_urls(text: str) -> str:
    """Part URLs from the letters around them where a script writes no spaces."""
    if text.isascii() or "://" not in text:
        return text
    return " ".join(_URL.sub(lambda m: f" {m.group()} ", text).split())


def _shorten(text: str, limit: int, *, at_sentence: bool = False) -> str:
    """Cut `text` to about `limit` characters at the end of a sentence or word, never in a URL."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    if at_sentence:
        ends = [m.end() for m in _SENTENCE_END.finditer(text[: limit + 2]) if m.end() <= limit]
        if ends and ends[-1] > limit // 2:
            return text[: ends[-1]]
    space = head.rfind(" ")
    if space > limit // 2 or "://" in head[space + 1 :] or text[limit] == " ":
        cut = limit if text[limit] == " " else max(space, 0)
    else:
        cut = _breakable(text, limit - 1)
    return head[:cut].rstrip(" ,;:\u2013\u2014-") + "…"


def _breakable(text: str, at: int) -> int:
    """Return the nearest place at or before `at` where no character is torn from its marks."""
    while at > 1 and (
        unicodedata.combining(text[at])
        or text[at] in "\u200d\ufe0f"
        or "\U0001f3fb" <= text[at] <= "\U0001f3ff"
        or text[at - 1] == "\u200d"
    ):
        at -= 1
    return at


def wrap(text: str, indent: str = "", width: int = _TEXT_WIDTH) -> str:
    """Wrap words greedily; the first line has its indent already, the others get `indent`.

    A word is broken only if it is longer than a line and holds no URL: textwrap would break URLs
    and hyphenated words, and takes ten times as long. East Asian characters count two columns.
    """
    lines: list[str] = []
    line, used, room = "", 0, width - len(indent)
    for word in text.split():
        columns = _columns(word)
        if line and used + 1 + columns <= room:
            line, used = f"{line} {word}", used + 1 + columns
            continue
        if line:
            lines.append(line)
        while columns > room and "://" not in word:
            cut = _breakable(word, _fitting(word, room)) or 1
            lines.append(word[:cut])
            word = word[cut:]
            columns = _columns(word)
        line, used = word, columns
    if line:
        lines.append(line)
    return f"\n{indent}".join(lines)


def _columns(word: str) -> int:
    if word.isascii():
        return len(word)
    return len(word) + sum(unicodedata.east_asian_width(c) in "WF" for c in word)


def _fitting(word: str, room: int) -> int:
    """Return how many of the first characters of a too long word fit into `room` columns."""
    used = 0
    for i, character in enumerate(word):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > room:
            return i
    return len(word)


def _check_links(links: DigestLinks) -> None:
    own = [links.unsubscribe, links.preferences, links.home]
    for paper in links.papers:
        own += [paper.page, paper.up, paper.down, paper.save, paper.less]
    for url in own:
        if not _LINK.fullmatch(url):
            raise MessageError(
                f"A link of the digest is not an http(s) URL of plain ASCII: it starts with "
                f"{url[:12]!r}. Check [site] base_url."
            )


# -- templates -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Templates:
    subject: Template
    text: Template
    html: Template


@cache
def _templates() -> _Templates:
    """Load the templates once; the CSS rules become style attributes before any digest exists."""
    import css_inline
    from jinja2 import Environment, StrictUndefined

    folder = templates_dir() / "email" / "digest"
    plain = Environment(
        autoescape=False,  # noqa: S701 - text/plain has no markup to escape into
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plain.filters["wrap"] = wrap
    html = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        block_start_string="<!--%",
        block_end_string="%-->",
        trim_blocks=True,
    )
    inliner = css_inline.CSSInliner(
        keep_at_rules=True,
        minify_css=True,
        remove_inlined_selectors=True,
        load_remote_stylesheets=False,
    )
    return _Templates(
        subject=plain.from_string((folder / "subject.txt").read_text("utf-8").strip()),
        text=plain.from_string((folder / "body.txt").read_text("utf-8")),
        html=html.from_string(inliner.inline((folder / "body.html").read_text("utf-8"))),
    )
