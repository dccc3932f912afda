"""Parses arXiv ids, DOIs and titles, and makes links from them.

Ids come from outside, so every link is built from validated parts and a fixed host. Grammars:
https://info.arxiv.org/help/arxiv_identifier.html and the DOI handbook, section 2.2.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final
from urllib.parse import quote, unquote

from triage.domain.plain_text import fold

_ARCHIVES: Final = (
    "acc-phys adap-org alg-geom ao-sci astro-ph atom-ph bayes-an chao-dyn chem-ph cmp-lg comp-gas "
    "cond-mat cs dg-ga funct-an gr-qc hep-ex hep-lat hep-ph hep-th math math-ph mtrl-th nlin "
    "nucl-ex nucl-th patt-sol physics plasm-ph q-alg q-bio quant-ph solv-int supr-con"
)
# Sites that show papers of arXiv under arXiv's own ids.
_SITE: Final = (
    r"(?:(?:arxiv|alphaxiv|ar5iv)\.org{0}(?:abs|pdf|html|format|src|e-print|ps|overview){0}"
    r"|arxiv-vanity\.com{0}papers{0}|(?:huggingface|hf)\.co{0}papers{0}"
    r"|semanticscholar\.org{0}arxiv{0})(?:arxiv:)?"
)
_SLASH: Final = r"(?:/|%2f)"
_NUMBER: Final = (
    r"(?:(?P<month>[0-9]{4})\.(?P<number>[0-9]{4,5})"
    r"|(?P<archive>[a-z]{2,8}(?:-[a-z]{2,5})?)(?:\.[a-z]{2})?/"
    r"(?P<old>[0-9]{2}(?:0[1-9]|1[0-2])[0-9]{3}))"
)
_ARXIV: Final = re.compile(
    rf"(?:(?:https?://)?(?:[a-z0-9-]+\.)*{_SITE.format('/')}|(?:oai:arxiv\.org|arxiv):\s*)?{_NUMBER}"
    r"(?:v(?P<version>[1-9][0-9]{0,2}))?(?:\.pdf)?(?:[?\#].*)?/?"
    # The stamp on the first page of a paper: “[cs.LG] 3 Jan 2024”.
    r"(?:\s*\[[a-z.-]+\](?:\s+[0-9]{1,2}\s+[a-z]{3}\s+[0-9]{4})?)?",
    re.ASCII | re.IGNORECASE,
)
_DOI_PREFIX: Final = re.compile(
    r"\A(?:(?:https?://)?(?:(?:www|dx)\.)?doi\.org/|(?:info:|urn:)?doi[:/]\s*)+",
    re.ASCII | re.IGNORECASE,
)
_DOI: Final = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*/[!\x23-\x5b\x5d-\x7e]{1,250}", re.ASCII)
_ARXIV_DOI: Final = "10.48550/arxiv."
_OF_DOI: Final = r"[!#-;=?-\[\]_a-z~]"
_IN_TEXT: Final = re.compile(
    rf"(?P<doi>(?<![\d$€£])(?<!\d\.)10\.\d{{4,9}}(?:\.\d+){{0,4}}{_SLASH}"
    # A DOI ends where another id or the target of a link in Markdown begins.
    rf"(?:(?!https?:|\]\(|[,;|]10\.\d{{4,9}}/){_OF_DOI}){{1,300}}"
    # The only DOIs with angle brackets are those of ANSI/NISO Z39.56 (SICI).
    rf"(?:<{_OF_DOI}{{1,60}}>\d\.\d\.[a-z]{{2}}[;.]2(?:-[\da-z\#])?)?)"
    rf"|nature\.com{_SLASH}articles{_SLASH}"
    r"(?P<nature>s4\d{4}-\d{3}-\d{4,5}-[\dw-z]|(?:nature|ncomms|srep)\d{4,5})(?!\w)"
    rf"|(?:{_SITE.format(_SLASH)}|\barxiv(?:\.org)?(?:%3a|%2f|[\s:./_~-]){{0,3}}"
    rf"|\b(?:abs|eprint)/|(?P<bare>(?<![\w./-]))){_NUMBER}(?:v\d+)?(?!\d|\.\d)",
    re.ASCII | re.IGNORECASE,
)
# What makes a number before or after it a price, a quantity or a telephone number.
_BEFORE_NUMBERS: Final = re.compile(
    r"(?:[$€£¥≈~±×]\s?|\s[=<>]\s?|\+\d[\d ()/-]*|\b(?:tel|phone|fax|usd|eur|price)\W{0,3})$",
    re.ASCII | re.IGNORECASE,
)
_AFTER_NUMBERS: Final = re.compile(
    r"\w|,\d{3}(?!\d)|[ \t]?(?:[%°$€£±×]|(?:[kMGTcmµnp]?(?:m|s|g|Hz|eV|J|W|V|K|Pa|L)|mol|USD|EUR"
    r"|GBP|euros?|dollars?|pounds?|years?|days?|hours?|minutes?|seconds?)\b)",
    re.ASCII,
)
# What publishers' pages append to the DOI in their addresses.
_PAGE_OF_DOI: Final = re.compile(
    r"(?:/(?:full(?:text)?|abstract|e?pdf|pdfdirect|meta|metrics|summary|html?|references"
    r"|(?:figures|tables)/\d+)|\.(?:pdf(?:\+html)?|html?|full|long|short|abstract)|&[a-z_]+=.*|\?(?:[\w.&]+(?:=.*)?)?|\#[\w.:~=/-]*"
    r"|[]/.,:;'\"*)])$",
    re.ASCII | re.IGNORECASE,
)
_SICI: Final = re.compile(r"[^<>]*<[^<>]*>\d\.\d\.[a-z]{2}[;.]2(?:-[\da-z#])?", re.ASCII)
# DOIs of bioRxiv and medRxiv have no version, but addresses of their pages do.
_PREPRINT_VERSION: Final = re.compile(r"(10\.(?:1101|64898)/.*?\d)(?:v\d+)+(?:\..*)?", re.ASCII)
_HYPHENS: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
_INVISIBLE: Final = (0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
                     *range(0x2060, 0x2070), 0xFEFF)  # fmt: skip
# Full-width forms are those of ASCII, 0xFEE0 higher.
_TYPED: Final[dict[int, str | None]] = {
    **{c + 0xFEE0: chr(c) for c in range(0x21, 0x7F)},
    **dict.fromkeys(map(ord, _HYPHENS), "-"),
    **dict.fromkeys(map(ord, "\xa0\u202f\u3000"), " "),
    **dict.fromkeys(_INVISIBLE),
}
_ESCAPES: Final = (
    (re.compile(r"\$\s*([<>])\s*\$|\{?\\([_&%#$/])\}?"), r"\1\2"),
    (re.compile(r"&(?:amp;)*(?:lt|#60|#x3c);|\{?\\textless(?:\s*\{\}|\}|\s)?", re.IGNORECASE), "<"),
    (
        re.compile(r"&(?:amp;)*(?:gt|#62|#x3e);|\{?\\textgreater(?:\s*\{\}|\}|\s)?", re.IGNORECASE),
        ">",
    ),
    (re.compile(r"&(?:amp;)*quot;", re.IGNORECASE), '"'),
    (re.compile(r"&(?:amp;)+", re.IGNORECASE), "&"),
)
_ONE_LINK: Final = re.compile(r"\W{0,3}https?://\S+", re.IGNORECASE)
_WRAPPERS: Final = "<>()[]{}\"'“”‘’.,;: "
# Only the feed source makes ids of this form, from pages on the feed's own site.
_FEED_PAGE: Final = re.compile(
    r"https://[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+/[A-Za-z0-9%/:=&?~+!$,;@*._-]*", re.ASCII
)
_SOURCE_NAMES: Final = {
    "arxiv": "arXiv",
    "biorxiv": "bioRxiv",
    "medrxiv": "medRxiv",
    "hf_daily": "Hugging Face",
    "listing": "Hugging Face",
    "doi": "DOI",
    "import": "import",
}
_LONGEST_ID: Final = 400
_LONGEST_QUERY: Final = 200
_LONGEST_KEY: Final = 500


def find_ids(text: str) -> list[tuple[str, str]]:
    """Return the arXiv ids (`arxiv`) and DOIs (`doi`) in any text, each once, in order.

    Links count, whatever site shows the paper. A number alone counts if it has the form of an id
    of arXiv, and nothing beside it makes it a price, a quantity or a part of a longer number.
    """
    text = plainly_typed(text)
    found: dict[tuple[str, str], None] = {}
    for mention in _IN_TEXT.finditer(text):
        if mention["doi"] or mention["nature"]:
            named = identify(mention["doi"] or f"10.1038/{mention['nature']}")
        elif mention["bare"] is not None and _is_quantity(text, mention):
            continue
        else:
            number, old = mention["number"], mention["old"]
            named = identify(
                f"{mention['month']}.{number}" if number else f"{mention['archive']}/{old}"
            )
        if named is not None:
            found.setdefault(named[:2])
    return list(found)


def identify(text: str) -> tuple[str, str, int | None] | None:
    """Return `(source, source_id, version)` of an arXiv id (`arxiv`) or a DOI (`doi`), else None.

    The text is an id, or a link that contains one. A DOI of arXiv gives the arXiv id.
    """
    if len(text) > _LONGEST_ID:
        return None
    text = plainly_typed(text).strip()
    for bare in (text, text.strip(_WRAPPERS)):
        doi = parse_doi(bare)
        arxiv = parse_arxiv(doi or bare)
        if arxiv is not None:
            return ("arxiv", *arxiv)
        if doi is not None:
            return ("doi", doi, None)
    if _ONE_LINK.fullmatch(text):
        named = find_ids(text)
        return (*named[0], None) if len(named) == 1 else None
    return None


def parse_arxiv(text: str) -> tuple[str, int | None] | None:
    """Parse an arXiv id, link or DOI into the canonical id and the version.

    Accepts `2401.00001v2`, `hep-th/9901001`, `math.GT/0309136`, `arXiv:…`, links to arxiv.org
    and to other sites with pages for arXiv's papers, and `10.48550/arXiv.…`.

    Returns:
        The id without version and without the subject class of old ids, and the version or None;
        None if the text is no arXiv id.
    """
    if len(text) > _LONGEST_ID:
        return None
    text = plainly_typed(text).strip()
    bare = _DOI_PREFIX.sub("", text, count=1)
    if bare[: len(_ARXIV_DOI)].lower() == _ARXIV_DOI:
        text = bare[len(_ARXIV_DOI) :]
    found = _ARXIV.fullmatch(text)
    if found is None:
        return None
    version = int(found["version"]) if found["version"] else None
    if found["old"]:
        archive, old = found["archive"].lower(), found["old"]
        # Ids of this form were given from July 1991 to March 2007.
        is_id = archive in _ARCHIVES.split() and (old >= "9107" or old < "0704")
        return (f"{archive}/{old}", version) if is_id else None
    month = found["month"]
    # Ids of this form begin in April 2007 and have five digits after the dot since January 2015.
    n_digits = 4 if month < "1501" else 5
    if not "01" <= month[2:] <= "12" or month < "0704" or len(found["number"]) != n_digits:
        return None
    return f"{month}.{found['number']}", version


def arxiv_month(id: str) -> date:
    """Return the first day of the month in an arXiv id; both forms of ids begin with YYMM."""
    digits = id.rpartition("/")[2]
    year = int(digits[:2])
    return date(1900 + year if "/" in id and year > 90 else 2000 + year, int(digits[2:4]), 1)


def parse_doi(text: str) -> str | None:
    """Return the DOI that `text` is (bare, `doi:…` or a doi.org link), in lower case, or None.

    What pages append to DOIs, such as `/abstract`, `?rss=1` and the version at bioRxiv, is removed.
    """
    if len(text) > _LONGEST_ID:
        return None
    text = plainly_typed(text).strip()
    doi = _DOI_PREFIX.sub("", text, count=1).lower()
    while (decoded := unquote(doi)) != doi:
        doi = decoded
    doi = _without_page(doi)
    # A browser would resolve dot segments to another path on doi.org.
    if not _DOI.fullmatch(doi) or {".", ".."} & set(doi.split("/")):
        return None
    return doi


def _without_page(doi: str) -> str:
    sici = _SICI.match(doi)
    if sici is not None:
        return sici[0]
    while (page := _PAGE_OF_DOI.search(doi)) is not None:
        opening = {")": "(", "]": "["}.get(page[0], "")
        if opening and doi.count(opening) >= doi.count(page[0]):
            break
        doi = doi[: page.start()]
    preprint = _PREPRINT_VERSION.fullmatch(doi)
    return preprint[1] if preprint else doi


def _is_quantity(text: str, mention: re.Match[str]) -> bool:
    before = text[max(0, mention.start() - 20) : mention.start()]
    return bool(_BEFORE_NUMBERS.search(before) or _AFTER_NUMBERS.match(text, mention.end()))


def plainly_typed(text: str) -> str:
    """Return `text` without invisible characters and escapes of HTML and TeX."""
    if not text.isascii():
        text = text.translate(_TYPED)
    if "&" in text or "\\" in text or "$" in text:
        for escape, meant in _ESCAPES:
            text = escape.sub(meant, text)
    return text


def title_key(title: str) -> str:
    """Return the letters and digits of a title, case folded, to compare spellings of titles.

    Compatibility forms and accents are folded, too (`ﬁ` becomes `fi`, `é` becomes `e`), because
    sources differ in them. A title without letters and digits gives "", which identifies nothing.
    Folding can make a text eighteen times longer, so the key is cut.
    """
    return "".join(filter(str.isalnum, fold(title)))[:_LONGEST_KEY]


def is_feed_page(source_id: str) -> bool:
    """Return whether an id has the form of a page's address, as the feed source makes them."""
    in_bounds = len(source_id) <= _LONGEST_ID and ".." not in source_id.split("/")
    return in_bounds and _FEED_PAGE.fullmatch(source_id) is not None


def source_name(source: str) -> str:
    """Return the display name of a source: `arxiv` is arXiv, `feed:Nature` is Nature."""
    return _SOURCE_NAMES.get(source) or source.removeprefix("feed:")


def upstream_url(source: str, source_id: str | None, title: str) -> str:
    """Return the https address of a paper's page.

    Without a valid id of its source it is a search for the title, so that no unchecked text gets
    into a link. The page of a feed's paper is on the feed's own site, which the feed source checks.
    """
    if source_id is not None:
        if source == "arxiv":
            arxiv = parse_arxiv(source_id)
            if arxiv is not None:
                return f"https://arxiv.org/abs/{arxiv[0]}"
        elif source in {"doi", "biorxiv", "medrxiv"}:
            doi = parse_doi(source_id)
            if doi is not None:
                return "https://doi.org/" + quote(doi, safe="/:;()")
        elif source.startswith("feed:") and is_feed_page(source_id):
            return source_id
    query = quote(title[:_LONGEST_QUERY].strip(), safe="", errors="replace")
    if source == "listing":
        return f"https://huggingface.co/papers?q={query}"
    return f"https://arxiv.org/search/?query={query}"
