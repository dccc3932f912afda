"""The ranking benchmark on made-up data: a whole run, and nothing of the future in it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import topics
from tests.support.factories import DAY
from tests.support.paths import SHARED
from triage.errors import BadBenchmark, NotEnoughFeedback
from triage.ranking.encoder.contrastive import LIKES
from triage.ranking.features import FEATURES
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.pretrained_ranker import PUBLIC_KEY
from triage.training import pretrain
from triage.training.dataset import Group
from triage.training.evaluation import benchmark

SHARED = SHARED / "bench"
N_DAYS, N_EACH = 44, 6
N_RANKED = 4
FIRST = DAY + timedelta(N_DAYS - N_RANKED)
READERS = {"u1": "decoding", "u2": "proteins", "u3": "robots", "u4": "graphs", "u5": "proteins"}
WISHES = {"u1": "speculative decoding", "u3": "tactile grasping"}
# Of it nothing is known but a wish.
COLD = "u6k0"

Row = dict[str, Any]
Run = dict[str, list[tuple[str, int, str]]]


@dataclass
class Data:
    """The rows of a data set's files."""

    papers: list[Row]
    subscribers: list[Row]
    feedback: list[Row]
    slates: list[Row]

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for name in ("papers", "subscribers", "feedback", "slates"):
            lines = "".join(json.dumps(row) + "\n" for row in getattr(self, name))
            write_lines(folder / f"{name}.jsonl.gz", lines)
        # A folder: whoever opens it as a file fails.
        (folder / "qrels.txt").mkdir(exist_ok=True)
        return folder


def write_lines(file: Path, lines: str) -> None:
    file.write_bytes(gzip.compress(lines.encode(), mtime=0))


def made_up() -> Data:
    """Return six readers, who like every third paper of their topic, and four days to rank."""
    papers = topics.listings(N_DAYS, N_EACH).papers
    feedback = []
    for number, (user, topic) in enumerate(READERS.items()):
        own = [paper for paper in papers if topics.topic_of(paper) == topic]
        feedback += [
            {"user": user, "paper_id": p.source_id, "label": 1, "at": p.listed_on.isoformat()}
            for p in own[number % 3 :: 3]
        ]
    return Data(
        papers=[
            {
                "id": paper.source_id,
                "title": paper.title,
                "abstract": paper.abstract,
                "authors": list(paper.authors),
                "categories": list(paper.categories),
                "listed_date": paper.listed_on.isoformat(),
            }
            for paper in papers
        ],
        subscribers=[
            *({"user": user, "interests": WISHES.get(user, "")} for user in READERS),
            {"user": COLD, "interests": "protein folding"},
        ],
        feedback=feedback,
        slates=[
            {"qid": f"{user}-{day}", "user": user, "date": (FIRST + timedelta(day)).isoformat()}
            for user in (*READERS, COLD)
            for day in range(N_RANKED)
        ],
    )


def ranked(data: Data, folder: Path, *, alone: bool = False) -> str:
    out = folder / "out.run"
    model_store = ModelStore(folder / "models", b"a key of the tests")
    data_set = benchmark.read(data.write(folder / "data"))
    benchmark.rank(data_set, model_store, out, alone=alone)
    return out.read_text(encoding="utf-8")


def parsed(text: str) -> Run:
    """Return (paper, rank, score as written) of each slate, in the order of the lines."""
    found: Run = {}
    for line in text.splitlines():
        qid, zero, paper_id, rank, score, _ = line.split()
        assert zero == "Q0"
        found.setdefault(qid, []).append((paper_id, int(rank), score))
    return found


def until(text: str, day: date) -> list[str]:
    """Return the lines of slates up to a day."""
    days = {slate["qid"]: date.fromisoformat(slate["date"]) for slate in made_up().slates}
    return [line for line in text.splitlines() if days[line.split()[0]] <= day]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return ranked(made_up(), tmp_path_factory.mktemp("bench"))


def test_every_slate_is_ranked_once_best_first(run: str) -> None:
    found = parsed(run)
    assert set(found) == {slate["qid"] for slate in made_up().slates}
    assert len(run.splitlines()) == sum(len(lines) for lines in found.values())
    # Each slate's lines stand together.
    qids = [line.split()[0] for line in run.splitlines()]
    assert sum(one != other for one, other in pairwise(qids)) == len(found) - 1
    for lines in found.values():
        assert [rank for _, rank, _ in lines] == list(range(1, len(lines) + 1))
        scores = [float(score) for _, _, score in lines]
        assert scores == sorted(scores, reverse=True)


def test_candidates_are_the_papers_of_the_day_without_feedback(run: str) -> None:
    data, found = made_up(), parsed(run)
    for slate in data.slates:
        rated = {row["paper_id"] for row in data.feedback if row["user"] == slate["user"]}
        listed = [row["id"] for row in data.papers if row["listed_date"] == slate["date"]]
        papers = [paper_id for paper_id, _, _ in found[slate["qid"]]]
        assert sorted(papers) == sorted(set(listed) - rated)


@pytest.mark.parametrize("user", [*READERS, COLD])
def test_what_a_reader_likes_comes_first(run: str, user: str) -> None:
    topic_of = {
        paper.source_id: topics.topic_of(paper) for paper in topics.listings(N_DAYS, N_EACH).papers
    }
    topic, hits = READERS.get(user, "proteins"), []
    for qid, lines in parsed(run).items():
        of_topic = [topic_of[paper_id] == topic for paper_id, _, _ in lines]
        if qid.startswith(user) and any(of_topic):
            hits.append(of_topic[0])
    assert sum(hits) >= 0.9 * len(hits) > 0


def test_a_future_like_and_paper_and_a_dislike_change_no_score_of_an_earlier_slate(
    run: str, tmp_path: Path
) -> None:
    data, day = made_up(), FIRST + timedelta(1)
    later = day + timedelta(1)
    other = next(row for row in data.papers if "Decoding" in row["authors"][0])
    newest = data.papers[-(N_RANKED + 10) * N_EACH : -N_RANKED * N_EACH]
    data.papers.append(other | {"id": "planted", "listed_date": later.isoformat()})
    rated = {(row["user"], row["paper_id"]) for row in data.feedback}
    for user in (*READERS, COLD):
        # Of the days before the first slate: no candidate, but training must not see it liked.
        fresh = [row["id"] for row in newest if (user, row["id"]) not in rated]
        data.feedback += [
            {"user": user, "paper_id": paper, "label": 1, "at": day.isoformat()} for paper in fresh
        ]
    # What was rated down is no like, and no candidate.
    down = parsed(run)[data.slates[-1]["qid"]][0][0]
    early = {"user": COLD, "paper_id": down, "label": 0, "at": DAY.isoformat()}
    data.feedback.append(early)
    planted = ranked(data, tmp_path)
    assert down not in [paper_id for paper_id, _, _ in parsed(planted)[data.slates[-1]["qid"]]]
    assert until(planted, day) == until(run, day)
    assert until(planted, later) != until(run, later)


def test_who_wrote_earlier_papers_is_learned_from_and_who_wrote_later_ones_is_not(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.ranking.encoder.author_metric.FEWEST_GROUPS", 1)
    data = made_up()
    known = ranked(data, tmp_path)
    assert known != run
    day = FIRST + timedelta(1)
    later = [row for row in data.papers if row["listed_date"] > day.isoformat()]
    data.papers.append(later[0] | {"id": "planted"})
    data.papers.append(later[-1] | {"id": "planted too"})
    assert until(ranked(data, tmp_path), day) == until(known, day)


def test_what_readers_like_before_the_slates_teaches_the_encoder_and_later_likes_do_not(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.FEWEST_READERS", 2)
    # Whether likes teach is the question, not how well.
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.LIKES", replace(LIKES, steps=6))
    # Of so few papers a day, many days are one slate to learn from.
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.EARLIER", 0.3)
    data = made_up()
    known = ranked(data, tmp_path)
    assert known != run
    day = FIRST + timedelta(1)
    liked = data.feedback[0]
    data.feedback.append(liked | {"paper_id": data.papers[5]["id"], "at": day.isoformat()})
    assert until(ranked(data, tmp_path), day) == until(known, day)


def test_alone_nothing_of_another_reader_changes_a_slate(tmp_path: Path) -> None:
    first, changed = made_up(), made_up()
    changed.feedback = [row for row in changed.feedback if row["user"] == "u1"]
    runs = []
    for name, data in (("first", first), ("changed", changed)):
        (tmp_path / name).mkdir()
        runs.append(parsed(ranked(data, tmp_path / name, alone=True)))
    for qid, lines in runs[0].items():
        if qid.startswith("u1"):
            assert runs[1][qid] == lines
    assert runs[0] != runs[1]


def test_a_world_without_likes_says_that_there_is_too_little(tmp_path: Path) -> None:
    data = made_up()
    data.feedback = []
    with pytest.raises(NotEnoughFeedback):
        ranked(data, tmp_path)


@pytest.mark.parametrize("name", ["papers", "subscribers", "feedback", "slates"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = made_up().write(tmp_path / "data")
    (folder / f"{name}.jsonl.gz").unlink()
    with pytest.raises(BadBenchmark, match=rf"{name}\.jsonl\.gz is missing"):
        benchmark.read(folder)


USERS = b'{"user": "u1"}\n'
WHOLE = gzip.compress(USERS * 50)
DAMAGES = {
    "a row without a key": ("line 2: user is missing", gzip.compress(USERS + b"{}")),
    "no JSON": ("cannot be read", gzip.compress(USERS + b'{"user"')),
    "not compressed": ("cannot be read", USERS),
    "cut off": ("cannot be read", WHOLE[: len(WHOLE) // 2]),
    "no text": ("cannot be read", gzip.compress(b"\xff\xfe")),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_named(tmp_path: Path, how: str) -> None:
    told, content = DAMAGES[how]
    folder = made_up().write(tmp_path / "data")
    (folder / "subscribers.jsonl.gz").write_bytes(content)
    with pytest.raises(BadBenchmark, match=rf"subscribers\.jsonl\.gz.*{told}"):
        benchmark.read(folder)


# Opens no answers, asks for no address; both would end it with an error.
WATCHED = """
import sys

def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        raise SystemExit(f"{event} {arguments}")
    if event in {"open", "os.listdir", "os.scandir"} and "qrels" in str(arguments[0]):
        raise SystemExit(f"{event} {arguments}")

sys.addaudithook(watch)
from triage.ranking.encoder import text_encoder
from triage.cli import main
text_encoder.BLAS_THREADS = 1  # as in the tests
main()
"""


def triage(folder: Path, *arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("TRIAGE_")}
    return subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_needs_no_config_opens_no_answers_and_writes_the_same_run(
    run: str, tmp_path: Path, root: Path
) -> None:
    made_up().write(tmp_path / "data")
    (tmp_path / "empty").mkdir()
    done = triage(
        tmp_path / "empty", "bench", "rank", "--data", "../data", "--out", "../a.run", root=root
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("24 slates ranked by lm-")
    assert (tmp_path / "a.run").read_text(encoding="utf-8") == run
    assert list((tmp_path / "empty").iterdir()) == []


def test_the_command_ranks_alone_with_the_ranker_that_it_is_given(
    tmp_path: Path, root: Path
) -> None:
    made_up().write(tmp_path / "data")
    given = pretrain.fit(groups()[::2])
    given.save(tmp_path / "ranker", PUBLIC_KEY)
    (tmp_path / "none").mkdir()
    command = ["bench", "rank", "--data", "data", "--out", "a.run", "--alone", "--ranker"]
    done = triage(tmp_path, *command, "ranker", root=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"24 slates ranked by {given.version}:")
    refused = triage(tmp_path, *command, "none", root=root)
    assert refused.returncode == 1
    assert "none has no readable scorer" in refused.stderr


def groups() -> list[Group]:
    """Return query groups in which the liked papers have the larger similarities."""
    rng = np.random.default_rng(2)
    found = []
    for reader in range(8):
        X = rng.random((30, len(FEATURES))).astype(np.float32)
        found.append(Group(reader, X, (X[:, 0] > 0.8).astype(np.int32)))
    return found


def test_the_command_says_what_is_missing(tmp_path: Path, root: Path) -> None:
    (tmp_path / "data").mkdir()
    done = triage(tmp_path, "bench", "rank", "--data", "data", "--out", "a.run", root=root)
    assert done.returncode == 2
    assert "papers.jsonl.gz is missing" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not SHARED.is_dir(), reason="the ranking benchmark is not beside the checkout")
def test_the_real_readers_are_read() -> None:
    folder = SHARED / "libraries-citeulike"
    data = benchmark.read(folder)
    assert len(data.papers) > 20_000
    assert all(slate.user in data.interests for slate in data.slates)
    assert all(given.liked for given in data.feedback[:100])
    assert listed_in_order(paper.listed_on for paper in data.papers)


def listed_in_order(days: Iterable[date]) -> bool:
    listed = list(days)
    return listed == sorted(listed)


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("papers", '{"id": "1", "title": "t", "abstract": "a", "listed_date": "soon"}', "line 1"),
        ("papers", "[]", "line 1"),
        ("papers", '{"id": "1"}', "title is missing"),
        ("slates", '{"qid": "q", "user": "nobody", "date": "2026-03-02"}', "nobody is not in"),
        ("slates", "", "empty"),
        ("feedback", "{", "line 1"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, line: str, said: str) -> None:
    good = {
        "papers": '{"id": "1", "title": "t", "abstract": "a", "listed_date": "2026-03-02"}',
        "subscribers": '{"user": "u"}',
        "feedback": "",
        "slates": '{"qid": "q", "user": "u", "date": "2026-03-02"}',
    }
    for each, text in (good | {name: line}).items():
        with gzip.open(tmp_path / f"{each}.jsonl.gz", "wt") as file:
            file.write(text and text + "\n")
    with pytest.raises(BadBenchmark, match=said):
        benchmark.read(tmp_path)
