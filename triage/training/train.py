"""Retraining: from the log of what was shown and how it was voted on to a scorer that may serve.

    impressions + events → relevance and weights → split by time → fit → gate → promote?
    imported likes → past days ─────────────────────────┘

A model that is not better than what serves is kept for inspection and does not go live; what serves
and turns out worse than the cold-start scorer makes way for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import structlog

from triage import store
from triage.domain.protocols import Clock, Encoder, ModelStore, Scorer
from triage.domain.records import F32, F64, I32, I64, EventKind
from triage.errors import NotEnoughFeedback, NotFound
from triage.ranking.features import FEATURE_VERSION, FEATURES, GROUPS
from triage.ranking.serving.active_models import (
    Serving,
    encode_new,
    ensure_active_models,
    promote,
    refit_encoder_if_due,
    taught_until,
)
from triage.ranking.serving.model_versions import clear_away
from triage.store import Database
from triage.store.slates import TrainingLog
from triage.training.baseline_check import peer_scores, sampled
from triage.training.dataset import Examples, History
from triage.training.evaluation.bootstrap import Interval, dice, interval
from triage.training.evaluation.metrics import HeldOut, slate_ndcg
from triage.training.imported_likes import imported, judged, like_days, taught_by
from triage.training.labels import IGNORED, fair_shares, gains, labels_of, row_weights, vote_weights
from triage.training.position_bias import Attention, attention
from triage.training.promotion_test import FEWEST_SLATES, Winner, decide

log = structlog.get_logger()

HELD_OUT = 1 / 3
MOST_DAYS_HELD_OUT = 14
ROWS_EXPLAINED = 300


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a training ended.

    The figures are mean nDCG@10 over the subscribers of `n_held_out` later slates, those on which
    it is defined; votes in them are weighed as `gate` says.
    """

    version: str
    n_impressions: int
    n_votes: int
    n_slates: int
    n_held_out: int
    taught_until: str
    challenger_ndcg: float
    serving_version: str
    serving_ndcg: float
    cold_ndcg: float
    promoted: bool
    cold_took_over: bool
    why: str


@dataclass(frozen=True, slots=True)
class Lessons:
    """The slates on which at least one paper was voted on, oldest first.

    Attributes:
        log: what was shown.
        marks: int32 (n,), the relevance that each row was given, or IGNORED.
        weights: float32 (n,), how much each row counts in fitting.
        worth: float64 (n,), the weighed gain that each row counts in judging.
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

    def since(self, day: int) -> Lessons:
        return self.taken(slice(int(np.searchsorted(self.log.days, day)), None))

    def before(self, day: int) -> Lessons:
        return self.taken(slice(0, int(np.searchsorted(self.log.days, day))))

    def taken(self, rows: slice | I64) -> Lessons:
        return Lessons(self.log.taken(rows), self.marks[rows], self.weights[rows], self.worth[rows])

    def held_out(self) -> HeldOut:
        starts = np.flatnonzero(np.diff(self.log.slate_ids, prepend=-1))
        return HeldOut(starts, self.worth, self.log.subscriber_ids[starts])


def train(database: Database, workshop: ModelStore, clock: Clock) -> TrainReport:
    """Fit a ranker on what was shown and voted on, and on imported likes; promote it if better.

    Later slates judge it. Where there are none, later past days do, of imported likes.

    Raises:
        NotEnoughFeedback: there is too little to learn from; the message says how much is needed.
        NotFound: no papers are stored at all.
    """
    today = clock.now().date()
    pair = ensure_active_models(database, workshop, clock, today)
    cold = workshop.cold_scorer()
    lessons, looks = gathered(database)
    trial = _trial(database, workshop, clock, pair, lessons)
    model = _fit(workshop, trial.earlier, trial.encoder, trial.library, trial.until)
    scorers = {"challenger": model.scorer, "serving": pair.scorer, "cold": cold}
    values, held_out = _judge(trial, scorers, today)
    winner, why = decide(
        values["challenger"],
        values["serving"],
        None if pair.scorer.version == cold.version else values["cold"],
        held_out.subscriber_ids,
        dice(),
    )
    if not len(trial.later) and len(held_out.starts):
        why = f"judged by past days of imported likes, for want of later digests: {why}"
    figures = _figures(values, held_out) | _against_peers(database, model.scorer, trial.later)
    if winner is Winner.CHALLENGER:
        # What goes live has learned from the newest slates and likes as well.
        challenger = model.scorer.version
        library = _imported(database, trial.encoder, today)
        model = _fit(workshop, lessons, trial.encoder, library, today)
        if challenger != model.scorer.version and not _is_known(database, challenger):
            workshop.discard(challenger)
    report = TrainReport(
        version=model.scorer.version,
        n_impressions=len(lessons),
        n_votes=lessons.n_votes,
        n_slates=len(lessons.held_out().starts),
        n_held_out=int((~np.isnan(values["challenger"])).sum()),
        taught_until=model.taught_until.isoformat(),
        challenger_ndcg=figures["challenger"].mean,
        serving_version=pair.scorer.version,
        serving_ndcg=figures["serving"].mean,
        cold_ndcg=figures["cold"].mean,
        promoted=winner is Winner.CHALLENGER,
        cold_took_over=winner is Winner.COLD,
        why=why,
    )
    card = _card(report, model, trial.later, figures, looks) | workshop.facts(report.version)
    card["past_days"] = len(model.examples.group_sizes)
    with database.write() as conn:
        store.model_versions.add(
            conn, report.version, "scorer", trial.encoder.version, card, clock.now()
        )
    if winner is Winner.CHALLENGER:
        promote(database, clock, model.scorer, trial.encoder, why)
    elif winner is Winner.COLD:
        promote(database, clock, cold, pair.encoder, why)
    clear_away(database, workshop, clock)
    log.info("trained", version=report.version, winner=str(winner), why=why)
    return report


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a challenger learns from, and what judges it.

    Attributes:
        earlier, later: slates that teach and that judge.
        encoder: that of the challenger.
        library: imported likes.
        until: past days before it teach; those from it on judge where no slates are later.
    """

    earlier: Lessons
    later: Lessons
    encoder: Encoder
    library: History
    until: date


@dataclass(frozen=True, slots=True)
class _Model:
    """A scorer with what it was fitted on, and the newest day of that."""

    scorer: Scorer
    lessons: Lessons
    examples: Examples
    taught_until: date


def _trial(
    database: Database, workshop: ModelStore, clock: Clock, pair: Serving, lessons: Lessons
) -> _Trial:
    today = clock.now().date()
    known_until = taught_until(database, pair.scorer)
    earlier, later = split(lessons, known_until)
    encoder = pair.encoder
    if len(later) or pair.scorer.version == workshop.cold_scorer().version:
        encoder = refit_encoder_if_due(database, workshop, clock, pair.encoder, today)
    # else past days judge, whose rows the serving scorer must understand, too.
    first_later = date.fromordinal(later.days[0]) if len(later) else None
    library = _imported(database, encoder, first_later or today)
    if not len(lessons) and not library.readers:
        raise NotEnoughFeedback(
            "nobody has voted on a digest yet: training needs votes from mails or imported likes,"
            " which the cold-start scorer uses meanwhile"
        )
    until = first_later or _split_of_likes(like_days(library), known_until, today)
    return _Trial(earlier, later, encoder, library, until)


def _fit(
    workshop: ModelStore, lessons: Lessons, encoder: Encoder, library: History, until: date
) -> _Model:
    """Fit a ranker on lessons and on past days before `until`, and keep it."""
    examples = taught_by(library, until, workshop.cold_scorer())
    scorer = fit(workshop, lessons, encoder, examples)
    days = lessons.days[-1:] + [until.toordinal() - 1] * (len(examples) > 0)
    return _Model(scorer, lessons, examples, date.fromordinal(max(days)))


def _judge(
    trial: _Trial, scorers: Mapping[str, Scorer], today: date
) -> tuple[dict[str, F64], HeldOut]:
    """Return each scorer's nDCG@10 of every slate that judges, and these slates."""
    if not len(trial.later):
        return judged(trial.library, trial.until, today, scorers)
    held_out = trial.later.held_out()
    X = trial.later.log.features
    return {name: slate_ndcg(each.score(X), held_out) for name, each in scorers.items()}, held_out


def _figures(values: Mapping[str, F64], held_out: HeldOut) -> dict[str, Interval]:
    gain = values["challenger"] - values["serving"]
    return {
        name: interval(each, held_out.subscriber_ids, dice())
        for name, each in {**values, "challenger - serving": gain}.items()
    }


def _imported(database: Database, encoder: Encoder, until: date) -> History:
    with database.read() as conn:
        wanted = bool(store.events.all_votes(conn, elsewhere=True))
    if wanted:
        encode_new(database, encoder)
    with database.read() as conn:
        return imported(conn, encoder, until)


def _split_of_likes(days: list[int], taught_until: date | None, today: date) -> date:
    """Return the day from which past days judge, `today` where none can."""
    n_later = _n_later(days, taught_until) if days else 0
    return date.fromordinal(days[-n_later]) if n_later else today


def train_in_words(database: Database, workshop: ModelStore, clock: Clock) -> str:
    """Train and say in one line what came of it; too little feedback is no failure."""
    try:
        report = train(database, workshop, clock)
    except (NotEnoughFeedback, NotFound) as error:
        return f"nothing to train on: {error}"
    return f"{report.version} {'promoted' if report.promoted else 'not promoted'}: {report.why}"


def gathered(database: Database) -> tuple[Lessons, Attention]:
    """Return what the log teaches, and how far down people were found to look.

    Nothing is taught while nobody has voted on a digest.
    """
    with database.read() as conn:
        shown = store.slates.training_log(conn, FEATURE_VERSION, len(FEATURES))
        votes = store.events.all_votes(conn)
    return lessons_of(shown, votes)


def lessons_of(
    shown: TrainingLog, votes: Sequence[tuple[int, int, EventKind]]
) -> tuple[Lessons, Attention]:
    """Join what was shown with (subscriber id, paper id, kind) of each vote, oldest first."""
    marks = labels_of(shown.subscriber_ids, shown.paper_ids, votes)
    # Where nobody voted on anything, perhaps nobody opened the mail.
    telling = np.isin(shown.slate_ids, shown.slate_ids[marks != IGNORED])
    if not telling.all():
        shown, marks = shown.taken(telling), marks[telling]
    looks = attention(shown.positions, shown.scores, marks != IGNORED)
    weights = row_weights(marks, shown.positions, shown.propensities, looks)
    return Lessons(
        log=shown,
        marks=marks,
        weights=fair_shares(weights, shown.subscriber_ids),
        worth=gains(marks) * vote_weights(shown.positions, shown.propensities, looks),
    ), looks


def split(lessons: Lessons, taught_until: date | None) -> tuple[Lessons, Lessons]:
    """Split by time: no slate that tests is older than one that teaches, nor of the same day.

    Args:
        taught_until: what serves has learned from slates up to that day, so they cannot test it.
            Of the days since then the challenger learns from the older half, or it would know no
            more than what serves.
    """
    days = lessons.days
    if not days:
        return lessons, lessons
    n_later = min(_n_later(days, taught_until), MOST_DAYS_HELD_OUT)
    first_later = days[-n_later] if n_later else days[-1] + 1
    earlier, later = lessons.before(first_later), lessons.since(first_later)
    return (earlier, later) if len(earlier) else (lessons, lessons.since(days[-1] + 1))


def _n_later(days: Sequence[int], taught_until: date | None) -> int:
    if taught_until is None:
        return max(1, round(HELD_OUT * len(days)))
    return (sum(day > taught_until.toordinal() for day in days) + 1) // 2


def fit(
    workshop: ModelStore, lessons: Lessons, encoder: Encoder, examples: Examples | None = None
) -> Scorer:
    """Fit a ranker on lessons, and keep it.

    Args:
        examples: of past days; they come first, for how many trees are right the lessons tell.

    Raises:
        NotEnoughFeedback: there is too little to learn from.
    """
    starts = lessons.held_out().starts
    X, relevance, weights = lessons.log.features, np.maximum(lessons.marks, 0), lessons.weights
    sizes = np.diff(starts, append=len(lessons)).tolist()
    if examples:
        X = np.concatenate([examples.features, X])
        relevance = np.concatenate([examples.relevance, relevance])
        weights = np.concatenate([examples.weights, weights])
        sizes = [*examples.group_sizes, *sizes]
    return workshop.fit_scorer(X, relevance, sizes, weights, encoder.version)


def _is_known(database: Database, version: str) -> bool:
    with database.read() as conn:
        return store.model_versions.get(conn, version) is not None


def _against_peers(database: Database, challenger: Scorer, later: Lessons) -> dict[str, Interval]:
    """Return each peer's nDCG@10 on some of the later slates, and the challenger's gain on it."""
    if len(later.held_out().starts) < FEWEST_SLATES:
        return {}
    rows = sampled(later.log, dice())
    some = later.taken(rows)
    held_out = some.held_out()
    ours = slate_ndcg(challenger.score(some.log.features), held_out)
    with database.read() as conn:
        scores = peer_scores(conn, some.log)
    figures = {}
    for name, each in scores.items():
        theirs = slate_ndcg(each, held_out)
        figures[name] = interval(theirs, held_out.subscriber_ids, dice())
        figures[f"challenger - {name}"] = interval(ours - theirs, held_out.subscriber_ids, dice())
    return figures


def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def _importances(scorer: Scorer, X: F32) -> dict[str, float]:
    """Return how much each group of features moves scores: its share of the mean |contribution|."""
    rows = np.linspace(0, len(X) - 1, min(ROWS_EXPLAINED, len(X))).astype(np.int64)
    moved = np.abs(scorer.contributions(X[rows])).mean(axis=0)
    found = dict.fromkeys(GROUPS.values(), 0.0)
    for group, part in zip(GROUPS.values(), moved, strict=True):
        found[group] += float(part / max(moved.sum(), 1e-12))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _card(
    report: TrainReport,
    model: _Model,
    later: Lessons,
    figures: dict[str, Interval],
    looks: Attention,
) -> dict[str, Any]:
    """Return what is worth knowing of a model, as JSON values."""

    def window(lessons: Lessons) -> dict[str, Any]:
        days = lessons.days
        return {
            "from": _day(days[0]) if days else None,
            "to": _day(days[-1]) if days else None,
            "slates": len(np.unique(lessons.log.slate_ids)),
            "subscribers": len(np.unique(lessons.log.subscriber_ids)),
            "impressions": len(lessons),
            "votes": lessons.n_votes,
        }

    return {
        "taught_until": report.taught_until,
        "promoted": report.promoted,
        "why": report.why,
        "serving_version": report.serving_version,
        "challenger_ndcg": _number(report.challenger_ndcg),
        "serving_ndcg": _number(report.serving_ndcg),
        "n_votes": report.n_votes,
        "feature_version": FEATURE_VERSION,
        "taught_by": window(model.lessons),
        "judged_by": window(later),
        "ndcg_at_10": {
            name: {"mean": _number(each.mean), "low": _number(each.low), "high": _number(each.high)}
            for name, each in figures.items()
        },
        "looked_at": [round(float(chance), 3) for chance in looks.by_place[:20]],
        "importances": _importances(
            model.scorer, (model.lessons.log if len(model.lessons) else model.examples).features
        ),
    }


def _number(value: float) -> float | None:
    """Return None for NaN, which has no place in JSON."""
    return None if np.isnan(value) else round(value, 4)
