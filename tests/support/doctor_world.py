"""An installation for the doctor to look at, and servers of this machine for it to ask."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from tests.support import databases
from tests.support.factories import NOON
from tests.support.fakes import StoppedClock
from triage.app.application import App, open_app
from triage.operations.doctor import Probes, Reply

ARXIV = '[sources.arxiv]\ncategories = ["cs.CL", "cs.LG"]\n'
BOTH = ARXIV + "[sources.hf_daily]\nenabled = true\n"


@dataclass(frozen=True)
class Server:
    """Where mail goes, as the settings will say it."""

    host: str = "mail.example.org"
    port: int = 587
    security: str = "starttls"
    helo_name: str = ""
    username: str | None = None
    transport: str = "smtp"
    sender: str = "Papers <digest@example.org>"
    bounces: str = ""
    votes: str = "links"
    path: str = "mail"
    dkim_selector: str = "2026"


NAMES: dict[tuple[str, str], tuple[str, ...]] = {
    ("example.org", "TXT"): ("other=1", "v=spf1 mx include:relay.example.net -all"),
    ("relay.example.net", "TXT"): ("v=spf1 ip4:192.0.2.7 ~all",),
    ("2026._domainkey.example.org", "TXT"): ("v=DKIM1; k=ed25519; p=AbCd",),
    ("_dmarc.example.org", "TXT"): ("v=DMARC1; p=quarantine; aspf=r",),
    ("example.org", "MX"): ("10 mail.example.org.",),
    ("mail.example.org", "A"): ("192.0.2.7",),
    ("192.0.2.7", "PTR"): ("mail.example.org",),
}
"""What the names of a domain that sends lawfully say."""


def installation(folder: Path, config: str = "") -> App:
    """Return an app on a new SQLite database, with a good secret and the clock at NOON."""
    (folder / "triage.db").write_bytes(databases.migrated_file())
    (folder / "triage.db").chmod(0o600)
    (folder / "triage.toml").write_text(config)
    key = folder / "secret_key"
    key.write_text("kLq8Zp2VtR7wXy4NbM1cFh6JdG3sAe9u\n")
    key.chmod(0o600)
    return open_app(folder / "triage.toml", clock=StoppedClock())


def well(**others: Any) -> Probes:
    """Return probes that find everything in order, but for `others`."""
    return replace(
        Probes(
            ask=lambda url, agent: Reply(200, NOON),
            greet=lambda server, password: "greeted, TLSv1.3",
            lookup=lambda name, kind: NAMES.get((name, kind), ()),
            post=lambda url, agent: Reply(400, NOON),
            free_bytes=lambda path: 80_000_000_000,
            is_synchronized=lambda: False,
        ),
        **others,
    )


def mailing(app: App, server: Server, base_url: str = "https://papers.example.org") -> App:
    """Return the app as it is when mail goes to `server`."""
    site = app.settings.site.model_copy(update={"base_url": base_url})
    app.settings = app.settings.model_copy(update={"mail": server, "site": site})
    return app


class _Web(BaseHTTPRequestHandler):
    status, headers_sent = 200, {"Date": format_datetime(NOON, usegmt=True), "Age": "30"}
    agents: list[str]

    def do_GET(self) -> None:
        self.agents.append(self.headers["User-Agent"])
        self.send_response_only(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"x" * 10)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def web(**attributes: object) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a web server of this machine and the agents that it saw."""
    agents: list[str] = []
    handler = type("Handler", (_Web,), {"agents": agents, **attributes})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/rss", agents
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Sink:
    """Takes no mail: the doctor must not send any."""

    taken = 0

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        self.taken += 1
        return "250 taken"


@contextmanager
def mail(sink: Sink | None = None, **options: Any) -> Iterator[Server]:
    """Yield a mail server of this machine that speaks no TLS."""
    port = unused_port()
    controller = Controller(sink or Sink(), "127.0.0.1", port, **options)
    controller.start()
    try:
        yield Server("127.0.0.1", port, "none")
    finally:
        controller.stop()


def authenticator(
    server: SMTP, session: object, envelope: object, kind: str, data: Any
) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"ada", b"right"), handled=False)


LOGIN = {"authenticator": authenticator, "auth_require_tls": False}
