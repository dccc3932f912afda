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
_ARXIV: Final = re.compile(
    r"(?:https?://)?(?:(?:[a-z0-9-]+\.)*arxiv\.org/(?:abs|pdf|html|format|src|e-print|ps)/"
    r"|(?:www\.)?huggingface\.co/papers/"
    r"|arxiv:\s*)?"
    r"(?:(?P<year>[0-9]{2})(?P<month>[0-9]{2})\.(?P<number>[0-9]{4,5})"
    r"|(?P<archive>[a-z]+(?:-[a-z]+)?)(?:\.[a-z]{2})?/(?P<old>[0-9]{2}(?:0[1-9]|1[0-2])[0-9]{3}))"
    r"(?:v(?P<version>[1-9][0-9]{0,2}))?"
    r"(?:\.pdf)?(?:[?\#].*)?(?:\s*\[[a-z.-]+\])?/?",
    re.ASCII | re.IGNORECASE,
)
_DOI_PREFIX: Final = re.compile(
    r"(?:https?://)?(?:www\.)?(?:dx\.)?doi\.org/|doi:\s*", re.ASCII | re.IGNORECASE
)
_DOI: Final = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*/[!\x23-\x5b\x5d-\x7e]{1,250}", re.ASCII)
_ARXIV_DOI: Final = "10.48550/arxiv."
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


def parse_arxiv(text: str) -> tuple[str, int | None] | None:
    """Parse an arXiv id, link or DOI into the canonical id and the version.

    Accepts `2401.00001v2`, `hep-th/9901001`, `math.GT/0309136`, `arXiv:…`, links to arxiv.org
    and to Hugging Face's paper pages, and `10.48550/arXiv.…`.

    Returns:
        The id without version and without the subject class of old ids, and the version or None;
        None if the text is no arXiv id.
    """
    text = text.strip()
    if len(text) > _LONGEST_ID:
        return None
    bare = _DOI_PREFIX.sub("", text, count=1)
    if bare[: len(_ARXIV_DOI)].lower() == _ARXIV_DOI:
        text = bare[len(_ARXIV_DOI) :]
    found = _ARXIV.fullmatch(text)
    if found is None:
        return None
    version = int(found["version"]) if found["version"] else None
    if found["old"]:
        archive = found["archive"].lower()
        return (f"{archive}/{found['old']}", version) if archive in _ARCHIVES.split() else None
    month = found["year"] + found["month"]
    # Ids of this form begin in April 2007 and have five digits after the dot since January 2015.
    n_digits = 4 if month < "1501" else 5
    if not "01" <= found["month"] <= "12" or month < "0704" or len(found["number"]) != n_digits:
        return None
    return f"{month}.{found['number']}", version


def arxiv_month(id: str) -> date:
    """Return the first day of the month in an arXiv id; both forms of ids begin with YYMM."""
    digits = id.rpartition("/")[2]
    year = int(digits[:2])
    return date(1900 + year if "/" in id and year > 90 else 2000 + year, int(digits[2:4]), 1)


def parse_doi(text: str) -> str | None:
    """Return the DOI that `text` is (bare, `doi:…` or a doi.org link), in lower case, or None."""
    text = text.strip()
    if len(text) > _LONGEST_ID:
        return None
    prefix = _DOI_PREFIX.match(text)
    if prefix:
        text = text[prefix.end() :]
        if "/" in prefix[0]:
            text = unquote(text)
    doi = text.rstrip(".,;").lower()
    # A browser would resolve dot segments to another path on doi.org.
    if not _DOI.fullmatch(doi) or {".", ".."} & set(doi.split("/")):
        return None
    return doi


def identify(text: str) -> tuple[str, str, int | None] | None:
    """Return `(source, source_id, version)` for an arXiv id (`arxiv`) or a DOI (`doi`), else None.

    A DOI of arXiv gives the arXiv id.
    """
    arxiv = parse_arxiv(text)
    if arxiv is not None:
        return ("arxiv", *arxiv)
    doi = parse_doi(text)
    return None if doi is None else ("doi", doi, None)


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
