"""Keeps the measured figures that documents may quote in `benchmarks/results.json`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
SHARED = ROOT.parent / "shared"


def record(command: str, figures: dict[str, tuple[float, str]]) -> None:
    """Print figures, name → (value, unit), and merge them into the results.

    Args:
        command: what prints these figures again.
    """
    known: dict[str, Any] = {"figures": {}}
    if RESULTS.exists():
        known = json.loads(RESULTS.read_text("utf-8"))
    for name, (value, unit) in figures.items():
        print(f"{name:<32}{value:>12,.4g} {unit}")
        known["figures"][name] = {
            "value": value,
            "unit": unit,
            "command": command,
            "machine": _machine(),
            "commit": _commit(),
        }
    known["figures"] = dict(sorted(known["figures"].items()))
    RESULTS.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


def skip(why: str) -> None:
    """Print why nothing is measured, and exit with 0."""
    print(f"skipped: {why}")
    sys.exit(0)


def peak_gib(command: list[str], every_s: float = 0.05) -> float:
    """Run a command and return the peak of its tree's summed proportional set size, in GiB.

    Args:
        every_s: the seconds between two looks; a large process is looked at twice a second.
    """
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(_proportional_kb(pid) for pid in _tree(process.pid)))
            try:
                # Counting the pages of a large process stops it for a while.
                process.wait(every_s if peak < 2**19 else 0.5)
            except subprocess.TimeoutExpired:
                continue
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}")
    return peak / 2**20


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in _tree(int(child)))]


def _proportional_kb(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:"), 0)


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{len(os.sched_getaffinity(0))} cores, {model}, Python {platform.python_version()}"


def _commit() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"
