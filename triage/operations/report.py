"""Report the health and quality of an installation as one self-contained HTML page.

    database → History (the counts) → the template, which draws them

The page shows counts only; it never names a subscriber.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from triage import __version__
from triage.digest.templates import environment
from triage.domain.chunks import group
from triage.domain.paper_ids import source_name
from triage.domain.paper_outcome import Outcome
from triage.domain.records import EventKind, MessageState, Policy, SubscriberState, Verdict
from triage.domain.source_records import SourceDay
from triage.ranking.serving.calibrations import load_told_chances
from triage.resources import templates_dir
from triage.store import Database, model_versions, papers, report_queries, sending_holds, sources
from triage.training.evaluation.metrics import calibration
from triage.training.evaluation.recall import count_likes

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

DAYS = 90
_COMPARED = ("challenger", "serving")
K = TypeVar("K", EventKind, MessageState)

WAITING = (
    MessageState.PLANNED,
    MessageState.RENDERED,
    MessageState.CLAIMED,
    MessageState.IN_DOUBT,
    MessageState.DEFERRED,
)


@dataclass(frozen=True, slots=True)
class SourceHistory:
    """The days of one source by date; a date without an entry was never read."""

    name: str
    days: Mapping[date, SourceDay]

    def n_days(self, verdict: Verdict) -> int:
        return sum(day.verdict is verdict for day in self.days.values())


@dataclass(frozen=True, slots=True)
class Rate:
    """`n` out of `of`, with the 95 % interval of Wilson (1927); all NaN if `of` is 0."""

    n: int
    of: int

    @property
    def value(self) -> float:
        return self.n / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.of:
            return math.nan, math.nan
        z = 1.959964
        share, spread = self.value, z * z / self.of
        center = share + spread / 2
        reach = math.sqrt(spread * (share * (1 - share) + spread / 4))
        low, high = (center - reach) / (1 + spread), (center + reach) / (1 + spread)
        return max(0.0, low), min(1.0, high)


class History:
    """What happened from `first` to `last`, both included, and the state at `at`.

    Attributes:
        trainings: the rows in `model_versions` of the scorers that were trained, oldest first. The
            nDCG@10 in their `metrics` is None if there were too few digests to evaluate.
    """

    def __init__(self, conn: Connection, at: datetime, max_age_days: int, n_days: int) -> None:
        self.at = at
        self.last = at.date()
        self.first = first = self.last - timedelta(n_days - 1)
        promotions = model_versions.history(conn)
        self.sources = _sources(sources.days(conn, first, self.last))
        self.deliveries = report_queries.deliveries(conn, first, self.last)
        self.votes = report_queries.votes(conn, first, self.last)
        self.shown = report_queries.shown(conn, first, self.last)
        self.liked = count_likes(conn, first, self.last, max_age_days)
        told = load_told_chances(conn, first, self.last + timedelta(1))
        self.calibration = calibration(*told)
        self.n_returned = report_queries.returned(conn, first, self.last)
        self.n_answered = report_queries.answered(conn, first, self.last)
        self.trainings = [
            row
            for row in reversed(model_versions.everything(conn))
            if row.kind == "scorer" and first <= row.created_at.date() <= self.last
        ]
        self.promotions = [each for each in promotions if first <= each.at.date() <= self.last]
        self.serving = promotions[0] if promotions else None
        self.messages = report_queries.messages_by_state(conn)
        self.subscribers = report_queries.subscribers_by_state(conn)
        self.n_papers = papers.count(conn)
        self.database_bytes = report_queries.size_bytes(conn)
        self.holds = list(sending_holds.reasons(conn).values())

    @property
    def dates(self) -> list[date]:
        return [self.first + timedelta(n) for n in range((self.last - self.first).days + 1)]

    @property
    def weeks(self) -> list[date]:
        """The Mondays of all weeks of the range."""
        return sorted({_monday(day) for day in self.dates})

    @property
    def n_waiting(self) -> int:
        return sum(self.messages.get(state, 0) for state in WAITING)

    @property
    def funnel(self) -> dict[str, int]:
        """The number of digests that reached each step, in the order of the steps."""
        due, skipped, sent = (
            sum(self.per_day(self.deliveries, states))
            for states in (tuple(MessageState), [MessageState.SKIPPED], [MessageState.SENT])
        )
        return {
            "due": due,
            "with papers": due - skipped,
            "handed over": sent,
            "not returned": sent - self.n_returned,
            "voted from": self.n_answered,
        }

    def rate(self, kind: EventKind, policy: Policy | None = None, week: date | None = None) -> Rate:
        """Return the rate of a kind of vote per shown paper."""
        votes = Counter[EventKind | None]()
        for (on, shown_by, vote), n in self.shown.items():
            if policy in (None, shown_by) and week in (None, _monday(on)):
                votes[vote] += n
        return Rate(votes[kind], votes.total())

    def recall(self, month: date) -> Rate:
        """Return the shown papers among the liked ones that were shown or could have been."""
        counts = self.liked[month]
        n_shown = counts[Outcome.SHOWN]
        return Rate(n_shown, n_shown + counts[Outcome.RANKED])

    def on(self, counts: Mapping[tuple[date, K], int], day: date, kinds: Iterable[K]) -> int:
        """Return the count of these kinds on a day."""
        return sum(counts.get((day, kind), 0) for kind in kinds)

    def per_day(self, counts: Mapping[tuple[date, K], int], kinds: Sequence[K]) -> list[int]:
        """Return the count of these kinds on each of `dates`."""
        return [self.on(counts, day, kinds) for day in self.dates]

    def weekly_rates(self, kind: EventKind) -> list[float]:
        """Return the rate of a vote in each of `weeks`, 0 where nothing was shown."""
        rates = [self.rate(kind, week=week) for week in self.weeks]
        return [rate.value if rate.of else 0.0 for rate in rates]

    @property
    def highest_rate(self) -> float:
        """The upper end of the axis for rates: no interval is above it."""
        rates = [self.rate(kind, policy) for kind in EventKind for policy in Policy]
        return max((rate.interval[1] for rate in rates if rate.of), default=1.0)

    @property
    def highest_weekly_rate(self) -> float:
        return max(max(self.weekly_rates(kind)) for kind in EventKind) or 1.0

    @property
    def judged(self) -> list[Row[Any]]:
        """The trainings that were compared with the active models."""
        return [t for t in self.trainings if None not in _scores(t)]

    @property
    def others(self) -> list[str]:
        """The names of all scorers in the trainings but the two that are compared."""
        names = dict.fromkeys(
            name for t in self.trainings for name in t.metrics.get("ndcg_at_10", {})
        )
        return [n for n in names if n not in _COMPARED and not n.startswith("challenger - ")]

    @property
    def ndcg_range(self) -> tuple[float, float]:
        """The range of all values of `judged`, in whole tenths."""
        values = [x for t in self.judged for x in _scores(t) if x]
        low, high = math.floor(10 * min(values, default=0)), math.ceil(10 * max(values, default=1))
        return low / 10, max(high, low + 1) / 10

    def x(self, at: datetime) -> float:
        """Return the place of an instant on an axis from 0 to 1000."""
        begin = datetime.combine(self.first, time(), UTC)
        return round(1000 * ((at - begin) / timedelta(1)) / len(self.dates), 1)

    def y(self, ndcg: float) -> float:
        """Return the place of a value on an axis from 100 (bottom) to 0."""
        low, high = self.ndcg_range
        return round(100 * (high - ndcg) / (high - low), 2)

    @property
    def next_steps(self) -> tuple[str, ...]:
        """The steps that a new installation still needs, in their order."""
        results = {
            "fetch": self.n_papers,
            "subscribe": self.subscribers.get(SubscriberState.ACTIVE),
            "run": self.messages,
        }
        return tuple(step for step, result in results.items() if not result)


def history(database: Database, now: datetime, max_age_days: int, n_days: int = DAYS) -> History:
    """Read the history of the last `n_days` days; the last one is the UTC date of `now`.

    Args:
        max_age_days: for how many days a paper is a candidate, as for digests.
    """
    return database.fetch(History, now, max_age_days, n_days)


def _scores(training: Row[Any]) -> list[float | None]:
    return [training.metrics.get(f"{name}_ndcg") for name in _COMPARED]


def _sources(days: Iterable[SourceDay]) -> list[SourceHistory]:
    by_source = sorted(group((day.source, day) for day in days).items())
    return [SourceHistory(source_name(name), {d.on: d for d in own}) for name, own in by_source]


def report_style() -> str:
    """Return the style sheet of the page."""
    names = ("web/style.css", "report/page.css")
    return "\n".join((templates_dir() / name).read_text("utf-8") for name in names)


def render_report(history: History, site_name: str, style_at: str = "") -> str:
    """Render the page: one HTML document without scripts, images or links to other sites.

    Args:
        style_at: the URL of `report_style()`; if empty, the style sheet is inside of the page.
    """
    jinja = environment()
    jinja.globals.update(
        Verdict=Verdict,
        State=MessageState,
        Kind=EventKind,
        Policy=Policy,
        Outcome=Outcome,
        WAITING=WAITING,
        version=__version__,
    )
    jinja.filters["percent"] = _percent
    return jinja.get_template("report/page.html").render(
        history=history, site_name=site_name, style_at=style_at
    )


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def _monday(day: date) -> date:
    return day - timedelta(day.weekday())
