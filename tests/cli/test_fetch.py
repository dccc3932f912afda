"""`triage fetch` with every source switched on: what it prints, and what its status says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support import databases
from tests.support.biorxiv_server import Preprints
from tests.support.emulator import Fault, Upstreams
from tests.support.fakes import StoppedClock
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli import cli
from triage.errors import ConfigError

WEDNESDAY = date(2026, 3, 4)
ONE_DAY = timedelta(days=1)
FEED = """<rss version="2.0"><channel><title>Robots</title><link>https://example.org/</link>
<item><title>Grasping without touch</title><link>https://example.org/1</link><guid>1</guid>
<description>We study how a gripper grasps what it never felt.</description></item>
</channel></rss>"""


def announced(on: date, n: int) -> list[dict[str, Any]]:
    topics = {"cs.CL": "Speculative decoding with drafts", "cs.LG": "Message passing on graphs"}
    return [
        {
            "id": f"2603.{on.day:02d}{number:03d}",
            "title": f"{topics[category]}, part {number} of day {on.day}",
            "abstract": f"We study part {number} of {on} and find it faster.",
            "authors": [f"Author Number{on.day}{number}"],
            "categories": [category],
            "listed_date": str(on),
        }
        for number in range(n)
        for category in [list(topics)[number % 2]]
    ]


class _Feed(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(FEED)))
        self.end_headers()
        self.wfile.write(FEED.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class World:
    """Everything that can be read, on loopback, and an installation that reads it."""

    upstreams: Upstreams
    preprints: Preprints
    app: App

    def fetch(self, *arguments: str, on: date = WEDNESDAY) -> Result:
        config = str(self.app.settings.folder / "triage.toml")
        return CliRunner().invoke(cli, ["--config", config, "fetch", "--date", str(on), *arguments])

    def rows(self, *arguments: str, on: date = WEDNESDAY) -> dict[tuple[str, str], dict[str, Any]]:
        done = self.fetch("--json", *arguments, on=on)
        return {(row["source"], row["on"]): row for row in json.loads(done.stdout)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    feed = ThreadingHTTPServer(("127.0.0.1", 0), _Feed)
    feed.daemon_threads = True
    threading.Thread(target=feed.serve_forever, args=(0.02,), daemon=True).start()
    days = [WEDNESDAY - n * ONE_DAY for n in range(3)]
    records = [record for on in days for record in announced(on, 8)]
    with Upstreams(records) as upstreams, Preprints() as preprints:
        upstreams.show(WEDNESDAY)
        preprints.post(WEDNESDAY, 3)
        database = databases.new_database(tmp_path)
        text = f"""
            [database]
            url = "{database.engine.url.render_as_string(hide_password=False)}"
            [sources.arxiv]
            categories = ["cs.CL", "cs.LG"]
            rss_url = "{upstreams.rss_url}"
            api_url = "{upstreams.api_url}"
            oai_url = "{upstreams.oai_url}"
            min_interval_s = 0
            [sources.hf_daily]
            enabled = true
            url = "{upstreams.hf_url}"
            min_interval_s = 0
            [sources.biorxiv]
            enabled = true
            url = "{preprints.url}"
            min_interval_s = 0
            [[sources.feed]]
            name = "robots"
            url = "http://127.0.0.1:{feed.server_address[1]}/feed"
            allow_private = true
            """
        config, _ = create_installation(tmp_path, text)
        app = open_app(config)
        yield World(upstreams, preprints, app)
        app.close()
    feed.shutdown()
    feed.server_close()


def test_every_source_gives_one_row_a_day_and_its_categories_stand_within(world: World) -> None:
    rows = world.rows()
    today = str(WEDNESDAY)
    assert {source for source, on in rows if on == today} == {
        "arxiv", "hf_daily", "biorxiv", "medrxiv", "feed:robots",
    }  # fmt: skip
    assert {row["verdict"] for row in rows.values()} == {"complete"}
    for row in rows.values():
        assert {"source", "on", "verdict", "expected", "got", "note"} <= set(row)
    arxiv = rows["arxiv", today]
    assert (arxiv["verdict"], arxiv["expected"], arxiv["got"]) == ("complete", 8, 8)
    assert {part["category"]: part["got"] for part in arxiv["categories"]} == {
        "cs.CL": 4, "cs.LG": 4,
    }  # fmt: skip
    assert rows["feed:robots", today]["got"] == 1


def test_the_table_names_categories_below_their_source_and_ends_with_one_line(
    world: World,
) -> None:
    done = world.fetch()
    assert done.exit_code == 0, done.output
    head, *lines, closing = done.stdout.splitlines()
    assert head.split() == ["source", "category", "on", "verdict", "expected", "got", "note"]
    first = [line.split()[:2] for line in lines]
    assert first[:3] == [["arxiv", str(WEDNESDAY)], ["arxiv", "cs.CL"], ["arxiv", "cs.LG"]]
    assert ["feed:robots", str(WEDNESDAY)] in first
    n_days = len([line for line in first if not line[1].startswith("cs.")])
    assert closing == f"{n_days} days of sources: {n_days} complete"


def test_a_source_that_fails_is_in_the_table_and_in_the_status(world: World) -> None:
    world.upstreams.fail("hf", Fault.NOT_FOUND, times=100)
    done = world.fetch()
    assert done.exit_code == 3
    assert "source hf_daily: " in done.stderr
    assert done.stdout.splitlines()[-1].endswith(" complete, 1 failed; failed: hf_daily")
    assert world.rows()["hf_daily", str(WEDNESDAY)]["verdict"] == "failed"


@pytest.mark.parametrize("section", ["arxiv", "hf_daily", "biorxiv"])
def test_a_fetch_says_what_it_waits_for_and_names_the_failed_source_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    clock = StoppedClock(datetime(2026, 3, 4, 10, 30, 10, tzinfo=UTC))
    monkeypatch.setattr("triage.app.application.SystemClock", lambda: clock)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        urls = {
            "arxiv": f'categories = ["math"]\nrss_url = "{url}"\napi_url = "{url}"',
            "hf_daily": f'enabled = true\nurl = "{url}"',
            "biorxiv": f'enabled = true\nurl = "{url}"\nservers = ["biorxiv"]',
        }
        database = databases.new_database(tmp_path)
        text = f"""
            [database]
            url = "{database.engine.url.render_as_string(hide_password=False)}"
            [sources.{section}]
            {urls[section]}
            """
        config, _ = create_installation(tmp_path, text)
        done = CliRunner().invoke(cli, ["--config", str(config), "fetch"])
    assert done.exit_code == 3
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"triage: {url.removeprefix('http://')} could not be reached")
    assert "3 more tries: waiting until 10:3" in first
    assert done.stdout.splitlines()[-1].endswith(f" failed; failed: {section}")


def test_one_source_alone_is_read_by_its_name(world: World) -> None:
    assert {source for source, _ in world.rows("--source", "robots")} == {"feed:robots"}
    assert {source for source, _ in world.rows("--source", "feed:robots")} == {"feed:robots"}
    assert not world.upstreams.log
    assert {source for source, _ in world.rows("--source", "arxiv")} == {"arxiv"}
    assert {asked.route for asked in world.upstreams.log} <= {"rss", "api", "oai"}


def test_an_unknown_source_is_answered_with_those_that_there_are(world: World) -> None:
    done = world.fetch("--source", "arxive")
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception) == (
        "the source 'arxive' is not enabled; enabled sources:"
        " arxiv, hf_daily, biorxiv, medrxiv, robots"
    )


def test_days_from_a_date_on_are_read_and_told(world: World) -> None:
    monday = WEDNESDAY - 2 * ONE_DAY
    rows = world.rows("--source", "arxiv", "--since", str(monday))
    verdicts = {on: row["verdict"] for (_, on), row in rows.items()}
    assert {str(monday + n * ONE_DAY) for n in range(3)} <= set(verdicts)
    assert set(verdicts.values()) == {"complete"}


def test_a_day_that_was_missed_is_mended_and_told_by_the_next_fetch(world: World) -> None:
    monday = WEDNESDAY - 2 * ONE_DAY
    world.upstreams.show(monday)
    world.fetch("--source", "arxiv", on=monday)
    world.upstreams.show(WEDNESDAY)
    rows = world.rows("--source", "arxiv")
    assert ("arxiv", str(WEDNESDAY - ONE_DAY)) in rows
    assert ("arxiv", str(monday)) not in rows
    again = world.rows("--source", "arxiv")
    assert list(again) == [("arxiv", str(WEDNESDAY))]


def test_a_date_that_is_still_to_come_is_refused(world: World) -> None:
    done = world.fetch("--since", str(WEDNESDAY + ONE_DAY))
    assert done.exit_code == 2
    assert "is after 2026-03-04" in done.stderr


def test_no_source_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    config, _ = create_installation(tmp_path, "")
    done = CliRunner().invoke(cli, ["--config", str(config), "fetch"])
    assert isinstance(done.exception, ConfigError)
    assert "set categories under [sources.arxiv]" in str(done.exception)
