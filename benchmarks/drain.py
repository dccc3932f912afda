"""Measure how fast frozen digests are sent (target: 250 a second on two cores).

    python -m benchmarks.drain

Digests of 60 kB wait in a SQLite database (`synchronous = FULL`, WAL) and are handed to Postfix's
`smtp-sink` on loopback over 16 connections. Each is claimed, marked as in doubt and recorded as
sent; its commits may be shared with other connections.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import record, skip
from tests.support.mail_rig import fill
from triage.clock import SystemClock, read_uptime
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.store import open_database
from triage.store.migrate import upgrade

N = 5000
N_BYTES = 60_000
N_CONNECTIONS = 16
TARGET = 250


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    program = shutil.which("smtp-sink", path=places)
    if program is None:
        skip("Postfix's smtp-sink is not installed: run `make servers`")
    with TemporaryDirectory() as folder, closing(_opened(Path(folder))) as database:
        ids = fill(database, n, n_bytes=N_BYTES)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        account = ["-u", "nobody"] if os.geteuid() == 0 else []
        with subprocess.Popen([str(program), *account, f"127.0.0.1:{port}", "100"]) as sink:
            try:
                _listens(port)
                outbox = Outbox(
                    SenderContext(
                        database,
                        SmtpMailer(SmtpServer("127.0.0.1", port, "none")),
                        SystemClock(),
                        owner="benchmark",
                        is_gone=lambda _: False,
                        connections=N_CONNECTIONS,
                        monotonic=read_uptime,
                    )
                )
                started, busy = time.perf_counter(), time.process_time()
                report = outbox.drain()
                took, busy = time.perf_counter() - started, time.process_time() - busy
            finally:
                sink.terminate()
    assert report.sent == len(ids), report
    print(f"{n} digests of {N_BYTES:,} bytes over {N_CONNECTIONS} connections; target {TARGET}/s")
    record(
        "python -m benchmarks.drain",
        {
            "drain_per_s": (round(n / took, 1), "digests of 60 kB a second, 16 connections"),
            "drain_ms": (round(busy / n * 1000, 2), "ms of processor time a digest handed over"),
        },
    )


def _opened(folder: Path):  # type: ignore[no-untyped-def]
    database = open_database(f"sqlite:///{folder}/triage.db")
    upgrade(database)
    return database


def _listens(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("smtp-sink does not listen")


if __name__ == "__main__":
    main()
