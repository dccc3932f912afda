"""What upstreams once said: the files of `tests/data`, each with its row in the README there.

    body = recorded("hf_daily_2025-07-10.json.gz")

gives what the file holds. Under `pytest --live` what was recorded from an address is asked there
anew, and with `--record` it replaces the file's content; the difference is for a person to read.
What is synthetic has no address and stays. A file that no test names fails the run.
"""

from __future__ import annotations

import ast
import gzip
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import DATA, SHARED
from triage.clock import SystemClock
from triage.sources.http.client import PoliteClient, user_agent

# Answers whose licence is not ours to give lie beside the checkout, where there are any.
BESIDE = SHARED / "payloads"
_ROW = re.compile(r"\| `([^`]+)` \| (recorded|synthetic) \| (?:`([^`]+)`)? ?\| (.+) \|")
# Of all who are asked, arXiv wants the longest pause.
_PAUSE_S = 3.0


@dataclass(frozen=True)
class Fixture:
    """One file: `address` is where it was recorded, empty for what is synthetic."""

    name: str
    kind: str
    address: str
    what: str


def described(folder: Path) -> dict[str, Fixture]:
    """Return what the README of a folder says of its files."""
    lines = (folder / "README.md").read_text("utf-8").splitlines()
    rows = [row for line in lines if (row := _ROW.fullmatch(line))]
    return {row[1]: Fixture(row[1], row[2], row[3] or "", row[4]) for row in rows}


def untold(folder: Path) -> list[str]:
    """Return the files without a row, and the rows without a file."""
    files = {path.name for path in folder.iterdir() if path.name != "README.md"}
    return sorted(files ^ described(folder).keys())


def unused(folder: Path, tests: Iterable[Path]) -> list[str]:
    """Return the described files whose name stands, whole and as a text, in none of some modules.

    Whoever makes a name of parts hides which files there must be.
    """
    named = {
        node.value
        for path in tests
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
    }
    return sorted(described(folder).keys() - named)


@dataclass
class Recordings:
    """Answers by the names of their files.

    Attributes:
        live: ask the servers, each address once.
        record: keep what they say.
        gate: what asks them; one is made when it is needed.
    """

    folder: Path
    live: bool = False
    record: bool = False
    gate: PoliteClient | None = None
    _fresh: dict[str, bytes] = field(default_factory=dict)

    def answer(self, name: str) -> bytes:
        """Return an answer, unpacked."""
        fixture = described(self.folder).get(name)
        assert fixture is not None, f"{name} has no row in {self.folder.name}/README.md"
        if self.live and fixture.address:
            return self._ask(fixture)
        content = (self.folder / name).read_bytes()
        return gzip.decompress(content) if name.endswith(".gz") else content

    def _ask(self, fixture: Fixture) -> bytes:
        if fixture.name not in self._fresh:
            self.gate = self.gate or _gate()
            with self.gate as gate:
                body = gate.get(fixture.address).body
            assert body, f"{fixture.address} says nothing, so {fixture.name} stays as it is"
            self._fresh[fixture.name] = body
            if self.record:
                packed = gzip.compress(body, mtime=0) if fixture.name.endswith(".gz") else body
                (self.folder / fixture.name).write_bytes(packed)
        return self._fresh[fixture.name]


def _gate() -> PoliteClient:
    said = subprocess.run(["git", "config", "user.email"], capture_output=True, check=False)
    return PoliteClient(SystemClock(), user_agent("tests", said.stdout.decode()), _PAUSE_S)


_recordings = Recordings(DATA)


def choose(config: pytest.Config) -> None:
    """Read the options of a run; `--live` lifts the ban on the network."""
    live, record = config.getoption("--live"), config.getoption("--record")
    if record and not live:
        raise pytest.UsageError("--record keeps what servers say now, so it needs --live")
    if live:
        if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
            raise pytest.UsageError("--live asks servers one request at a time: leave -n away")
        config.option.allow_hosts = None
    _recordings.live, _recordings.record = live, record


def recorded(name: str) -> bytes:
    """Return what an upstream said, as a row of the README names it."""
    return _recordings.answer(name)


@dataclass(frozen=True)
class Exchange:
    """One request of a cassette and its answer, unpacked."""

    method: str
    address: str
    question: str
    status: int
    body: bytes


def cassette(name: str) -> list[Exchange]:
    """Return what an HTTP recorder wrote down; skip the test where that is not beside us."""
    path = BESIDE / name
    if not path.exists():
        pytest.skip(f"the recorded answers in {name} are not beside this checkout")
    return [_exchange(each) for each in yaml.safe_load(path.read_text("utf-8"))["interactions"]]


def _exchange(each: Any) -> Exchange:
    asked, said = each["request"], each["response"]
    body = said["body"]["string"]
    body = body.encode() if isinstance(body, str) else bytes(body)
    body = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    question = asked["body"] or ""
    return Exchange(asked["method"], asked["uri"], question, said["status"]["code"], body)
