"""Rank the benchmark's slates by the baselines, and compare with the published figures.

    nice -n 10 python -m benchmarks.peers [listings-2025] [libraries-citeulike] [cpu]

Without arguments everything is measured. Exits with 1 if an nDCG@10 differs by more than 0.01 from
the benchmark's BASELINES.md: then these are not the same rankers. `cpu` prints the marginal
processor time per user: the slope between 10 and 60 users, from a user's likes to the ranked list
of one slate. What is fitted once for all users is not counted.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import SHARED, record, skip
from triage.ranking.serving.model_store import ModelStore
from triage.training.evaluation import benchmark as benchmark_module
from triage.training.evaluation.baselines import ASL, LR, TEXT, ZOTERO, Baselines, peer_text

BENCH = SHARED / "bench"
COMMAND = "python -m benchmarks.peers"
PEERS = {"listings-2025": (ASL, ZOTERO, LR, TEXT), "libraries-citeulike": (ZOTERO, LR)}
TOLERANCE = 0.01
FEW, MANY = 10, 60

Figures = dict[tuple[str, str], float]
"""nDCG@10 by peer and group of readers."""

Ranker = Callable[[str], Sequence[str]]
"""From a reader to the papers of their first slate, best first."""


@dataclass(frozen=True)
class Data:
    """One data set; users and slates are sorted, rows are those of `papers`."""

    folder: Path
    papers: list[dict[str, Any]]
    interests: dict[str, str]
    liked: dict[str, list[int]]
    had: dict[str, list[int]]
    slates: dict[str, list[tuple[str, str]]]
    listed: dict[str, NDArray[np.int64]]

    def candidates(self, reader: str, on: str) -> NDArray[np.int64]:
        """Return the rows of the papers listed that day without feedback of the user."""
        return np.setdiff1d(self.listed[on], self.had[reader])

    def ranked(self, scores: NDArray[np.float64], reader: str, on: str) -> NDArray[np.int64]:
        rows = self.candidates(reader, on)
        return rows[np.argsort(-scores[rows], kind="stable")]


def load(folder: Path) -> Data:
    """Read a data set; likes are newest first, those of one day in reverse order of the file."""
    papers = list(_lines(folder / "papers.jsonl.gz"))
    row_of = {paper["id"]: row for row, paper in enumerate(papers)}
    liked: dict[str, list[int]] = defaultdict(list)
    had: dict[str, list[int]] = defaultdict(list)
    oldest_first = sorted(_lines(folder / "feedback.jsonl.gz"), key=lambda vote: vote["at"])
    for vote in reversed(oldest_first):
        had[vote["user"]].append(row_of[vote["paper_id"]])
        if vote["label"] == 1:
            liked[vote["user"]].append(row_of[vote["paper_id"]])
    slates: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for slate in sorted(_lines(folder / "slates.jsonl.gz"), key=lambda slate: slate["qid"]):
        slates[slate["user"]].append((slate["qid"], slate["date"]))
    listed: dict[str, list[int]] = defaultdict(list)
    for row, paper in enumerate(papers):
        listed[paper["listed_date"]].append(row)
    wishes = _lines(folder / "subscribers.jsonl.gz")
    return Data(
        folder=folder,
        papers=papers,
        interests={reader["user"]: reader["interests"] for reader in wishes},
        liked=liked,
        had=had,
        slates=dict(sorted(slates.items())),
        listed={on: np.array(rows) for on, rows in listed.items()},
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def fit(data: Data) -> Baselines:
    started = time.process_time()
    texts = [peer_text(p["title"], p["abstract"], p.get("authors") or ()) for p in data.papers]
    baselines = Baselines(texts)
    spent = time.process_time() - started
    print(f"{data.folder.name}: TF-IDF of {len(texts):,} papers fitted once, {spent:.1f} s of CPU")
    return baselines


def write_run(data: Data, baselines: Baselines, peer: str, run: TextIO) -> None:
    """Rank every slate by one baseline; those that are fitted skip users without likes."""
    rng = np.random.default_rng(0)
    for reader, slates in data.slates.items():
        liked = data.liked.get(reader, [])
        if bool(liked) == (peer == TEXT):
            continue
        scores = baselines.scores(peer, data.interests.get(reader, ""), liked, rng)
        for qid, on in slates:
            for rank, row in enumerate(data.ranked(scores, reader, on), start=1):
                run.write(f"{qid} Q0 {data.papers[row]['id']} {rank} {scores[row]:.6f} {peer}\n")


def measure(data: Data, baselines: Baselines, names: Sequence[str]) -> Figures:
    """Return the nDCG@10 of every baseline on every group that it can rank."""
    found: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for peer in names:
            path = Path(folder) / f"{peer}.run"
            started = time.process_time()
            with path.open("w", encoding="utf-8") as run:
                write_run(data, baselines, peer, run)
            spent = time.process_time() - started
            print(f"{data.folder.name}: {peer} ranked all slates, {spent:.0f} s of CPU", flush=True)
            qrels = data.folder / "qrels.txt"
            scorer = [sys.executable, str(BENCH / "score_run.py"), str(qrels), str(path), "--json"]
            told = subprocess.run(scorer, check=True, capture_output=True, text=True).stdout
            for group, figures in json.loads(told).items():
                if (group == "cold0") == (peer == TEXT):
                    found[peer, group] = figures["ndcg@10"]
    return found


def known_figures(name: str) -> Figures:
    """Read the table of one data set in BASELINES.md."""
    page = (BENCH / "BASELINES.md").read_text(encoding="utf-8")
    section = page.split(f"### {name}\n", 1)[1].split("\n#", 1)[0]
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    groups = [re.sub(r" .*", "", cell) for cell in table[0][1:]]
    return {
        (cells[0].removesuffix("-tfidf"), group): float(cell)
        for cells in table[2:]
        for group, cell in zip(groups, cells[1:], strict=True)
        if cell
    }


def compare(name: str, found: Figures, known: Figures) -> list[str]:
    """Print measured and published figures, and return those that differ too much."""
    print(f"\n{name}: nDCG@10, measured here and known\n")
    wrong = []
    for (peer, group), value in known.items():
        here = found.get((peer, group), float("nan"))
        print(f"  {group:<6} {peer:<7} {here:.4f}  {value:.4f}  {here - value:+.4f}")
        if not abs(here - value) <= TOLERANCE:
            wrong.append(f"{name} {group} {peer}: {here:.4f} and not {value:.4f}")
    print()
    return wrong


# -- the processor time of one reader more ---------------------------------------------------------


def marginal_cpu_s(rank: Ranker, readers: Sequence[str]) -> float:
    """Return the processor seconds of one more user, over all threads.

    Args:
        rank: returns a user's ranked list; what is fitted once is fitted before.
        readers: at least MANY of them.
    """
    spent = []
    for n in (FEW, MANY):
        started = time.process_time()
        for reader in readers[:n]:
            assert len(rank(reader))
        spent.append(time.process_time() - started)
    return (spent[1] - spent[0]) / (MANY - FEW)


def arxiv_sanity_lite(data: Data, baselines: Baselines) -> Ranker:
    """Return arxiv-sanity-lite's way: one support vector machine a reader over all papers."""
    rng = np.random.default_rng(0)

    def rank(reader: str) -> list[str]:
        scores = baselines.scores(ASL, "", data.liked[reader], rng)
        on = data.slates[reader][0][1]
        return [data.papers[row]["id"] for row in data.ranked(scores, reader, on)]

    return rank


def ours(data: Data) -> Ranker:
    """Return the program's way, with all that an installation has stored before its nightly run.

    The encoder, the papers' vectors, the scorer and what was learned of each reader are there; a
    reader costs feature rows, scores and their order.
    """
    benchmark = benchmark_module.read(BENCH / "listings-2025")
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        ranker = benchmark_module.fit_ranker(benchmark, ModelStore(Path(folder), b"benchmark"))
    print(f"our encoder and scorer, once: {time.process_time() - started:.0f} s of CPU")
    firsts = {slate.user: slate for slate in reversed(benchmark.slates)}
    started = time.process_time()
    for slate in firsts.values():
        ranker.profile(slate)
    fit_s = (time.process_time() - started) / len(firsts)
    print(f"our fit of a reader, once per change of feedback: {1000 * fit_s:.0f} ms of CPU")
    assert firsts.keys() >= data.slates.keys()

    def rank(reader: str) -> list[str]:
        return [str(paper.source_id) for paper, _ in ranker.ranked(firsts[reader])]

    return rank


def measure_cpu(data: Data, baselines: Baselines) -> dict[str, tuple[float, str]]:
    """Print the marginal processor time of both, and their ratio."""
    readers = [reader for reader in data.slates if data.liked.get(reader)]
    readers = [str(reader) for reader in np.random.default_rng(0).permutation(readers)]
    theirs_s = marginal_cpu_s(arxiv_sanity_lite(data, baselines), readers)
    figures = {"asl_marginal_cpu": (round(theirs_s, 3), "s of CPU a reader to the ranked list")}
    ours_s = marginal_cpu_s(ours(data), readers)
    return figures | {
        "marginal_cpu": (round(1000 * ours_s, 3), "ms of CPU a reader to the ranked list"),
        "marginal_cpu_ratio": (round(theirs_s / ours_s), "times less than arxiv-sanity-lite's"),
    }


def main() -> None:
    if not BENCH.exists():
        skip("there is no benchmark data beside the checkout")
    wanted = sys.argv[1:] or [*PEERS, "cpu"]
    figures: dict[str, tuple[float, str]] = {}
    wrong: list[str] = []
    for name in PEERS:
        with_cpu = name == "listings-2025" and "cpu" in wanted
        if name not in wanted and not with_cpu:
            continue
        data = load(BENCH / name)
        baselines = fit(data)
        if name in wanted:
            found = measure(data, baselines, PEERS[name])
            wrong += compare(name, found, known_figures(name))
            figures |= {
                f"peer_{name}_{group}_{peer}": (value, "nDCG@10")
                for (peer, group), value in found.items()
            }
        if with_cpu:
            figures |= measure_cpu(data, baselines)
    record(COMMAND, figures)
    if wrong:
        sys.exit("these are not the peers' rankers:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
