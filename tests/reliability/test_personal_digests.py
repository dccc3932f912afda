"""Each reader has days, a size and a floor of their own, and is told what they missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.digests import digest, problems_of_html
from tests.support.factories import DAY, paper, slate
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.installation import fetched, installed, rows, take_in
from triage import store
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.digest.nightly import Composed, Nightly
from triage.domain.records import OutgoingMessage, Slate, Subscriber
from triage.errors import ConfigError
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import DigestRules
from triage.store import Database
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add, change, find, pause, resume

ONE_DAY = timedelta(days=1)
SUNDAY = date(2026, 3, 1)
WORDS = (
    "coins rivers sand moths salt glass bells bread stars ink ropes silk wheat clay tides wax "
    "horns lenses maps seeds kites anvils combs masts"
).split()


def compose(made: Slate, _now: datetime, **_: object) -> Composed:
    name = f"<d.{made.public_id}@example.org>"
    message = OutgoingMessage(name, made.subscriber.email, b"a digest\r\n")
    return Composed(message, len(made.impressions))


@dataclass
class Office:
    """An installation in which every digest that is queued is handed over at once."""

    database: Database
    nightly: Nightly
    outbox: Outbox
    clock: StoppedClock

    def reader(self, **chosen: object) -> Subscriber:
        return add(
            self.database,
            "ada@example.org",
            self.clock,
            SubscriberPreferences(interests="drafts", **chosen),  # type: ignore[arg-type]
        ).subscriber

    def serve(self, on: date) -> Slate | None:
        """Queue and send what is due for a date, and return the reader's slate of it."""
        self.clock.at = datetime(on.year, on.month, on.day, 7, tzinfo=UTC)
        self.nightly.queue(on)
        self.outbox.drain()
        with self.database.read() as conn:
            reader = store.subscribers.by_email_key(conn, "ada@example.org")
            assert reader is not None
            return store.slates.by_day(conn, reader.id, on)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Yield an installation with six papers on each of four days, the last of them a Saturday."""
    with installed(tmp_path) as database:
        clock = StoppedClock()
        take_in(
            database,
            [
                fetched(n, title=f"Drafts and {word}", abstract=f"Of {word}: what drafts tell us.",
                        listed_on=SUNDAY - timedelta(days=1 + n % 4))
                for n, word in enumerate(WORDS)
            ],
        )  # fmt: skip
        nightly = Nightly(
            database,
            clock,
            model_store=ModelStore(tmp_path / "models", b"a secret of tests"),
            compose=compose,
            rules=DigestRules(size=3, max_age_days=14, score_floor=0.0, exploration_slots=0),
        )
        outbox = Outbox(
            SenderContext(database, FakeMailer(), clock, owner="one", is_gone=lambda _: False)
        )
        yield Office(database, nightly, outbox, clock)


def test_a_reader_has_a_size_and_a_floor_of_their_own(office: Office) -> None:
    ada = office.reader(size=5)
    assert len(office.nightly.preview(ada, SUNDAY).impressions) == 5
    usual = replace(ada, size=None)
    assert len(office.nightly.preview(usual, SUNDAY).impressions) == 3
    scores = [s.score for s in office.nightly.preview(replace(ada, size=24), SUNDAY).impressions]
    floor = sorted(scores)[-2]
    strict = office.nightly.preview(replace(ada, score_floor=floor), SUNDAY)
    assert min(s.score for s in strict.impressions) >= floor
    assert len(strict.impressions) == 2
    assert office.nightly.preview(replace(ada, score_floor=0.99), SUNDAY).impressions == ()


def test_no_digest_is_made_on_other_days_and_before_a_pause_ends(office: Office) -> None:
    ada = office.reader(weekdays=0b0000001)
    assert office.serve(SUNDAY) is None
    assert office.serve(SUNDAY + ONE_DAY) is not None
    change(office.database, ada.public_id, weekdays=127, paused_until=SUNDAY + 4 * ONE_DAY)
    assert office.serve(SUNDAY + 3 * ONE_DAY) is None
    assert office.serve(SUNDAY + 4 * ONE_DAY) is not None


def test_a_pause_with_an_end_leaves_the_state_and_cancels_what_waits(office: Office) -> None:
    office.reader()
    office.nightly.queue(SUNDAY)
    until = office.clock.now().date() + 5 * ONE_DAY
    assert pause(office.database, "ada@example.org", office.clock, until)
    assert [row["state"] for row in rows(office.database, "messages")] == ["cancelled"]
    paused = find(office.database, "ada@example.org")
    assert (paused.state, paused.paused_until) == ("active", until)
    assert resume(office.database, "ada@example.org", office.clock)
    assert find(office.database, "ada@example.org").paused_until is None
    assert not resume(office.database, "ada@example.org", office.clock)


def test_a_pause_cannot_end_before_it_begins(office: Office) -> None:
    office.reader()
    with pytest.raises(ConfigError, match="is not in the future"):
        pause(office.database, "ada@example.org", office.clock, office.clock.now().date())


# -- what was missed -------------------------------------------------------------------------------


def recapped(office: Office) -> list[int]:
    return [row["paper_id"] for row in rows(office.database, "impressions")
            if row["policy"] == store.slates.RECAP]  # fmt: skip


def test_the_first_digest_of_a_week_names_the_best_that_had_no_room(office: Office) -> None:
    ada = office.reader(recap=True)
    assert office.nightly.preview(ada, SUNDAY - ONE_DAY).recap == ()
    saturday = office.serve(SUNDAY - ONE_DAY)
    assert saturday is not None
    preview = office.nightly.preview(ada, SUNDAY)
    sunday = office.serve(SUNDAY)
    assert sunday is not None
    named = [each.id for each in preview.recap]
    assert len(named) == 5
    assert recapped(office) == named
    shown = {s.paper.id for made in (saturday, sunday) for s in made.impressions}
    assert shown.isdisjoint(named)
    # What is shown of a digest elsewhere are its papers, and those alone teach.
    assert len(sunday.impressions) == 3
    for on in range(1, 6):
        later = office.serve(SUNDAY + on * ONE_DAY)
        assert later is not None
        assert {s.paper.id for s in later.impressions}.isdisjoint(named)
    assert recapped(office) == named


def test_a_recap_is_of_the_week_before_and_above_the_floor(office: Office) -> None:
    ada = office.reader(recap=True)
    office.serve(SUNDAY - ONE_DAY)
    week_later = SUNDAY + timedelta(days=7)
    assert {each.listed_on for each in office.nightly.preview(ada, week_later).recap} <= {
        week_later - timedelta(days=7 - n) for n in range(7)
    }
    demanding = replace(ada, score_floor=0.99)
    assert office.nightly.preview(demanding, SUNDAY).recap == ()


def test_who_did_not_ask_is_not_told(office: Office) -> None:
    office.reader()
    office.serve(SUNDAY - ONE_DAY)
    office.serve(SUNDAY)
    assert recapped(office) == []


def test_the_mail_names_what_was_missed_with_links_and_no_votes() -> None:
    assert "What you missed" not in digest(slate(2)).part("plain")
    recap = (paper(8, title="Drafts <b>do</b> harm " * 20), paper(9, title=""))
    made = digest(slate(2, recap=recap))
    for part in (made.part("plain"), made.soup.get_text(" ")):
        assert "What you missed this week" in part
        assert "(without a title)" in part
    for n in (8, 9):
        for subtype in ("plain", "html"):
            assert made.part(subtype).count(f"https://arxiv.org/abs/2603.0000{n}") == 1
    assert problems_of_html(made.part("html")) == []
    assert len(made.links.papers) == 2
    assert DAY.weekday() == 0
