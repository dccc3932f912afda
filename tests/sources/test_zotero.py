"""Zotero by its web API: page after page of one person's library, and their key to nobody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.fakes import StoppedClock
from tests.support.paths import SHARED
from triage.errors import SourceError
from triage.sources.http.client import PoliteClient
from triage.sources.zotero import PAGE, Zotero
from triage.subscribers.bibliography import entries as bibliography

KEY = "AbCdEfGh1234567890zotero"
RECORDED = SHARED / "payloads" / "zotero"


class Server:
    """Answers as Zotero does, and remembers who asked what with which headers."""

    def __init__(self, records: list[Any]) -> None:
        self.records: Any = records
        self.owner: Any = {"userID": 475425, "username": "Z public library"}
        self.status, self.location = 200, ""
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                at = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(at.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append((at.path, query, headers))
                start = int(query.get("start", 0))
                page = server.records
                if isinstance(page, list):
                    page = page[start : start + int(query.get("limit", 25))]
                body = json.dumps(server.owner if at.path == "/keys/current" else page).encode()
                self.send_response(server.status)
                if server.location:
                    self.send_header("Location", server.location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    opened = Server([])
    yield opened
    opened.close()


def read(server: Server, key: str = KEY) -> str:
    with PoliteClient(StoppedClock(), "triage/test", 1.0) as gate:
        return Zotero(gate, key, server.url).library()


def record(n: int) -> dict[str, Any]:
    return {"key": f"K{n}", "data": {"itemType": "preprint", "title": f"Paper {n}",
            "url": f"https://arxiv.org/abs/2603.{n:05d}"}}  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, PAGE, 2 * PAGE + 1])
def test_every_page_of_a_library_is_read(server: Server, n: int) -> None:
    server.records = [record(i) for i in range(1, n + 1)]
    entries = bibliography.read(read(server))
    assert [entry.ids for entry in entries] == [
        (("arxiv", f"2603.{i:05d}"),) for i in range(1, n + 1)
    ]
    paths = [path for path, _, _ in server.asked]
    assert paths == ["/keys/current"] + ["/users/475425/items/top"] * (n // PAGE + 1)


def test_the_key_goes_in_a_header_and_in_no_address(server: Server) -> None:
    read(server)
    for path, query, headers in server.asked:
        assert headers["zotero-api-key"] == KEY
        assert headers["zotero-api-version"] == "3"
        assert KEY not in path + str(query)


def test_the_key_goes_to_nobody_else(server: Server) -> None:
    other = Server([])
    try:
        server.status, server.location = 302, f"{other.url}/keys/current"
        with pytest.raises(SourceError) as caught:
            read(server)
    finally:
        other.close()
    assert other.asked == []
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("owner", "records"),
    [({}, []), ([], []), ({"userID": "../1"}, []), ({"userID": 1}, {"error": "x"})],
)
def test_answers_of_another_shape_are_an_error(server: Server, owner: Any, records: Any) -> None:
    server.owner, server.records = owner, records
    with pytest.raises(SourceError, match="Zotero's answer"):
        read(server)


def test_a_key_that_does_not_open_is_an_error_without_the_key(server: Server) -> None:
    server.status = 403
    with pytest.raises(SourceError) as caught:
        read(server)
    assert KEY not in str(caught.value)
    with pytest.raises(SourceError, match=r"zotero\.org/settings/keys"):
        read(server, "no key\r\nX: y")


@pytest.mark.skipif(not RECORDED.is_dir(), reason="Zotero's recorded answers are not here")
def test_what_zotero_really_said_is_read(server: Server) -> None:
    recorded = json.loads((RECORDED / "items_doc.json").read_text())
    server.records = recorded
    assert bibliography.read(read(server)) == bibliography.read(json.dumps(recorded))
    assert sum(bool(entry.ids) for entry in bibliography.read(read(server))) >= 4
