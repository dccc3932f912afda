"""Recall: every liked paper had been shown, or has the outcome that `papers why` gives."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner

from tests.support.factories import DAY
from tests.support.installation import rows
from tests.support.replayed_month import MAX_AGE_DAYS, Month, replay_month
from triage.cli import cli
from triage.domain.paper_outcome import Outcome
from triage.domain.records import LIKES
from triage.ranking.serving.active_models import load_active_models
from triage.ranking.serving.outcome_finder import OutcomeFinder
from triage.store import papers
from triage.training.evaluation.past_slates import Span
from triage.training.evaluation.recall import RecallReport, count_likes, measure_recall

pytestmark = pytest.mark.any_database("it reads what test_nightly writes on each")

N_DAYS = 14
LAST = DAY + timedelta(days=N_DAYS - 1)
FIRST = LAST - timedelta(days=29)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    with replay_month(tmp_path_factory.mktemp("month"), N_DAYS) as replayed:
        yield replayed


@pytest.fixture(scope="module")
def report(month: Month) -> RecallReport:
    app = month.app
    return measure_recall(app.database, app.model_store, app.clock, Span(FIRST, LAST, MAX_AGE_DAYS))


def test_every_liked_paper_is_counted_once(month: Month, report: RecallReport) -> None:
    database = month.app.database
    work = {row["id"]: row["merged_into"] or row["id"] for row in rows(database, "papers")}
    last = {}
    for event in sorted(rows(database, "events"), key=lambda each: (each["at"], each["id"])):
        last[event["subscriber_id"], work[event["paper_id"]]] = event["kind"]
    liked = {pair for pair, kind in last.items() if kind in LIKES}
    shown = {(i["subscriber_id"], work[i["paper_id"]]) for i in rows(database, "impressions")}
    assert report.n_liked == len(liked)
    assert report.n_shown == len(liked & shown)
    assert len(report.missed) == len(liked - shown) > 10


def test_a_missed_paper_has_the_outcome_from_before_the_like(
    month: Month, report: RecallReport
) -> None:
    pair = load_active_models(month.app.database, month.app.model_store)
    readers = {reader.email: reader for reader in month.readers}
    with month.app.database.read() as conn:
        outcomes = OutcomeFinder(conn, MAX_AGE_DAYS, pair)
        for each in report.missed:
            row = papers.resolve(conn, each.paper)
            assert row is not None
            reader = readers[each.email]
            [first, *others] = [
                event
                for event in rows(month.app.database, "events")
                if (event["paper_id"], event["subscriber_id"]) == (row, reader.id)
            ]
            if not others:
                assert each.liked_at == first["at"]
                assert each.outcome == outcomes.find(reader, row, first["recorded_at"])
                # The like itself does not count as a vote before.
                assert each.outcome.filter != "seen"


def test_recall_is_the_share_of_shown_papers_among_those_that_could_be(
    report: RecallReport,
) -> None:
    kinds = Counter(each.outcome.outcome for each in report.missed)
    assert set(kinds) == {Outcome.RANKED, Outcome.FILTERED}
    assert report.recall == report.n_shown / (report.n_shown + kinds[Outcome.RANKED])


def test_the_monthly_counts_are_those_of_the_account(month: Month, report: RecallReport) -> None:
    with month.app.database.read() as conn:
        counts = count_likes(conn, FIRST, LAST, MAX_AGE_DAYS)
        none = count_likes(conn, LAST + timedelta(9), LAST + timedelta(20), MAX_AGE_DAYS)
    assert list(counts) == [FIRST.replace(day=1), LAST.replace(day=1)]
    expected = Counter(
        # Without a ranking nothing is known of muted interests.
        Outcome.RANKED if each.outcome.filter == "muted interest" else each.outcome.outcome
        for each in report.missed
    )
    assert sum(counts.values(), Counter()) == expected + Counter({Outcome.SHOWN: report.n_shown})
    assert none == {}


def test_the_command_names_every_missed_paper(month: Month, report: RecallReport) -> None:
    config = str(month.app.settings.folder / "triage.toml")
    arguments = ["--config", config, "evaluate", "recall", "--until", str(LAST)]
    told = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert f"{report.n_liked} liked, {report.n_shown} of them shown before" in told.stdout
    assert f"recall {report.recall:.3f}" in told.stdout
    # A line of figures and the headings come first.
    assert len(told.stdout.splitlines()) == 2 + len(report.missed)
    row = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert row["recall"] == report.recall
    assert [each["outcome"]["outcome"] for each in row["missed"]] == [
        each.outcome.outcome for each in report.missed
    ]
