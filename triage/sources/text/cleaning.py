"""Where text from outside becomes ours: every source's records pass through `normalise`.

Clean text is Unicode NFC on one line, without control, bidirectional and invisible characters,
with TeX and markup made readable, and bounded. It is still text: `<script>` and `{{7*7}}` are words
here, and whoever shows them escapes them. Work is bounded too: text is cut before it is looked at.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from email.utils import parsedate_to_datetime
from typing import Final

from triage.domain.paper_ids import parse_doi, title_key
from triage.domain.source_records import FetchedPaper, Rejected
from triage.errors import RejectedRecord
from triage.sources.text import tex
from triage.sources.text.withdrawal import says_withdrawn

TITLE_CHARS: Final = 500
ABSTRACT_CHARS: Final = 10_000
COMMENT_CHARS: Final = 500
AUTHORS: Final = 200
AUTHOR_CHARS: Final = 100
CATEGORIES: Final = 50
CATEGORY_CHARS: Final = 60
RAW_CHARS: Final = 100_000
REJECTED_CHARS: Final = 2_000


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


# Text of plain printable ASCII needs none of the steps below.
_ANYTHING_ODD: Final = re.compile(r"[^ -~]|[\\$<&~{]|  |this http|``|--")
# Cc but white space, Cs, and the Cf that are invisible: soft hyphen, joiners, bidi marks, tags.
_UNWANTED: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31}[0-9]?);")
_TAG: Final = re.compile(
    r"<(?P<end>/?)(?:jats:|mml:)?(?P<name>[A-Za-z][A-Za-z0-9-]{0,20})(?:\s[^<>]{0,500})?/?>"
)
_SCRIPT_TAG: Final = re.compile(r"<(?:jats:)?(sub|sup)>([^<>]{1,40})</(?:jats:)?\1>")
_INLINE_TAGS: Final = _words(
    "a abbr b bold cite code em font i inline-formula italic math mi mn mo mrow ms mstyle msub "
    "msup msubsup mtext named-content q s sc small span strike strong styled-content sub sup tt u "
    "underline var xref ext-link monospace roman"
)
_BLOCK_TAGS: Final = _words(
    "abstract blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr li list list-item ol p pre sec "
    "section title ul disp-formula table tbody td th tr"
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


def normalise(record: FetchedPaper) -> FetchedPaper:
    """Clean one record, whose texts are as the source gave them.

    `raw_title` and `raw_abstract` keep the text as received, up to 100,000 characters, but for NUL
    and lone surrogates, which no database stores: U+FFFD stands for those. Where they are empty,
    they become what title and abstract were.

    Raises:
        RejectedRecord: there is no title, no abstract, or nothing to know the paper by.
    """
    title = clean(record.title, TITLE_CHARS)
    abstract = clean(record.abstract, ABSTRACT_CHARS)
    comment = clean(record.comment, COMMENT_CHARS)
    if not title:
        raise RejectedRecord("it has no title")
    if not abstract:
        raise RejectedRecord("it has no abstract")
    if record.source_id is None and not title_key(title):
        raise RejectedRecord("it has no id, and no letter or digit in its title to know it by")
    categories = _several(record.categories, CATEGORIES, CATEGORY_CHARS)
    return replace(
        record,
        title=title,
        abstract=abstract,
        raw_title=storable(record.raw_title or record.title, RAW_CHARS),
        raw_abstract=storable(record.raw_abstract or record.abstract, RAW_CHARS),
        authors=_several(record.authors, AUTHORS, AUTHOR_CHARS),
        categories=tuple(dict.fromkeys(categories)),
        comment=comment,
        tldr=clean(record.tldr, ABSTRACT_CHARS),
        withdrawn=says_withdrawn(abstract, comment),
    )


def clean(text: str, limit: int) -> str:
    """Return `text` as clean text of at most `limit` characters, cut at a word with `…`.

    Empty text, and text of white space and invisible characters alone, gives the empty string.
    """
    # Twice the limit is room for markup; what is beyond would be cut in any case.
    text, cut = text[: 2 * limit], len(text) > 2 * limit
    if _ANYTHING_ODD.search(text):
        text = _one_line(_UNWANTED.sub("", text))
        if "<" in text:
            text = _without_tags(text)
        if "&" in text:
            text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
            text = _UNWANTED.sub("", text)
        text = tex.to_unicode(_typography(text))
        text = unicodedata.normalize("NFC", _one_line(_UNWANTED.sub("", text)))
        if "this http" in text:
            text = _NO_LINK.sub("", text)
    return shorten(_one_line(text), limit, cut=cut)


def shorten(text: str, limit: int, *, cut: bool = False) -> str:
    """Return at most `limit` characters of `text`; when some are missing, a word and `…` end it."""
    if len(text) <= limit and not cut:
        return text
    head = text[: limit - 1]
    if len(text) >= limit and not text[limit - 1].isspace():
        blank = head.rfind(" ")
        if blank > limit // 2:
            head = head[:blank]
    return head.rstrip(" ,;:") + "…" if head.strip() else ""


def storable(text: str, limit: int) -> str:
    """Return the first `limit` characters with U+FFFD for what no database stores."""
    return _UNSTORABLE.sub("\ufffd", text[:limit])


def first_doi(text: str) -> str | None:
    """Return the first DOI of a field that may hold several with blanks between them."""
    return parse_doi(next(iter(text.split()), ""))


def mailed_day(text: str) -> date | None:
    """Return the day that an RFC 822 date names where it was written, such as midnight Eastern."""
    try:
        return parsedate_to_datetime(text.strip()).date()
    except (ValueError, OverflowError):
        return None


def written_day(text: str) -> date | None:
    """Return the day of `2026-06-30`, `2026-6-30`, or either followed by a time; else None."""
    found = _DAY.fullmatch(text.strip())
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def reject(reason: str, raw: str, where: str) -> Rejected:
    """Return the note that keeps a record which was not used."""
    return Rejected(reason=reason, raw=storable(raw, REJECTED_CHARS), where=where)


def _several(texts: Iterable[str], most: int, limit: int) -> tuple[str, ...]:
    kept: list[str] = []
    for text in texts:
        if len(kept) == most:
            break
        cleaned = clean(text, limit)
        if cleaned:
            kept.append(cleaned)
    return tuple(kept)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _without_tags(text: str) -> str:
    """Take known markup away. A tag is markup only if its end tag stands in the text too.

    So `a <b, c>` and `<i>` alone, which are mathematics, stay, and so does every unknown tag.
    """
    ended = {tag["name"].lower() for tag in _TAG.finditer(text) if tag["end"]}

    def instead(tag: re.Match[str]) -> str:
        name = tag["name"].lower()
        if name == "br" or (name in _BLOCK_TAGS and name in ended):
            return " "
        return "" if name in _INLINE_TAGS and name in ended else tag[0]

    def script(tag: re.Match[str]) -> str:
        written = tex.script("^" if tag[1] == "sup" else "_", tag[2])
        return tag[2] if written[:1] in {"^", "_"} else written

    return _TAG.sub(instead, _SCRIPT_TAG.sub(script, text))


def _typography(text: str) -> str:
    """Replace TeX's spelling of quotation marks, dashes and unbreakable blanks."""
    if "``" in text:
        text = text.replace("``", "“").replace("''", "”")
    if "--" in text:
        text = text.replace(" --- ", " — ").replace(" -- ", " \u2013 ")
        text = re.sub(r"(?<=\w)---(?=\w)", "—", text)
        text = re.sub(r"(?<=\d)--(?=\d)", "\u2013", text)
    if "~" in text:
        text = re.sub(r"(?:(?<=[A-Za-z]{2})|(?<=[A-Za-z]\.))~(?=[\w($\\])", " ", text)
    return text
