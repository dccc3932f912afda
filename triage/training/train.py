"""Training: fits a new scorer on the log of impressions and events, and promotes it if better.

    impressions + events → relevance and weights → split by time → fit → promotion test → promote?
    imported likes → past days ─────────────────────────────────────┘

A scorer that is not better than the active one is stored, but not used. If the active scorer is
worse than the pretrained ranker, the pretrained ranker replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import structlog

from triage import store
from triage.domain.protocols import Clock, Encoder, Scorer
from triage.domain.records import F32, F64, I32, I64, EventKind
from triage.errors import NotEnoughFeedback, NotFound
from triage.ranking.blend import PLAIN, Blend
from triage.ranking.features import FEATURE_VERSION, FEATURES, GROUPS
from triage.ranking.serving.active_models import (
    ActiveModels,
    encode_new,
    ensure_active_models,
    find_training_end,
    promote,
    refit_encoder_if_due,
)
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.model_versions import delete_old_models
from triage.store import Database
from triage.store.training_log import TrainingLog
from triage.training.baseline_check import baseline_scores, sample_rows
from triage.training.dataset import Examples, History
from triage.training.evaluation.bootstrap import Interval, fixed_rng, interval
from triage.training.evaluation.metrics import HeldOut, slate_ndcg
from triage.training.imported_likes import (
    like_days,
    load_imported_likes,
    make_examples,
    rank_past_days,
)
from triage.training.labels import (
    IGNORED,
    cap_subscriber_weights,
    gains,
    labels_of,
    row_weights,
    vote_weights,
)
from triage.training.plain_rankers import choose_start
from triage.training.position_bias import Attention, fit_attention
from triage.training.promotion_test import FEWEST_SLATES, Winner, decide

log = structlog.get_logger()

HELD_OUT = 1 / 3
MOST_DAYS_HELD_OUT = 14
ROWS_EXPLAINED = 300
MOST_ROWS = 1_000_000
"""The log of more impressions is sampled by whole subscribers, so that one machine can train."""


@dataclass(frozen=True, slots=True)
class TrainReport:
    """The result of a training.

    Counts are those of all labelled slates; `card` is the model card, as JSON values.
    """

    version: str
    n_impressions: int
    n_votes: int
    n_slates: int
    winner: Winner
    why: str
    card: dict[str, Any]

    @property
    def promoted(self) -> bool:
        return self.winner is Winner.CHALLENGER


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """The impressions of all slates with at least one vote, oldest first.

    Attributes:
        log: the impressions.
        marks: int32 (n,), the label of each row, or IGNORED.
        weights: float32 (n,), the weight of each row in fitting.
        worth: float64 (n,), the weighted gain of each row in testing.
    """

    log: TrainingLog
    marks: I32
    weights: F32
    worth: F64

    def __len__(self) -> int:
        return len(self.marks)

    @property
    def n_votes(self) -> int:
        return int((self.marks != IGNORED).sum())

    @property
    def days(self) -> list[int]:
        return [int(day) for day in np.unique(self.log.days)]

    def taken(self, rows: slice | I64) -> TrainingRows:
        return TrainingRows(
            self.log.select_rows(rows), self.marks[rows], self.weights[rows], self.worth[rows]
        )

    def held_out(self) -> HeldOut:
        starts = np.flatnonzero(np.diff(self.log.slate_ids, prepend=-1))
        return HeldOut(starts, self.worth, self.log.subscriber_ids[starts])


def train(database: Database, model_store: ModelStore, clock: Clock) -> TrainReport:
    """Fit a ranker on votes and imported likes; store it, and promote it if it is better.

    It is tested on later slates; without any, on later past days of imported likes.

    Raises:
        NotEnoughFeedback: there is too little training data; the message says how much is needed.
        NotFound: no papers are stored.
    """
    today = clock.now().date()
    pair = ensure_active_models(database, model_store, clock, today)
    pretrained = model_store.pretrained_scorer()
    with database.read() as conn:
        every = store.training_log.training_step(conn, FEATURE_VERSION, MOST_ROWS)
    lessons, looks = load_training_rows(database, every)
    data = _split_data(database, model_store, clock, pair, lessons)
    model = _fit(model_store, data.earlier, data.encoder, data.history, data.until)
    scorers = {
        "challenger": model.scorer,
        "serving": pair.scorer,
        "pretrained": pretrained,
        **{name.removesuffix("_z"): Blend(pretrained, name, 1.0) for name in PLAIN},
    }
    values, held_out = _test(data, scorers, today)
    winner, why = decide(
        values["challenger"],
        values["serving"],
        None if pair.scorer.version == pretrained.version else values["pretrained"],
        held_out.subscriber_ids,
        fixed_rng(),
    )
    if not len(data.later) and len(held_out.starts):
        why = f"judged by past days of imported likes, for want of later digests: {why}"
    values["challenger - serving"] = values["challenger"] - values["serving"]
    metrics = _intervals(values, held_out) | _compare_baselines(database, model.scorer, data.later)
    if winner is Winner.CHALLENGER:
        # The promoted scorer is fitted on the newest slates and likes, too.
        challenger = model.scorer.version
        history = _encode_and_load_likes(database, data.encoder, today)
        model = _fit(model_store, lessons, data.encoder, history, today)
        with database.read() as conn:
            is_stored = store.model_versions.get(conn, challenger) is not None
        if challenger != model.scorer.version and not is_stored:
            model_store.discard(challenger)
    version, n_votes = model.scorer.version, lessons.n_votes
    card = {
        "taught_until": model.taught_until.isoformat(),
        "promoted": winner is Winner.CHALLENGER,
        "why": why,
        "serving_version": pair.scorer.version,
        "challenger_ndcg": _number(metrics["challenger"].mean),
        "serving_ndcg": _number(metrics["serving"].mean),
        "n_votes": n_votes,
        "log_of": "every subscriber" if every == 1 else f"one subscriber in {every}",
        **_card(model, data.later, metrics, looks),
        **model_store.facts(version),
        "past_days": len(model.examples.group_sizes),
    }
    with database.write() as conn:
        store.model_versions.add(conn, version, "scorer", data.encoder.version, card, clock.now())
    if winner is Winner.CHALLENGER:
        promote(database, clock, model.scorer, data.encoder, why)
    elif winner is Winner.PRETRAINED:
        promote(database, clock, pretrained, pair.encoder, why)
    delete_old_models(database, model_store, clock)
    log.info("trained", version=version, winner=str(winner), why=why)
    n_slates = len(lessons.held_out().starts)
    return TrainReport(version, len(lessons), n_votes, n_slates, winner, why, card)


@dataclass(frozen=True, slots=True)
class _SplitData:
    """The training data and the test data of a challenger.

    Attributes:
        earlier, later: training slates and test slates.
        encoder: of the challenger.
        history: imported likes.
        until: past days before it are for training; without test slates, later ones are for tests.
    """

    earlier: TrainingRows
    later: TrainingRows
    encoder: Encoder
    history: History
    until: date


@dataclass(frozen=True, slots=True)
class _Model:
    """A scorer with its training data and the newest day of that."""

    scorer: Scorer
    lessons: TrainingRows
    examples: Examples
    taught_until: date


def _split_data(
    database: Database,
    model_store: ModelStore,
    clock: Clock,
    pair: ActiveModels,
    lessons: TrainingRows,
) -> _SplitData:
    today = clock.now().date()
    trained_until = find_training_end(database, pair.scorer)
    earlier, later = split_by_time(lessons, trained_until)
    encoder = pair.encoder
    # Features of past days depend on the encoder. Where they are the test data, the active scorer
    # needs its own encoder.
    if len(later) or pair.scorer.version == model_store.pretrained_scorer().version:
        encoder = refit_encoder_if_due(database, model_store, clock, pair.encoder, today)
    until = date.fromordinal(later.days[0]) if len(later) else today
    history = _encode_and_load_likes(database, encoder, until)
    if not len(lessons) and not history.readers:
        raise NotEnoughFeedback(
            "nobody has voted on a digest yet: training needs votes from mails or imported likes,"
            " which the pretrained ranker uses meanwhile"
        )
    days = [] if len(later) else like_days(history)
    if days and (n_later := _n_test_days(days, trained_until)):
        until = date.fromordinal(days[-n_later])
    return _SplitData(earlier, later, encoder, history, until)


def _fit(
    model_store: ModelStore, lessons: TrainingRows, encoder: Encoder, history: History, until: date
) -> _Model:
    """Fit a ranker on lessons and on past days before `until`, and store it."""
    examples = make_examples(history, until, model_store.pretrained_scorer())
    scorer = fit(model_store, lessons, encoder, examples)
    days = lessons.days[-1:] + [until.toordinal() - 1] * (len(examples) > 0)
    return _Model(scorer, lessons, examples, date.fromordinal(max(days)))


def _test(
    data: _SplitData, scorers: Mapping[str, Scorer], today: date
) -> tuple[dict[str, F64], HeldOut]:
    """Return each scorer's nDCG@10 of every test slate, and the test slates."""
    if not len(data.later):
        return rank_past_days(data.history, data.until, today, scorers)
    held_out = data.later.held_out()
    X = data.later.log.features
    return {name: slate_ndcg(each.score(X), held_out) for name, each in scorers.items()}, held_out


def _intervals(values: Mapping[str, F64], held_out: HeldOut) -> dict[str, Interval]:
    return {
        name: interval(each, held_out.subscriber_ids, fixed_rng()) for name, each in values.items()
    }


def _encode_and_load_likes(database: Database, encoder: Encoder, until: date) -> History:
    with database.read() as conn:
        has_likes = bool(store.events.all_votes(conn, elsewhere=True))
    if has_likes:
        encode_new(database, encoder)
    with database.read() as conn:
        return load_imported_likes(conn, encoder, until)


def train_in_words(database: Database, model_store: ModelStore, clock: Clock) -> str:
    """Train, and return the result in one line; too little feedback is no error."""
    try:
        report = train(database, model_store, clock)
    except (NotEnoughFeedback, NotFound) as error:
        return f"nothing to train on: {error}"
    return f"{report.version} {'promoted' if report.promoted else 'not promoted'}: {report.why}"


def load_training_rows(database: Database, every: int = 1) -> tuple[TrainingRows, Attention]:
    """Return the labelled log and its position bias; empty if there are no votes on digests.

    Args:
        every: only the log of every k-th subscriber, see `store.training_log.load`.
    """
    with database.read() as conn:
        shown = store.training_log.load(conn, FEATURE_VERSION, len(FEATURES), every)
        votes = store.events.all_votes(conn, every=every)
    return label_training_log(shown, votes)


def label_training_log(
    shown: TrainingLog, votes: Sequence[tuple[int, int, EventKind]]
) -> tuple[TrainingRows, Attention]:
    """Join impressions with votes (subscriber id, paper id, kind), oldest first."""
    marks = labels_of(shown.subscriber_ids, shown.paper_ids, votes)
    # A slate without votes was perhaps never opened.
    has_votes = np.isin(shown.slate_ids, shown.slate_ids[marks != IGNORED])
    if not has_votes.all():
        shown, marks = shown.select_rows(has_votes), marks[has_votes]
    looks = fit_attention(shown.positions, shown.scores, marks != IGNORED)
    weights = row_weights(marks, shown.positions, shown.propensities, looks)
    return TrainingRows(
        log=shown,
        marks=marks,
        weights=cap_subscriber_weights(weights, shown.subscriber_ids),
        worth=gains(marks) * vote_weights(shown.positions, shown.propensities, looks),
    ), looks


def split_by_time(
    lessons: TrainingRows, taught_until: date | None
) -> tuple[TrainingRows, TrainingRows]:
    """Split by time into training and test slates; all test days are later.

    Args:
        taught_until: the active scorer was trained on slates up to this day, so they cannot test
            it. The older half of the later days is for training, else the challenger would have
            no more data than the active scorer.
    """
    days = lessons.days
    if not days:
        return lessons, lessons
    n_later = min(_n_test_days(days, taught_until), MOST_DAYS_HELD_OUT)
    first_later = days[-n_later] if n_later else days[-1] + 1
    at = int(np.searchsorted(lessons.log.days, first_later))
    if not at:
        return lessons, lessons.taken(slice(0))
    return lessons.taken(slice(at)), lessons.taken(slice(at, None))


def _n_test_days(days: Sequence[int], taught_until: date | None) -> int:
    if taught_until is None:
        return max(1, round(HELD_OUT * len(days)))
    return (sum(day > taught_until.toordinal() for day in days) + 1) // 2


def fit(
    model_store: ModelStore,
    lessons: TrainingRows,
    encoder: Encoder,
    examples: Examples | None = None,
) -> Scorer:
    """Fit a ranker on lessons, and store it.

    Args:
        examples: of past days; they come first, because the last rows choose the number of trees.

    Raises:
        NotEnoughFeedback: there is too little training data.
    """
    starts = lessons.held_out().starts
    X, relevance, weights = lessons.log.features, np.maximum(lessons.marks, 0), lessons.weights
    sizes = np.diff(starts, append=len(lessons)).tolist()
    readers = lessons.log.subscriber_ids[starts]
    if examples:
        X = np.concatenate([examples.features, X])
        relevance = np.concatenate([examples.relevance, relevance])
        weights = np.concatenate([examples.weights, weights])
        sizes = [*examples.group_sizes, *sizes]
        readers = np.concatenate([examples.readers, readers])
    start = choose_start(model_store.pretrained_scorer(), X, relevance, sizes, readers)
    return model_store.fit_scorer(X, relevance, sizes, weights, encoder.version, start)


def _compare_baselines(
    database: Database, challenger: Scorer, later: TrainingRows
) -> dict[str, Interval]:
    """Return each baseline's nDCG@10 on some test slates, and the challenger's gain over it."""
    if len(later.held_out().starts) < FEWEST_SLATES:
        return {}
    some = later.taken(sample_rows(later.log, fixed_rng()))
    held_out = some.held_out()
    own = slate_ndcg(challenger.score(some.log.features), held_out)
    with database.read() as conn:
        scores = baseline_scores(conn, some.log)
    values: dict[str, F64] = {}
    for name, each in scores.items():
        values[name] = slate_ndcg(each, held_out)
        values[f"challenger - {name}"] = own - values[name]
    return _intervals(values, held_out)


def _importances(scorer: Scorer, X: F32) -> dict[str, float]:
    """Return the share of each feature group in the mean |contribution| to scores."""
    rows = np.linspace(0, len(X) - 1, min(ROWS_EXPLAINED, len(X))).astype(np.int64)
    means = np.abs(scorer.contributions(X[rows])).mean(axis=0)
    shares = dict.fromkeys(GROUPS.values(), 0.0)
    for group, mean in zip(GROUPS.values(), means, strict=True):
        shares[group] += float(mean / max(means.sum(), 1e-12))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _card(
    model: _Model, later: TrainingRows, metrics: dict[str, Interval], looks: Attention
) -> dict[str, Any]:
    """Return the parts of the model card that come from the data."""
    rows = (model.lessons.log if len(model.lessons) else model.examples).features
    return {
        "feature_version": FEATURE_VERSION,
        "taught_by": _window(model.lessons),
        "judged_by": _window(later),
        "ndcg_at_10": {
            name: {part: _number(value) for part, value in asdict(each).items()}
            for name, each in metrics.items()
        },
        "looked_at": [round(float(chance), 3) for chance in looks.by_place[:20]],
        "importances": _importances(model.scorer, rows),
    }


def _window(lessons: TrainingRows) -> dict[str, Any]:
    days = [date.fromordinal(day).isoformat() for day in lessons.days]
    return {
        "from": days[0] if days else None,
        "to": days[-1] if days else None,
        "slates": len(np.unique(lessons.log.slate_ids)),
        "subscribers": len(np.unique(lessons.log.subscriber_ids)),
        "impressions": len(lessons),
        "votes": lessons.n_votes,
    }


def _number(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if np.isnan(value) else round(value, 4)
