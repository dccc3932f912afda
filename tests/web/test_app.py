"""What holds for every page: looking changes nothing, nothing leaks, nothing large gets in."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.web_world import ADDRESS, INTERESTS, StillSite, World, new_world
from triage.domain.link_tokens import Purpose
from triage.domain.records import EventKind

ENDPOINTS = {
    Purpose.PAPER: "/p/",
    Purpose.VOTE: "/v/",
    Purpose.UNSUBSCRIBE: "/u/",
    Purpose.DIGEST: "/d/",
}
PLAIN = [
    "/", "/subscribe", "/login", "/preferences", "/preferences/erase", "/digests",
    "/digests/2026-03-02", "/likes", "/likes/forget", "/saved", "/papers/1/save", "/style.css",
    "/healthz",
]  # fmt: skip
FOR_SUBSCRIBERS = {
    "/preferences", "/preferences/erase", "/digests", "/digests/2026-03-02", "/likes",
    "/likes/forget", "/saved", "/papers/1/save",
}  # fmt: skip
FORMS = {
    "/subscribe", "/login", "/preferences", "/preferences/erase", "/likes", "/likes/forget",
    "/saved", "/papers/1/save",
}  # fmt: skip
SCRIPT = r'<script src="/keys\.[0-9a-f]{12}\.js" defer></script>'
FIELDS = {
    "/p/": {},
    "/v/": {"vote": "vote_up"},
    "/u/": {"List-Unsubscribe": "One-Click"},
    "/d/": {"vote": "vote_up"},
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def linked(world: World) -> list[str]:
    """Return the path of every kind of link that a mail of this world may hold."""
    votes = ["/v/" + world.vote(kind, n) for kind in EventKind for n in (1, 2, 3)]
    papers = ["/p/" + world.token(Purpose.PAPER, n) for n in (1, 2, 3)]
    leave = ["/u/" + world.token(Purpose.UNSUBSCRIBE, 0, reader=n) for n in (0, 1)]
    return [*votes, *papers, *leave, "/d/" + world.token(Purpose.DIGEST, 0)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_no_method_but_post_changes_anything(world: World, method: str) -> None:
    client = world.client()
    before = world.everything()
    for path in [*PLAIN, *linked(world), "/v/damaged", "/nowhere"]:
        for _ in range(2):
            status = client.request(method, path).status_code
            assert status < 500
            if method in {"GET", "HEAD"} and "damaged" not in path and path != "/nowhere":
                assert status == (303 if path in FOR_SUBSCRIBERS else 200)
    assert world.everything() == before


def test_a_head_request_gives_the_headers_of_a_get_and_no_body(world: World) -> None:
    for path in linked(world)[::6]:
        head, get = world.client().request("HEAD", path), world.client().get(path)
        assert head.content == b""
        assert head.headers == get.headers


def test_posting_to_a_page_without_a_button_does_nothing(world: World) -> None:
    before = world.everything()
    for path in {*PLAIN, "/p/" + world.token(Purpose.PAPER)} - FORMS:
        assert world.client().post(path, data={"vote": "vote_up"}).status_code == 405
    for path in FORMS:
        assert world.client().post(path, data={"vote": "vote_up"}).status_code in {403, 422}
    assert world.everything() == before


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_token_opens_the_page_of_its_purpose_only(
    world: World, purpose: Purpose, endpoint: Purpose, method: str
) -> None:
    before = world.everything()
    place = ENDPOINTS[endpoint]
    token = world.token(purpose, 1, EventKind.VOTE_UP)
    answer = world.client().request(
        method, place + token, data=FIELDS[place] if method == "POST" else None
    )
    if purpose is endpoint and (place, method) not in {("/p/", "POST"), ("/d/", "POST")}:
        assert answer.status_code == (303 if (place, method) == ("/v/", "POST") else 200)
    else:
        assert answer.status_code in {404, 405}
        assert world.everything() == before


def test_an_expired_vote_says_so_and_is_not_taken(world: World) -> None:
    before = world.everything()
    path = "/v/" + world.vote()
    world.clock.at += timedelta(days=180)
    for answer in (world.client().get(path), world.client().post(path, data=FIELDS["/v/"])):
        assert answer.status_code == 410
        assert "too old" in answer.text
    assert world.everything() == before


def test_paper_and_unsubscribe_links_work_for_years(world: World) -> None:
    paths = ["/p/" + world.token(Purpose.PAPER), "/u/" + world.token(Purpose.UNSUBSCRIBE)]
    world.clock.at += timedelta(days=4000)
    assert [world.client().get(path).status_code for path in paths] == [200, 200]
    assert "What do you think" not in world.client().get(paths[0]).text


def test_a_link_whose_digest_is_gone_says_so(world: World) -> None:
    with world.db.write() as conn:
        conn.execute(text("DELETE FROM subscribers"))
    for path in linked(world):
        if not path.startswith("/u/"):
            assert world.client().get(path).status_code == 410
        place = path[:3]
        assert world.client().post(path, data=FIELDS[place]).status_code in {200, 405, 410}


def fragments(path: str) -> list[str]:
    token = path[3:]
    return [token[i : i + 10] for i in range(3, len(token) - 10)]


def test_no_part_of_a_token_is_in_an_error_page_a_header_or_a_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    expiring = "/v/" + world.vote()
    damaged = ["/v/" + world.vote()[:-1], "/u/" + world.token(Purpose.PAPER), "/p/" + world.vote()]
    slashed = "/u/" + world.token(Purpose.UNSUBSCRIBE) + "/"
    world.client().get(expiring)
    world.clock.at += timedelta(days=200)
    client = world.client()
    for path in [expiring, *damaged, slashed, "/x" + world.vote()]:
        for method in ("GET", "POST", "OPTIONS", "DELETE"):
            answer = client.request(method, path)
            assert answer.status_code >= 400
            for fragment in fragments(path):
                assert fragment not in answer.text
                assert fragment not in str(answer.headers)
    # The test's own client logs what it asks for.
    logged = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert "GET /v/[token] 410" in logged
    for path in [expiring, *damaged, slashed]:
        assert not any(fragment in line for line in logged for fragment in fragments(path))


def test_a_path_cannot_write_lines_into_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "triage.web")
    world.client().get("/a%0d%0aGET%20/admin%20200%1b[31m" + "x" * 1000)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "triage.web"]
    assert line.isprintable()
    assert len(line) < 300


def test_a_broken_database_gives_a_page_and_not_a_trace(world: World) -> None:
    path = "/v/" + world.vote()
    with world.db.write() as conn:
        conn.execute(text("ALTER TABLE slates RENAME TO gone"))
    for method in ("GET", "POST"):
        answer = world.client().request(method, path, data=FIELDS["/v/"])
        assert answer.status_code in {500, 503}
        assert "try again" in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_every_answer_has_the_security_headers_and_no_cookie(world: World) -> None:
    client = world.client()
    answers = [client.get(path) for path in [*PLAIN, *linked(world), "/nowhere", "/v/damaged"]]
    answers += [
        client.post("/u/" + world.token(Purpose.UNSUBSCRIBE), data=FIELDS["/u/"]),
        client.request("OPTIONS", "/"),
        client.post("/v/x", content=b"x" * 70_000),
    ]
    secret = [*linked(world), "/v/damaged", "/healthz"]
    for answer in answers:
        headers = answer.headers
        assert headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        if answer.request.url.path in secret or answer.status_code != 200:
            assert headers["cache-control"] == "no-store"
        assert "noindex" in headers["x-robots-tag"]
        assert headers["permissions-policy"]
        assert headers["strict-transport-security"]
        assert "set-cookie" not in headers
        assert headers.get("location", "").startswith("/login?next=") == (answer.status_code == 303)
        assert len(headers.get_list("cache-control")) == 1


def test_strict_transport_is_promised_over_https_only(world: World) -> None:
    world.site = StillSite(base_url="http://127.0.0.1:8000")
    assert "strict-transport-security" not in world.client().get("/").headers


def test_pages_need_no_script_and_nothing_from_elsewhere(world: World) -> None:
    client = world.client()
    for path in [*PLAIN, *linked(world), "/nowhere"]:
        page = client.get(path).text
        assert not re.search(r"<(img|iframe|object|embed|video)", page)
        # One script file of our own, without which all works, and nothing inside of the page.
        scripts = re.findall(r"<script.*?</script>", page, re.DOTALL)
        assert all(re.fullmatch(SCRIPT, script) for script in scripts), path
        assert not re.search(r"\s(on\w+|style)=", page)
        for address in re.findall(r'(?:src|action|<link .*?href)="([^"]*)"', page):
            assert address.startswith("/")


def test_no_page_shows_the_address_the_interests_or_a_vote(world: World, tmp_path: Path) -> None:
    client = world.client()
    client.post("/v/" + world.vote(EventKind.SAVE), data={"vote": "save"})
    pages = [client.get(path) for path in [*PLAIN, *linked(world)]]
    pages.append(client.post("/u/" + world.token(Purpose.UNSUBSCRIBE), data=FIELDS["/u/"]))
    for page in pages:
        assert ADDRESS not in page.text
        assert ADDRESS.partition("@")[0] not in page.text
        assert INTERESTS not in page.text
        assert world.readers[0].public_id not in page.text
    (tmp_path / "other").mkdir()
    untouched = new_world(tmp_path / "other").client()
    for path in linked(world):
        assert client.get(path).text == untouched.get(path).text


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_64_kb_is_refused_and_one_below_is_read(world: World, declared: bool) -> None:
    path = "/v/" + world.vote()
    kind = {"content-type": "application/x-www-form-urlencoded"}

    def body(size: int) -> bytes:
        return b"vote=vote_up&x=" + b"y" * (size - 15)

    async def pieces(size: int):  # type: ignore[no-untyped-def]
        whole = body(size)
        for start in range(0, len(whole), 4096):
            yield whole[start : start + 4096]

    before = world.everything()
    for size, status in ((65_537, 413), (1_000_000, 413), (65_536, 303)):
        content = body(size) if declared else pieces(size)
        answer = world.client().post(path, content=content, headers=kind)
        assert answer.status_code == status
        assert (world.everything() == before) == (status == 413)


def test_pages_live_below_the_path_of_the_base_url(world: World) -> None:
    world.site = StillSite(base_url="https://example.org/papers/")
    page = world.client().get("/v/damaged").text
    assert re.search(r'href="/papers/style\.[0-9a-f]{12}\.css"', page)
    assert 'href="/papers/subscribe"' in page


def test_every_page_says_whom_to_ask(world: World) -> None:
    for path in ("/", "/login", "/nowhere"):
        assert 'href="mailto:help@triage.example"' in world.client().get(path).text


def test_an_address_that_is_no_page_and_a_link_that_is_damaged_are_told_apart(
    world: World,
) -> None:
    client = world.client()
    assert "There is no such page" in client.get("/nowhere").text
    assert "This link does not work" in client.get("/v/damaged").text


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_from_its_ground_in_light_and_dark(world: World) -> None:
    style = world.client().get("/style.css").text
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", scheme))
        pairs = [
            ("ink", "ground", 4.5),
            ("ink", "card", 4.5),
            ("ink", "accent-soft", 4.5),
            ("soft", "ground", 4.5),
            ("soft", "card", 4.5),
            ("accent", "ground", 4.5),
            ("accent", "card", 4.5),
            ("accent", "accent-soft", 4.5),
            ("accent-ink", "accent", 4.5),
            ("bad", "ground", 4.5),
            ("bad", "card", 4.5),
            ("bad", "bad-soft", 4.5),
            ("ink", "bad-soft", 4.5),
            ("edge", "ground", 3.0),
            ("edge", "card", 3.0),
        ]
        for one, other, least in pairs:
            high, low = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, (one, other)
