"""The keys of the pages, in a browser: j and k, o, u, d, s, / and ?."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import chromium_for_tests
from tests.support.web_world import StillSite, World, new_world
from triage.domain.records import EventKind

pytestmark = pytest.mark.any_database("it is about what a browser does")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium_for_tests() as started:
        yield started


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world that serves its pages."""
    world = new_world(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        world.site = StillSite(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(world.client().app, log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield world
        server.should_exit = True
        thread.join()


@pytest.fixture
def page(world: World, browser: Browser) -> Iterator[Page]:
    """The home page of somebody who is logged in."""
    # Playwright's own event loop runs in this thread.
    with ThreadPoolExecutor() as beside:
        cookies = beside.submit(world.logged_in).result().cookies
    with browser.new_context() as context:
        context.add_cookies(
            [{"name": k, "value": v, "url": world.site.base_url} for k, v in cookies.items()]
        )
        page = context.new_page()
        page.goto(f"{world.site.base_url}/")
        yield page


def focused(page: Page) -> str:
    """Return the id of the card that has the focus."""
    found = page.evaluate("document.activeElement.closest('article.card')?.id ?? ''")
    assert isinstance(found, str)
    return found


def test_j_and_k_go_from_paper_to_paper(page: Page) -> None:
    ids = page.locator("article.card").evaluate_all("cards => cards.map(card => card.id)")
    assert len(ids) >= 2
    seen = []
    for key in "jjkk":
        page.keyboard.press(key)
        seen.append(focused(page))
    assert seen == [ids[0], ids[1], ids[0], ids[0]]


@pytest.mark.parametrize(
    ("key", "kind"),
    [("u", EventKind.VOTE_UP), ("d", EventKind.VOTE_DOWN), ("s", EventKind.SAVE)],
)
def test_a_key_votes_on_the_chosen_paper_and_the_next_j_goes_on_from_there(
    world: World, page: Page, key: str, kind: EventKind
) -> None:
    page.keyboard.press("j")
    first = focused(page)
    with page.expect_navigation():
        page.keyboard.press(key)
    [(_, paper, stored)] = world.events()
    assert (f"paper-{paper}", stored) == (first, kind)
    expect(page.locator(f"#{first} [data-vote={kind}]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("j")
    assert focused(page) not in {"", first}


def test_o_opens_the_paper_and_slash_goes_to_the_search(world: World, page: Page) -> None:
    page.keyboard.press("j")
    with page.expect_navigation():
        page.keyboard.press("o")
    assert "/papers/" in page.url
    with page.expect_navigation():
        page.keyboard.press("/")
    assert page.url == f"{world.site.base_url}/search"
    page.keyboard.press("/")
    expect(page.get_by_label("Search for")).to_be_focused()
    # Now a key is a letter.
    page.keyboard.type("j/?")
    expect(page.get_by_label("Search for")).to_have_value("j/?")
    expect(page.get_by_role("dialog")).not_to_be_visible()


def test_a_key_does_nothing_with_another_one_or_without_a_paper(world: World, page: Page) -> None:
    page.keyboard.press("u")
    page.keyboard.press("j")
    for keys in ("Control+u", "Alt+d", "Meta+s", "Control+j", "Shift+U", "x"):
        page.keyboard.press(keys)
    page.wait_for_timeout(200)
    assert world.events() == []


def test_a_question_mark_shows_the_keys_until_escape(world: World, page: Page) -> None:
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keys")
    expect(help_).to_be_visible()
    expect(help_).to_contain_text("next paper")
    page.keyboard.press("u")
    page.keyboard.press("Escape")
    expect(help_).not_to_be_visible()
    assert world.events() == []


def test_the_keys_can_be_switched_off_and_on_again(page: Page) -> None:
    for words, is_on in (("Switch the keys off", False), ("Switch the keys on", True)):
        page.get_by_role("button", name="Keys", exact=True).click()
        page.get_by_role("button", name=words).click()
        page.get_by_role("button", name="Close").click()
        page.reload()
        page.keyboard.press("j")
        assert bool(focused(page)) == is_on
