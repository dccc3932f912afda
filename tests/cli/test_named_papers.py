"""Papers that are named on the command line and are not stored: fetched, or awaited."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import Ended, triage
from tests.cli.test_fetch import announced
from tests.support import doctor_world
from tests.support.answers import Answers
from tests.support.emulator import Fault, Upstreams
from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import rows
from tests.support.zotero_server import KEY, ZoteroServer
from triage import store
from triage.app.application import open_app
from triage.cli import app_context
from triage.domain.records import EventKind
from triage.sources.zotero import Zotero
from triage.subscribers import named_papers, subscriptions

ADA = "ada@example.org"
RECORDS = announced(DAY, 3)
ONE, TWO, THREE = (record["id"] for record in RECORDS)
ABSENT = "2603.99999"
ASKS_SOON = "asks for it soon, and the next digest says what was found"


@dataclass
class Operator:
    """Somebody at the command line of an installation whose clock is stopped."""

    folder: Path
    arxiv: Upstreams
    clock: StoppedClock = field(default_factory=StoppedClock)

    @property
    def config(self) -> Path:
        return self.folder / "triage.toml"

    def settings(self, arxiv_url: str = "", more: str = "") -> None:
        url = arxiv_url or self.arxiv.api_url
        self.config.write_text(f'[sources.arxiv]\napi_url = "{url}"\n{more}')

    def run(self, *arguments: str | Path) -> Ended:
        return triage(*arguments, config=self.config)

    def tick(self, **later: float) -> None:
        """Let time pass, and the schedule do what it does each minute."""
        self.clock.at += timedelta(**later)
        app = open_app(self.config, clock=self.clock)
        schedule = app.new_schedule()
        schedule.tick()
        schedule.stop()
        app.close()

    def rows(self, table: str) -> list[dict[str, Any]]:
        app = open_app(self.config)
        try:
            return rows(app.database, table)
        finally:
            app.close()

    def vote(self, id: str) -> None:
        self.clock.at += timedelta(minutes=1)
        app = open_app(self.config)
        with app.database.write() as conn:
            [who], paper = store.subscribers.everyone(conn), store.papers.resolve(conn, id)
            assert paper is not None
            at = self.clock.at
            vote = store.events.Event(who.id, paper, EventKind.VOTE_UP, at, at)
            store.events.append(conn, vote)
        app.close()

    def liked(self) -> list[str]:
        found = self.run("feedback", "export", ADA, "--format", "csv").out.splitlines()[1:]
        return sorted(id for line in found for id in (ONE, TWO, THREE) if id in line)

    def file(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    with Upstreams(RECORDS) as arxiv:
        doctor_world.installation(tmp_path).close()
        operator = Operator(tmp_path, arxiv)
        operator.settings()
        monkeypatch.setattr(app_context, "open_app", partial(open_app, clock=operator.clock))
        yield operator


@pytest.fixture
def ada(operator: Operator) -> Operator:
    assert operator.run("subscriber", "add", ADA).out == "added\n"
    return operator


def closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/api"


# -- subscriber add --like -------------------------------------------------------------------------


def test_a_like_that_is_not_stored_is_fetched(operator: Operator) -> None:
    ended = operator.run(
        "subscriber", "add", ADA, "--like", f"https://arxiv.org/abs/{ONE}v1", "--like", TWO
    )
    assert (ended.code, ended.out, ended.err) == (0, "added\n", "")
    assert operator.liked() == [ONE, TWO]
    assert [asked.query["id_list"] for asked in operator.arxiv.log] == [f"{ONE},{TWO}"]


def test_a_like_that_arxiv_does_not_have_is_said_and_waits(operator: Operator) -> None:
    ended = operator.run("subscriber", "add", ADA, "--like", ABSENT, "--like", ONE)
    assert (ended.code, ended.out) == (0, "added, waiting 1\n")
    assert ended.err == (
        "triage: 1 paper was not found: `triage schedule` asks for it again in a day\n"
    )
    assert operator.liked() == [ONE]
    exported = json.loads(operator.run("subscriber", "export", ADA).out)["tables"]
    assert [row["value"] for row in exported["named_papers"]] == [ABSENT]


def test_with_arxiv_switched_off_a_like_must_be_stored(operator: Operator) -> None:
    operator.settings(more="enabled = false\n")
    ended = operator.run("subscriber", "add", ADA, "--like", ONE)
    assert (ended.code, ended.out) == (1, "")
    assert "import the papers first (`triage papers import`)" in ended.err
    assert operator.arxiv.log == []
    assert operator.rows("subscribers") == []


@pytest.mark.parametrize("retry_after", [None, "1", "30", "86400"])
@pytest.mark.parametrize("fault", [Fault.TOO_MANY, Fault.UNAVAILABLE, Fault.DROPPED])
def test_an_arxiv_in_trouble_costs_ten_seconds_and_the_schedule_asks_again(
    operator: Operator, fault: Fault, retry_after: str | None
) -> None:
    operator.arxiv.fail("api", fault, times=50, retry_after=retry_after)
    ended = operator.run("subscriber", "add", ADA, "--like", ONE)
    assert operator.clock.at - NOON <= timedelta(seconds=10)
    assert (ended.code, ended.out) == (0, "added, waiting 1\n")
    first, second = ended.err.splitlines()
    assert first.startswith("triage: arXiv gave no ")
    assert first.endswith("; `triage schedule` asks it again")
    assert second == f"triage: 1 paper is not stored yet: `triage schedule` {ASKS_SOON}"
    operator.arxiv.recover()
    operator.tick(days=2)
    assert operator.liked() == [ONE]


def test_a_closed_port_costs_ten_seconds(operator: Operator) -> None:
    operator.settings(closed_port())
    ended = operator.run("subscriber", "add", ADA, "--like", ONE)
    assert operator.clock.at - NOON <= timedelta(seconds=10)
    assert (ended.code, ended.out) == (0, "added, waiting 1\n")
    assert "arXiv gave no answer within 10 seconds" in ended.err


def test_the_schedule_waits_fifteen_minutes_after_a_failure(operator: Operator) -> None:
    operator.arxiv.fail("api", Fault.UNAVAILABLE, times=50)
    operator.run("subscriber", "add", ADA, "--like", ONE)
    n_asked = len(operator.arxiv.log)
    operator.tick(minutes=20)
    assert len(operator.arxiv.log) == n_asked + 1
    for _ in range(13):
        operator.tick(minutes=1)
    assert len(operator.arxiv.log) == n_asked + 1
    operator.arxiv.recover()
    operator.tick(minutes=3)
    assert operator.liked() == [ONE]


def test_schedule_once_asks_for_what_waits(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.arxiv.fail("api", Fault.UNAVAILABLE, times=50)
    operator.run("subscriber", "add", ADA, "--like", ONE)
    operator.arxiv.recover()
    operator.clock.at += timedelta(minutes=5)
    monkeypatch.setattr("triage.operations.jobs.Schedule.do_jobs", lambda _: None)
    assert operator.run("schedule", "--once").code == 0
    assert operator.liked() == [ONE]


def test_a_web_page_in_place_of_an_answer_is_no_answer(operator: Operator) -> None:
    operator.arxiv.fail("api", Fault.HTML)
    ended = operator.run("subscriber", "add", ADA, "--like", ONE)
    assert (ended.code, ended.out) == (0, "added, waiting 1\n")
    assert "arXiv gave no usable answer (" in ended.err


def test_a_server_that_hangs_is_left_alone(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_context, "open_app", open_app)
    monkeypatch.setattr(named_papers, "PATIENCE", timedelta(seconds=1))
    with Answers() as arxiv:
        arxiv.hang()
        operator.settings(arxiv.url)
        ended = operator.run("subscriber", "add", ADA, "--like", ONE)
    assert (ended.code, ended.out) == (0, "added, waiting 1\n")
    assert "arXiv gave no answer within 1 seconds" in ended.err
    assert len(arxiv.asked) == 1


# -- subscriber import -----------------------------------------------------------------------------

LIBRARIES = {
    "mine.bib": f"@misc{{a, eprint={{{ONE}}}}}\n@misc{{b, title={{Of mice}}, eprint={{{TWO}}}}}\n",
    "mine.ris": f"TY  - JOUR\nTI  - One\nUR  - https://arxiv.org/abs/{ONE}\nER  -\n"
    f"TY  - JOUR\nTI  - Two\nUR  - https://arxiv.org/abs/{TWO}\nER  -\n",
    "mine.json": json.dumps(
        [
            {"type": "article", "title": title, "URL": f"https://arxiv.org/abs/{id}"}
            for title, id in (("One", ONE), ("Two", TWO))
        ]
    ),
    "mine.txt": f"I liked arXiv:{ONE}v2 and https://arxiv.org/pdf/{TWO}.\n",
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_papers_of_every_kind_of_library_are_fetched(ada: Operator, name: str) -> None:
    ended = ada.run("subscriber", "import", ADA, ada.file(name, LIBRARIES[name]))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{name}: read 2, recognised 2: new likes 2, known 0, waiting 0\n"
    assert ada.liked() == [ONE, TWO]
    assert len(ada.arxiv.log) == 1


def test_several_libraries_are_counted_each(ada: Operator) -> None:
    files = [ada.file(f"{n}.txt", f"{id} {ABSENT}\n") for n, id in enumerate((ONE, ONE))]
    ended = ada.run("subscriber", "import", ADA, *files)
    assert ended.code == 0
    assert ended.out == (
        "0.txt: read 2, recognised 2: new likes 1, known 0, waiting 1\n"
        "1.txt: read 2, recognised 2: new likes 0, known 1, waiting 1\n"
    )


def test_a_doi_that_nobody_is_asked_for_says_what_to_switch_on(ada: Operator) -> None:
    ended = ada.run("subscriber", "import", ADA, ada.file("mine.txt", "10.1038/s41586-1\n"))
    assert (ended.code, ended.out.rpartition(", ")[2]) == (0, "waiting 1\n")
    assert ended.err == (
        "triage: 1 paper is not stored, and nobody is asked for it: switch on"
        " `[sources.crossref]`\n"
    )


def test_a_long_list_is_left_to_the_schedule_and_the_person_is_told(ada: Operator) -> None:
    ids = [ONE, *(f"2603.{n:05d}" for n in range(50_000, 50_200))]
    ended = ada.run("subscriber", "import", ADA, ada.file("mine.txt", "\n".join(ids)))
    assert ended.code == 0
    assert ended.out == "mine.txt: read 201, recognised 201: new likes 0, known 0, waiting 201\n"
    assert ended.err == (
        "triage: 201 papers are not stored yet: `triage schedule` asks for them soon, and the next"
        " digest says what was found\n"
    )
    assert ada.arxiv.log == []
    ada.tick(minutes=1)
    assert [len(asked.query["id_list"].split(",")) for asked in ada.arxiv.log] == [200, 1]
    assert ada.liked() == [ONE]


# -- papers import ---------------------------------------------------------------------------------


def test_a_list_of_ids_is_fetched_and_counted_as_before(operator: Operator) -> None:
    path = operator.file("ids.txt", f"{ONE}\n{TWO}, {ABSENT} # remark\n{ONE}v3\nno id\n")
    ended = operator.run("papers", "import", path)
    assert ended.out == "read 6, stored 2, known 1, quarantined 2, waiting 1\n"
    assert "1 paper was not found" in ended.err
    again = operator.run("papers", "import", path)
    assert again.out == "read 6, stored 0, known 3, quarantined 2, waiting 1\n"
    assert (ended.code, again.code) == (0, 0)


def test_a_list_waits_if_arxiv_is_down(operator: Operator) -> None:
    operator.settings(closed_port())
    path = operator.file("ids.txt", f"{ONE}\n{TWO}\n")
    ended = operator.run("papers", "import", path)
    assert (ended.code, ended.out) == (0, "read 2, stored 0, known 0, quarantined 0, waiting 2\n")
    operator.settings()
    operator.tick(hours=1)
    again = operator.run("papers", "import", path)
    assert again.out == "read 2, stored 0, known 2, quarantined 0\n"


def test_a_long_list_of_the_operator_is_left_to_the_schedule(operator: Operator) -> None:
    path = operator.file("ids.txt", "\n".join(f"2603.{n:05d}" for n in range(50_000, 50_201)))
    ended = operator.run("papers", "import", path)
    assert (ended.code, ended.out) == (
        0, "read 201, stored 0, known 0, quarantined 0, waiting 201\n",
    )  # fmt: skip
    assert ended.err == (
        "triage: 201 papers are not stored yet: `triage schedule` asks for them soon\n"
    )


# -- Zotero every day ------------------------------------------------------------------------------


@pytest.fixture
def zotero(monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoteroServer]:
    server = ZoteroServer([])
    monkeypatch.setattr(Zotero.__init__, "__defaults__", (server.url,))
    yield server
    server.close()


def item(id: str) -> dict[str, Any]:
    url = f"https://arxiv.org/abs/{id}"
    return {"key": id, "data": {"itemType": "preprint", "title": f"Paper {id}", "url": url}}


def read_daily(operator: Operator, *options: str) -> Ended:
    key = operator.file("key", f"{KEY}\n")
    return operator.run("subscriber", "import", ADA, "--zotero-key", key, *options)


def a_day_later(operator: Operator) -> str:
    operator.clock.at += timedelta(days=1)
    app = open_app(operator.config, clock=operator.clock)
    try:
        return app._read_zotero_again()
    finally:
        app.close()


def test_a_zotero_library_is_followed_day_by_day(ada: Operator, zotero: ZoteroServer) -> None:
    zotero.records = [item(ONE), item(TWO)]
    ended = read_daily(ada, "--daily")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "Zotero: read 2, recognised 2: new likes 2, known 0, waiting 0\n"
    zotero.records = [item(TWO), item(THREE)]
    assert a_day_later(ada) == "1 library read"
    ada.tick(minutes=1)
    assert ada.liked() == [TWO, THREE]
    assert {row["evidence"]["method"] for row in ada.rows("events")} == {"zotero"}


def test_a_library_is_read_once_a_day(ada: Operator, zotero: ZoteroServer) -> None:
    zotero.records = [item(ONE)]
    read_daily(ada, "--daily")
    assert a_day_later(ada) == "1 library read"
    n_asked = len(zotero.asked)
    ada.clock.at -= timedelta(hours=20)
    assert a_day_later(ada) == "0 libraries read"
    assert len(zotero.asked) == n_asked


def test_a_library_that_a_clock_ahead_has_read_is_read_again(
    ada: Operator, zotero: ZoteroServer
) -> None:
    zotero.records = [item(ONE)]
    read_daily(ada, "--daily")
    ada.clock.at += timedelta(days=400)
    assert a_day_later(ada) == "1 library read"
    ada.clock.at -= timedelta(days=400)
    assert a_day_later(ada) == "1 library read"
    ada.clock.at -= timedelta(hours=20)
    assert a_day_later(ada) == "0 libraries read"


@pytest.mark.parametrize("trouble", ["empty", "refused", "nonsense"])
def test_an_answer_without_a_library_removes_nothing(
    ada: Operator, zotero: ZoteroServer, trouble: str
) -> None:
    zotero.records = [item(ONE)]
    read_daily(ada, "--daily")
    zotero.records = {"empty": [], "refused": [item(TWO)], "nonsense": {"error": "x"}}[trouble]
    zotero.status = 403 if trouble == "refused" else 200
    told = a_day_later(ada)
    assert ada.liked() == [ONE]
    assert KEY not in told
    assert told.startswith("1 library" if trouble == "empty" else "0 libraries read; Zotero: ")


def test_only_likes_that_came_from_zotero_are_removed_with_their_items(
    ada: Operator, zotero: ZoteroServer
) -> None:
    ada.run("subscriber", "import", ADA, ada.file("mine.txt", ONE))
    zotero.records = [item(ONE), item(TWO), item(THREE)]
    read_daily(ada, "--daily")
    ada.vote(THREE)
    zotero.records = [item("2603.00099")]
    a_day_later(ada)
    assert ada.liked() == [ONE, THREE]


def test_a_like_that_was_taken_back_stays_so(ada: Operator, zotero: ZoteroServer) -> None:
    zotero.records = [item(ONE), item(TWO)]
    read_daily(ada, "--daily")
    app = open_app(ada.config)
    with app.database.read() as conn:
        [who], paper = store.subscribers.everyone(conn), store.papers.resolve(conn, ONE)
    assert paper is not None
    assert subscriptions.take_back(app.database, who, paper)
    app.close()
    for records in ([item(ONE), item(TWO)], [], [item(ONE), item(TWO)]):
        zotero.records = records
        a_day_later(ada)
    assert ada.liked() == [TWO]
    zotero.records = [item(TWO)]
    a_day_later(ada)
    zotero.records = [item(ONE), item(TWO)]
    a_day_later(ada)
    assert ada.liked() == [ONE, TWO]


def test_what_waits_is_forgotten_with_its_item(ada: Operator, zotero: ZoteroServer) -> None:
    zotero.records = [item(ABSENT), item(ONE)]
    read_daily(ada, "--daily")
    zotero.records = [item(ONE)]
    a_day_later(ada)
    assert ada.rows("named_papers") == []


def test_no_daily_forgets_the_key(ada: Operator, zotero: ZoteroServer) -> None:
    zotero.records = [item(ONE)]
    read_daily(ada, "--daily")
    assert [row["api_key"] for row in ada.rows("zotero_libraries")] == [KEY]
    exported = ada.run("subscriber", "export", ADA)
    assert KEY not in exported.out
    assert json.loads(exported.out)["tables"]["zotero_libraries"][0]["api_key"] == "(kept secret)"
    ended = ada.run("subscriber", "import", ADA, "--no-daily")
    assert (ended.code, ended.out) == (0, "their Zotero library is no longer read\n")
    assert ada.rows("zotero_libraries") == []
    again = ada.run("subscriber", "import", ADA, "--no-daily")
    assert again.out == "none was read daily\n"
    assert a_day_later(ada) == "0 libraries read"
    assert ada.liked() == [ONE]


def test_without_daily_no_key_is_stored(ada: Operator, zotero: ZoteroServer) -> None:
    zotero.records = [item(ONE)]
    assert read_daily(ada).code == 0
    assert ada.rows("zotero_libraries") == []


def test_daily_needs_a_key_and_a_wrong_one_is_not_stored(
    ada: Operator, zotero: ZoteroServer
) -> None:
    assert ada.run("subscriber", "import", ADA, "--daily").code == 2
    zotero.status = 403
    ended = read_daily(ada, "--daily")
    assert ended.code == 3
    assert KEY not in ended.out + ended.err
    assert ada.rows("zotero_libraries") == []
