"""Who is asked about which papers, what that changes, and that nothing waits for it or breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.support import databases
from tests.support.emulator import Upstreams
from tests.support.factories import DAY, NOON, paper
from tests.support.fakes import StoppedClock
from tests.support.installation import fetched, installed, rows, stored_papers, take_in, unnamed
from tests.support.scholars import Scholars
from triage import store
from triage.app.application import open_app
from triage.app.installation import create_installation
from triage.cli import cli
from triage.clock import SystemClock
from triage.domain.protocols import Enricher
from triage.domain.source_records import Enrichment, KnownPaper
from triage.errors import SourceError
from triage.papers import enrich as enrich_module
from triage.papers.enrich import EnrichReport, enrich, improved
from triage.sources.enrichers.crossref import Crossref
from triage.sources.enrichers.semantic_scholar import SemanticScholar
from triage.sources.http.client import PoliteClient
from triage.store import Database

RECORD = {
    "citationCount": 12,
    "tldr": {"text": "Drafts are fast."},
    "venue": "NeurIPS",
    "externalIds": {"DOI": "10.1038/one"},
}
ONE_DAY = timedelta(days=1)


class Knowing:
    """Knows what it is told to by paper; breaks with an error after so many answers."""

    def __init__(
        self,
        name: str = "knowing",
        breaks: Exception | None = None,
        after: int = 0,
        **fields: Any,
    ) -> None:
        self.name = name
        self.fields = fields
        self.breaks = breaks
        self.after = after
        self.asked: list[KnownPaper] = []

    def enrich(self, papers: Sequence[KnownPaper]) -> Iterator[Enrichment]:
        self.asked += papers
        for n, each in enumerate(papers):
            if self.breaks is not None and n == self.after:
                raise self.breaks
            if self.fields:
                yield Enrichment(each.id, **self.fields)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


def ask(database: Database, clock: StoppedClock, *enrichers: Enricher) -> EnrichReport:
    return enrich(database, enrichers, clock, max_age_days=14)


def ids_asked(enricher: Knowing) -> list[str]:
    return [value for each in enricher.asked for _, value in each.ids]


# -- real servers on loopback ----------------------------------------------------------------------


def test_a_paper_gets_its_summary_venue_citations_and_doi(
    database: Database, clock: StoppedClock
) -> None:
    take_in(database, [fetched(1), fetched(2)])
    with Scholars({"ARXIV:2603.00001": RECORD}) as scholars:
        gate = PoliteClient(clock, "triage/test", 1.0)
        semantic = SemanticScholar(gate, scholars.semantic_url)
        crossref = Crossref(gate, scholars.crossref_url)
        assert ask(database, clock, crossref, semantic) == EnrichReport(asked=2, enriched=1)
        first, second = stored_papers(database)
        assert (first.tldr, first.venue, first.citations) == ("Drafts are fast.", "NeurIPS", 12)
        assert (second.tldr, second.venue, second.citations) == ("", "", None)
        # A week later the DOI that was learned is asked for, too.
        scholars.crossref["10.1038/one"] = {
            "type": "journal-article",
            "container-title": ["Nature Methods"],
            "is-referenced-by-count": 15,
        }
        clock.at += timedelta(days=8)
        assert ask(database, clock, crossref, semantic) == EnrichReport(asked=2, enriched=1)
        first = stored_papers(database)[0]
        assert (first.venue, first.citations) == ("NeurIPS", 15)
        gate.close()


def test_a_later_record_under_the_learned_doi_is_the_same_work(
    database: Database, clock: StoppedClock
) -> None:
    take_in(database, [fetched(1)])
    ask(database, clock, Knowing(ids=(("doi", "10.1038/one"),)))
    article = fetched(9, source="doi", source_id="10.1038/one", title="Retold")
    take_in(database, [article])
    assert len(stored_papers(database)) == 1


def test_a_doi_that_another_work_has_stays_where_it_is(
    database: Database, clock: StoppedClock
) -> None:
    take_in(database, [fetched(1), fetched(2, doi="10.1038/one")])
    before = rows(database, "paper_ids")
    ask(database, clock, Knowing(ids=(("doi", "10.1038/one"),)))
    assert rows(database, "paper_ids") == before


# -- who is asked about ----------------------------------------------------------------------------


def test_only_recent_papers_with_an_id_that_stand_are_asked_about(
    database: Database, clock: StoppedClock
) -> None:
    old = fetched(1, listed_on=DAY - timedelta(days=15))
    edge = fetched(2, listed_on=DAY - timedelta(days=14))
    take_in(database, [old, edge, unnamed(3), fetched(4), fetched(5), fetched(6)])
    with database.write() as conn:
        gone, merged = (p for p in stored_papers(database) if p.source_id in GONE)
        store.works.save(conn, [(gone.id, {"withdrawn_at": NOON})])
        store.works.save(conn, [(merged.id, {"merged_into": gone.id})])
    knowing = Knowing()
    assert ask(database, clock, knowing).asked == 2
    assert ids_asked(knowing) == ["2603.00004", "2603.00002"]


GONE = {"2603.00005", "2603.00006"}


def test_a_work_of_several_is_asked_about_by_all_their_ids(
    database: Database, clock: StoppedClock
) -> None:
    bio = fetched(2, source="biorxiv", source_id="10.1101/2", title="Other", authors=("X Y",))
    take_in(database, [fetched(1), bio])
    first, second = stored_papers(database)
    with database.write() as conn:
        store.works.save(conn, [(second.id, {"merged_into": first.id})])
    knowing = Knowing(citations=3)
    assert ask(database, clock, knowing) == EnrichReport(asked=1, enriched=1)
    assert knowing.asked == [
        KnownPaper(first.id, (("arxiv", "2603.00001"), ("biorxiv", "10.1101/2")))
    ]
    told = {(row["citations"], row["enriched_at"]) for row in rows(database, "papers")}
    assert told == {(3, NOON)}


def test_nobody_is_asked_again_for_a_week(database: Database, clock: StoppedClock) -> None:
    take_in(database, [fetched(1)])
    knowing = Knowing(citations=3)
    assert ask(database, clock, knowing) == EnrichReport(asked=1, enriched=1)
    clock.at += timedelta(days=7)
    take_in(database, [fetched(2)])
    assert ask(database, clock, knowing).asked == 1
    assert ids_asked(knowing) == ["2603.00001", "2603.00002"]
    clock.at += timedelta(seconds=1)
    assert ask(database, clock, knowing) == EnrichReport(asked=1, enriched=0)


def test_those_it_serves_most_come_first_and_a_run_is_bounded(
    database: Database, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrich_module, "MOST_PAPERS", 3)
    monkeypatch.setattr(enrich_module, "_BATCH", 2)
    yesterday = [fetched(n, listed_on=DAY - ONE_DAY, upvotes=50) for n in (1, 2)]
    take_in(database, [*yesterday, fetched(3), fetched(4, upvotes=3), fetched(5, upvotes=9)])
    knowing = Knowing()
    assert ask(database, clock, knowing).asked == 3
    assert ids_asked(knowing) == ["2603.00005", "2603.00004", "2603.00003"]
    assert ask(database, clock, knowing).asked == 2
    clock.at += timedelta(days=8)
    take_in(database, [fetched(6, listed_on=DAY - ONE_DAY)])
    again = Knowing()
    assert ask(database, clock, again).asked == 3
    # Who was never asked about is first, however old.
    assert ids_asked(again) == ["2603.00006", "2603.00005", "2603.00004"]


def test_progress_counts_to_the_end(database: Database, clock: StoppedClock) -> None:
    take_in(database, [fetched(n) for n in range(1, 6)])
    told: list[tuple[str, int, int]] = []
    enrich(
        database,
        [Knowing()],
        clock,
        max_age_days=14,
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert told == [("enrich", 5, 5)]


def test_nobody_to_ask_changes_nothing(database: Database, clock: StoppedClock) -> None:
    take_in(database, [fetched(1)])
    before = rows(database, "papers")
    assert ask(database, clock) == EnrichReport()
    assert rows(database, "papers") == before


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SourceError("the wire was cut: plug it in"), KeyError("tldr")])
def test_one_that_fails_holds_no_other_up(
    database: Database, clock: StoppedClock, error: Exception
) -> None:
    take_in(database, [fetched(1), fetched(2)])
    broken = Knowing("broken", breaks=error, after=1, tldr="A summary.")
    report = ask(database, clock, broken, Knowing(citations=3))
    assert (report.asked, report.enriched) == (2, 2)
    (problem,) = report.problems
    assert problem.startswith("broken: ")
    assert problem in str(report)
    # What it said before it failed stands.
    assert [p.tldr for p in stored_papers(database)] == ["", "A summary."]
    assert [p.citations for p in stored_papers(database)] == [3, 3]


def test_papers_that_one_could_not_be_asked_about_stay_due(
    database: Database, clock: StoppedClock
) -> None:
    take_in(database, [fetched(1)])
    broken = Knowing("broken", breaks=SourceError("down"))
    ask(database, clock, broken, Knowing(citations=3))
    broken.breaks = None
    broken.fields = {"tldr": "A summary."}
    assert ask(database, clock, broken) == EnrichReport(asked=1, enriched=1)
    assert ask(database, clock, broken) == EnrichReport()


def test_one_that_fails_is_asked_no_further_and_nobody_left_ends_the_run(
    database: Database, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrich_module, "_BATCH", 1)
    take_in(database, [fetched(n) for n in range(1, 5)])
    broken, knowing = Knowing("broken", breaks=SourceError("down")), Knowing()
    ask(database, clock, broken, knowing)
    assert (len(broken.asked), len(knowing.asked)) == (1, 4)
    assert ask(database, clock, broken).asked == 1


def test_what_one_run_learned_stays_when_it_dies(
    database: Database, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrich_module, "_BATCH", 2)
    take_in(database, [fetched(n) for n in range(1, 6)])

    class Killed(BaseException):
        pass

    def dies(stage: str, done: int, total: int) -> None:
        if done == 4:
            raise Killed

    knowing = Knowing(citations=3)
    with pytest.raises(Killed):
        enrich(database, [knowing], clock, max_age_days=14, progress=dies)
    assert sum(p.citations == 3 for p in stored_papers(database)) == 4
    assert ask(database, clock, knowing) == EnrichReport(asked=1, enriched=1)


def test_a_paper_that_was_withdrawn_while_we_asked_is_let_be(
    database: Database, clock: StoppedClock
) -> None:
    take_in(database, [fetched(1)])
    (known,) = stored_papers(database)

    class Slow(Knowing):
        def enrich(self, papers: Sequence[KnownPaper]) -> Iterator[Enrichment]:
            with database.write() as conn:
                store.works.save(conn, [(known.id, {"merged_into": known.id})])
            yield from super().enrich(papers)

    assert ask(database, clock, Slow(ids=(("doi", "10.1038/one"),), citations=3)).enriched == 0
    assert rows(database, "papers")[0]["citations"] is None
    assert len(rows(database, "paper_ids")) == 1


# -- what it changes -------------------------------------------------------------------------------


def test_a_summary_that_is_there_stays() -> None:
    known = Enrichment(1, tldr="By a model.", venue="NeurIPS", citations=0)
    assert improved(paper(), [known]) == {"tldr": "By a model.", "venue": "NeurIPS", "citations": 0}
    stored = paper(tldr="By the authors.", venue="Nature", citations=7)
    assert improved(stored, [known]) == {}


def test_of_two_the_first_is_believed_and_the_higher_count_stays() -> None:
    several = [Enrichment(1, venue="Nature", citations=3), Enrichment(1, venue="Science", tldr="T")]
    assert improved(paper(), several) == {"venue": "Nature", "citations": 3, "tldr": "T"}
    assert improved(paper(citations=9), several) == {"venue": "Nature", "tldr": "T"}


ENRICHMENTS = st.builds(
    Enrichment,
    st.just(1),
    tldr=st.sampled_from(["", "A", "B"]),
    venue=st.sampled_from(["", "Nature", "Science"]),
    citations=st.none() | st.integers(0, 9),
)


@given(st.lists(ENRICHMENTS, max_size=4), st.none() | st.integers(0, 9))
def test_the_same_again_changes_nothing(learned: list[Enrichment], citations: int | None) -> None:
    before = paper(citations=citations)
    after = paper(**({"citations": citations} | improved(before, learned)))
    assert improved(after, learned) == {}
    assert (after.citations or 0) == max([citations or 0, *(e.citations or 0 for e in learned)])


# -- the program -----------------------------------------------------------------------------------


def test_fetching_by_hand_ends_with_asking_and_says_who_failed(tmp_path: Path) -> None:
    database = databases.new_database(tmp_path)
    today = SystemClock().now().date()
    take_in(database, [fetched(1, listed_on=today)])
    with Scholars({"ARXIV:2603.00001": RECORD}) as scholars, Upstreams([]) as upstreams:
        config = configured(tmp_path, database, scholars, upstreams)
        named = invoke(config, "fetch", "--source", "hf_daily")
        assert (named.exit_code, scholars.asked) == (0, [])
        scholars.bodies.append((403, b'{"message": "Forbidden"}'))
        failed = invoke(config, "fetch")
        assert failed.exit_code == 3
        assert "semantic_scholar: 127.0.0.1" in failed.stderr
        assert invoke(config, "fetch").exit_code == 0
    assert stored_papers(database)[0].venue == "NeurIPS"


def test_the_scheduler_asks_once_a_day_if_anybody_may_be_asked(tmp_path: Path) -> None:
    database = databases.new_database(tmp_path)
    take_in(database, [fetched(1)])
    with Scholars({"ARXIV:2603.00001": RECORD}) as scholars, Upstreams([]) as upstreams:
        config = configured(tmp_path, database, scholars, upstreams)
        app = open_app(config, clock=StoppedClock())
        with database.write() as conn:
            for name in ("back up", "train"):  # these take seconds and are told of elsewhere
                store.jobs.note_done(conn, name, NOON, "done")
        for _ in range(2):
            app.new_schedule().do_jobs()
        outcomes = {row["name"]: row["outcome"] for row in rows(database, "jobs")}
        assert outcomes["enrich"] == "asked about 1, enriched 1"
        assert len(scholars.asked) == 1
        app.close()


def test_usually_nobody_may_be_asked(tmp_path: Path) -> None:
    database = databases.new_database(tmp_path)
    config, _ = create_installation(tmp_path, databases.config_naming(address(database)))
    app = open_app(config, clock=StoppedClock())
    assert app.live_sources.enrichers() == []
    assert "enrich" not in {job.name for job in app.new_schedule().jobs}
    app.close()


def address(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def configured(folder: Path, database: Database, scholars: Scholars, upstreams: Upstreams) -> Path:
    """Write a config with Hugging Face as its source, and Semantic Scholar to ask."""
    text = databases.config_naming(address(database))
    for section, url in (
        ("hf_daily", upstreams.hf_url),
        ("semantic_scholar", scholars.semantic_url),
    ):
        head, body = text.split(f"[sources.{section}]\n")
        body = body.replace("enabled = false", "enabled = true", 1)
        body = re.sub(r'^url = ".*"', f'url = "{url}"', body, count=1, flags=re.MULTILINE)
        body = re.sub(r"^min_interval_s = .*", "min_interval_s = 0", body, count=1, flags=re.M)
        text = f"{head}[sources.{section}]\n{body}"
    return create_installation(folder, text)[0]


def invoke(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(config), *arguments])
