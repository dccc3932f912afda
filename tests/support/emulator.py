"""arXiv and Hugging Face on loopback: real listing days, served as those two serve theirs.

    with Upstreams(records) as upstreams:
        upstreams.show(date(2025, 6, 26))              # which day the feed is for
        upstreams.fail("api", Fault.SHORT, times=2)    # what goes wrong with the next requests
        Arxiv(gate, ["cs.LG"], upstreams.rss_url, upstreams.api_url, upstreams.oai_url, on)
        upstreams.log                                  # every request, with start and end

Records have the keys of `papers.jsonl`: id, title, abstract, authors, categories, listed_date,
comment; and, where a test wants them, version, kind (new, cross, replace, …), upvotes, created and
deleted. OAI-PMH has each record as it was announced last, up to the day that the feed is for.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import sys
import threading
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from enum import StrEnum
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from triage.clock import SystemClock
from triage.domain.protocols import Clock

EASTERN = ZoneInfo("America/New_York")
FEED_LIMIT = 2_000
Record = Mapping[str, Any]


class Fault(StrEnum):
    """What can go wrong with one answer."""

    TOO_MANY = "429"
    UNAVAILABLE = "503"
    BROKEN = "500"
    NOT_FOUND = "404"
    EMPTY = "empty page with status 200"
    SHORT = "half of what was asked for, with status 200"
    HTML = "web page with status 200"
    TRUNCATED = "gzip that ends in the middle"
    STALE = "the day before under today's date"
    EXPIRED = "no such resumption token"
    MISCOUNTED = "a total that is too large"
    ENDLESS = "the same resumption token again and again"
    DROPPED = "connection closed without an answer"


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    route: str
    target: str
    query: dict[str, str]
    headers: dict[str, str]
    started_at: datetime
    ended_at: datetime
    status: int
    fault: Fault | None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may hang up on us
            super().handle_error(request, client_address)


@dataclass
class Upstreams:
    """Serves `records` until closed.

    Attributes:
        clock: whose time the log shows; with a stopped clock, time passes only as we say.
        takes_s: how long, on that clock, every answer takes.
        conditional: whether answers have an ETag.
        oai_page: how many records a page of OAI-PMH has.
        oai_lag: by how many days its datestamps are before the day of the list.
        oai_totals: whether it tells how long its lists are.
        lagging: categories whose part of the feed repeats the day before.
        most_at_once: the largest number of requests that were open at one time.
    """

    records: Iterable[Record]
    clock: Clock = field(default_factory=SystemClock)
    takes_s: float = 0.0
    conditional: bool = True
    log: list[Asked] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)
    oai_page: int = 60
    oai_lag: int = 1
    oai_totals: bool = True
    lagging: set[str] = field(default_factory=set)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.days: dict[date, list[Record]] = defaultdict(list)
        for record in self.records:
            self.days[date.fromisoformat(record["listed_date"])].append(record)
        self.known = {record["id"]: record for day in self.days.values() for record in day}
        self.unknown_to_api: set[str] = set()
        self.upvotes: dict[str, int] = {}
        self.trending: list[Record] = []
        self.on = max(self.days, default=date(2026, 3, 2))
        self.feed_error = ""
        self.moved: dict[str, str] = {}
        self._newest: tuple[object, list[tuple[date, Record]]] = (None, [])
        self._lists: dict[tuple[str, str, str], list[tuple[date, Record]]] = {}
        self._faults: dict[str, deque[tuple[Fault | None, str | None]]] = defaultdict(deque)
        self._lock = threading.Lock()
        self._open = 0
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def rss_url(self) -> str:
        return f"{self.base}/rss"

    @property
    def api_url(self) -> str:
        return f"{self.base}/api/query"

    @property
    def oai_url(self) -> str:
        return f"{self.base}/oai"

    @property
    def hf_url(self) -> str:
        return f"{self.base}/api/daily_papers"

    def show(self, on: date) -> None:
        """Let the feed be that of `on`; a day without records is an empty feed."""
        self.on = on

    def announce(self, *records: Record) -> None:
        """Have more records, each on its day."""
        for record in records:
            self.days[date.fromisoformat(record["listed_date"])].append(record)
            self.known[record["id"]] = record

    def fail(
        self, route: str, *faults: Fault, times: int = 1, retry_after: str | None = None
    ) -> None:
        """Let the next requests to `rss`, `api`, `oai` or `hf` go wrong, a fault each, in order."""
        self._faults[route].extend((fault, retry_after) for fault in faults * times)

    def pass_on(self, route: str, n: int) -> None:
        """Let the next `n` requests go well before whatever goes wrong later."""
        self._faults[route].extend([(None, None)] * n)

    def recover(self) -> None:
        """Take back all faults that have not happened yet."""
        self._faults.clear()

    def gaps_s(self, *routes: str) -> list[float]:
        """Return the seconds between the end of each request to `routes` and the next's start."""
        asked = [asked for asked in self.log if asked.route in routes]
        return [
            (after.started_at - before.ended_at).total_seconds()
            for before, after in itertools.pairwise(asked)
        ]

    # -- answers ------------------------------------------------------------------------------

    def _answer(self, route: str, path: str, query: dict[str, str], fault: Fault | None) -> bytes:
        if route in self.bodies:
            return self.bodies[route]
        if route == "rss":
            return self._rss(path, fault).encode()
        if route == "api":
            return self._atom(query, fault).encode()
        if route == "oai":
            return self._oai(query, fault).encode()
        return json.dumps(self._listing(query, fault)).encode()

    def _rss(self, path: str, fault: Fault | None) -> str:
        wanted = set(path.rpartition("/")[2].split("+"))
        earlier = [day for day in self.days if day < self.on]
        before = self.days[max(earlier)] if earlier else []
        today = before if fault is Fault.STALE else self.days.get(self.on, [])
        stale = [r for r in before if r["categories"][0] in self.lagging]
        today = [r for r in today if r["categories"][0] not in self.lagging] + stale
        records = [r for r in today if wanted & _places(r)][:FEED_LIMIT]
        if fault is Fault.EMPTY:
            records = []
        elif fault is Fault.SHORT:
            records = records[: len(records) // 2]
        midnight = datetime.combine(self.on, time(), EASTERN)
        title = self.feed_error or f"{', '.join(sorted(wanted))} updates on arXiv.org"
        items = "".join(_item(record, midnight) for record in records)
        return f"""<?xml version='1.0' encoding='UTF-8'?>
<rss xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns:dc="http://purl.org/dc/elements/1.1/"
     version="2.0">
  <channel>
    <title>{escape(title)}</title>
    <lastBuildDate>{format_datetime(midnight.astimezone(UTC))}</lastBuildDate>
    <pubDate>{format_datetime(midnight)}</pubDate>
    <skipDays><day>Sunday</day><day>Saturday</day></skipDays>
    {items}
  </channel>
</rss>"""

    def _atom(self, query: dict[str, str], fault: Fault | None) -> str:
        ids = [id for id in query.get("id_list", "").split(",") if id]
        ids = ids or self._with_titles(re.findall(r'ti:"([^"]+)"', query.get("search_query", "")))
        ids = ids[int(query.get("start", "0")) :][: int(query.get("max_results", "10"))]
        ids = [id for id in ids if id in self.known and id not in self.unknown_to_api]
        if fault is Fault.EMPTY:
            ids = []
        elif fault is Fault.SHORT:
            ids = ids[: len(ids) // 2]
        entries = "".join(_entry(self.known[id]) for id in ids)
        return f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <title type="html">ArXiv Query</title>
  {entries}
</feed>"""

    def _with_titles(self, phrases: list[str]) -> list[str]:
        """Return the papers with one of the phrases in their title, as words."""
        titles = {id: _words(record["title"]) for id, record in self.known.items()}
        wanted = [_words(phrase) for phrase in phrases]
        return [id for id, title in titles.items() if any(each in title for each in wanted)]

    def _oai(self, query: dict[str, str], fault: Fault | None) -> str:
        token = query.get("resumptionToken", "")
        if fault is Fault.EXPIRED and token:
            return _OAI.format('<error code="badResumptionToken">expired</error>')
        first, last, of, skip = (
            token.split("|") if token else (query["from"], query["until"], query.get("set", ""), 0)
        )
        asked = (first, last, of)
        if asked not in self._lists or not token:
            self._lists[asked] = self._changed(
                date.fromisoformat(first), date.fromisoformat(last), of
            )
        changed = self._lists[asked]
        if not changed:
            return _OAI.format('<error code="noRecordsMatch">nothing</error>')
        start = int(skip)
        page = changed[start : start + self.oai_page]
        next_ = start if fault is Fault.ENDLESS else start + self.oai_page
        page = {Fault.EMPTY: [], Fault.SHORT: page[: len(page) // 2]}.get(fault or Fault.HTML, page)
        total = len(changed) + (7 if fault is Fault.MISCOUNTED else 0)
        size = f' completeListSize="{total}" cursor="{start}"' if self.oai_totals else ""
        rest = f"{first}|{last}|{of}|{next_}" if next_ < len(changed) else ""
        records = "".join(_record(record, stamp) for stamp, record in page)
        more = f"<resumptionToken{size}>{rest}</resumptionToken>" if rest or token else ""
        return _OAI.format(f"<ListRecords>{records}{more}</ListRecords>")

    def _changed(self, first: date, last: date, of: str) -> list[tuple[date, Record]]:
        """Return what a set has that changed last from `first` to `last`, in order."""
        shown = (self.on, self.oai_lag, tuple((on, id(day), len(day)) for on, day in self._days()))
        if self._newest[0] != shown:
            self._newest = shown, self._as_changed()
        newest = self._newest[1]
        span = range(
            bisect_left(newest, (first,)), bisect_left(newest, (last + timedelta(days=1),))
        )
        group = of.rpartition(":")[2]
        return [
            newest[n]
            for n in span
            if not of or any(c.partition(".")[0] == group for c in newest[n][1]["categories"])
        ]

    def _days(self) -> list[tuple[date, list[Record]]]:
        return sorted(((on, day) for on, day in self.days.items() if on <= self.on), key=_first)

    def _as_changed(self) -> list[tuple[date, Record]]:
        """Return every record as it was announced last, in the order of datestamps."""
        newest: dict[str, tuple[date, Record]] = {}
        for on, records in self._days():
            stamp = on - timedelta(days=self.oai_lag)
            for record in records:
                before = newest.get(record["id"])
                if before and _kind(record) in {"new", "cross"}:
                    record = {**record, "created": _created(*before), "kind": _kind(before[1])}
                elif before and "created" not in record:
                    record = {**record, "created": _created(*before)}
                newest[record["id"]] = stamp, record
        return sorted(newest.values(), key=lambda pair: (pair[0], pair[1]["id"]))

    def _listing(self, query: dict[str, str], fault: Fault | None) -> list[dict[str, Any]]:
        on = self.on if "sort" in query else date.fromisoformat(query["date"])
        picked = self.trending if "sort" in query else self.days.get(on, [])[::8]
        if fault is Fault.EMPTY:
            picked = []
        elif fault is Fault.SHORT:
            picked = picked[: len(picked) // 2]
        return [
            {
                "paper": {
                    "id": record["id"],
                    "title": _wrapped(record["title"]),
                    "summary": _wrapped(record["abstract"]),
                    "authors": [{"name": name, "hidden": False} for name in record["authors"]],
                    "upvotes": self.upvotes.get(record["id"], record.get("upvotes", 7)),
                    "publishedAt": f"{on}T00:00:00.000Z",
                },
                "title": record["title"],
            }
            for record in picked
        ]

    # -- plumbing -----------------------------------------------------------------------------

    def _handler(upstreams) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                upstreams._serve(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
        started_at = self.clock.now()
        url = urlsplit(request.path)
        route = "rss" if url.path.startswith("/rss") else "api"
        route = "hf" if url.path.startswith("/api/daily_papers") else route
        route = "oai" if url.path.startswith("/oai") else route
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        fault, retry_after = self._faults[route].popleft() if self._faults[route] else (None, None)
        status, headers = 200, {"Content-Type": "text/html" if fault is Fault.HTML else "text/xml"}
        if fault in {Fault.TOO_MANY, Fault.UNAVAILABLE, Fault.BROKEN, Fault.NOT_FOUND}:
            status, body = int(fault), b"<html><body>Please try later.</body></html>"
            headers |= {"Retry-After": retry_after} if retry_after else {}
        elif url.path in self.moved:
            status, body = 301, b"<html>Moved.</html>"
            headers["Location"] = self.moved[url.path]
        elif fault is Fault.HTML:
            body = b"<!DOCTYPE html>\n<html><body><h1>We will be back soon</h1></body></html>"
        else:
            body = self._answer(route, url.path, query, fault)
            etag = f'"{blake2b(body, digest_size=8).hexdigest()}"'
            headers |= {"ETag": etag} if self.conditional else {}
            if self.conditional and request.headers.get("If-None-Match") == etag:
                status, body = 304, b""
        if body and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
            if fault is Fault.TRUNCATED:
                body = body[: len(body) // 2]
        self.clock.sleep(self.takes_s)
        # Logged before the last byte leaves: what the client does next comes after.
        ended_at = self.clock.now()
        sent = dict(request.headers.items())
        self.log.append(
            Asked(route, request.path, query, sent, started_at, ended_at, status, fault)
        )
        with self._lock:
            self._open -= 1
        if fault is Fault.DROPPED:
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if status != 304:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def _places(record: Record) -> set[str]:
    """Return the categories of a record and their archives: /rss/math has all of math."""
    return {place for c in record["categories"] for place in (c, c.partition(".")[0])}


def _first(pair: tuple[date, list[Record]]) -> date:
    return pair[0]


def _kind(record: Record) -> str:
    """A paper whose id is of an earlier month than its listing was cross-listed that day."""
    if "kind" in record:
        return str(record["kind"])
    return "new" if record["id"][:4] == record["listed_date"][2:7].replace("-", "") else "cross"


def _item(record: Record, midnight: datetime) -> str:
    id, version = record["id"], record.get("version", 1)
    categories = "".join(f"<category>{c}</category>" for c in record["categories"])
    lead = f"arXiv:{id}v{version} Announce Type: {_kind(record)} \nAbstract: "
    return f"""<item>
      <title>{escape(record["title"])}</title>
      <link>https://arxiv.org/abs/{id}</link>
      <description>{lead}{escape(record["abstract"])}</description>
      <guid isPermaLink="false">oai:arXiv.org:{id}v{version}</guid>
      {categories}
      <pubDate>{format_datetime(midnight)}</pubDate>
      <arxiv:announce_type>{_kind(record)}</arxiv:announce_type>
      <dc:creator>{escape(", ".join(record["authors"]))}</dc:creator>
    </item>"""


def _entry(record: Record) -> str:
    version = record.get("api_version", record.get("version", 1))
    authors = "".join(f"<author><name>{escape(n)}</name></author>" for n in record["authors"])
    categories = "".join(f'<category term="{c}"/>' for c in record["categories"])
    comment = f"<arxiv:comment>{escape(record.get('comment', ''))}</arxiv:comment>"
    return f"""<entry xmlns:arxiv="http://arxiv.org/schemas/atom">
    <id>http://arxiv.org/abs/{record["id"]}v{version}</id>
    <published>{record.get("listed_date", "2025-06-26")}T17:59:59Z</published>
    <title>{escape(_wrapped(record["title"]))}</title>
    <summary>  {escape(_wrapped(record["abstract"]))}\n</summary>
    {authors}{comment if record.get("comment") else ""}
    <arxiv:primary_category term="{record["categories"][0]}"/>{categories}
  </entry>"""


_OAI = """<?xml version="1.0" encoding="UTF-8"?>
<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">
<responseDate>2026-03-02T12:00:00Z</responseDate>
<request verb="ListRecords">http://127.0.0.1/oai</request>
{}
</OAI-PMH>"""


def _created(stamp: date, record: Record) -> str:
    """Return when a record says that its first version came."""
    if "created" in record or _kind(record) == "new":
        return str(record.get("created", stamp))
    year, month = 2000 + int(record["id"][:2]), int(record["id"][2:4])
    return str(min(date(year, month, 27), stamp))


def _record(record: Record, stamp: date) -> str:
    sets = "".join(f"<setSpec>{c.partition('.')[0]}</setSpec>" for c in record["categories"])
    deleted = ' status="deleted"' if record.get("deleted") else ""
    header = f"""<header{deleted}><identifier>oai:arXiv.org:{record["id"]}</identifier>
    <datestamp>{stamp}</datestamp>{sets}</header>"""
    if deleted:
        return f"<record>{header}</record>"
    authors = "".join(
        f"<author><keyname>{escape(name.rpartition(' ')[2])}</keyname>"
        f"<forenames>{escape(name.rpartition(' ')[0])}</forenames></author>"
        for name in record["authors"]
    )
    updated = f"<updated>{stamp}</updated>" if "replace" in _kind(record) else ""
    comment = record.get("comment", "")
    return f"""<record>{header}<metadata><arXiv xmlns="http://arxiv.org/OAI/arXiv/">
    <id>{record["id"]}</id><created>{_created(stamp, record)}</created>{updated}
    <authors>{authors}</authors><title>{escape(_wrapped(record["title"]))}</title>
    <categories>{" ".join(record["categories"])}</categories>
    {f"<comments>{escape(comment)}</comments>" if comment else ""}
    <license>http://creativecommons.org/publicdomain/zero/1.0/</license>
    <abstract>  {escape(_wrapped(record["abstract"]))}
</abstract></arXiv></metadata></record>"""


def _wrapped(text: str) -> str:
    """Break a text into lines as both services do, in the middle of titles."""
    words, lines = text.split(" "), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 75:
            lines.append(" ")
        lines[-1] += f" {word}" if lines[-1].strip() else word
    return "\n".join(lines)


def _words(text: str) -> str:
    return " ".join(["", *re.findall(r"\w+", text.lower()), ""])
