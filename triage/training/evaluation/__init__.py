"""Measures rankers: nDCG and its intervals, replays of past days, baselines, `bench rank`."""
