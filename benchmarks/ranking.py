"""Measure the ranker on the benchmark: quality beside the baselines', time and memory.

    python -m benchmarks.ranking [listings-2025] [libraries-citeulike]

Targets: nDCG@10 as a multiple of the best baseline's in its group (of the text cosine for users
without likes): cold0 1.30, cold1 1.35, cold3 1.15, warm 1.05, mixed 1.10; libraries 1.10. On
listings-2025 at most 6 minutes and 4 GiB on two cores. The baselines' figures are the
last ones of `python -m benchmarks.peers`. The pretrained ranker has seen the readers of
listings-2025, so here their quality is not measured: `python -m benchmarks.alone normal` does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.alone import PRETRAINED_ON
from benchmarks.figures import RESULTS, SHARED, peak_gib, record, skip

BENCH = SHARED / "bench"
NAMES = ("listings-2025", "libraries-citeulike")


def main() -> None:
    if not BENCH.exists():
        skip("there is no benchmark data beside the checkout")
    known = json.loads(RESULTS.read_text("utf-8"))["figures"]
    figures: dict[str, tuple[float, str]] = {}
    for name in sys.argv[1:] or NAMES:
        scores, seconds, gib = measured(BENCH / name)
        figures[f"rank_{name}_s"] = (round(seconds, 1), "s for `triage bench rank`")
        figures[f"rank_{name}_memory"] = (round(gib, 2), "GiB")
        if name == PRETRAINED_ON:
            continue
        for group, row in scores.items():
            ndcg = row["ndcg@10"]
            peers = {
                key.rpartition("_")[2]: each["value"]
                for key, each in known.items()
                if key.startswith(f"peer_{name}_{group}_")
            }
            figures[f"rank_{name}_{group}"] = (ndcg, "nDCG@10")
            if peers:
                best = max(peers, key=lambda peer: peers[peer])
                ratio = round(ndcg / peers[best], 3)
                figures[f"rank_{name}_{group}_ratio"] = (ratio, f"times {best}'s nDCG@10")
    record("python -m benchmarks.ranking", figures)


def measured(data: Path) -> tuple[dict[str, dict[str, float]], float, float]:
    """Return the scores of each group of users, seconds, and peak GiB."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "triage", "bench", "rank"]
        started = time.perf_counter()
        gib = peak_gib([*command, "--data", str(data), "--out", str(run)])
        seconds = time.perf_counter() - started
        scored = subprocess.run(
            [
                sys.executable,
                str(BENCH / "score_run.py"),
                str(data / "qrels.txt"),
                str(run),
                "--json",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    return json.loads(scored.stdout), seconds, gib


if __name__ == "__main__":
    main()
