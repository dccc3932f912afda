"""Which addresses mail can go to, and how they are written in ASCII."""

from __future__ import annotations

import pytest

from triage.domain.mail_addresses import to_ascii, to_unicode, why_unmailable

IN_BOTH_FORMS = [
    ("u@bücher.example", "u@xn--bcher-kva.example"),
    ("u@post.bücher.example", "u@post.xn--bcher-kva.example"),
    ("u@faß.example", "u@xn--fa-hia.example"),
    ("u@例え.テスト", "u@xn--r8jz45g.xn--zckzah"),
    ("u@почта.рф", "u@xn--80a1acny.xn--p1ai"),
    ("u@παράδειγμα.δοκιμή", "u@xn--hxajbheg2az3al.xn--jxalpdlp"),
    ("u@例子。测试", "u@xn--fsqu00a.xn--0zwm56d"),
    ("U.V+w@BÜCHER.example", "U.V+w@xn--bcher-kva.example"),
    ("u@bu\u0308cher.example", "u@xn--bcher-kva.example"),
]


@pytest.mark.parametrize(("typed", "mailed"), IN_BOTH_FORMS)
def test_a_domain_outside_ascii_is_mailed_in_a_labels(typed: str, mailed: str) -> None:
    assert to_ascii(typed) == mailed
    assert why_unmailable(typed) == why_unmailable(mailed) == ""
    assert to_ascii(to_unicode(mailed)) == mailed


@pytest.mark.parametrize(
    "address", ["ada@example.org", "Ada.L+papers@Sub.EXAMPLE.org", "a@localhost", "", "nobody"]
)
def test_an_ascii_address_stays_as_it_is(address: str) -> None:
    assert to_ascii(address) == to_unicode(address) == address


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("käse@example.org", "before the @ has characters outside ASCII"),
        ("почта@почта.рф", "before the @ has characters outside ASCII"),
        ("用户@xn--fsqu00a.xn--0zwm56d", "before the @ has characters outside ASCII"),
        ("o’brien@example.org", "before the @ has characters outside ASCII"),
        ("u@☃\u200b☃.example", "not a valid international domain name"),
        ("u@aא.example", "not a valid international domain name"),
        (f"u@{'ü' * 70}.example", "not a valid international domain name"),
        (f"u@{'bücher.' * 13}example", "the domain has more than 185 characters"),
        (f"u@{'a.' * 90}example.org", "the domain has more than 185 characters"),
        (f"{'u' * 65}@example.org", "before the @ has more than 64 characters"),
        ("u v@example.org", "a character that is not allowed"),
        ("u@exa_mple.org", "a character that is not allowed"),
        ("<u@example.org>", "a character that is not allowed"),
        ("u@example.org\r\nBcc: v", "a character that is not allowed"),
        ("", "not the form"),
        ("nobody", "not the form"),
        ("@example.org", "not the form"),
        ("u@", "not the form"),
    ],
)
def test_an_address_that_no_mail_can_go_to_says_why(address: str, why: str) -> None:
    assert why in why_unmailable(address)


@pytest.mark.parametrize("domain", ["xn--a.example", "xn--.example", "xn--zz--.example"])
def test_a_broken_a_label_is_left_alone(domain: str) -> None:
    assert to_unicode(f"u@{domain}") == f"u@{domain}"
