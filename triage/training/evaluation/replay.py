"""Replays past days: how well does each scorer rank the papers that subscribers liked later?

    votes and slates before a day → profile → candidates of that day → scores of each contender
    votes from that day on ───────────────────────────────→ relevance → metrics, paired by slate

A replayed slate is one day of one subscriber on which a paper was listed, or shown to them, that
they liked later. Contenders are the active scorer, the pretrained ranker, stored scorers by
version, and the baselines. All order the same candidates of the same slates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from triage import store
from triage.domain.protocols import Clock, Progress, silent
from triage.domain.records import F64, I64, Bools
from triage.errors import NotEnoughFeedback, NotFound
from triage.ranking.serving.active_models import (
    ActiveModels,
    encode_new,
    ensure_active_models,
    find_training_end,
    load_active_models,
)
from triage.ranking.serving.model_store import ModelStore
from triage.store import Connection, Database
from triage.training.evaluation import baselines
from triage.training.evaluation.bootstrap import FEWEST_SUBSCRIBERS, Interval, fixed_rng, interval
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
    list_past_slates,
)

SERVING, PRETRAINED = "serving", "pretrained"
TOP = 10
FIGURES = ("ndcg", "recall", "mrr", "diversity")


@dataclass(frozen=True, slots=True)
class ScorerResult:
    """The metrics of one contender; intervals are of 95 %, over subscribers, NaN if undefined.

    Attributes:
        version: of the scorer; for a baseline, its name.
        taught_until: the newest day of its training data, None without training.
        ndcg, recall, mrr: at 10, at 20, and of the first liked paper, on all replayed slates.
        unseen: nDCG@10 on the `n_unseen` slates later than `taught_until`.
        diversity: of the ten best by score alone.
        coverage: share of a day's papers that are in a subscriber's ten best, mean over days.
        calibration: of the chances; None for a baseline, which has none.
        better: the share of subscribers with a higher mean nDCG@10 than by the first contender.
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
    """The results of a replay; `notes` say how they are limited."""

    first: date
    until: date
    n_slates: int
    n_subscribers: int
    standings: tuple[ScorerResult, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two contenders on the same slates: mean differences, first minus second.

    `unseen` is the difference of nDCG@10 on the slates that neither was trained on.
    """

    replay: Replay
    ndcg: Interval
    recall: Interval
    mrr: Interval
    unseen: Interval
    n_unseen: int


@dataclass(slots=True)
class _Log:
    """The results of one contender: `values[figure][i]` is that of slate i."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    top: list[frozenset[int]] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    liked: list[bool] = field(default_factory=list)

    def of(self, figure: str) -> F64:
        return np.array(self.values[figure], dtype=np.float64)


def replay(
    database: Database,
    model_store: ModelStore,
    clock: Clock,
    span: Span,
    progress: Progress = silent,
) -> Replay:
    """Replay days for the active scorer, the pretrained ranker and the baselines.

    Args:
        progress: gets the stages "encode" and "replay".

    Raises:
        NotFound: no papers are stored.
        NotEnoughFeedback: nobody liked a paper of those days.
    """
    return _replay(database, model_store, clock, None, span, progress)[0]


def compare(
    database: Database,
    model_store: ModelStore,
    clock: Clock,
    a: str,
    b: str,
    span: Span,
    progress: Progress = silent,
) -> Comparison:
    """Replay the same slates for two contenders.

    Args:
        a, b: `serving`, `pretrained`, a baseline's name, or the version of a stored scorer.

    Raises:
        NotFound: no papers are stored, or there is no such contender.
        ModelError: a stored scorer cannot be loaded.
        NotEnoughFeedback: nobody liked a paper of those days.
    """
    result, slates, logs = _replay(database, model_store, clock, (a, b), span, progress)
    subscriber_ids = _subscriber_ids(slates)
    trained_until = [each.taught_until for each in result.standings if each.taught_until]
    unseen = _later_than(slates, max(trained_until, default=None))

    def difference(figure: str, where: Bools) -> Interval:
        gains = logs[0].of(figure) - logs[1].of(figure)
        return _interval(-1.0, gains[where], subscriber_ids[where])

    everywhere = np.ones(len(slates), dtype=bool)
    return Comparison(
        replay=result,
        ndcg=difference("ndcg", everywhere),
        recall=difference("recall", everywhere),
        mrr=difference("mrr", everywhere),
        unseen=difference("ndcg", unseen),
        n_unseen=int(unseen.sum()),
    )


def _replay(
    database: Database,
    model_store: ModelStore,
    clock: Clock,
    names: Sequence[str] | None,
    span: Span,
    progress: Progress,
) -> tuple[Replay, list[PastSlate], list[_Log]]:
    """Replay days for the named contenders, or the default ones for None."""
    base = load_active_models(database, model_store) or ensure_active_models(
        database, model_store, clock, span.until
    )
    if names is None:
        is_pretrained = base.scorer.version == model_store.pretrained_scorer().version
        names = (SERVING, *(() if is_pretrained else (PRETRAINED,)), *baselines.NAMES)
    contenders = [_contender(database, model_store, base, name) for name in names]
    for encoder in encoders(base, contenders).values():
        encode_new(database, encoder, progress)
    with database.read() as conn:
        slates = list(list_past_slates(conn, span))
        if not slates:
            raise NotEnoughFeedback(
                f"nobody has liked a paper of {span.first} to {span.until}: there is nothing to"
                " replay yet"
            )
        rankers = PastRankers(conn, base, contenders, slates)
        logs = [_Log() for _ in contenders]
        candidates: list[frozenset[int]] = []
        for done, slate in enumerate(slates, start=1):
            candidates.append(_rank_and_log(slate, rankers, contenders, logs))
            progress("replay", done, len(slates))
        notes = _notes(conn, base, contenders, slates, logs[0])
    results = tuple(
        _result(each, log, logs[0] if each is not contenders[0] else None, slates, candidates)
        for each, log in zip(contenders, logs, strict=True)
    )
    n_subscribers = len({slate.subscriber.id for slate in slates})
    result = Replay(span.first, span.until, len(slates), n_subscribers, results, notes)
    return result, slates, logs


def _contender(
    database: Database, model_store: ModelStore, base: ActiveModels, name: str
) -> Contender:
    if name in baselines.NAMES:
        return Contender(name, name)
    pretrained = model_store.pretrained_scorer()
    if name == SERVING:
        pair = base
    elif name in (PRETRAINED, pretrained.version):
        pair = ActiveModels(base.encoder, pretrained)
    else:
        with database.read() as conn:
            row = store.model_versions.get(conn, name)
        if row is None or row.kind != "scorer":
            raise NotFound(
                f"there is no scorer {name}: `triage model list` shows them; {SERVING},"
                f" {PRETRAINED}, {', '.join(baselines.NAMES)} can be compared, too"
            )
        pair = ActiveModels(
            model_store.load_encoder(row.encoder_version), model_store.load_scorer(name)
        )
    return Contender(name, pair.scorer.version, pair, _trained_until(database, pair))


def _trained_until(database: Database, pair: ActiveModels) -> date | None:
    """Return the newest day of the likes that the encoder or scorer was fitted on, if any."""
    days = [find_training_end(database, pair.scorer)]
    if pair.encoder.since:
        with database.read() as conn:
            encoder = store.model_versions.get(conn, pair.encoder.version)
        days.append(encoder.created_at.date() if encoder else None)
    return max((day for day in days if day), default=None)


def _rank_and_log(
    slate: PastSlate, rankers: PastRankers, contenders: Sequence[Contender], logs: Sequence[_Log]
) -> frozenset[int]:
    """Rank one slate's candidates by each contender, log the metrics, return the candidates."""
    for contender, log in zip(contenders, logs, strict=True):
        ranking, scores = rankers.scores(slate, contender)
        ids = [paper.id for paper in ranking.candidates.papers]
        relevance = np.array([slate.relevance.get(id, 0) for id in ids])
        order = np.argsort(-scores, kind="stable")
        best = order[:TOP]
        log.values["ndcg"].append(ndcg(relevance[order], TOP))
        log.values["recall"].append(recall(relevance[order], 2 * TOP))
        log.values["mrr"].append(reciprocal_rank(relevance[order]))
        latent = rankers.ranking(slate).candidates.encodings.latent
        log.values["diversity"].append(intra_list_diversity(latent[best]))
        log.top.append(frozenset(ids[row] for row in best))
        if contender.pair:
            # Papers that were not looked at have no label.
            seen = [row for row, id in enumerate(ids) if id in slate.looked_at]
            log.chances += rankers.chances(slate, ranking, scores)[seen].tolist()
            log.liked += (relevance[seen] > 0).tolist()
    return frozenset(paper.id for paper in rankers.ranking(slate).candidates.papers)


def _result(
    contender: Contender,
    log: _Log,
    other: _Log | None,
    slates: Sequence[PastSlate],
    candidates: Sequence[frozenset[int]],
) -> ScorerResult:
    subscriber_ids = _subscriber_ids(slates)
    unseen = _later_than(slates, contender.taught_until)
    return ScorerResult(
        name=contender.name,
        version=contender.version,
        taught_until=contender.taught_until,
        ndcg=_interval(0.0, log.of("ndcg"), subscriber_ids),
        recall=_interval(0.0, log.of("recall"), subscriber_ids),
        mrr=_interval(0.0, log.of("mrr"), subscriber_ids),
        unseen=_interval(0.0, log.of("ndcg")[unseen], subscriber_ids[unseen]),
        n_unseen=int(unseen.sum()),
        diversity=interval(log.of("diversity"), subscriber_ids, fixed_rng()),
        coverage=_coverage(log, slates, candidates),
        calibration=calibration(log.chances, log.liked) if contender.pair else None,
        better=_share_better(log, other, subscriber_ids) if other else None,
    )


def _share_better(log: _Log, other: _Log, subscriber_ids: I64) -> Interval:
    """Return the share of subscribers with a higher mean nDCG@10 in `log` than in `other`."""
    gains = log.of("ndcg") - other.of("ndcg")
    defined = ~np.isnan(gains)
    ids, unit = np.unique(subscriber_ids[defined], return_inverse=True)
    better = np.bincount(unit, weights=gains[defined]) > 0
    return _interval(0.0, better.astype(np.float64), ids)


def _interval(lowest: float, values: F64, subscriber_ids: I64) -> Interval:
    """Return the interval of a mean, clipped to [lowest, 1]; NaN bounds for too few values."""
    found = interval(values, subscriber_ids, fixed_rng())
    if (~np.isnan(values)).sum() < FEWEST_SUBSCRIBERS:
        return Interval(found.mean, float("nan"), float("nan"))
    low, high = np.clip([found.low, found.high], lowest, 1.0)
    return Interval(found.mean, float(low), float(high))


def _coverage(
    log: _Log, slates: Sequence[PastSlate], candidates: Sequence[frozenset[int]]
) -> float:
    days: dict[date, list[int]] = {}
    for i, slate in enumerate(slates):
        days.setdefault(slate.on, []).append(i)
    shares = [
        coverage([log.top[i] for i in rows], frozenset().union(*(candidates[i] for i in rows)))
        for rows in days.values()
    ]
    defined = [share for share in shares if share == share]
    return float(np.mean(defined)) if defined else float("nan")


def _notes(
    conn: Connection,
    base: ActiveModels,
    contenders: Sequence[Contender],
    slates: Sequence[PastSlate],
    log: _Log,
) -> tuple[str, ...]:
    notes = []
    n_undefined = int(np.isnan(log.of("ndcg")).sum())
    if n_undefined:
        notes.append(
            f"{n_undefined} of {len(slates)} slates are not counted: today’s excluded keywords"
            " exclude every liked paper"
        )
    for each in contenders:
        if each.taught_until is not None:
            n_unseen = int(_later_than(slates, each.taught_until).sum())
            notes.append(
                f"{each.name} ({each.version}) has learned from digests up to {each.taught_until}:"
                " its figures on those days show memory, not quality; `unseen` is of the"
                f" {n_unseen} of {len(slates)} slates that are later"
            )
    row = store.model_versions.get(conn, base.encoder.version)
    if row is not None:
        likes = " and to what subscribers liked" if base.encoder.since else "; it knows no votes"
        notes.append(
            f"the encoder was fitted on {row.created_at:%Y-%m-%d} to the {row.metrics['n_papers']}"
            f" papers stored then, some of them later than these days{likes}"
        )
    notes.append(
        "only mailed or imported papers have votes, which favours the scorer that was active then;"
        " interests and keywords are today’s; upvotes are not used"
    )
    if len({slate.subscriber.id for slate in slates}) < FEWEST_SUBSCRIBERS:
        notes.append(
            f"with fewer than {FEWEST_SUBSCRIBERS} subscribers the intervals are over slates:"
            " they do not apply to other subscribers"
        )
    return tuple(notes)


def _subscriber_ids(slates: Sequence[PastSlate]) -> I64:
    return np.array([slate.subscriber.id for slate in slates], dtype=np.int64)


def _later_than(slates: Sequence[PastSlate], day: date | None) -> Bools:
    return np.array([day is None or slate.on > day for slate in slates], dtype=bool)
