"""The links of a digest, in the hands of scanners, strangers and forgers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import select

from tests.support.browser import chromium_for_tests
from tests.support.factories import NOON
from tests.support.guarantees import Guarantee
from tests.support.web_world import INTERESTS, SECRET, StillSite, World, new_crowd
from triage.digest.message import part_of
from triage.domain.link_tokens import Claims, Keyring, Purpose, redact
from triage.domain.records import DigestLinks, EventKind, SubscriberState
from triage.errors import TokenError
from triage.store.tables import events, sessions, subscribers

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
# How those look at links that nobody asked to: gateways, previewers, programs, browsers.
PROFILES: list[dict[str, str]] = [
    {"user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) SafeLinks"},
    {"user-agent": "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.0; ms-office; MSOffice 16)"},
    {"user-agent": "Barracuda Sentinel (EE)", "accept": "*/*"},
    {"user-agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
    {"user-agent": "python-requests/2.32", "range": "bytes=0-1023"},
    {"user-agent": "curl/8.5", "cookie": "session=x; __Host-session=x; __Host-login=x"},
    {
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/140.0.0.0",
        "sec-fetch-site": "none",
        "sec-fetch-mode": "navigate",
        "sec-fetch-user": "?1",
        "sec-fetch-dest": "document",
    },
    {
        "user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)",
        "purpose": "prefetch",
        "sec-purpose": "prefetch;prerender",
        "x-forwarded-for": "192.0.2.1",
    },
]

Ask = Callable[..., Awaitable[httpx.Response]]


def with_one_client(world: World, visit: Callable[[Ask], Awaitable[None]]) -> None:
    """Let `visit` ask the application many things at once or one by one, without cookies."""
    app = world.client().app

    async def all_of_it() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        base_url = world.site.base_url
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        async with httpx.AsyncClient(
            transport=transport, base_url=base_url, cookies=cookies
        ) as client:
            await visit(client.request)

    asyncio.run(all_of_it())


def every_link(links: DigestLinks) -> list[str]:
    pages = [
        link
        for each in links.papers
        for link in (each.page, each.up, each.down, each.save, each.less)
    ]
    return [*pages, links.vote_page, links.unsubscribe, links.preferences, links.home]


def columns(world: World, *names: str) -> list[tuple[Any, ...]]:
    chosen = [subscribers.c[name] for name in names]
    with world.db.read() as conn:
        return [tuple(row) for row in conn.execute(select(*chosen).order_by(subscribers.c.id))]


# -- safe methods ----------------------------------------------------------------------------------


@pytest.mark.guarantee("R20")
def test_scanners_change_nothing(tmp_path: Path, guarantee: Guarantee) -> None:
    n_digests, n_papers = (1_000, 10) if guarantee.full else (4, 3)
    n_often, often = (50, 20) if guarantee.full else (1, 8)
    world = new_crowd(tmp_path, n_digests, n_papers)
    before = world.everything()
    n_asked = 0

    async def scan(ask: Ask) -> None:
        nonlocal n_asked
        for reader in range(n_digests):
            rounds = often if reader < n_often else 1
            for turn in range(rounds):
                profile = PROFILES[(reader + turn) % len(PROFILES)]
                links = every_link(world.links(reader))
                for method in ("GET", "HEAD"):
                    # All at once, as a gateway does.
                    answers = await asyncio.gather(
                        *(ask(method, link, headers=profile) for link in links)
                    )
                    # The preferences lead a stranger to the login.
                    statuses = [answer.status_code for answer in answers]
                    assert statuses == [303 if "/preferences" in link else 200 for link in links]
                    assert not any("set-cookie" in answer.headers for answer in answers)
                    n_asked += len(answers)

    with_one_client(world, scan)
    assert world.everything() == before
    guarantee.record(digests=n_digests, requests=n_asked, profiles=len(PROFILES), rows_changed=0)


@contextlib.contextmanager
def served(world: World) -> Iterator[None]:
    """Serve a world on loopback, where a browser finds it."""
    app = world.client().app
    port = int(world.site.base_url.rpartition(":")[2])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.guarantee("R20")
def test_a_browser_without_a_person_changes_nothing(
    tmp_path: Path, guarantee: Guarantee, unused_port: int
) -> None:
    n_digests, n_papers = (20, 10) if guarantee.full else (1, 1)
    world = new_crowd(tmp_path, n_digests, n_papers)
    world.site = StillSite(base_url=f"http://127.0.0.1:{unused_port}")
    person = world.visitor()
    person.submit(person.get("/login"), email=world.readers[0].email)
    [note] = world.answers()
    before = world.everything()
    with served(world), chromium_for_tests() as browser:
        page = browser.new_page()
        links = [link for reader in range(n_digests) for link in every_link(world.links(reader))]
        for link in [*links, world.site.base_url + note.path]:
            answer = page.goto(link)
            assert answer is not None
            assert answer.status == 200
            page.wait_for_load_state("load")
    assert world.everything() == before
    # The browser runs scripts, and used up no link of a person.
    assert person.submit(person.get(note.path)).history[0].status_code == 303
    guarantee.record(digests_in_a_browser=n_digests)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# -- one click -------------------------------------------------------------------------------------


@pytest.mark.guarantee("R2")
def test_one_click_unsubscribes_and_nothing_less_does(tmp_path: Path, guarantee: Guarantee) -> None:
    n = 1_000 if guarantee.full else 12
    world = new_crowd(tmp_path, n, 1)
    links = [world.links(reader).unsubscribe for reader in range(n)]
    no_click: list[dict[str, Any]] = [
        {},
        {"content": b"", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"data": {"List-Unsubscribe": "Two-Click"}},
        {"content": b"List-Unsubscribe=One-Click", "headers": {"content-type": "text/plain"}},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    ]
    before = world.everything()

    async def look(ask: Ask) -> None:
        for at, link in enumerate(links):
            for method in ("GET", "HEAD", "OPTIONS"):
                assert (await ask(method, link)).status_code in {200, 405}
            answer = await ask("POST", link, **no_click[at % len(no_click)])
            assert answer.status_code == 200
            assert "One-Click" in answer.text

    async def click(ask: Ask) -> None:
        for at, link in enumerate(links):
            # The clock of a link to leave never runs out.
            world.clock.at += timedelta(days=1)
            sent: dict[str, Any] = (
                {"data": ONE_CLICK}
                if at % 2
                else {"files": {"List-Unsubscribe": (None, "One-Click")}}
            )
            answer = await ask("POST", link, **sent)
            assert answer.status_code == 200
            assert not {"location", "set-cookie"} & set(answer.headers)

    with_one_client(world, look)
    assert world.everything() == before
    with_one_client(world, click)
    after = world.everything()
    assert columns(world, "state") == [(SubscriberState.UNSUBSCRIBED,)] * n
    with_one_client(world, click)
    assert world.everything() == after
    guarantee.record(tokens=n, without_a_click_changed=0, second_clicks_changed=0)


# -- forgers ---------------------------------------------------------------------------------------


def mutated(token: str, chance: random.Random) -> str:
    at = chance.randrange(len(token))
    letters = "ABCXYZabcxyz019-_.=%+/ \x00é"
    other = chance.choice(letters)
    return chance.choice(
        [
            token[:at] + other + token[at + 1 :],
            token[:at] + token[at + 1 :],
            token[:at] + other + token[at:],
            token[:at],
            token[at:] + token[:at],
            token.swapcase() if at % 2 else token + other,
            token[:at] + token[at : at + 2][::-1] + token[at + 2 :],
        ]
    )


@pytest.mark.guarantee("R23")
def test_no_altered_token_is_taken(guarantee: Guarantee) -> None:
    n = 100_000 if guarantee.full else 4_000
    keyring, chance = Keyring(SECRET), random.Random(23)  # noqa: S311
    now = NOON
    tokens = [
        (purpose, keyring.sign(purpose, Claims(f"{k:020x}", now, f"{k:020x}", 1, EventKind.SAVE)))
        for purpose in Purpose
        for k in range(20)
    ]
    good = {token for _, token in tokens}
    tried = accepted = told = 0
    while tried < n:
        purpose, token = chance.choice(tokens)
        forged = mutated(token, chance)
        if forged in good:
            continue
        tried += 1
        try:
            keyring.verify(forged, purpose, now)
            accepted += 1
        except TokenError as error:
            told += len(forged) > 20 and forged[:20] in str(error)
    assert accepted == told == 0
    guarantee.record(mutations=tried, accepted=accepted)


PLACES = {
    Purpose.VOTE: ("/v/", {"vote": "vote_up"}),
    Purpose.UNSUBSCRIBE: ("/u/", ONE_CLICK),
    Purpose.PAPER: ("/p/", {}),
    Purpose.CONFIRM: ("/c/", {"do": "confirm"}),
    Purpose.LOGIN: ("/l/", {"do": "enter", "code": "000000"}),
    Purpose.DIGEST: ("/d/", {"vote": "vote_up"}),
}


@pytest.mark.guarantee("R23")
def test_a_token_opens_the_page_of_its_purpose_and_no_other(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    world = new_crowd(tmp_path, 2, 2)
    undo = world.enrolment.leave(world.readers[1].public_id)
    world.enrolment.ask_to_log_in(world.readers[0].email, "192.0.2.1")
    [goodbye, login] = world.answers()
    tokens = {purpose: world.token(purpose, 1, EventKind.VOTE_UP) for purpose in Purpose}
    tokens |= {Purpose.CONFIRM: undo, Purpose.LOGIN: login.path[3:]}
    assert goodbye.path[3:] == undo
    client, before, n = world.client(), world.everything(), 0
    for endpoint, (place, fields) in PLACES.items():
        for purpose, token in tokens.items():
            for method in ("GET", "POST"):
                if (purpose, method) == (endpoint, "POST"):
                    continue
                sent = fields if method == "POST" else None
                status = client.request(method, place + token, data=sent).status_code
                expected = {200} if purpose is endpoint else {404, 405}
                assert status in expected, (endpoint, purpose, method)
                n += 1
    assert world.everything() == before
    guarantee.record(pairs_of_purpose_and_page=n)


@pytest.mark.guarantee("R23")
def test_links_outlive_three_new_keys_until_theirs_is_retired(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    world = new_crowd(tmp_path, 1, 1)
    secrets = [f"{n} secret of the tests, with enough characters" for n in range(4)]
    world.keyring = Keyring(secrets[0])
    path = "/v/" + world.vote()
    for newest in range(4):
        world.keyring = Keyring(*secrets[newest::-1])
        world.clock.at += timedelta(days=30)
        assert world.client().get(path).status_code == 200
        assert world.client().get("/v/" + world.vote()).status_code == 200
    world.keyring = Keyring(*secrets[:0:-1])
    assert world.client().get(path).status_code == 404
    guarantee.record(keys_rotated=3)


@pytest.mark.guarantee("R23")
def test_no_token_of_any_purpose_reaches_a_log_or_an_error_page(
    tmp_path: Path, guarantee: Guarantee, caplog: pytest.LogCaptureFixture
) -> None:
    world = new_crowd(tmp_path, 1, 1)
    caplog.set_level(logging.DEBUG)
    for purpose, (place, fields) in PLACES.items():
        token = world.token(purpose, 1, EventKind.VOTE_UP)
        for spoilt in (token, token[:-1], token.replace(".", "%2e"), token[:40]):
            for method in ("GET", "POST"):
                answer = world.client().request(method, place + spoilt, data=fields)
                if answer.status_code >= 400:
                    assert token[8:30] not in answer.text + str(answer.headers)
        assert token[8:30] not in redact(f'"GET {place}{token} HTTP/1.1"')
        logged = [each.getMessage() for each in caplog.records if each.name != "httpx"]
        assert logged
        assert not any(token[8:30] in line for line in logged)
    guarantee.record(tokens_in_logs=0)


# -- a digest that was passed on -------------------------------------------------------------------


def addresses_in(mime: bytes) -> list[str]:
    found = re.findall(r"https?://[^\s\"'<>]+", part_of(mime, "html") + part_of(mime, "plain"))
    return list(dict.fromkeys(url.replace("&amp;", "&") for url in found))


def forms_of(page: httpx.Response) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield every button of a page as a stranger may press it: where it posts, and what."""
    for head, body in re.findall(r"<form([^>]*)>(.*?)</form>", page.text, re.DOTALL):
        action = re.search(r'action="([^"]*)"', head)
        named = dict(
            re.findall(r'<(?:input|textarea)[^>]* name="([^"]+)"[^>]*value="([^"]*)"', body)
        )
        for button in re.findall(r"<button([^>]*)>", body):
            own = dict(re.findall(r' (name|value|formaction)="([^"]*)"', button))
            where = own.get("formaction") or (action[1] if action else page.request.url.path)
            yield where, named | ({own["name"]: own["value"]} if "name" in own else {})


@pytest.mark.guarantee("R24")
def test_who_has_only_the_digest_learns_and_gets_nothing(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    n = 1_000 if guarantee.full else 4
    world = new_crowd(tmp_path, n, 3)
    kept = [
        name
        for name in subscribers.columns.keys()  # noqa: SIM118 - no dict
        if name not in {"state", "state_changed_at", "consent"}
    ]
    before = columns(world, *kept)
    with world.db.write() as conn:
        # What the reader has voted before must not be seen by others.
        conn.execute(
            events.insert(),
            [
                {
                    "subscriber_id": reader.id, "paper_id": 1, "kind": "save", "origin": "person",
                    "at": world.clock.now(), "recorded_at": world.clock.now(), "evidence": {},
                }
                for reader in world.readers
            ],
        )  # fmt: skip
    n_pages = n_pressed = 0

    async def pry(ask: Ask) -> None:
        nonlocal n_pages, n_pressed
        for reader in range(n):
            email = world.readers[reader].email
            local = email.partition("@")[0]
            may_set = {f"votes-{world.slates[reader].public_id}", "flash"}

            def told(
                answer: httpx.Response,
                email: str = email,
                local: str = local,
                may_set: set[str] = may_set,
            ) -> None:
                assert answer.status_code < 500
                assert 'aria-pressed="true"' not in answer.text
                # A press leaves its notice, and what was pressed, in the browser alone.
                names = {line.split("=")[0] for line in answer.headers.get_list("set-cookie")}
                assert names <= may_set
                assert answer.status_code == 303 or not names
                for secret in (email, local, INTERESTS, "2026-03-02, 12:00"):
                    assert secret not in answer.text + str(answer.headers)

            ours = [
                url
                for url in addresses_in(world.mail(reader).mime)
                if url.startswith(world.site.base_url)
            ]
            assert len(ours) == 3 * 5 + 4
            pressed = set[tuple[str, str | None]]()
            for url in ours:
                page = await ask("GET", url)
                told(page)
                n_pages += 1
                for action, fields in forms_of(page):
                    # The pages of all votes have the same buttons.
                    if (action, fields.get("vote")) not in pressed:
                        told(await ask("POST", action, data=fields))
                        pressed.add((action, fields.get("vote")))
            n_pressed += len(pressed)
            for path in ("/preferences", "/preferences/erase", "/digests", "/likes"):
                told(await ask("GET", path))
                for fields in ({"do": "save", "hour": "3"}, {"sure": "yes"}, {"paper": "1"}):
                    told(await ask("POST", path, data=fields))

    with_one_client(world, pry)
    with world.db.read() as conn:
        assert conn.execute(select(sessions)).all() == []
    assert columns(world, *kept) == before
    assert {state for (state,) in columns(world, "state")} == {SubscriberState.UNSUBSCRIBED}
    assert [note.kind for note in world.notes()] == ["goodbye"] * n
    guarantee.record(
        digests=n, pages=n_pages, buttons_pressed=n_pressed, sessions=0, preferences_changed=0
    )


@pytest.mark.guarantee("R24")
def test_a_link_to_log_in_survives_scanners_and_works_for_its_browser_alone(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    n = 200 if guarantee.full else 6
    world = new_crowd(tmp_path, n, 1)
    for at, reader in enumerate(world.readers):
        # Each reader has an office of their own, for one network gets few mails an hour and a
        # day; the scanner and the thief sit in it, too.
        office = f"10.{at // 250}.{at % 250}"
        person, scanner, thief = (world.visitor(f"{office}.{seat}") for seat in (1, 2, 3))
        person.submit(person.get("/login"), email=reader.email)
        [note] = world.answers()
        for profile in PROFILES:
            for method in ("GET", "HEAD"):
                assert scanner.ask(method, note.path, headers=profile).status_code == 200
        for _ in range(3):
            stolen = thief.post(note.path, data={"do": "enter"})
            assert stolen.status_code == 403
        assert not scanner.cookies
        assert not thief.cookies
        assert person.submit(person.get(note.path)).history[0].status_code == 303
        assert reader.email in person.get("/preferences").text
        assert person.post(note.path, data={"do": "enter"}).status_code == 410
        world.clock.at += timedelta(minutes=10)
    guarantee.record(logins=n, logged_in=n)
