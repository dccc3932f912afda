"""Every older schema becomes the newest one, wholly or not at all, and with all that is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import text

from tests.databases import NAME, config_naming, on_postgres, url_of_copy, url_without_tables
from tests.fakes import FakeMailer, StoppedClock
from tests.guarantees import Guarantee
from tests.migrating import PAST, content, fill_old, upgrade_to
from tests.senders import forking
from triage.app import open_app
from triage.audit import audit
from triage.cli import cli
from triage.errors import SchemaError
from triage.migrate import _config, differences, revision_of, upgrade
from triage.records import MessageState
from triage.store import Database, open_database
from triage.tables import SCHEMA_REVISION

REVISIONS = sorted(
    script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()
)
RELEASED = [revision for revision in REVISIONS if revision < SCHEMA_REVISION]


@cache
def file_at(revision: str) -> bytes:
    """Return an empty SQLite database of an older schema, made by one step from the one before."""
    number = REVISIONS.index(revision)
    with TemporaryDirectory() as folder:
        file = Path(folder) / NAME
        if number:
            file.write_bytes(file_at(REVISIONS[number - 1]))
        database = open_database(f"sqlite:///{file}")
        upgrade_to(database, revision)
        database.close()
        return file.read_bytes()


@contextmanager
def database_at(revision: str, folder: Path) -> Iterator[tuple[str, Database]]:
    """Yield a database as an older program left it."""
    folder.mkdir(exist_ok=True)
    with url_without_tables(folder) as url:
        if not on_postgres():
            (folder / NAME).write_bytes(file_at(revision))
        database = open_database(url)
        upgrade_to(database, revision)
        fill_old(database)
        try:
            yield url, database
        finally:
            database.close()


@pytest.mark.guarantee("R40")
@pytest.mark.parametrize("revision", RELEASED)
def test_what_an_older_program_left_is_all_there_and_its_books_balance(
    tmp_path: Path, revision: str, guarantee: Guarantee
) -> None:
    with database_at(revision, tmp_path) as (_, database):
        before = content(database)
        assert before["messages"] == len(PAST)
        upgrade(database)
        assert content(database) == before
        assert differences(database) == []
        found = audit(database)
        assert found.faults == ()
        assert sum(counts["due"] for counts in found.days.values()) == len(PAST)
        if database.is_file:
            with database.read() as conn:
                assert conn.execute(text("PRAGMA foreign_key_check")).all() == []
    guarantee.record(n_schemas_upgraded=len(RELEASED))


@pytest.mark.guarantee("R40")
def test_an_upgrade_that_is_killed_leaves_the_old_schema_or_the_new_one(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    n_kills = 50 if guarantee.full else 2
    left = {"old": 0, "new": 0}
    n_statements = 0
    wrong: list[str] = []
    revisions = RELEASED if guarantee.full else RELEASED[:: len(RELEASED) // 2]
    for n, revision in enumerate(revisions):
        folder = tmp_path / revision
        (folder / "work").mkdir(parents=True)
        result = folder / "result"
        with database_at(revision, folder) as (template, database):
            database.close()
            with url_of_copy(template, folder / "work") as url:
                ended = forking().run(
                    "tests.migrating.campaign",
                    url=url,
                    template=template,
                    n_kills=n_kills,
                    seed=n,
                    result=str(result),
                )
                assert ended == 0
                survivor = open_database(url)
                assert differences(survivor) == []
                assert audit(survivor).faults == ()
                survivor.close()
        told = json.loads(result.read_text())
        left = {name: left[name] + told[name] for name in left}
        wrong += [f"{revision}: {each}" for each in told["wrong"]]
        n_statements += told["n_statements"]
    kind = "postgresql" if on_postgres() else "sqlite"
    guarantee.record(
        **{
            f"n_kills_{kind}": n_kills * len(revisions),
            f"n_left_old_{kind}": left["old"],
            f"n_left_new_{kind}": left["new"],
            f"n_left_neither_{kind}": len(wrong),
        },
        n_statements_of_all_upgrades=n_statements,
    )
    assert wrong == []
    assert left["old"] + left["new"] == n_kills * len(revisions)
    assert left["old"] > 0


@pytest.mark.guarantee("R40")
def test_the_database_of_an_unknown_program_sends_nothing(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    with database_at(SCHEMA_REVISION, tmp_path) as (url, database):
        (tmp_path / "triage.toml").write_text(config_naming(url))
        mailer = FakeMailer()
        for unknown in ("9999", "0000"):
            with database.write() as conn:
                conn.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": unknown})
            app = open_app(tmp_path / "triage.toml", clock=StoppedClock(), mailer=mailer)
            with pytest.raises(SchemaError):
                app.outbox()
            app.close()
        assert mailer.sent == []
    guarantee.record(n_sent_at_unknown_schemas=len(mailer.sent))


@pytest.mark.guarantee("R40")
@pytest.mark.sqlite("a server is copied with its own tools")
def test_an_upgrade_begins_with_a_back_up(tmp_path: Path, guarantee: Guarantee) -> None:
    old = RELEASED[-1]
    with database_at(old, tmp_path) as (_, database):
        before = content(database)
    config = tmp_path / "triage.toml"
    config.write_text("")
    said = CliRunner().invoke(cli, ["--config", str(config), "db", "upgrade"])
    assert said.exit_code == 0, said.output
    [copy] = (tmp_path / "backups").iterdir()
    assert copy.name in said.output
    kept, upgraded = (
        open_database(f"sqlite:///{copy}"),
        open_database(f"sqlite:///{tmp_path}/{NAME}"),
    )
    assert (revision_of(kept), content(kept)) == (old, before)
    assert revision_of(upgraded) == SCHEMA_REVISION
    kept.close()
    upgraded.close()
    # At the newest schema there is nothing to copy.
    CliRunner().invoke(cli, ["--config", str(config), "db", "upgrade"])
    assert len(list((tmp_path / "backups").iterdir())) == 1
    guarantee.record(n_upgrades_without_back_up=0)


def test_old_digests_are_in_every_state_that_there_was() -> None:
    assert {state for state, *_ in PAST} == {*map(str, MessageState)} - {"planned", "held"}
