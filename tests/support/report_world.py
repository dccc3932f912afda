"""Some weeks of a made-up installation: sources with bad days, digests, votes and trainings."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from tests.support.factories import impression, slate
from tests.support.installation import add_reader, fetched, queue, stored_papers, take_in
from triage import store
from triage.domain.records import EventKind, MessageState, Origin, Policy, Verdict
from triage.domain.source_records import SourceDay
from triage.store import Database

NOW = datetime(2026, 3, 31, 9, 30, tzinfo=UTC)
LAST = NOW.date()
PER_DIGEST = 4
MAX_AGE_DAYS = 14


def noon(on: date) -> datetime:
    return datetime.combine(on, time(12), UTC)


def grow(database: Database, n_days: int = 60) -> None:
    """Fill the database with the `n_days` days up to NOW, always the same ones."""
    rng = np.random.default_rng(5)
    days = [LAST - timedelta(n) for n in reversed(range(n_days))]
    _read_sources(database, days, rng)
    readers = [add_reader(database, n) for n in (1, 2, 3)]
    _send_digests(database, days, readers, rng)
    _train(database, days)


def _read_sources(database: Database, days: list[date], rng: np.random.Generator) -> None:
    spoiled = {
        9: (Verdict.PARTIAL, "the pages end after 180 of 214 papers"),
        16: (Verdict.FAILED, "answered 503, the last of 4 tries"),
        24: (Verdict.EMPTY_SUSPECT, "an announcement day without papers"),
    }
    told = []
    for n, on in enumerate(days):
        if on.weekday() >= 5:
            told += [SourceDay("arxiv", on, Verdict.EMPTY_EXPECTED, 0, 0)]
            continue
        due = int(rng.integers(180, 260))
        verdict, note = spoiled.get(n, (Verdict.COMPLETE, ""))
        got = due if verdict is Verdict.COMPLETE else due // 2 * (verdict is Verdict.PARTIAL)
        told.append(SourceDay("arxiv", on, verdict, due + 10, got + 10, note))
        told.append(SourceDay("arxiv", on, verdict, due, got, note, category="cs.CL"))
        told.append(SourceDay("arxiv", on, Verdict.COMPLETE, 10, 10, category="cs.LG"))
        if n > 20:
            told.append(SourceDay("hf_daily", on, Verdict.COMPLETE, None, int(rng.integers(9, 30))))
    with database.write() as conn:
        store.sources.save_days(conn, told, NOW)


def _send_digests(database: Database, days: list[date], readers: list, rng) -> None:  # type: ignore
    n_papers = len(days) * PER_DIGEST
    take_in(
        database,
        [fetched(n, title=f"Paper number {n}", listed_on=days[0]) for n in range(1, n_papers + 1)],
    )
    papers = stored_papers(database)
    for n, on in enumerate(days):
        for reader in readers[: 2 if n < 20 else 3]:
            some = papers[n * PER_DIGEST : (n + 1) * PER_DIGEST]
            shown = tuple(
                replace(
                    impression(place, paper=paper, score=0.5 / place, prior=0.2),
                    policy=Policy.EXPLORATION if place == PER_DIGEST else Policy.RANKED,
                )
                for place, paper in enumerate(some, start=1)
            )
            public_id = f"{n * 10 + reader.id:020x}"
            chosen = slate(public_id=public_id, subscriber=reader, on=on, impressions=shown)
            message_id = queue(database, chosen)
            state = MessageState.SENT
            if reader.id == 3 and n % 13 == 8:
                state = MessageState.FAILED
            if on == LAST and reader.id > 1:
                state = MessageState.RENDERED
            with database.write() as conn:
                waiting = store.messages.waiting(conn, NOW)
                [message] = [each for each in waiting if each.message_id == message_id]
                if state is not MessageState.RENDERED:
                    at = noon(on)
                    claimed = store.messages.move(conn, message, MessageState.CLAIMED, at)
                    assert claimed
                    doubted = store.messages.move(conn, claimed, MessageState.IN_DOUBT, at)
                    assert doubted
                    store.messages.move(conn, doubted, state, at)
                if state is MessageState.SENT:
                    _vote(conn, reader.id, message.slate_id, shown, on, rng)


def _vote(conn, who, slate_id, shown, on, rng) -> None:  # type: ignore[no-untyped-def]
    chances = [0.22, 0.12, 0.08, 0.03]
    for one in shown:
        scale = 0.5 if one.policy is Policy.EXPLORATION else 1.0
        kind = rng.choice(5, p=[1 - scale * sum(chances), *(scale * p for p in chances)])
        if not kind:
            continue
        kinds = [list(EventKind)[i] for i in (0, 2, 1, 3)]
        votes = [kinds[kind - 1]]
        if rng.random() < 0.1:
            votes.insert(0, EventKind.VOTE_DOWN)  # changed their mind
        for n, vote in enumerate(votes):
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=who,
                    paper_id=one.paper.id,
                    slate_id=slate_id,
                    kind=vote,
                    at=noon(on) + timedelta(minutes=n),
                    recorded_at=noon(on),
                ),
            )
        if rng.random() < 0.2:
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=who,
                    paper_id=one.paper.id,
                    slate_id=slate_id,
                    kind=EventKind.VOTE_UP,
                    origin=Origin.SUSPECTED_SCANNER,
                    at=noon(on) + timedelta(hours=1),
                    recorded_at=noon(on),
                ),
            )


def _train(database: Database, days: list[date]) -> None:
    with database.write() as conn:
        at = noon(days[0]) - timedelta(hours=6)
        store.model_versions.add(conn, "encoder-aa", "encoder", None, {"n_papers": 900}, at)
        store.model_versions.promote(conn, "cold-2", "encoder-aa", "encoder fitted", at)
        for n, on in enumerate(days[6::4]):
            challenger = 0.46 + 0.13 * (1 - math.exp(-n / 5)) + 0.012 * (-1) ** n
            serving = 0.45 + 0.13 * (1 - math.exp(-(n - n % 3) / 5))
            promoted = n > 0 and challenger > serving + 0.01
            card = {
                "challenger_ndcg": challenger if n else None,
                "serving_ndcg": serving if n else None,
                "n_votes": 12 + 9 * n,
                "promoted": promoted,
            }
            version = f"ranker-{n:04x}c0ffee"
            at = noon(on) - timedelta(hours=9)
            store.model_versions.add(conn, version, "scorer", "encoder-aa", card, at)
            if promoted:
                why = f"better than what served: nDCG@10 {challenger:.3f} against {serving:.3f}"
                store.model_versions.promote(conn, version, "encoder-aa", why, at)
