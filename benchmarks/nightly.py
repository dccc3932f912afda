"""Measure nightly runs: processor time, memory and bytes of a first night and a usual one.

    python -m benchmarks.nightly [--small] [--folder FOLDER]
    python -m benchmarks.nightly --subscribers 256 --pool 8000 [--profile] [--folder FOLDER]

On a usual night a third of the subscribers have voted since the night before. The subscribers are
made up, see `benchmarks.readers`. Targets on two cores, usual night, a pool of 8,000 papers: 25 ms
of processor time a subscriber, at most three times the bare steps and a hundredth of
arxiv-sanity-lite's algorithm (`benchmarks.floor`); 10,000 subscribers in 150 s and 1.5 GiB; an
exponent of at most 1.05. First fit of a subscriber's models 60 ms, refit 30 ms, 20 kB.

All sizes take an hour, `--small` two minutes. With `--folder` the installations are kept for the
next call: of another version of triage, none may be kept. With numbers one size is measured and
nothing is recorded; `--profile` shows where its time goes.
"""

from __future__ import annotations

import os

# As the command line has it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Self

import numpy as np
from sqlalchemy import func, select

from benchmarks import readers
from benchmarks.figures import peak_gib, record, skip
from benchmarks.floor import floor_ms, peer_ms
from benchmarks.readers import FIRST_NIGHT, USUAL_NIGHT
from benchmarks.scaling_plot import draw
from triage.app.application import open_app
from triage.cli.app_context import freeze_garbage_collector
from triage.ranking.serving import user_model_cache
from triage.store.tables import user_models

SAMPLE_S = 0.003
N_TOLD = 120
MANY = 3_000
PLOT = Path("docs/scaling.svg")


@dataclass(frozen=True)
class Scale:
    """What is measured: the figures at one number of subscribers and pool, and two series.

    `sizes` are numbers of subscribers with that pool, `pools` are with `of_pools` subscribers. The
    usual night of the figures is the median of `repeats`, an odd number.
    """

    n_papers: int
    of_figures: tuple[int, int]
    sizes: tuple[int, ...]
    pools: tuple[int, ...]
    of_pools: int
    repeats: int


FULL = Scale(
    57_835, (1_000, 8_000), (100, 300, 1_000, 3_000, 10_000), (500, 2_000, 8_000, 20_000), 300, 3
)
SMALL = Scale(4_000, (24, 1_200), (24, 48), (1_200,), 24, 1)


@dataclass(frozen=True)
class Night:
    """What the nightly run of one date took; `cpu_s` and `wall_s` are seconds.

    Attributes:
        fits_ms: the milliseconds of processor time of each fit of a subscriber's models; those of
            other processes are not known.
        new_bytes: how much larger the database became.
        memory: the peak of all processes in GiB.
    """

    made: int
    cpu_s: float
    wall_s: float
    fits_ms: list[float]
    new_bytes: int = 0
    memory: float = 0.0


class Installations:
    """The installations in a folder; what is there already is not built again."""

    def __init__(self, folder: Path, n_papers: int) -> None:
        self._folder = folder
        self._n_papers = n_papers

    def _papers(self) -> Path:
        folder = self._folder / f"papers-{self._n_papers}"
        if not folder.exists():
            readers.build_papers(part := folder.with_suffix(".part"), self._n_papers)
            part.rename(folder)
        return folder

    def before_first_night(self, n: int, pool: int) -> Path:
        """Return a new installation whose n subscribers have no user models yet."""
        folder = self._folder / f"{n}-{pool}"
        if not folder.exists():
            readers.copy(self._papers(), part := folder.with_suffix(".part"))
            readers.build_subscribers(part, n, pool)
            part.rename(folder)
        readers.copy(folder, night := self._folder / "night")
        return night

    def first_night(self, n: int, pool: int) -> Night:
        """Return what the first night took, and keep the installation of the evening after it."""
        folder = self._folder / f"{n}-{pool}-usual"
        if not folder.exists():
            night = self.before_first_night(n, pool)
            _tell("first night", run(night, FIRST_NIGHT, _workers(n)), n, pool)
            readers.vote_on_first_night(night)
            night.rename(folder)
        return Night(**json.loads((folder / f"{FIRST_NIGHT}.json").read_text("utf-8")))

    def before_usual_night(self, n: int, pool: int) -> Path:
        """Return a new installation on the evening after the first night."""
        self.first_night(n, pool)
        readers.copy(self._folder / f"{n}-{pool}-usual", night := self._folder / "night")
        return night

    def usual_night(self, n: int, pool: int) -> Night:
        """Make the digests of a usual night, and return what it took."""
        usual = run(self.before_usual_night(n, pool), USUAL_NIGHT, _workers(n))
        _tell("usual night", usual, n, pool)
        return usual


def _workers(n: int) -> int:
    """Return 1 for a few subscribers, whose fits are measured; else 0, one for each core."""
    return 1 if n < MANY else 0


def _tell(name: str, night: Night, n: int, pool: int) -> None:
    fits = night.fits_ms or [0]
    print(
        f"{name}: {n:,} subscribers, {pool:,} papers: {1e3 * night.cpu_s / n:.1f} ms of CPU a "
        f"subscriber, {night.wall_s:.1f} s in all, {night.memory:.2f} GiB, "
        f"{night.new_bytes / n:,.0f} new bytes a subscriber; {len(night.fits_ms):,} fits of "
        f"{np.mean(fits):.1f} ms (median {np.median(fits):.1f})",
        flush=True,
    )


def run(folder: Path, on: date, workers: int) -> Night:
    """Make the digests of a date by a program of its own, and return what it took.

    Args:
        workers: see `[engine] workers`.
    """
    out, database = folder / f"{on}.json", folder / "triage.db"
    before = database.stat().st_size
    command = [sys.executable, "-m", "benchmarks.nightly", "--night", str(folder), str(on)]
    memory = peak_gib([*command, str(out), str(workers)], every_s=0.5)
    made = json.loads(out.read_text("utf-8"))
    made |= {"memory": memory, "new_bytes": database.stat().st_size - before}
    out.write_text(json.dumps(made), "utf-8")
    return Night(**made)


def make_digests(folder: Path, on: date, workers: int = 1) -> Night:
    """Make the digests of a date; by default in this process alone."""
    fits_ms: list[float] = []
    user_model_cache.fit_user_model = _timed(user_model_cache.fit_user_model, fits_ms)
    freeze_garbage_collector()
    with closing(open_app(folder / "triage.toml")) as app:
        engine = app.settings.engine.model_copy(update={"workers": workers})
        app.settings = app.settings.model_copy(update={"engine": engine})
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


class Sampler:
    """Notes what runs, every few milliseconds of processor time; it costs next to nothing.

    `total` and `own` are seconds by function, with and without what it calls. The time of compiled
    code counts for the function that calls it.
    """

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.own: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._last = time.process_time()
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _note(self, _: int, frame: FrameType | None) -> None:
        # Long compiled code delays a signal, so a sample stands for the time since the last one.
        now = time.process_time()
        spent, self._last = now - self._last, now
        names = []
        while frame is not None:
            code = frame.f_code
            place = re.sub(r".*/(triage|site-packages|python3\.\d+)/", "", code.co_filename)
            names.append(f"{place}:{code.co_firstlineno} {code.co_name}")
            frame = frame.f_back
        self.own[names[0]] += spent
        for name in set(names):
            self.total[name] += spent


def profile(folder: Path, on: date, n_subscribers: int) -> None:
    """Print where the processor time of a night goes, in ms a subscriber."""
    with Sampler() as found:
        make_digests(folder, on)
    print(f"\nprofile of {on}, ms of processor time a subscriber")
    for title, wanted in (
        ("what calls what", found.total.most_common(N_TOLD)),
        ("most time of their own", found.own.most_common(N_TOLD // 3)),
    ):
        print(f"\n   total      own  {title}")
        for name, _ in wanted:
            total, own = (1e3 * each[name] / n_subscribers for each in (found.total, found.own))
            print(f"{total:>8.2f} {own:>8.2f}  {name}")


def user_model_bytes(folder: Path) -> float:
    """Return the mean size of the stored user models in bytes."""
    with closing(open_app(folder / "triage.toml")) as app, app.database.read() as conn:
        return float(conn.scalar(select(func.avg(func.length(user_models.c.content)))) or 0)


def measure_one(at: Installations, n: int, pool: int, *, with_profile: bool) -> None:
    """Print what the nights of one size take."""
    at.usual_night(n, pool)
    folder = at.before_usual_night(n, pool)
    print(f"user models: {user_model_bytes(folder):,.0f} bytes each")
    if with_profile:
        profile(at.before_usual_night(n, pool), USUAL_NIGHT, n)
        profile(at.before_first_night(n, pool), FIRST_NIGHT, n)


def measure_all(at: Installations, scale: Scale, plot: Path) -> dict[str, tuple[float, str]]:
    """Measure all sizes, draw the plot, and return the figures."""
    n, pool = scale.of_figures
    first = at.first_night(n, pool)
    usual = [at.usual_night(n, pool) for _ in range(scale.repeats)]
    night = sorted(usual, key=lambda night: night.cpu_s)[scale.repeats // 2]
    folder = at.before_usual_night(n, pool)
    usual_ms = 1e3 * night.cpu_s / n
    model_bytes = user_model_bytes(folder)
    steps = floor_ms(folder, USUAL_NIGHT, readers.DAYS, round(night.new_bytes / n))
    print("bare steps, ms: " + ", ".join(f"{name} {ms:.2f}" for name, ms in steps.items()))
    peer, peer_of_pool = peer_ms(folder), peer_ms(folder, USUAL_NIGHT - timedelta(readers.DAYS))
    print(f"arxiv-sanity-lite: {peer:,.0f} ms; of the pool alone {peer_of_pool:,.0f} ms")
    by_size = {n: night} | {size: at.usual_night(size, pool) for size in scale.sizes if size != n}
    by_pool = {pool: night} | {
        other: at.usual_night(scale.of_pools, other) for other in scale.pools if other != pool
    }
    ms_by_pool = {
        size: 1e3 * each.cpu_s / (n if each is night else scale.of_pools)
        for size, each in sorted(by_pool.items())
    }
    large = sorted(size for size in by_size if size >= n)
    exponent = np.polyfit(np.log(large), np.log([by_size[size].cpu_s for size in large]), 1)[0]
    draw(
        plot,
        by_size={size: each.cpu_s for size, each in sorted(by_size.items())},
        by_pool=ms_by_pool,
        peer_ms=peer,
        floor_ms=sum(steps.values()),
        pool=pool,
    )
    largest = max(by_size)
    memory = max(by_size[largest].memory, at.first_night(largest, pool).memory)
    first_ms, n_first = np.mean(first.fits_ms), len(first.fits_ms)
    of = f"{n:,} subscribers and {pool:,} papers"
    return {
        "nightly_usual_ms": (round(usual_ms, 1), f"ms of CPU a subscriber, of {of}"),
        "nightly_first_ms": (round(1e3 * first.cpu_s / n, 1), "ms of CPU, on the first night"),
        "nightly_first_fit_ms": (round(first_ms, 1), f"ms of CPU, mean of {n_first:,} first fits"),
        "nightly_refit_ms": (
            round(float(np.mean(night.fits_ms)), 1),
            f"ms of CPU, mean of {len(night.fits_ms):,} fits after votes",
        ),
        "nightly_10000_s": (round(by_size[largest].wall_s, 1), f"s for {largest:,} subscribers"),
        "nightly_10000_memory": (round(memory, 2), f"GiB, {largest:,} subscribers, both nights"),
        "nightly_exponent": (round(float(exponent), 3), f"of CPU, from {large[0]:,} subscribers"),
        "nightly_floor_ratio": (
            round(usual_ms / sum(steps.values()), 2), "times the bare steps of a digest",
        ),
        "nightly_peer_ratio": (round(peer / usual_ms), "times less CPU than arxiv-sanity-lite"),
        "nightly_bytes": (round(night.new_bytes / n), "bytes of database a subscriber and night"),
        "user_model_bytes": (round(model_bytes), "bytes, the mean user model"),
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--subscribers", type=int)
    options.add_argument("--pool", type=int, default=8_000)
    options.add_argument("--folder", type=Path)
    options.add_argument("--small", action="store_true")
    options.add_argument("--profile", action="store_true")
    options.add_argument("--night", nargs=4, help=argparse.SUPPRESS)
    wanted = options.parse_args()
    if wanted.night:
        folder, on, out, workers = wanted.night
        made = make_digests(Path(folder), date.fromisoformat(on), int(workers))
        Path(out).write_text(json.dumps(asdict(made)), "utf-8")
        return
    if not readers.PAPERS.exists():
        skip("there is no listings-2026 beside the checkout")
    scale = SMALL if wanted.small else FULL
    with TemporaryDirectory() as other:
        folder = wanted.folder or Path(other)
        folder.mkdir(exist_ok=True)
        at = Installations(folder, scale.n_papers)
        if wanted.subscribers:
            measure_one(at, wanted.subscribers, wanted.pool, with_profile=wanted.profile)
            return
        figures = measure_all(at, scale, folder / PLOT.name if wanted.small else PLOT)
    if wanted.small:
        print("a trial, not recorded: " + json.dumps(figures, indent=1))
        return
    record("python -m benchmarks.nightly", figures)


if __name__ == "__main__":
    main()
