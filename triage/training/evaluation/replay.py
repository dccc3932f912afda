"""History replayed day by day: how well would each scorer have ranked what people came to like?

    votes and slates before a day → profile → candidates of that day → scores of every contender
    votes from that day on ───────────────────────────────→ relevance → figures, paired by slate

A replayed slate is one subscriber's day on which a paper was listed, or shown to them, that they
liked later. Contenders are the serving scorer, the cold-start scorer, kept scorers by version, and
the peers' rankers. All of them order the same candidates of the same slates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from triage import store
from triage.domain.protocols import Clock, ModelStore, Progress, silent
from triage.domain.records import F64, I64, Bools
from triage.errors import NotEnoughFeedback, NotFound
from triage.ranking.serving.active_models import (
    Serving,
    encode_new,
    ensure_active_models,
    taught_until,
)
from triage.store import Database
from triage.training.evaluation import baselines
from triage.training.evaluation.bootstrap import FEWEST_SUBSCRIBERS, Interval, dice, interval
from triage.training.evaluation.metrics import (
    Calibration,
    calibration,
    coverage,
    intra_list_diversity,
    ndcg,
    recall,
    reciprocal_rank,
)
from triage.training.evaluation.past_slates import (
    Contender,
    PastRankers,
    PastSlate,
    Span,
    encoders,
    moments_of,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

SERVING, COLD = "serving", "cold"
TOP = 10
FIGURES = ("ndcg", "recall", "mrr", "diversity")


@dataclass(frozen=True, slots=True)
class ScorerResult:
    """How one contender did; intervals are of 95 %, over subscribers, NaN where undefined.

    Attributes:
        version: of the scorer; a peer's is its name.
        taught_until: the newest day that it has learned from, None if from none.
        ndcg, recall, mrr: at 10, at 20, and of the first liked paper, on all replayed slates.
        unseen: the nDCG@10 on the `n_unseen` slates later than `taught_until`: the rest is memory.
        diversity: of the ten best, before a slate's own variety.
        coverage: share of a day's papers among anybody's ten best, mean over days.
        calibration: of scores that are chances; None for the peers', which are not.
        better: the share of subscribers whom it serves better than the first contender does.
    """

    name: str
    version: str
    taught_until: date | None
    ndcg: Interval
    recall: Interval
    mrr: Interval
    unseen: Interval
    n_unseen: int
    diversity: Interval
    coverage: float
    calibration: Calibration | None
    better: Interval | None


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay's figures. `notes` say what must be known before they are believed."""

    first: date
    until: date
    n_slates: int
    n_subscribers: int
    standings: tuple[ScorerResult, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two contenders on the same slates: differences are first minus second, slate by slate.

    `unseen` is the difference of nDCG@10 on the slates that neither has learned from.
    """

    replay: Replay
    ndcg: Interval
    recall: Interval
    mrr: Interval
    unseen: Interval
    n_unseen: int


@dataclass(slots=True)
class _Log:
    """What one contender did, slate by slate: `values[figure][i]` is that of slate i."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    top: list[frozenset[int]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    liked: list[bool] = field(default_factory=list)

    def of(self, figure: str) -> F64:
        return np.array(self.values[figure], dtype=np.float64)


def replay(
    database: Database,
    workshop: ModelStore,
    clock: Clock,
    span: Span,
    progress: Progress = silent,
) -> Replay:
    """Replay days for what serves, the cold-start scorer and the peers.

    Args:
        progress: told of the stages "encode" and "replay".

    Raises:
        NotFound: no papers are stored.
        NotEnoughFeedback: nobody liked a paper of those days.
    """
    base = _as_it_stands(database, workshop, clock, span.until)
    is_cold = base.scorer.version == workshop.cold_scorer().version
    names = (SERVING, *(() if is_cold else (COLD,)), *baselines.NAMES)
    return _replayed(database, workshop, clock, names, span, progress)[0]


def compare(
    database: Database,
    workshop: ModelStore,
    clock: Clock,
    a: str,
    b: str,
    span: Span,
    progress: Progress = silent,
) -> Comparison:
    """Replay the same slates for two contenders.

    Args:
        a, b: `serving`, `cold`, a peer's name, or the version of a kept scorer.

    Raises:
        NotFound: no papers are stored, or there is no such contender.
        ModelError: a kept scorer cannot be loaded.
        NotEnoughFeedback: nobody liked a paper of those days.
    """
    told, moments, logs = _replayed(database, workshop, clock, (a, b), span, progress)
    who = _subscribers(moments)
    taught = [standing.taught_until for standing in told.standings]
    fresh = _later_than(moments, max((day for day in taught if day), default=None))

    def gap(figure: str, slates: Bools) -> Interval:
        apart = logs[0].of(figure) - logs[1].of(figure)
        return _within(-1.0, apart[slates], who[slates])

    everything = np.ones(len(moments), dtype=bool)
    return Comparison(
        replay=told,
        ndcg=gap("ndcg", everything),
        recall=gap("recall", everything),
        mrr=gap("mrr", everything),
        unseen=gap("ndcg", fresh),
        n_unseen=int(fresh.sum()),
    )


def _replayed(
    database: Database,
    workshop: ModelStore,
    clock: Clock,
    names: Sequence[str],
    span: Span,
    progress: Progress,
) -> tuple[Replay, list[PastSlate], list[_Log]]:
    base = _as_it_stands(database, workshop, clock, span.until)
    contenders = [_contender(database, workshop, base, name) for name in names]
    for encoder in encoders(base, contenders).values():
        encode_new(database, encoder, progress)
    with database.read() as conn:
        moments = list(moments_of(conn, span))
        if not moments:
            raise NotEnoughFeedback(
                f"nobody has liked a paper of {span.first} to {span.until}: there is nothing to"
                " replay yet"
            )
        rankers = PastRankers(conn, base, contenders, moments)
        logs = [_Log() for _ in contenders]
        offered: list[frozenset[int]] = []
        for done, moment in enumerate(moments, start=1):
            offered.append(_note(moment, rankers, contenders, logs))
            progress("replay", done, len(moments))
        notes = _notes(conn, base, contenders, moments, logs[0])
    standings = tuple(
        _standing(each, log, logs[0] if each is not contenders[0] else None, moments, offered)
        for each, log in zip(contenders, logs, strict=True)
    )
    n_subscribers = len({moment.subscriber.id for moment in moments})
    told = Replay(span.first, span.until, len(moments), n_subscribers, standings, notes)
    return told, moments, logs


def _as_it_stands(database: Database, workshop: ModelStore, clock: Clock, on: date) -> Serving:
    """Return the promoted pair; looking back fits and promotes nothing unless nothing ever served.

    Raises:
        NotFound: no papers are stored.
        ModelError: the pair's files cannot be used.
    """
    with database.read() as conn:
        history = store.model_versions.history(conn)
    if not history:
        return ensure_active_models(database, workshop, clock, on)
    newest = history[0]
    scorer = workshop.load_scorer(newest.scorer_version)
    return Serving(workshop.load_encoder(newest.encoder_version), scorer)


def _contender(database: Database, workshop: ModelStore, base: Serving, name: str) -> Contender:
    if name in baselines.NAMES:
        return Contender(name, name)
    cold = workshop.cold_scorer()
    if name in (COLD, cold.version):
        pair = Serving(base.encoder, cold)
        return Contender(name, cold.version, pair, _taught_until(database, pair))
    version = base.scorer.version if name == SERVING else name
    with database.read() as conn:
        row = store.model_versions.get(conn, version)
    if name == SERVING:
        return Contender(name, version, base, _taught_until(database, base))
    if row is None or row.kind != "scorer":
        raise NotFound(
            f"there is no scorer {name}: `triage model list` shows them; {SERVING}, {COLD},"
            f" {', '.join(baselines.NAMES)} can be compared, too"
        )
    pair = Serving(workshop.load_encoder(row.encoder_version), workshop.load_scorer(version))
    return Contender(name, version, pair, _taught_until(database, pair))


def _taught_until(database: Database, pair: Serving) -> date | None:
    """Return the newest day of which either of a pair has learned what was liked, None if none."""
    days = [taught_until(database, pair.scorer)]
    if pair.encoder.since:
        with database.read() as conn:
            encoder = store.model_versions.get(conn, pair.encoder.version)
        days.append(encoder.created_at.date() if encoder else None)
    return max((day for day in days if day), default=None)


def _note(
    moment: PastSlate, rankers: PastRankers, contenders: Sequence[Contender], logs: Sequence[_Log]
) -> frozenset[int]:
    """Rank one moment's candidates by every contender, and return which candidates those were."""
    for contender, log in zip(contenders, logs, strict=True):
        ranking, scores = rankers.scores(moment, contender)
        ids = [paper.id for paper in ranking.candidates.papers]
        relevance = np.array([moment.relevance.get(id, 0) for id in ids])
        order = np.argsort(-scores, kind="stable")
        best = order[:TOP]
        log.values["ndcg"].append(ndcg(relevance[order], TOP))
        log.values["recall"].append(recall(relevance[order], 2 * TOP))
        log.values["mrr"].append(reciprocal_rank(relevance[order]))
        dense = rankers.ranking(moment).candidates.encodings.latent
        log.values["diversity"].append(intra_list_diversity(dense[best]))
        log.top.append(frozenset(ids[row] for row in best))
        if contender.pair:
            # Of a paper that nobody looked at it is not known whether it would have been liked.
            seen = [row for row, id in enumerate(ids) if id in moment.looked_at]
            log.scores += scores[seen].tolist()
            log.liked += (relevance[seen] > 0).tolist()
    return frozenset(paper.id for paper in rankers.ranking(moment).candidates.papers)


def _standing(
    contender: Contender,
    log: _Log,
    other: _Log | None,
    moments: Sequence[PastSlate],
    offered: Sequence[frozenset[int]],
) -> ScorerResult:
    who = _subscribers(moments)
    fresh = _later_than(moments, contender.taught_until)

    def figure(name: str) -> Interval:
        return _within(0.0, log.of(name), who)

    return ScorerResult(
        name=contender.name,
        version=contender.version,
        taught_until=contender.taught_until,
        ndcg=figure("ndcg"),
        recall=figure("recall"),
        mrr=figure("mrr"),
        unseen=_within(0.0, log.of("ndcg")[fresh], who[fresh]),
        n_unseen=int(fresh.sum()),
        diversity=interval(log.of("diversity"), who, dice()),
        coverage=_coverage(log, moments, offered),
        calibration=calibration(log.scores, log.liked) if contender.pair else None,
        better=_share_better(log, other, who) if other else None,
    )


def _share_better(log: _Log, other: _Log, who: I64) -> Interval:
    """Return which share of subscribers has a higher mean nDCG@10 by one log than by the other."""
    gains = log.of("ndcg") - other.of("ndcg")
    known = ~np.isnan(gains)
    ids, unit = np.unique(who[known], return_inverse=True)
    better = np.bincount(unit, weights=gains[known]) > 0
    return _within(0.0, better.astype(np.float64), ids)


def _within(least: float, values: F64, who: I64) -> Interval:
    """Return the interval of a mean that lies in [least, 1], which chance alone may put outside.

    Of fewer than FEWEST_SUBSCRIBERS values the bounds are unknown: so few say nothing.
    """
    told = interval(values, who, dice())
    if (~np.isnan(values)).sum() < FEWEST_SUBSCRIBERS:
        return Interval(told.mean, float("nan"), float("nan"))
    low, high = np.clip([told.low, told.high], least, 1.0)
    return Interval(told.mean, float(low), float(high))


def _coverage(log: _Log, moments: Sequence[PastSlate], offered: Sequence[frozenset[int]]) -> float:
    days: dict[date, list[int]] = {}
    for i, moment in enumerate(moments):
        days.setdefault(moment.on, []).append(i)
    shares = [
        coverage([log.top[i] for i in slates], frozenset().union(*(offered[i] for i in slates)))
        for slates in days.values()
    ]
    known = [share for share in shares if share == share]
    return float(np.mean(known)) if known else float("nan")


def _notes(
    conn: Connection,
    base: Serving,
    contenders: Sequence[Contender],
    moments: Sequence[PastSlate],
    log: _Log,
) -> tuple[str, ...]:
    notes = []
    n_undefined = int(np.isnan(log.of("ndcg")).sum())
    if n_undefined:
        notes.append(
            f"on {n_undefined} of {len(moments)} slates nothing that was liked could have been"
            " shown by today’s excluded keywords: they count for nothing"
        )
    for each in contenders:
        if each.taught_until is not None:
            n_fresh = int(_later_than(moments, each.taught_until).sum())
            notes.append(
                f"{each.name} ({each.version}) has learned from digests up to {each.taught_until}:"
                f" on those days its figures are memory and no evidence; {n_fresh} of"
                f" {len(moments)} slates are later, and `unseen` is of them alone"
            )
    row = store.model_versions.get(conn, base.encoder.version)
    if row is not None:
        likes = " and to what readers liked" if base.encoder.since else "; it knows no votes"
        notes.append(
            f"the encoder was fitted on {row.created_at:%Y-%m-%d} to the {row.metrics['n_papers']}"
            f" papers stored then, later ones than some of these days{likes}"
        )
    notes.append(
        "only what was mailed or imported could be voted on, which favours what served then;"
        " interests and keywords are today’s; upvotes are left out"
    )
    if len({moment.subscriber.id for moment in moments}) < FEWEST_SUBSCRIBERS:
        notes.append(
            f"with fewer than {FEWEST_SUBSCRIBERS} subscribers the intervals are over slates:"
            " they say nothing about other subscribers"
        )
    return tuple(notes)


def _subscribers(moments: Sequence[PastSlate]) -> I64:
    return np.array([moment.subscriber.id for moment in moments], dtype=np.int64)


def _later_than(moments: Sequence[PastSlate], day: date | None) -> Bools:
    return np.array([day is None or moment.on > day for moment in moments], dtype=bool)
