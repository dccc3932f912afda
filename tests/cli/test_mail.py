"""`triage mail test`: one mail through the configured transport, and what the server says."""

from __future__ import annotations

import socket
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.doctor_world import installation
from tests.support.factories import NOON
from tests.support.installation import rows
from tests.support.mail_servers import DROP, inbox, script
from triage import store
from triage.cli import cli
from triage.errors import TriageError

SMTP = """
[mail]
transport = "smtp"
host = "127.0.0.1"
security = "none"
from = "Papers <digest@example.org>"
port = {port}
"""
ADA = "ada@example.org"


def mail_test(folder: Path, config: str, address: str = ADA, exit_code: int = 0) -> str:
    if not (folder / "triage.toml").exists():
        installation(folder, config).database.close()
    command = ["--config", str(folder / "triage.toml"), "mail", "test", address]
    result = CliRunner().invoke(cli, command)
    if isinstance(result.exception, TriageError):
        assert result.exception.exit_code == exit_code
        return str(result.exception)
    assert result.exit_code == exit_code, result.output
    return result.output


def test_the_answer_of_the_server_is_shown(tmp_path: Path) -> None:
    with inbox() as (port, kept):
        said = mail_test(tmp_path, SMTP.format(port=port))
    assert f"127.0.0.1:{port} took the mail and answered: 250 2.0.0 queued as 1\n" in said
    assert kept.envelopes == [("digest@example.org", [ADA])]
    mail = message_from_bytes(kept.messages[0], policy=policy.default)
    assert (mail["To"], mail["From"]) == (ADA, "Papers <digest@example.org>")
    assert str(mail["Subject"]).startswith("Test mail")


def test_nothing_of_it_is_stored(tmp_path: Path) -> None:
    app = installation(tmp_path)
    mail_test(tmp_path, "")
    assert rows(app.database, "messages") == []
    app.close()


@pytest.mark.parametrize(
    ("phase", "answer", "says"),
    [
        ("rcpt", "550 5.1.1 no such user", "check the address"),
        ("end", "451 4.3.0 try later", "Try again in a few minutes"),
        ("mail", "530 5.7.0 authentication required", "answer to MAIL"),
        ("greeting", "554 5.7.1 you are on a list", "whether this machine may send through it"),
        ("end", DROP, "Look whether it arrives"),
    ],
)
def test_a_failure_says_what_the_server_said_and_what_to_do(
    tmp_path: Path, phase: str, answer: str, says: str
) -> None:
    with script(**{phase: answer}) as server:
        said = mail_test(tmp_path, SMTP.format(port=server.port), exit_code=1)
    assert says in said
    if answer != DROP:
        assert answer.partition(" ")[0] in said
    assert ADA not in said


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = mail_test(tmp_path, SMTP.format(port=port), exit_code=1)
    assert f"127.0.0.1:{port} cannot be used now" in said
    assert "check [mail] host, port and security" in said


def test_with_a_maildir_it_says_that_nothing_was_sent(tmp_path: Path) -> None:
    said = mail_test(tmp_path, "")
    assert "sent none" in said
    assert 'transport = "smtp"' in said
    assert len(list((tmp_path / "mail" / "new").iterdir())) == 1


def test_no_test_goes_to_who_wants_no_mail_or_to_what_is_no_address(tmp_path: Path) -> None:
    app = installation(tmp_path)
    with app.database.write() as conn:
        store.suppressions.add(conn, app.address_hash(ADA), "complaint", NOON)
    app.close()
    assert "suppressed" in mail_test(tmp_path, "", exit_code=2)
    assert "not a mail address" in mail_test(tmp_path, "", "ada", exit_code=2)
    assert not (tmp_path / "mail").exists()
