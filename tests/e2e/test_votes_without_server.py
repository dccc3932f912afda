"""One person with a mailbox: digests, votes, and leaving, all by mail, and no public address."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.e2e.site import replace_all
from tests.support.imap_server import imap_server
from tests.support.mail_servers import CERTIFICATE, PASSWORD, USER
from tests.support.paths import ROOT
from tests.support.senders import sink, taken
from tests.support.vote_mail import AUTHSERV_ID, Mailbox, buttons, links, mailbox, write
from triage.app.installation import create_installation
from triage.cli.demo.story import DAY_ONE, DAY_TWO, PAPERS
from triage.digest.message import part_of
from triage.resources import example_config

ADA = "ada@home.example"
MAILBOX = "bounces@papers.example"


@dataclass
class Loop:
    """An installation that serves no page, and the mailbox of its votes."""

    config: Path
    box: Mailbox
    ledger: Path
    mails: Path

    def triage(self, *arguments: str, given: bytes | None = None) -> str:
        """Run a command, as cron does, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "triage", "--config", str(self.config), *arguments],
            env=os.environ | {"TRIAGE_IMAP_PASSWORD": PASSWORD, "SSL_CERT_FILE": str(CERTIFICATE)},
            cwd=ROOT,
            input=given,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def newest_digest(self) -> bytes:
        return (self.mails / taken(self.ledger)[-1]["sha256"]).read_bytes()

    def votes(self) -> list[dict[str, str]]:
        return list(json.loads(self.triage("feedback", "list", "--json")))

    def kinds(self) -> list[str]:
        rows = json.loads(self.triage("bounces", "list", "--json"))
        return [f"{row['kind']} {row['status'] or ''}".strip() for row in reversed(rows)]

    def tomorrow(self) -> str:
        return self.triage("run", "--dry-run", "--date", str(DAY_TWO))


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    ledger, mails, maildir = tmp_path / "ledger", tmp_path / "mails", tmp_path / "votes"
    mails.mkdir()
    with (
        mailbox(maildir) as box,
        imap_server(box.messages) as imap,
        sink(ledger, mails=str(mails)) as port,
    ):
        imap.folder = "Votes"
        text = replace_all(
            example_config(),
            {
                'transport = "maildir"': 'transport = "smtp"',
                'host = "localhost"': 'host = "127.0.0.1"',
                "port = 587": f"port = {port}",
                'security = "starttls"': 'security = "none"',
                'from = "triage <triage@localhost>"': 'from = "triage <digest@papers.example>"',
                'bounces = ""': f'bounces = "{MAILBOX}"',
                'votes = "links"': 'votes = "mailto"',
                'imap_host = ""': 'imap_host = "localhost"',
                "imap_port = 993": f"imap_port = {imap.server_address[1]}",
                'imap_folder = "INBOX"': 'imap_folder = "Votes"',
                'authserv_id = ""': f'authserv_id = "{AUTHSERV_ID}"',
            },
        )
        before, username, after = text.rpartition('username = ""')
        assert username
        config, _ = create_installation(tmp_path / "home", f'{before}username = "{USER}"{after}')
        yield Loop(config, box, ledger, mails)


def test_votes_by_mail_change_the_next_digest_and_forged_ones_do_not(loop: Loop) -> None:
    loop.triage("papers", "import", str(PAPERS))
    loop.triage("subscriber", "add", ADA, "--interests", "large language models that reason")
    assert f"{DAY_ONE}: 1 made" in loop.triage("run", "--date", str(DAY_ONE))

    digest = loop.newest_digest()
    message = message_from_bytes(digest)
    assert re.fullmatch(r"<mailto:bounces\+u\w{42}@[^<>]*>", message["List-Unsubscribe"])
    assert "List-Unsubscribe-Post" not in message
    for part in ("plain", "html"):
        assert "127.0.0.1" not in part_of(digest, part), "base_url"
    assert {url.partition(":")[0] for url, _ in links(digest)} == {"https", "mailto"}

    likes, less = buttons(digest, "Like"), buttons(digest, "Less like this")
    assert len(likes) == len(less) == 10

    # Who has a copy of the digest cannot vote with it.
    loop.box.send(write(likes[0], "Eve <eve@evil.example>"), "eve@evil.example")
    loop.box.send(write(likes[1], ADA), "eve@evil.example")
    loop.box.send(write(likes[2], f'"{ADA}" <eve@evil.example>'), "eve@evil.example")
    loop.box.send(write(likes[3], ADA, Auto_Submitted="auto-replied"), ADA)
    loop.box.send(write(likes[4], ADA, Subject="Automatic reply: Like"), ADA)
    assert "list --kind ignored_vote" in loop.triage("bounces", "intake", "--imap")
    assert loop.kinds() == [
        "ignored_vote other sender",
        "ignored_vote unproved sender",
        "ignored_vote other sender",
        "auto_reply",
        "auto_reply",
    ]
    assert loop.votes() == []
    plan = loop.tomorrow()

    # The subscriber likes three and wants less of one; two by IMAP, one by Maildir, one by pipe.
    loop.box.trusted["smtp@home.example"] = "home.example"
    loop.box.send(write(likes[6], f"Ada Lovelace <{ADA}>"), ADA)
    loop.box.send(write(likes[7], ADA, Subject="AW: Re: Like: ["), "smtp@home.example")
    assert loop.triage("bounces", "intake", "--imap").startswith("2 new (2 vote), 0 known")
    assert loop.triage("bounces", "intake", "--imap").startswith("0 new, 0 known")
    loop.box.send(write(likes[8], ADA), ADA)
    # All mails of before lie in the Maildir, too, and have other bytes there.
    told = loop.triage("bounces", "intake", "--maildir", str(loop.box.maildir))
    assert told.startswith("6 new (2 auto_reply, 3 ignored_vote, 1 vote), 2 known")
    loop.box.send(write(less[5], ADA.upper()), ADA)
    piped = loop.box.messages[9]
    assert loop.triage("bounces", "intake", "-", given=piped).startswith("1 new (1 vote)")
    assert loop.triage("bounces", "intake", "-", given=piped).startswith("0 new, 1 known")
    voted = [(row["email"], row["kind"]) for row in loop.votes()]
    assert voted == [(ADA, "less_like_this"), *[(ADA, "vote_up")] * 3]
    assert loop.tomorrow() != plan

    assert f"{DAY_TWO}: 1 made" in loop.triage("run", "--date", str(DAY_TWO))
    second = loop.newest_digest()
    assert [text for _, text in links(second)] != [text for _, text in links(digest)]

    # And leaves, by mail as well.
    leave = message["List-Unsubscribe"].strip("<>")
    loop.box.send(write(leave, ADA), ADA)
    assert "1 unsubscribed" in loop.triage("bounces", "intake", "--imap")
