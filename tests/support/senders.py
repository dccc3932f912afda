"""Senders in processes of their own, which tests may kill and freeze at any time.

`Senders` starts a process that has loaded the program and forks one child for each sender, so that
a sender lives within milliseconds. What a child does is one of the functions below, by name.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.installation import queue_once
from tests.support.paths import ROOT
from triage.domain.records import OutgoingMessage

if TYPE_CHECKING:
    from triage.delivery.smtp import SmtpMailer
    from triage.domain.records import Slate, Subscriber

# -- what a child does: heavy imports are made before it is forked ---------------------------------


def drain(
    *,
    url: str,
    port: int,
    mode: str = "resend",
    ledger: str = "",
    connections: int = 1,
    kill_at: str = "",
    settled_after_s: float = 0.3,
    lease_s: float = 60.0,
    pace: tuple[float, float] = (0.0, 0.0),
    ahead_s: float = 0.0,
    again_s: float = 0.0,
    poisoned: bool = False,
) -> None:
    """Drain the outbox once, or for ever.

    Args:
        mode: `oracle` asks the ledger of the sink, which knows; `hold` and `resend` know nobody.
        kill_at: a place as `triage.domain.crash_points` has it.
        ahead_s: how far this sender's clock is ahead.
        again_s: drains again after so many seconds; 0 drains once.
        poisoned: whether messages that say so bring the sender down.
    """
    from triage.app import lease_owner
    from triage.clock import SystemClock, read_uptime
    from triage.delivery import recovery
    from triage.delivery.outbox import Outbox
    from triage.delivery.rate_limits import RateLimits
    from triage.delivery.sender_context import SenderContext
    from triage.delivery.smtp import SmtpMailer, SmtpServer
    from triage.store import open_database

    os.environ.pop("TRIAGE_KILL_AT", None)
    if kill_at:
        os.environ["TRIAGE_KILL_AT"] = kill_at
    recovery.LOG_IS_WRITTEN = timedelta(seconds=settled_after_s)

    class Clock(SystemClock):
        def now(self) -> datetime:
            return datetime.now(UTC) + timedelta(seconds=ahead_s)

    oracle: Callable[[str], bool | None] = lambda _: None  # noqa: E731
    if mode == "oracle":
        oracle = lambda message_id: message_id in Path(ledger).read_text()  # noqa: E731
    mailer = SmtpMailer(SmtpServer("127.0.0.1", port, "none"), oracle)
    outbox = Outbox(
        SenderContext(
            open_database(url),
            _Poisoned(mailer) if poisoned else mailer,
            Clock(),
            owner=lease_owner.name_this_process(),
            is_gone=lease_owner.is_gone,
            ambiguous="hold" if mode == "hold" else "resend",
            connections=connections,
            pace=RateLimits(*pace),
            lease=timedelta(seconds=lease_s),
            # In tests an address is its own secret.
            address_hash=lambda address: address,
            monotonic=read_uptime,
        )
    )
    outbox.drain()
    while again_s:
        time.sleep(again_s)
        outbox.drain()


class _Poisoned:
    """Does to the sender what a message asks for."""

    name = "poisoned"

    def __init__(self, mailer: SmtpMailer) -> None:
        self._mailer = mailer
        self.delivered, self.close = mailer.delivered, mailer.close

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        if b"Subject: abort" in message.mime:
            os.abort()
        if b"Subject: raise" in message.mime:
            raise RuntimeError("this message cannot be encoded")
        return self._mailer.send(message, about_to_end)


def triage(*, arguments: list[str], kill_at: str = "") -> None:
    """Run a command of the program; `kill_at` is a place as `triage.domain.crash_points` has it."""
    from triage.cli import cli

    os.environ.pop("TRIAGE_KILL_AT", None)
    if kill_at:
        os.environ["TRIAGE_KILL_AT"] = kill_at
    if cli(arguments, standalone_mode=False):
        sys.exit("it was not done, or not all of it")


def plan(*, url: str, days: list[str], seed: int) -> None:
    """Queue the digest of every reader for every day, in an order of one's own."""
    import random

    from triage import store
    from triage.clock import SystemClock
    from triage.store import open_database

    database, clock = open_database(url), SystemClock()
    with database.read() as conn:
        readers = store.subscribers.everyone(conn)
    wanted = [(reader, date.fromisoformat(day)) for reader in readers for day in days]
    random.Random(seed).shuffle(wanted)  # noqa: S311 - any order does
    for first in range(0, len(wanted), 20):
        with database.write() as conn:
            now, some = clock.now(), wanted[first : first + 20]
            store.subscribers.lock(conn, {reader.id for reader, _ in some})
            for reader, on in some:
                run_id = store.jobs.begin_run(conn, on, now)
                queue_once(conn, *_digest(reader, on), run_id, now)


def schedule(*, url: str, lease_s: float, ahead_s: float, last_day: str) -> None:
    """Queue one day after the other for everybody, while the lease is held."""
    from sqlalchemy import func, select

    from triage import store
    from triage.app import lease_owner
    from triage.store import open_database
    from triage.store.tables import slates

    database, owner = open_database(url), lease_owner.name_this_process()
    with database.read() as conn:
        readers = store.subscribers.everyone(conn)
    while True:
        time.sleep(0.1)
        now = datetime.now(UTC) + timedelta(seconds=ahead_s)
        with database.write() as conn:
            until = now + timedelta(seconds=lease_s)
            if not store.jobs.take_lease(conn, "digests", owner, until, now):
                continue
            # Whoever was killed may have left some readers a day behind.
            newest = select(func.max(slates.c.on)).group_by(slates.c.subscriber_id)
            on = min(conn.scalars(newest)) + timedelta(days=1)
        if on > date.fromisoformat(last_day):
            continue
        for reader in readers:
            with database.write() as conn:
                run_id = store.jobs.begin_run(conn, on, now)
                queue_once(conn, *_digest(reader, on), run_id, now)


def _digest(reader: Subscriber, on: date) -> tuple[Slate, OutgoingMessage]:
    """Return a digest without papers, as the nightly run names it."""
    from tests.support.factories import slate
    from triage.digest.block import _public_id

    public_id = _public_id(reader, on)
    mime = (
        "From: triage <digest@papers.example.org>\r\n"
        f"To: {reader.email}\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\n"
        f"Message-ID: <d.{public_id}@papers.example.org>\r\nSubject: {on}\r\n\r\nfor you\r\n"
    )
    made = slate(0, public_id=public_id, subscriber=reader, on=on)
    message_id = f"<d.{public_id}@papers.example.org>"
    return made, OutgoingMessage(message_id, reader.email, mime.encode())


# -- the process that forks ------------------------------------------------------------------------


def _serve() -> None:
    import importlib

    # What a child needs is loaded once.
    import triage.app.application
    import triage.delivery.outbox
    import triage.delivery.smtp
    import triage.digest.nightly
    import triage.store  # noqa: F401

    for line in sys.stdin:
        told = json.loads(line)
        if "wait" in told:
            _, status = os.waitpid(told["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        if "load" in told:
            importlib.import_module(told["load"])
            print(0, flush=True)
            continue
        module, _, name = told["do"].rpartition(".")
        pid = os.fork()
        if pid == 0:
            _run(module, name, told["with"])
        print(pid, flush=True)


def _run(module: str, name: str, arguments: dict[str, Any]) -> None:
    import importlib

    code = 1
    try:
        # Its parent's commands are not for it.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        function = getattr(importlib.import_module(module), name)
        function(**arguments)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


# As in a container: the first process has the id 1, and sees no other one.
IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")


@cache
def has_namespaces() -> bool:
    """Tell whether this machine lets us make PID namespaces."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    )


class Senders:
    """The process that forks, seen from the test.

    Args:
        before: a command that runs it, such as `IN_A_NAMESPACE`. Its children cannot be killed.
    """

    def __init__(self, before: Sequence[str] = ()) -> None:
        self._numbers_are_ours = not before
        self._server = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.support.senders"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._alive: set[int] = set()

    def close(self) -> None:
        """End the process, and the children that still live."""
        # A namespace ends with its first process.
        for pid in list(self._alive) if self._numbers_are_ours else []:
            self.kill(pid)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()

    def load(self, *modules: str) -> None:
        """Load what the children need that is not there yet."""
        for module in modules:
            self._ask({"load": module})

    def start(self, do: str, **arguments: Any) -> int:
        """Start a child and return its number."""
        pid = self._ask({"do": do, "with": arguments})
        self._alive.add(pid)
        return pid

    def wait(self, pid: int) -> int:
        """Wait until a child has ended; return its exit code, or the negative of what killed it."""
        code = self._ask({"wait": pid})
        self._alive.discard(pid)
        return code

    def kill(self, pid: int) -> int:
        """Kill a child if it still lives; return how it ended."""
        assert self._numbers_are_ours
        if pid in self._alive:
            os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def lives(self, pid: int) -> bool:
        """Tell whether a child still runs; one that has ended is not yet forgotten."""
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

    def run(self, do: str, **arguments: Any) -> int:
        return self.wait(self.start(do, **arguments))

    def _ask(self, told: Mapping[str, Any]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(told) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@cache
def forking() -> Senders:
    """Return the process that forks, the same one for all tests of this process."""
    senders = Senders()
    atexit.register(senders.close)
    return senders


# -- the receiver ----------------------------------------------------------------------------------


@contextmanager
def sink(ledger: Path, **told: Any) -> Iterator[int]:
    """Run a sink and yield its port; see `tests.support.sink` for what it can be told."""
    ledger.touch()
    command = [
        sys.executable,
        "-m",
        "tests.support.sink",
        json.dumps({"ledger": str(ledger), **told}),
    ]
    root = ROOT
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


def taken(ledger: Path) -> list[dict[str, Any]]:
    """Return what a sink wrote down, in its order."""
    return [json.loads(line) for line in ledger.read_text().splitlines()]


if __name__ == "__main__":
    _serve()
