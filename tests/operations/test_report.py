"""The report: its figures are the database's, and its page needs nothing but itself."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import html5lib
import pytest
from bs4 import BeautifulSoup, Tag
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import impression, slate
from tests.support.installation import (
    add_reader,
    fetched,
    installed,
    queue,
    rows,
    stored_papers,
    take_in,
)
from tests.support.report_world import LAST, MAX_AGE_DAYS, NOW, PER_DIGEST, grow
from triage import store
from triage.cli import cli
from triage.domain.records import EventKind, MessageState, Policy, Verdict
from triage.domain.source_records import SourceDay
from triage.operations.report import History, Rate, history, render_report
from triage.resources import templates_dir
from triage.store import Database, sending_holds, sources

CHROMIUM = Path("/usr/bin/chromium")


@dataclass(frozen=True)
class Told:
    """A grown installation, what the report reads from it, and the page."""

    database: Database
    history: History
    page: str

    def table(self, caption: str) -> list[list[str]]:
        """Return the cells of the table under a region or caption that begins like that."""
        soup = BeautifulSoup(self.page, "html5lib")
        [table] = [
            table
            for table in soup.find_all("table")
            if isinstance(table, Tag)
            and caption
            in str(table.parent.get("aria-label", "") if table.parent else "") + table.get_text()
        ]
        return [
            [cell.get_text() for cell in row.find_all(["td", "th"])]
            for row in table.find_all("tr")
            if isinstance(row, Tag)
        ]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with installed(tmp_path_factory.mktemp("report")) as database:
        grow(database)
        read = history(database, NOW, MAX_AGE_DAYS)
        yield Told(database, read, render_report(read, "Morning papers"))


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with installed(tmp_path_factory.mktemp("new")) as database:
        yield render_report(history(database, NOW, MAX_AGE_DAYS), "Morning papers")


# -- figures ---------------------------------------------------------------------------------------


def test_deliveries_are_the_messages_of_each_date(told: Told) -> None:
    messages = rows(told.database, "messages")
    assert told.history.deliveries == Counter((m["on"], m["state"]) for m in messages)
    assert sum(told.history.messages.values()) == len(messages)
    assert told.history.n_waiting == sum(m["state"] == "rendered" for m in messages) == 2
    shown = told.table("Deliveries by day")[1:]
    assert [row[0] for row in shown] == sorted({str(m["on"]) for m in messages}, reverse=True)
    assert sum(int(row[1]) for row in shown) == told.history.messages[MessageState.SENT]


def test_votes_of_each_day_are_those_of_people(told: Told) -> None:
    cast = [e for e in rows(told.database, "events") if e["origin"] == "person"]
    assert told.history.votes == Counter((e["at"].date(), e["kind"]) for e in cast)
    assert len(cast) < len(rows(told.database, "events"))
    shown = told.table("Votes by day")[1:]
    assert sum(int(n) for row in shown for n in row[1:]) == len(cast)


def test_rates_count_the_last_vote_on_delivered_papers(told: Told) -> None:
    sent = {m["slate_id"] for m in rows(told.database, "messages") if m["state"] == "sent"}
    last = {
        (e["subscriber_id"], e["paper_id"]): e["kind"]
        for e in sorted(rows(told.database, "events"), key=lambda e: (e["at"], e["id"]))
        if e["origin"] == "person"
    }
    shown = [i for i in rows(told.database, "impressions") if i["slate_id"] in sent]
    for policy in Policy:
        of_policy = [i for i in shown if i["policy"] == policy]
        for kind in EventKind:
            n = sum(last.get((i["subscriber_id"], i["paper_id"])) == kind for i in of_policy)
            assert told.history.rate(kind, policy) == Rate(n, len(of_policy))
    whole = told.history.rate(EventKind.SAVE)
    assert whole.of == len(shown) == len(sent) * PER_DIGEST
    weekly = [told.history.rate(EventKind.SAVE, week=week) for week in told.history.weeks]
    assert Rate(sum(r.n for r in weekly), sum(r.of for r in weekly)) == whole
    table = told.table("Votes per shown paper")
    assert table[1][:2] == ["all", str(whole.of)]
    assert table[1][4:6] == [str(whole.n), f"{100 * whole.value:.1f} %"]


def test_a_day_of_a_source_is_told_once_however_many_categories_it_has(told: Told) -> None:
    arxiv, hugging_face = told.history.sources
    assert (arxiv.name, hugging_face.name) == ("arXiv", "Hugging Face")
    stored = [d for d in rows(told.database, "source_days") if d["source"] == "arxiv"]
    assert {d["category"] for d in stored} == {"", "cs.CL", "cs.LG"}
    assert {on: (day.verdict, day.got, day.expected) for on, day in arxiv.days.items()} == {
        d["on"]: (d["verdict"], d["got"], d["expected"]) for d in stored if not d["category"]
    }
    assert [arxiv.n_days(v) for v in (Verdict.FAILED, Verdict.PARTIAL, Verdict.EMPTY_SUSPECT)] == [
        1,
        1,
        1,
    ]


def test_the_chances_that_digests_told_are_compared_with_the_votes(told: Told) -> None:
    bins = told.table("Papers of digests with at least one vote")[1:]
    assert len(bins) == len(told.history.calibration.bins) == 10
    voted = {e["slate_id"] for e in rows(told.database, "events") if e["origin"] == "person"}
    papers = [i for i in rows(told.database, "impressions") if i["slate_id"] in voted]
    assert sum(int(row[1].replace(",", "")) for row in bins) == len(papers)
    assert f"{told.history.calibration.brier:.3f}" in told.page


def test_trainings_and_the_pair_that_serves_are_told(told: Told) -> None:
    scorers = [v for v in rows(told.database, "model_versions") if v["kind"] == "scorer"]
    assert len(told.history.trainings) == len(scorers)
    assert len(told.history.judged) == len(scorers) - 1
    assert told.history.serving
    assert (
        told.history.serving.scorer_version
        == rows(told.database, "model_promotions")[-1]["scorer_version"]
    )
    trained = told.table("Trainings")[1:]
    assert [row[0] for row in trained] == sorted((row[0] for row in trained), reverse=True)
    assert trained[-1][3:5] == ["–", "–"]


def test_liked_papers_are_counted_by_month_and_by_what_became_of_them(tmp_path: Path) -> None:
    with installed(tmp_path) as database:
        reader, before = add_reader(database), LAST - timedelta(days=1)
        days = (before, before, before - timedelta(days=60), before)
        take_in(database, [fetched(n, listed_on=on) for n, on in enumerate(days, start=1)])
        papers = stored_papers(database)
        shown = (impression(1, paper=papers[0]),)
        queue(database, slate(subscriber=reader, on=before, impressions=shown))
        for paper, kind, at in zip(
            papers,
            (EventKind.SAVE, EventKind.VOTE_UP, EventKind.VOTE_UP, EventKind.VOTE_DOWN),
            (NOW, NOW, NOW, NOW - timedelta(days=40)),
            strict=True,
        ):
            with database.write() as conn:
                store.events.append(conn, store.events.Event(reader.id, paper.id, kind, at, at))
        read = history(database, NOW, MAX_AGE_DAYS)
        page = render_report(read, "Morning papers")
    assert read.recall(LAST.replace(day=1)) == Rate(1, 2)
    table = Told(database, read, page).table("Liked papers by month")
    assert table[1:] == [["March 2026", "3", "1", "1", "1", "50.0 %"]]


def test_only_the_days_of_the_range_are_told(told: Told) -> None:
    short = history(told.database, NOW, MAX_AGE_DAYS, n_days=7)
    assert short.dates == [LAST - timedelta(n) for n in range(6, -1, -1)]
    for counts in (short.deliveries, short.votes, short.shown):
        assert counts
        assert {key[0] for key in counts} <= set(short.dates)
    assert {on for source in short.sources for on in source.days} <= set(short.dates)
    assert short.messages == told.history.messages


def test_a_year_hence_nothing_of_it_is_left_but_the_totals(told: Told) -> None:
    later = history(told.database, NOW + timedelta(days=365), MAX_AGE_DAYS)
    assert not later.deliveries
    assert not later.votes
    assert not later.shown
    assert not later.sources
    assert not later.trainings
    page = render_report(later, "Morning papers")
    assert "No digest was due" in page
    assert later.messages == told.history.messages


@given(n=st.integers(0, 500), more=st.integers(0, 500))
def test_the_interval_holds_the_rate_and_stays_within_0_and_1(n: int, more: int) -> None:
    rate = Rate(n, n + more)
    low, high = rate.interval
    if not rate.of:
        assert math.isnan(rate.value)
        return
    assert -1e-12 <= low <= rate.value + 1e-12
    assert rate.value - 1e-12 <= high <= 1
    if rate.of > 4:
        assert high - low < 0.9


def test_the_interval_is_wilsons() -> None:
    # Brown, Cai and DasGupta (2001), Statistical Science 16: 10 of 100 gives 0.0552 to 0.1744.
    assert Rate(10, 100).interval == pytest.approx((0.0552, 0.1744), abs=1e-4)


# -- the page --------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["told", "new"])
def test_the_page_is_strict_html(which: str, told: Told, new: str) -> None:
    page = told.page if which == "told" else new
    html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page.strip())
    soup = BeautifulSoup(page, "html5lib")
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("which", ["told", "new"])
def test_the_page_asks_nobody_for_anything(which: str, told: Told, new: str) -> None:
    page = told.page if which == "told" else new
    assert not re.search(r"<(script|img|iframe|object|embed|link|base|form|video|audio)\b", page)
    assert not re.search(r"\b(src|href|action|srcset|on\w+)=", page)
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_no_subscriber_is_named(told: Told) -> None:
    assert not re.search(r"@[\w-]+\.[a-z]", told.page)
    for reader in rows(told.database, "subscribers"):
        assert reader["email"] not in told.page
        assert reader["public_id"] not in told.page


def test_what_a_source_said_is_text(tmp_path: Path) -> None:
    with installed(tmp_path) as database:
        said = SourceDay("feed:<b>x", LAST, Verdict.FAILED, None, 0, "<script>alert(1)</script>&")
        with database.write() as conn:
            sources.save_days(conn, [said], NOW)
        page = render_report(history(database, NOW, MAX_AGE_DAYS), "A <i>B</i>")
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>x" not in page
    assert "<i>B" not in page


def test_every_day_can_be_read_without_colour(told: Told) -> None:
    soup = BeautifulSoup(told.page, "html5lib")
    letters: dict[str, set[str]] = {}
    for cell in soup.find_all("g"):
        assert isinstance(cell, Tag)
        letter = cell.find("text")
        assert letter
        letters.setdefault(cell["class"][1], set()).add(letter.get_text())
    assert set(letters) == {verdict.value for verdict in Verdict}
    assert all(len(found) == 1 for found in letters.values())
    assert len({letter for [letter] in letters.values()}) == len(Verdict)


def test_every_day_that_was_read_is_in_the_calendar_and_in_the_table(told: Told) -> None:
    soup = BeautifulSoup(told.page, "html5lib")
    n_days = sum(len(source.days) for source in told.history.sources)
    assert len(soup.select(".calendar g")) == n_days
    assert len(told.table("Days of the sources")) == 1 + n_days
    for calendar in soup.select(".calendar svg"):
        assert len(calendar.select("g, rect.day")) == len(told.history.dates)


def test_pictures_have_words_and_tables_have_headings(told: Told) -> None:
    soup = BeautifulSoup(told.page, "html5lib")
    for svg in soup.find_all("svg"):
        assert isinstance(svg, Tag)
        assert svg.get("aria-hidden") or (svg["role"] == "img" and svg["aria-label"])
    for table in soup.find_all("table"):
        assert isinstance(table, Tag)
        assert table.caption
        assert table.find("th")


def test_bars_stay_inside_their_pictures(told: Told) -> None:
    soup = BeautifulSoup(told.page, "html5lib")
    bars = soup.select("svg[viewbox] rect, svg[viewBox] rect")
    assert bars
    for bar in bars:
        svg = bar.find_parent("svg")
        assert isinstance(svg, Tag)
        _, _, width, height = map(float, str(svg.get("viewBox") or svg.get("viewbox")).split())
        x, y, w, h = (float(str(bar[name])) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width + 1e-6
        assert 0 <= y <= y + h <= height + 1e-6


def test_a_new_installation_is_told_what_comes_next(new: str) -> None:
    text = BeautifulSoup(new, "html5lib").get_text()
    for command in ("triage papers import", "triage subscriber add", "triage doctor", "triage run"):
        assert command in text
    assert "This installation is new" in text


def test_why_nothing_is_sent_stands_first(tmp_path: Path) -> None:
    with installed(tmp_path) as database:
        with database.write() as conn:
            sending_holds.place(conn, "set-up", "SPF: nobody may send", NOW)
        page = render_report(history(database, NOW, MAX_AGE_DAYS), "Papers")
    text = BeautifulSoup(page, "html5lib").get_text()
    assert "Nothing is sent: SPF: nobody may send" in text


def test_a_working_installation_is_not_taught(told: Told) -> None:
    assert "What comes next" not in told.page


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_marks_stand_out_in_light_and_dark() -> None:
    own = (templates_dir() / "report" / "page.css").read_text("utf-8")
    pages = (templates_dir() / "web" / "style.css").read_text("utf-8")
    schemes = [re.findall(r":root \{(.*?)\}", sheet, re.DOTALL) for sheet in (pages, own)]
    for scheme in zip(*schemes, strict=True):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", "".join(scheme)))
        pairs = [
            (one, other, least)
            for one in ("complete", "partial", "suspect", "failed")
            for other, least in (("mark-ink", 4.5), ("ground", 3.0), ("card", 3.0))
        ]
        for one, other, least in [*pairs, ("accent", "ground", 3.0), ("soft", "card", 4.5)]:
            high, low = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, (one, other)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed: `make servers`")
def test_nothing_sticks_out_on_a_phone_or_a_desk(told: Told, new: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for name, page in (("told", told.page), ("new", new)):
            path = tmp_path / f"{name}.html"
            path.write_text(page, encoding="utf-8")
            for width in (320, 1200):
                tab = browser.new_page(viewport={"width": width, "height": 800})
                complaints: list[str] = []
                tab.on("console", lambda message, seen=complaints: seen.append(message.text))
                tab.on("request", lambda request: asked.append(request.url))
                tab.goto(path.as_uri())
                tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert tab.evaluate("document.documentElement.scrollWidth") == width
                assert complaints == []
                tab.close()
        browser.close()
    assert {url.partition(":")[0] for url in asked} == {"file"}


# -- the command -----------------------------------------------------------------------------------


def test_the_command_writes_one_file_beside_the_config_or_where_it_is_told(tmp_path: Path) -> None:
    with installed(tmp_path):
        pass
    config = tmp_path / "triage.toml"
    config.write_text('[site]\nname = "Papers at breakfast"\n')
    for options, path in (
        ([], tmp_path / "triage-report.html"),
        (["--to", str(tmp_path / "r.html")], tmp_path / "r.html"),
    ):
        result = CliRunner().invoke(cli, ["--config", str(config), "report", *options])
        assert result.exit_code == 0, result.output
        assert str(path) in result.output
        assert "Papers at breakfast" in path.read_text("utf-8")


def test_the_axes_of_the_plot_of_models_hold_every_figure(told: Told) -> None:
    for training in told.history.judged:
        assert 0 <= told.history.x(training.created_at) <= 1000
        for figure in (training.metrics["challenger_ndcg"], training.metrics["serving_ndcg"]):
            assert figure is not None
            assert 0 <= told.history.y(figure) <= 100
    assert told.history.x(NOW) > 990
    assert date.fromisoformat("2026-01-01") == told.history.first
