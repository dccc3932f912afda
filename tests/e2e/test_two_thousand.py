"""Two thousand digests go through a real Postfix; whose mailbox is gone gets no more of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.e2e.postfix import PASSWORD, USER, Postfix, postfix
from tests.support.factories import subscriber
from tests.support.mail_servers import CERTIFICATE
from triage import store
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli.demo.story import PAPERS
from triage.delivery import postfix_log
from triage.domain.records import Frequency
from triage.resources import example_config
from triage.store.tables import message_bodies, messages

N_READERS = 2_000
WEDNESDAY = date(2025, 6, 25)
THURSDAY, FRIDAY = WEDNESDAY + timedelta(days=1), WEDNESDAY + timedelta(days=2)
INTERESTS = (
    "large language models that reason",
    "3D Gaussian splatting and novel view synthesis",
    "robots that learn from demonstrations",
    "diffusion models for images and video",
)
LEFT = "reader7@example.org"  # who has gone on to where nobody knows them
BOUNCES = "bounces@papers.example.org"
DAILY = {f"reader{n}@example.org" for n in range(10)}
READERS = {f"reader{n}@example.org" for n in range(N_READERS)}


@pytest.fixture
def server() -> Iterator[Postfix]:
    there = LEFT.replace("example.org", "away.example")
    with postfix([*(READERS - {LEFT}), BOUNCES], {LEFT: there}) as server:
        yield server


@dataclass(frozen=True)
class Installation:
    """A configured triage, driven by its commands."""

    config: Path

    def triage(self, *arguments: str) -> str:
        """Run a command that does all it is to do, and return what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "triage", "--config", self.config, *arguments],
            env=os.environ | {"TRIAGE_MAIL_PASSWORD": PASSWORD, "SSL_CERT_FILE": str(CERTIFICATE)},
            cwd=self.config.parent,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def queued(self, on: date) -> dict[str, tuple[str, bytes]]:
        """Return the Message-ID and the bytes that were made for each reader on a date."""
        app = open_app(self.config)
        with app.database.read() as conn:
            columns = (messages.c.recipient, messages.c.message_id, message_bodies.c.mime)
            query = select(*columns).join(message_bodies).where(messages.c.on == on)
            found = {row.recipient: (row.message_id, row.mime) for row in conn.execute(query)}
        app.close()
        return found

    def state(self, email: str) -> str:
        rows = json.loads(self.triage("subscriber", "list", "--json"))
        return next(str(row["state"]) for row in rows if row["email"] == email)


@pytest.fixture
def here(tmp_path: Path, server: Postfix) -> Installation:
    text = example_config()
    for default, own in {
        # To choose and to lay out papers takes longer than all that happens to a digest then.
        "size = 10": "size = 5",
        'transport = "maildir"': 'transport = "smtp"',
        'from = "triage <triage@localhost>"': 'from = "triage <digest@papers.example.org>"',
        'bounces = ""': f'bounces = "{BOUNCES}"',
        'maildir = ""': f'maildir = "{server.folder}/mail/{BOUNCES}"',
        'log = ""': f'log = "{server.folder}/log"',
        "port = 587": f"port = {server.port}",
        'username = ""': f'username = "{USER}"',
    }.items():
        assert default in text
        text = text.replace(default, own, 1)
    config, _ = create_installation(tmp_path, text)
    here = Installation(config)
    here.triage("papers", "import", str(PAPERS))
    app = open_app(config)
    subscribe_all(app)
    app.close()
    return here


def subscribe_all(app: App) -> None:
    """Add all readers at once: ten have their digest every day, the others once a week."""
    with app.database.write() as conn:
        for n in range(N_READERS):
            reader = subscriber(
                n,
                email=f"reader{n}@example.org",
                interests=INTERESTS[n % len(INTERESTS)],
                frequency=Frequency.DAILY if n < len(DAILY) else Frequency.WEEKLY,
            )
            key = store.subscribers.email_key(reader.email)
            store.subscribers.add(conn, reader, email_key=key, consent="test", at=app.clock.now())


def test_two_thousand_get_their_digest_and_who_bounces_gets_none_after_the_second(
    server: Postfix, here: Installation
) -> None:
    began = datetime.now(UTC)
    said = here.triage("run", "--date", str(WEDNESDAY))

    assert f"{N_READERS} made, 0 without papers, {N_READERS} sent, 0 put off, 0 failed" in said
    queued = here.queued(WEDNESDAY)
    assert queued.keys() == READERS
    came_back = server.delivered(BOUNCES)
    for address, (_, mime) in queued.items():
        delivered = server.mails(address)
        assert len(delivered) == (address != LEFT), address
        # A Maildir's lines end as files do.
        assert all(mail.endswith(mime.replace(b"\r\n", b"\n")) for mail in delivered), address
    log = server.folder / "log"
    for address in (*sorted(DAILY), f"reader{N_READERS - 1}@example.org"):
        assert postfix_log.read_delivery(log, queued[address][0], began) is True
    assert postfix_log.read_delivery(log, "<d.0@papers.example.org>", began) is False

    assert len(came_back) == 1
    assert b"550 5.1.1" in came_back[0]
    assert "1 hard" in here.triage("bounces", "intake", "--imap")
    assert here.state(LEFT) == "active"  # one day may be an accident

    said = here.triage("run", "--date", str(THURSDAY))
    assert f"{len(DAILY)} made, 0 without papers, {len(DAILY)} sent" in said
    assert here.queued(THURSDAY).keys() == DAILY
    assert len(server.delivered(BOUNCES)) == 1  # what was read lies elsewhere
    assert "1 hard" in here.triage("bounces", "intake", "--imap")
    assert here.state(LEFT) == "suppressed"

    here.triage("run", "--date", str(FRIDAY))
    assert here.queued(FRIDAY).keys() == DAILY - {LEFT}
    assert server.delivered(BOUNCES) == []
    assert server.log().count("status=bounced") == 2
    books = json.loads(here.triage("audit", "--json"))
    assert books["balanced"], books["faults"]
    assert [(day["due"], day["sent"]) for day in books["days"]] == [
        (N_READERS, N_READERS),
        (len(DAILY), len(DAILY)),
        (len(DAILY) - 1, len(DAILY) - 1),
    ]
    assert books["resends"] == 0
