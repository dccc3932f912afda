"""What the doctor sees, says and leaves alone."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

import triage.operations.doctor
import triage.store.engine.file_system
from tests.support.doctor_world import ARXIV, BOTH, Server, installation, mailing, web, well
from tests.support.factories import DAY, NOON, paper
from tests.support.installation import SPOILT, UNMAILABLE, add_papers, add_reader, spoil
from tests.support.web_world import everything
from triage import store
from triage.app.application import App, open_app
from triage.cli import cli
from triage.digest.nightly import Composed
from triage.domain.records import Slate, SubscriberState, Verdict
from triage.domain.source_records import SourceDay
from triage.operations.doctor import TIMEOUT_S, Finding, Level, ProbeFailed, Reply, exit_code
from triage.operations.doctor.dns_records import is_loopback
from triage.store import health
from triage.store.engine.file_system import file_system


@pytest.fixture(autouse=True)
def _a_busy_machine_is_given_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triage.operations.doctor, "TIMEOUT_S", 60)


def findings(app: App, **others: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in app.run_doctor(well(**others))}


# -- the whole -------------------------------------------------------------------------------------


def test_a_new_installation_is_well(tmp_path: Path) -> None:
    found = installation(tmp_path, BOTH).run_doctor(well())
    assert {f.level for f in found if f.name != "database version"} == {
        Level.OK,
        Level.NOT_APPLICABLE,
    }
    assert exit_code(found) == 0
    assert len({f.name for f in found}) == len(found)


def test_whatever_is_not_well_comes_with_a_fix(tmp_path: Path) -> None:
    app = mailing(
        installation(tmp_path, BOTH), Server(security="none"), "http://papers.example.org"
    )
    (tmp_path / "secret_key").chmod(0o644)
    (tmp_path / "triage.db").chmod(0o644)
    found = app.run_doctor(
        well(
            ask=lambda url, agent: Reply(404, NOON + timedelta(hours=2)), free_bytes=lambda path: 1
        ),
    )
    wrong = [f for f in found if f.level in (Level.WARNING, Level.RED)]
    assert {f.name for f in wrong} - {"database version"} == {
        "secret",
        "database place",
        "clock",
        "mail",
        "base_url",
        "source arxiv",
        "source hf_daily",
        "disk",
    }
    assert all(f.fix for f in wrong)
    assert exit_code(found) == 1


def test_looking_changes_nothing(tmp_path: Path) -> None:
    app = installation(tmp_path, BOTH)
    add_reader(app.database)
    before = everything(app.database)
    app.run_doctor(well())
    assert everything(app.database) == before
    assert {path.name for path in tmp_path.iterdir()} <= {
        "secret_key",
        "triage.db",
        "triage.db-shm",
        "triage.db-wal",
        "triage.toml",
    }


def test_what_never_answers_is_a_finding_and_not_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage.operations.doctor, "TIMEOUT_S", 0.3)
    done = threading.Event()

    def hang(*_: object) -> Any:
        done.wait(20)
        return Reply(200)

    app = mailing(installation(tmp_path, BOTH), Server())
    begin = time.monotonic()
    found = findings(app, ask=hang, greet=hang)
    taken = time.monotonic() - begin
    done.set()
    assert taken < 10
    for name in ("mail", "source arxiv", "source hf_daily"):
        assert found[name].level is Level.RED
        assert "no answer" in found[name].what
        assert found[name].fix
    assert found["clock"].level is Level.WARNING


def test_a_check_that_is_only_slow_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage.operations.doctor, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(health, "damage", lambda conn: time.sleep(1.8))
    found = findings(installation(tmp_path))["database integrity"]
    assert found.level is Level.WARNING
    assert "quiet hour" in found.fix


def test_it_is_over_within_fifteen_seconds() -> None:
    assert 2 * TIMEOUT_S < 15


# -- the secret and the database -------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["changeme-changeme-changeme-changeme", "brief", None])
def test_a_weak_or_missing_secret_is_red_and_a_config_error(
    tmp_path: Path, secret: str | None
) -> None:
    app = installation(tmp_path)
    (tmp_path / "secret_key").unlink()
    if secret is not None:
        (tmp_path / "secret_key").write_text(secret)
    found = app.run_doctor(well())
    [weak] = [f for f in found if f.name == "secret"]
    assert weak.level is Level.RED
    assert secret is None or secret not in weak.what
    assert exit_code(found) == 2


def test_a_secret_that_others_can_read_is_red(tmp_path: Path) -> None:
    app = installation(tmp_path)
    (tmp_path / "secret_key").chmod(0o640)
    found = findings(app)["secret"]
    assert found.level is Level.RED
    assert found.fix == f"chmod 600 {tmp_path / 'secret_key'}"


def test_a_secret_from_the_environment_has_no_file_to_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = installation(tmp_path)
    (tmp_path / "secret_key").chmod(0o644)
    monkeypatch.setenv("TRIAGE_SECRET_KEY", "kLq8Zp2VtR7wXy4NbM1cFh6JdG3sAe9u")
    assert findings(app)["secret"].level is Level.OK


def test_a_missing_database_is_red_and_is_not_created(tmp_path: Path) -> None:
    app = installation(tmp_path)
    (tmp_path / "triage.db").unlink()
    found = findings(app)
    assert found["database"].level is Level.RED
    assert "triage db upgrade" in found["database"].fix
    assert "database journal" not in found
    assert not (tmp_path / "triage.db").exists()


def test_a_database_without_tables_or_from_the_future_is_red(tmp_path: Path) -> None:
    app = installation(tmp_path)
    with app.database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "newer than this program" in findings(app)["database"].what
    with app.unchecked_database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0011'"))
    assert "was never released" in findings(app)["database"].what
    with app.unchecked_database.write() as conn:
        conn.execute(text("DROP TABLE alembic_version"))
    assert "no tables" in findings(app)["database"].what


def test_a_file_that_is_no_database_is_red(tmp_path: Path) -> None:
    app = installation(tmp_path)
    (tmp_path / "triage.db").write_bytes(b"not a database at all" * 500)
    found = findings(app)["database"]
    assert found.level is Level.RED
    assert "damaged" in found.what


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    app = installation(tmp_path)
    content = bytearray((tmp_path / "triage.db").read_bytes())
    with app.database.read() as conn:
        size = conn.scalar(text("PRAGMA page_size"))
        page = conn.scalar(text("SELECT rootpage FROM sqlite_master WHERE name = 'quarantine'"))
    app.database.close()
    assert size
    assert page
    content[(page - 1) * size : page * size] = b"\xff" * size
    (tmp_path / "triage.db").write_bytes(content)
    found = findings(app)["database integrity"]
    assert found.level is Level.RED
    assert "back-up" in found.fix


def test_a_database_that_another_program_holds_is_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage.operations.doctor, "TIMEOUT_S", 1.5)
    app = installation(tmp_path)
    other = open_app(tmp_path / "triage.toml").database
    with other.write():
        found = findings(app)
    assert found["database writable"].level is Level.RED
    assert "no answer" in found["database writable"].what
    assert found["database"].level is Level.OK


def test_a_database_on_a_network_file_system_is_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation(tmp_path).close()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"tmpfs / tmpfs rw 0 0\nserver:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(triage.store.engine.file_system, "_MOUNTS", mounts)
    found = findings(open_app(tmp_path / "triage.toml"))["database"]
    assert found.level is Level.RED
    assert "nfs4" in found.what


def test_the_longest_mount_says_where_a_file_lies() -> None:
    mounts = "/dev/a / ext4 rw 0 0\nx:/y /srv nfs rw 0 0\n/dev/b /srv/my\\040db xfs rw 0 0\nbad\n"
    assert file_system(Path("/data/a"), mounts) == "ext4"
    assert file_system(Path("/srv/a"), mounts) == "nfs"
    assert file_system(Path("/srv/my db/a"), mounts) == "xfs"
    assert file_system(Path("/srvx"), mounts) == "ext4"


def test_a_model_that_cannot_be_loaded_is_a_warning_for_mail_still_goes_out(tmp_path: Path) -> None:
    app = installation(tmp_path)
    with app.database.write() as conn:
        store.model_versions.promote(conn, "cold-2", "encoder-gone", "test", NOON)
    found = findings(app)["models"]
    assert found.level is Level.WARNING
    assert "triage train" in found.fix


def test_unknown_zones_are_counted_and_nobody_is_named(tmp_path: Path) -> None:
    app = installation(tmp_path)
    add_reader(app.database, 1, zone="Europe/Berlin")
    assert findings(app)["time zones"].level is Level.OK
    add_reader(app.database, 2, zone="Mars/Olympus")
    found = findings(app)["time zones"]
    assert found.level is Level.WARNING
    assert "1 subscriber" in found.what
    assert "Mars/Olympus" in found.what
    assert "@" not in found.what


# -- subscribers with a trouble of their own -------------------------------------------------------


def test_who_is_well_is_not_named(tmp_path: Path) -> None:
    app = installation(tmp_path)
    assert findings(app)["subscribers"].level is Level.OK
    add_reader(app.database, 1, zone="Europe/Berlin", email="u@xn--bcher-kva.example")
    add_reader(app.database, 2, email="u@bücher2.example")
    found = findings(app)["subscribers"]
    assert (found.level, found.what) == (Level.OK, "2 active, and digests can go to all of them")


@pytest.mark.parametrize("email", UNMAILABLE)
def test_each_active_subscriber_whom_no_mail_can_reach_is_named(tmp_path: Path, email: str) -> None:
    app = installation(tmp_path)
    add_reader(app.database, 1)
    add_reader(app.database, 2, email=email)
    add_reader(app.database, 3, email="käse3@example.org")
    add_reader(app.database, 4, email="käse4@example.org", state=SubscriberState.UNSUBSCRIBED)
    found = findings(app)["subscribers"]
    assert found.level is Level.RED
    assert f"{email}: no mail can go to this address: " in found.what
    assert "käse3@example.org: " in found.what
    assert "käse4" not in found.what
    assert "reader1@" not in found.what


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "Europe", "../UTC", "America/Coyhaique2"])
def test_who_is_in_an_unknown_zone_is_named_and_stops_no_mail(tmp_path: Path, zone: str) -> None:
    app = installation(tmp_path)
    add_reader(app.database, 1)
    add_reader(app.database, 2, zone=zone)
    found = findings(app)["subscribers"]
    assert found.level is Level.RED
    assert found.what == f"reader2@example.org: {zone!r} is not known, so digests come by UTC"


@pytest.mark.parametrize("trouble", SPOILT)
def test_who_has_a_row_that_cannot_be_read_is_named(tmp_path: Path, trouble: str) -> None:
    app = installation(tmp_path)
    for n in range(1, 4):
        add_reader(app.database, n)
    spoil(app.database, "reader2@example.org", *SPOILT[trouble])
    found = findings(app)
    assert found["subscribers"].level is Level.RED
    assert found["subscribers"].what.startswith(
        "reader2@example.org: the row in the database cannot be read ("
    )
    assert "reader1@" not in found["subscribers"].what
    assert found["database"].level is Level.OK


def test_whose_digest_failed_is_named_until_it_was_made(tmp_path: Path) -> None:
    app = installation(tmp_path)
    add_papers(app.database, [paper(n) for n in range(1, 9)])
    readers = [add_reader(app.database, n, interests="drafts") for n in (1, 2, 3)]
    compose = app.build_message

    def fails_for_two(slate: Slate, now: datetime, **more: Any) -> Composed:
        if slate.subscriber.id == readers[1].id:
            raise RuntimeError("a template without a text")
        return compose(slate, now, **more)

    app.build_message = fails_for_two  # type: ignore[method-assign]
    app.new_nightly().queue(DAY)
    found = findings(app)["subscribers"]
    assert found.level is Level.RED
    said = "reader2@example.org: the last digest could not be made: a template without a text"
    assert found.what == said
    app.build_message = compose  # type: ignore[method-assign]
    app.new_nightly().queue(DAY)
    assert findings(app)["subscribers"].level is Level.OK


def test_a_nearly_full_disk_is_red(tmp_path: Path) -> None:
    app = installation(tmp_path)
    assert findings(app, free_bytes=lambda path: 499_000_000)["disk"].level is Level.RED
    assert findings(app, free_bytes=lambda path: 501_000_000)["disk"].level is Level.OK


# -- the clock -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "age_s", "level"),
    [
        (0, 0, Level.OK),
        (59, 0, Level.OK),
        (-59, 0, Level.OK),
        (61, 0, Level.RED),
        (-61, 0, Level.RED),
        (-600, 590, Level.OK),  # a cache kept the answer for ten minutes
        (-600, 300, Level.RED),
        (600, 600, Level.RED),
    ],
)
def test_a_source_tells_the_time(tmp_path: Path, seconds: int, age_s: float, level: Level) -> None:
    reply = Reply(200, NOON + timedelta(seconds=seconds), age_s)
    found = findings(installation(tmp_path, ARXIV), ask=lambda url, agent: reply)
    assert found["clock"].level is level


def test_one_server_with_a_wrong_clock_is_not_our_fault(tmp_path: Path) -> None:
    def ask(url: str, agent: str) -> Reply:
        return Reply(200, NOON if "arxiv" in url else NOON - timedelta(days=1))

    assert findings(installation(tmp_path, BOTH), ask=ask)["clock"].level is Level.OK


def test_a_clock_that_nobody_confirms_is_a_warning(tmp_path: Path) -> None:
    found = findings(installation(tmp_path, ARXIV), ask=lambda url, agent: Reply(200))
    assert found["clock"].level is Level.WARNING


def test_a_clock_behind_the_database_is_red_with_no_source_at_all(tmp_path: Path) -> None:
    app = installation(tmp_path)
    with app.database.write() as conn:
        store.jobs.begin_run(conn, NOON.date(), NOON + timedelta(hours=3))
    assert findings(app)["clock"].level is Level.RED
    assert "3.0 hours behind" in findings(app)["clock"].what
    found = findings(app, is_synchronized=lambda: True)["clock"]
    assert found.level is Level.WARNING
    assert "the clock was wrong once" in found.what


def test_what_a_wrong_clock_has_left_is_a_warning_once_the_clock_is_right(tmp_path: Path) -> None:
    app = installation(tmp_path, ARXIV)
    with app.database.write() as conn:
        store.jobs.begin_run(conn, NOON.date(), NOON + timedelta(days=400))
    found = findings(app, ask=lambda url, agent: Reply(200, NOON))["clock"]
    assert found.level is Level.WARNING
    assert "set aside" in found.fix
    wrong = NOON - timedelta(hours=1)
    assert findings(app, ask=lambda url, agent: Reply(200, wrong))["clock"].level is Level.RED
    assert findings(app, ask=lambda url, agent: Reply(200))["clock"].level is Level.RED


# -- sources ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (200, Level.OK),
        (304, Level.OK),
        (429, Level.WARNING),
        (503, Level.WARNING),
        (404, Level.RED),
        (403, Level.RED),
    ],
)
def test_a_sources_answer_is_judged(tmp_path: Path, status: int, level: Level) -> None:
    app = installation(tmp_path, ARXIV)
    found = findings(app, ask=lambda url, agent: Reply(status, NOON))["source arxiv"]
    assert found.level is level
    assert bool(found.fix) == (level is not Level.OK)


def test_each_enabled_source_is_asked_once_and_knows_who_asks(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def ask(url: str, agent: str) -> Reply:
        asked.append((url, agent))
        return Reply(200, NOON)

    findings(installation(tmp_path, BOTH), ask=ask)
    assert sorted(url for url, _ in asked) == [
        "https://huggingface.co/api/daily_papers",
        "https://rss.arxiv.org/rss/cs.CL+cs.LG",
    ]
    assert all("triage/" in agent and "mailto:" in agent for _, agent in asked)


@pytest.mark.parametrize(
    ("n_open", "level"), [(0, Level.OK), (2, Level.OK), (3, Level.WARNING), (9, Level.WARNING)]
)
def test_a_source_that_gave_no_whole_day_for_long_is_named(
    tmp_path: Path, n_open: int, level: Level
) -> None:
    app = installation(tmp_path, BOTH)
    due = [day for n in range(20) if (day := DAY - timedelta(days=n)).weekday() < 5]
    with app.database.write() as conn:
        days = [SourceDay("arxiv", on, Verdict.FAILED, None, 0, "503") for on in due[:n_open]]
        days += [SourceDay("arxiv", on, Verdict.COMPLETE, 9, 9) for on in due[n_open:]]
        days += [SourceDay("hf_daily", on, Verdict.COMPLETE, 9, 9) for on in due]
        store.sources.save_days(conn, days, NOON)
    found = {finding.name: finding for finding in app.run_doctor(well())}
    assert found["days of hf_daily"].level is Level.OK
    arxiv = found["days of arxiv"]
    assert arxiv.level is level
    if level is Level.WARNING:
        assert f"since {due[n_open]}, {n_open} announcements ago: 503" in arxiv.what
        assert "triage fetch --source arxiv" in arxiv.fix


def test_a_source_that_was_never_read_has_no_days_to_judge(tmp_path: Path) -> None:
    found = {f.name: f for f in installation(tmp_path, BOTH).run_doctor(well())}
    assert "run `triage fetch`" in found["days of arxiv"].what


def test_arxiv_without_categories_is_a_warning_and_no_source_at_all_is_fine(tmp_path: Path) -> None:
    assert findings(installation(tmp_path))["sources"].level is Level.WARNING
    app = installation(tmp_path, "[sources.arxiv]\nenabled = false\n")
    assert findings(app)["sources"].level is Level.NOT_APPLICABLE


# -- mail ------------------------------------------------------------------------------------------


def test_mail_in_files_needs_a_folder_that_can_be_written(tmp_path: Path) -> None:
    app = installation(tmp_path)
    assert findings(app)["mail"].level is Level.OK
    assert findings(app)["base_url"].level is Level.NOT_APPLICABLE
    (tmp_path / "mail").write_text("a file where the folder should be")
    assert findings(app)["mail"].level is Level.RED


@pytest.mark.parametrize(
    ("base_url", "host", "level"),
    [
        ("https://papers.example.org", "mail.example.org", Level.OK),
        ("http://papers.example.org", "mail.example.org", Level.RED),
        ("http://127.0.0.1:8000", "mail.example.org", Level.WARNING),
        ("http://papers.example.org", "127.0.0.1", Level.NOT_APPLICABLE),
    ],
)
def test_links_must_be_https_once_mail_leaves_the_machine(
    tmp_path: Path, base_url: str, host: str, level: Level
) -> None:
    app = mailing(installation(tmp_path), Server(host), base_url)
    assert findings(app)["base_url"].level is level


def test_with_votes_by_mail_no_address_of_pages_is_needed(tmp_path: Path) -> None:
    server = Server(votes="mailto", bounces="bounces@example.org")
    app = mailing(installation(tmp_path), server, "http://127.0.0.1:8000")
    found = findings(app)
    for name in ("base_url", "one-click"):
        assert found[name].level is Level.NOT_APPLICABLE
    assert found["votes"].level is Level.WARNING
    assert "no mailbox" in found["votes"].what


@pytest.mark.parametrize(
    ("server", "bounces", "level"),
    [
        (Server(), {}, Level.NOT_APPLICABLE),
        (Server(votes="both", bounces="b@example.org"), {"maildir": "votes"}, Level.OK),
        (Server(votes="mailto", bounces="b@example.org"), {"imap_host": "imap.x"}, Level.OK),
        (Server(votes="mailto", bounces="b@localhost"), {"imap_host": "imap.x"}, Level.RED),
        (Server(votes="mailto"), {"imap_host": "imap.x"}, Level.RED),
        (Server("localhost", votes="mailto"), {"maildir": "votes"}, Level.OK),
        (Server(votes="mailto", transport="maildir"), {"maildir": "votes"}, Level.OK),
    ],
)
def test_votes_by_mail_need_an_address_that_mail_reaches_and_a_mailbox_that_is_read(
    tmp_path: Path, server: Server, bounces: dict[str, str], level: Level
) -> None:
    app = mailing(installation(tmp_path), server)
    read = app.settings.bounces.model_copy(update=bounces)
    app.settings = app.settings.model_copy(update={"bounces": read})
    assert findings(app)["votes"].level is level


def test_a_sender_without_a_domain_is_red(tmp_path: Path) -> None:
    app = installation(tmp_path)
    found = findings(mailing(app, Server(sender="triage <triage@localhost>")))
    assert found["sender"].level is Level.RED
    found = findings(mailing(app, Server("localhost", sender="triage@localhost")))
    assert found["sender"].level is Level.NOT_APPLICABLE


def test_mail_in_the_clear_is_a_warning_unless_it_stays_here(tmp_path: Path) -> None:
    app = installation(tmp_path)
    levels = [
        findings(mailing(app, Server(host, security="none")))["mail"].level
        for host in ("mail.example.org", "localhost")
    ]
    assert levels == [Level.WARNING, Level.OK]


def test_a_mail_server_that_is_only_busy_is_a_warning(tmp_path: Path) -> None:
    def greet(server: object, password: str | None) -> str:
        raise ProbeFailed("answers 421 too busy", "try later", is_temporary=True)

    found = findings(mailing(installation(tmp_path), Server()), greet=greet)["mail"]
    assert (found.level, found.fix) == (Level.WARNING, "try later")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.3", True),
        ("[::1]", True),
        ("::1", True),
        ("a.localhost", True),
        ("example.org", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_its_names(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# -- the command -----------------------------------------------------------------------------------


def doctor(folder: Path, *options: str) -> Any:
    return CliRunner().invoke(cli, ["--config", str(folder / "triage.toml"), "doctor", *options])


def test_the_command_prints_a_table_with_fixes_and_ends_with_0(tmp_path: Path) -> None:
    installation(tmp_path)
    result = doctor(tmp_path)
    assert result.exit_code == 0, result.output
    assert "time zones" in result.output
    assert "fix: set `categories`" in result.output
    assert "0 red" in result.output


def test_the_command_ends_with_1_when_something_is_red_and_tells_it_as_json(tmp_path: Path) -> None:
    with web(headers_sent={"Date": format_datetime(datetime(2020, 1, 1, tzinfo=UTC))}) as (url, _):
        installation(tmp_path, f'{ARXIV}rss_url = "{url}"\n')
        result = doctor(tmp_path, "--json")
    rows = json.loads(result.output)
    assert result.exit_code == 1
    assert {tuple(row) for row in rows} == {("name", "level", "what", "fix")}
    by_name = {row["name"]: row for row in rows}
    assert by_name["clock"]["level"] == "red"
    assert by_name["source arxiv"]["level"] == "ok"
