"""Real processes whose clock is set, stopped and killed: a minute after it is right, all is well.

libfaketime shows a process a clock that a test sets; the clock of the uptime stays the true one.
A history knows the true time: the time of this machine and how long the machine was suspended.
The long form measures the silence, so nothing else should keep the processors busy meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import with_ports
from tests.support.factories import subscriber
from tests.support.feed_world import entry, rss
from tests.support.guarantees import Guarantee
from tests.support.installation import rows
from tests.support.paths import ROOT
from tests.support.senders import sink, taken
from triage import store
from triage.app.application import open_app
from triage.app.installation import create_installation
from triage.domain.digest_calendar import REST, latest_digest_on
from triage.operations.jobs import SETTLED_AGAIN
from triage.resources import example_config
from triage.store import health

LIBRARY = "libfaketimeMT.so.1"
READERS = (("Asia/Tokyo", 7), ("UTC", 13), ("America/Los_Angeles", 21), ("Europe/Berlin", 6))
ONE_DAY = timedelta(days=1)
RIGHT = timedelta(0)
LONGEST_SILENCE_S = 60.0
# For so long a tick may go on that began before the clock was set.
WORK = timedelta(seconds=10)
# The digests of a long night without a machine are due at once, whatever came before.
LONG_SUSPEND_H = (13.0, 30.0)


def faketime() -> str:
    """Return the path of libfaketime; skip the test where there is none, or fail it in CI."""
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))
    if not found:
        reason = "libfaketime is missing: `make servers` installs it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return str(found[0])


class Lab:
    """A feed with one more entry at each request, and when it was asked, by the true clock."""

    def __init__(self) -> None:
        self.asked_at: list[float] = []
        lab = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lab.asked_at.append(time.monotonic())
                n = len(lab.asked_at)
                body = rss(*(entry(k, pubDate="") for k in range(n, max(0, n - 20), -1)))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/feed"


@contextmanager
def lab() -> Iterator[Lab]:
    lab = Lab()
    thread = threading.Thread(target=lab.server.serve_forever, daemon=True)
    thread.start()
    yield lab
    lab.server.shutdown()
    thread.join()
    lab.server.server_close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("template"))


def install(folder: Path) -> Path:
    """Install the program, with a paper for each day that a clock may show; return its folder."""
    config, _ = create_installation(folder / "site", example_config())
    today = datetime.now(UTC).date()
    topics = ("robots that learn", "drafts of language models", "proofs of programs")
    papers = folder / "papers.jsonl"
    with papers.open("w", encoding="utf-8") as lines:
        for n in range(-440, 480, 2):
            paper = {
                "id": f"26{1 + n % 12:02}.{n + 10_000:05}",
                "title": f"Study {n} of {topics[n % 3]}",
                "abstract": f"We study {topics[n % 3]} with {n + 1000} examples and find why.",
                "authors": ["Ada Lovelace"],
                "categories": ["cs.LG"],
                "listed_date": str(today + n * ONE_DAY),
            }
            lines.write(json.dumps(paper) + "\n")
    for arguments in (["papers", "import", str(papers)], ["run", "--date", str(today)]):
        command = [sys.executable, "-m", "triage", "--config", str(config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
    app = open_app(config)
    with app.database.write() as conn:
        for n, (zone, hour) in enumerate(READERS):
            reader = subscriber(n, zone=zone, hour=hour, interests=topics[n % 3])
            key = store.subscribers.email_key(reader.email)
            store.subscribers.add(conn, reader, email_key=key, consent="test", at=app.clock.now())
    app.close()
    return config.parent


@dataclass
class Outcome:
    """What became of a history."""

    seed: str
    n_steps: int = 0
    n_restarts: int = 0
    n_suspends: int = 0
    n_digests: int = 0
    n_resting: int = 0
    n_told_by_doctor: int = 0
    silence_s: float = 0.0
    feed_silence_s: float = 0.0
    troubles: list[str] = field(default_factory=list)


class History:
    """A machine with the program on it, whose clock shows any time but now and then the true one.

    Attributes:
        slept: how much later the true time is than this machine's, by suspends.
        error: how far the machine's clock is ahead of the true time.
    """

    def __init__(self, folder: Path, template: Path, seed: str, lab: Lab, mail_port: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.out = Outcome(seed)
        self.folder, self.lab = folder, lab
        self.ledger = folder / "ledger"
        self.slept = timedelta(days=3, hours=self.chance.uniform(0, 24))
        self.error = RIGHT
        shutil.copytree(template, folder / "site")
        self.config = folder / "site" / "triage.toml"
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        text = with_ports(self.config.read_text("utf-8"), port, mail_port)
        text += f'\n[[sources.feed]]\nname = "lab"\nurl = "{lab.url}"\nallow_private = true\n'
        self.config.write_text(text, "utf-8")
        self.app = open_app(self.config)
        self.command = self.chance.choice(["serve", "schedule"])
        self.process: subprocess.Popen[bytes] | None = None

    # -- the machine -------------------------------------------------------------------------------

    def true_now(self) -> datetime:
        return datetime.now(UTC) + self.slept

    def set_clock(self, error: timedelta) -> None:
        """Set the machine's clock; NTP says that it is right whenever it is."""
        self.error = error
        new = self.folder / "offset.new"
        new.write_text(f"{(self.slept + error).total_seconds():+.6f}\n")
        new.replace(self.folder / "offset")
        ntp = self.folder / "ntp"
        if error == RIGHT:
            ntp.touch()
        else:
            ntp.unlink(missing_ok=True)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = self._popen(self.command, stdout=log, stderr=log)

    def _popen(self, *arguments: str, **how: Any) -> subprocess.Popen[bytes]:
        module = "tests.e2e.under_faked_clock"
        return subprocess.Popen(
            [sys.executable, "-m", module, "--config", str(self.config), *arguments],
            cwd=ROOT,
            env=os.environ
            | {
                "LD_PRELOAD": faketime(),
                "FAKETIME_TIMESTAMP_FILE": str(self.folder / "offset"),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
                "NTP_SAYS_RIGHT": str(self.folder / "ntp"),
            },
            **how,
        )

    def stop(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(300)  # Training at the lowest priority may take long.
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGUSR1)
                time.sleep(1)
                self.process.kill()
                raise
            self.process = None

    def suspend(self, hours: float, error: timedelta) -> None:
        """Stop the process while time goes on; somebody may set the clock meanwhile."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.slept += timedelta(hours=hours)
        self.set_clock(error)
        time.sleep(0.3)
        self.process.send_signal(signal.SIGCONT)
        self.out.n_suspends += 1

    def step(self) -> None:
        size = timedelta(seconds=10 ** self.chance.uniform(0, 7.5386))  # up to 400 days
        self.set_clock(self.error + self.chance.choice([-1, 1]) * size)
        self.out.n_steps += 1

    def restart(self) -> None:
        self.stop(self.chance.choice([signal.SIGKILL, signal.SIGTERM]))
        if self.chance.random() < 0.5:
            self.step()
        self.start()
        self.out.n_restarts += 1

    def happen(self) -> None:
        what = self.chance.randrange(6)
        if what < 3:
            self.step()
        elif what == 3:
            self.set_clock(RIGHT)
        elif what == 4:
            error = self.chance.choice([self.error, RIGHT])
            self.suspend(self.chance.uniform(0, 30), error)
        else:
            self.restart()

    def come_right(self) -> None:
        """Set the clock right after a long night, in a suspend, at a start or while it runs."""
        hours, how = self.chance.uniform(*LONG_SUSPEND_H), self.chance.randrange(3)
        if how == 0:
            self.suspend(hours, RIGHT)
        elif how == 1:
            self.stop()
            self.slept += timedelta(hours=hours)
            self.set_clock(RIGHT)
            self.start()
        else:
            self.suspend(hours, self.error)
            self.step()
            time.sleep(self.chance.uniform(0, 7))
            self.set_clock(RIGHT)

    # -- what must hold ----------------------------------------------------------------------------

    def run(self, n_events: int, longest_pause_s: float, *, asks_doctor: bool) -> Outcome:
        self.set_clock(RIGHT)
        if self.chance.random() < 0.5:
            self.step()
        self.start()
        try:
            time.sleep(self.chance.uniform(1, longest_pause_s))
            for _ in range(n_events):
                self.happen()
                time.sleep(self.chance.uniform(0.2, longest_pause_s))
            n_asked = len(self.lab.asked_at)
            self.come_right()
            right_at, now = time.monotonic(), self.true_now()
            self.wait_for(right_at, n_asked, now)
            time.sleep(2)
            if asks_doctor:
                self.look_at_doctor(now)
        finally:
            self.stop(signal.SIGTERM)
        self.count(now)
        self.app.close()
        return self.out

    def due(self, now: datetime) -> set[tuple[str, date]]:
        """Return the address and date of each digest that must have gone soon."""
        slates, people = (rows(self.app.database, table) for table in ("slates", "subscribers"))
        found = set()
        for person in people:
            on = latest_digest_on(now, person["hour"], person["zone"])
            assert on is not None
            mine = [slate for slate in slates if slate["subscriber_id"] == person["id"]]
            # By chance the wrong clock made one at a time that was some hours ago now, or one was
            # just being made when it was set.
            rests = any(
                now - REST < slate["created_at"] <= now + WORK and slate["on"] != on
                for slate in mine
            )
            if not rests or any(slate["on"] == on for slate in mine):
                found.add((person["email"], on))
        self.out.n_resting = len(people) - len(found)
        return found

    def wait_for(self, right_at: float, n_asked: int, now: datetime) -> None:
        """Note when the last digest that was due and the next question to the feed came."""
        missing, is_read = self.due(now), False
        while missing or not is_read:
            silence_s = time.monotonic() - right_at
            if not is_read and len(self.lab.asked_at) > n_asked:
                is_read, self.out.feed_silence_s = True, silence_s
            if missing and not (missing := self.due(now) - self.served().keys()):
                self.out.silence_s = silence_s
            if silence_s > 2 * LONGEST_SILENCE_S:
                if missing:
                    self.out.troubles.append(f"never came: {missing}")
                if not is_read and not self.was_read_lately(now):
                    self.out.troubles.append("the feed was not read again")
                return
            time.sleep(0.2)

    def was_read_lately(self, now: datetime) -> bool:
        """Tell whether the wrong clock read the feed at what was by chance some hours ago."""
        jobs = rows(self.app.database, "jobs")
        times = [job["done_at"] for job in jobs if job["name"] == "fetch feed:lab"]
        return any(now - SETTLED_AGAIN < at <= now for at in times)

    def served(self) -> Counter[tuple[str, date]]:
        """Return how often each reader got, or was refused for lack of papers, each date."""
        ids = Counter(row["id"] for row in taken(self.ledger))
        stored = rows(self.app.database, "messages")
        return Counter(
            {
                (row["recipient"], row["on"]): max(
                    ids[row["message_id"]], row["state"] == "skipped"
                )
                for row in stored
                if ids[row["message_id"]] or row["state"] == "skipped"
            }
        )

    def look_at_doctor(self, now: datetime) -> None:
        with self.app.database.read() as conn:
            newest = health.newest_time(conn)
        doctor = self._popen("doctor", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = doctor.communicate(timeout=60)[0].decode()
        [clock] = [each for each in json.loads(said) if each["name"] == "clock"]
        if newest is not None and newest > now + timedelta(minutes=10):
            self.out.n_told_by_doctor += 1
            if clock["level"] != "warning" or "the clock was wrong once" not in clock["what"]:
                self.out.troubles.append(f"doctor says of the clock: {clock}")

    def count(self, now: datetime) -> None:
        served = self.served()
        self.out.n_digests = len(taken(self.ledger))
        ids = Counter(row["id"] for row in taken(self.ledger))
        doubled = [id for id, n in ids.items() if n > 1]
        if doubled:
            self.out.troubles.append(f"doubled: {doubled}")
        if lost := [key for key in self.due(now) if served[key] != 1]:
            self.out.troubles.append(f"not once: {lost}")
        log = (self.folder / "log").read_text("utf-8", "replace")
        # A training whose program was killed finds nobody to tell.
        errors = re.findall(r"(?<!SpawnProcess-\d:\n)Traceback.*", log, re.DOTALL)
        self.out.troubles += [f"an error: {error[:1500]}" for error in errors]


@pytest.mark.guarantee("R17")
def test_a_minute_after_the_clock_is_right_real_processes_have_sent_and_read_all(
    guarantee: Guarantee, tmp_path: Path, template: Path
) -> None:
    faketime()
    n_histories, n_events, longest_pause_s = (24, 5, 6.0) if guarantee.full else (2, 2, 2.0)

    def live(n: int) -> Outcome:
        folder = tmp_path / str(n)
        folder.mkdir()
        with lab() as feed, sink(folder / "ledger") as mail_port:
            history = History(folder, template, f"process {n}", feed, mail_port)
            out = history.run(n_events, longest_pause_s, asks_doctor=guarantee.full)
        print(out, flush=True)
        return out

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(live, range(n_histories)))
    assert [each for each in outcomes if each.troubles] == []
    silences_s = [max(each.silence_s, each.feed_silence_s) for each in outcomes]
    if guarantee.full:
        assert max(silences_s) <= LONGEST_SILENCE_S
        assert sum(each.n_resting for each in outcomes) < n_histories / 4
    guarantee.record(
        n_process_histories=n_histories,
        n_process_clock_steps=sum(each.n_steps for each in outcomes),
        n_process_restarts=sum(each.n_restarts for each in outcomes),
        n_process_suspends=sum(each.n_suspends for each in outcomes),
        n_process_digests=sum(each.n_digests for each in outcomes),
        n_process_resting=sum(each.n_resting for each in outcomes),
        n_process_doubled=0,
        n_clocks_named_by_doctor=sum(each.n_told_by_doctor for each in outcomes),
        longest_silence_s=round(max(silences_s), 1),
    )
