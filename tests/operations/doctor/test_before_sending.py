"""No mail goes while what it depends on is red, and what was seen holds for some minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import triage.operations.doctor
from tests.support.doctor_world import (
    ARXIV,
    NAMES,
    Server,
    installation,
    mailing,
    unused_port,
    well,
)
from tests.support.factories import DAY, NOON, paper
from tests.support.fakes import FakeMailer
from tests.support.guarantees import Guarantee
from tests.support.installation import add_papers, add_reader, empty_slate, queue, rows
from tests.support.mail_servers import inbox
from triage.app.application import App
from triage.cli import cli
from triage.delivery.preflight import SET_UP
from triage.operations.doctor import ProbeFailed, Reply
from triage.operations.doctor.before_sending import GREEN_HOLDS_S, RED_HOLDS_S, SendingGate
from triage.operations.doctor.probes import greet_mail
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

NO_SPF = {("example.org", "TXT"): ()}


@pytest.fixture(autouse=True)
def _a_busy_machine_is_given_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triage.operations.doctor, "TIMEOUT_S", 60)


def app_sending(folder: Path, base_url: str = "https://papers.example.org") -> App:
    return installation(
        folder,
        f"""{ARXIV}
        [site]
        base_url = "{base_url}"
        [mail]
        transport = "smtp"
        host = "mail.example.org"
        from = "digest@example.org"
        dkim_selector = "2026"
        """,
    )


def asked(*_: object) -> Any:
    raise AssertionError("nobody is to be asked")


def silent(*_: object) -> Any:
    raise ProbeFailed("gives no answer", "look again later", is_temporary=True)


def without_spf(name: str, kind: str) -> tuple[str, ...]:
    return (NAMES | NO_SPF).get((name, kind), ())


@pytest.mark.guarantee("R7")
@pytest.mark.parametrize(
    ("what", "probes", "base_url"),
    [
        ("SPF: example.org does not say", {"lookup": without_spf}, "https://papers.example.org"),
        (
            "one-click: the POST request",
            {"post": lambda *_: Reply(502)},
            "https://papers.example.org",
        ),
        ("base_url: links in mails are not https", {}, "http://papers.example.org"),
    ],
)
def test_mail_waits_while_the_set_up_is_red_and_goes_when_it_is_mended_or_forced(
    tmp_path: Path, what: str, probes: dict[str, Any], base_url: str, guarantee: Guarantee
) -> None:
    app = app_sending(tmp_path, base_url)
    red = SendingGate(app.installation(), well(**probes))
    queue(app.database, empty_slate(add_reader(app.database)))
    mailer = FakeMailer()
    for _ in range(2):
        report = app.new_outbox(mailer, red).drain()
        assert what in report.broken
        assert "--force" in report.broken
        assert app.new_outbox(mailer, red).check() == report.broken
    assert mailer.sent == []
    [message] = rows(app.database, "messages")
    assert (message["state"], message["attempts"]) == ("rendered", 0)
    [hold] = rows(app.database, "sending_holds")
    assert (hold["name"], hold["why"]) == (SET_UP, report.broken)
    listed = CliRunner().invoke(cli, ["--config", str(tmp_path / "triage.toml"), "outbox", "list"])
    assert what in listed.stderr

    assert app.new_outbox(mailer, lambda: "").drain().sent == 1
    assert rows(app.database, "sending_holds") == []
    app.close()
    guarantee.record(n_red_set_ups_that_sent=0)


def test_the_run_itself_refuses_makes_nothing_and_can_be_forced(tmp_path: Path) -> None:
    with inbox() as (port, kept):
        mail = f'transport = "smtp"\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"'
        app = installation(tmp_path, f'[mail]\nfrom = "us@example.org"\n{mail}')
        add_papers(app.database, [paper(n, listed_on=DAY) for n in range(1, 9)])
        preferences = SubscriberPreferences(interests="drafts for decoding")
        add(app.database, "ada@example.org", app.clock, preferences)
        app.close()
        (tmp_path / "secret_key").chmod(0o644)

        def run(*options: str) -> Result:
            config = ["--config", str(tmp_path / "triage.toml")]
            return CliRunner().invoke(cli, [*config, "run", "--date", f"{DAY}", *options])

        refused = run()
        assert refused.exit_code == 1
        assert "secret: " in refused.stderr
        assert "chmod 600" in refused.stderr
        assert "0 made" in refused.stdout
        assert kept.messages == []
        forced = run("--force")
        assert forced.exit_code == 0, forced.output
        assert len(kept.messages) == 1
        (tmp_path / "secret_key").chmod(0o600)
        assert run().exit_code == 0


def test_nobody_is_asked_before_there_is_anybody_to_send_to(tmp_path: Path) -> None:
    app = app_sending(tmp_path)
    assert app.new_outbox(FakeMailer(), asked).drain().broken == ""
    app.close()


@pytest.mark.parametrize(
    ("server", "probes"),
    [
        (Server(transport="maildir"), {"lookup": asked, "post": asked, "greet": asked}),
        (Server("127.0.0.1", security="none"), {"lookup": asked, "post": asked, "greet": asked}),
        (Server(), {"lookup": silent}),
        (Server(), {"ask": asked}),
    ],
    ids=["files", "this machine", "a silent DNS", "sources"],
)
def test_what_cannot_apply_or_may_pass_keeps_nothing_back(
    tmp_path: Path, server: Server, probes: dict[str, Any]
) -> None:
    app = mailing(app_sending(tmp_path), server)
    assert SendingGate(app.installation(), well(**probes))() == ""


def test_a_mail_server_that_is_down_is_left_to_the_drain_but_a_bad_certificate_is_not(
    tmp_path: Path,
) -> None:
    def down(server: object, password: str | None) -> str:
        return greet_mail(Server("127.0.0.1", unused_port(), "none"), password)

    def distrusted(*_: object) -> str:
        raise ProbeFailed("has no valid certificate", "check the name")

    app = app_sending(tmp_path)
    assert SendingGate(app.installation(), well(greet=down))() == ""
    assert (
        "mail: has no valid certificate"
        in SendingGate(app.installation(), well(greet=distrusted))()
    )


def test_what_was_seen_holds_for_minutes_and_what_is_red_for_one(tmp_path: Path) -> None:
    now, n_asked, answers = [0.0], [0], [Reply(400, NOON)]

    def post(*_: object) -> Reply:
        n_asked[0] += 1
        return answers[-1]

    gate = SendingGate(app_sending(tmp_path).installation(), well(post=post), lambda: now[0])
    for at, status, red in (
        (0, 400, False),
        (GREEN_HOLDS_S - 1, 502, False),
        (GREEN_HOLDS_S, 502, True),
        (GREEN_HOLDS_S + RED_HOLDS_S - 1, 400, True),
        (GREEN_HOLDS_S + RED_HOLDS_S, 400, False),
    ):
        now[0] = at
        answers.append(Reply(status, NOON))
        assert bool(gate()) == red, at
    assert n_asked[0] == 3
