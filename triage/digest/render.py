"""Turn a slate into the subject, text and HTML of a digest.

Upstream text is shown as text and nothing else: it is cleaned again here, HTML is escaped by the
template engine, and only the links that the caller built become links. Text and HTML show the same
papers with the same words and the same links.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from triage.digest.contribution import choose_teaser
from triage.digest.templates import environment
from triage.domain.chances import describe_chance
from triage.domain.paper_ids import source_name
from triage.domain.plain_text import clean, shorten, wrap
from triage.domain.records import (
    Detail,
    DigestLinks,
    EventKind,
    Impression,
    Paper,
    PaperLinks,
    Policy,
    RenderedDigest,
    RenderedNote,
    Slate,
)
from triage.domain.vote_texts import VOTE_WORDS
from triage.errors import MessageError
from triage.resources import templates_dir

if TYPE_CHECKING:
    from jinja2 import Environment, Template

# Gmail cuts a message off near 102 kB of encoded HTML, and with it the way to unsubscribe.
MAX_HTML_BYTES = 80_000
MAX_MESSAGE_BYTES = 150_000
_HEADERS_BYTES = 6_000

# How many characters of a paper's text are shown: the first is the choice of taste, the others are
# tried in turn when the whole is too large.
_ABSTRACT_CHARS = (600, 400, 260, 160)
_TLDR_CHARS = 320
_REASONS_CHARS = 168
_SUBJECT_CHARS = 100
_LISTED_CHARS = 160
_GLANCE_CHARS = 90
_DAY_REPORT_CHARS = 900

EXPLORATION = "Exploration: outside your usual picks, to learn what else you like"
VOTES_NOTE = (
    "Opening a link changes nothing: a vote counts when you press the button on its page. "
    "Every vote shapes your next digest."
)
MAILED_VOTES_NOTE = (
    "A vote is a mail: press Send, and it counts when it arrives. Its text is not read. Every vote "
    "shapes your next digest."
)

_LINK = re.compile(r"https?://[A-Za-z0-9\[][!#-;=?-~]*")
_MAILTO = re.compile(r"mailto:[A-Za-z0-9][A-Za-z0-9%@._~-]*\?subject=[A-Za-z0-9%._~-]+")


def render_digest(slate: Slate, links: DigestLinks, site_name: str) -> RenderedDigest:
    """Render a slate, made to fit into what mail programs show.

    A digest that is too large first shows less of each abstract and then fewer papers;
    `n_papers` tells how many of the slate's first papers it shows.

    Args:
        slate: one paper or more.
        links: `links.papers[i]` belongs to `slate.impressions[i]`.
        site_name: how the sender calls itself.

    Raises:
        MessageError: there is no paper, links are missing, one of them is not a URL, or the digest
            is too large even with a single paper.
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


def _revised_title(paper: Paper) -> str:
    version = f" (revised, v{paper.version})" if paper.version else " (revised)"
    return shorten(clean(paper.title), _LISTED_CHARS) + version


def encoded_size(body: str) -> int:
    """Return the size of an encoded body in bytes: quoted-printable or base64, the smaller."""
    quoted = binascii.b2a_qp(body.encode())
    n_lines = body.count("\n")
    n_packed = -(-(len(body.encode()) + n_lines) // 3) * 4
    return min(len(quoted) + quoted.count(b"\n"), n_packed + 2 * (n_packed // 76)) + 2


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
    in_subject, in_text, in_html = _digest()
    site = shorten(clean(site_name), 60)
    whys = _whys([impression for impression, _ in parts])
    papers = [
        _view(impression, paper_links, slate.subscriber.detail, abstract_chars) | {"why": why}
        for (impression, paper_links), why in zip(parts, whys, strict=True)
    ]
    n = len(papers)
    heading = f"{n} {'paper' if n == 1 else 'papers'} for you"
    titles = [paper["title"] for paper in papers]
    named = _first_titles(titles, _SUBJECT_CHARS - len(heading) - 2)
    subject = in_subject.render(heading=heading, titles="; ".join(named))
    context = {
        "subject": subject,
        "preheader": _preheader(slate, titles[len(named) :]),
        "heading": heading,
        "day": f"{slate.on:%A}, {_day(slate.on)}",
        "site_name": site,
        "day_report": shorten(clean(slate.day_report), _DAY_REPORT_CHARS),
        "exploratory": _exploratory(papers),
        "papers": papers,
        "n_dropped": len(slate.impressions) - n,
        "exploration": EXPLORATION,
        "votes_note": VOTES_NOTE if links.home else MAILED_VOTES_NOTE,
        "revised": [
            {"title": _revised_title(paper), "url": url}
            for paper, url in zip(slate.revised, links.revised, strict=True)
        ],
        "recap": [
            {"title": shorten(clean(paper.title), _LISTED_CHARS) or "(without a title)", "url": url}
            for paper, url in zip(slate.recap, links.recap, strict=True)
        ],
        "why_note": f"This address is subscribed to the {slate.subscriber.frequency.value} "
        f"digest of {site}.",
        "links": links,
    }
    return RenderedDigest(
        subject=subject,
        text=in_text.render(context),
        html=in_html.render(context),
        n_papers=n,
    )


def render_note(name: str, link: str, site_name: str) -> RenderedNote:
    """Render an account mail; the first line of its template is the subject.

    Args:
        name: of the template: `confirm`, `already`, `login` or `goodbye`.
        link: stands by itself on its line, so that no mail program breaks it.

    Raises:
        MessageError: the link is not an http(s) URL.
    """
    if not _LINK.fullmatch(link):
        raise MessageError("A mail's link is not an http(s) URL. Check [site] base_url.")
    text = (
        _plain()
        .get_template(f"note/{name}.txt")
        .render(site_name=shorten(clean(site_name), 60), link=link)
    )
    subject, _, body = text.partition("\n")
    lines = [line if line == link else wrap(line) for line in body.split("\n")]
    return RenderedNote(subject, "\n".join(lines).strip() + "\n")


# -- what is shown of a paper ----------------------------------------------------------------------


def _view(
    impression: Impression, links: PaperLinks, detail: Detail, abstract_chars: int
) -> dict[str, Any]:
    upstream = links.upstream if _LINK.fullmatch(links.upstream) else links.page
    by_kind = {
        EventKind.VOTE_UP: links.up,
        EventKind.SAVE: links.save,
        EventKind.VOTE_DOWN: links.down,
        EventKind.LESS_LIKE_THIS: links.less,
    }
    return {
        **_view_of_all(impression.paper, detail, abstract_chars),
        "exploration": impression.policy is Policy.EXPLORATION,
        "votes": [(word, by_kind[kind]) for kind, word in VOTE_WORDS.items()],
        "links": {**asdict(links), "upstream": upstream},
    }


@lru_cache(maxsize=4_096)
def _view_of_all(paper: Paper, detail: Detail, abstract_chars: int) -> Mapping[str, str]:
    """Return what is shown of a paper to everybody; on one day, many get the same papers."""
    title = shorten(clean(paper.title), 300) or "(without a title)"
    badge = shorten(clean(source_name(paper.source)), 40)
    facts = _facts(paper)
    text, more = _text(paper, detail, abstract_chars)
    return {
        "title": title,
        "short_title": shorten(title, _GLANCE_CHARS),
        "authors": _authors(paper.authors),
        "badge": badge,
        "after_badge": "".join(f" · {fact}" for fact in facts),
        "facts": " · ".join([badge, *facts]),
        "text": text,
        "more": more,
    }


def _text(paper: Paper, detail: Detail, abstract_chars: int) -> tuple[str, str]:
    """Return what the paper contributes, and the text of the link to the whole abstract."""
    abstract, tldr = clean(paper.abstract), clean(paper.tldr)
    limit = min(_TLDR_CHARS, abstract_chars) if detail is Detail.TLDR else abstract_chars
    if tldr and (detail is Detail.TLDR or not abstract):
        return shorten(tldr, limit, at_sentence=True), "Abstract" if abstract else "More about it"
    shown = choose_teaser(abstract, limit)
    return shown, "More about it" if shown == abstract else "Full abstract"


def _authors(names: Sequence[str]) -> str:
    """Return the first three and the last two of many authors."""
    first, last = (names, ()) if len(names) <= 6 else (names[:3], names[-2:])
    told, rest = (
        ", ".join(filter(None, (shorten(clean(name), 80) for name in part)))
        for part in (first, last)
    )
    return f"{told} … {rest} ({len(names):,} authors)" if last else told


def _facts(paper: Paper) -> list[str]:
    facts = [" ".join(shorten(clean(category), 40) for category in paper.categories[:6])]
    facts.append(_day(paper.listed_on))
    if paper.upvotes is not None:
        facts.append(f"{paper.upvotes:,} {'upvote' if paper.upvotes == 1 else 'upvotes'}")
    facts.append(shorten(clean(paper.venue), 60))
    if paper.citations:  # a new paper has none, which says nothing
        facts.append(f"{paper.citations:,} {'citation' if paper.citations == 1 else 'citations'}")
    return [fact for fact in facts if fact]


def _day(on: date) -> str:
    return f"{on.day} {on:%B %Y}"


def _whys(shown: Sequence[Impression]) -> list[str]:
    """Return for each paper how likely a vote is, the strongest reason, and a second short one.

    A reason that a paper above has, too, is not told again: its number is.
    """
    first_with: dict[str, int] = {}
    whys = []
    for number, impression in enumerate(shown, start=1):
        if impression.policy is Policy.EXPLORATION:
            whys.append("")  # its label says it
            continue
        reasons = [shorten(clean(reason.text), 160) for reason in impression.reasons]
        new = [reason for reason in reasons[1:] if reason not in first_with]
        told = reasons[:1]
        if told and told[0] in first_with:
            told = [f"as for number {first_with[told[0]]}"]
        if told and new and len("; ".join((told[0], new[0]))) <= _REASONS_CHARS:
            told.append(new[0])
        for reason in (*reasons[:1], *told[1:]):
            first_with.setdefault(reason, number)
        likelihood = describe_chance(impression).capitalize()
        why = f"Why: {'; '.join(told)}" if told else ""
        whys.append(f"{likelihood}. {why}" if likelihood else why)
    return whys


def _exploratory(papers: Sequence[dict[str, Any]]) -> str:
    n = sum(paper["exploration"] for paper in papers)
    if not n:
        return ""
    return "One of them is an exploration." if n == 1 else f"{n} of them are explorations."


def _first_titles(titles: Sequence[str], room: int) -> list[str]:
    """Return the titles that fit into `room` characters, each long enough to recognise."""
    named = [shorten(titles[0], room)]
    for title in titles[1:]:
        room -= len(named[-1]) + 2
        if room < min(24, len(title)):
            break
        named.append(shorten(title, room))
    return named


def _preheader(slate: Slate, others: Sequence[str]) -> str:
    """Return 40 to 120 characters that mail programs show beside the subject."""
    chosen = (
        f"Chosen from {slate.n_candidates:,} {'paper' if slate.n_candidates == 1 else 'papers'}"
    )
    also = shorten(f"{chosen}. Also: {'; '.join(others)}", 118) if others else ""
    return also if len(also) >= 40 else f"{chosen} on {slate.on:%A}, {_day(slate.on)}."


def _check_links(links: DigestLinks) -> None:
    pages = [paper.page for paper in links.papers]
    mails = [url for paper in links.papers for _, url in paper.mails]
    own = pages if links.home else mails
    own.append(links.unsubscribe)
    for paper in links.papers:
        pages += [url for _, url in paper.resources]
        own += [paper.up, paper.down, paper.save, paper.less]
    if links.home:
        pages += [links.preferences, links.home]
    for form, urls in ((_LINK, pages), (_MAILTO, mails)):
        for url in urls:
            if not form.fullmatch(url):
                raise MessageError(
                    f"A link of the digest is not an http(s) or mailto URL of plain ASCII: it "
                    f"starts with {url[:12]!r}. Check base_url and contact in [site], and bounces "
                    "in [mail]."
                )


# -- templates -------------------------------------------------------------------------------------


@cache
def _plain() -> Environment:
    plain = environment("email", autoescape=False)
    plain.filters["wrap"] = wrap
    return plain


@cache
def _digest() -> tuple[Template, Template, Template]:
    """Return subject, text and HTML; the CSS rules become style attributes here, once."""
    import css_inline

    body = (templates_dir() / "email/digest/body.html").read_text("utf-8")
    plain = _plain()
    html = environment(
        "email", block_start_string="<!--%", block_end_string="%-->", lstrip_blocks=False
    )
    inliner = css_inline.CSSInliner(
        keep_at_rules=True,
        minify_css=True,
        remove_inlined_selectors=True,
        load_remote_stylesheets=False,
    )
    return (
        plain.get_template("digest/subject.txt"),
        plain.get_template("digest/body.txt"),
        html.from_string(inliner.inline(body)),
    )
