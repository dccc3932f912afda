"""Zotero's web API on loopback: one person's library."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "AbCdEfGh1234567890zotero"


class ZoteroServer:
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
