"""A message is lawful, the same every time, and exactly what it was meant to be.

`REFRESH_GOLDEN=1 pytest tests/digest/test_message.py` writes the golden mails anew.
"""

from __future__ import annotations

import dataclasses
import os
import re
from datetime import UTC, datetime
from email.utils import getaddresses, parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.digests import (
    HOSTILE,
    MADE_AT,
    SENDER,
    TOO_LARGE_FOR_GOLD,
    Digest,
    digest,
    examples,
    links_of,
    slates,
)
from tests.support.factories import DAY, slate, subscriber
from tests.support.guarantees import Guarantee
from tests.support.paths import GOLDEN
from triage.delivery.smtp import _sender_of as sender_in
from triage.digest.message import (
    HEADERS,
    LARGEST_MESSAGE,
    LONGEST_LINE,
    build_digest,
    part_of,
    verify,
)
from triage.domain.records import RenderedDigest, Slate
from triage.errors import MessageError
from triage.settings import MailSettings

EXAMPLES = examples()
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\\,;<>@()=?é'), max_size=60
)


def faults(made: Digest) -> list[str]:
    """Return how a message differs from what every receiver may rely on."""
    mime, found = made.message.mime, []
    head = mime.partition(b"\r\n\r\n")[0]
    names = re.findall(rb"^([^ \t:]+):", head, re.M)
    if sorted(names) != sorted(name.encode() for name in (*HEADERS, "Content-Type")):
        found.append(f"headers {names}")
    if not re.search(
        rb"^List-Unsubscribe: <https://[^<> ]+>, <mailto:[^<> ]+>\r$", head + b"\r", re.M
    ):
        found.append("List-Unsubscribe")
    lines = mime.split(b"\r\n")
    if not mime.isascii() or any(set(b"\r\n\0") & set(line) for line in lines):
        found.append("bytes")
    if max(map(len, lines)) > LONGEST_LINE:
        found.append("line length")
    if max(map(len, head.split(b"\r\n"))) > 400:
        found.append("header length")
    kinds = [part.get_content_type() for part in made.parsed.walk()]
    if kinds != ["multipart/alternative", "text/plain", "text/html"]:
        found.append(f"parts {kinds}")
    if made.parsed.defects or any(part.defects for part in made.parsed.walk()):
        found.append("defects")
    if len(getaddresses([str(made.parsed["To"])])) != 1:
        found.append("To")
    if str(made.parsed["Subject"]) != made.rendered.subject:
        found.append(f"subject {made.parsed['Subject']!s}")
    if made.part("plain").strip() != made.rendered.text.strip():
        found.append("text")
    if made.part("html").strip() != made.rendered.html.strip():
        found.append("html")
    return found


# -- headers and structure -------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_kind_of_digest_is_lawful(name: str) -> None:
    assert faults(digest(EXAMPLES[name])) == []


@pytest.mark.guarantee("R1")
def test_every_digest_is_lawful_whatever_the_papers_say(guarantee: Guarantee) -> None:
    seen: set[bytes] = set()

    @given(slates())
    @settings(max_examples=2_400 if guarantee.full else 60)
    def each(made: Slate) -> None:
        whole = digest(made)
        seen.add(whole.message.mime)
        assert faults(whole) == []

    each()
    n_golden = len(EXAMPLES.keys() - TOO_LARGE_FOR_GOLD)
    guarantee.record(n_digests=len(seen), n_golden_mails=n_golden, n_unlawful=0)


@given(NAMES, NAMES)
@settings(max_examples=80)
def test_display_names_may_hold_anything_printable(site: str, person: str) -> None:
    quoted = person.replace("\\", "\\\\").replace('"', '\\"')
    made = digest(site_name=site, reply_to=f'"{quoted}" <ada@papers.example.org>')
    assert faults(made) == []
    assert getaddresses([str(made.parsed["Reply-To"])])[0][1] == "ada@papers.example.org"
    assert str(made.parsed["List-Id"]).endswith(" <digest.papers.example.org>")


def test_the_headers_say_who_what_and_when() -> None:
    made = digest(slate(2)).parsed
    assert made["From"] == '"triage" <digest@papers.example.org>' or made["From"] == SENDER
    assert made["To"] == "reader1@example.org"
    assert made["Reply-To"] == "Ada <ada@papers.example.org>"
    assert parsedate_to_datetime(str(made["Date"])) == MADE_AT
    assert made["Message-ID"] == f"<d.{'5' * 20}@papers.example.org>"
    assert made["Auto-Submitted"] == "auto-generated"
    assert made["Precedence"] == "bulk"
    assert made["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert made["Feedback-ID"] == "20260302:digest:triage:papers.example.org"
    assert DAY.strftime("%Y%m%d") == "20260302"
    assert "X-Mailer" not in made


def test_unsubscribing_is_offered_by_web_first_and_then_by_mail() -> None:
    made = digest(slate(1))
    assert str(made.parsed["List-Unsubscribe"]) == (
        f"<{made.links.unsubscribe}>, <{made.links.unsubscribe_mailto}>"
    )


def test_no_personal_data_stands_in_the_headers_but_the_address_in_to() -> None:
    made = digest(slate(1, subscriber=subscriber(email="reader@private.example")))
    head = made.message.mime.partition(b"\r\n\r\n")[0]
    assert head.count(b"reader") == head.count(b"private") == 1


def test_long_names_of_other_scripts_are_encoded_in_words_of_lawful_length() -> None:
    made = digest(site_name="論文の選別" * 12, sender=f"{'Überprüfung ' * 5}<d@papers.example.org>")
    assert faults(made) == []
    head = made.message.mime.partition(b"\r\n\r\n")[0].decode()
    words = re.findall(r"=\?[^?]+\?[bq]\?[^?]*\?=", head)
    assert len(words) > 4
    assert max(map(len, words)) <= 75
    assert str(made.parsed["List-Id"]).startswith("論文の選別" * 12)


def test_what_looks_like_an_encoded_word_is_shown_as_it_was_written() -> None:
    word = "=?utf-8?B?DQpCY2M6IHZpY3RpbUBleGFtcGxlLm5ldA==?="
    made = digest(site_name=word)
    assert str(made.parsed["List-Id"]) == f"{word} <digest.papers.example.org>"
    rendered = dataclasses.replace(made.rendered, subject=f"About {word}")
    message = build_digest(
        made.slate, made.links, rendered,
        sender=SENDER, reply_to=SENDER, site_name=word, date=MADE_AT,
    )  # fmt: skip
    assert str(dataclasses.replace(made, message=message).parsed["Subject"]) == f"About {word}"


def test_the_same_arguments_give_the_same_bytes() -> None:
    for made in EXAMPLES.values():
        assert digest(made).message == digest(made).message
    assert digest(date=datetime(2026, 3, 3, tzinfo=UTC)).message != digest().message


def test_an_empty_part_is_still_a_part() -> None:
    made = digest()
    empty = dataclasses.replace(made.rendered, text="", html="")
    message = build_digest(
        made.slate, made.links, empty,
        sender=SENDER, reply_to=SENDER, site_name="x", date=MADE_AT,
    )  # fmt: skip
    assert part_of(message.mime, "plain").strip() == part_of(message.mime, "html").strip() == ""


@pytest.mark.parametrize(
    ("stored", "mailed"),
    [
        ("u@bücher.example", "u@xn--bcher-kva.example"),
        ("u@xn--bcher-kva.example", "u@xn--bcher-kva.example"),
        ("Ada+x@例え.テスト", "Ada+x@xn--r8jz45g.xn--zckzah"),
        ("u@почта.рф", "u@xn--80a1acny.xn--p1ai"),
        ("u@faß.de", "u@xn--fa-hia.de"),
    ],
)
def test_a_domain_outside_ascii_stands_in_to_as_a_labels(stored: str, mailed: str) -> None:
    made = digest(slate(1, subscriber=subscriber(email=stored)))
    assert faults(made) == []
    assert f"\r\nTo: {mailed}\r\n".encode() in made.message.mime


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Papers @ Lab <papers@example.org>", "Papers @ Lab"),
        ("Papers: daily <papers@example.org>", "Papers: daily"),
        ("Papers (daily) <papers@example.org>", "Papers (daily)"),
        ('The "best", \\ papers <papers@example.org>', 'The "best", \\ papers'),
        ("Bücher, täglich @ Lab <papers@example.org>", "Bücher, täglich @ Lab"),
        ("論文: 毎日 <papers@example.org>", "論文: 毎日"),
    ],
)
def test_an_odd_name_of_the_sender_is_quoted_or_encoded(typed: str, name: str) -> None:
    made = digest(sender=MailSettings(sender=typed).sender)
    assert faults(made) == []
    assert getaddresses([str(made.parsed["From"])])[0][1] == "papers@example.org"
    [address] = made.parsed["From"].addresses
    assert (address.display_name, address.addr_spec) == (name, "papers@example.org")
    assert sender_in(made.message.mime) == "papers@example.org"


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "email",
    [
        "", "no-at", "a@b@c.org", "a,b@example.org", "a b@example.org", "é@example.org",
        "a@example.org\r\nBcc: v@example.net", "<a@example.org>", "a@example.org>",
        "a@exa_mple.org", "a@example.org, b@example.org", "a;b@example.org", "(c)a@example.org",
    ],
)  # fmt: skip
def test_an_address_that_is_not_one_plain_address_is_refused(email: str) -> None:
    with pytest.raises(MessageError):
        digest(slate(1, subscriber=subscriber(email=email)))


@pytest.mark.parametrize("field", ["sender", "reply_to", "site_name"])
@pytest.mark.parametrize("text", ["x\r\nBcc: v@example.net", "x\ny", "x\ry", "x\0y", "x\x7fy"])
def test_no_name_can_add_a_header(field: str, text: str) -> None:
    value = text if field == "site_name" else f'"{text}" <ada@papers.example.org>'
    try:
        made = digest(**{field: value})
    except MessageError:
        return
    assert faults(made) == []
    assert b"\nBcc" not in made.message.mime


@pytest.mark.parametrize("text", HOSTILE)
def test_no_subject_can_add_a_header(text: str) -> None:
    made = digest()
    try:
        message = build_digest(
            made.slate, made.links, dataclasses.replace(made.rendered, subject=f"a {text}"),
            sender=SENDER, reply_to=SENDER, site_name="x", date=MADE_AT,
        )  # fmt: skip
    except (MessageError, UnicodeEncodeError):
        return
    rebuilt = dataclasses.replace(made, message=message)
    assert [fault for fault in faults(rebuilt) if not fault.startswith("subject")] == []


@pytest.mark.parametrize("link", ["unsubscribe", "unsubscribe_mailto"])
@pytest.mark.parametrize("value", ["", "x", "https://x>, <https://y", "https://x\r\nBcc: v", "a b"])
def test_a_malformed_way_to_unsubscribe_is_refused(link: str, value: str) -> None:
    made = slate(1)
    links = dataclasses.replace(links_of(made), **{link: value})  # type: ignore[arg-type]
    with pytest.raises(MessageError, match=r"List-Unsubscribe|header"):
        build_digest(
            made, links, RenderedDigest("s", "t", "h", 1),
            sender=SENDER, reply_to=SENDER, site_name="x", date=MADE_AT,
        )  # fmt: skip


def test_a_sender_without_a_domain_is_refused() -> None:
    with pytest.raises(MessageError, match=r"\[mail\] from"):
        digest(sender="triage")


@pytest.mark.parametrize(
    ("old", "new", "breach"),
    [
        (b"To: ", b"To: x@example.org\r\nTo: ", "header to 2 times"),
        (b"Precedence: bulk\r\n", b"", "header precedence 0 times"),
        (b"MIME-Version", b"X-Mailer: y\r\nMIME-Version", "unknown header x-mailer"),
        (b">, <mailto:", b">,\r\n <mailto:", "List-Unsubscribe is folded"),
        (b"\r\nTo: ", b"\nTo: ", "a bare line break"),
        (b"Subject: ", b"Subject: \xc3\xa9", "not ASCII"),
        (b"Subject: ", b"Subject: " + b"x" * 999, "more than 998 bytes"),
        (b"text/html", b"text/x-html", "parts multipart/alternative text/plain text/x-html"),
        (b"--=_5", b"--=_6", "MIME|parts"),
    ],
)
def test_a_message_that_was_tampered_with_is_refused(old: bytes, new: bytes, breach: str) -> None:
    mime = digest().message.mime
    verify(mime)
    assert old in mime
    with pytest.raises(MessageError, match=breach):
        verify(mime.replace(old, new, 1))


def test_a_message_too_large_is_refused() -> None:
    made = digest()
    with pytest.raises(MessageError, match="150000"):
        build_digest(
            made.slate, made.links,
            dataclasses.replace(made.rendered, html="<p>x</p>\n" * (LARGEST_MESSAGE // 8)),
            sender=SENDER, reply_to=SENDER, site_name="x", date=MADE_AT,
        )  # fmt: skip


# -- golden mails ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - TOO_LARGE_FOR_GOLD))
def test_the_mail_is_the_golden_one(name: str) -> None:
    path = GOLDEN / f"{name}.eml"
    mime = digest(EXAMPLES[name]).message.mime
    if os.environ.get("REFRESH_GOLDEN"):
        path.write_bytes(mime)
    assert path.exists(), "run with REFRESH_GOLDEN=1 and read what it writes"
    if mime != path.read_bytes():
        # Decoded, a difference can be read.
        golden = path.read_bytes()
        for subtype in ("plain", "html"):
            assert part_of(mime, subtype) == part_of(golden, subtype)
        assert mime == golden


def test_no_golden_mail_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.eml")} == EXAMPLES.keys() - TOO_LARGE_FOR_GOLD
