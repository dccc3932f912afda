"""axe-core on every page there is, for strangers, for who is logged in, and for the operator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.site import ROOT
from tests.reliability.test_hardened_web import paths
from tests.support.browser import chromium_for_tests, listening, served
from tests.support.web_world import StillSite, new_world
from triage.web.operator import create_operator_page

pytestmark = pytest.mark.any_database("it is about what a browser shows")

AXE = ROOT / "var" / "axe" / "axe.min.js"
FAULTS = """
async () => (await axe.run(document, {resultTypes: ['violations']})).violations.flatMap(
  fault => fault.nodes.map(node => [fault.impact, fault.id, node.target.join(' ')].join(': ')))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium_for_tests() as started:
        yield started


def test_axe_finds_nothing_on_any_page(tmp_path: Path, browser: Browser) -> None:
    if not AXE.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{AXE} is missing: run `make e2e`", pytrace=False)
        pytest.skip(f"{AXE} is missing: `make e2e` fetches it")
    world = new_world(tmp_path)
    found: list[str] = []
    with ExitStack() as until_the_end:
        listener, base_url = until_the_end.enter_context(listening())
        world.site = StillSite(base_url=base_url)
        until_the_end.enter_context(served(world.client().app, listener))
        listener, operators_url = until_the_end.enter_context(listening())
        operators = create_operator_page(world.db, world.clock, world.site, 7)
        until_the_end.enter_context(served(operators, listener))
        # Playwright's own event loop runs in this thread.
        with ThreadPoolExecutor() as beside:
            cookies = beside.submit(world.logged_in).result().cookies
        addresses = [f"{base_url}{path}" for path in [*paths(world), "/nowhere", "/search?q=yarn"]]
        for who, jar, there in (
            ("stranger", {}, addresses),
            ("subscriber", cookies, addresses),
            ("operator", {}, [f"{operators_url}/"]),
        ):
            # The pages let no script in from outside, which axe-core is.
            context = until_the_end.enter_context(browser.new_context(bypass_csp=True))
            context.add_cookies(
                [{"name": name, "value": value, "url": base_url} for name, value in jar.items()]
            )
            page = context.new_page()
            for address in there:
                answer = context.request.get(address)
                if not answer.headers.get("content-type", "").startswith("text/html"):
                    continue  # a file has no elements
                page.goto(address)
                page.add_script_tag(path=AXE)
                found += [f"{who}: {address}: {fault}" for fault in page.evaluate(FAULTS)]
    assert not found, "\n".join(found)
