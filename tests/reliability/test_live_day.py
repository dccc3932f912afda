"""A whole day, live: announced by the upstreams, fetched, ranked, mailed, and honest throughout."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from datetime import date
from email import message_from_bytes, policy
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support import databases
from tests.support.emulator import Fault, Upstreams
from tests.support.mail_servers import CERTIFICATE, PASSWORD, USER, inbox
from tests.support.paths import SHARED
from triage import store
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli import cli
from triage.cli.demo.story import PAPERS
from triage.digest.message import part_of
from triage.domain.records import Verdict
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

LISTINGS = SHARED / "bench/listings-2026/papers.jsonl.gz"
REAL_DAY = date(2026, 5, 28)
DAY = date(2025, 6, 26)
READERS = {
    "ada@example.org": "large language models that reason",
    "ben@example.org": "3D Gaussian splatting and novel view synthesis",
}
CATEGORIES = ["cs.AI", "cs.CL", "cs.CV", "cs.LG", "cs.RO"]


def records(path: Path, on: date) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        every = [
            {"authors": ["Ada Lovelace"]} | json.loads(line) for line in lines if f'"{on}"' in line
        ]
    return [record for record in every if not set(CATEGORIES).isdisjoint(record["categories"])]


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    with Upstreams(records(PAPERS, DAY)) as upstreams:
        upstreams.show(DAY)
        yield upstreams


@pytest.fixture
def small_day() -> Iterator[Upstreams]:
    """Yield a day of sixty papers: the fewer, the sooner they are encoded."""
    with Upstreams(records(PAPERS, DAY)[:60]) as upstreams:
        upstreams.show(DAY)
        yield upstreams


def install(
    folder: Path, upstreams: Upstreams, changes: Mapping[str, str] = MappingProxyType({})
) -> App:
    database = databases.new_database(folder)
    url = database.engine.url.render_as_string(hide_password=False)
    text = (
        databases.config_naming(url)
        .replace("categories = []", f"categories = {json.dumps(CATEGORIES)}")
        .replace("https://rss.arxiv.org/rss", upstreams.rss_url)
        .replace("https://export.arxiv.org/api/query", upstreams.api_url)
        .replace("https://oaipmh.arxiv.org/oai", f"{upstreams.base}/oai")
        .replace("https://huggingface.co/api/daily_papers", upstreams.hf_url)
        .replace("min_interval_s = 3.0", "min_interval_s = 0.0")
        .replace("min_interval_s = 1.0", "min_interval_s = 0.0")
    )
    before, section, after = text.partition("[sources.hf_daily]\n")
    text = before + section + after.replace("enabled = false", "enabled = true", 1)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    config, _ = create_installation(folder, text)
    app = open_app(config)
    for email, interests in READERS.items():
        add(app.database, email, app.clock, SubscriberPreferences(interests=interests))
    return app


def triage(app: App, *arguments: str) -> Result:
    config = str(app.settings.folder / "triage.toml")
    return CliRunner().invoke(cli, ["--config", config, *arguments])


def texts(app: App) -> dict[str, str]:
    """Return the text part of the newest digest of each reader."""
    found = {}
    for path in sorted((app.settings.mail_path / "new").iterdir(), key=lambda p: p.stat().st_mtime):
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        body = message.get_body(("plain",))  # type: ignore[attr-defined]
        found[str(message["To"])] = body.get_content()
    return found


def stored_ids(app: App) -> set[str]:
    with app.database.read() as conn:
        return {str(paper.source_id) for paper in store.papers.iterate(conn)}


def test_a_run_fetches_ranks_and_delivers_with_the_right_verdicts(
    upstreams: Upstreams, tmp_path: Path
) -> None:
    app = install(tmp_path, upstreams)

    done = triage(app, "run", "--date", str(DAY))

    assert done.exit_code == 0, done.output
    assert "2 made, 0 without papers, 2 sent" in done.output
    assert stored_ids(app) == {record["id"] for record in records(PAPERS, DAY)}
    n = len(stored_ids(app))
    for text in texts(app).values():
        assert f"{n} new on arXiv, complete" in " ".join(text.split())
    app.close()


def test_a_day_is_delivered_by_smtp_over_tls_to_who_logs_in(
    upstreams: Upstreams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setenv("TRIAGE_MAIL_PASSWORD", PASSWORD)
    with inbox("starttls", log_in=True) as (port, kept):
        app = install(
            tmp_path,
            upstreams,
            {
                'transport = "maildir"': 'transport = "smtp"',
                'host = "localhost"': f'host = "localhost"  # port {port}',
                "port = 587": f"port = {port}",
                'username = ""': f'username = "{USER}"',
                "connections = 4": "connections = 1",
            },
        )
        done = triage(app, "run", "--date", str(DAY))
        again = triage(app, "run", "--date", str(DAY))

    assert done.exit_code == 0, done.output
    assert (again.exit_code, "0 sent" in again.output) == (0, True)
    assert sorted(recipient for _, (recipient,) in kept.envelopes) == sorted(READERS)
    assert kept.over_tls == [True, True]
    assert len(kept.peers) == 1
    n = len(stored_ids(app))
    for mime in kept.messages:
        assert f"{n} new on arXiv, complete" in " ".join(part_of(mime, "plain").split())
    app.close()


def test_fetched_again_nothing_changes_and_the_table_says_complete(
    upstreams: Upstreams, tmp_path: Path
) -> None:
    app = install(tmp_path, upstreams)
    first = triage(app, "fetch", "--date", str(DAY), "--json")
    before = stored_ids(app)

    second = triage(app, "fetch", "--date", str(DAY), "--json")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert stored_ids(app) == before
    rows = {row["source"]: row for row in json.loads(second.output)}
    assert set(rows["arxiv"]) >= {"source", "on", "verdict", "expected", "got"}
    assert rows["arxiv"]["verdict"] == "complete"
    assert rows["arxiv"]["expected"] == rows["arxiv"]["got"] == len(before)
    assert rows["hf_daily"]["verdict"] == "complete"
    app.close()


def test_upvotes_are_refreshed_while_they_grow(upstreams: Upstreams, tmp_path: Path) -> None:
    app = install(tmp_path, upstreams)
    first = records(PAPERS, DAY)[0]["id"]
    found = []
    for upvotes in (4, 31):
        upstreams.upvotes[first] = upvotes
        triage(app, "fetch", "--date", str(DAY), "--source", "hf_daily")
        with app.database.read() as conn:
            paper_id = store.papers.resolve(conn, first)
            assert paper_id is not None
            found.append(store.papers.load(conn, [paper_id])[paper_id].upvotes)
    assert found == [4, 31]
    app.close()


@pytest.mark.any_database("a day is stored as in the tests before; its troubles are the servers'")
@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("rss", Fault.UNAVAILABLE),
        ("rss", Fault.HTML),
        ("rss", Fault.TRUNCATED),
        ("rss", Fault.EMPTY),
        ("api", Fault.SHORT),
        ("api", Fault.EMPTY),
        ("api", Fault.HTML),
        ("api", Fault.TRUNCATED),
        ("api", Fault.TOO_MANY),
    ],
)
def test_a_day_that_goes_wrong_is_told_in_the_mail_and_heals(
    small_day: Upstreams, tmp_path: Path, route: str, fault: Fault
) -> None:
    upstreams = small_day
    app = install(tmp_path, upstreams)
    upstreams.fail(route, fault, times=1000)
    # What the feed does not tell, OAI-PMH would.
    upstreams.fail("oai", Fault.NOT_FOUND, times=1000)

    during = triage(app, "run", "--date", str(DAY))

    told = [" ".join(text.split()) for text in texts(app).values()]
    with app.database.read() as conn:
        (day,) = [d for d in store.sources.days(conn, DAY, DAY) if d.source == "arxiv"]
    assert day.verdict is not Verdict.COMPLETE
    assert not any("on arXiv, complete" in text for text in told)
    assert during.exit_code in (0, 3)

    upstreams.recover()
    healed = triage(app, "fetch", "--date", str(DAY), "--json")

    assert healed.exit_code == 0, healed.output
    rows = {row["source"]: row for row in json.loads(healed.output)}
    assert rows["arxiv"]["verdict"] == "complete"
    assert stored_ids(app) == set(upstreams.known)
    app.close()


@pytest.mark.skipif(
    not LISTINGS.exists(), reason="the benchmark's listings are not beside the checkout"
)
def test_a_real_day_of_2026_arrives_whole(tmp_path: Path) -> None:
    announced = records(LISTINGS, REAL_DAY)
    with Upstreams(announced) as upstreams:
        upstreams.show(REAL_DAY)
        app = install(tmp_path, upstreams)
        done = triage(app, "run", "--date", str(REAL_DAY))
    assert done.exit_code == 0, done.output
    assert stored_ids(app) == {record["id"] for record in announced}
    assert all("complete" in text for text in texts(app).values())
    app.close()
