"""Retraining: from the log of what was shown and how it was voted on to a scorer that may serve.

    impressions + events → relevance → split by time → fit → compare on later slates → promote?

A model that is not better than what serves is kept for inspection and does not go live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import structlog

from triage import store
from triage.errors import NotEnoughFeedback, NotFound
from triage.features import FEATURE_VERSION
from triage.metrics import ndcg
from triage.ports import Clock, Encoder, Scorer, Workshop
from triage.records import F32, F64, I32, EventKind
from triage.serving import Serving, promote, refreshed, serving
from triage.store import Database
from triage.store.slates import LoggedImpression

log = structlog.get_logger()

RELEVANCE = {
    EventKind.SAVE: 3,
    EventKind.VOTE_UP: 2,
    EventKind.VOTE_DOWN: 0,
    EventKind.LESS_LIKE_THIS: 0,
}
"""How relevant a vote says that a paper is. A paper that was shown and not voted on has 0 too, but
counts little: it may never have been read."""

VOTED_WEIGHT = 1.0
IGNORED_WEIGHT = 0.2

HELD_OUT = 0.25
FEWEST_HELD_OUT = 8
K = 10

CERTAINTY = 1.645
"""How many standard errors above none the mean gain must be: a model that is no better is then
promoted once in twenty trainings, and not every other time."""

ROLLED_BACK = "rolled back by hand"


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a training ended.

    The figures are mean nDCG@10 on `n_held_out` later slates, those on which it is defined.
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
    promoted: bool
    why: str


@dataclass(frozen=True, slots=True)
class _Group:
    """One slate of the log: features float32 (n, n_features), relevance int32 (n,)."""

    on: date
    features: F32
    relevance: I32
    weights: F32
    n_votes: int


def train(database: Database, workshop: Workshop, clock: Clock) -> TrainReport:
    """Fit a ranker on everything that was shown and voted on, and promote it if it is better.

    Raises:
        NotEnoughFeedback: there is too little to learn from; the message says how much is needed.
        NotFound: no papers are stored at all.
    """
    today = clock.now().date()
    pair = serving(database, workshop, clock, today)
    groups = _groups(database)
    n_votes = sum(group.n_votes for group in groups)
    if not n_votes:
        raise NotEnoughFeedback(
            "nobody has voted on a digest yet: training needs votes from mails, which the"
            " cold-start scorer uses meanwhile"
        )
    earlier, later = _split(groups, _taught_until(database, pair.scorer))
    encoder = refreshed(database, workshop, clock, pair.encoder, today)
    challenger = _ndcgs(_fit(workshop, earlier, encoder), later)
    serves = _ndcgs(pair.scorer, later)
    promoted, why = _verdict(challenger, serves)
    # What goes live has learned from the newest slates as well.
    scorer = _fit(workshop, groups, encoder)
    report = TrainReport(
        version=scorer.version,
        n_impressions=sum(len(group.relevance) for group in groups),
        n_votes=n_votes,
        n_slates=len(groups),
        n_held_out=len(challenger),
        taught_until=max(group.on for group in groups).isoformat(),
        challenger_ndcg=_mean(challenger),
        serving_version=pair.scorer.version,
        serving_ndcg=_mean(serves),
        promoted=promoted,
        why=why,
    )
    with database.write() as conn:
        card = _card(report)
        store.versions.add(conn, scorer.version, "scorer", encoder.version, card, clock.now())
    if promoted:
        promote(database, clock, scorer, encoder, why)
    log.info("trained", version=scorer.version, promoted=promoted, why=why)
    return report


def train_in_words(database: Database, workshop: Workshop, clock: Clock) -> str:
    """Train and say in one line what came of it; too little feedback is no failure."""
    try:
        report = train(database, workshop, clock)
    except (NotEnoughFeedback, NotFound) as error:
        return f"nothing to train on: {error}"
    return f"{report.version} {'promoted' if report.promoted else 'not promoted'}: {report.why}"


def _groups(database: Database) -> list[_Group]:
    """Return the slates on which at least one paper was voted on, oldest first."""
    with database.read() as conn:
        shown = store.slates.training_log(conn, FEATURE_VERSION)
        votes = {(who, paper): kind for who, paper, kind in store.events.all_votes(conn)}
    slates: dict[int, list[LoggedImpression]] = {}
    for impression in shown:
        slates.setdefault(impression.slate_id, []).append(impression)
    groups = []
    for rows in slates.values():
        kinds = [votes.get((row.subscriber_id, row.paper_id)) for row in rows]
        n_votes = sum(kind is not None for kind in kinds)
        if n_votes:
            groups.append(
                _Group(
                    on=rows[0].on,
                    features=np.stack([row.features for row in rows]),
                    relevance=np.array([RELEVANCE.get(k, 0) if k else 0 for k in kinds], np.int32),
                    weights=np.array(
                        [VOTED_WEIGHT if kind else IGNORED_WEIGHT for kind in kinds], np.float32
                    ),
                    n_votes=n_votes,
                )
            )
    return groups


def _taught_until(database: Database, scorer: Scorer) -> date | None:
    """Return the day of the newest slate that a scorer was fitted on, None if on none."""
    with database.read() as conn:
        row = store.versions.get(conn, scorer.version)
    told = row.metrics.get("taught_until") if row else None
    return date.fromisoformat(told) if told else None


def _split(
    groups: Sequence[_Group], taught_until: date | None
) -> tuple[list[_Group], list[_Group]]:
    """Split by time: no slate that tests is older than one that teaches, nor of the same day.

    Args:
        taught_until: what serves has learned from slates up to that day, so they cannot test it.
    """
    days = sorted({group.on for group in groups})
    first_later = days[-max(1, round(HELD_OUT * len(days)))]
    if taught_until is not None:
        first_later = max(first_later, taught_until + timedelta(days=1))
    earlier = [group for group in groups if group.on < first_later]
    later = [group for group in groups if group.on >= first_later]
    return (earlier, later) if earlier else (list(groups), [])


def _fit(workshop: Workshop, groups: Sequence[_Group], encoder: Encoder) -> Scorer:
    return workshop.fit_scorer(
        np.concatenate([group.features for group in groups]),
        np.concatenate([group.relevance for group in groups]),
        [len(group.relevance) for group in groups],
        np.concatenate([group.weights for group in groups]),
        encoder.version,
    )


def _ndcgs(scorer: Scorer, groups: Sequence[_Group]) -> F64:
    """Return float64 (n,): the nDCG@10 of each slate on which it is defined, in their order."""
    values = []
    for group in groups:
        order = np.argsort(-scorer.score(group.features), kind="stable")
        values.append(ndcg(group.relevance[order], K))
    found = np.array(values, dtype=np.float64)
    return found[~np.isnan(found)]


def _mean(values: F64) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _verdict(challenger: F64, serves: F64) -> tuple[bool, str]:
    """Compare two scorers on the same slates, each slate with itself."""
    n = len(challenger)
    if n < FEWEST_HELD_OUT:
        return False, (
            f"{n} later slates with liked papers are too few to judge by"
            f" ({FEWEST_HELD_OUT} are needed); what serves stays"
        )
    gains = challenger - serves
    gain, error = float(gains.mean()), float(gains.std(ddof=1)) / n**0.5
    figures = f"nDCG@10 {_mean(challenger):.3f} against {_mean(serves):.3f} on {n} later slates"
    if gain > 0 and gain > CERTAINTY * error:
        return True, f"better than what served: {figures}"
    if gain > 0:
        return False, f"perhaps better than what serves, but it may be chance: {figures}"
    return False, f"not better than what serves: {figures}"


def _card(report: TrainReport) -> dict[str, Any]:
    card = asdict(report)
    del card["version"]
    # NaN has no place in JSON.
    return {name: None if value != value else value for name, value in card.items()}


def promote_version(database: Database, workshop: Workshop, clock: Clock, version: str) -> None:
    """Let a kept scorer serve, together with the encoder that it is bound to.

    Raises:
        NotFound: no scorer has that version.
        ModelError: its files, or its encoder's, cannot be used.
    """
    with database.read() as conn:
        row = store.versions.get(conn, version)
    if row is None or row.kind != "scorer":
        raise NotFound(f"there is no scorer {version}: `triage model list` shows them")
    pair = Serving(workshop.load_encoder(row.encoder_version), workshop.load_scorer(version))
    promote(database, clock, pair.scorer, pair.encoder, "promoted by hand")


def rollback(database: Database, workshop: Workshop, clock: Clock) -> Serving:
    """Let the pair serve again that served before the present one.

    Raises:
        NotFound: nothing served before.
        ModelError: the earlier pair's files cannot be used.
    """
    with database.read() as conn:
        history = store.versions.history(conn)
    served: list[tuple[str, str]] = []
    for row in reversed(history):
        if row.why == ROLLED_BACK:
            served.pop()
        else:
            served.append((row.scorer_version, row.encoder_version))
    if len(served) < 2:
        raise NotFound("nothing served before the present pair")
    scorer_version, encoder_version = served[-2]
    cold = workshop.cold_scorer()
    loads = scorer_version != cold.version
    scorer = workshop.load_scorer(scorer_version) if loads else cold
    pair = Serving(workshop.load_encoder(encoder_version), scorer)
    promote(database, clock, pair.scorer, pair.encoder, ROLLED_BACK)
    return pair
