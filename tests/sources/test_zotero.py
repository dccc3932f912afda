"""Zotero by its web API: page after page of one person's library, and their key to nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fakes import StoppedClock
from tests.support.paths import SHARED
from tests.support.zotero_server import KEY, ZoteroServer
from triage.errors import SourceError
from triage.sources.http.client import PoliteClient
from triage.sources.zotero import PAGE, Zotero
from triage.subscribers.bibliography import entries as bibliography

RECORDED = SHARED / "payloads" / "zotero"


@pytest.fixture
def server() -> Iterator[ZoteroServer]:
    opened = ZoteroServer([])
    yield opened
    opened.close()


def read(server: ZoteroServer, key: str = KEY) -> str:
    with PoliteClient(StoppedClock(), "triage/test", 1.0) as gate:
        return Zotero(gate, key, server.url).library()


def record(n: int) -> dict[str, Any]:
    return {"key": f"K{n}", "data": {"itemType": "preprint", "title": f"Paper {n}",
            "url": f"https://arxiv.org/abs/2603.{n:05d}"}}  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, PAGE, 2 * PAGE + 1])
def test_every_page_of_a_library_is_read(server: ZoteroServer, n: int) -> None:
    server.records = [record(i) for i in range(1, n + 1)]
    entries = bibliography.read(read(server))
    assert [entry.ids for entry in entries] == [
        (("arxiv", f"2603.{i:05d}"),) for i in range(1, n + 1)
    ]
    paths = [path for path, _, _ in server.asked]
    assert paths == ["/keys/current"] + ["/users/475425/items/top"] * (n // PAGE + 1)


def test_the_key_goes_in_a_header_and_in_no_address(server: ZoteroServer) -> None:
    read(server)
    for path, query, headers in server.asked:
        assert headers["zotero-api-key"] == KEY
        assert headers["zotero-api-version"] == "3"
        assert KEY not in path + str(query)


def test_the_key_goes_to_nobody_else(server: ZoteroServer) -> None:
    other = ZoteroServer([])
    try:
        server.status, server.location = 302, f"{other.url}/keys/current"
        with pytest.raises(SourceError) as caught:
            read(server)
    finally:
        other.close()
    assert other.asked == []
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("owner", "records"),
    [({}, []), ([], []), ({"userID": "../1"}, []), ({"userID": 1}, {"error": "x"})],
)
def test_answers_of_another_shape_are_an_error(
    server: ZoteroServer, owner: Any, records: Any
) -> None:
    server.owner, server.records = owner, records
    with pytest.raises(SourceError, match="Zotero's answer"):
        read(server)


def test_a_key_that_does_not_open_is_an_error_without_the_key(server: ZoteroServer) -> None:
    server.status = 403
    with pytest.raises(SourceError) as caught:
        read(server)
    assert KEY not in str(caught.value)
    with pytest.raises(SourceError, match=r"zotero\.org/settings/keys"):
        read(server, "no key\r\nX: y")


@pytest.mark.skipif(not RECORDED.is_dir(), reason="Zotero's recorded answers are not here")
def test_what_zotero_really_said_is_read(server: ZoteroServer) -> None:
    recorded = json.loads((RECORDED / "items_doc.json").read_text())
    server.records = recorded
    assert bibliography.read(read(server)) == bibliography.read(json.dumps(recorded))
    assert sum(bool(entry.ids) for entry in bibliography.read(read(server))) >= 4
