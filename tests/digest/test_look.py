"""How a digest looks in a real browser, on a telephone and a desk, by day and by night."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import chromium_for_tests
from tests.support.digests import digest, examples

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXAMPLES = {name: digest(made).rendered.html for name, made in examples().items()}

# For every element with text of its own: its colour, and the nearest opaque ground behind it.
COLOURS = """
() => [...document.body.querySelectorAll('*')]
  .filter(e => e.getClientRects().length
    && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
  .map(e => {
    let ground = e;
    while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)')
      ground = ground.parentElement;
    return [e.className || e.tagName, getComputedStyle(e).color,
            getComputedStyle(ground).backgroundColor];
  })
"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
VOTES = """
() => [...document.querySelectorAll('.votes')].map(
  row => [...row.querySelectorAll('a')].map(
    a => { const r = a.getBoundingClientRect(); return [r.left, r.top, r.right, r.height] }))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium_for_tests() as started:
        yield started


@pytest.fixture(
    scope="module",
    params=[(width, scheme) for width in (320, 1200) for scheme in ("light", "dark")],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    width, scheme = request.param
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened.route("**/*", lambda route: route.abort())
    yield opened
    opened.close()


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_reaches_beyond_the_screen_and_all_text_can_be_read(page: Page, name: str) -> None:
    page.set_content(EXAMPLES[name])

    assert page.evaluate(OVERFLOW) == 0
    told = page.evaluate(COLOURS)
    assert len(told) > 5
    for element, colour, ground in told:
        assert contrast(rgb(colour), rgb(ground)) >= 4.5, (element, colour, ground)


def test_the_votes_stand_in_one_row_of_buttons_that_a_thumb_hits(page: Page) -> None:
    page.set_content(EXAMPLES["plain"])
    for row in page.evaluate(VOTES):
        assert len(row) == 4
        assert len({top for _, top, _, _ in row}) == 1
        for (*_, right, height), (left, *_) in pairwise(row):
            assert height >= 36
            assert left - right >= 3


def test_the_night_is_dark_and_the_day_is_light(page: Page) -> None:
    page.set_content(EXAMPLES["plain"])
    scheme = page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    brightness = sum(rgb(page.evaluate("() => getComputedStyle(document.body).backgroundColor")))
    assert brightness < 120 if scheme else brightness > 700


def test_a_digest_loads_nothing_and_runs_nothing(browser: Browser) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    page.set_content(EXAMPLES["hostile"])
    page.wait_for_timeout(50)
    assert asked == []
    page.close()


def test_the_preheader_is_not_seen_in_the_mail_itself(page: Page) -> None:
    page.set_content(EXAMPLES["plain"])
    assert not page.locator(".preheader").is_visible()
    assert page.locator("h1").is_visible()


def rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (float(part) for part in colour.strip("rgba()").split(",")[:3])
    return red, green, blue


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: tuple[float, float, float]) -> float:
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in (part / 255 for part in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
