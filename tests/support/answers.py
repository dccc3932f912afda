"""A server on loopback that gives whatever a test says, for services that have no emulator.

with Answers() as answers:
    answers.give = lambda path, query: b"..."     # the body of every answer
    answers.fail(503, retry_after="3600")         # from now on
    answers.hang()                                # no answer until the end
    answers.asked                                 # (path, query) of every request
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

Query = dict[str, str]


def nothing(path: str, query: Query) -> bytes:
    return b""


@dataclass
class Answers:
    give: Callable[[str, Query], bytes] = nothing
    asked: list[tuple[str, Query]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._may_answer = threading.Event()
        self._may_answer.set()
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
        self._may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, status: int, retry_after: str = "") -> None:
        self.status, self.headers = status, {"Retry-After": retry_after} if retry_after else {}

    def recover(self) -> None:
        self.status, self.headers = 200, {}
        self._may_answer.set()

    def hang(self) -> None:
        self._may_answer.clear()

    def _handler(answers) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                answers.asked.append((unquote(url.path), query))
                answers._may_answer.wait()
                body = answers.give(unquote(url.path), query)
                try:
                    self.send_response(answers.status)
                    for name, value in answers.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    pass  # The client may have hung up.

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
