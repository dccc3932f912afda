"""arXiv's OAI-PMH: lists of records by the day on which they last changed.

https://www.openarchives.org/OAI/openarchivesprotocol.html and https://info.arxiv.org/help/oa/,
November 2026. arXiv's format has neither versions nor listing days; `backfill` infers them. Since
2025 its resumption tokens no longer have the size of the list, and they expire with the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from triage.domain.paper_ids import parse_arxiv
from triage.domain.source_records import FetchedPaper, Rejected
from triage.errors import RejectedRecord, SourceError
from triage.sources.text.cleaning import first_doi, normalise, parse_day, parse_each, reject
from triage.sources.text.xml import join_texts, parse_root, text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_OAI: Final = "{http://www.openarchives.org/OAI/2.0/}"
_META: Final = "{http://arxiv.org/OAI/arXiv/}"
_MOST_SETS: Final = 3
# These archives are subsets of the set `physics`.
_PHYSICS: Final = frozenset(
    "astro-ph cond-mat gr-qc hep-ex hep-lat hep-ph hep-th math-ph nlin nucl-ex nucl-th physics"
    " quant-ph".split()
)


class BadToken(SourceError):
    """A resumption token has expired: its list must be read from the beginning."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record that was not deleted; `changed_on` is its datestamp, in an unknown time zone."""

    source_id: str
    changed_on: date | None
    categories: tuple[str, ...]
    element: Element

    @property
    def created_on(self) -> date | None:
        return parse_day(text(self.element, f"{_META}created"))

    @property
    def is_replaced(self) -> bool:
        """Tell whether its dates show a later version than the first."""
        updated = parse_day(text(self.element, f"{_META}updated"))
        created = self.created_on
        return updated is not None and (created is None or updated > created)

    def paper(self, on: date) -> FetchedPaper:
        """Return the paper as listed on `on`, as version 1, or 2 if there is any later version.

        Raises:
            RejectedRecord: it has no title or no abstract.
        """
        meta = self.element
        return normalise(
            FetchedPaper(
                source="arxiv",
                source_id=self.source_id,
                version=2 if self.is_replaced else 1,
                title=text(meta, f"{_META}title"),
                abstract=text(meta, f"{_META}abstract"),
                authors=tuple(
                    _name(author) for author in meta.iterfind(f"{_META}authors/{_META}author")
                ),
                categories=self.categories,
                listed_on=on,
                comment=text(meta, f"{_META}comments"),
                doi=first_doi(text(meta, f"{_META}doi")),
            )
        )

    def rejected(self, why: str) -> Rejected:
        return reject(
            why, join_texts(self.element), f"OAI-PMH of {self.changed_on}, {self.source_id}"
        )


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to ListRecords.

    Attributes:
        n_records: the number of all records, deleted and rejected ones included.
        total: the number of records in the whole list, if the server says so.
        token: for the next page; empty at the end of the list.
    """

    records: tuple[Record, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    n_records: int = 0
    total: int | None = None
    token: str = ""


def page_params(first: date, last: date, set_: str, token: str) -> dict[str, str]:
    """Return the parameters for a page of the records changed from `first` to `last`.

    Args:
        set_: one of `sets`; empty for all of arXiv.
        token: of the page before; it replaces the other arguments.
    """
    if token:
        return {"verb": "ListRecords", "resumptionToken": token}
    params = {"verb": "ListRecords", "metadataPrefix": "arXiv"}
    params |= {"from": first.isoformat(), "until": last.isoformat()}
    return params | ({"set": set_} if set_ else {})


def sets_of(categories: Sequence[str]) -> list[str]:
    """Return the sets that contain all papers of `categories`; for many archives, all of arXiv."""
    archives = dict.fromkeys(category.partition(".")[0] for category in categories)
    if len(archives) > _MOST_SETS:
        return [""]
    return [f"physics:{name}" if name in _PHYSICS else name for name in archives]


def parse_page(body: bytes, set_: str = "") -> Page:
    """Parse an answer to ListRecords; it may have no records.

    A record without a category of `set_`, the requested set, is rejected: otherwise it would be
    lost among the papers of categories that are not watched.

    Raises:
        BadToken: the list must be read from its beginning.
        SourceError: it is no such answer, or an error message.
    """
    answer = parse_root(body, "the answer of arXiv's OAI-PMH interface")
    if answer.tag != f"{_OAI}OAI-PMH":
        raise SourceError("arXiv's OAI-PMH interface did not answer with OAI-PMH. Check `oai_url`.")
    error = answer.find(f"{_OAI}error")
    if error is not None:
        return _empty(error)
    listed = answer.find(f"{_OAI}ListRecords")
    if listed is None:
        raise SourceError("arXiv's OAI-PMH interface answered without a list of records.")
    elements = listed.findall(f"{_OAI}record")
    archive = set_.rpartition(":")[2]
    records, rejected = parse_each(
        elements,
        lambda element: _record(element, archive),
        lambda element: join_texts(element.iter()),
        "OAI-PMH, record",
    )
    token = listed.find(f"{_OAI}resumptionToken")
    total = "" if token is None else token.get("completeListSize", "").strip()
    return Page(
        tuple(filter(None, records)),
        tuple(rejected),
        len(elements),
        int(total[:9]) if total.isascii() and total.isdigit() else None,
        "" if token is None else (token.text or "").strip(),
    )


def _empty(error: Element) -> Page:
    code, message = error.get("code", ""), " ".join((error.text or "").split())[:200]
    if code == "noRecordsMatch":
        return Page(total=0)
    if code == "badResumptionToken":
        raise BadToken(f"arXiv's OAI-PMH interface no longer accepts the token. {message}")
    raise SourceError(f"arXiv's OAI-PMH interface refused the request: {code[:40]} {message}")


def _record(element: Element, archive: str) -> Record | None:
    """Return a record; None if it was deleted.

    RejectedRecord if it has no id, no metadata, or no category of `archive` (empty for all).
    """
    header = element.find(f"{_OAI}header")
    if header is not None and header.get("status") == "deleted":
        return None
    meta = element.find(f"{_OAI}metadata/{_META}arXiv")
    if header is None or meta is None:
        raise RejectedRecord("it has no header or no metadata in arXiv's format")
    identifier = text(header, f"{_OAI}identifier").rpartition("arXiv.org:")[2]
    found = parse_arxiv(text(meta, f"{_META}id")) or parse_arxiv(identifier)
    if found is None:
        raise RejectedRecord("it has no arXiv id")
    categories = tuple(text(meta, f"{_META}categories").split())
    if not any(archive in {"", category.partition(".")[0]} for category in categories):
        raise RejectedRecord("it names no category of its list")
    return Record(found[0], parse_day(text(header, f"{_OAI}datestamp")), categories, meta)


def _name(author: Element) -> str:
    parts = (text(author, f"{_META}{part}").strip() for part in ("forenames", "keyname", "suffix"))
    return " ".join(filter(None, parts))
