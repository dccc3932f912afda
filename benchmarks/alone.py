"""Measure the ranking of a new installation: each reader as its only subscriber.

    python -m benchmarks.alone [alone] [normal] [SET …]

`alone` is what most people get: the pretrained ranker as it is, an encoder that knows only papers.
`normal` is `triage bench rank`: trained on all readers, from the pretrained ranker on. Figures are
multiples of the best baseline's nDCG@10 in each cell (`python -m benchmarks.peers`).

No reader is judged by a ranker that was trained on their lists. For listings-2025, readers are put
into folds, and each is ranked by a ranker without the lists that share papers with those of their
fold. CiteULike's readers are each known by 1, 3, 10 and by all likes.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.figures import SHARED, record, skip
from benchmarks.pretrain import groups as pretraining_groups
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.lambdamart import LambdaMartScorer
from triage.ranking.serving.model_store import ModelStore
from triage.training import pretrain
from triage.training.evaluation import benchmark
from triage.training.evaluation.baselines import LR, NAMES, ZOTERO
from triage.training.evaluation.benchmark import Benchmark, Ranker

BENCH = SHARED / "bench"
PRETRAINED_ON = "listings-2025"
FEW = "libraries-few"
SETS = (PRETRAINED_ON, "screening-hard", "screening-open", FEW)
N_FOLDS = 5
MIXED_AT_ONCE = 8
# Lists that share so many papers, or such a part of the smaller one, are of the same person.
SHARED_LIKES, SHARED_PART = 2, 0.3
KNOWN = (1, 3, 10)


def main() -> None:
    if not BENCH.exists():
        skip("there is no benchmark data beside the checkout")
    modes = [word for word in sys.argv[1:] if word not in SETS] or ["alone", "normal"]
    figures: dict[str, tuple[float, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        few = make_few_likes(Path(folder) / FEW)
        for name in [word for word in sys.argv[1:] if word in SETS] or SETS:
            data = few if name == FEW else BENCH / name
            best = measure_baselines(data)
            for mode in modes:
                run = Path(folder) / "run"
                write_run(data, mode, run)
                for cell, value in score(data, run).items():
                    ratio = (round(value / best[cell], 3), "times the best baseline's nDCG@10")
                    figures[f"{mode}_{name}_{cell}"] = (value, "nDCG@10")
                    figures[f"{mode}_{name}_{cell}_ratio"] = ratio
                    print(name, mode, cell, value, *ratio, flush=True)
    record("python -m benchmarks.alone", figures)


def write_run(folder: Path, mode: str, run: Path) -> None:
    """Rank the slates of a data set, as a TREC run."""
    data = benchmark.read(folder)
    alone = mode == "alone"
    with tempfile.TemporaryDirectory() as models:
        if folder.name != PRETRAINED_ON:
            benchmark.rank(data, ModelStore(Path(models), b"for this run"), run, alone=alone)
            return
        known = benchmark.prepare(data, ModelStore(Path(models), b"for this run"), alone=alone)
        ranker = Ranker(known, data, ColdStartScorer())
        examples = None if alone else benchmark.make_examples(known, data, ColdStartScorer())
        with run.open("w", encoding="utf-8") as file:
            for judged, start in fit_fold_rankers(data):
                ranker.scorer = start
                if examples is not None:
                    store = ModelStore(Path(models), b"for this run", start)
                    ranker.scorer = benchmark.fit_scorer(store, examples, known.encoder)
                slates = [slate for slate in data.slates if slate.user in judged]
                benchmark.write_run(file, ranker, sorted(slates, key=lambda s: (s.user, s.on)))


def fit_fold_rankers(data: Benchmark) -> Iterator[tuple[set[str], LambdaMartScorer]]:
    """Yield each fold's readers with a pretrained ranker that has not seen their lists."""
    lists, users = pretraining_groups(data), list(data.interests)
    for judged, related in folds(data):
        known = (each for each in lists if users[each.reader] not in related)
        yield judged, pretrain.fit(known)


def folds(data: Benchmark) -> list[tuple[set[str], set[str]]]:
    """Return groups of readers, each with all readers who share one of their lists."""
    likes: dict[str, set[str]] = {user: set() for user in data.interests}
    for each in data.feedback:
        if each.liked:
            likes[each.user].add(each.paper_id)
    people = _people([user for user in likes if not _is_mixed(user)], likes)
    lists = {user: {person} for user, person in people.items()}
    for user in filter(_is_mixed, likes):
        lists[user] = {people[one] for one in people if _share(likes[one], likes[user])}
    order = np.random.default_rng(0).permutation(sorted(set(people.values())))
    groups = [
        {user for user, person in people.items() if person in set(part)}
        for part in np.array_split(order, N_FOLDS)
    ]
    mixed = sorted(filter(_is_mixed, likes))
    while mixed:
        group = {mixed.pop(0)}
        while mixed and len(group) < MIXED_AT_ONCE:
            known = set().union(*(lists[user] for user in group))
            nearest = min(mixed, key=lambda user: (len(lists[user] - known), user))
            mixed.remove(nearest)
            group.add(nearest)
        groups.append(group)
    found = []
    for group in groups:
        known = set().union(*(lists[user] for user in group))
        found.append((group, {user for user in likes if lists[user] & known} | group))
    return found


def _is_mixed(user: str) -> bool:
    return user.startswith("m")


def _people(users: Sequence[str], likes: Mapping[str, set[str]]) -> dict[str, str]:
    """Return the person behind each reader: readers of one list have one."""
    person = {user: user.split("k")[0] for user in users}
    for one in users:
        for other in users:
            if person[one] != person[other] and _share(likes[one], likes[other]):
                same = {person[one], person[other]}
                person = {u: min(same) if p in same else p for u, p in person.items()}
    return person


def _share(one: set[str], other: set[str]) -> bool:
    least = max(SHARED_LIKES, SHARED_PART * min(len(one), len(other)))
    return len(one & other) >= least


def make_few_likes(folder: Path) -> Path:
    """Write readers of CiteULike with 1, 3, 10 and all likes as a data set; return its folder."""
    source = BENCH / "libraries-citeulike"
    folder.mkdir()
    (folder / "papers.jsonl.gz").symlink_to(source / "papers.jsonl.gz")
    users = sorted(row["user"] for row in _rows(source / "subscribers.jsonl.gz"))
    names = {user: [user, *(f"{user}k{k}" for k in KNOWN)] for user in users}
    feedback = list(_rows(source / "feedback.jsonl.gz"))
    likes: dict[str, list[str]] = defaultdict(list)
    for row in sorted(feedback, key=lambda row: str(row["at"])):
        if row["label"] == 1:
            likes[row["user"]].append(row["paper_id"])
    first = {f"{user}k{k}": set(own[:k]) for user, own in likes.items() for k in KNOWN}
    _write(
        folder / "subscribers.jsonl.gz",
        ({"user": n, "interests": ""} for own in names.values() for n in own),
    )
    _write(
        folder / "feedback.jsonl.gz",
        (
            row | {"user": name}
            for row in feedback
            for name in names[row["user"]]
            if row["paper_id"] in first.get(name, {row["paper_id"]})
        ),
    )
    slates = list(_rows(source / "slates.jsonl.gz"))
    _write(
        folder / "slates.jsonl.gz",
        (
            row | {"user": name, "qid": row["qid"].replace(row["user"], name, 1)}
            for row in slates
            for name in names[row["user"]]
        ),
    )
    with (folder / "qrels.txt").open("w", encoding="utf-8") as file:
        for line in (source / "qrels.txt").read_text("utf-8").splitlines():
            user = line.split(".")[0]
            for name in names[user]:
                file.write(line.replace(user, name, 1) + "\n")
    return folder


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def score(folder: Path, run: Path) -> dict[str, float]:
    """Return nDCG@10 of each cell."""
    command = [sys.executable, str(BENCH / "score_run.py"), str(folder / "qrels.txt"), str(run)]
    told = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True).stdout
    return {cell: row["ndcg@10"] for cell, row in json.loads(told).items()}


def measure_baselines(folder: Path) -> dict[str, float]:
    """Return the best baseline's nDCG@10 of each cell."""
    data = peers.load(folder)
    found = peers.measure(data, peers.fit(data), (ZOTERO, LR) if folder.name == FEW else NAMES)
    best: dict[str, float] = {}
    for (_, cell), value in found.items():
        best[cell] = max(best.get(cell, 0.0), value)
    return best


if __name__ == "__main__":
    main()
