"""A live day reaches its readers through a real Postfix, with everything checked on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.e2e.postfix import PASSWORD, USER, Postfix, postfix
from tests.reliability.test_live_day import CATEGORIES, DAY, records
from tests.support.emulator import Upstreams
from tests.support.mail_servers import CERTIFICATE
from triage.app.application import open_app
from triage.app.installation import create_installation
from triage.cli.demo.story import PAPERS
from triage.resources import example_config
from triage.store.tables import message_bodies, messages
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

INTERESTS = (
    "large language models that reason",
    "3D Gaussian splatting and novel view synthesis",
    "robots that learn from demonstrations",
    "reinforcement learning from human feedback",
    "diffusion models for images and video",
    "theory of deep learning, generalisation",
)
READERS = {f"reader{n}@example.org": INTERESTS[n % len(INTERESTS)] for n in range(12)}
GONE = "gone@example.org"
ADDED_BY_POSTFIX = {b"Return-Path", b"X-Original-To", b"Delivered-To", b"Received"}


@pytest.fixture(scope="module")
def postfix_running() -> Iterator[Postfix]:
    with postfix(list(READERS)) as server:
        yield server


@pytest.fixture
def server(postfix_running: Postfix) -> Postfix:
    postfix_running.empty()
    return postfix_running


@dataclass(frozen=True)
class Installation:
    """A configured triage, driven as an operator does: by its commands and environment."""

    config: Path

    def triage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        right = {"TRIAGE_MAIL_PASSWORD": PASSWORD, "SSL_CERT_FILE": str(CERTIFICATE)}
        return subprocess.run(
            [sys.executable, "-m", "triage", "--config", self.config, *arguments],
            env=os.environ | right | environment,
            cwd=self.config.parent,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.triage("run", "--date", str(DAY), **environment)

    def listed(self, noun: str) -> dict[str, dict[str, Any]]:
        """Return the rows of a listing by the address that each is about."""
        done = self.triage(noun, "list", "--json")
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)
        by_address = {row.get("subscriber") or row["email"]: row for row in rows}
        assert len(by_address) == len(rows)
        return by_address

    def frozen(self) -> dict[str, bytes]:
        """Return the bytes that were queued for each reader."""
        app = open_app(self.config)
        with app.database.read() as conn:
            query = select(messages.c.recipient, message_bodies.c.mime).join(message_bodies)
            found = {row.recipient: row.mime for row in conn.execute(query)}
        app.close()
        return found


@contextmanager
def installed(folder: Path, server: Postfix, readers: dict[str, str]) -> Iterator[Installation]:
    """Install triage with these readers, an announced day before it and Postfix behind it."""
    with Upstreams(records(PAPERS, DAY)) as upstreams:
        upstreams.show(DAY)
        text = example_config()
        for default, own in {
            "categories = []": f"categories = {json.dumps(CATEGORIES)}",
            "https://rss.arxiv.org/rss": upstreams.rss_url,
            "https://export.arxiv.org/api/query": upstreams.api_url,
            "https://huggingface.co/api/daily_papers": upstreams.hf_url,
            "https://oaipmh.arxiv.org/oai": f"{upstreams.base}/oai",
            "days before.\nenabled = false": "days before.\nenabled = true",
            "min_interval_s = 3.0": "min_interval_s = 0.0",
            "min_interval_s = 1.0": "min_interval_s = 0.0",
            'transport = "maildir"': 'transport = "smtp"',
            'from = "triage <triage@localhost>"': 'from = "triage <digest@papers.example.org>"',
            "port = 587": f"port = {server.port}",
            'username = ""': f'username = "{USER}"',
        }.items():
            assert default in text
            text = text.replace(default, own)
        config, _ = create_installation(folder, text)
        app = open_app(config)
        for email, interests in readers.items():
            add(app.database, email, app.clock, SubscriberPreferences(interests=interests))
        app.close()
        yield Installation(config)


def assert_each_has_their_digest(here: Installation, server: Postfix) -> None:
    """Assert that every reader got one mail: what was frozen for them, to the byte."""
    frozen, outbox = here.frozen(), here.listed("outbox")
    for address in READERS:
        (delivered,) = server.delivered(address)
        # A Maildir's lines end as files do.
        digest = frozen[address].replace(b"\r\n", b"\n")
        assert f"To: {address}\n".encode() in digest
        assert delivered.endswith(digest)
        added = delivered.removesuffix(digest)
        assert set(re.findall(rb"(?m)^[^\s:]+(?=:)", added)) == ADDED_BY_POSTFIX
        assert b"using TLSv1" in added
        assert f"(Authenticated sender: {USER}@example.org)".encode() in added
        assert outbox[address]["state"] == "sent"
        assert outbox[address]["attempts"] == 1
        queued = re.fullmatch(r"250 2\.0\.0 Ok: queued as (\w+)", outbox[address]["last_reply"])
        assert queued is not None
        assert f"with ESMTPSA id {queued[1]}".encode() in added


def test_everyone_gets_one_digest_to_the_byte_and_a_second_run_sends_nothing(
    server: Postfix, tmp_path: Path
) -> None:
    with installed(tmp_path, server, READERS) as here:
        first = here.run()

        assert first.returncode == 0, first.stderr
        assert "12 made, 0 without papers, 12 sent" in first.stdout
        assert_each_has_their_digest(here, server)

        second = here.run()

        assert second.returncode == 0, second.stderr
        assert "0 made, 0 without papers, 0 sent" in second.stdout
        assert_each_has_their_digest(here, server)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"TRIAGE_MAIL_PASSWORD": "incorrect horse"},
            "refuses the user name or password: 535 5.7.8 Error: authentication failed",
        ),
        ({"SSL_CERT_FILE": ""}, "has no valid certificate: self-signed certificate"),
    ],
    ids=["password", "certificate"],
)
def test_without_trust_nothing_is_sent_and_once_it_is_mended_everything(
    server: Postfix, tmp_path: Path, wrong: dict[str, str], told: str
) -> None:
    with installed(tmp_path, server, READERS) as here:
        refused = here.run(**wrong)

        assert refused.returncode == 1
        assert f"the mail server localhost:{server.port} {told}" in refused.stderr
        assert "horse" not in refused.stderr
        assert [server.delivered(address) for address in READERS] == [[]] * len(READERS)
        assert {row["state"] for row in here.listed("outbox").values()} == {"rendered"}
        before = here.frozen()

        mended = here.run()

        assert mended.returncode == 0, mended.stderr
        assert "0 made, 0 without papers, 12 sent" in mended.stdout
        assert here.frozen() == before
        assert_each_has_their_digest(here, server)


def test_a_mailbox_that_is_gone_costs_nobody_their_digest_and_is_not_given_up_on_one_date(
    server: Postfix, tmp_path: Path
) -> None:
    first, *rest = READERS
    readers = {first: READERS[first], GONE: INTERESTS[0]} | {each: READERS[each] for each in rest}
    with installed(tmp_path, server, readers) as here:
        done = here.run()

        assert done.returncode == 3
        assert "13 made, 0 without papers, 12 sent, 0 put off, 1 failed" in done.stdout
        assert_each_has_their_digest(here, server)
        row = here.listed("outbox")[GONE]
        assert (row["state"], row["reason"], row["attempts"]) == ("failed", "refused", 1)
        assert "answers 550 5.1.1" in row["last_reply"]
        states = {address: each["state"] for address, each in here.listed("subscriber").items()}
        assert states == dict.fromkeys(readers, "active")

        again = here.run()

        assert again.returncode == 0, again.stderr
        assert "0 made, 0 without papers, 0 sent, 0 put off, 0 failed" in again.stdout
        assert here.listed("outbox")[GONE] == row
