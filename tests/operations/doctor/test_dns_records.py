"""The doctor tells the truth before the first send: every broken set-up has its own diagnosis."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import triage.operations.doctor
from tests.support.doctor_world import ARXIV, NAMES, Server, installation, mailing, web, well
from tests.support.factories import NOON
from tests.support.guarantees import Guarantee
from triage.operations.doctor import Finding, Level, ProbeFailed, Reply, exit_code
from triage.operations.doctor.probes import look_up, post_web

OWN = "example.org"
LOOKS = ("SPF", "DKIM", "DMARC", "alignment", "MX", "PTR", "one-click")


@pytest.fixture(autouse=True)
def _a_busy_machine_is_given_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triage.operations.doctor, "TIMEOUT_S", 60)


def found(
    folder: Path,
    names: Mapping[tuple[str, str], tuple[str, ...]] = {},
    server: Server | None = None,
    base_url: str = "https://papers.example.org",
    **probes: Any,
) -> list[Finding]:
    told = {**NAMES, **names}
    probes.setdefault("lookup", lambda name, kind: told.get((name, kind), ()))
    app = mailing(installation(folder, ARXIV), server or Server(), base_url)
    return app.run_doctor(well(**probes))


def refusing(what: str, *, temporary: bool = False) -> Any:
    def probe(*_: object) -> Any:
        raise ProbeFailed(what, "a fix", is_temporary=temporary)

    return probe


def txt(name: str, *records: str) -> dict[str, Any]:
    return {"names": {(name, "TXT"): records}}


ENDLESS = "v=spf1 " + " ".join(f"include:{n}.example.net" for n in range(11)) + " -all"
ELSEWHERE = {
    (name, kind): records
    for (own, kind), records in NAMES.items()
    for name in [own.replace(OWN, "example.com")]
}

BROKEN: dict[str, tuple[str, Level, dict[str, Any]]] = {
    "nobody may send": ("SPF", Level.RED, txt(OWN)),
    "two SPF records": ("SPF", Level.RED, txt(OWN, "v=spf1 mx -all", "v=spf1 a -all")),
    "everybody may send": ("SPF", Level.RED, txt(OWN, "v=spf1 +all")),
    "too many look-ups": ("SPF", Level.RED, txt(OWN, ENDLESS)),
    "no key": ("DKIM", Level.RED, txt(f"2026._domainkey.{OWN}")),
    "a revoked key": ("DKIM", Level.RED, txt(f"2026._domainkey.{OWN}", "v=DKIM1; p=")),
    "no DMARC": ("DMARC", Level.WARNING, txt(f"_dmarc.{OWN}")),
    "two DMARC records": (
        "DMARC", Level.RED, txt(f"_dmarc.{OWN}", "v=DMARC1; p=none", "v=DMARC1; p=reject")
    ),
    "DMARC without a policy": ("DMARC", Level.RED, txt(f"_dmarc.{OWN}", "v=DMARC1; rua=x")),
    "bounces of another domain": (
        "alignment", Level.RED,
        {"names": ELSEWHERE, "server": Server(bounces="b@example.com", dkim_selector="")},
    ),
    "no mail is taken": ("MX", Level.RED, {"names": {(OWN, "MX"): ("0 .",)}}),
    "no server for mail": ("MX", Level.RED, {"names": {(OWN, "MX"): ()}}),
    "an unknown mail server": ("PTR", Level.RED, {"names": {("mail.example.org", "A"): ()}}),
    "an address without a name": ("PTR", Level.WARNING, {"names": {("192.0.2.7", "PTR"): ()}}),
    "a name that leads elsewhere": (
        "PTR", Level.WARNING, {"names": {("192.0.2.7", "PTR"): ("pool.example.net",)}}
    ),
    "a silent DNS": ("SPF", Level.WARNING, {"lookup": refusing("tells nothing", temporary=True)}),
    "a bad certificate": ("mail", Level.RED, {"greet": refusing("has no valid certificate")}),
    "mail in the clear": ("mail", Level.WARNING, {"server": Server(security="none")}),
    "a sender without a domain": ("sender", Level.RED, {"server": Server(sender="a@host")}),
    "links in the clear": ("base_url", Level.RED, {"base_url": "http://papers.example.org"}),
    "a redirected post": ("one-click", Level.RED, {"post": lambda url, agent: Reply(301)}),
    "a refused post": ("one-click", Level.RED, {"post": lambda url, agent: Reply(405)}),
    "no pages behind the proxy": ("one-click", Level.RED, {"post": lambda url, agent: Reply(502)}),
    "a wrong clock": (
        "clock", Level.RED, {"ask": lambda url, agent: Reply(200, NOON + timedelta(minutes=5))}
    ),
    "a full disk": ("disk", Level.RED, {"free_bytes": lambda path: 1000}),
}  # fmt: skip


@pytest.mark.guarantee("R7")
def test_every_broken_set_up_has_a_diagnosis_of_its_own_and_a_fix(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    sound = tmp_path / "sound"
    sound.mkdir()
    good = {each.name: each for each in found(sound)}
    assert exit_code(list(good.values())) == 0
    assert {good[name].level for name in LOOKS} == {Level.OK}
    diagnoses: dict[str, str] = {}
    for number, (broken, (name, level, world)) in enumerate(BROKEN.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        [told] = [each for each in found(folder, **world) if each.name == name]
        assert told.level is level, (broken, told)
        assert told.fix, broken
        diagnoses[broken] = f"{told.name}: {told.what}"
    assert len(set(diagnoses.values())) == len(BROKEN)
    guarantee.record(n_broken_set_ups=len(BROKEN), n_diagnoses=len(set(diagnoses.values())))


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (Server("127.0.0.1"), "stays on this machine"),
        (Server(sender="triage@host"), "no domain"),
    ],
)
def test_names_are_not_looked_at_where_they_cannot_matter(
    tmp_path: Path, server: Server, why: str
) -> None:
    told = {each.name: each for each in found(tmp_path, server=server, lookup=refusing("asked"))}
    for name in ("SPF", "DKIM", "DMARC", "alignment", "MX", "PTR"):
        assert told[name].level is Level.NOT_APPLICABLE
        assert why in told[name].what


def test_a_bounce_domain_below_the_senders_is_aligned_unless_dmarc_is_strict(
    tmp_path: Path,
) -> None:
    below = Server(bounces="b@bounce.example.org", dkim_selector="")
    strict = {("_dmarc.example.org", "TXT"): ("v=DMARC1; p=none; aspf=s",)}
    levels = []
    for number, names in enumerate(({}, strict)):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = {each.name: each for each in found(folder, names=names, server=below)}
        levels.append(told["alignment"].level)
    assert levels == [Level.OK, Level.RED]


def test_an_spf_record_that_includes_itself_is_counted_to_its_end(tmp_path: Path) -> None:
    told = {e.name: e for e in found(tmp_path, **txt(OWN, f"v=spf1 include:{OWN} -all"))}
    assert told["SPF"].level is Level.OK


def test_a_post_follows_no_redirect() -> None:
    class Elsewhere:
        def do_POST(self: Any) -> None:
            self.send_response_only(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

    with web(do_POST=Elsewhere.do_POST) as (url, seen):
        assert post_web(url, "triage").status == 302
    assert seen == []


def test_records_are_read_from_a_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.resolver
    import dns.rrset

    def answer(wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        [question] = query.question
        if question.name.to_text() == "example.org.":
            record = dns.rrset.from_text(question.name, 60, "IN", "TXT", '"v=spf1 " "-all"')
            reply.answer.append(record)
        elif question.name.to_text() == "broken.example.org.":
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                wire, peer = sock.recvfrom(4096)
                if wire == b"end":
                    return
                sock.sendto(answer(wire), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = sock.getsockname()[1]
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        try:
            assert look_up("example.org", "TXT") == ("v=spf1 -all",)
            assert look_up("nobody.example.org", "TXT") == ()
            monkeypatch.setattr("triage.operations.doctor.probes.TIMEOUT_S", 0.5)
            with pytest.raises(ProbeFailed, match="gives no answer about") as error:
                look_up("broken.example.org", "TXT")
            assert error.value.is_temporary
        finally:
            sock.sendto(b"end", sock.getsockname())
            thread.join()
