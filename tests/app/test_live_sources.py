"""Which sources there are, for which day, behind which gates: as the settings say."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support import databases
from tests.support.biorxiv_server import Preprints
from tests.support.emulator import Upstreams as Servers
from tests.support.fakes import StoppedClock
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.domain.protocols import Source
from triage.domain.source_records import NamedPaper
from triage.errors import ConfigError, SourceError
from triage.sources.http.client import PoliteClient

# In New York it is still Tuesday, in the evening.
NIGHT = datetime(2026, 3, 4, 2, 0, tzinfo=UTC)
TUESDAY, MONDAY = date(2026, 3, 3), date(2026, 3, 2)
EVERYTHING = """
[sources.arxiv]
categories = ["cs.LG"]
[sources.hf_daily]
enabled = true
[sources.biorxiv]
enabled = true
[[sources.feed]]
name = "journal"
url = "https://feeds.example.org/journal.xml"
"""


@pytest.fixture
def compose(tmp_path: Path) -> Iterator[Callable[[str], App]]:
    apps = []

    def made(sources: str) -> App:
        database = databases.new_database(tmp_path)
        url = database.engine.url.render_as_string(hide_password=False)
        config, _ = create_installation(tmp_path, f'[database]\nurl = "{url}"\n{sources}')
        apps.append(open_app(config, clock=StoppedClock(NIGHT)))
        return apps[-1]

    yield made
    for app in apps:
        app.close()


def gates(sources: list[Source]) -> dict[str, PoliteClient]:
    """Return the HTTP client of each source."""
    leased: dict[str, Any] = {source.name: source for source in sources}
    return {name: each.source.client for name, each in leased.items()}


def test_what_is_switched_on_is_made(compose: Callable[[str], App]) -> None:
    names = [source.name for source in compose(EVERYTHING).live_sources.sources()]
    assert names == ["arxiv", "hf_daily", "biorxiv", "medrxiv", "feed:journal"]


def test_by_default_nothing_is_read(compose: Callable[[str], App]) -> None:
    app = compose("")
    assert app.live_sources.sources() == []
    assert app.live_sources.days_behind() == {}


@pytest.mark.parametrize(
    ("sources", "services"),
    [
        ("", ["arXiv", "arXiv"]),
        ("[sources.arxiv]\nenabled = false", []),
        (
            "[sources.biorxiv]\nenabled = true\n[sources.crossref]\nenabled = true",
            ["arXiv", "arXiv", "bioRxiv", "Crossref"],
        ),
        ("[sources.arxiv]\nenabled = false\n[sources.crossref]\nenabled = true", ["Crossref"]),
    ],
)
def test_named_papers_are_asked_of_what_is_switched_on_whatever_its_categories(
    compose: Callable[[str], App], sources: str, services: list[str]
) -> None:
    assert [each.name for each in compose(sources).live_sources.lookups()] == services


def test_a_lookup_leaves_the_clients_and_deadlines_of_other_threads_alone(
    compose: Callable[[str], App],
) -> None:
    app = compose(EVERYTHING + "[sources.crossref]\nenabled = true\n")
    own = gates(app.live_sources.sources(deadline=NIGHT))
    [crossref] = app.live_sources.enrichers(deadline=NIGHT)
    own["crossref"] = cast("Any", crossref).client
    for lookup in app.live_sources.lookups():
        client = cast("Any", lookup)._client
        assert client not in own.values()
    assert {client.deadline for client in own.values()} == {NIGHT}


def test_all_requests_to_arxiv_keep_one_distance(compose: Callable[[str], App]) -> None:
    with Servers([]) as servers:
        app = compose(f'[sources.arxiv]\napi_url = "{servers.api_url}"\ncategories = ["cs.LG"]')
        servers.clock = app.clock
        by_id, by_title = app.live_sources.lookups()
        patience = app.clock.now() + timedelta(seconds=10)
        by_id.find([NamedPaper("arxiv", "2603.00001")], patience)
        by_title.find([NamedPaper("title", "x" * 20, "A title", ("A. B",))], patience)
        [source] = app.live_sources.sources()
        cast("Any", source).source.client.get(servers.api_url)
    assert servers.gaps_s("api") == [3.0, 3.0]


def test_named_papers_leave_half_of_the_days_requests_to_the_sources(
    compose: Callable[[str], App],
) -> None:
    name = [NamedPaper("arxiv", "2603.00001")]
    with Servers([]) as servers:
        app = compose(
            f'[sources.arxiv]\napi_url = "{servers.api_url}"\ncategories = ["cs.LG"]\n'
            "daily_requests = 6"
        )
        by_id, _ = app.live_sources.lookups()
        for _ in range(3):
            by_id.find(name, app.clock.now() + timedelta(seconds=10))
        with pytest.raises(SourceError, match="got 3 requests today"):
            by_id.find(name, app.clock.now() + timedelta(seconds=10))
        [source] = app.live_sources.sources()
        for _ in range(3):
            cast("Any", source).source.client.get(servers.api_url)
    assert len(servers.log) == 6


def test_a_digest_waits_for_whoever_has_days_and_never_for_a_feed(
    compose: Callable[[str], App],
) -> None:
    assert compose(EVERYTHING).live_sources.days_behind() == {
        "arxiv": 0, "hf_daily": 0, "biorxiv": 1, "medrxiv": 1,
    }  # fmt: skip


def test_servers_that_share_an_address_share_a_gate_which_is_kept(
    compose: Callable[[str], App],
) -> None:
    app = compose(EVERYTHING)
    first, again = (
        gates(app.live_sources.sources()),
        gates(app.live_sources.sources(deadline=NIGHT)),
    )
    assert first["biorxiv"] is first["medrxiv"]
    assert len({id(gate) for gate in first.values()}) == 4
    assert {name: id(gate) for name, gate in first.items()} == {
        name: id(gate) for name, gate in again.items()
    }
    assert {gate.deadline for gate in first.values()} == {NIGHT}


def test_preprints_are_read_for_the_day_that_is_over_and_as_told(
    compose: Callable[[str], App],
) -> None:
    with Preprints() as preprints:
        app = compose(
            f'[sources.biorxiv]\nenabled = true\nservers = ["biorxiv"]\nurl = "{preprints.url}"\n'
            "min_interval_s = 0"
        )
        days = []
        for on in (None, TUESDAY):
            [source] = app.live_sources.sources(on)
            days.append([day.on for batch in source.fetch(None) for day in batch.days])
    assert days == [[MONDAY], [TUESDAY]]


@pytest.mark.parametrize(("trending", "on", "asked"), [
    (True, None, True), (False, None, False), (True, MONDAY, False),
])  # fmt: skip
def test_what_trends_is_asked_for_today_only_and_where_it_is_wanted(
    compose: Callable[[str], App], trending: bool, on: date | None, asked: bool
) -> None:
    with Servers([]) as servers:
        app = compose(
            f'[sources.hf_daily]\nenabled = true\nurl = "{servers.hf_url}"\nmin_interval_s = 0\n'
            f"trending = {str(trending).lower()}"
        )
        [source] = app.live_sources.sources(on)
        list(source.fetch(None))
    assert any("sort" in each.query for each in servers.log) is asked


@pytest.mark.parametrize("name", ["cs.LG", "math", "hep-th"])
def test_categories_and_whole_archives_may_be_watched(
    compose: Callable[[str], App], name: str
) -> None:
    app = compose(f'[sources.arxiv]\ncategories = ["{name}"]')
    assert [source.name for source in app.live_sources.sources()] == ["arxiv"]


@pytest.mark.parametrize(
    ("name", "near"),
    [("cs.XX", "did you mean cs."), ("maths", "did you mean math"), ("cs.lg", "did you mean cs.LG"),
     ("neuroscience", "not one of arXiv")],
)  # fmt: skip
def test_a_category_that_arxiv_does_not_have_is_named_with_the_nearest(
    compose: Callable[[str], App], name: str, near: str
) -> None:
    with pytest.raises(ConfigError, match=r"sources\.arxiv\.categories") as refused:
        compose(f'[sources.arxiv]\ncategories = ["cs.CL", "{name}"]')
    assert near in str(refused.value)


def test_a_feed_of_arxiv_waits_its_turn_at_arxivs_gate(compose: Callable[[str], App]) -> None:
    with Servers([]) as servers:
        app = compose(
            f"""
            [sources.arxiv]
            categories = ["cs.LG"]
            rss_url = "{servers.rss_url}"
            api_url = "{servers.api_url}"
            oai_url = "{servers.oai_url}"
            daily_requests = 1
            [[sources.feed]]
            name = "econ"
            url = "https://rss.arxiv.org/atom/econ.GN"
            """
        )
        arxiv, feed = app.live_sources.sources()
        with suppress(SourceError):
            list(arxiv.fetch(None))  # its budget ends with the first request
        with pytest.raises(SourceError, match="requests"):
            list(feed.fetch(None))
    assert len(servers.log) == 1


def test_a_feed_that_leads_into_the_operators_network_is_not_read(
    compose: Callable[[str], App], monkeypatch: pytest.MonkeyPatch
) -> None:
    def inwards(host: str, port: int, *_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", port))]

    monkeypatch.setattr(socket, "getaddrinfo", inwards)
    app = compose('[[sources.feed]]\nname = "inwards"\nurl = "https://feeds.example.org/x"\n')
    [feed] = app.live_sources.sources()
    with pytest.raises(SourceError, match="leads into a private network"):
        list(feed.fetch(None))
