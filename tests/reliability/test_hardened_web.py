"""Every page against strangers' sites, names and questions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import event
from starlette.routing import Route

from tests.support.guarantees import Guarantee
from tests.support.web_world import ADDRESS, StillSite, Visitor, World, new_crowd, new_world
from triage import store
from triage.domain.link_tokens import Purpose
from triage.domain.records import EventKind
from triage.store import Database
from triage.web.app import create_app
from triage.web.context import KEPT
from triage.web.middleware import security_headers

pytestmark = pytest.mark.any_database(
    "what is refused to strangers is refused before anything is stored; test_web_* run on each"
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def paths(world: World) -> list[str]:
    """Return an address of every route, so that a new one is tested without being named here."""
    app = create_app(world.db, world.keyring, world.clock, world.site, world.enrolment)
    tokens = {
        "/p/{token}": world.token(Purpose.PAPER),
        "/v/{token}": world.vote(),
        "/u/{token}": world.token(Purpose.UNSUBSCRIBE),
        "/c/{token}": world.token(Purpose.CONFIRM),
        "/l/{token}": world.token(Purpose.LOGIN),
        "/d/{token}": world.token(Purpose.DIGEST),
    }
    found = []
    for route in app.routes:
        assert isinstance(route, Route)
        path = route.path.replace("{token}", tokens.get(route.path, "damaged"))
        path = path.replace("{paper}", "1").replace("{file}", "likes.bib")
        found.append(re.sub(r"\{\w+\}", "2026-03-02", path))
    return found


# -- headers ---------------------------------------------------------------------------------------


@pytest.mark.guarantee("R27")
def test_every_route_answers_with_the_same_security_headers(
    world: World, guarantee: Guarantee
) -> None:
    ada = world.logged_in()
    known, n = security_headers(world.site.base_url), 0
    assert known["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert known["Cache-Control"] == "no-store"
    assert set(known) == {
        "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control",
        "X-Robots-Tag", "Permissions-Policy", "Cross-Origin-Opener-Policy",
        "Cross-Origin-Resource-Policy", "Strict-Transport-Security",
    }  # fmt: skip
    for path, method in itertools.product(
        [*paths(world), "/nowhere"], ["GET", "HEAD", "OPTIONS", "POST", "PUT"]
    ):
        for somebody in (world.visitor(), ada):
            answer = somebody.ask(method, path)
            assert answer.status_code < 500
            kept = cache_control(path, answer, is_stranger=somebody is not ada)
            for name, value in (known | {"Cache-Control": kept}).items():
                assert answer.headers.get_list(name.lower()) == [value], (method, path, name)
            for hidden in ("server", "x-powered-by", "last-modified", "refresh"):
                assert hidden not in answer.headers
            is_kept = kept in {"no-cache", "public, max-age=86400"}
            assert is_kept or "etag" not in answer.headers, (method, path)
            assert kept != "no-cache" or "etag" in answer.headers, (method, path)
            n += 1
    guarantee.record(answers_with_all_headers=n)


def cache_control(path: str, answer: httpx.Response, *, is_stranger: bool) -> str:
    """Return what may be kept: files, and what a stranger gets at an address without a token.

    The browser itself may keep the answer to a form, so that Back shows what was typed.
    """
    has_token = path.startswith(("/p/", "/v/", "/d/", "/u/", "/c/", "/l/", "/f/"))
    if answer.request.method == "POST" and answer.status_code in KEPT and not has_token:
        return "private, no-cache"
    if answer.status_code != 200 or answer.request.method not in {"GET", "HEAD"}:
        return "no-store"
    if re.match(r"/(style|keys|favicon)\.", path):
        return "public, max-age=86400"
    kind = answer.headers["content-type"].partition(";")[0]
    is_page = kind in {"text/html", "application/atom+xml", "application/feed+json"}
    return "no-cache" if is_stranger and is_page and not has_token else "no-store"


# -- other sites, other names, other places --------------------------------------------------------


@contextmanager
def unchanged(world: World) -> Iterator[None]:
    before = world.everything()
    yield
    assert world.everything() == before


ACTS: list[tuple[str, dict[str, str]]] = [
    ("/preferences", {"do": "save", "hour": "3", "zone": "UTC", "frequency": "daily",
                      "detail": "tldr", "weekday": "1"}),
    ("/likes/forget", {"do": "forget"}),
    ("/saved", {"name": "Stolen"}),
    ("/papers/1/save", {"collection": "0"}),
    ("/preferences", {"do": "leave"}),
    ("/preferences", {"do": "mute", "number": "1"}),
    ("/preferences/erase", {"sure": "yes"}),
    ("/preferences", {"do": "feed"}),
    ("/likes", {"paper": "1"}),
    ("/papers/1", {"vote": "save"}),
    ("/papers/1", {"vote": "none"}),
    ("/import", {"text": "2603.00002"}),
    ("/follow", {"author": "Ada Lovelace"}),
    ("/authors", {"name": "Ada Lovelace", "do": "follow"}),
    ("/logout", {}),
]  # fmt: skip
FOREIGN: list[dict[str, str]] = [
    {"origin": "https://evil.example"},
    {"origin": "https://triage.example.evil.example"},
    {"origin": "http://triage.example"},
    {"origin": "https://triage.example:8443"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"origin": "https://triage.example", "sec-fetch-site": "cross-site"},
    {"origin": "http://127.0.0.1:8000"},
    {"origin": "http://localhost"},
    {"origin": "https://[bad"},
]


def seal_of(visitor: Visitor) -> str:
    found = re.search(r'name="seal" value="([^"]+)"', visitor.get("/preferences").text)
    assert found is not None
    return found[1]


@pytest.mark.guarantee("R27")
def test_no_other_site_can_do_what_a_subscriber_may(world: World, guarantee: Guarantee) -> None:
    ada, ben = world.logged_in(), world.logged_in(reader=1)
    world.client().post("/v/" + world.vote(), data={"vote": EventKind.VOTE_UP})
    seal = seal_of(ada)
    seals = [None, "", "x", seal[:-1], seal + "A", seal.swapcase(), seal_of(ben), "é" * 22]
    refused = 0
    with unchanged(world):
        for path, fields in ACTS:
            for wrong in seals:
                sent = fields if wrong is None else fields | {"seal": wrong}
                for origin in ({}, {"origin": "null"}, {"sec-fetch-site": "same-origin"}):
                    assert ada.post(path, data=sent, headers=origin).status_code == 403
                    refused += 1
            for headers in FOREIGN:
                answer = ada.post(path, data=fields | {"seal": seal}, headers=headers)
                assert answer.status_code == 403, headers
                refused += 1
            # Whoever knows the seal still needs the cookie.
            assert world.client().post(path, data=fields | {"seal": seal}).status_code == 403
            refused += 1
    assert ada.post("/logout", data={"seal": seal}).status_code == 303
    guarantee.record(foreign_forms_refused=refused)


@pytest.mark.guarantee("R27")
def test_no_other_site_can_log_somebody_in_or_ask_for_them(
    world: World, guarantee: Guarantee
) -> None:
    attacker, victim = world.visitor(), world.visitor()
    told = attacker.submit(attacker.get("/login"), email=ADDRESS)
    code = re.search(r"\d{3} \d{3}", told.text)
    assert code is not None
    [note] = world.answers()
    page = attacker.get("/subscribe")
    world.clock.sleep(9)
    stamp = re.search(r'name="stamp" value="([^"]+)"', page.text)
    assert stamp is not None
    n = 0
    with unchanged(world):
        for headers in FOREIGN:
            entered = victim.post(note.path, data={"do": "enter", "code": code[0]}, headers=headers)
            assert entered.status_code == 200
            assert (
                victim.post("/login", data={"email": ADDRESS}, headers=headers).status_code == 403
            )
            wish = {"email": ADDRESS, "stamp": stamp[1], "do": "subscribe"}
            assert victim.post("/subscribe", data=wish, headers=headers).status_code == 422
            n += 3
    assert not victim.cookies
    guarantee.record(foreign_logins_refused=n)


HOSTS = [
    "evil.example", "triage.example.evil.example", "evil.example:443",
    "triage.example@evil.example", "", "[", "[::2]", "192.0.2.1", "10.0.0.1",
    "169.254.169.254", "localhost.evil.example", "-", "triage.example,evil.example", "évil.example",
]  # fmt: skip


@pytest.mark.guarantee("R27")
def test_under_a_foreign_name_nothing_is_shown(world: World, guarantee: Guarantee) -> None:
    n = 0
    for host, path in itertools.product(HOSTS, paths(world)):
        if path.startswith("/u/") or path == "/healthz":
            continue
        answer = world.client().get(path, headers={"host": host.encode()})
        assert answer.status_code == 421
        assert "evil" not in answer.text + str(answer.headers)
        n += 1
    for own in ("triage.example", "TRIAGE.example:443", "127.0.0.1:8000", "localhost", "[::1]:80"):
        assert world.client().get("/", headers={"host": own}).status_code == 200
    guarantee.record(foreign_names_refused=n)


@pytest.mark.guarantee("R27")
def test_a_mail_program_may_unsubscribe_under_any_name(world: World, guarantee: Guarantee) -> None:
    path = "/u/" + world.token(Purpose.UNSUBSCRIBE)
    one_click = {"List-Unsubscribe": "One-Click"}
    headers = {"host": "old.name.example", "origin": "https://mail.example", "cookie": "session=x"}
    assert world.client().post(path, data=one_click, headers=headers).status_code == 200
    assert world.state() == "unsubscribed"
    guarantee.record(one_click_needs="its token alone")


@pytest.mark.guarantee("R27")
def test_no_parameter_leads_elsewhere(world: World, guarantee: Guarantee) -> None:
    ada = world.logged_in()
    n = 0
    for path, name, target in itertools.product(
        [*paths(world), "//evil.example", "/\\evil.example", "/preferences/", "/login/"],
        ["next", "url", "redirect", "return", "continue"] if guarantee.full else ["next"],
        ["https://evil.example/", "//evil.example", "/\\evil.example"],
    ):
        answer = ada.get(path, params={name: target})
        # Some addresses lead on, to pages of ours.
        there = answer.headers.get("location", "/")
        assert there in {"/", "/login", "/papers/1"}
        for address in re.findall(r'(?:href|action|src)="([^"]*)"', answer.text):
            # Browsers read a backslash as a slash.
            host = urlsplit(unescape(address).replace("\\", "/")).hostname or ""
            assert "evil" not in host, (path, name, target)
        n += 1
    person = world.visitor()
    person.submit(person.get("/login"), email=ADDRESS)
    [note] = world.answers()
    entered = person.post(
        note.path + "?next=//evil.example", data={"do": "enter", "next": "//evil"}
    )
    assert entered.headers["location"] == "/"
    guarantee.record(redirects_elsewhere=0, addresses_with_a_target=n)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {"x-long": "x" * 16_384}),
        ("/", {f"x-many-{n}": "x" for n in range(2_000)}),
        ("/?q=" + "x" * 16_384, {}),
        ("/" + "x" * 16_384, {}),
    ],
)
def test_a_request_whose_head_is_over_16_kb_is_refused(
    world: World, path: str, headers: dict[str, str]
) -> None:
    answer = world.client().get(path, headers=headers)
    assert answer.status_code == 431
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert world.client().get("/", headers={"x-long": "x" * 15_000}).status_code == 200


@pytest.mark.parametrize(
    "cookie", ["session=x", "__Host-session=", "__Host-session=%00", "=;;,", "é"]
)
def test_a_cookie_that_is_none_of_ours_is_nobody(world: World, cookie: str) -> None:
    answer = world.client().get("/preferences", headers={"cookie": cookie.encode()})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fpreferences"


def test_a_form_on_this_machine_works_under_each_of_its_names(world: World) -> None:
    world.site = StillSite(base_url="http://127.0.0.1:8000")
    for host in ("127.0.0.1:8000", "localhost:8000", "127.0.0.1:9999"):
        headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
        ada = world.visitor()
        assert ada.post("/login", data={"email": ADDRESS}, headers=headers).status_code == 303
        world.clock.sleep(3600)
    headers = {"host": "127.0.0.1:8000", "origin": "http://localhost:8000"}
    assert (
        world.client().post("/login", data={"email": ADDRESS}, headers=headers).status_code == 403
    )


# -- nobody can ask who is subscribed --------------------------------------------------------------


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    """Collect the statements that are run."""
    said: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


@pytest.mark.guarantee("R26")
def test_known_and_unknown_addresses_are_answered_alike(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    n = 1_000 if guarantee.full else 6
    world = new_crowd(tmp_path, n, 1)
    for each in range(n):
        for path, button in (("/subscribe", "subscribe"), ("/login", None)):
            seen = []
            for is_known in (True, False):
                email = world.readers[each].email if is_known else f"nobody.{each}@example.org"
                # Each pair from a network of its own: of one, the limit would be in between.
                somebody = world.visitor(f"10.{each // 250}.{each % 250}.1")
                # The code on the page changes its compressed size.
                somebody.headers["accept-encoding"] = "identity"
                page = somebody.get(path)
                world.clock.sleep(10)
                with counted(world.db) as said:
                    answer = somebody.submit(page, button, email=email)
                body = re.sub(r"\d{3} \d{3}", "", answer.text)
                cookies = [re.sub(r"=[^;]+", "=", line, count=1)
                           for line in answer.headers.get_list("set-cookie")]  # fmt: skip
                headers = {k: v for k, v in answer.headers.items() if k != "set-cookie"}
                seen.append((answer.status_code, headers, cookies, body, list(said)))
            assert seen[0] == seen[1]
        world.enrolment.answer()
    with world.db.read() as conn:
        assert store.signups.n_unanswered(conn) == 0
    guarantee.record(pairs=2 * n, answers_that_differ=0, statements_that_differ=0)
