"""Measure nightly runs: processor time and memory of a first night and a usual one.

    python -m benchmarks.nightly [--small] [--folder FOLDER]
    python -m benchmarks.nightly --subscribers 256 --pool 8000 --profile [--folder FOLDER]

On a usual night a third of the subscribers have voted since the night before. The subscribers are
made up, see `benchmarks.readers`. With `--folder` the installations are kept for the next call.
With numbers one size is measured and nothing is recorded; `--profile` shows where its time goes.
"""

from __future__ import annotations

import os

# As the command line has it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import cProfile
import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import func, select

from benchmarks import readers
from benchmarks.figures import peak_gib, skip
from benchmarks.readers import FIRST_NIGHT, USUAL_NIGHT
from triage.app.application import open_app
from triage.cli.app_context import freeze_garbage_collector
from triage.ranking.serving import user_model_cache
from triage.store.tables import user_models

N_PAPERS = 57_835
SMALL = 2_000


@dataclass(frozen=True)
class Night:
    """What the nightly run of one date took; `cpu_s` and `wall_s` are seconds.

    `fits_ms` are the milliseconds of processor time of each fit of a subscriber's models; those of
    other processes are not known. `memory` is the peak of all processes in GiB.
    """

    made: int
    cpu_s: float
    wall_s: float
    fits_ms: list[float]
    memory: float = 0.0


class Installations:
    """The installations in a folder; what is there already is not built again."""

    def __init__(self, folder: Path, n_papers: int) -> None:
        self._folder = folder
        self._n_papers = n_papers

    def _papers(self) -> Path:
        folder = self._folder / f"papers-{self._n_papers}"
        if not folder.exists():
            readers.build_papers(folder, self._n_papers)
        return folder

    def before_first_night(self, n_subscribers: int, pool: int) -> Path:
        """Return a new installation whose subscribers have no user models yet."""
        folder = self._folder / f"{n_subscribers}-{pool}"
        if not folder.exists():
            part = folder.with_suffix(".part")
            readers.copy(self._papers(), part)
            readers.build_subscribers(part, n_subscribers, pool)
            part.rename(folder)
        readers.copy(folder, night := self._folder / "night")
        return night

    def before_usual_night(self, n_subscribers: int, pool: int) -> tuple[Path, Night | None]:
        """Return a new installation on the evening after the first night, and that night."""
        folder = self._folder / f"{n_subscribers}-{pool}-usual"
        first = None
        if not folder.exists():
            night = self.before_first_night(n_subscribers, pool)
            first = run(night, FIRST_NIGHT)
            readers.vote_on_first_night(night)
            night.rename(folder)
        readers.copy(folder, night := self._folder / "night")
        return night, first


def run(folder: Path, on: date) -> Night:
    """Make the digests of a date in a process of its own, and return what it took."""
    out = folder / "night.json"
    command = [sys.executable, "-m", "benchmarks.nightly", "--night", str(folder), str(on)]
    memory = peak_gib([*command, str(out)])
    return Night(**json.loads(out.read_text("utf-8")) | {"memory": memory})


def make_digests(folder: Path, on: date) -> Night:
    """Make the digests of a date in this process."""
    fits_ms: list[float] = []
    user_model_cache.fit_user_model = _timed(user_model_cache.fit_user_model, fits_ms)
    freeze_garbage_collector()
    with closing(open_app(folder / "triage.toml")) as app:
        started, wall = _cpu_s(), time.perf_counter()
        report = app.new_nightly().queue(on)
        cpu_s, wall_s = _cpu_s() - started, time.perf_counter() - wall
    for problem in report.problems[:5]:
        print(problem, file=sys.stderr)
    assert not report.problems
    return Night(report.made + report.skipped, cpu_s, wall_s, fits_ms)


def _cpu_s() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _timed(work: Callable[..., Any], spent_ms: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **options: Any) -> Any:
        started = time.process_time()
        try:
            return work(*args, **options)
        finally:
            spent_ms.append(1e3 * (time.process_time() - started))

    return timed


def profile(folder: Path, on: date, n_subscribers: int) -> None:
    """Print where the processor time of a night goes, in ms a subscriber.

    `total` includes what a function calls. The profiler itself makes many small calls look
    expensive: compare shares.
    """
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    make_digests(folder, on)
    profiler.disable()
    profiler.create_stats()
    rows = [
        (1e3 * total / n_subscribers, 1e3 * own / n_subscribers, calls, f"{place}:{line} {name}")
        for (file, line, name), (_, calls, own, total, _) in profiler.stats.items()
        for place in [file.rpartition("/triage/")[2]]
    ]
    print(f"\nprofile of {on}, ms of processor time a subscriber, profiler included")
    rows.sort(reverse=True)
    for title, wanted in (
        ("what calls what", [row for row in rows if row[0] > 0.2][:120]),
        ("most time of their own", sorted(rows, key=lambda row: -row[1])[:30]),
    ):
        print(f"\n   total      own       calls  {title}")
        for total, own, calls, name in wanted:
            print(f"{total:>8.2f} {own:>8.2f} {calls:>11}  {name}")


def user_model_bytes(folder: Path) -> float:
    """Return the mean size of the stored user models in bytes."""
    with closing(open_app(folder / "triage.toml")) as app, app.database.read() as conn:
        return float(conn.scalar(select(func.avg(func.length(user_models.c.content)))) or 0)


def measure_one(at: Installations, n: int, pool: int, *, with_profile: bool) -> None:
    """Print what the nights of one size take."""
    night, first = at.before_usual_night(n, pool)
    if first is not None:
        print(_told("first night", first, n))
    usual = run(night, USUAL_NIGHT)
    print(_told("usual night", usual, n))
    print(f"user models: {user_model_bytes(night):,.0f} bytes each")
    if with_profile:
        night, _ = at.before_usual_night(n, pool)
        profile(night, USUAL_NIGHT, n)
        night = at.before_first_night(n, pool)
        profile(night, FIRST_NIGHT, n)


def _told(name: str, night: Night, n: int) -> str:
    fits = (
        f"{len(night.fits_ms)} fits of {np.median(night.fits_ms):.1f} ms" if night.fits_ms else ""
    )
    return (
        f"{name}: {n} subscribers, {1e3 * night.cpu_s / n:.1f} ms of CPU a subscriber, "
        f"{night.wall_s:.1f} s in all, {night.memory:.2f} GiB; {fits}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--subscribers", type=int)
    options.add_argument("--pool", type=int, default=8_000)
    options.add_argument("--folder", type=Path)
    options.add_argument("--small", action="store_true")
    options.add_argument("--profile", action="store_true")
    options.add_argument("--night", nargs=3, help=argparse.SUPPRESS)
    wanted = options.parse_args()
    if wanted.night:
        folder, on, out = wanted.night
        made = make_digests(Path(folder), date.fromisoformat(on))
        Path(out).write_text(json.dumps(asdict(made)), "utf-8")
        return
    if not readers.PAPERS.exists():
        skip("there is no listings-2026 beside the checkout")
    with TemporaryDirectory() as other:
        folder = wanted.folder or Path(other)
        folder.mkdir(exist_ok=True)
        at = Installations(folder, N_PAPERS)
        measure_one(at, wanted.subscribers or 200, wanted.pool, with_profile=wanted.profile)


if __name__ == "__main__":
    main()
