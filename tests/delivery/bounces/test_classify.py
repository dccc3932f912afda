"""Whatever comes back is read: every sequence of bytes is some message, and none takes long."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.bounce_corpus import About, dsn
from tests.support.bounce_corpus_more import ALL_CASES as CASES
from tests.support.paths import SHARED
from triage.delivery.bounces.classify import Kind, classify

TOKEN = "b" + "a2" * 21
ABOUT = About(
    "reader@example.org",
    f"bounces+{TOKEN}@triage.example",
    f"bounces+u{TOKEN[1:]}@triage.example",
    "v1.abcd.efgh.ijkl",
)


@given(st.binary(max_size=300))
def test_any_bytes_are_some_message(raw: bytes) -> None:
    assert classify(raw).kind in Kind


@given(st.sampled_from(CASES), st.randoms(use_true_random=False))
def test_a_damaged_message_of_the_corpus_is_still_some_message(
    case: object, rng: random.Random
) -> None:
    raw = bytearray(case.raw(ABOUT))  # type: ignore[attr-defined]
    for _ in range(rng.randint(1, 20)):
        place = rng.randrange(len(raw))
        match rng.randrange(3):
            case 0:
                raw[place] = rng.randrange(256)
            case 1:
                del raw[place : place + rng.randrange(40)]
            case _:
                raw[place:place] = rng.choice(
                    [b"\r\n", b"\n\n", b"--part", b": ", b"\0", b"=?utf-8?b?"]
                )
        raw = raw or bytearray(b"x")
    assert classify(bytes(raw)).kind in Kind


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_line_ends_do_not_matter(name: str) -> None:
    [case] = [case for case in CASES if case.name == name]
    raw = case.raw(ABOUT)
    assert classify(raw) == classify(raw.replace(b"\r\n", b"\n"))
    # As a mail server hands it to a pipe: with an envelope line of its own.
    assert classify(b"From MAILER-DAEMON Mon Mar  2 07:00:00 2026\n" + raw.lstrip()) == classify(
        raw
    )


@pytest.mark.parametrize(
    ("status", "diagnostic", "kind"),
    [
        ("5.1.1", "", Kind.HARD),
        ("5.1.10", "", Kind.HARD),
        ("5.2.1", "", Kind.HARD),
        ("5.1.2", "", Kind.SOFT),
        ("5.2.2", "smtp; 552 user unknown to our quota", Kind.SOFT),
        ("5.0.0", "smtp; 550 5.1.1 no", Kind.HARD),
        ("5.1.1", "smtp; 550 5.7.1 no", Kind.POLICY),
        ("5.7.1", "smtp; 550 user unknown", Kind.POLICY),
        ("5.7.999", "", Kind.POLICY),
        ("4.7.1", "smtp; 451 greylisted", Kind.POLICY),
        ("5.6.0", "", Kind.POLICY),
        ("4.2.1", "smtp; 450 user unknown", Kind.SOFT),
        ("", "smtp; 550 unknown user", Kind.HARD),
        ("", "smtp; 450 unknown user", Kind.SOFT),
        ("nonsense", "", Kind.SOFT),
        ("5.1.1 (bad mailbox)", "", Kind.HARD),
    ],
)
def test_a_failure_means_what_code_and_words_say(status: str, diagnostic: str, kind: Kind) -> None:
    raw = dsn(ABOUT, status, diagnostic).encode()
    assert classify(raw).kind is kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("00", Kind.HARD),
        ("02", Kind.HARD),
        ("04", Kind.HARD),
        ("05", Kind.HARD),
        ("06", Kind.SOFT),
        ("09", Kind.POLICY),
        ("10", Kind.POLICY),
        ("13", Kind.POLICY),
        ("27", Kind.HARD),
        ("28", Kind.COMPLAINT),
        ("30", Kind.COMPLAINT),
    ],
)
def test_the_reports_that_were_misread_are_understood(name: str, kind: Kind) -> None:
    path = SHARED / "cases" / "out-13-reports-misread" / f"{name}.eml"
    if not path.exists():
        pytest.skip("the collected cases are not here")
    found = classify(path.read_bytes())
    assert found.kind is kind
    assert found.addressed or found.quoted


def test_whom_a_report_names_is_said_once_however_it_is_encoded() -> None:
    """The token stands only in the digest that is sent back, which servers encode all the same."""
    names = [case.name for case in CASES if case.name.startswith("token only in")]
    assert len(names) == 8
    for case in CASES:
        if case.name in names:
            found = classify(case.raw(ABOUT))
            assert (found.addressed, found.quoted) == ((), (TOKEN,)), case.name


def test_a_report_in_words_may_name_the_digest_only_in_its_copy() -> None:
    [case] = [case for case in CASES if case.name == "opensmtpd unknown"]
    raw = case.raw(ABOUT).replace(f"To: {ABOUT.sender}".encode(), f"To: {ABOUT.mailbox}".encode())
    found = classify(raw)
    assert (found.kind, found.quoted) == (Kind.HARD, (TOKEN,))


def test_a_person_who_sends_on_a_report_in_words_reports_nothing() -> None:
    [case] = [case for case in CASES if case.name == "qmail no mailbox"]
    raw = case.raw(ABOUT).replace(b"MAILER-DAEMON@mx", b"ada@mx")
    assert classify(raw.replace(b"To: bounces+", b"To: help+x")).kind is Kind.UNKNOWN


def test_mail_that_lies_in_mail_without_end_is_read_as_deep_as_it_matters() -> None:
    raw = b"Subject: the last\n\n"
    for _ in range(60):
        raw = b"Content-Type: message/rfc822\n\n" + raw
    assert classify(raw).kind is Kind.UNKNOWN


def test_the_digest_that_is_sent_back_says_nothing_about_its_reader() -> None:
    """Its papers may be about spam and unknown users; the corpus sends such ones back."""
    assert "550 5.7.1 denied" in dsn(ABOUT, "5.1.1", "")
    assert classify(dsn(ABOUT, "5.1.1", "").encode()).kind is Kind.HARD


def test_only_what_came_to_a_bounce_address_is_searched_for_words() -> None:
    [case] = [case for case in CASES if case.name == "qmail no mailbox"]
    raw = case.raw(ABOUT).replace(ABOUT.sender.encode(), ABOUT.contact.encode())
    assert classify(raw).kind is Kind.UNKNOWN


def test_a_hostile_message_is_read_in_a_moment() -> None:
    """Without the limits of length it takes minutes: no clock is needed to see that."""
    head = f"From: MAILER-DAEMON@x\nTo: {ABOUT.sender}\nSubject: {'x ' * 9000}\n\n"
    starts = "Hi. This is the\n\nA message that you sent could not be delivered\nYour message\n"
    body = starts + ("a" * 5000 + "\n") * 300 + "\n" * 200_000 + "- " * 200_000
    assert classify((head + body).encode()).kind in Kind


@pytest.mark.parametrize("words", ["> ", "<style ", "(", "--- ", "=?utf-8?b?"])
def test_a_hostile_field_is_read_in_a_moment_and_as_some_failure(words: str) -> None:
    """With the email package's own way to write headers, the first takes a minute."""
    raw = dsn(ABOUT, "5.1.1", words * 30_000).encode()
    assert classify(raw).kind in {Kind.HARD, Kind.SOFT}
    subject = f"From: MAILER-DAEMON@x\nTo: {ABOUT.sender}\nSubject: {words * 30_000}\n\n"
    assert classify(subject.encode()).kind is Kind.UNKNOWN
