"""Which database the tests work with: `--database=sqlite`, the default, or `postgresql`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from triage.resources import example_config
from triage.store import Database, open_database
from triage.store.migrate import upgrade

NAME = "triage.db"
KINDS = ("sqlite", "postgresql")

_chosen = "sqlite"
_until_the_tests_end = ExitStack()


def choose(kind: str) -> None:
    """Let all tests of this process work with that kind of database."""
    global _chosen
    _chosen = kind


def on_postgres() -> bool:
    return _chosen == "postgresql"


@lru_cache(maxsize=1)
def migrated_file() -> bytes:
    """Return an empty SQLite database as the migrations make it; once for all tests."""
    with TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/{NAME}")
        upgrade(database)
        database.close()
        return (Path(folder) / NAME).read_bytes()


@contextmanager
def migrated_url(folder: Path) -> Iterator[str]:
    """Yield the address of a new database, as the migrations make it; a file lies in `folder`."""
    if on_postgres():
        from tests.support import postgres

        with postgres.migrated_url() as url:
            yield url
    else:
        (folder / NAME).write_bytes(migrated_file())
        yield f"sqlite:///{folder / NAME}"


@contextmanager
def installed(folder: Path) -> Iterator[Database]:
    """Yield a new open database, as the migrations make it; a file lies in `folder`."""
    with migrated_url(folder) as url:
        database = open_database(url)
        try:
            yield database
        finally:
            database.close()


@contextmanager
def url_without_tables(folder: Path) -> Iterator[str]:
    """Yield the address of a new database that has no tables."""
    if on_postgres():
        from tests.support import postgres

        with postgres.copy_of("template1") as url:
            yield url
    else:
        yield f"sqlite:///{folder / NAME}"


@contextmanager
def url_of_copy(original: str, folder: Path) -> Iterator[str]:
    """Yield the address of a copy of a database that nobody uses now."""
    if on_postgres():
        from tests.support import postgres

        with postgres.copy_of(postgres.name_of(original)) as url:
            yield url
    else:
        shutil.copyfile(original.removeprefix("sqlite:///"), folder / NAME)
        yield f"sqlite:///{folder / NAME}"


@contextmanager
def opened_copy(original: str, folder: Path) -> Iterator[Database]:
    """Yield an open copy of a database that nobody uses now."""
    with url_of_copy(original, folder) as url:
        database = open_database(url)
        try:
            yield database
        finally:
            database.close()


@contextmanager
def without_tables(folder: Path) -> Iterator[Database]:
    """Yield a new open database that has no tables."""
    with url_without_tables(folder) as url:
        database = open_database(url)
        try:
            yield database
        finally:
            database.close()


def new_database(folder: Path) -> Database:
    """Return a new open database, which is closed at the end of the test."""
    return _until_the_tests_end.enter_context(installed(folder))


def config_naming(url: str) -> str:
    """Return the example config with this database in it."""
    default = 'url = "sqlite:///triage.db"'
    text = example_config()
    assert default in text
    return text.replace(default, f'url = "{url}"')


def end_of_test() -> None:
    _until_the_tests_end.close()
