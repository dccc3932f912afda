"""An installation of the program that serves its pages, and the mail server behind it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from gzip import open as unzipped
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from tests.support.installation import rows
from tests.support.senders import sink, taken
from triage.app.installation import create_installation
from triage.cli.demo.story import DAY_TWO, PAPERS
from triage.resources import example_config
from triage.store import Database, open_database

ROOT = Path(__file__).resolve().parents[2]
N_PAPERS = 250
PATIENCE_S = 20


@dataclass
class Site:
    """An installation with papers that serves its pages, and the mail server behind it."""

    config: Path
    base_url: str
    database: Database
    ledger: Path
    mails: Path
    _read: set[str] = field(default_factory=set)

    def triage(self, *arguments: str) -> str:
        """Run a command, as an operator does, and return what it prints."""
        command = [sys.executable, "-m", "triage", "--config", str(self.config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def next_mail(self, address: str) -> bytes:
        """Return the oldest mail to somebody that was not returned before; wait for it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for row in taken(self.ledger):
                if row["rcpt"] == address and row["id"] not in self._read:
                    self._read.add(row["id"])
                    return (self.mails / row["sha256"]).read_bytes()
            time.sleep(0.05)
        raise AssertionError(f"no mail came for {address}")

    def stored(self, table: str, email: str) -> list[dict[str, Any]]:
        """Return the rows of a table that are about somebody."""
        [reader] = [row for row in rows(self.database, "subscribers") if row["email"] == email]
        key = "id" if table == "subscribers" else "subscriber_id"
        return [row for row in rows(self.database, table) if row[key] == reader["id"]]


def with_ports(text: str, port: int, mail_port: int) -> str:
    """Return a config that serves its pages and sends its mail on ports of this machine."""
    return replace_all(
        text,
        {
            "port = 8000": f"port = {port}",
            'transport = "maildir"': 'transport = "smtp"',
            'host = "localhost"': 'host = "127.0.0.1"',
            "port = 587": f"port = {mail_port}",
            'security = "starttls"': 'security = "none"',
            'from = "triage <triage@localhost>"': 'from = "triage <digest@papers.example>"',
        },
    )


def replace_all(text: str, lines: Mapping[str, str]) -> str:
    """Replace each line of a config, which has to be there once."""
    for default, own in lines.items():
        assert text.count(default) == 1, default
        text = text.replace(default, own)
    return text


@contextmanager
def serving(config: Path, base_url: str) -> Iterator[None]:
    log = config.with_name("log")
    with log.open("w") as output:
        command = [sys.executable, "-m", "tests.e2e.quick", "--config", str(config), "serve"]
        server = subprocess.Popen(command, cwd=ROOT, stderr=output)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not _answers(base_url):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            server.terminate()
            server.wait()


def _answers(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def installed(folder: Path, url: str) -> Iterator[Site]:
    """Install the program, store papers, and serve."""
    ledger, mails = folder / "ledger", folder / "mails"
    mails.mkdir()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    base_url = f"http://127.0.0.1:{port}"
    with sink(ledger, mails=str(mails)) as mail_port:
        places = {
            'url = "sqlite:///triage.db"': f"url = {json.dumps(url)}",
            'base_url = "http://127.0.0.1:8000"': f'base_url = "{base_url}"',
        }
        text = with_ports(replace_all(example_config(), places), port, mail_port)
        config, _ = create_installation(folder / "site", text)
        site = Site(config, base_url, open_database(url), ledger, mails)
        papers = folder / "papers.jsonl"
        with unzipped(PAPERS, "rt", encoding="utf-8") as lines:
            chosen = [json.loads(line) for line in islice(lines, N_PAPERS)]
        for upvotes, each in enumerate(chosen[:9]):
            # As other sources have it.
            each |= {"upvotes": upvotes, "tldr": "It says in one sentence what it is about."}
        papers.write_text("\n".join(json.dumps(each) for each in chosen), "utf-8")
        site.triage("papers", "import", str(papers))
        # The first run fits what tells papers apart, which previews and searches need.
        site.triage("run", "--date", str(DAY_TWO))
        with serving(config, base_url):
            yield site
        site.database.close()
