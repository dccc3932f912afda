"""The operator's page: the report as things stand, for this machine only."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from tests.support.fakes import StoppedClock
from tests.support.installation import installed, rows
from tests.support.report_world import MAX_AGE_DAYS, NOW, grow
from tests.support.web_world import Client, StillSite
from triage.cli.http_server import serve_in_thread
from triage.operations.report import history, render_report
from triage.store import Database, subscribers
from triage.web.middleware import security_headers
from triage.web.operator import create_operator_page


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with installed(tmp_path_factory.mktemp("operator")) as database:
        grow(database, n_days=20)
        yield database


def client(database: Database, clock: StoppedClock | None = None) -> Client:
    page = create_operator_page(database, clock or StoppedClock(NOW), StillSite(), MAX_AGE_DAYS)
    return Client(page, "http://127.0.0.1:8017")


def test_it_is_the_report_with_its_style_beside_it(database: Database) -> None:
    page = client(database).get("/")
    file = render_report(history(database, NOW, MAX_AGE_DAYS), StillSite.name)
    style = client(database).get("/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert page.text.partition("<body>")[2] == file.partition("<body>")[2]
    inside = file.partition("<style>")[2].partition("</style>")[0]
    assert "".join(style.text.split()) == "".join(inside.split())


def test_the_browser_may_draw_all_of_it_under_the_policy_of_all_pages(database: Database) -> None:
    text = client(database).get("/").text
    assert '<link rel="stylesheet" href="/style.css">' in text
    assert not re.search(r"<(style|script|img|form|iframe|meta http-equiv)|\s(style|on\w+)=", text)


@pytest.mark.parametrize("path", ["/", "/style.css", "/nowhere", "/u/x"])
def test_every_answer_has_the_security_headers_and_no_method_acts(
    database: Database, path: str
) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"):
        answer = client(database).request(method, path)
        for name, value in security_headers("http://127.0.0.1").items():
            assert answer.headers.get_list(name.lower()) == [value]
        if path in ("/nowhere", "/u/x"):
            assert answer.status_code == 404
        else:
            assert answer.status_code == (200 if method in ("GET", "HEAD") else 405)


def test_under_another_name_nothing_is_shown(database: Database) -> None:
    for host in ("evil.example:8017", "triage.example", "192.0.2.1:8017", ""):
        assert client(database).get("/", headers={"host": host}).status_code == 421
    assert client(database).get("/", headers={"host": "localhost:8017"}).status_code == 200


def test_a_page_is_as_old_as_a_minute_and_names_nobody(database: Database) -> None:
    clock = StoppedClock(NOW)
    somebody = client(database, clock)
    before = somebody.get("/").text
    with database.write() as conn:
        reader = subscribers.everyone(conn)[0]
        conn.exec_driver_sql("UPDATE subscribers SET state = 'paused' WHERE id = 1")
    assert somebody.get("/").text == before
    clock.sleep(timedelta(minutes=1).total_seconds())
    after = somebody.get("/").text
    assert after != before
    assert "paused" in after
    assert reader.email not in before + after


def test_it_listens_while_it_is_asked_to_and_stands_back_where_the_port_is_taken(
    database: Database,
) -> None:
    page = create_operator_page(database, StoppedClock(NOW), StillSite(), MAX_AGE_DAYS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serve_in_thread(page, port):
            pass
    with serve_in_thread(page, port):
        for _ in range(300):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/style.css", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
    assert answer.status_code == 200
    socket.create_server(("127.0.0.1", port)).close()


def test_the_funnel_narrows_from_due_to_voted_from(database: Database) -> None:
    steps = list(history(database, NOW, MAX_AGE_DAYS).funnel.values())
    messages = rows(database, "messages")
    sent = {m["slate_id"] for m in messages if m["state"] == "sent"}
    voted = {e["slate_id"] for e in rows(database, "events") if e["origin"] == "person"}
    assert steps == [
        len(messages), len(messages), len(sent), len(sent), len(voted & sent)
    ]  # fmt: skip
    assert 0 < steps[-1] < steps[-2] < steps[0]
