"""What was acknowledged is on the disk, and nobody who writes keeps another from writing."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import httpx
import pytest
from sqlalchemy import Connection, func, select, text
from structlog.testing import capture_logs

from tests.support.databases import NAME, installed, migrated_file
from tests.support.factories import NOON
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import ListedSource, fetched, rows, take_in
from tests.support.mail_rig import fill
from tests.support.senders import forking
from tests.support.web_world import StillSite, new_enrolment
from tests.support.writers import acknowledged
from tests.training.test_train import WORDS, show_and_hear, taste
from triage import store
from triage.cli.app_context import freeze_garbage_collector
from triage.clock import SystemClock
from triage.delivery.outbox import Outbox
from triage.delivery.preflight import warn_if_sqlite_is_unsafe
from triage.delivery.rate_limits import RateLimits
from triage.delivery.sender_context import SenderContext
from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.records import EventKind, OutgoingMessage
from triage.domain.source_records import Batch, FetchedPaper
from triage.errors import DatabaseError
from triage.papers.ingest import ingest
from triage.ranking.serving.model_store import ModelStore
from triage.store import Database, health, open_database
from triage.store.engine import checkpoint, file_system
from triage.store.engine import database as engine
from triage.store.tables import events, messages, slates, source_cursors, subscribers
from triage.training.train import train_in_words
from triage.web import create_app

MOUNTS = Path("/proc/mounts")

pytestmark = pytest.mark.sqlite("it is about its locks and its files")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


# -- connections -----------------------------------------------------------------------------------

PRAGMAS = {
    "busy_timeout": 10_000,
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "mmap_size": 0,
    "wal_autocheckpoint": 0,
}


@pytest.mark.guarantee("R36")
def test_every_connection_of_the_pool_is_durable(database: Database, guarantee: Guarantee) -> None:
    """Also those that the pool makes beyond its size, and those made again after all were shut."""
    n = wrong = 0
    for _ in range(2):
        held = [database.engine.connect().execution_options(triage_write=False) for _ in range(12)]
        for conn in held:
            found = {name: conn.scalar(text(f"PRAGMA {name}")) for name in PRAGMAS}
            wrong += found != PRAGMAS
            n += 1
        for conn in held:
            conn.close()
        database.engine.dispose()
    guarantee.record(n_connections_probed=n, n_connections_wrong=wrong)
    assert wrong == 0


def wal_size(tmp_path: Path) -> int:
    return (tmp_path / f"{NAME}-wal").stat().st_size


_numbers = count()


def write(database: Database, n: int = 20) -> None:
    for k in range(n):
        with database.write() as conn:
            # What is the same already is not written.
            store.sources.save_cursor(conn, f"source {k}", f"{next(_numbers):05000}", NOON)


def test_what_was_written_ahead_is_carried_over_and_cut_off(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "ENOUGH_BYTES", 100_000)
    monkeypatch.setattr(checkpoint, "AT_MOST_EVERY_S", 0.0)
    for _ in range(20):
        write(database)
        assert wal_size(tmp_path) < 250_000


def test_one_connection_at_a_time_does_that(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "ENOUGH_BYTES", 100_000)
    monkeypatch.setattr(checkpoint, "AT_MOST_EVERY_S", 0.0)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as another process would
    before = (tmp_path / NAME).stat().st_mtime_ns
    write(database, 200)
    assert wal_size(tmp_path) > 1_000_000
    assert (tmp_path / NAME).stat().st_mtime_ns == before
    os.close(folder)
    write(database, 2)
    assert (tmp_path / NAME).stat().st_mtime_ns != before
    write(database, 2)
    assert wal_size(tmp_path) < 250_000


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(file_system, "_MOUNTS", mounts)
    for kind in ("nfs4", "cifs", "fuse.sshfs", "9p"):
        mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n")
        with pytest.raises(DatabaseError, match=rf"network file system \({kind}\)"):
            open_database(f"sqlite:///{tmp_path / NAME}")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\n/dev/vdb {tmp_path} xfs rw 0 0\n")
    open_database(f"sqlite:///{tmp_path / NAME}").close()
    mounts.unlink()
    open_database(f"sqlite:///{tmp_path / NAME}").close()


@pytest.mark.parametrize(("sound", "n_warnings"), [((1, 0, 0), 0), ((99, 0, 0), 1)])
def test_at_the_start_an_old_sqlite_is_warned_of(
    database: Database, monkeypatch: pytest.MonkeyPatch, sound: tuple[int, ...], n_warnings: int
) -> None:
    monkeypatch.setattr(health, "SOUND_SQLITE", sound)
    with capture_logs() as said:
        warn_if_sqlite_is_unsafe(database)
    assert [line["log_level"] for line in said] == ["warning"] * n_warnings


# -- kills -----------------------------------------------------------------------------------------


def missing(database: Database, said: list[dict[str, Any]]) -> int:
    """Return how much of what was acknowledged is not there."""
    with database.read() as conn:
        voted = {row["n"] for row in conn.scalars(select(events.c.evidence))}
        cursors = {int(value) for value in conn.scalars(select(source_cursors.c.cursor))}
        n_sent = conn.scalar(select(func.count()).where(messages.c.state == "sent")) or 0
    n = len({each["vote"] for each in said if "vote" in each} - voted)
    newest: dict[int, int] = {}
    for each in said:
        if "cursor" in each:
            newest[each["cursor"] % 5] = max(each["cursor"], newest.get(each["cursor"] % 5, 0))
    n += sum(value > max(c for c in cursors if c % 5 == k) for k, value in newest.items())
    return n + max(sum(each.get("state") == "sent" for each in said) - n_sent, 0)


@pytest.mark.guarantee("R36")
def test_what_was_acknowledged_survives_any_kill(tmp_path: Path, guarantee: Guarantee) -> None:
    n_kills = 500 if guarantee.full else 8
    rng = random.Random(36)  # noqa: S311 - a test's own dice
    url = f"sqlite:///{tmp_path / NAME}"
    (tmp_path / NAME).write_bytes(migrated_file())
    database = open_database(url)
    take_in(database, [fetched(1)])
    fill(database, 10_000 if guarantee.full else 400)
    database.close()
    said = tmp_path / "said"
    lost = unsound = 0
    for n in range(n_kills):
        before = said.stat().st_size if said.exists() else 0
        sender = forking().start(
            "tests.support.writers.mixed",
            url=url,
            said=str(said),
            first=n * 100_000,
            often=n % 2 == 0,
        )
        # Now and then until something was sent, too, which takes longest to begin.
        wanted = "state" if n % 3 == 0 else "vote"
        while not any(wanted in each for each in acknowledged(said, before)):
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.05))
        assert forking().kill(sender) == -9
        if n % 10 == 9 or n == n_kills - 1:
            database = open_database(url)
            with database.read() as conn:
                unsound += bool(health.damage(conn))
            lost += missing(database, acknowledged(said))
            database.close()
    told = acknowledged(said)
    guarantee.record(
        n_kills_under_load=n_kills,
        n_writes_acknowledged=len(told) - n_kills,
        n_acknowledged_missing=lost,
        n_times_unsound=unsound,
    )
    assert {name for each in told for name in each} == {"started", "vote", "cursor", "state"}
    assert (lost, unsound) == (0, 0)


@pytest.mark.guarantee("R36")
def test_of_what_was_written_ahead_any_part_may_be_lost_after_what_was_acknowledged(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    """As after a power cut: the file ends anywhere behind what had been synced."""
    n_cuts = 1_000 if guarantee.full else 24
    rng = random.Random(37)  # noqa: S311 - a test's own dice
    url = f"sqlite:///{tmp_path / NAME}"
    (tmp_path / NAME).write_bytes(migrated_file())
    said = tmp_path / "said"
    assert forking().run("tests.support.writers.ahead", url=url, said=str(said), n=60) == -9
    sizes = {each["row"]: each["size"] for each in acknowledged(said)}
    assert len(sizes) == 60
    main, wal = (tmp_path / NAME).read_bytes(), (tmp_path / f"{NAME}-wal").read_bytes()
    lost = unsound = 0
    for n in range(n_cuts):
        # Every other cut is just behind an acknowledged write, where nothing of it may go.
        size = rng.choice(list(sizes.values())) if n % 2 else rng.randint(0, len(wal))
        cut = min(size + (rng.randint(0, 40) if n % 4 == 1 else 0), len(wal))
        torn = bytearray(wal[:cut])
        if n % 3 == 0:
            # What was not synced may also be there and be rubbish.
            torn += rng.randbytes(rng.randint(1, 9000))
        (tmp_path / "torn.db").write_bytes(main)
        (tmp_path / "torn.db-wal").write_bytes(torn)
        (tmp_path / "torn.db-shm").unlink(missing_ok=True)
        database = open_database(f"sqlite:///{tmp_path}/torn.db")
        with database.read() as conn:
            unsound += bool(health.damage(conn))
            found = set(conn.scalars(select(source_cursors.c.source)))
        database.close()
        wanted = {f"source {row}" for row, size in sizes.items() if size <= cut}
        lost += len(wanted - found)
    guarantee.record(
        n_truncations=n_cuts, n_truncated_unsound=unsound, n_acknowledged_missing_after_cut=lost
    )
    assert (lost, unsound) == (0, 0)


# -- everybody at once -----------------------------------------------------------------------------


def test_threads_write_in_the_order_in_which_they_came(database: Database) -> None:
    """However often one of them comes again, it comes behind those who wait."""
    order: list[int] = []

    def work(n: int) -> None:
        with database.write():
            order.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 7)]
    with database.write():
        for n, thread in enumerate(threads, start=1):
            thread.start()
            while len(database._in_turn._line) <= n:
                time.sleep(0.001)
    work(0)
    for thread in threads:
        thread.join()
    assert order == [1, 2, 3, 4, 5, 6, 0]


def test_who_waits_too_long_is_told_and_keeps_nobody_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_PATIENCE_S", 0.05)
    with (
        database.write(),
        pytest.raises(DatabaseError, match="busy for longer than ten seconds"),
        database.write(),
    ):
        pass
    write(database, 2)
    assert len(rows(database, "source_cursors")) == 2


def test_a_writer_that_fails_lets_the_next_one_in(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write():
        _ = 1 // 0
    write(database, 1)


class Held(NamedTuple):
    """How long a right to write was held, and how much of that went by until it was committed."""

    all_s: float
    commit_s: float


class TimedDatabase(Database):
    """Notes how long each right to write was held."""

    held: list[Held]

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        started = written = 0.0
        with super()._transaction(write=write) as conn:
            started = time.perf_counter()
            yield conn
            written = time.perf_counter()
        if write:
            now = time.perf_counter()
            self.held.append(Held(now - started, now - written))


@dataclass
class Load:
    """What happened to the votes."""

    answers: list[int] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Beside:
    """What works on the same file in a process of its own while votes come in, and what is told."""

    folder: Path
    duration_s: float
    n_digests: int
    over: Event
    told: Queue[tuple[str, int, list[Held], str]]

    def run(self, name: str) -> None:
        database = timed(self.folder)
        n, trouble = 0, ""
        try:
            n = self.works[name](self, database)
        except Exception as error:
            trouble = f"{name}: {type(error).__name__}: {error}"
        self.told.put((name, n, database.held, trouble))
        database.close()

    def send(self, database: TimedDatabase) -> int:
        freeze_garbage_collector()
        outbox = Outbox(
            SenderContext(
                database,
                SlowMailer(),
                SystemClock(),
                owner="us",
                is_gone=lambda _: False,
                connections=4,
                pace=RateLimits(1.1 * self.n_digests / self.duration_s, 0.0),
            )
        )
        n = 0
        while not self.over.is_set():
            n += outbox.drain().sent
            self.over.wait(0.2)
        return n

    def fetch(self, database: TimedDatabase) -> int:
        n = 0
        for number in count():
            papers = tuple(told_apart(1000 + 25 * number + k) for k in range(25))
            source = ListedSource(Batch(papers=papers, cursor=str(number)), name=f"s{number}")
            n += sum(each.read for each in ingest(database, source, SystemClock(), resume=True))
            if self.over.wait(10.0):
                break
        return n

    def train(self, database: TimedDatabase) -> int:
        model_store = ModelStore(self.folder / "models", b"a key of the tests")
        train_in_words(database, model_store, StoppedClock())
        return 1

    def sync(self, _: TimedDatabase) -> int:
        """Write to a file that nobody else has; return the longest wait for the disk in us."""
        longest_s = 0.0
        with (self.folder / "beside").open("wb", buffering=0) as file:
            while not self.over.wait(0.05):
                started = time.perf_counter()
                file.write(bytes(4096))
                os.fdatasync(file.fileno())
                longest_s = max(longest_s, time.perf_counter() - started)
        return round(1e6 * longest_s)

    works: ClassVar[dict[str, Callable[..., int]]] = {
        "send": send,
        "fetch": fetch,
        "train": train,
        "sync": sync,
    }


def told_apart(n: int) -> FetchedPaper:
    """Return a paper whose title is like no other's: likenesses among papers are rare."""
    words = [f"word{int(blake2b(f'{n} {k}'.encode()).hexdigest(), 16) % 5_000}" for k in range(30)]
    title, author = " ".join(words[:8]).capitalize(), f"{words[8]} {words[9]}".title()
    return fetched(n, title=title, abstract=" ".join(words), authors=(author,))


class SlowMailer(FakeMailer):
    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        time.sleep(0.002)
        return super().send(message, about_to_end)


def timed(folder: Path) -> TimedDatabase:
    plain = open_database(f"sqlite:///{folder / NAME}")
    database = TimedDatabase(plain.engine, plain._checkpointer)
    database.held = []
    return database


def vote_paths(database: Database, keyring: Keyring) -> list[tuple[str, str]]:
    """Return address and button of every vote that can be cast."""
    query = select(subscribers.c.public_id, slates.c.public_id).join(
        slates, slates.c.subscriber_id == subscribers.c.id
    )
    with database.read() as conn:
        found = conn.execute(query.where(slates.c.feature_version != "f")).all()
    now = datetime.now(UTC)
    return [
        (f"/v/{keyring.sign(Purpose.VOTE, Claims(reader, now, name, position, kind))}", str(kind))
        for kind in (EventKind.VOTE_UP, EventKind.VOTE_DOWN)
        for position in (1, 2, 3)
        for reader, name in found
    ]


async def cast(app: Any, load: Load, paths: list[tuple[str, str]], per_s: float, n: int) -> None:
    """Post votes at an even pace; a wait counts from when the vote was to be cast."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=StillSite.base_url) as client:
        start = time.perf_counter()

        async def one(k: int, due: float) -> None:
            path, kind = paths[k % len(paths)]
            answer = await client.post(path, data={"vote": kind})
            load.answers.append(answer.status_code)
            load.waits_s.append(time.perf_counter() - due)

        # Each when it is due: to collect the garbage of all of them would stop the process.
        async with asyncio.TaskGroup() as voters:
            for k in range(n):
                due = start + k / per_s
                await asyncio.sleep(max(due - time.perf_counter(), 0.0))
                voters.create_task(one(k, due))


def share(values: list[float], part: float) -> float:
    """Return the value that this part of all is not above, in ms."""
    return round(1000 * sorted(values)[min(int(part * len(values)), len(values) - 1)], 1)


@pytest.mark.guarantee("R37")
def test_votes_senders_a_fetch_and_a_training_at_once_lock_nobody_out(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    duration_s = 600.0 if guarantee.full else 2.5
    n_digests = 10_000 if guarantee.full else 120
    (tmp_path / NAME).write_bytes(migrated_file())
    quiet = open_database(f"sqlite:///{tmp_path / NAME}")
    take_in(
        quiet,
        [
            fetched(n, title=f"Paper {n}", abstract=f"{WORDS[n % 8]} and {WORDS[n // 8 % 8]}")
            for n in range(100)
        ],
    )
    fill(quiet, n_digests)
    with quiet.write() as conn:
        # The readers who will vote have names of the same kind.
        conn.execute(text("UPDATE subscribers SET public_id = 'f' || substr(public_id, 2)"))
    quiet.close()
    database = timed(tmp_path)
    show_and_hear(database, taste)
    database.held.clear()
    freeze_garbage_collector()
    keyring = Keyring("a secret of the tests, 32 or more characters")
    paths = vote_paths(database, keyring)
    app = create_app(
        database,
        keyring,
        SystemClock(),
        StillSite(),
        new_enrolment(database, SystemClock(), keyring, StillSite()),
    )
    # What all four need is loaded once, in a process without threads that forks them.
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload([__name__])
    over, told = forkserver.Event(), forkserver.Queue()
    beside = Beside(tmp_path, duration_s, n_digests, over, told)
    processes = [forkserver.Process(target=beside.run, args=(name,)) for name in Beside.works]
    for process in processes:
        process.start()
    load = Load()
    asyncio.run(cast(app, load, paths, 50.0, int(50 * duration_s)))
    over.set()
    # A process ends only when what it put into the queue was taken.
    answers = [told.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    n_done = {name: n for name, n, _, _ in answers}
    troubles = [trouble for *_, trouble in answers if trouble]
    held = [(each, "votes") for each in database.held]
    held += [(each, name) for name, _, by_name, _ in answers for each in by_name]
    held_s = [each.all_s for each, _ in held]
    p99, longest = share(load.waits_s, 0.99), share(held_s, 1.0)
    (_, of_which_s), by = max(held)
    n_5xx = sum(answer >= 500 for answer in load.answers)
    guarantee.record(
        duration_s=duration_s,
        n_votes=len(load.answers),
        n_digests_sent=n_done["send"],
        n_papers_fetched=n_done["fetch"],
        n_5xx=n_5xx,
        n_lock_errors=len(troubles),
        vote_p50_ms=share(load.waits_s, 0.5),
        vote_p99_ms=p99,
        longest_write_transaction_ms=longest,
        longest_was_committing_ms=round(1000 * of_which_s, 1),
        longest_was_of=by,
        longest_bare_sync_ms=round(n_done["sync"] / 1000, 1),
        file_system=file_system.file_system(tmp_path.resolve(), MOUNTS.read_text("utf-8")),
        write_transaction_p99_ms=share(held_s, 0.99),
    )
    assert troubles == []
    assert set(load.answers) == {303}
    assert n_done["train"] == 1
    assert n_done["fetch"] > 0
    if guarantee.full:
        assert n_done["send"] == n_digests
        assert (p99 <= 250, longest <= 100) == (True, True), (p99, longest)
    database.close()
    # Other tests have an ordinary collector again.
    gc.unfreeze()
