"""Whoever makes the blocks of a night, and whoever dies meanwhile: the same digests, each once."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import databases
from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import fetched, rows, take_in
from triage import store
from triage.app import engine
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli.demo.story import PAPERS
from triage.digest import nightly
from triage.domain.protocols import silent
from triage.domain.records import EventKind
from triage.ranking.shortlist import LARGE
from triage.sources.files.detect import open_source
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

if TYPE_CHECKING:
    from distributed import LocalCluster

N_READERS = 24
SIZE = 4
"""So small are the blocks here that each worker makes several."""
INTERESTS = (
    "large language models that reason",
    "3D Gaussian splatting; novel view synthesis",
    "medical image segmentation",
    "robot manipulation; diffusion policies",
    "",
)


@dataclass(frozen=True)
class World:
    """An installation whose papers are encoded and whose readers have voted.

    Attributes:
        night: what one process makes of it.
    """

    folder: Path
    url: str
    night: list[dict[str, Any]]


def fill(app: App, n_readers: int) -> None:
    """Add more papers than are scored whole, and readers who liked none to sixty of them."""
    own = [paper for batch in open_source(PAPERS, DAY).fetch(None) for paper in batch.papers]
    ours = [
        replace(paper, source="arxiv", source_id=f"2603.{n:05d}", listed_on=DAY)
        for n, paper in enumerate(own, start=1)
    ]
    pairs = [(own[n], own[-7 * n % len(own)]) for n in range(1, LARGE + 100 - len(own))]
    mixed = [
        fetched(
            len(own) + n,
            title=f"{one.title[:40]} and {other.title[-40:]}",
            abstract=one.abstract[:400] + other.abstract[400:],
            authors=other.authors,
        )
        for n, (one, other) in enumerate(pairs, start=1)
    ]
    take_in(app.database, [*ours, *mixed])
    with app.database.read() as conn:
        assert store.papers.count(conn) > LARGE
    rng = random.Random(27)  # noqa: S311 - a test's own dice
    for n in range(n_readers):
        wanted = SubscriberPreferences(interests=INTERESTS[n % len(INTERESTS)])
        reader = add(app.database, f"reader{n}@example.org", app.clock, wanted).subscriber
        with app.database.write() as conn:
            for row in rng.sample(range(1, LARGE), (0, 1, 10, 60)[n % 4]):
                kind = EventKind.VOTE_DOWN if row % 5 == 0 else EventKind.VOTE_UP
                event = store.events.Event(reader.id, row, kind, at=NOON, recorded_at=NOON)
                store.events.append(conn, event)
    app.new_nightly()._encode(DAY, silent)


@contextmanager
def made_world(folder: Path, n_readers: int) -> Iterator[World]:
    with databases.url_without_tables(folder) as url:
        config, _ = create_installation(folder, databases.config_naming(url))
        app = open_app(config, clock=StoppedClock())
        fill(app, n_readers)
        app.close()
        alone = folder.with_name("alone")
        with copied(World(folder, url, []), alone, "workers = 1") as one, small_blocks():
            assert one.new_nightly().queue(DAY).problems == ()
            yield World(folder, url, night_of(one))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made_world(tmp_path_factory.mktemp("world") / "it", N_READERS) as made:
        yield made


@contextmanager
def on_postgres() -> Iterator[None]:
    """Make databases of PostgreSQL, whatever the others of this run are."""
    before = databases._chosen
    databases.choose("postgresql")
    try:
        yield
    finally:
        databases.choose(before)


@pytest.fixture(scope="module")
def world_on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        with on_postgres():
            made = made_world(tmp_path_factory.mktemp("world") / "it", N_READERS)
            world = stack.enter_context(made)
        yield world


@contextmanager
def copied(world: World, folder: Path, settings: str) -> Iterator[App]:
    """Yield a copy of an installation with these settings of its engine."""
    shutil.copytree(world.folder, folder, dirs_exist_ok=True)
    with databases.url_of_copy(world.url, folder) as url:
        text = databases.config_naming(url)
        head, _, tail = text.partition("[engine]\n")
        tail = tail.partition("[web]\n")[2]
        config = folder / "triage.toml"
        config.write_text(f"{head}[engine]\n{settings}\n[web]\n{tail}")
        app = open_app(config, clock=StoppedClock())
        try:
            yield app
        finally:
            app.close()


@contextmanager
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nightly, "BLOCK", SIZE)
        yield


@pytest.fixture(autouse=True)
def _small_blocks() -> Iterator[None]:
    with small_blocks():
        yield


def night_of(app: App) -> list[dict[str, Any]]:
    """Return what a night has stored for each reader, without the numbers of rows."""
    found = {
        each["id"]: {"slate": _without(each, "id"), "impressions": [], "interests": []}
        for each in rows(app.database, "slates")
    }
    of_reader = {each["slate"]["subscriber_id"]: each for each in found.values()}
    for each in rows(app.database, "impressions"):
        found[each["slate_id"]]["impressions"].append(_without(each, "id", "slate_id"))
    bodies = {each["message_id"]: each["mime"] for each in rows(app.database, "message_bodies")}
    for each in rows(app.database, "messages"):
        found[each["slate_id"]]["message"] = _without(each, "id", "slate_id")
        found[each["slate_id"]]["mime"] = bodies[each["id"]]
    for name in ("interests", "user_models"):
        for each in rows(app.database, name):
            of_reader[each["subscriber_id"]].setdefault(name, []).append(each)
    return [of_reader[who] for who in sorted(of_reader)]


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def check(app: App, world: World) -> None:
    found = night_of(app)
    assert [each["slate"]["subscriber_id"] for each in found] == [
        each["slate"]["subscriber_id"] for each in world.night
    ]
    assert found == world.night


# -- the same from everybody -----------------------------------------------------------------------


def test_one_process_makes_digests_of_a_large_pool_for_all(world: World) -> None:
    assert len(world.night) == N_READERS
    assert all(each["mime"] and each["impressions"] for each in world.night)
    assert sum("user_models" in each for each in world.night) > N_READERS / 3


def skip_unless_long(n: int, config: pytest.Config) -> None:
    if n > 2 and not config.getoption("--full"):
        pytest.skip("more workers are for the long form")


@pytest.mark.parametrize("n", [2, 4])
def test_processes_store_what_one_process_stores(
    world: World, tmp_path: Path, n: int, pytestconfig: pytest.Config
) -> None:
    skip_unless_long(n, pytestconfig)
    with copied(world, tmp_path, f"workers = {n}") as app:
        queued = app.new_nightly().queue(DAY)
        assert (queued.made, queued.problems) == (N_READERS, ())
        check(app, world)
        assert app.new_nightly().queue(DAY).made == 0


@contextmanager
def on_cluster(world: World, folder: Path, n: int) -> Iterator[tuple[App, LocalCluster]]:
    """Yield a copy of an installation that has a cluster of `n` processes on this machine."""
    from distributed import LocalCluster

    # What Dask's own commands start on several machines.
    started = LocalCluster(
        n_workers=n, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )
    settings = f'kind = "dask"\naddress = "{started.scheduler_address}"'
    with started, on_postgres(), copied(world, folder, settings) as app:
        yield app, started


@pytest.mark.any_database("it has a PostgreSQL of its own")
@pytest.mark.parametrize("n", [2, 4])
def test_a_dask_cluster_stores_what_one_process_stores(
    world_on_postgres: World, tmp_path: Path, n: int, pytestconfig: pytest.Config
) -> None:
    skip_unless_long(n, pytestconfig)
    with on_cluster(world_on_postgres, tmp_path, n) as (app, _):
        queued = app.new_nightly().queue(DAY)
        assert (queued.made, queued.problems) == (N_READERS, ())
        check(app, world_on_postgres)


# -- deaths ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_night(
    tmp_path_factory: pytest.TempPathFactory, world: World, pytestconfig: pytest.Config
) -> Iterator[World]:
    """Yield the world of a night that is long enough for all kills."""
    if not pytestconfig.getoption("--full"):
        yield world
        return
    with made_world(tmp_path_factory.mktemp("long") / "it", 9 * N_READERS) as made:
        yield made


@pytest.fixture
def _blameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no block be tried alone, by halves, because every worker dies; that has its own tests."""
    monkeypatch.setattr(engine, "MOST_TRIES", 1000)


# A worker makes a block, and dies in the middle of its second one: before that is stored, or after.
IN_MID_BLOCK = [f"composed:{SIZE + 1}", "queued:2"]


@pytest.mark.guarantee("R8")
@pytest.mark.usefixtures("_blameless")
@pytest.mark.parametrize("point", IN_MID_BLOCK)
def test_killed_workers_lose_and_double_nothing(
    long_night: World,
    tmp_path: Path,
    guarantee: Guarantee,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    starts: list[int] = []
    start = engine.start_processes
    monkeypatch.setattr(engine, "start_processes", lambda n: (starts.append(n), start(n))[1])
    monkeypatch.setenv("TRIAGE_KILL_AT", point)
    with copied(long_night, tmp_path, "workers = 2") as app:
        assert app.new_nightly().queue(DAY).problems == ()
        check(app, long_night)
    # Every pool but the last one was lost with a worker.
    n_kills = len(starts) - 1
    assert n_kills >= (25 if guarantee.full else 2)
    when = "before" if point == IN_MID_BLOCK[0] else "after"
    guarantee.record(**{f"workers_killed_{when}_storing_a_block": n_kills})


@pytest.mark.any_database("it has a PostgreSQL of its own")
@pytest.mark.usefixtures("_blameless")
@pytest.mark.parametrize("point", IN_MID_BLOCK)
def test_killed_workers_of_a_dask_cluster_lose_and_double_nothing(
    world_on_postgres: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    pytestconfig: pytest.Config,
) -> None:
    if point != IN_MID_BLOCK[0] and not pytestconfig.getoption("--full"):
        pytest.skip("the other place is for the long form")
    monkeypatch.setenv("TRIAGE_KILL_AT", point)
    with on_cluster(world_on_postgres, tmp_path, 2) as (app, started):
        before = {each.pid for each in started.workers.values()}
        assert app.new_nightly().queue(DAY).problems == ()
        check(app, world_on_postgres)
        assert before.isdisjoint(each.pid for each in started.workers.values())
