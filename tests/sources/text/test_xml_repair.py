"""Mending changes nothing in documents that are well-formed, and never fails."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.sources.text.xml import parse_root
from triage.sources.text.xml_repair import repair, to_utf8

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))


@given(st.lists(st.tuples(TEXT, TEXT), max_size=5), st.sampled_from(["utf-8", "utf-16", "ascii"]))
def test_a_document_that_is_right_stays_as_it_is(texts: list[tuple[str, str]], coding: str) -> None:
    root = ET.Element("{urn:n}rss")
    for inside, attribute in texts:
        ET.SubElement(root, "{urn:m}item", {"a": attribute, "{urn:m}b": "&amp;"}).text = inside
    body = ET.tostring(root, encoding=coding, xml_declaration=True)
    mended = parse_root(b"".join(repair(to_utf8(body))), "It")
    assert ET.canonicalize(ET.tostring(mended)) == ET.canonicalize(ET.tostring(root))


def test_what_stands_in_a_cdata_section_stays() -> None:
    inside = "<![CDATA[R&D &nbsp; <!-- a -- b --> <a:b> < ]] ]> <?x?>]]>"
    assert f"<r>{inside}</r>".encode() in b"".join(repair(f"<r>{inside}</r>".encode())).replace(
        b' xmlns:a="urn:undeclared:a"', b""
    )


@given(st.binary(), st.text(max_size=20))
@pytest.mark.parametrize("before", [b"", b"<?xml version='1.0' encoding='gbk'?><rss>", b"\xff\xfe"])
def test_any_bytes_become_valid_utf_8(before: bytes, body: bytes, charset: str) -> None:
    b"".join(repair(to_utf8(before + body, charset))).decode()


def test_a_known_prefix_gets_its_own_namespace_and_another_one_of_ours() -> None:
    body = b"<r xmlns:d='urn:d'><dc:a d:x='1' e:y='2'/></r>"
    (child,) = parse_root(b"".join(repair(body)), "It")
    assert child.tag == "{http://purl.org/dc/elements/1.1/}a"
    assert child.attrib == {"{urn:d}x": "1", "{urn:undeclared:e}y": "2"}
