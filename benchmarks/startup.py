"""Measure `triage --help` against an empty interpreter (target: at most 150 ms more).

    python -m benchmarks.startup

The two runs of a pair follow each other, so that other load slows both.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import record

N_PAIRS = 15
TARGET_MS = 150


def milliseconds(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    triage = shutil.which("triage", path=str(Path(sys.executable).parent))
    if triage is None:
        sys.exit("triage is not installed beside this interpreter: run `make demo` first")
    pairs = [
        (milliseconds(sys.executable, "-c", ""), milliseconds(triage, "--help"))
        for _ in range(N_PAIRS + 1)
    ][1:]  # the first pair writes byte code and warms the file cache
    bare = statistics.median(pair[0] for pair in pairs)
    more = statistics.median(pair[1] - pair[0] for pair in pairs)
    print(f"a bare interpreter takes {bare:.0f} ms; target: at most {TARGET_MS} ms more")
    record(
        "python -m benchmarks.startup",
        {"help_ms": (round(more), f"ms more than a bare interpreter, median of {N_PAIRS} pairs")},
    )


if __name__ == "__main__":
    main()
