"""`triage serve` as a process of its own: it answers, and it ends cleanly when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.support.installation import rows
from triage.app.application import open_app
from triage.app.installation import create_installation
from triage.resources import example_config


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_ends_cleanly_giving_its_leases_back(
    tmp_path: Path, name: signal.Signals
) -> None:
    config, _ = create_installation(tmp_path, example_config())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "triage", "--config", str(config), "serve"]
    server = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(300):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert answer.text == "ok\n"
        os.kill(server.pid, name)
        _, said = server.communicate(timeout=60)
    finally:
        server.kill()

    assert server.returncode == 0, said
    assert "Traceback" not in said
    app = open_app(config)
    [until] = [row["until"] for row in rows(app.database, "leases") if row["name"] == "digests"]
    assert until <= datetime.now(UTC)
    app.close()
