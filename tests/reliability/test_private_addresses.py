"""A feed's address never leads into a private network, however it is written or answered.

Every connection that would be opened to anywhere but a public address lands at a canary instead, on
whatever port it was meant for. So a canary that nobody visited means that nobody tried.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import error_text
from tests.support.factories import DAY
from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from triage.errors import SourceError
from triage.sources.feed.source import FeedSource
from triage.sources.http.client import PoliteClient
from triage.sources.http.public_only import PinnedTransport, is_public

PUBLIC, ALSO_PUBLIC = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
FEED = b'<rss version="2.0"><channel/></rss>'

ADDRESSES = """
127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7f.0.0.1 0x7f.1 0177.0.0.1
017700000001 0177.1 127.0.0.1. 127.0.0.0x1 0 0.0.0.0 00.0.0.0 10.0.0.1 10.1 172.16.0.1
172.31.255.255 192.168.0.1 3232235521 169.254.169.254 0xa9fea9fe 100.64.0.1 100.127.255.254
192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 192.88.99.1 224.0.0.1 239.255.255.255
240.0.0.1 255.255.255.255 [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1]
[::ffff:10.0.0.1] [::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::127.0.0.1] [64:ff9b:1::a00:1]
[2002:7f00:1::] [2001:0:7f00:1::] [fe80::1] [fe80::1%25lo] [fc00::1] [fd12:3456::1] [fec0::1]
[ff02::1] [2001:db8::1] [100::1] [3fff::1] [5f00::1] localhost LOCALHOST localhost.
localhost.localdomain intranet １２７.０.０.１ ①②⑦.⓪.⓪.① 127。0。0。1 ⓛⓞⓒⓐⓛⓗⓞⓢⓣ
""".split()
NAMES = {
    "to-loopback.example": ["127.0.0.1"],
    "to-loopback-6.example": ["::1"],
    "to-mapped.example": ["::ffff:10.0.0.1"],
    "to-nat64.example": ["64:ff9b::a00:1"],
    "to-link.example": ["fe80::1%2"],
    "to-metadata.example": ["169.254.169.254"],
    "to-shared.example": ["100.64.0.1"],
    "to-zero.example": ["0.0.0.0"],  # noqa: S104
    "to-both.example": [PUBLIC, "10.0.0.1"],
    "to-both-turned.example": ["10.0.0.1", PUBLIC],
    "to-6-and-4.example": [ALSO_PUBLIC, "127.0.0.1"],
    "to-nothing.example": [],
    "to-nonsense.example": ["nonsense"],
}
OTHERS = [
    "https://feeds.example@127.0.0.1/",
    "https://127.0.0.1@feeds.example/",
    "https://feeds.example:443@127.0.0.1/",
    "https://:@127.0.0.1/",
    "https://feeds.example\\@127.0.0.1/",
    "https://127.0.0.1#@feeds.example/",
    "https://127.0.0.1?@feeds.example/",
    "https://feeds.example%2f@127.0.0.1/",
    "https://127.0.0.1%2f.feeds.example/",
    "https://127.0.0.1\t.feeds.example/",
    "https://127.0.0.1 /",
    "https://feeds.example./",
    "https://feeds.example:22/",
    "https://feeds.example:8080/",
    "https://feeds.example:0/",
    "https://feeds.example:65536/",
    "https://feeds.example:6379/",
    "http://feeds.example/",
    "http://127.0.0.1/",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://127.0.0.1/",
    "dict://127.0.0.1:11211/stat",
    "unix:///var/run/docker.sock",
    "data:text/xml,<rss/>",
    "//127.0.0.1/",
    "https:127.0.0.1",
    "https:///127.0.0.1/",
    "https://",
    "",
]
REDIRECTS = [
    "http://127.0.0.1/",
    "http://127.0.0.1:8000/",
    "http://localhost/",
    "http://[::1]/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://to-loopback.example/",
    "http://to-both.example/",
    "//127.0.0.1/",
    "//localhost",
    "http://feeds.example@127.0.0.1/",
    "http://someone@feeds.example/feed",
    "http://feeds.example:8080/feed",
    "http://169.254.169.254/latest/meta-data/",
    "http://rebinding.example/feed",
    "/to/127.0.0.1",
    "/to/to/127.0.0.1",
    "/to/to/to/127.0.0.1",
    "/round",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "http://127.0.0.1:80\\@feeds.example/",
]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.visits = 0
        self.asked: list[tuple[str, str]] = []
        self.moved = {"/round": "/round"}

    def process_request(self, request: Any, client_address: Any) -> None:
        self.visits += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Answer(BaseHTTPRequestHandler):
    """A feed, or the way to somewhere else: `/to/X` leads to X, `/to/to/X` to `/to/X`."""

    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append((self.headers["Host"], self.path))
        target = self.server.moved.get(self.path)
        if self.path.startswith("/to/to/"):
            target = self.path.removeprefix("/to")
        elif self.path.startswith("/to/"):
            target = f"http://{self.path.removeprefix('/to/')}/"
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.send_header("Content-Length", "0" if target else str(len(FEED)))
        self.end_headers()
        self.wfile.write(b"" if target else FEED)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class World:
    """The internet, of one public server and a canary everywhere else.

    Attributes:
        dialled: the address of every connection that was tried, as it was asked for.
        down: public addresses where nobody answers.
        resolved: every name that was looked up.
    """

    canary: _Server
    public: _Server
    dialled: list[tuple[str, int]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    resolved: list[str] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """Answer as a name server would, and read odd numbers as the system does."""
        self.resolved.append(host)
        if host == "rebinding.example":
            return ["127.0.0.1"] if self.resolved.count(host) > 1 else [PUBLIC]
        if host.startswith("localhost"):
            return ["127.0.0.1"]
        if host in NAMES:
            return NAMES[host]
        if host.endswith(".example"):
            return [PUBLIC, ALSO_PUBLIC]
        flags = socket.AI_NUMERICHOST
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        return [str(address[0]) for *_, address in found]

    def gate(self, *, plain: bool = False, pinned: bool = True) -> PoliteClient:
        transport = partial(PinnedTransport, plain=plain, resolve=self.resolve)
        return PoliteClient(
            StoppedClock(), "triage/test", 0.0, transport=transport if pinned else None
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    canary, public = _Server(), _Server()
    world = World(canary, public)
    dial = socket.create_connection

    def dialled(address: tuple[str, int], *args: Any, **options: Any) -> socket.socket:
        host, port = address
        world.dialled.append((host, port))
        if host in world.down:
            raise ConnectionRefusedError
        server = public if host in {PUBLIC, ALSO_PUBLIC} and port in {80, 443} else canary
        return dial(("127.0.0.1", server.server_port), *args, **options)

    monkeypatch.setattr(socket, "create_connection", dialled)
    threads = [Thread(target=server.serve_forever, args=(0.02,)) for server in (canary, public)]
    for thread in threads:
        thread.start()
    yield world
    for server, thread in zip((canary, public), threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


def refused(world: World, url: str, *, plain: bool = False) -> str:
    """Return why a feed at `url` was not read."""
    with world.gate(plain=plain) as gate, pytest.raises(SourceError) as caught:
        for _ in FeedSource(gate, "x", url, DAY).fetch(None):
            pass
    return error_text(caught.value)


@pytest.mark.guarantee("R35")
def test_no_address_leads_to_the_canary(world: World, guarantee: Guarantee) -> None:
    direct = [f"https://{host}/feed" for host in (*ADDRESSES, *NAMES)] + OTHERS
    plain = [f"http://{host}/feed" for host in (*ADDRESSES, *NAMES)]
    for url in direct:
        refused(world, url)
        assert (url, world.dialled) == (url, [])
    for url in plain:
        refused(world, url, plain=True)
        assert (url, world.dialled) == (url, [])
    for number, target in enumerate(REDIRECTS):
        world.resolved = ["rebinding.example"]
        world.public.moved[f"/{number}"] = target
        refused(world, f"http://feeds.example/{number}", plain=True)
        assert {host for host, _ in world.dialled} == {PUBLIC}, target
    assert world.canary.visits == 0
    n_targets = len(direct) + len(plain) + len(REDIRECTS)
    guarantee.record(n_targets=n_targets, n_connections_to_the_canary=world.canary.visits)
    assert n_targets >= 60


def test_the_canary_hears_of_whoever_is_not_pinned(world: World) -> None:
    with world.gate(pinned=False) as gate:
        gate.get("http://127.0.0.1:6379/")
        gate.get("http://feeds.example/to/127.0.0.1")
    assert world.canary.visits == 3


def test_a_name_is_looked_up_once_and_the_connection_goes_there(world: World) -> None:
    with world.gate(plain=True) as gate:
        assert gate.get("http://rebinding.example/feed").body == FEED
    assert world.resolved == ["rebinding.example"]
    assert world.dialled == [(PUBLIC, 80)]
    assert world.public.asked == [("rebinding.example", "/feed")]


def test_every_redirect_is_looked_up_anew(world: World) -> None:
    world.public.moved |= {"/a": "http://other.example/b", "/b": "/c", "/c": "/feed"}
    with world.gate(plain=True) as gate:
        assert gate.get("http://feeds.example/a").body == FEED
    assert world.resolved == ["feeds.example", *["other.example"] * 3]
    assert [host for host, _ in world.public.asked] == ["feeds.example", *["other.example"] * 3]


def test_where_one_address_does_not_answer_the_next_is_tried(world: World) -> None:
    world.down = {PUBLIC}
    with world.gate(plain=True) as gate:
        assert gate.get("http://feeds.example/feed").body == FEED
    assert world.dialled == [(PUBLIC, 80), (ALSO_PUBLIC, 80)]


def test_a_public_address_may_be_written_out(world: World) -> None:
    with world.gate(plain=True) as gate:
        assert gate.get(f"http://{PUBLIC}/feed").body == FEED
        assert gate.get(f"http://[{ALSO_PUBLIC}]:80/feed").body == FEED
    assert world.resolved == []


@pytest.mark.parametrize(
    "host", ["1572395790", "93.184.55054", "0x5d.184.215.14", "93.184.0xd7.016"]
)
def test_an_address_that_is_written_oddly_is_not_asked_for(world: World, host: str) -> None:
    assert "cannot be the name of a public" in refused(world, f"https://{host}/feed")
    assert (world.resolved, world.dialled) == ([], [])


def test_proxies_of_the_environment_are_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:3128")
    with world.gate(plain=True) as gate:
        gate.get("http://feeds.example/feed")
    assert world.dialled == [(PUBLIC, 80)]


@pytest.fixture
def named(world: World, root: Path) -> list[str | None]:
    """Let the public server speak TLS, as localhost; return the names that it was called."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root / "tests" / "data" / "localhost.pem")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    world.public.socket = context.wrap_socket(world.public.socket, server_side=True)
    return names


def over_tls(
    world: World, change: Callable[[ssl.SSLContext], None] = lambda _: None
) -> PoliteClient:
    def transport(trust: ssl.SSLContext) -> PinnedTransport:
        own = ssl.create_default_context()
        change(own)
        return PinnedTransport(own, resolve=world.resolve)

    return PoliteClient(StoppedClock(), "triage/test", 0.0, transport=transport)


def test_over_tls_the_server_is_called_by_its_name(world: World, named: list[str | None]) -> None:
    def believe_anybody(context: ssl.SSLContext) -> None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

    with over_tls(world, believe_anybody) as gate:
        assert gate.get("https://feeds.example/feed").body == FEED
        world.public.moved["/down"] = "http://feeds.example/feed"
        with pytest.raises(SourceError, match="read by https only"):
            gate.get("https://feeds.example/down")
    assert named == ["feeds.example"] * 2
    assert world.dialled == [(PUBLIC, 443)] * 2
    assert world.public.asked == [("feeds.example", "/feed"), ("feeds.example", "/down")]


def test_a_certificate_is_compared_with_the_name_and_not_with_the_address(
    world: World, named: list[str | None], root: Path
) -> None:
    def trust(context: ssl.SSLContext) -> None:
        context.load_verify_locations(root / "tests" / "data" / "localhost.pem")

    with over_tls(world, trust) as gate, pytest.raises(SourceError) as caught:
        gate.get("https://feeds.example/feed")
    assert "feeds.example" in error_text(caught.value)
    assert "ostname mismatch" in error_text(caught.value)
    assert world.public.asked == []


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_only_global_unicast_is_public(address: Any) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_private
        if address.version == 6:
            assert address.ipv4_mapped is None
            assert address.sixtofour is None
            assert address.teredo is None


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", PUBLIC, ALSO_PUBLIC, "2001:4860:4860::8888", "2a00:1450::1"]
)
def test_the_internet_is_public(address: str) -> None:
    assert is_public(address)
