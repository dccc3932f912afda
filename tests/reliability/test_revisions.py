"""A replacement is news to those alone who asked, of papers that they liked, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.digests import digest, problems_of_html
from tests.support.factories import DAY, NOON, paper, slate
from tests.support.fakes import StoppedClock
from tests.support.installation import fetched, installed, rows, take_in
from triage.digest.nightly import Nightly
from triage.domain.records import Slate
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules
from triage.store import Database
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

ONE_DAY = timedelta(days=1)
LIKED = fetched(1, abstract="Drafts of any length make decoding faster at no loss, we find.")
TITLES = ("Coins that strangers toss", "Rivers of sand", "On the colour of moths", "Salt")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        others = [
            fetched(n, title=title, abstract=f"{title}: what is known of it, and what is not.")
            for n, title in enumerate(TITLES, 2)
        ]
        take_in(opened, [replace(each, listed_on=DAY) for each in (LIKED, *others)])
        yield opened


def digest_of(
    database: Database, folder: Path, *, revisions: bool = True, likes: tuple[str, ...] = ()
) -> Slate:
    """Return the digest of the day after a revision, for a reader who came before it."""
    clock = StoppedClock(NOON)
    preferences = SubscriberPreferences(revisions=revisions)
    reader = add(database, "ada@example.org", clock, preferences, likes=likes).subscriber
    rules = DigestRules(size=3, max_age_days=9, score_floor=0.0, exploration_slots=0)
    nightly = Nightly(
        database,
        clock,
        model_store=ModelStore(folder / "models", b"a secret of tests"),
        compose=lambda *_: pytest.fail("a preview composes nothing"),
        rules=rules,
    )
    return nightly.preview(reader, DAY + 2 * ONE_DAY)


def revise(database: Database, **fields: object) -> None:
    new: dict[str, object] = {"version": 2, "listed_on": DAY + 2 * ONE_DAY, "update_only": True}
    take_in(database, [replace(LIKED, **(new | fields))])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "liked", "told"),
    [(True, "2603.00001", True), (False, "2603.00001", False), (True, "2603.00002", False)],
)
def test_who_asked_is_told_of_what_they_liked(
    database: Database, tmp_path: Path, asked: bool, liked: str, told: bool
) -> None:
    revise(database, abstract="We were wrong: drafts do harm to some.")
    made = digest_of(database, tmp_path, revisions=asked, likes=(liked,))
    assert [each.source_id for each in made.revised] == ["2603.00001"] * told
    assert "2603.00001" not in [s.paper.source_id for s in made.impressions] or not told


@pytest.mark.parametrize(
    "fields",
    [
        {"abstract": LIKED.abstract.replace("find", "show")},
        {"abstract": "We were wrong.", "withdrawn": True},
        {"abstract": "We were wrong.", "listed_on": DAY + 3 * ONE_DAY},
        {"abstract": "We were wrong.", "listed_on": DAY},
    ],
)
def test_a_small_change_a_withdrawal_and_another_day_are_no_news(
    database: Database, tmp_path: Path, fields: dict[str, object]
) -> None:
    revise(database, **fields)
    assert digest_of(database, tmp_path, likes=("2603.00001",)).revised == ()


def test_the_wish_is_stored(database: Database) -> None:
    for n, wish in enumerate((True, False)):
        preferences = SubscriberPreferences(revisions=wish)
        add(database, f"r{n}@example.org", StoppedClock(), preferences)
    assert [row["revisions"] for row in rows(database, "subscribers")] == [True, False]


def test_the_mail_names_what_was_revised_with_a_link_and_no_votes() -> None:
    plain = digest(slate(2))
    revised = (paper(8, title="Drafts <b>do</b> harm " * 20, version=2),)
    made = digest(slate(2, revised=revised))
    assert "Revised since you liked them" not in plain.part("plain")
    for part in (made.part("plain"), made.soup.get_text(" ")):
        assert "Revised since you liked them" in part
        assert "(revised, v2)" in " ".join(part.split())
    assert made.part("plain").count("https://arxiv.org/abs/2603.00008") == 1
    assert made.part("html").count("https://arxiv.org/abs/2603.00008") == 1
    assert problems_of_html(made.part("html")) == []
    assert len(made.links.papers) == 2
