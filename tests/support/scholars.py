"""Semantic Scholar and Crossref on loopback: they know what they are told, and log who asked what.

with Scholars() as scholars:
    scholars.semantic["ARXIV:2603.00001"] = {"citationCount": 3}
    scholars.crossref["10.1038/one"] = {"type": "journal-article"}
    SemanticScholar(gate, scholars.semantic_url)
    scholars.asked                              # every request
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it; `ids` are what it asked for."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    ids: tuple[str, ...]


@dataclass
class Scholars:
    """Answers as the two do until closed.

    Attributes:
        semantic: records by the id that is asked for, as in `ARXIV:2603.00001`.
        crossref: works by DOI, without their DOI.
        bodies: what is answered instead, one each, in order: a status and a body.
    """

    semantic: dict[str, Any] = field(default_factory=dict)
    crossref: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: deque[tuple[int, bytes]] = field(default_factory=deque)
    moved_to: str = ""
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.semantic.setdefault("ARXIV:1706.03762", {"title": "Attention Is All You Need"})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
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
    def semantic_url(self) -> str:
        return f"{self.base}/graph/v1"

    @property
    def crossref_url(self) -> str:
        return f"{self.base}/crossref"

    def _semantic(self, query: dict[str, str], body: bytes) -> tuple[tuple[str, ...], int, Any]:
        ids = tuple(json.loads(body)["ids"])
        if len(ids) > 500:
            return ids, 400, {"error": "Too many ids"}
        records = [self.semantic.get(id) for id in ids]
        if not any(records):
            return ids, 400, {"error": "No valid paper ids given"}
        return ids, 200, records

    def _crossref(self, query: dict[str, str], _: bytes) -> tuple[tuple[str, ...], int, Any]:
        dois = tuple(each.removeprefix("doi:") for each in query["filter"].split(","))
        # Whatever the order of the question, theirs is another.
        known = [{"DOI": doi.upper()} | self.crossref[doi] for doi in dois if doi in self.crossref]
        items = known[::-1][: int(query.get("rows", "20"))]
        message = {"total-results": len(known), "items": items}
        return dois, 200, {"status": "ok", "message-type": "work-list", "message": message}

    def _handler(scholars) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer("/crossref/works", scholars._crossref)

            def do_POST(self) -> None:
                self._answer("/graph/v1/paper/batch", scholars._semantic)

            def _answer(self, known_path: str, answer: Any) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                ids, status, content = (), 404, {"error": "no such thing"}
                if url.path == known_path:
                    ids, status, content = answer(query, body)
                said = json.dumps(content).encode()
                scholars.asked.append(Asked(url.path, query, dict(self.headers.items()), ids))
                if scholars.bodies:
                    status, said = scholars.bodies.popleft()
                self.send_response(307 if scholars.moved_to else status)
                if scholars.moved_to:
                    self.send_header("Location", scholars.moved_to)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
