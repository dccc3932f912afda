"""Finds the links of a paper: where it can be read, and its code, models and data.

They come from the paper's ids and from the addresses in its comment and abstract. These are written
by anybody, so only addresses of the web with a public host name become links. Addresses of other
papers do not. The pages of arXiv: https://info.arxiv.org/help/arxiv_identifier_for_services.html
and, for HTML, https://info.arxiv.org/about/accessible_HTML.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from triage.domain.paper_ids import parse_arxiv, parse_doi, source_name, upstream_url
from triage.domain.records import Paper

NAMED_LINK: Final = "link"
"""The scheme of the keys that are addresses, which a source named beside the paper."""

_MOST_FOUND: Final = 12
_LONGEST: Final = 500
_LONGEST_LABEL: Final = 50
_SEARCHES: Final = ("https://arxiv.org/search/", "https://huggingface.co/papers?")
# arXiv has HTML of papers since December 2023, its laboratory of the earlier ones.
_FIRST_HTML: Final = "2312"
_PREPRINT_SITES: Final = {"biorxiv": "www.biorxiv.org", "medrxiv": "www.medrxiv.org"}

_BARE_HOSTS: Final = (
    r"(?:github\.com|gitlab\.com|bitbucket\.org|codeberg\.org|huggingface\.co|hf\.co|zenodo\.org)/"
    r"|[a-z0-9-]+\.(?:github|gitlab)\.io\b"
)
_ADDRESS: Final = re.compile(
    rf"(?:\bhttps?://|(?<![\w./@-])(?={_BARE_HOSTS}))[!#-&(-;=?-\[\]_a-z~]+"
    r"|(?<![\w./])10\.5281/zenodo\.[0-9]+",
    re.ASCII | re.IGNORECASE,
)
# What the lines of TeX and of mails break, and the escapes that TeX needs.
_BREAKS: Final = (
    (re.compile(r"\b(https?://)\s+(?=[a-z0-9-]+\.)", re.IGNORECASE), r"\1"),
    (
        re.compile(
            r"\b((?:github\.com|gitlab\.com|huggingface\.co)/)\s+(?=[\w.-]+/\w)", re.IGNORECASE
        ),
        r"\1",
    ),
    (re.compile(r"\\([_&%#~$])"), r"\1"),
)
_AFTER: Final = ".,;:!?'*)]"
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_PRIVATE: Final = frozenset("local localhost internal intranet lan home corp arpa test".split())
# They show other papers, licences and people.
_NO_LINKS: Final = frozenset(
    "arxiv.org export.arxiv.org browse.arxiv.org alphaxiv.org ar5iv.org ar5iv.labs.arxiv.org "
    "doi.org dx.doi.org creativecommons.org orcid.org".split()
)
_CODE_HOSTS: Final = frozenset(
    "github.com gist.github.com gitlab.com codeberg.org bitbucket.org sr.ht git.sr.ht gitee.com "
    "sourceforge.net anonymous.4open.science".split()
)
_DATA_HOSTS: Final = frozenset("zenodo.org figshare.com osf.io datadryad.org".split())
_DATA_DOI: Final = re.compile(r"/10\.(?:5281/zenodo|6084/m9\.figshare|5061/dryad|17605/osf)\.")
_PROJECT_HOST: Final = re.compile(r"[a-z0-9-]+\.(?:github|gitlab)\.io")


class LinkKind(StrEnum):
    """What a link leads to."""

    PDF = "pdf"
    HTML = "html"
    DOI = "doi"
    CODE = "code"
    MODEL = "model"
    DATA = "data"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Link:
    """An address of the web, `http` or `https`, and a few words for people."""

    kind: LinkKind
    address: str
    label: str


def find_links(paper: Paper, keys: Iterable[tuple[str, str]] = ()) -> tuple[Link, ...]:
    """Return the links of a paper, each address once: those of its ids come first.

    Args:
        keys: its ids in all sources as pairs of scheme and value, and addresses that a source named
            beside it, with the scheme `NAMED_LINK`. What is no valid id or address is left out.
    """
    keys = tuple(keys)
    links: dict[str, Link] = {}
    texts = [value for scheme, value in keys if scheme == NAMED_LINK]
    found = [link for text in (*texts, paper.comment, paper.abstract) for link in _of_text(text)]
    for link in (*_of_ids(paper, keys), *found[:_MOST_FOUND]):
        links.setdefault(_same(link.address), link)
    return tuple(links.values())


def own_page(paper: Paper) -> str:
    """Return the address of a paper at its source, "" if it has no id there."""
    address = upstream_url(paper.source, paper.source_id, paper.title)
    return "" if address.startswith(_SEARCHES) else address


def _of_ids(paper: Paper, keys: Collection[tuple[str, str]]) -> Iterator[Link]:
    own = own_page(paper)
    if own:
        kind = LinkKind.DOI if paper.source == "doi" else LinkKind.PAGE
        yield Link(kind, own, source_name(paper.source))
    ids = dict.fromkeys([(paper.source, paper.source_id or ""), *keys])
    for arxiv in (parse_arxiv(value) for scheme, value in ids if scheme == "arxiv"):
        if arxiv is not None:
            yield from _of_arxiv(arxiv[0], is_recommended=paper.upvotes is not None)
    for scheme, site in _PREPRINT_SITES.items():
        for doi in (parse_doi(value) for each, value in ids if each == scheme):
            if doi is None:
                continue
            yield Link(LinkKind.PAGE, upstream_url(scheme, doi, ""), source_name(scheme))
            if scheme == paper.source and paper.version:
                text = f"https://{site}/content/{doi}v{paper.version}.full"
                yield Link(LinkKind.PDF, f"{text}.pdf", "PDF")
                yield Link(LinkKind.HTML, text, "HTML")
    for doi in (parse_doi(value) for scheme, value in ids if scheme == "doi"):
        if doi is not None and parse_arxiv(doi) is None:
            yield Link(LinkKind.DOI, upstream_url("doi", doi, ""), "DOI")


def _of_arxiv(id: str, *, is_recommended: bool) -> Iterator[Link]:
    yield Link(LinkKind.PAGE, f"https://arxiv.org/abs/{id}", "arXiv")
    yield Link(LinkKind.PDF, f"https://arxiv.org/pdf/{id}", "PDF")
    if "/" not in id and id >= _FIRST_HTML:
        yield Link(LinkKind.HTML, f"https://arxiv.org/html/{id}", "HTML")
    else:
        yield Link(LinkKind.HTML, f"https://ar5iv.labs.arxiv.org/html/{id}", "HTML (ar5iv)")
    if is_recommended:
        yield Link(LinkKind.PAGE, f"https://huggingface.co/papers/{id}", "Hugging Face")


def _of_text(text: str) -> Iterator[Link]:
    for pattern, instead in _BREAKS:
        text = pattern.sub(instead, text)
    for found in _ADDRESS.finditer(text):
        # The rest of the address was cut off, or nobody would write it.
        if text.startswith("…", found.end()) or len(found[0]) > _LONGEST:
            continue
        address = _without_punctuation(found[0])
        if address.startswith("10."):
            address = f"https://doi.org/{address}"
        elif "://" not in address:
            address = f"https://{address}"
        host = _public_host(address)
        link = _classify(address, host) if host else None
        if link is not None:
            yield link


def _without_punctuation(address: str) -> str:
    """Remove what follows an address in a sentence; a bracket stays if it was opened there."""
    while address[-1] in _AFTER:
        opening = {")": "(", "]": "["}.get(address[-1], "")
        if opening and address.count(opening) >= address.count(address[-1]):
            break
        address = address[:-1]
    return address


def _public_host(address: str) -> str:
    """Return the host of an address in lower case, "" if it must not become a link."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").lower()
    is_public = _HOST.fullmatch(host) and host.rpartition(".")[2] not in _PRIVATE
    return host.removeprefix("www.") if is_public and "@" not in parts.netloc else ""


def _classify(address: str, host: str) -> Link | None:
    parts = urlsplit(address)
    path = [part for part in parts.path.split("/") if part]
    name = "/".join(path[:2]).removesuffix(".git")
    if host in {"huggingface.co", "hf.co"}:
        return _of_hugging_face(address, path)
    if host in _DATA_HOSTS or (host.endswith("doi.org") and _DATA_DOI.match(parts.path)):
        return Link(LinkKind.DATA, address, "Data: Zenodo" if "zenodo" in address else "Data")
    if host in _NO_LINKS:
        return None
    if host in _CODE_HOSTS or host.startswith("gitlab."):
        # An owner without a repository may be anything, three dots are a place-holder.
        is_repository = bool(path) and path[-1].strip(".") != ""
        return Link(LinkKind.CODE, address, _label("Code", name)) if is_repository else None
    is_project = _PROJECT_HOST.fullmatch(host) is not None
    return Link(LinkKind.PAGE, address, "Project page" if is_project else _label("", host))


def _of_hugging_face(address: str, path: list[str]) -> Link | None:
    match path:
        case [] | ["papers" | "docs" | "join" | "learn" | "settings", *_]:
            return None
        case ["datasets", *name] if name:
            return Link(LinkKind.DATA, address, _label("Data", "/".join(name[:2])))
        case ["spaces", *name] if name:
            return Link(LinkKind.PAGE, address, _label("Demo", "/".join(name[:2])))
        case ["models", *_] | ["collections", _, *_]:
            return Link(LinkKind.MODEL, address, "Models")
        case ["blog", *_]:
            return Link(LinkKind.PAGE, address, "huggingface.co")
        case [owner]:
            return Link(LinkKind.MODEL, address, _label("Models", owner))
    return Link(LinkKind.MODEL, address, _label("Model", "/".join(path[:2])))


def _label(what: str, name: str) -> str:
    text = f"{what}: {name}" if what else name
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


def _same(address: str) -> str:
    """Return what is equal for spellings of one address."""
    bare = re.sub(r"^https?://(?:www\.)?", "", address, flags=re.IGNORECASE)
    return bare.rstrip("/").removesuffix(".git").lower()
