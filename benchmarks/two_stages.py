"""Compare the nightly run's two stages with the scoring of every paper, on pools of 8,000 papers.

    python -m benchmarks.two_stages [alone] [normal] [SET …]

A pool has the newest 8,000 papers up to the day of a slate, which is about a fortnight of a large
installation; what the reader liked on any of these days is relevant. Target: in no cell of readers
is the nDCG@10 of two stages lower by more than 0.002. The recall is that of the exhaustive path's
twelve best papers among those that the first stage keeps. listings-2026 has no readers: made-up
ones are ranked (`benchmarks.readers`), and the ten best of both paths compared.
For `alone` and `normal` see `benchmarks.alone`. Exits with 1 if the target is missed.
"""

from __future__ import annotations

import os

# As the command line has it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import readers
from benchmarks.alone import PRETRAINED_ON, score
from benchmarks.figures import SHARED, record, skip
from benchmarks.readers import USUAL_NIGHT
from triage import store
from triage.app.application import App, open_app
from triage.domain.protocols import Scorer
from triage.domain.records import I64, Profile
from triage.ranking.pool import Pool
from triage.ranking.serving.active_models import load_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import load_pool, load_profiles, rank_shortlist
from triage.ranking.serving.user_model_cache import UserModelCache
from triage.ranking.shortlist import LARGE, shortlist_each, take_all
from triage.training.evaluation import benchmark
from triage.training.evaluation.benchmark import Benchmark, Ranker

BENCH = SHARED / "bench"
MADE_UP = "listings-2026"
SETS = (PRETRAINED_ON, "screening-hard", "screening-open", MADE_UP)
N_MADE_UP, N_PAPERS = 128, 30_000
N_POOL = 8_000
SLATE = 12
TOLD = 50
TOLERANCE = 0.002


@dataclass(frozen=True)
class Compared:
    """The papers of one slate by both paths, best first, and how well the first stage kept them.

    `kept` is the number of papers that went on, `recall` that of the SLATE best of the exhaustive
    path among them.
    """

    qid: str
    exhaustive: list[str]
    two_stages: list[str]
    kept: int
    recall: float


def main() -> None:
    if not BENCH.exists():
        skip("there is no benchmark data beside the checkout")
    modes = [word for word in sys.argv[1:] if word not in SETS] or ["alone"]
    figures: dict[str, tuple[float, str]] = {}
    for name in [word for word in sys.argv[1:] if word in SETS] or SETS:
        if name == MADE_UP:
            figures |= measure_made_up()
            continue
        for mode in modes:
            figures |= measure(BENCH / name, mode)
    record("python -m benchmarks.two_stages", figures)
    lost = {cell: value for cell, (value, _) in figures.items() if value < -TOLERANCE}
    if lost:
        sys.exit(f"two stages rank worse: {lost}")


def measure(folder: Path, mode: str) -> dict[str, tuple[float, str]]:
    """Print both nDCG@10 of each cell, and return the differences and the recall."""
    data = benchmark.read(folder)
    with TemporaryDirectory() as models:
        store = ModelStore(Path(models), b"for this run")
        ranker = benchmark.fit_ranker(data, store, alone=mode == "alone")
    relevant = read_relevant(folder / "qrels.txt")
    with TemporaryDirectory() as other:
        runs = [Path(other) / "exhaustive", Path(other) / "two_stages"]
        qrels = Path(other) / "qrels.txt"
        found = []
        with runs[0].open("w") as one, runs[1].open("w") as two, qrels.open("w") as answers:
            for each, own in compare(ranker, data, relevant):
                found.append(each)
                for file, papers in ((one, each.exhaustive), (two, each.two_stages)):
                    file.writelines(
                        f"{each.qid} Q0 {paper} {position} 0 triage\n"
                        for position, paper in enumerate(papers, start=1)
                    )
                answers.writelines(f"{each.qid} 0 {paper} 1\n" for paper in sorted(own))
        scores = [score(Path(other), run) for run in runs]
    prefix = f"two_stages_{folder.name}" + ("_normal" if mode == "normal" else "")
    told = {}
    print(
        f"\n{folder.name}, {mode}: {len(found)} slates, {np.mean([e.kept for e in found]):.0f} kept"
    )
    for cell in scores[0]:
        one, two = scores[0][cell], scores[1][cell]
        print(f"  {cell:<6} exhaustive {one:.4f}  two stages {two:.4f}  {two - one:+.4f}")
        told[f"{prefix}_{cell}"] = (round(two - one, 4), "nDCG@10 more than of the exhaustive path")
    recall = round(float(np.mean([each.recall for each in found])), 4)
    told[f"{prefix}_recall"] = (recall, f"of the {SLATE} best papers are kept")
    return told


def measure_made_up() -> dict[str, tuple[float, str]]:
    """Return how well both paths agree for made-up subscribers, and the recall."""
    with TemporaryDirectory() as folder:
        installed = Path(folder) / "installed"
        readers.build_papers(installed, N_PAPERS)
        readers.build_subscribers(installed, N_MADE_UP, N_POOL)
        with closing(open_app(installed / "triage.toml")) as app:
            found = list(compare_made_up(app))
    both = [({*each.exhaustive[:10]}, {*each.two_stages[:10]}) for each in found]
    same = round(float(np.mean([len(one & two) / 10 for one, two in both])), 4)
    kept = np.mean([each.kept for each in found])
    print(f"\n{MADE_UP}: {len(found)} made-up readers, {kept:.0f} papers kept")
    recall = round(float(np.mean([each.recall for each in found])), 4)
    return {
        f"two_stages_{MADE_UP}_same": (
            round(float(np.mean(same)), 4),
            "of the 10 best are the same",
        ),
        f"two_stages_{MADE_UP}_recall": (recall, f"of the {SLATE} best papers are kept"),
    }


def compare_made_up(app: App) -> Iterator[Compared]:
    """Yield both orders for each subscriber of an installation who has likes or a text."""
    pair = load_active_models(app.database, app.model_store)
    assert pair is not None
    on, models = USUAL_NIGHT, UserModelCache(pair.encoder, kept=False)
    with app.database.read() as conn:
        pool = load_pool(conn, pair.encoder, on, readers.DAYS)
        subscribers = store.subscribers.everyone(conn)
        votes = store.events.votes_of_each(conn, [each.id for each in subscribers])
        profiles = load_profiles(conn, pair.encoder, subscribers, votes)
        block = models.load_block(conn, profiles, on)
    for profile in profiles:
        if len(profile.liked) or profile.phrases:
            who = profile.subscriber
            seen = {vote.paper_id for vote in votes[who.id]}
            rows = pool.find_eligible(who, seen, on, readers.DAYS)
            known = replace(profile, user_model=block.of(profile))
            yield compare_one(who.public_id, pair.scorer, known, pool, rows, on)


def read_relevant(qrels: Path) -> dict[str, dict[str, date]]:
    """Return the relevant papers of each reader, and the days of their slates."""
    relevant: dict[str, dict[str, date]] = defaultdict(dict)
    for line in qrels.read_text("utf-8").splitlines():
        qid, _, paper, _ = line.split()
        reader, _, day = qid.partition(".")
        relevant[reader][paper] = date.fromisoformat(day)
    return relevant


def compare(
    ranker: Ranker, data: Benchmark, relevant: dict[str, dict[str, date]]
) -> Iterator[tuple[Compared, set[str]]]:
    """Yield both orders of the pool of each slate, and the relevant papers in this pool."""
    rated_by: dict[str, set[str]] = defaultdict(set)
    for each in data.feedback:
        rated_by[each.user].add(each.paper_id)
    pool, on, oldest = Pool.of(ranker.history.papers.select(slice(0, 0))), date.min, date.min
    for slate in sorted(data.slates, key=lambda slate: (slate.on, slate.user)):
        if slate.on != on:
            on = slate.on
            end = int(np.searchsorted(ranker.history.listed, on.toordinal(), side="right"))
            pool = Pool.of(ranker.history.papers.select(slice(max(0, end - N_POOL), end)))
            oldest = pool.papers[0].listed_on
        own = {paper for paper, day in relevant[slate.user].items() if oldest <= day <= on} & {
            str(paper.source_id) for paper in pool.papers
        }
        if own:
            rated = rated_by[slate.user]
            rows = [row for row, p in enumerate(pool.papers) if p.source_id not in rated]
            eligible = np.array(rows, dtype=np.int64)
            profile = ranker.profile(slate)
            yield compare_one(slate.qid, ranker.scorer, profile, pool, eligible, on), own


def compare_one(
    qid: str, scorer: Scorer, profile: Profile, pool: Pool, eligible: I64, on: date
) -> Compared:
    assert len(eligible) > LARGE
    exhaustive = rank_shortlist(profile, pool, take_all(eligible), scorer, on)
    (shortlist,) = shortlist_each([profile], pool, [eligible])
    two_stages = rank_shortlist(profile, pool, shortlist, scorer, on)
    best = [paper.id for paper in exhaustive.best(SLATE)]
    kept = {pool.papers[row].id for row in shortlist.rows}
    return Compared(
        qid,
        [str(paper.source_id) for paper in exhaustive.best(TOLD)],
        [str(paper.source_id) for paper in two_stages.best(TOLD)],
        len(kept),
        float(np.mean([id in kept for id in best])),
    )


if __name__ == "__main__":
    main()
