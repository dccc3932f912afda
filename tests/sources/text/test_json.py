"""JSON from strangers is bounded before it is parsed."""

from __future__ import annotations

import pytest

from tests.support.contracts import error_text
from triage.errors import SourceError
from triage.sources.text import json


def refused(body: bytes) -> str:
    with pytest.raises(SourceError) as caught:
        json.loads(body, "The answer")
    return error_text(caught.value)


def test_a_document_is_what_it_says() -> None:
    assert json.loads(b'{"a": [1, "\xc3\xa9", null]}', "It") == {"a": [1, "é", None]}


def test_values_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "MOST_VALUES", 6)
    assert json.loads(b'[{"a":1},[],2]', "It") == [{"a": 1}, [], 2]
    assert "too large" in refused(b'[{"a":1},[],[]]')


def test_a_document_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "MOST_BYTES", 10)
    assert json.loads(b'"12345678"', "It") == "12345678"
    assert "too large" in refused(b'"123456789"')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is no JSON"),
        (b"[", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"1" * 5_000, "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"<!doctype html><html>", "web page"),
    ],
)
def test_what_is_no_document_is_told_apart(body: bytes, said: str) -> None:
    assert said in refused(body)
