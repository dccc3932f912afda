"""Simulates users with known preferences, to test training on biased, noisy or hostile votes.

    python -m benchmarks.simulate [--quick]

Made-up papers on twelve topics appear day by day. Each user likes two topics, and of these the
papers with many upvotes; the interests text has only one of the topics. Slates come from triage's
features, scorer and slate. Users look at position r with probability 1 / r, vote on what they look
at, and one vote in ten is random. After fourteen days triage's training and other ways to correct
for position are fitted on the same log, and tested by the true labels of papers of later days.

`reticent` users cast only one in five of their downvotes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path

import numpy as np

from benchmarks.figures import record
from triage.domain.protocols import Scorer
from triage.domain.records import (
    F64,
    I32,
    Detail,
    EncodedPapers,
    EventKind,
    Frequency,
    Paper,
    Policy,
    Profile,
    Subscriber,
    SubscriberState,
)
from triage.errors import NotEnoughFeedback
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.encoder.text_encoder import TextEncoder
from triage.ranking.exploration import slate_rng
from triage.ranking.features import FEATURES, split_phrases
from triage.ranking.pool import Pool
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import rank
from triage.ranking.slate import build_slate
from triage.store.training_log import TrainingLog
from triage.training.evaluation.metrics import ndcg
from triage.training.labels import IGNORED
from triage.training.train import TrainingRows, fit, label_training_log

START = date(2026, 3, 2)
N_TOPICS = 12
N_WORDS = 24
SIZE = 10
K = 10
N_LATER = 5
"""How many later days judge; a world's figure is a mean over readers and these."""

RANDOM_VOTES = 0.1
RETICENCE = 0.2
KEY = b"a key of the simulation"

Votes = list[tuple[int, int, EventKind]]
Voter = Callable[["World", int, int, np.random.Generator], EventKind | None]


@dataclass(frozen=True)
class World:
    """Papers with their vectors and users with their preferences.

    Attributes:
        library: all papers, ids 1 to n, those of one day next to each other.
        truth: int32 (n_readers, n_papers), the true label of each paper for each user, 0 to 3.
    """

    library: EncodedPapers
    encoder: TextEncoder
    subscribers: tuple[Subscriber, ...]
    truth: I32
    per_day: int

    def day(self, number: int) -> slice:
        return slice(number * self.per_day, (number + 1) * self.per_day)

    def rows(self, chosen: Sequence[int] | slice) -> EncodedPapers:
        rows = np.arange(len(self.library))[chosen] if isinstance(chosen, slice) else chosen
        return self.library.select(np.asarray(rows, dtype=np.int64))


def make_world(seed: int, *, n_readers: int, n_days: int, per_day: int) -> World:
    """Make papers and users."""
    rng = np.random.default_rng(seed)
    words = [[f"t{topic}w{n}" for n in range(N_WORDS)] for topic in range(N_TOPICS)]
    common = [f"common{n}" for n in range(60)]
    n = n_days * per_day
    topics = rng.integers(0, N_TOPICS, (n, 2))
    upvotes = np.floor(rng.exponential(12.0, n)).astype(int)
    papers = []
    for row in range(n):
        first, second = (words[topic] for topic in topics[row])
        text = [*rng.choice(first, 9), *rng.choice(second, 4), *rng.choice(common, 14)]
        papers.append(
            Paper(
                id=row + 1,
                source="made",
                source_id=str(row + 1),
                version=1,
                title=" ".join(str(word) for word in rng.choice(first, 4)),
                abstract=" ".join(str(word) for word in rng.permutation(text)),
                authors=(f"Author {topics[row, 0]} {rng.integers(0, 30)}",),
                categories=(f"cat.{topics[row, 0] // 3}",),
                listed_on=START + timedelta(days=row // per_day),
                upvotes=int(upvotes[row]),
            )
        )
    encoder = TextEncoder.fit([paper.text for paper in papers])
    taste = np.array([rng.choice(N_TOPICS, 2, replace=False) for _ in range(n_readers)])
    near = np.stack([np.isin(topics, each) @ [0.7, 0.3] for each in taste])
    liking = near * (0.5 + np.log1p(upvotes) / 5) + rng.normal(0, 0.08, near.shape)
    truth = np.select([liking > 0.95, liking > 0.65], [3, 2], 0).astype(np.int32)
    return World(
        library=EncodedPapers(tuple(papers), encoder.encode([paper.text for paper in papers])),
        encoder=encoder,
        subscribers=tuple(
            Subscriber(
                id=reader + 1,
                public_id=f"{reader:020x}",
                email=f"reader{reader}@example.org",
                state=SubscriberState.ACTIVE,
                zone="UTC",
                hour=7,
                frequency=Frequency.DAILY,
                detail=Detail.ABSTRACT,
                interests=" ".join(words[taste[reader, 0]][:6]),
            )
            for reader in range(n_readers)
        ),
        truth=truth,
        per_day=per_day,
    )


def outspoken(world: World, reader: int, row: int, rng: np.random.Generator) -> EventKind | None:
    """Vote on every paper that was looked at, sometimes at random."""
    if rng.random() < RANDOM_VOTES:
        return (EventKind.VOTE_UP, EventKind.VOTE_DOWN)[int(rng.integers(2))]
    kinds = {3: EventKind.SAVE, 2: EventKind.VOTE_UP}
    return kinds.get(int(world.truth[reader, row]), EventKind.VOTE_DOWN)


def reticent(world: World, reader: int, row: int, rng: np.random.Generator) -> EventKind | None:
    """Vote as `outspoken`, but leave out most downvotes."""
    kind = outspoken(world, reader, row, rng)
    silent = kind is EventKind.VOTE_DOWN and rng.random() > RETICENCE
    return None if silent else kind


def hostile(world: World, reader: int, row: int, _rng: np.random.Generator) -> EventKind | None:
    """Save the papers that the user dislikes and vote down those that the user likes."""
    return EventKind.VOTE_DOWN if world.truth[reader, row] else EventKind.SAVE


@dataclass
class Diary:
    """The impressions and votes so far."""

    votes: Votes = field(default_factory=list)
    at: dict[int, list[tuple[int, EventKind]]] = field(default_factory=dict)
    shown: list[tuple[float, ...]] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    seen: dict[int, set[int]] = field(default_factory=dict)

    def log(self) -> TrainingLog:
        facts = np.array(self.shown, dtype=np.float64).reshape(-1, 7)
        return TrainingLog(
            slate_ids=facts[:, 0].astype(np.int64),
            subscriber_ids=facts[:, 1].astype(np.int64),
            paper_ids=facts[:, 2].astype(np.int64),
            days=facts[:, 3].astype(np.int32),
            positions=facts[:, 4].astype(np.int32),
            scores=facts[:, 5],
            propensities=facts[:, 6].astype(np.float32),
            features=np.array(self.features, dtype=np.float32).reshape(-1, len(FEATURES)),
        )


def profile_of(world: World, diary: Diary, reader: int) -> Profile:
    votes = diary.at.get(reader, [])[::-1]
    liked = [row for row, kind in votes if kind in (EventKind.SAVE, EventKind.VOTE_UP)]
    disliked = [row for row, kind in votes if kind is EventKind.VOTE_DOWN]
    subscriber = world.subscribers[reader]
    wanted = split_phrases(subscriber.interests)
    noon = datetime.combine(START, time(12), timezone.utc)  # noqa: UP017
    return Profile(
        subscriber=subscriber,
        liked=world.rows(liked),
        liked_at=(noon,) * len(liked),
        disliked=world.rows(disliked),
        disliked_at=(noon,) * len(disliked),
        phrases=wanted,
        interests=world.encoder.encode(wanted),
    )


def live(
    world: World,
    diary: Diary,
    day: int,
    scorer: Scorer,
    voters: Sequence[Voter],
    zealots: frozenset[int] = frozenset(),
) -> None:
    """Show every user a slate of the day's papers and log the votes.

    Args:
        zealots: users who look at every paper.
    """
    pool, on = Pool.of(world.rows(world.day(day))), START + timedelta(days=day)
    for reader, voter in enumerate(voters):
        rng = np.random.default_rng([7, reader, day])
        ranking = rank(
            profile_of(world, diary, reader), pool, scorer, seen=(), on=on, max_age_days=3
        )
        placements = build_slate(
            ranking.scores,
            ranking.candidates.encodings.latent,
            size=SIZE,
            floor=0.0,
            n_exploration=1,
            rng=slate_rng(1, reader, on),
        )
        slate_id = day * len(voters) + reader + 1
        for place in placements:
            row = ranking.candidates.papers[place.row].id - 1
            diary.shown.append(
                (
                    slate_id, reader + 1, row + 1, on.toordinal(), place.position, place.score,
                    place.propensity,
                )
            )  # fmt: skip
            diary.features.append(ranking.features[place.row])
            looks = reader in zealots or rng.random() < 1 / place.position
            kind = voter(world, reader, row, rng) if looks else None
            if kind is not None:
                diary.votes.append((reader + 1, row + 1, kind))
                diary.at.setdefault(reader, []).append((row, kind))
                assert place.policy in Policy


def simulated(
    world: World,
    model_store: ModelStore,
    voters: Sequence[Voter],
    n_days: int,
    *,
    zealots: frozenset[int] = frozenset(),
    retrain_every: int = 4,
) -> tuple[Diary, Scorer]:
    """Simulate some days with several trainings; return the log and the ranker."""
    diary, scorer = Diary(), ColdStartScorer()
    serves: Scorer = scorer
    for day in range(n_days):
        live(world, diary, day, serves, voters, zealots)
        if (day + 1) % retrain_every == 0:
            serves = (
                taught(world, model_store, label_training_log(diary.log(), diary.votes)[0])
                or serves
            )
    lessons, _ = label_training_log(diary.log(), diary.votes)
    return diary, taught(world, model_store, lessons) or serves


def taught(world: World, model_store: ModelStore, lessons: TrainingRows) -> Scorer | None:
    try:
        return fit(model_store, lessons, world.encoder)
    except NotEnoughFeedback:
        return None


def truly(
    world: World, diary: Diary, scorer: Scorer, days: Iterable[int], readers: Iterable[int]
) -> tuple[float, list[set[int]]]:
    """Return the true mean nDCG@10 over users and later days, and each ranking's ten best."""
    values, tops = [], []
    for day in days:
        pool, on = Pool.of(world.rows(world.day(day))), START + timedelta(days=day)
        for reader in readers:
            ranking = rank(
                profile_of(world, diary, reader), pool, scorer, seen=(), on=on, max_age_days=3
            )
            order = np.argsort(-ranking.scores, kind="stable")
            truth = world.truth[reader, world.day(day)]
            values.append(ndcg(truth[order], K))
            tops.append({ranking.candidates.papers[row].id for row in order[:K]})
    return float(np.nanmean(values)), tops


# -- ways of handling position ---------------------------------------------------------------------


def voted_only(lessons: TrainingRows) -> TrainingRows:
    """Keep only papers with votes, with equal weights: no correction."""
    rows = np.flatnonzero(lessons.marks != IGNORED)
    return TrainingRows(
        lessons.log.select_rows(rows),
        lessons.marks[rows],
        np.ones(len(rows), np.float32),
        lessons.worth[rows],
    )


def shown_as_is(lessons: TrainingRows) -> TrainingRows:
    """Use every shown paper without a vote as a negative."""
    return replace(lessons, weights=np.ones(len(lessons), np.float32))


def weak_negatives(lessons: TrainingRows) -> TrainingRows:
    """Give every paper without a vote a weight of 1/5."""
    return replace(lessons, weights=np.where(lessons.marks == IGNORED, 0.2, 1).astype(np.float32))


def lightgbm_positions(lessons: TrainingRows) -> Scorer:
    """Let LightGBM estimate the position bias (its `position`, Wang et al. 2018)."""
    import lightgbm

    from triage.ranking import lambdamart
    from triage.ranking.linear_scorer import fit_linear_scorer

    ones = np.ones(len(lessons), np.float32)
    sizes = np.diff(lessons.held_out().starts, append=len(lessons))
    X, marks = lessons.log.features, np.maximum(lessons.marks, 0)
    linear = fit_linear_scorer(X, ColdStartScorer().margin, marks, sizes.tolist(), ones, 0)
    start = ColdStartScorer()
    log = lambdamart._Log(X, marks, sizes, ones, lambdamart.initial_margin(start, linear, X))
    data = log.dataset()
    data.position = lessons.log.positions - 1
    parameters = lambdamart._parameters(len(lessons), 0) | {
        "lambdarank_position_bias_regularization": 1.0
    }
    trees = lightgbm.train(parameters, data, lambdamart._choose_rounds(log, 0))
    text = trees.model_to_string()
    scale = lambdamart._scale(trees, log, start)
    return lambdamart.LambdaMartScorer(text, linear, scale, start, "simulated")


WAYS: dict[str, Callable[[World, ModelStore, TrainingRows], Scorer | None]] = {
    "cold": lambda *_: ColdStartScorer(),
    "naive_voted": lambda world, shop, lessons: taught(world, shop, voted_only(lessons)),
    "naive_shown": lambda world, shop, lessons: taught(world, shop, shown_as_is(lessons)),
    "weak_negatives": lambda world, shop, lessons: taught(world, shop, weak_negatives(lessons)),
    "lightgbm_positions": lambda _world, _shop, lessons: lightgbm_positions(lessons),
    "product": taught,
}


def positions(
    seeds: Sequence[int],
    voter: Voter,
    n_days: int = 14,
    names: Iterable[str] = tuple(WAYS),
    **size: int,
) -> dict[str, F64]:
    """Return the true nDCG@10 of each method of `names`, one value for each seed."""
    found: dict[str, list[float]] = {}
    for seed in seeds:
        world = make_world(seed, n_days=n_days + N_LATER, **size)
        readers = range(len(world.subscribers))
        with tempfile.TemporaryDirectory() as folder:
            model_store = ModelStore(Path(folder), KEY)
            diary, _ = simulated(world, model_store, [voter] * len(readers), n_days)
            lessons, _ = label_training_log(diary.log(), diary.votes)
            for name in names:
                scorer = WAYS[name](world, model_store, lessons)
                days = range(n_days, n_days + N_LATER)
                value = truly(world, diary, scorer, days, readers)[0] if scorer else np.nan
                found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def poisoned(
    seeds: Sequence[int],
    n_days: int = 14,
    names: Sequence[str] = ("honest", "hostile"),
    **size: int,
) -> dict[str, float]:
    """Return how many of the others' ten best papers one user's votes change, on average.

    The same user votes in three ways: not at all, honestly, and hostile on every paper of every
    digest. The digests are those of the cold-start scorer, so that only the votes differ.
    """
    changed: dict[str, list[float]] = {name: [] for name in names}
    last_voters = {"silent": silent, "honest": outspoken, "hostile": hostile}
    for seed in seeds:
        world = make_world(seed, n_days=n_days + 1, **size)
        others = range(len(world.subscribers) - 1)
        tops = {}
        for name in ("silent", *names):
            zealots = frozenset({len(others)} if name == "hostile" else set())
            diary = Diary()
            for day in range(n_days):
                voters = [*[outspoken] * len(others), last_voters[name]]
                live(world, diary, day, ColdStartScorer(), voters, zealots)
            with tempfile.TemporaryDirectory() as folder:
                lessons, _ = label_training_log(diary.log(), diary.votes)
                scorer = fit(ModelStore(Path(folder), KEY), lessons, world.encoder)
            tops[name] = truly(world, diary, scorer, [n_days], others)[1]
        for name, values in changed.items():
            pairs = zip(tops[name], tops["silent"], strict=True)
            values.append(float(np.mean([len(one - other) for one, other in pairs])))
    return {name: float(np.mean(values)) for name, values in changed.items()}


def silent(_world: World, _reader: int, _row: int, _rng: np.random.Generator) -> EventKind | None:
    """Never vote."""
    return None


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="two worlds, nothing recorded")
    quick = options.parse_args().quick
    size = {"n_readers": 30 if quick else 40, "per_day": 60}
    seeds = range(2 if quick else 14)
    figures: dict[str, tuple[float, str]] = {}
    for voter in (outspoken, reticent):
        values = positions(seeds, voter, **size)
        for name, each in values.items():
            gain = each - values["naive_voted"]
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            figures[f"simulated_{voter.__name__}_{name}"] = (
                round(float(each.mean()), 4),
                f"true nDCG@10, {len(gain)} worlds, {gain.mean():+.4f} ± {error:.4f} to naive",
            )
    for name, papers in poisoned(seeds[:8], **size).items():
        figures[f"simulated_changed_by_{name}"] = (
            round(papers, 3),
            "of ten papers of another reader, on average, by one reader's votes",
        )
    if quick:
        for name, (value, unit) in figures.items():
            print(f"{name:<44}{value:>8.4f} {unit}")
        return
    record("python -m benchmarks.simulate", figures)


if __name__ == "__main__":
    main()
