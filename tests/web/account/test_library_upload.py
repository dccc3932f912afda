"""A library that who is logged in brings, and what they take along."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.web_world import Visitor, World, new_world
from triage.domain.records import EventKind
from triage.errors import ConfigError
from triage.subscribers import library_import
from triage.subscribers.bibliography import entries
from triage.web.account.library_upload import LARGEST, LONGEST_TEXT
from triage.web.middleware import BODY_LIMIT

LIBRARY = """@misc{a, eprint={2603.00001}, title={Drafts}}
@misc{b, eprint={2509.12345}, title={One of yarn}, author={Curie, Marie and Lovelace, Ada}}
@misc{c, doi={10.5555/1}, title={Another of yarn}, author={Curie, Marie}}
@book{d, title={Of Mice}}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.fixture
def ada(world: World) -> Visitor:
    return world.logged_in()


def bring(ada: Visitor, content: bytes, seal: str | None = None) -> httpx.Response:
    """Send a file as a browser does."""
    page = ada.get("/import").text
    held = page.partition('name="seal" value="')[2].partition('"')[0]
    files = {"file": ("library.bib", content, "text/plain")}
    return ada.post("/import", data={"seal": held if seal is None else seal}, files=files)


def test_a_file_becomes_likes_and_the_rest_is_listed(world: World, ada: Visitor) -> None:
    page = bring(ada, LIBRARY.encode())
    assert page.status_code == 200
    assert world.events() == [(1, 1, EventKind.VOTE_UP)]
    for told in ("1 new like", "Of 4 entries, 3 were recognised", "One of yarn", "Of Mice"):
        assert told in page.text
    assert world.papers[0].title in ada.get("/likes").text
    again = bring(ada, LIBRARY.encode())
    assert "1 had a vote of yours already" in again.text
    assert len(world.events()) == 1


def test_pasted_ids_and_addresses_become_likes(world: World, ada: Visitor) -> None:
    text = "see https://arxiv.org/abs/2603.00002v1, arXiv:2603.00003\nand this"
    page = ada.submit(ada.get("/import"), "Import", text=text)
    assert "2 new likes" in page.text
    assert "and this" in page.text
    assert [row[1] for row in world.events()] == [2, 3]


def test_ones_own_papers_become_likes(world: World, ada: Visitor) -> None:
    page = ada.submit(ada.get("/import"), "Import", author="Lovelace, Ada")
    assert "3 new likes" in page.text
    assert ada.submit(ada.get("/import"), "Import", author="Ada").status_code == 422


def test_who_wrote_much_of_it_can_be_followed(world: World, ada: Visitor) -> None:
    page = bring(ada, LIBRARY.encode())
    assert 'value="Marie Curie"' in page.text
    assert 'value="Ada Lovelace"' not in page.text
    assert (
        "1 more author." in ada.submit(page, "Follow the ticked authors", author="Marie Curie").text
    )
    assert "Marie Curie" in ada.get("/preferences").text
    assert 'value="Marie Curie"' not in bring(ada, LIBRARY.encode()).text


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0\1\2\3", b"\xff\xfe", b"%PDF-1.7 \0", b"[[[", b"@", b"% {x}@misc{a, title={X}}",
        b'[{"itemType": ["note"], "title": "X"}]',
    ],
)  # fmt: skip
def test_what_is_no_library_changes_nothing(world: World, ada: Visitor, content: bytes) -> None:
    before = world.everything()
    assert bring(ada, content).status_code in {200, 422}
    assert world.everything() == before


def test_a_library_of_five_hundred_entries_fits_and_no_more_than_20_mb(
    world: World, ada: Visitor
) -> None:
    entry = "@article{{k{0}, eprint={{2603.{0:05d}}}, abstract={{" + "A sentence. " * 250 + "}}}}\n"
    whole = "".join(entry.format(n) for n in range(1, 501)).encode()
    assert len(whole) > 1_500_000
    assert "3 new likes" in bring(ada, whole).text
    before = world.everything()
    refused = bring(ada, b"x" * LARGEST)
    assert refused.status_code == 413
    assert "larger than the limit, 20 MB" in refused.text
    pasted = ada.post("/import", data={"seal": "x", "text": "x" * LONGEST_TEXT})
    assert pasted.status_code == 413
    assert "A pasted list may have 2 MB" in pasted.text
    sent = {"seal": "x", "text": "x" * BODY_LIMIT.size}
    assert ada.post("/preferences", data=sent).status_code == 413
    assert world.everything() == before


def test_many_libraries_at_once_are_on_the_disk_and_read_one_after_the_other(
    world: World, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, piece, n_pieces = 8, 64 * 1024, 64
    [seal] = re.findall(r'name="seal" value="([^"]+)"', ada.get("/import").text)[:1]
    cookie = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    at_work, most_at_work, n_read = 0, 0, 0

    def read_library(*_: object) -> object:
        nonlocal at_work, most_at_work, n_read
        at_work, n_read = at_work + 1, n_read + 1
        most_at_work = max(most_at_work, at_work)
        time.sleep(0.01)
        at_work -= 1
        raise ConfigError("no library")

    monkeypatch.setattr(library_import, "read_library", read_library)

    async def body() -> AsyncIterator[bytes]:
        for name, value in (("seal", seal), ("file", None)):
            more = '; filename="a.bib"' if value is None else ""
            yield f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
            if value is not None:
                yield f"{value}\r\n".encode()
        for _ in range(n_pieces):
            yield b"x" * piece
            # The others send, too.
            await asyncio.sleep(0)
        yield b"\r\n--b--\r\n"

    async def bring_all() -> list[httpx.Response]:
        transport = httpx.ASGITransport(world.client().app)
        headers = {"cookie": cookie, "content-type": "multipart/form-data; boundary=b"}
        async with httpx.AsyncClient(transport=transport, base_url=world.site.base_url) as client:
            posts = [client.post("/import", content=body(), headers=headers) for _ in range(n)]
            return await asyncio.gather(*posts)

    tracemalloc.start()
    try:
        answers = asyncio.run(bring_all())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {answer.status_code for answer in answers} == {422}
    assert (n_read, most_at_work) == (n, 1)
    # Each may keep 1 MB in memory, and one is read whole.
    assert peak < n * piece * n_pieces / 2


def test_a_stranger_brings_nothing(world: World, ada: Visitor) -> None:
    before = world.everything()
    assert world.client().get("/import").headers["location"] == "/login?next=%2Fimport"
    assert world.client().post("/import", data={"text": "2603.00001"}).status_code == 403
    for seal in ("", "x"):
        assert bring(ada, LIBRARY.encode(), seal).status_code == 403
    assert world.everything() == before


def test_likes_are_taken_along_in_every_format(ada: Visitor) -> None:
    bring(ada, LIBRARY.encode())
    for name in ("likes.bib", "likes.ris", "likes.json"):
        answer = ada.get(f"/mine/{name}")
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        [entry] = entries.read(answer.text)
        assert entry.ids == (("arxiv", "2603.00001"),)
    rows = list(csv.reader(ada.get("/mine/likes.csv").text.splitlines()))
    assert [row[5] for row in rows] == ["id", "2603.00001"]
    whole = json.loads(ada.get("/mine/everything.json").text)
    assert whole["subscriber"] == "ada.reader@example.org"
    assert ada.get("/mine/passwords").status_code == 404


def test_nobody_else_takes_them_along(world: World) -> None:
    for name in ("likes.bib", "everything.json"):
        answer = world.client().get(f"/mine/{name}")
        assert "Log in" in answer.text
        assert "content-disposition" not in answer.headers


def test_a_feed_is_made_shown_and_revoked(world: World, ada: Visitor) -> None:
    page = ada.submit(ada.get("/preferences"), "feed")
    address = page.text.partition('href="https://triage.example/f/')[2].partition('"')[0]
    assert world.client().get(f"/f/{address}").status_code == 200
    assert address in ada.get("/preferences").text
    assert address not in ada.submit(page, "unfeed").text
    assert world.client().get(f"/f/{address}").status_code == 404
