"""Readers of known taste: training finds it in spite of position, chance and spite."""

from __future__ import annotations

import pytest

from benchmarks.simulate import Voter, outspoken, poisoned, positions, reticent


def test_training_beats_naive_training_on_what_was_voted_on() -> None:
    # One small world alone is as often luck as not.
    names = ("product", "naive_voted", "cold")
    found = positions(range(3), reticent, names=names, n_readers=24, per_day=40)
    assert found["product"].mean() > found["naive_voted"].mean()
    assert found["product"].mean() > found["cold"].mean()


def test_a_spiteful_reader_changes_at_most_one_of_ten_papers_of_the_others() -> None:
    assert poisoned([1], names=["hostile"], n_readers=20, per_day=60)["hostile"] <= 1


@pytest.mark.parametrize("voter", [outspoken, reticent], ids=["outspoken", "reticent"])
def test_training_beats_naive_training_over_many_worlds(
    request: pytest.FixtureRequest, voter: Voter
) -> None:
    if not request.config.getoption("--full"):
        pytest.skip("takes minutes: pytest --full")
    found = positions(range(14), voter, n_readers=40, per_day=60)
    for naive in ("naive_voted", "naive_shown", "cold"):
        assert found["product"].mean() > found[naive].mean()
