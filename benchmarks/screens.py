"""Take the screenshots of pages and a digest of the demo for `docs/screens/`.

    python -m benchmarks.screens [NAME…]

Each is taken for a phone and a desktop, in light and dark mode. They show the demo's second day
with real papers, the same at any time and place. Needs Chromium.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine
import uvicorn
from playwright.sync_api import Page

from benchmarks.figures import ROOT
from tests.support.browser import chromium, log_in
from triage.app.application import App, open_app
from triage.cli.demo.cast import CAST
from triage.cli.demo.story import play

SCREENS = ROOT / "docs" / "screens"
SIZES = {390: 844, 1200: 760}
SCHEMES = ("light", "dark")
LARGEST = 150_000
PLAYED_AT = datetime(2025, 6, 26, 5, tzinfo=UTC)
# A day later no paper is marked as new.
SEEN_AT = PLAYED_AT + timedelta(hours=26)
READER = CAST[2].email
INTERESTS = "3D Gaussian splatting and novel view synthesis"


class Studio:
    """The demo and its pages; each method opens one of them for a logged-in subscriber."""

    def __init__(self, app: App, digests: Path, base_url: str) -> None:
        self._app = app
        self._digests = digests
        self._url = base_url

    def enter(self, page: Page) -> None:
        log_in(page, self._url, READER, self._mailed)

    def home(self, page: Page) -> None:
        page.goto(self._url)

    def subscribe(self, page: Page) -> None:
        page.goto(f"{self._url}/subscribe")
        page.get_by_label("What you read").fill(INTERESTS)
        page.get_by_role("button", name="Show what I would get").click()
        page.evaluate("scrollTo(0, 0)")

    def paper(self, page: Page) -> None:
        self.search(page)
        page.get_by_role("article").first.get_by_role("link").first.click()

    def preferences(self, page: Page) -> None:
        page.goto(f"{self._url}/preferences")

    def search(self, page: Page) -> None:
        page.goto(f"{self._url}/search?q=gaussian+splatting")

    def digest(self, page: Page) -> None:
        [mail] = self._digests.glob("20250627-ben-*.html")
        page.goto(mail.as_uri())

    def _mailed(self) -> bytes:
        new = self._app.settings.mail_path / "new"
        before = set(new.iterdir())
        self._app.account_mail_sender()()
        [mail] = set(new.iterdir()) - before
        return mail.read_bytes()


SIGHTS = {
    "home": Studio.home,
    "subscribe": Studio.subscribe,
    "paper": Studio.paper,
    "preferences": Studio.preferences,
    "search": Studio.search,
    "digest": Studio.digest,
}


def main(*names: str) -> None:
    with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
        folder = Path(scratch) / "demo"
        with time_machine.travel(PLAYED_AT):
            play(folder, lambda _: None)
        with time_machine.travel(SEEN_AT), _served(folder) as studio:
            context = browser.new_context()
            page = context.new_page()
            studio.enter(page)
            for name in names or SIGHTS:
                for width, height in SIZES.items():
                    page.set_viewport_size({"width": width, "height": height})
                    for scheme in SCHEMES:
                        page.emulate_media(color_scheme=scheme)
                        SIGHTS[name](studio, page)
                        _photograph(page, SCREENS / f"{name}-{width}-{scheme}.png")
            context.close()


def _photograph(page: Page, path: Path) -> None:
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"more than {LARGEST:,} bytes: show a smaller part of it")


@contextmanager
def _served(folder: Path) -> Iterator[Studio]:
    """Serve the demo's pages on a free port of loopback."""
    digests = folder / "digests"
    app = open_app(folder / "triage.toml")
    server = uvicorn.Server(uvicorn.Config(app.new_web_app(), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Studio(app, digests, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()
        app.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
