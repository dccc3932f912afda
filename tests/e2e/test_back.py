"""Back in a browser: a form with errors or a preview is there again, with all that was typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect

from tests.e2e.site import Site, installed
from tests.support.browser import chromium_for_tests, log_in

EMAIL = "ada@reader.example"
WORDS = "What you read"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("back")
    with installed(folder, f"sqlite:///{folder}/site/triage.db") as made:
        yield made


@pytest.fixture(params=[True, False], ids=["scripts", "no-scripts"])
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    with chromium_for_tests() as browser:
        yield browser.new_context(java_script_enabled=request.param).new_page()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def test_back_shows_what_was_typed_and_a_wrong_field_has_the_focus(site: Site, page: Page) -> None:
    page.goto(f"{site.base_url}/subscribe")
    page.get_by_label(WORDS).fill("the first words")
    page.get_by_label("Categories").fill("cs.LC")
    page.get_by_label("Your mail address").fill("somebody@reader.example")
    press(page, "Subscribe")
    expect(page.get_by_label("Categories")).to_be_focused()
    page.get_by_label(WORDS).fill("the second words")
    page.get_by_label("Categories").fill("")
    press(page, "Show what I would get")
    expect(page.get_by_role("heading", name="What you would get")).to_be_in_viewport()
    # Nobody fills in the form in less.
    page.wait_for_timeout(2_000)
    press(page, "Subscribe")
    expect(page.get_by_role("heading", name="Check your mailbox")).to_be_visible()
    page.go_back()
    expect(page.get_by_label(WORDS)).to_have_value("the second words")
    page.go_back()
    expect(page.get_by_role("alert")).to_contain_text("did you mean cs.CL")
    expect(page.get_by_label(WORDS)).to_have_value("the second words")


def test_after_the_log_out_back_shows_no_preferences(site: Site, page: Page) -> None:
    site.triage("subscriber", "add", EMAIL)
    page.goto(f"{site.base_url}/login")
    log_in(page, site.base_url, EMAIL, lambda: site.next_mail(EMAIL))
    page.goto(f"{site.base_url}/preferences")
    page.get_by_label("Categories").fill("cs.LC")
    press(page, "Save")
    expect(page.get_by_label("Categories")).to_be_focused()
    press(page, "Log out everywhere")
    expect(page.get_by_role("status")).to_contain_text("You are logged out")
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        page.go_back()
