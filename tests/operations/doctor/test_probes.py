"""What the doctor asks other machines, tried on servers of this one."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from tests.support.doctor_world import LOGIN, Server, Sink, mail, unused_port, web
from tests.support.factories import NOON
from triage.errors import MailerBroken
from triage.operations.doctor import ProbeFailed, Reply
from triage.operations.doctor.probes import ask_web, greet_mail


def test_asking_a_web_server_gives_its_status_and_clock() -> None:
    with web() as (url, agents):
        assert ask_web(url, "triage/1 (+https://x)") == Reply(200, NOON, 30.0)
        assert agents == ["triage/1 (+https://x)"]
    with web(status=503) as (url, _):
        assert ask_web(url, "triage").status == 503
    with web(headers_sent={"Date": "yesterday", "Age": "old"}) as (url, _):
        assert ask_web(url, "triage") == Reply(200)


def test_a_refused_connection_says_so() -> None:
    with pytest.raises(ProbeFailed, match="refuses the connection") as caught:
        ask_web(f"http://127.0.0.1:{unused_port()}/", "triage")
    assert "port" in caught.value.fix


def test_the_handshake_greets_logs_in_and_sends_nothing() -> None:
    sink = Sink()
    with mail(sink, **LOGIN) as server:
        assert greet_mail(server, None) == "greeted"
        assert greet_mail(replace(server, username="ada"), "right") == "greeted, logged in"
    assert sink.taken == 0


@pytest.mark.parametrize(
    ("change", "password", "what", "fix"),
    [
        ({"username": "ada"}, "wrong", "refuses the user name or password: 535", "app password"),
        ({"username": "ada"}, None, "there is none", "TRIAGE_MAIL_PASSWORD"),
        ({"security": "starttls"}, None, "does not offer STARTTLS", "smtps"),
        ({"security": "smtps"}, None, "TLS", "starttls"),
        ({"host": "nowhere.invalid"}, None, "does not resolve", "DNS"),
    ],
)
def test_each_broken_set_up_has_a_diagnosis_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    password: str | None,
    what: str,
    fix: str,
) -> None:
    def lookup(host: str, *args: object, **options: object) -> Any:
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return known(host, *args, **options)  # type: ignore[arg-type]

    known = socket.getaddrinfo
    with mail(**LOGIN) as server:
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        with pytest.raises((ProbeFailed, MailerBroken), match=what) as caught:
            greet_mail(replace(server, **change), password)
    assert fix in getattr(caught.value, "fix", str(caught.value))
    assert "wrong" not in str(caught.value)


def test_a_login_that_is_not_offered_and_a_closed_port_say_so() -> None:
    with mail() as server, pytest.raises(MailerBroken, match="offers no login method"):
        greet_mail(replace(server, username="ada"), "right")
    with pytest.raises(ProbeFailed, match="refuses the connection"):
        greet_mail(Server("127.0.0.1", unused_port(), "none"), None)
