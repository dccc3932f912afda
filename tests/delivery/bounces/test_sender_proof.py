"""Who sent a mail is believed only with a proof that a stranger cannot write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.delivery.bounces.sender_proof import Sender, prove_sender

OURS = "mx.papers.example"
ADA = "ada@home.example"
TO = "To: bounces+v@papers.example\r\nSubject: Like\r\n"


def proof(*lines: str, authserv_id: str = OURS) -> Sender:
    raw = "\r\n".join([*lines, TO]).encode()
    return prove_sender(raw + b"\r\nFrom: body@home.example\r\n", authserv_id)


def results(text: str, by: str = OURS) -> str:
    return f"Authentication-Results: {by}; {text}"


@pytest.mark.parametrize(
    "field",
    [
        ADA,
        f"<{ADA}>",
        f"Ada Lovelace <{ADA}>",
        f'"Lovelace, Ada <x>" <{ADA}>',
        f'"eve@evil.example" <{ADA}>',
        f"=?utf-8?q?A=C3=A9?= <{ADA}> (at home)",
        f"{ADA} (eve@evil.example)",
        f"Ada\r\n <{ADA}>",
    ],
)
def test_the_address_in_from_is_read(field: str) -> None:
    assert proof(f"From: {field}", f"Return-Path: <{ADA}>") == Sender(ADA, "envelope")


@pytest.mark.parametrize(
    "field",
    [
        f'"{ADA}" <eve@evil.example>',
        f"{ADA} <eve@evil.example>",
        f"<{ADA}> <eve@evil.example>",
        f"eve@evil.example, {ADA}",
        f"Group: {ADA};",
        "=?utf-8?q?=3Cada=40home.example=3E?= <eve@evil.example>",
        f"{ADA}\\@evil.example",
        f'"a\\" <{ADA}>" <eve@evil.example>',
        f"({ADA}) eve@evil.example",
        f"{ADA}(,eve@evil.example",
        f'"{ADA}',
        "",
        "\xff\xfe",
    ],
)
def test_a_display_name_is_nobody(field: str) -> None:
    sender = proof(
        f"From: {field}", f"Return-Path: <{ADA}>", results("dkim=pass header.d=home.example")
    )
    assert sender.address != ADA
    assert sender.proof == ""


@pytest.mark.parametrize(
    ("result", "by"),
    [
        ("dkim=pass header.d=home.example", "dkim"),
        ("dkim=pass header.i=@home.example header.s=a header.b=Xy", "dkim"),
        ("dkim=pass (2048-bit key; ok) header.d=HOME.example.; spf=fail", "dkim"),
        ("dkim=fail header.d=home.example; dkim=pass header.d=home.example", "dkim"),
        (
            "dkim=fail header.d=home.example;\r\n dmarc=pass (p=none) header.from=home.example",
            "dmarc",
        ),
        ("DKIM/1 = PASS header.d = home.example", "dkim"),
        ("dkim=none", ""),
        ("dkim=fail header.d=home.example", ""),
        ("dkim=pass header.d=evil.example", ""),
        ("dkim=pass header.d=myhome.example", ""),
        ("dkim=pass header.d=ome.example", ""),
        ("dkim=pass header.d=mail.home.example", ""),
        ("dkim=pass", ""),
        ("dkim=pass header.d=", ""),
        ("dmarc=pass header.from=example", ""),
        ("spf=pass smtp.mailfrom=ada@home.example", ""),
        ("dkim=none (dkim=pass header.d=home.example; dkim=pass header.d=home.example)", ""),
        ('dkim=none reason="; dkim=pass header.d=home.example"', ""),
        ('spf=none smtp.mailfrom="x\\"; dkim=pass header.d=home.example; "@evil.example', ""),
        ("none", ""),
        (";;; =;= dkim", ""),
    ],
)
def test_results_are_about_the_domain_in_from(result: str, by: str) -> None:
    assert proof(f"From: {ADA}", results(result)) == Sender(ADA, by)


def test_the_owner_of_a_domain_signs_for_those_below_it() -> None:
    signed = results("dkim=pass header.d=home.example")
    assert proof("From: ada@lab.home.example", signed).proof == "dkim"


@pytest.mark.parametrize(
    "by", [OURS, OURS.upper(), f"{OURS} 1", f"({OURS}) {OURS} (us)", f'"{OURS}"']
)
def test_the_name_of_our_server_is_read(by: str) -> None:
    assert proof(f"From: {ADA}", results("dkim=pass header.d=home.example", by)).proof == "dkim"


@pytest.mark.parametrize(
    "by", ["mx.evil.example", f"x{OURS}", f"{OURS}.evil.example", "", f"({OURS})"]
)
def test_results_of_another_server_are_not_believed(by: str) -> None:
    assert proof(f"From: {ADA}", results("dkim=pass header.d=home.example", by)).proof == ""


def test_without_a_trusted_name_no_results_are_believed() -> None:
    signed = results("dkim=pass header.d=home.example", "")
    assert proof(f"From: {ADA}", signed, authserv_id="").proof == ""


def test_results_that_the_sender_put_below_ours_are_not_read() -> None:
    ours, theirs = results("dkim=none"), results("dkim=pass header.d=home.example")
    assert proof(ours, f"From: {ADA}", theirs).proof == ""
    assert proof(ours, "Received: by us", theirs, f"From: {ADA}").proof == ""
    assert proof(theirs, ours, f"From: {ADA}").proof == "dkim", "ours is the topmost"


@pytest.mark.parametrize("name", ["From", "FROM", "From ", "From\t"])
@pytest.mark.parametrize("first", [True, False])
def test_two_senders_are_none(name: str, first: bool) -> None:
    both = [f"From: {ADA}", f"{name}: eve@evil.example"]
    signed = results("dkim=pass header.d=home.example")
    sender = proof(f"Return-Path: <{ADA}>", signed, *(both if first else both[::-1]))
    assert sender.proof == ""


@pytest.mark.parametrize("name", ["To", "to ", "Subject", "SUBJECT\t"])
def test_a_repeated_field_that_may_not_be_the_signed_one_proves_nothing(name: str) -> None:
    signed = results("dkim=pass header.d=home.example")
    assert proof(signed, f"{name}: x@y.example", f"From: {ADA}").proof == ""


@pytest.mark.parametrize(
    ("lines", "by"),
    [
        ([f"Return-Path: <{ADA.upper()}>"], "envelope"),
        ([f"Return-Path: {ADA}"], "envelope"),
        (["Return-Path: <eve@evil.example>"], ""),
        (["Return-Path: <>"], ""),
        ([f"Return-Path: <{ADA}>", "Return-Path: <eve@evil.example>"], ""),
        ([f"Return-Path: <{ADA}>", results("spf=fail smtp.mailfrom=home.example")], ""),
        ([f"Return-Path: <{ADA}>", results("spf=softfail")], ""),
        ([f"Return-Path: <{ADA}>", results("dmarc=fail header.from=home.example")], ""),
        ([f"Return-Path: <{ADA}>", results("spf=fail", "mx.evil.example")], "envelope"),
        ([f"Return-Path: <{ADA}>", results("spf=pass; dkim=none; dmarc=none")], "envelope"),
        ([], ""),
    ],
)
def test_the_envelope_proves_the_sender_unless_our_server_doubts_it(
    lines: list[str], by: str
) -> None:
    assert proof(*lines, f"From: {ADA}") == Sender(ADA, by)


@given(st.binary(max_size=400), st.sampled_from(["", OURS]))
def test_any_bytes_are_accepted(raw: bytes, authserv_id: str) -> None:
    assert isinstance(prove_sender(raw, authserv_id), Sender)


@given(st.lists(st.sampled_from([*'();="\\ @.', "dkim=pass", "header.d=home.example", OURS])))
def test_any_results_are_accepted(words: list[str]) -> None:
    raw = f"Authentication-Results: {''.join(words)}\r\nFrom: {ADA}\r\n\r\n".encode()
    assert prove_sender(raw, OURS).address == ADA


def test_a_long_field_takes_no_time() -> None:
    nested = "(" * 5_000 + ")" * 5_000
    for many in (
        nested,
        "(" * 300_000,
        '"' * 300_001,
        "\\" * 300_000,
        "<" * 300_000,
        "a=" * 150_000,
    ):
        assert proof(f"From: {many}", results(many)).proof == ""
