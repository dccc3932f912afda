"""Since when an address sends is counted by the clock of now."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.support.factories import NOON
from tests.support.installation import installed
from triage import store


def test_a_first_use_by_a_clock_ahead_is_replaced_once_the_clock_is_right(tmp_path: Path) -> None:
    with installed(tmp_path) as database, database.write() as conn:
        first = store.send_rates.first_used_or_now
        assert first(conn, "from us", NOON + timedelta(days=400)) == NOON + timedelta(days=400)
        assert first(conn, "from us", NOON) == NOON
        assert first(conn, "from us", NOON + timedelta(days=9)) == NOON
