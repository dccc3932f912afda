"""Reads hostile answers, each in a process of its own, and tells what that cost.

    python -m tests.support.hostile_reader < jobs.json > results.json

One process loads and warms what reads answers, and forks for every job. So a fork's memory grows by
what the answer alone takes, and what it opens is opened because of the answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.factories import DAY
from triage.clock import SystemClock
from triage.errors import SourceError
from triage.sources.arxiv.parsing import parse_feed
from triage.sources.feed.source import FeedSource
from triage.sources.hf_daily import _listing
from triage.sources.http import client
from triage.sources.http.client import PoliteClient

Job = dict[str, Any]
_LONGEST_S = 60
_OURS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _feed(gate: PoliteClient, url: str) -> None:
    for _ in FeedSource(gate, "x", url, DAY).fetch(None):
        pass


READERS: dict[str, Callable[[PoliteClient, str], object]] = {
    "feed": _feed,
    "arxiv": lambda gate, url: parse_feed(gate.get(url).body),
    "hf_daily": lambda gate, url: _listing(gate.get(url)),
}


def read(job: Job) -> Job:
    """Read one answer: what was said of it, how long it took, what memory, and what was opened."""
    clock, opened = SystemClock(), list[str]()
    if job["audited"]:
        sys.addaudithook(lambda event, args: _hear(event, args, opened))
    deadline = clock.now() + timedelta(seconds=job["deadline_s"]) if job["deadline_s"] else None
    before_kb, started = _kb("VmRSS"), time.monotonic()
    with PoliteClient(
        clock, "triage/test", 0.0, deadline=deadline, request_s=job["request_s"]
    ) as gate:  # fmt: skip
        try:
            READERS[job["reader"]](gate, job["url"])
            said = ""
        except SourceError as error:
            said = str(error)
    took_s = time.monotonic() - started
    grown_mib = (_kb("VmHWM") - before_kb) / 1024
    return {"said": said, "took_s": took_s, "grown_mib": grown_mib, "opened": opened}


def _hear(event: str, args: tuple[Any, ...], opened: list[str]) -> None:
    if event == "open" and not str(args[0]).startswith((*_OURS, "/proc/self/")):
        opened.append(f"file {args[0]}")
    elif event == "socket.connect":
        opened.append(f"socket {args[1][0]}:{args[1][1]}")
    elif event in {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}:
        opened.append(event)


def _kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _forked(job: Job, folder: Path) -> int:
    """Begin a job in a process of its own; its result is a file in `folder`."""
    pid = os.fork()
    if pid == 0:
        # However it ends, nothing of the parent goes on in here.
        signal.alarm(_LONGEST_S)
        try:
            (folder / job["name"]).write_text(json.dumps(job | read(job)))
        finally:
            os._exit(0)
    return pid


def main() -> None:
    jobs = json.load(sys.stdin)
    client._trust()
    results = [job | read(job) for job in jobs["warming"]]
    with tempfile.TemporaryDirectory() as name:
        folder, running = Path(name), set[int]()
        for job in jobs["jobs"]:
            if len(running) == jobs["at_once"]:
                running.discard(os.wait()[0])
            running.add(_forked(job, folder))
        while running:
            running.discard(os.wait()[0])
        results += [json.loads(path.read_text()) for path in folder.iterdir()]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
