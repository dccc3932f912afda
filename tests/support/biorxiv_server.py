"""bioRxiv's and medRxiv's server on loopback: pages of rows, counts that are wrong, errors as 200.

with Preprints() as preprints:
    preprints.post(date(2026, 8, 3), 75)          # rows made after a recorded one
    preprints.total_off = 9                       # the count says more than there is
    preprints.answer("", times=2)                 # what the next answers are instead
    Biorxiv(gate, "biorxiv", preprints.url, on)
    preprints.asked                               # every path, in order
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.support import fixtures

RECORDED = {
    "details": "biorxiv_details_2026-08-01.json",
    "pubs": "biorxiv_pubs_2026-06-01.json",
}
Row = dict[str, Any]


@cache
def _recorded(name: str) -> Row:
    row: Row = json.loads(fixtures.recorded(RECORDED[name]))["collection"][0]
    return row


def recorded(name: str) -> Row:
    """Return the one recorded row of `details` or `pubs`, which the caller may change."""
    return dict(_recorded(name))


def posting(n: int, on: date, **fields: Any) -> Row:
    """Return the n-th posting of a day, dated as the server writes days."""
    return recorded("details") | {
        "doi": f"10.64898/{on:%Y.%m.%d}.{n:06d}",
        "title": f"Sound-shape correspondences in {n} macaques on day {on.day}",
        "date": f"{on.year}-{on.month}-{on.day}",
        **fields,
    }


@dataclass
class Preprints:
    """Serves what was posted and published, until closed.

    Attributes:
        page: how many rows an answer has at most.
        total_off: how much the server's count is too large.
        holes: places at which a page comes back empty although there are rows.
        change: what becomes of every answer: path and body to body.
    """

    page: int = 30
    total_off: int = 0
    holes: set[int] = field(default_factory=set)
    change: Callable[[str, bytes], bytes] = lambda path, body: body
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
        self._instead: deque[bytes | None] = deque()

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
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
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def post(self, on: date, n: int, **fields: Any) -> list[Row]:
        """Add `n` postings to a day and return all that it has now."""
        rows = self.rows["details", str(on)]
        rows += [posting(len(rows) + i, on, **fields) for i in range(1, n + 1)]
        return rows

    def publish(self, on: date, **fields: Any) -> None:
        """Add a journal's publication of a preprint to a day."""
        published = {"published_date": str(on), **fields}
        self.rows["pubs", str(on)].append(recorded("pubs") | published)

    def answer(self, body: str | None, times: int = 1) -> None:
        """Let the next answers be `body`, with status 200; None is the right one."""
        self._instead.extend([body if body is None else body.encode()] * times)

    def recover(self) -> None:
        """Take back the answers that were not given yet."""
        self._instead.clear()

    def _answer(self, path: str) -> bytes:
        endpoint, _, first, last, row, *_ = path.strip("/").split("/")
        assert first == last, "a day at a time"
        rows, at = self.rows[endpoint, first], int(row)
        some = [] if at in self.holes else rows[at : at + self.page]
        if not some:
            return b'{"messages":[{"status":"no posts found"}],"collection":[]}'
        message = {
            "status": "ok",
            "interval": f"{first}:{last}",
            "cursor": row if at else 0,
            "count": len(some),
            "total": str(len(rows) + self.total_off),
        }
        return json.dumps({"messages": [message], "collection": some}).encode()

    def _handler(preprints) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                preprints.asked.append(self.path)
                instead = preprints._instead.popleft() if preprints._instead else None
                body = preprints._answer(self.path) if instead is None else instead
                body = preprints.change(self.path, body)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
