"""Cleans the text of all sources: every record passes through `normalise`.

Clean text is Unicode NFC on one line of limited length, without control, bidirectional and
invisible characters, with TeX and markup made readable. It is not escaped: `<script>` and `{{7*7}}`
are words here. Text is cut before it is processed, so the work is limited, too.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import islice
from typing import Final, TypeVar

from triage.domain.paper_ids import parse_doi, title_key
from triage.domain.plain_text import storable
from triage.domain.source_records import FetchedPaper, Rejected
from triage.errors import RejectedRecord
from triage.sources.text import mathml, tex
from triage.sources.text.dates import says_year
from triage.sources.text.hyphenation import join_words
from triage.sources.text.withdrawal import says_withdrawn

R = TypeVar("R")
T = TypeVar("T")

TITLE_CHARS: Final = 500
ABSTRACT_CHARS: Final = 10_000
COMMENT_CHARS: Final = 500
AUTHORS: Final = 200
AUTHOR_CHARS: Final = 100
CATEGORIES: Final = 50
CATEGORY_CHARS: Final = 60
RAW_CHARS: Final = 100_000
REJECTED_CHARS: Final = 2_000
NOTE_CHARS: Final = 400
MOST_REJECTED: Final = 0.2


# Cc except white space, Cs, and the invisible Cf: soft hyphen, joiners, bidi marks, tags.
_UNWANTED: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_TIE: Final = re.compile(r"(?<!\\)~")
_MOST_ESCAPED: Final = 4
# At the end of a line it is the hyphen of a broken word.
_SOFT_HYPHEN: Final = re.compile(r"\xad[^\S\n]*\n\s*")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31}[0-9]?);")
_TAG: Final = re.compile(
    r"<(?P<end>/?)(?:jats:|mml:)?(?P<name>[A-Za-z][A-Za-z0-9-]{0,20})(?:\s[^<>]{0,500})?/?>"
)
_WRAPPED: Final = re.compile(r"<!--.{0,500}?-->|<!\[CDATA\[(.{0,5000}?)\]\]>")
_SCRIPT_TAG: Final = re.compile(r"<(?:jats:)?(sub|sup)>([^<>]{1,40})</(?:jats:)?\1>")
_INLINE_TAGS: Final = frozenset(
    "a abbr alternatives b bold cite code em font i inline-formula italic math mi mn mo mrow ms "
    "mstyle msub msup msubsup mtext named-content q s sc small span strike strong styled-content "
    "sub sup tt u underline var xref ext-link monospace roman scp".split()
)
_BLOCK_TAGS: Final = frozenset(
    "abstract blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr li list list-item ol p pre sec "
    "section st title ul disp-formula table tbody td th tr".split()
)
_DAY: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?", re.ASCII)
_LINK: Final = r"(?:\[this https? URL\]\(this https? URL\)|this https? URL)"
_LEAD: Final = r"(?:at|via|on|in|from|through|see|under|here|and|visit|is)"
_WORDS: Final = r"(?:[\w&/-]{1,20} ){0,2}[\w&/-]{1,20}"
_NO_LINK: Final = re.compile(
    # “(code: this https URL)”, a whole bracket
    rf" ?[(\[](?:[^()\[\]]{{0,30}}[ :])?{_LINK} ?[)\]]"
    # “Project page: this https URL.”, a whole sentence
    rf"|(?:(?<=[.!?;] )|(?<![\s\S])){_WORDS}: ?{_LINK}(?: ?[.;]|$)"
    # “… is available at: this https URL”
    rf"|[ ,:]{{0,2}}(?:\b{_LEAD}\b[ :]{{0,2}})?{_LINK}(?: (?=[.,;:!?)]))?"
)


def normalise(record: FetchedPaper, *, needs_abstract: bool = True) -> FetchedPaper:
    """Clean one record, whose texts are as received.

    `raw_title` and `raw_abstract` keep up to 100,000 characters of the text as received, with
    U+FFFD for NUL and lone surrogates, which databases reject. Empty ones become the title and
    abstract before cleaning.

    Raises:
        RejectedRecord: it has no title, no abstract although it needs one, or neither an id nor a
            usable title.
    """
    title = require(clean(record.title, TITLE_CHARS), "it has no title")
    abstract = clean(record.abstract, ABSTRACT_CHARS)
    comment = clean(record.comment, COMMENT_CHARS)
    if needs_abstract:
        require(abstract, "it has no abstract")
    if record.source_id is None and not title_key(title):
        raise RejectedRecord("it has no id, and its title has no letter or digit")
    categories = _several(record.categories, CATEGORIES, CATEGORY_CHARS)
    return replace(
        record,
        title=title,
        abstract=abstract,
        raw_title=storable((record.raw_title or record.title)[:RAW_CHARS]),
        raw_abstract=storable((record.raw_abstract or record.abstract)[:RAW_CHARS]),
        authors=_several(record.authors, AUTHORS, AUTHOR_CHARS),
        categories=tuple(dict.fromkeys(categories)),
        comment=comment,
        tldr=clean(record.tldr, ABSTRACT_CHARS),
        withdrawn=says_withdrawn(abstract, comment),
    )


def clean(text: str, limit: int, *, is_bibtex: bool = False) -> str:
    """Return clean text of at most `limit` characters, cut at a word with `…`; it may be empty.

    Args:
        is_bibtex: `~` is a blank, and braces that no command needs are removed, as in `{DNA}`.
    """
    # Twice the limit leaves room for markup; the rest would be cut in any case.
    text, cut = text[: 2 * limit], len(text) > 2 * limit
    if _is_plain(text) and not is_bibtex:
        text = text.strip()
    else:
        text = _one_line(_without_unwanted(_SOFT_HYPHEN.sub("", text)))
        text = _without_markup(text)
        if is_bibtex:
            text = _TIE.sub(" ", text)
        text = tex.to_unicode(_typography(text), is_bibtex=is_bibtex)
        text = unicodedata.normalize("NFC", _one_line(_without_unwanted(text)))
        if "this http" in text:
            text = _NO_LINK.sub("", text)
        text = _one_line(text)
    return shorten(join_words(text), limit, cut=cut)


def shorten(text: str, limit: int, *, cut: bool = False) -> str:
    """Return at most `limit` characters of `text`; shorter text ends with a whole word and `…`."""
    if len(text) <= limit and not cut:
        return text
    head = text[: limit - 1]
    if len(text) >= limit and not text[limit - 1].isspace():
        blank = head.rfind(" ")
        if blank > limit // 2:
            head = head[:blank]
    return head.rstrip(" ,;:") + "…" if head.strip() else ""


def first_doi(text: str) -> str | None:
    """Return the first DOI of a field that may have several, separated by spaces."""
    return parse_doi(text.split(maxsplit=1)[0]) if text.strip() else None


def parse_mail_date(text: str) -> date | None:
    """Return the day of an RFC 822 date in its own time zone, or None."""
    try:
        day = parsedate_to_datetime(text.strip()).date()
    except (ValueError, OverflowError):
        return None
    return day if says_year(text, day.year) else None


def parse_day(text: str) -> date | None:
    """Return the day of `2026-06-30`, `2026-6-30`, or either followed by a time; else None."""
    found = _DAY.fullmatch(text.strip())
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def reject(reason: str, raw: str, where: str) -> Rejected:
    """Return a rejected record, cut to what the database keeps of it."""
    return Rejected(reason=reason, raw=storable(raw[:REJECTED_CHARS]), where=where)


def explain_rejected(what: str) -> str:
    """Return what is wrong if more than MOST_REJECTED of the records of a day were rejected."""
    return (
        f"More than a fifth of {what} could not be used, so the format must have changed. They are"
        " in quarantine, and the next fetch reads them again."
    )


def require(value: T | None, why: str) -> T:
    """Return a value that a record must have; raise RejectedRecord if it is empty or missing."""
    if not value:
        raise RejectedRecord(why)
    return value


def parse_each(
    items: Iterable[T], parse: Callable[[T], R], show: Callable[[T], str], place: str
) -> tuple[list[R], list[Rejected]]:
    """Parse items that may be unusable, each alone; `show` gives the text that is kept of one.

    Args:
        place: what the number of an item is appended to, from 1 on.
    """
    parsed: list[R] = []
    rejected: list[Rejected] = []
    for number, item in enumerate(items, 1):
        try:
            parsed.append(parse(item))
        except RejectedRecord as error:
            rejected.append(reject(str(error), show(item), f"{place} {number}"))
    return parsed, rejected


def _several(texts: Iterable[str], most: int, limit: int) -> tuple[str, ...]:
    """Return the first `most` texts that are not empty once cleaned."""
    return tuple(islice(filter(None, (_clean_name(text, limit) for text in texts)), most))


# Names and categories come again and again.
_clean_name: Final = lru_cache(maxsize=1 << 14)(clean)


def _is_plain(text: str) -> bool:
    """Tell whether a text needs no cleaning. Written out, since most text passes only here."""
    return (
        text.isascii()
        and text.isprintable()
        and not (
            "\\" in text or "$" in text or "<" in text or "&" in text or "~" in text or "{" in text
            or "  " in text or "--" in text or "``" in text or "this http" in text
        )
    )  # fmt: skip


def _without_unwanted(text: str) -> str:
    # All unwanted characters are unprintable; the pattern takes a hundred times as long.
    return text if text.isprintable() else _UNWANTED.sub("", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _without_markup(text: str) -> str:
    """Remove tags and read entities; feeds often have both escaped once more."""
    for _ in range(_MOST_ESCAPED):
        before = text
        if "<" in text:
            text = _without_tags(text)
        if "&" in text:
            text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
            text = _UNWANTED.sub("", text)
        if text == before:
            break
    return text


def _without_tags(text: str) -> str:
    """Remove known tags whose end tag is in the text, too.

    So unknown tags stay, as do `a <b, c>` and a single `<i>`, which are mathematics.
    """
    if "<!" in text:
        text = _WRAPPED.sub(r"\1", text)
    if "math" in text:
        text = mathml.to_text(text)
    ended = {tag["name"].lower() for tag in _TAG.finditer(text) if tag["end"]}

    def instead(tag: re.Match[str]) -> str:
        name = tag["name"].lower()
        if name == "br" or (name in _BLOCK_TAGS and name in ended):
            return " "
        return "" if name in _INLINE_TAGS and name in ended else tag[0]

    def script(tag: re.Match[str]) -> str:
        return tex.plain_script("^" if tag[1] == "sup" else "_", tag[2])

    return _TAG.sub(instead, _SCRIPT_TAG.sub(script, text))


def _typography(text: str) -> str:
    if "``" in text:
        text = text.replace("``", "“").replace("''", "”")
    if "--" in text:
        text = text.replace(" --- ", " — ").replace(" -- ", " \u2013 ")
        text = re.sub(r"(?<=\w)---(?=\w)", "—", text)
        text = re.sub(r"(?<=\d)--(?=\d)", "\u2013", text)
    if "~" in text:
        text = re.sub(r"(?:(?<=[A-Za-z]{2})|(?<=[A-Za-z]\.))~(?=[\w($\\])", " ", text)
    return text
