"""Readers of known taste: training finds it in spite of position, chance and spite."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulate import outspoken, poisoned, positions, reticent
from triage.records import F64


def by_the_standard_error(gains: F64) -> float:
    return float(gains.mean() / (gains.std(ddof=1) / np.sqrt(len(gains))))


def test_training_beats_naive_training_on_what_was_voted_on() -> None:
    found = positions([0], reticent, n_readers=24, per_day=40)
    assert found["product"] > found["naive_voted"]
    assert found["product"] > found["cold"]


def test_a_spiteful_reader_changes_at_most_one_of_ten_papers_of_the_others() -> None:
    assert poisoned([1], n_readers=20, per_day=60)["hostile"] <= 1


@pytest.mark.parametrize("voter", [outspoken, reticent], ids=["outspoken", "reticent"])
def test_training_beats_naive_training_beyond_chance(
    request: pytest.FixtureRequest, voter: object
) -> None:
    if not request.config.getoption("--full"):
        pytest.skip("takes minutes: pytest --full")
    found = positions(range(8), voter, n_readers=40, per_day=60)  # type: ignore[arg-type]
    for naive in ("naive_voted", "naive_shown"):
        gains = found["product"] - found[naive]
        assert gains.mean() > 0
    assert by_the_standard_error(found["product"] - found["naive_voted"]) > 2
