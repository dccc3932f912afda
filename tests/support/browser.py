"""A headless Chromium for tests: required where `CI` is set, else skipped if it is missing."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from starlette.types import ASGIApp

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium.

    Raises:
        FileNotFoundError: there is none.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise FileNotFoundError("Chromium is not installed: run `make servers`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def chromium_for_tests() -> Iterator[Browser]:
    """Start Chromium; without it fail where `CI` is set and skip elsewhere."""
    try:
        with chromium() as browser:
            yield browser
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """Return a socket that listens, and the address of a site that is served there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def served(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve an application from a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join()


def path_in(mail: bytes) -> str:
    """Return the path of the one link in the text of a mail."""
    text = message_from_bytes(mail, policy=policy.default).get_body(("plain",))
    assert text is not None
    [link] = [line for line in text.get_content().splitlines() if "://" in line]
    return urlsplit(link.strip()).path


def log_in(page: Page, base_url: str, email: str, next_mail: Callable[[], bytes]) -> None:
    """Log in as people do: ask for a link, and open it in the same browser.

    Args:
        next_mail: returns the mail that was sent for it.
    """
    page.goto(f"{base_url}/login")
    page.get_by_label("Your mail address").fill(email)
    page.get_by_role("button", name="Send me a link").click()
    page.goto(base_url + path_in(next_mail()))
    page.get_by_role("button", name="Log in").click()
