"""The feed that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.emulator import Upstreams
from tests.support.fakes import StoppedClock
from tests.support.feed_world import World
from tests.support.installation import installed


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = StoppedClock(datetime(2026, 3, 2, 12, tzinfo=UTC))
    with installed(tmp_path) as database, Upstreams([], clock=clock) as upstreams:
        world = World(upstreams, clock, database)
        yield world
        world.gate.close()
