"""XML from strangers is read within bounds, and checked within them before others read it."""

from __future__ import annotations

import pytest

from tests.support.contracts import error_text
from triage.errors import SourceError
from triage.sources.text import xml
from triage.sources.text.xml import check_before_repair, check_limits, parse_root, text

ENTRIES = frozenset({"item"})


def deep(n: int) -> bytes:
    return b"<a>" * n + b"</a>" * n


def check(body: bytes) -> None:
    check_before_repair(body, "The answer")
    pieces = (body[start : start + 1_000] for start in range(0, len(body), 1_000))
    assert check_limits(pieces, "The answer", ENTRIES)[0] == body


def both(body: bytes) -> None:
    parse_root(body, "The answer")
    check(body)


def refused(body: bytes) -> str:
    """Return why neither way of reading takes a document."""
    said = []
    for read in (
        lambda: parse_root(body, "The answer"),
        lambda: check(body),
    ):
        with pytest.raises(SourceError) as caught:
            read()
        said.append(error_text(caught.value))
    assert said[0] == said[1]
    return said[0]


def test_a_tree_holds_what_the_document_does() -> None:
    found = parse_root(
        b'<?xml version="1.0" encoding="latin-1"?><r><a b="1">caf\xe9</a><a/></r>', "It"
    )
    assert text(found, "a") == "café"
    assert [child.get("b") for child in found] == ["1", None]
    assert text(found, "c") == ""


def test_elements_lie_at_most_a_hundred_deep() -> None:
    both(deep(100))
    assert "deep" in refused(deep(101))


def test_elements_attributes_and_namespaces_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "MOST_NODES", 10)
    both(b"<r><a b='' c=''/><a b='' c=''/><a b='' c=''/></r>")
    assert "more than 10" in refused(b"<r><a b='' c=''/><a b='' c=''/><a b='' c=''/><a/></r>")
    both(b"<r><n:a xmlns:n='n'/></r>")
    assert "more than 10" in refused(b"<r><n:a xmlns:n='n'/><n:a xmlns:n='n'/></r>")


def test_kinds_of_elements_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "MOST_NAMES", 3)
    both(b"<r><a b=''/><a b=''/></r>")
    assert "kinds" in refused(b"<r><a b=''/><c/></r>")


def test_a_tag_ends_some_time() -> None:
    both(b"<r a='" + b"x" * 900_000 + b"'/>")
    assert "without end" in refused(b"<r a='" + b"x" * 1_300_000 + b"'/>")
    # A text may be long.
    both(b"<r>" + b"x" * 3_000_000 + b"</r>")


def test_the_places_of_entries_are_told_wherever_they_are() -> None:
    entries = [
        b"<item/>",
        b"<item a='>' />",
        b"<item></item >",
        b"<n:item xmlns:n='n'><item>1</item><![CDATA[</item>]]></n:item>",
        "<item>😀 > é</item>".encode(),
    ]
    body = b"<r xmlns='m'>%b %b<x>%b</x>\r\n%b%b<other/></r>" % tuple(entries)
    whole, places = check_limits([body[:20], body[20:]], "It", ENTRIES)
    assert [whole[start:end] for start, end in places] == entries


def test_entries_within_entries_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "MOST_NESTED", 2)
    check(b"<r><item><item/><item/></item><item/><item/><item/></r>")
    with pytest.raises(SourceError, match="entries within entries"):
        check(b"<r><item><item/><item/></item><item><item/></item></r>")


def test_a_million_lines_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "MOST_PIECES", 5)
    check(b"<r>&amp;&amp;\r\n\n</r>")
    with pytest.raises(SourceError, match="too many lines"):
        check(b"<r>&amp;&amp;\r\n\n\n</r>")


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE r><r/>",
        b"<!DOCTYPE r SYSTEM 'r.dtd'><r/>",
        b"<!DOCTYPE r [<!ENTITY x 'y'>]><r>&x;</r>",
        "<!DOCTYPE r><r/>".encode("utf-16"),
    ],
)
def test_no_document_defines_anything(body: bytes) -> None:
    assert "unsafe XML (DTD" in refused(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is no XML"),
        (b"<r>", "is no XML"),
        (b"<r/><r/>", "is no XML"),
        (b"<r>&unknown;</r>", "is no XML"),
        (b"<r>\xff</r>", "is no XML"),
        (b'<?xml version="1.0" encoding="utf-7"?><r/>', "is no XML"),
        (b'<?xml version="1.0" encoding="nonsense"?><r/>', "is no XML"),
        (b"\n <!DOCTYPE HTML><html>", "web page"),
        (b"\xef\xbb\xbf<html><body/></html>", "web page"),
    ],
)
def test_what_is_no_document_is_told_apart(body: bytes, said: str) -> None:
    assert said in refused(body)
