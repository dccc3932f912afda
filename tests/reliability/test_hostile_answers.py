"""Hostile answers are refused soon, in little memory, and without opening anything.

A server on loopback gives answers that are made to cost their reader much more than they cost it.
Another process reads them, so that what is measured is the reading.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

from tests.support.contracts import error_text
from tests.support.guarantees import Guarantee
from tests.support.paths import ROOT
from triage.clock import SystemClock
from triage.errors import SourceError
from triage.sources.http.client import PoliteClient

MOST_S, MOST_MIB = 5.0, 64.0
M = 1_000_000
FEED = b"""<rss version="2.0"><channel><item><title>A title</title><guid>1</guid>
<description>A text of some words.</description></item></channel></rss>"""
JSON_FEED = b"""{"version": "https://jsonfeed.org/version/1.1", "items": [
{"id": "1", "title": "A title", "content_text": "A text of some words."}]}"""

Answer = Callable[[], Iterable[bytes]]


# -- how an answer goes out ------------------------------------------------------------------------


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def until_closed(pieces: Iterable[bytes], *headers: str) -> Iterator[bytes]:
    yield head(*headers)
    yield from pieces


def whole(body: bytes, *headers: str) -> Iterator[bytes]:
    return until_closed([body], f"Content-Length: {len(body)}", *headers)


def chunked(pieces: Iterable[bytes], *headers: str) -> Iterator[bytes]:
    yield head("Transfer-Encoding: chunked", *headers)
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def slowly(pieces: Iterable[bytes], pause_s: float = 0.02) -> Iterator[bytes]:
    for piece in pieces:
        time.sleep(pause_s)
        yield piece


def around(before: bytes, pieces: Iterable[bytes], after: bytes = b"") -> Iterator[bytes]:
    yield before
    yield from pieces
    yield after


def times(piece: bytes, n: int) -> Iterator[bytes]:
    return itertools.repeat(piece * 1_000, n // 1_000)


def numbered(form: bytes, n: int) -> Iterator[bytes]:
    for start in range(0, n, 1_000):
        yield b"".join(form % i for i in range(start, start + 1_000))


def packed(block: bytes, n_blocks: int) -> Iterator[bytes]:
    """Give a block over and over as one gzip, packed once."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    piece = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    yield from itertools.repeat(piece, n_blocks)
    yield packer.flush()  # The check sum is missing: nobody gets so far.


def zeros(n_bytes: int) -> Iterator[bytes]:
    return packed(bytes(1 << 20), n_bytes >> 20)


# -- the answers -----------------------------------------------------------------------------------


def rss(inside: Iterable[bytes]) -> Iterator[bytes]:
    return around(b'<rss version="2.0"><channel>', inside, b"</channel></rss>")


def json_feed(items: Iterable[bytes]) -> Iterator[bytes]:
    return around(b'{"version": "https://jsonfeed.org/version/1.1", "items": [', items, b"0]}")


def with_dtd(dtd: str, inside: str = "&x;") -> bytes:
    item = f"<item><title>T</title><guid>1</guid><description>{inside}</description></item>"
    channel = f'<rss version="2.0"><channel>{item}</channel></rss>'
    return f'<?xml version="1.0"?>\n<!DOCTYPE rss {dtd}>\n{channel}'.encode()


def laughs() -> bytes:
    entities = ['<!ENTITY a0 "ha">']
    entities += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 11)]
    return with_dtd(f"[{''.join(entities)}<!ENTITY x '&a10;'>]")


def with_dtds(file: str, page: str) -> dict[str, Answer]:
    """Documents that define entities; `file` and `page` are what some of them would have read."""
    documents = {
        "billion laughs": laughs(),
        "billion laughs in UTF-16": laughs().decode().encode("utf-16"),
        "quadratic blow-up": with_dtd(f'[<!ENTITY x "{"x" * 50_000}">]', "&x;" * 50_000),
        "an entity that is a file": with_dtd(f'[<!ENTITY x SYSTEM "file://{file}">]'),
        "an entity that is a page": with_dtd(f'[<!ENTITY x SYSTEM "{page}">]'),
        "a DTD that is a page": with_dtd(f'SYSTEM "{page}"', ""),
        "a parameter entity that is a page": with_dtd(f'[<!ENTITY % x SYSTEM "{page}"> %x;]', ""),
        "a notation that is a page": with_dtd(f'[<!NOTATION x SYSTEM "{page}">]', ""),
    }
    return {name: partial(whole, document) for name, document in documents.items()}


LARGE_XML: dict[str, Answer] = {
    "deep XML": lambda: until_closed(times(b"<a>", 6 * M)),
    "deep XML that ends": lambda: until_closed(
        itertools.chain(times(b"<a>", M), times(b"</a>", M))
    ),
    "a million items": lambda: until_closed(rss(times(b"<item/>", M))),
    "a million elements": lambda: until_closed(rss(times(b"<b a='1'/>", M))),
    "a million kinds of elements": lambda: until_closed(rss(numbered(b"<a%d/>", M))),
    "a million attributes": lambda: until_closed(around(b"<rss ", numbered(b"a%d='' ", M), b"/>")),
    "a million namespaces": lambda: until_closed(rss(numbered(b"<a xmlns:n%d='n'/>", 900_000))),
    "a tag of 19 MB": lambda: until_closed(around(b"<rss a='", times(b"x", 19 * M), b"'/>")),
    "a comment of 19 MB": lambda: until_closed(rss(around(b"<!--", times(b"x", 19 * M), b"-->"))),
}
LARGE_JSON: dict[str, Answer] = {
    "deep JSON": lambda: until_closed(around(b'{"items":', times(b"[", 19 * M))),
    "deep JSON that ends": lambda: until_closed(
        around(
            b'{"x":', itertools.chain(times(b'{"a":', 50_000), [b"1"], times(b"}", 50_000)), b"}"
        )
    ),
    "a million JSON items": lambda: until_closed(json_feed(times(b"{},", M))),
    "a million empty lists": lambda: until_closed(json_feed(times(b"[],", 6 * M))),
    "a number of 4 MB": lambda: until_closed(json_feed(times(b"1", 4 * M))),
    "a JSON text of 19 MB": lambda: until_closed(
        json_feed(around('"😀'.encode(), times(b"x", 19 * M), b'",'))
    ),
}
GZIP, GZIP_TWICE = "Content-Encoding: gzip", "Content-Encoding: gzip, gzip"
# A fiftieth of it cannot be packed, so the ratio stays below what is suspect.
HARD = random.Random(1).randbytes(20_000) + bytes(980_000)  # noqa: S311
never = itertools.repeat
LARGE: dict[str, Answer] = {
    "10 GB of zeros": lambda: chunked(zeros(10 << 30), GZIP),
    "10 GB that are packed less": lambda: until_closed(packed(HARD, 10_000), GZIP),
    "10 GB in gzip in gzip": lambda: until_closed(packed(b"".join(zeros(1 << 30)), 10), GZIP),
    "gzip in gzip": lambda: whole(gzip.compress(gzip.compress(FEED)), GZIP),
    "gzip in gzip, as it says": lambda: whole(gzip.compress(gzip.compress(FEED)), GZIP_TWICE),
    "gzip of nothing for ever": lambda: until_closed(
        around(gzip.compress(b"")[:10], times(b"\x00\x00\x00\xff\xff", 10**12)), GZIP
    ),
    "gzip that is over, and goes on": lambda: until_closed(
        around(gzip.compress(b"no feed"), never(bytes(1 << 16))), GZIP
    ),
    "gzip that is none": lambda: whole(FEED, GZIP),
    "a coding that was not asked for": lambda: whole(FEED, "Content-Encoding: br"),
    "endless chunks": lambda: chunked(never(b"x" * (1 << 16))),
    "endless text": lambda: until_closed(never(b"x" * (1 << 16))),
    "an endless error page": lambda: around(head(status="404 Not Found"), never(b"x" * (1 << 16))),
}
# Only looks hostile: nothing is opened, and a feed is in it.
HARMLESS = {"feed: a DTD that is a page", "feed: gzip that is none"}
# What may be better the next time is tried again, unless time is up.
SLOW_OR_BROKEN: dict[str, Answer] = {
    "a slow drip": lambda: until_closed(slowly(never(b" "))),
    "a feed and silence after it": lambda: until_closed(around(FEED, slowly(never(b""), 0.2))),
    "a slow drip of chunks": lambda: chunked(slowly(never(b" "))),
    "a slow drip of headers": lambda: around(b"HTTP/1.1 200 OK\r\nX: ", slowly(never(b"y"))),
    "silence": lambda: slowly(never(b""), 0.2),
    "silence after the headers": lambda: until_closed(slowly(never(b""), 0.2)),
    "endless tiny chunks": lambda: chunked(never(b" ")),
    "endless answers before the answer": lambda: never(head(status="103 Early Hints") * 100),
    "a chunk whose size has no end": lambda: around(
        head("Transfer-Encoding: chunked") + b"1;", never(b"x" * 1_000)
    ),
    "a header of 10 MB": lambda: around(
        b"HTTP/1.1 200 OK\r\nX: ", times(b"y", 10 * M), b"\r\n\r\n"
    ),
    "endless headers": lambda: around(b"HTTP/1.1 200 OK\r\n", never(b"X: y\r\n" * 99)),
    "an endless first line": lambda: around(b"HTTP/1.1 200 ", never(b"y" * 1_000)),
    "a length that is none": lambda: whole(FEED, "Content-Length: -1"),
}


class _Handler(StreamRequestHandler):
    server: HostileServer

    def handle(self) -> None:
        asked = self.rfile.readline().split(b" ")[1].decode()
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(asked)
        for piece in self.server.answers[asked]():
            self.wfile.write(piece)


class HostileServer(ThreadingTCPServer):
    """Gives the answer that its path names; every path that was asked for is noted."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # Whoever has read enough hangs up.

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def url(self, answer: Answer) -> str:
        path = f"/{len(self.answers)}"
        self.answers[path] = answer
        return f"http://{self.address}{path}"


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def read(warming: list[Any], jobs: list[Any], at_once: int) -> dict[str, Any]:
    """Return what became of each answer, by its name."""
    said = subprocess.run(
        [sys.executable, "-m", "tests.support.hostile_reader"],
        cwd=ROOT,
        input=json.dumps({"warming": warming, "jobs": jobs, "at_once": at_once}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {result["name"]: result for result in json.loads(said.stdout)}


@pytest.mark.guarantee("R34")
def test_every_hostile_answer_is_refused(
    server: HostileServer, tmp_path: Path, guarantee: Guarantee
) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    dtds = with_dtds(str(canary), f"http://{server.address}/canary")
    large = {"feed": dtds | LARGE_XML | LARGE_JSON | LARGE}
    if guarantee.full:
        large |= {"arxiv": dtds | LARGE_XML | LARGE, "hf_daily": LARGE_JSON | LARGE}
    # A second try is as good as the first, so the quick form has no time for it.
    slow = {"request_s": 0.4, "deadline_s": 0 if guarantee.full else 0.3, "audited": True}
    patient = {"request_s": 20.0, "deadline_s": 0, "audited": True}
    jobs: list[dict[str, Any]] = [
        {"name": f"{reader}: {name}", "reader": reader, "url": server.url(answer)} | patient
        for reader, some in large.items()
        for name, answer in some.items()
    ]
    jobs += [
        {"name": name, "reader": "feed", "url": server.url(answer)} | slow
        for name, answer in SLOW_OR_BROKEN.items()
    ]
    harmless = [
        {"name": "RSS", "reader": "feed", "url": server.url(lambda: whole(FEED))},
        {"name": "JSON", "reader": "feed", "url": server.url(lambda: whole(JSON_FEED))},
        {"name": "list", "reader": "hf_daily", "url": server.url(lambda: whole(b"[]"))},
        {"name": "none", "reader": "arxiv", "url": server.url(lambda: whole(FEED))},
    ]
    warming = [job | patient | {"audited": False} for job in harmless]
    results = read(warming, jobs, at_once=1 if guarantee.full else 6)
    assert [results[name]["said"] for name in ("RSS", "JSON", "list")] == ["", "", ""]
    hostile = [results[job["name"]] for job in jobs]
    for result in hostile:
        assert (result["said"] == "") == (result["name"] in HARMLESS), result
        # Nobody may have waited for what could have been refused at once.
        in_time = result["request_s"] == patient["request_s"]
        assert not (in_time and "took longer" in result["said"]), result
        name = result["name"].partition(": ")[2]
        if result["said"]:
            error_text(SourceError(result["said"]))
            assert "unsafe XML" in result["said"] or name not in dtds | LARGE_XML, result
        assert result["grown_mib"] < MOST_MIB, result
        assert set(result["opened"]) <= {f"socket {server.address}"}, result
        assert result["took_s"] < MOST_S or not guarantee.full, result
    assert "/canary" not in server.asked
    guarantee.record(
        n_answers=len(hostile),
        slowest_s=round(max(result["took_s"] for result in hostile), 2),
        most_grown_mib=round(max(result["grown_mib"] for result in hostile), 1),
        n_opened=0,
    )


@pytest.mark.parametrize("tag", ['"å"', '"' + "x" * 9_000 + '"', '"a\tb"'])
def test_a_tag_that_cannot_be_sent_back_is_not_kept(server: HostileServer, tag: str) -> None:
    url = server.url(lambda: whole(FEED, f"ETag: {tag}"))
    with PoliteClient(SystemClock(), "triage/test", 0.0) as gate:
        answer = gate.get(url)
        assert (answer.body, answer.etag) == (FEED, "")
        assert gate.get(url, etag=answer.etag).body == FEED
