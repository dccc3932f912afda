"""A copy to PostgreSQL that is killed again and again ends with all rows; nobody uses it before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.store.test_copy_database import content
from tests.support import postgres
from tests.support.copying import filled_source
from tests.support.guarantees import Guarantee
from tests.support.senders import forking
from triage.store.tables import metadata


@pytest.mark.any_database("it goes from the one to the other")
@pytest.mark.guarantee("R41")
def test_a_copy_that_is_killed_again_and_again_ends_with_all_rows(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    n_kills, n_rows = (20, 60) if guarantee.full else (4, 9)
    source, result = filled_source(tmp_path, n_rows), tmp_path / "result"
    with postgres.copy_of("template1") as target:
        ended = forking().run(
            "tests.support.copying.campaign",
            source=source,
            target=target,
            n_kills=n_kills,
            seed=0,
            result=str(result),
        )
        assert ended == 0
        told = json.loads(result.read_text())
        same = content(target) == content(source)
    guarantee.record(
        n_copies_killed=n_kills,
        n_copies_begun_anew=told["kinds"].count("r"),
        n_unfinished_copies_usable=told["usable"],
        n_rows_copied_despite_kills=told["n_rows"],
    )
    assert same
    assert told["n_rows"] == n_rows * len(metadata.tables)
    assert told["usable"] == 0
    # One that is killed while it makes the tables leaves nothing, and is new again.
    assert "r" not in told["kinds"]
    assert told["kinds"].count("c") > n_kills / 3
