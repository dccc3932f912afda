"""Messages are signed once, over all that may not change, with the key that is published."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import dkim
import pytest

from tests.support.digests import digest
from tests.support.doctor_world import NAMES, Server, installation, mailing, well
from tests.support.factories import NOON
from tests.support.fixtures import DATA
from tests.support.guarantees import Guarantee
from triage.app.account_mail import account_mail_builder
from triage.delivery.dkim import OVERSIGNED, Signer, load_signer
from triage.digest.message import HEADERS, verify
from triage.errors import ConfigError, MessageError
from triage.operations.doctor import Finding, Level
from triage.settings import load_settings
from triage.subscribers.signup import AccountMail, NoteKind

DOMAIN, SELECTOR = "papers.example.org", "2026"
PEM = (DATA / "dkim.pem").read_text()
KEY, _, PUBLIC = PEM.partition("-----BEGIN PUBLIC KEY-----\n")
P = "".join(PUBLIC.partition("-----END")[0].split())


@pytest.fixture
def own() -> Signer:
    return Signer(KEY, SELECTOR, DOMAIN)


def is_genuine(mime: bytes, domain: str = DOMAIN) -> bool:
    """Ask the library's own verifier, as a receiver would."""

    def txt(name: bytes, timeout: int = 5) -> bytes:
        records = {f"{SELECTOR}._domainkey.{domain}.".encode(): f"v=DKIM1; k=rsa; p={P}".encode()}
        return records.get(name, b"")

    return bool(dkim.verify(mime, dnsfunc=txt))


def signed_names(mime: bytes) -> list[str]:
    head = re.sub(rb"\r\n[ \t]+", b" ", mime.partition(b"\r\n\r\n")[0]).decode()
    found = re.search(r"^DKIM-Signature: .*?\bh=([^;]+);", head, re.M)
    assert found is not None
    return [name.strip() for name in found[1].split(":")]


@pytest.mark.guarantee("R2")
def test_a_signature_covers_how_to_unsubscribe_and_the_whole_body(
    own: Signer, guarantee: Guarantee
) -> None:
    mime = digest(sign=own.sign).message.mime
    verify(mime)
    assert is_genuine(mime)
    names = signed_names(mime)
    ours = {name.lower() for name in (*HEADERS, "Content-Type")}
    assert set(names) == ours | set(OVERSIGNED)
    for name in set(names):
        assert names.count(name) == (name in ours) + (name in OVERSIGNED), name
    head, _, body = mime.partition(b"\r\n\r\n")
    assert b"d=papers.example.org" in head
    assert not re.search(rb"\bl=", head), "nothing can be added at the end"
    for old, new in (
        (b"List-Unsubscribe: <https://", b"List-Unsubscribe: <https://evil."),
        (b"List-Unsubscribe=One-Click", b"List-Unsubscribe=No"),
        (b"\r\nSubject: ", b"\r\nSubject: Re: "),
        (b"\r\nTo: ", b"\r\nFrom: boss@example.org\r\nTo: "),
    ):
        assert old in head
        assert not is_genuine(head.replace(old, new) + b"\r\n\r\n" + body), old
    assert not is_genuine(mime + b"one line more\r\n")
    assert is_genuine(mime.replace(b"\r\nSubject: ", b"\r\nsubject:   ")), "relays may tidy up"
    guarantee.record(dkim_covers_list_unsubscribe_and_post="yes")


ADDED = {
    "From": "boss@example.org",
    "Sender": "boss@example.org",
    "Reply-To": "thief@example.org",
    "To": "all@example.org",
    "Cc": "all@example.org",
    "Subject": "Your account is closed",
    "Date": "Mon, 02 Mar 2026 06:30:00 +0000",
    "Message-ID": "<other@example.org>",
    "In-Reply-To": "<other@example.org>",
    "References": "<other@example.org>",
    "MIME-Version": "1.0",
    "Content-Type": "text/html",
    "Content-Transfer-Encoding": "base64",
    "List-Id": "<other.example.org>",
    "List-Unsubscribe": "<https://evil.example>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}


def test_every_header_that_may_stand_once_is_tried() -> None:
    assert {name.lower() for name in ADDED} == set(OVERSIGNED)


@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("kind", ["digest", "account mail"])
def test_a_header_that_is_added_breaks_the_signature(
    own: Signer, tmp_path: Path, name: str, kind: str
) -> None:
    if kind == "digest":
        mime = digest(sign=own.sign).message.mime
    else:
        note = AccountMail(NoteKind.CONFIRM, "0" * 20, "reader@example.org", "token")
        mime = account_mail_builder(config(tmp_path))(note, NOON).mime
    assert is_genuine(mime)
    added = f"{name}: {ADDED[name]}\r\n".encode()
    head, end, body = mime.partition(b"\r\n\r\n")
    assert not is_genuine(added + mime), "added above"
    assert not is_genuine(head + b"\r\n" + added.rstrip() + end + body), "added below"


@pytest.mark.parametrize(
    "added",
    [
        b"Received: from relay.example.org by mx.example.org; Mon, 2 Mar 2026 06:31:00 +0000\r\n",
        b"Return-Path: <bounces@papers.example.org>\r\n",
        b"Authentication-Results: mx.example.org; spf=pass\r\n",
        b"X-Spam-Status: No, score=0.1\r\n",
        b"Delivered-To: reader@example.org\r\n",
        b"ARC-Seal: i=1; a=rsa-sha256; cv=none\r\n",
    ],
)
def test_what_servers_on_the_way_add_breaks_no_signature(own: Signer, added: bytes) -> None:
    assert is_genuine(added + digest(sign=own.sign).message.mime)


def test_without_a_key_nothing_is_signed() -> None:
    assert b"DKIM-Signature" not in digest().message.mime


def test_two_signatures_of_ours_are_one_too_many(own: Signer) -> None:
    def twice(mime: bytes) -> bytes:
        signed = own.sign(mime)
        return signed.removesuffix(mime) + signed

    with pytest.raises(MessageError, match="dkim-signature 2 times"):
        digest(sign=twice)


def config(folder: Path, mail: str = f'dkim_selector = "{SELECTOR}"', key: str = KEY) -> Any:
    (folder / "triage.toml").write_text(f'[mail]\nfrom = "digest@{DOMAIN}"\n{mail}\n')
    (folder / "dkim_key").write_text(key)
    (folder / "dkim_key").chmod(0o600)
    return load_settings(folder / "triage.toml")


def test_mails_that_are_no_digest_are_signed_if_they_are_of_the_same_domain(
    tmp_path: Path,
) -> None:
    note = AccountMail(NoteKind.CONFIRM, "0" * 20, "reader@example.org", "token")
    made = account_mail_builder(config(tmp_path))(note, NOON).mime
    assert is_genuine(made)
    assert b"\r\nList-Unsubscribe" not in made
    elsewhere = f'dkim_selector = "{SELECTOR}"\nnotes_from = "us@example.com"'
    made = account_mail_builder(config(tmp_path, elsewhere))(note, NOON).mime
    assert b"DKIM-Signature" not in made


# -- the key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\N{BYTE ORDER MARK}"])
def test_a_key_file_of_another_editor_is_read(tmp_path: Path, mark: str, ends: str) -> None:
    settings = config(tmp_path)
    (tmp_path / "dkim_key").write_bytes((mark + KEY.replace("\n", ends)).encode())
    signer = load_signer(settings.mail, tmp_path)
    assert signer is not None
    assert is_genuine(digest(sign=signer.sign).message.mime)


def test_the_key_is_a_file_or_stands_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tmp_path)
    assert load_signer(settings.mail, tmp_path) is not None
    (tmp_path / "dkim_key").unlink()
    assert load_signer(settings.mail, tmp_path) is None
    monkeypatch.setenv("TRIAGE_DKIM_KEY", KEY.replace("\n", "\r\n"))
    found = load_signer(settings.mail, tmp_path)
    assert found is not None
    assert is_genuine(digest(sign=found.sign).message.mime)


@pytest.mark.parametrize(
    "key", ["", "hunter2", KEY[:400], PUBLIC, "-----BEGIN PRIVATE KEY-----\nMII=\n-----END"]
)
def test_what_is_no_key_is_said_without_showing_it(tmp_path: Path, key: str) -> None:
    settings = config(tmp_path, key=key)
    with pytest.raises(ConfigError, match="openssl genrsa") as error:
        load_signer(settings.mail, tmp_path)
    assert "hunter2" not in str(error.value)
    assert error.value.__suppress_context__


def test_a_key_without_a_selector_is_said(tmp_path: Path) -> None:
    settings = config(tmp_path, mail="")
    with pytest.raises(ConfigError, match="dkim_selector"):
        load_signer(settings.mail, tmp_path)


def test_whoever_lacks_the_library_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dkim", None)
    monkeypatch.setitem(sys.modules, "dkim.crypto", None)
    settings = config(tmp_path)
    with pytest.raises(ConfigError, match=r"pip install 'paper-triage\[dkim\]'"):
        load_signer(settings.mail, tmp_path)


# -- what the doctor says of it --------------------------------------------------------------------


def looked_at(folder: Path, **records: str) -> dict[str, Finding]:
    app = mailing(installation(folder), Server())
    names = NAMES | {(f"{SELECTOR}._domainkey.example.org", "TXT"): tuple(records.values())}
    found = app.run_doctor(well(lookup=lambda name, kind: names.get((name, kind), ())))
    return {each.name: each for each in found}


def test_the_doctor_compares_the_key_with_what_is_published(tmp_path: Path) -> None:
    (tmp_path / "dkim_key").write_text(KEY)
    (tmp_path / "dkim_key").chmod(0o600)
    good = looked_at(tmp_path, txt=f"v=DKIM1; k=rsa; p={P[:200]} {P[200:]}")
    assert (good["DKIM"].level, good["signing"].level) == (Level.OK, Level.OK)
    for other in (P[:-8] + "AAAAAAAA", "AbCd", P[4:]):
        bad = looked_at(tmp_path, txt=f"v=DKIM1; p={other}")["DKIM"]
        assert bad.level is Level.RED
        assert "not the one" in bad.what
        assert "openssl" in bad.fix


def test_the_doctor_finds_a_key_that_others_can_read_or_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "dkim_key"
    path.write_text(KEY)
    path.chmod(0o644)
    found = looked_at(tmp_path, txt=f"p={P}")["signing"]
    assert (found.level, found.fix) == (Level.RED, f"chmod 600 {path}")
    path.write_text("no key")
    found = looked_at(tmp_path, txt=f"p={P}")["signing"]
    assert found.level is Level.RED
    assert json.dumps(found.what).count("no key") == 0
