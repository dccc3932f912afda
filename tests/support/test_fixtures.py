"""Recorded answers: each has a row, each is used, and they can be asked for anew."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import fixtures
from tests.support.emulator import Upstreams
from tests.support.fakes import StoppedClock
from tests.support.fixtures import DATA, Recordings, described, recorded, untold, unused
from triage.sources.http.client import PoliteClient

RECORD = {
    "id": "2603.00001",
    "title": "A title",
    "abstract": "An abstract.",
    "authors": ["Ada Lovelace"],
    "categories": ["cs.LG"],
    "listed_date": "2026-03-02",
}
OWN = {"fixtures.py", "test_fixtures.py"}


CLOCK = StoppedClock()


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    with Upstreams([RECORD], clock=CLOCK) as upstreams:
        upstreams.show(date(2026, 3, 2))
        yield upstreams


@pytest.fixture
def folder(tmp_path: Path, upstreams: Upstreams) -> Path:
    """Return a folder with a packed, a plain and a synthetic answer, all out of date."""
    (tmp_path / "README.md").write_text(
        f"""# Recorded answers
| file | kind | address | what it is |
|---|---|---|---|
| `feed.xml` | recorded | `{upstreams.rss_url}/cs.LG` | a feed |
| `packed.xml.gz` | recorded | `{upstreams.rss_url}/cs.LG` | the same, packed |
| `made_up.json` | synthetic |  | made for a test |
"""
    )
    (tmp_path / "feed.xml").write_bytes(b"an old feed")
    (tmp_path / "packed.xml.gz").write_bytes(gzip.compress(b"an old feed"))
    (tmp_path / "made_up.json").write_bytes(b"{}")
    return tmp_path


def recordings(folder: Path, *, live: bool = False, record: bool = False) -> Recordings:
    return Recordings(folder, live, record, PoliteClient(CLOCK, "triage/test", 3.0))


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    assert untold(DATA) == []


def test_every_file_is_used_by_a_test() -> None:
    tests = [path for path in DATA.parent.rglob("*.py") if path.name not in OWN]
    assert unused(DATA, tests) == [], "delete what no test names, or name it whole in one"


def test_what_is_recorded_says_where_and_what_is_synthetic_says_what() -> None:
    for fixture in described(DATA).values():
        assert bool(fixture.address) == (fixture.kind == "recorded"), fixture.name
        assert fixture.address.startswith("https://") or not fixture.address
        assert len(fixture.what) > 10


def test_a_file_that_nobody_names_and_one_without_a_row_are_found(folder: Path) -> None:
    test = folder / "test_it.py"
    test.write_text('A, B = recorded("feed.xml"), f"{name}.xml.gz"\n# made_up.json\n')
    assert unused(folder, [test]) == ["made_up.json", "packed.xml.gz"]
    assert untold(folder) == ["test_it.py"]
    (folder / "feed.xml").unlink()
    assert untold(folder) == ["feed.xml", "test_it.py"]


def test_answers_are_given_unpacked(folder: Path, upstreams: Upstreams) -> None:
    kept = recordings(folder)
    assert kept.answer("feed.xml") == kept.answer("packed.xml.gz") == b"an old feed"
    assert kept.answer("made_up.json") == b"{}"
    assert upstreams.log == []
    assert recorded("hf_daily_2025-07-10.json.gz").startswith(b"[")


def test_an_answer_without_a_row_is_nobodys(folder: Path) -> None:
    (folder / "feed2.xml").write_bytes(b"")
    with pytest.raises(AssertionError, match=r"feed2\.xml has no row"):
        recordings(folder).answer("feed2.xml")


def test_live_answers_are_asked_for_once_politely_and_not_kept(
    folder: Path, upstreams: Upstreams
) -> None:
    live = recordings(folder, live=True)
    for _ in range(2):
        assert b"2603.00001" in live.answer("feed.xml")
        assert b"2603.00001" in live.answer("packed.xml.gz")
        assert live.answer("made_up.json") == b"{}"
    assert upstreams.gaps_s("rss") == [3.0]
    assert (folder / "feed.xml").read_bytes() == b"an old feed"


def test_recording_replaces_what_was_asked_for_and_nothing_else(folder: Path) -> None:
    before = (folder / "packed.xml.gz").read_bytes()
    body = recordings(folder, live=True, record=True).answer("feed.xml")
    assert (folder / "feed.xml").read_bytes() == body != b"an old feed"
    assert (folder / "packed.xml.gz").read_bytes() == before
    assert (folder / "made_up.json").read_bytes() == b"{}"


def test_recording_the_same_twice_gives_the_same_bytes(folder: Path) -> None:
    packed = set()
    for _ in range(2):
        body = recordings(folder, live=True, record=True).answer("packed.xml.gz")
        packed.add((folder / "packed.xml.gz").read_bytes())
    assert gzip.decompress(*packed) == body


def test_a_server_that_says_nothing_replaces_nothing(folder: Path, upstreams: Upstreams) -> None:
    upstreams.bodies["rss"] = b""
    with pytest.raises(AssertionError, match="says nothing"):
        recordings(folder, live=True, record=True).answer("feed.xml")
    assert (folder / "feed.xml").read_bytes() == b"an old feed"


def options(live: bool, record: bool, workers: int | None) -> Any:
    """Return as much of a run's configuration as options are read from."""
    given = {"--live": live, "--record": record, "numprocesses": workers}
    return SimpleNamespace(
        getoption=lambda name, default=None: given.get(name, default),
        option=SimpleNamespace(allow_hosts="127.0.0.1"),
    )


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(pytest.UsageError, match="needs --live"):
        fixtures.choose(options(live=False, record=True, workers=None))
    with pytest.raises(pytest.UsageError, match="leave -n away"):
        fixtures.choose(options(live=True, record=False, workers=2))


# An address that leads nowhere (RFC 5737): whether it may be tried is the question.
PROBE = """
import socket

def test_it():
    try:
        socket.create_connection(("192.0.2.1", 9), timeout=0.01).close()
    except OSError:
        pass
"""


def test_the_network_is_open_to_live_tests(root: Path, tmp_path: Path) -> None:
    probe = tmp_path / "test_probe.py"
    probe.write_text(PROBE)
    command = [sys.executable, "-m", "pytest", "-q", "--live", "-p", "tests.conftest"]
    command += ["--rootdir", str(root), "-c", str(root / "pyproject.toml"), str(probe)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
