"""Style sheet, script and icon: kept for long at an address that says what is in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.web_world import Client, new_world
from triage.web.static_files import StaticFile

KINDS = {"style.css": "text/css", "keys.js": "text/javascript", "favicon.svg": "image/svg+xml"}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return new_world(tmp_path).client()


def test_what_a_page_names_is_kept_for_a_year(client: Client) -> None:
    named = re.findall(r'(?:href|src)="(/(?:style|keys|favicon)\.[^"]+)"', client.get("/").text)
    assert len(named) == 3
    for path in named:
        answer = client.get(path)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        stem, fingerprint, ending = path[1:].split(".")
        assert re.fullmatch("[0-9a-f]{12}", fingerprint)
        assert answer.headers["content-type"].startswith(KINDS[f"{stem}.{ending}"])
        assert answer.content == client.get(f"/{stem}.{ending}").content


def test_with_another_content_the_address_is_another() -> None:
    assert StaticFile("style.css", b"a").path != StaticFile("style.css", b"b").path


def test_without_the_right_fingerprint_the_current_file_is_given_and_kept_for_a_day(
    client: Client,
) -> None:
    for path in ("/style.css", "/style.000000000000.css", "/favicon.ico", "/favicon.svg"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=86400"


def test_browsers_get_the_icon_wherever_they_look_for_it(client: Client) -> None:
    icon = client.get("/favicon.ico")
    assert icon.headers["content-type"] == "image/svg+xml"
    assert icon.text.startswith("<svg ")
    assert icon.content == client.get("/favicon.svg").content


def test_no_other_file_can_be_had(client: Client) -> None:
    for path in (
        "/_page.html",
        "/style.a.b/../_page.html",
        "/style.js",
        "/keys.css",
        "/favicon.png",
    ):
        assert client.get(path).status_code == 404
