"""The objects of one installation."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import databases
from tests.support.doctor_world import installation
from tests.support.factories import NOON
from tests.support.installation import add_reader, empty_slate, queue
from triage import store
from triage.app.application import open_app
from triage.app.installation import create_installation
from triage.domain.records import MessageState as State
from triage.subscribers.network_limit import TRUSTED


def test_closing_an_installation_closes_what_it_has_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = create_installation(tmp_path, databases.config_naming("sqlite:///triage.db"))
    app = open_app(config)
    closed: list[str] = []
    for name in ("live_sources", "database", "sent_log"):
        opened = getattr(app, name)
        monkeypatch.setattr(type(opened), "close", lambda each: closed.append(type(each).__name__))
    app.close()
    assert closed == ["LiveSources", "Database", "SentLog"]


def test_the_log_of_postfix_is_asked_about_the_time_of_the_last_attempt(tmp_path: Path) -> None:
    text = databases.config_naming("sqlite:///triage.db")
    text = text.replace('transport = "maildir"', 'transport = "smtp"')
    config, _ = create_installation(tmp_path, text.replace('log = ""', 'log = "mail.log"'))
    app = open_app(config)
    database = app.database
    message_id = queue(database, empty_slate(add_reader(database, 1), 1))
    minutes = {n: f"{NOON + timedelta(minutes=n):%Y-%m-%dT%H:%M:%S+00:00}" for n in range(30)}
    line = "mail postfix/cleanup[7]: ABCDE1: message-id=<other@example.org>"
    (tmp_path / "mail.log").write_text("".join(f"{minutes[n]} {line}\n" for n in (11, 12, 13)))
    assert app.mailer.delivered(message_id) is None
    with database.write() as conn:
        [message] = store.messages.in_states(conn, list(State))
        store.attempts.begin(conn, message.id, 1, NOON)
    assert app.mailer.delivered(message_id) is None
    with database.write() as conn:
        store.attempts.begin(conn, message.id, 2, NOON + timedelta(minutes=12))
    assert app.mailer.delivered(message_id) is False
    app.close()


def test_the_limits_of_the_forms_know_the_trusted_networks(tmp_path: Path) -> None:
    networks = '["192.0.2.7", "198.51.100.9/24", "2001:db8::/48"]'
    app = installation(tmp_path, f"[web]\ntrusted_networks = {networks}\n")
    limit = app.signup.network_limit
    for peer in ("192.0.2.7", "198.51.100.1", "2001:db8::1"):
        assert limit.name(peer) == TRUSTED
    assert limit.name("192.0.2.8") == "192.0.2.0/24"
