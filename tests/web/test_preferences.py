"""Preferences: everything that a subscriber chose can be seen, changed, and undone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import select

from tests.support.factories import NOON
from tests.support.installation import spoil
from tests.support.web_world import ADDRESS, Visitor, World, new_world
from triage import store
from triage.domain.chances import LENGTHS
from triage.domain.records import (
    Detail,
    EventKind,
    Frequency,
    Interest,
    Subscriber,
    SubscriberState,
)
from triage.store.tables import metadata
from triage.subscribers import subscriptions
from triage.subscribers.preferences import NAMES


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


@pytest.fixture
def ada(world: World) -> Visitor:
    return world.logged_in()


def reader_of(world: World) -> Subscriber:
    with world.db.read() as conn:
        reader = store.subscribers.by_id(conn, 1)
    assert reader is not None
    return reader


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "Europe", "US/Pacific-New", "../UTC"])
def test_a_zone_that_is_not_known_is_shown_as_utc_by_which_digests_come(
    world: World, ada: Visitor, zone: str
) -> None:
    spoil(world.db, ADDRESS, "zone", zone)
    page = ada.get("/preferences")
    assert "<option selected>UTC</option>" in page.text
    ada.submit(page, "save", interests="something else")
    assert (reader_of(world).zone, reader_of(world).interests) == ("UTC", "something else")


def test_who_is_not_logged_in_sees_nothing_and_changes_nothing(world: World) -> None:
    stranger = world.visitor()
    before = world.everything()
    for path in ("/preferences", "/preferences/erase", "/digests", "/digests/2026-03-02", "/likes"):
        page = stranger.get(path)
        assert page.status_code == 303
        assert page.headers["location"] == f"/login?next={quote(path, safe='')}"
    for do in ("save", "mute", "resume", "leave"):
        assert stranger.post("/preferences", data={"do": do}).status_code == 403
    assert stranger.post("/preferences/erase", data={"sure": "yes"}).status_code == 403
    assert stranger.post("/likes", data={"paper": "1"}).status_code == 403
    assert world.everything() == before


def test_saving_an_untouched_form_changes_nothing(world: World, ada: Visitor) -> None:
    full = {
        "zone": "Asia/Kolkata",
        "hour": 23,
        "frequency": Frequency.WEEKLY,
        "detail": Detail.TLDR,
        "interests": "one <two> & three",
        "categories": ("cs.CL", "hep-th"),
        "followed_authors": ("Lovelace, Ada", "Babbage"),
        "include_keywords": ("a b", "c,d"),
        "exclude_keywords": ("x",),
        "weekdays": 0b0010101,
        "paused_until": date(2026, 5, 1),
        "score_floor": 0.25,
        "size": 7,
        "revisions": True,
        "recap": True,
        "explores": False,
        "community": 0.25,
    }
    assert set(full) == set(NAMES)
    changed = subscriptions.change(world.db, world.readers[0].public_id, **full)
    assert changed == reader_of(world) == replace(world.readers[0], **full)  # type: ignore[arg-type]
    for page in (ada.get("/preferences"), ada.submit(ada.get("/preferences"), "save")):
        assert ada.submit(page, "save").status_code == 200
        assert reader_of(world) == changed


CHANGES: list[tuple[str, Any, Any]] = [
    ("zone", "Europe/Vienna", "Europe/Vienna"),
    ("hour", "0", 0),
    ("frequency", "weekly", Frequency.WEEKLY),
    ("detail", "tldr", Detail.TLDR),
    ("interests", "lakes", "lakes"),
    ("categories", " cs.CL;hep-th ", ("cs.CL", "hep-th")),
    ("followed_authors", "Ada\r\n\r\nBen\r\n", ("Ada", "Ben")),
    ("include_keywords", "lake", ("lake",)),
    ("exclude_keywords", "sea\nocean", ("sea", "ocean")),
    ("weekday", ["0", "6"], 0b1000001),
    ("paused_until", "2026-04-01", date(2026, 4, 1)),
    ("size", "60", 60),
    ("score_floor", "0,5", 0.5),
    ("revisions", "on", True),
    ("recap", "on", True),
    ("explores", [], False),
    ("community", "0", 0),
]


@pytest.mark.parametrize(("field", "typed", "stored"), CHANGES)
def test_each_choice_can_be_changed_alone(
    world: World, ada: Visitor, field: str, typed: Any, stored: Any
) -> None:
    before = reader_of(world)
    page = ada.submit(ada.get("/preferences"), "save", **{field: typed})
    assert "Saved" in page.text
    name = "weekdays" if field == "weekday" else field
    assert reader_of(world) == replace(before, **{name: stored})


WRONG = [
    ("hour", "25"),
    ("hour", ""),
    ("zone", "Mars/Base"),
    ("frequency", "hourly"),
    ("detail", "all"),
    ("categories", "<b>"),
    ("categories", "cs.CL cs.XX"),
    ("followed_authors", "x" * 101),
    ("paused_until", "soon"),
    ("size", "0"),
    ("size", "many"),
    ("score_floor", "nan"),
    ("score_floor", "inf"),
    ("score_floor", "2"),
    ("community", "2.5"),
    ("interests", "x" * 2001),
    ("weekday", []),
    ("weekday", ["7", "x"]),
]


@pytest.mark.parametrize(("field", "typed"), WRONG)
def test_a_mistake_stands_beside_its_field_and_the_rest_stays_typed(
    world: World, ada: Visitor, field: str, typed: Any
) -> None:
    before = world.everything()
    others = {"interests": "kept as typed", "include_keywords": "kept, too"}
    page = ada.submit(ada.get("/preferences"), "save", **(others | {field: typed}))
    assert page.status_code == 422
    name = "weekdays" if field == "weekday" else field
    assert f'id="{name}-wrong"' in page.text
    assert "kept, too" in page.text
    assert world.everything() == before


def with_interests(world: World) -> None:
    found = [Interest(0, "lakes & rivers", (1,), ()), Interest(0, "<b>glaciers", (2,), ())]
    with world.db.write() as conn:
        store.interests.save(conn, 1, found, NOON)


def test_interests_are_named_muted_rested_and_woken(world: World, ada: Visitor) -> None:
    with_interests(world)
    page = ada.get("/preferences")
    assert "lakes &amp; rivers" in page.text
    assert "&lt;b&gt;glaciers" in page.text

    def stored() -> tuple[Interest, ...]:
        with world.db.read() as conn:
            return store.interests.of(conn, 1)

    page = ada.submit(page, "mute")
    assert "This interest is muted: lakes" in page.text
    assert [each.muted for each in stored()] == [True, False]
    page = ada.submit(page, "rest")
    until = NOON.date() + timedelta(days=30)
    assert [each.paused_until for each in stored()] == [None, until]
    assert f"paused until {until}" in page.text
    ada.submit(ada.submit(page, "wake"), "wake")
    assert not any(each.rests(NOON.date()) for each in stored())


@pytest.mark.parametrize("number", ["", "7", "x", "-1", "1e3"])
def test_an_interest_that_is_not_there_cannot_be_muted(
    world: World, ada: Visitor, number: str
) -> None:
    with_interests(world)
    before = world.everything()
    page = ada.submit(ada.get("/preferences"), "mute", number=number)
    assert "This did not work" in page.text
    assert world.everything() == before


def test_why_they_get_it_is_told_in_the_words_agreed_to(ada: Visitor) -> None:
    page = ada.get("/preferences").text
    assert f"{ADDRESS} has been subscribed since 2026-03-02, 12:00 UTC" in page
    assert "“test”" in page


def test_forgetting_forgets_the_votes_of_one_reader_alone(world: World, ada: Visitor) -> None:
    for reader in (0, 1):
        for position in (1, 2):
            kind = EventKind.VOTE_UP
            token = world.keyring.sign(
                "vote",
                world.claims(position, kind, reader=reader),  # type: ignore[arg-type]
            )
            world.client().post("/v/" + token, data={"vote": kind})
    with_interests(world)
    page = ada.submit(ada.get("/likes/forget"), "forget")
    assert "2 votes are forgotten" in page.text
    assert [row[0] for row in world.events()] == [2, 2]
    with world.db.read() as conn:
        assert store.interests.of(conn, 1) == ()


def test_leaving_and_coming_back(world: World, ada: Visitor) -> None:
    page = ada.submit(ada.get("/preferences"), "leave")
    assert world.state() is SubscriberState.UNSUBSCRIBED
    assert [note.kind for note in world.notes()] == ["goodbye"]
    page = ada.submit(page, "resume")
    assert "You will get digests again" in page.text
    assert world.state() is SubscriberState.ACTIVE


def test_a_suppressed_address_cannot_come_back_by_itself(world: World, ada: Visitor) -> None:
    page = ada.submit(ada.get("/preferences"), "leave")
    with world.db.write() as conn:
        store.suppressions.add(conn, ADDRESS, "complaint", NOON)
    page = ada.submit(page, "resume")
    assert "This did not work" in page.text
    assert world.state() is SubscriberState.UNSUBSCRIBED


def test_erasing_needs_a_tick_and_leaves_nothing(world: World, ada: Visitor) -> None:
    page = ada.get("/preferences/erase")
    unsure = ada.submit(page)
    assert unsure.status_code == 422
    assert "Tick this box first" in unsure.text
    assert world.state() is SubscriberState.ACTIVE
    done = ada.submit(unsure, sure="yes")
    assert "Everything is erased" in done.text
    assert not ada.cookies
    with world.db.read() as conn:
        everything = repr([conn.execute(select(t)).all() for t in metadata.sorted_tables])
        assert len(store.subscribers.everyone(conn)) == 1
    assert ADDRESS not in everything


def test_who_was_erased_meanwhile_is_no_longer_logged_in(world: World, ada: Visitor) -> None:
    page = ada.get("/preferences")
    subscriptions.erase(world.db, ADDRESS)
    assert ada.submit(page, "save").status_code == 403
    assert ada.get("/preferences").headers["location"].startswith("/login")


def test_the_length_is_chosen_by_name(world: World, ada: Visitor) -> None:
    names = [
        "the default",
        "only what I am likely to read",
        "a bit more",
        "everything worth a look",
    ]
    floors = [None, *LENGTHS.values()]
    page = BeautifulSoup(ada.get("/preferences").text, "html5lib")
    options = page.select("#score_floor option")
    assert [each.text for each in options] == names
    assert [float(str(each["value"])) if each["value"] else None for each in options] == floors
    subscriptions.change(world.db, world.readers[0].public_id, score_floor=0.3)
    page = BeautifulSoup(ada.get("/preferences").text, "html5lib")
    [chosen] = page.select("#score_floor option[selected]")
    assert chosen.text == "only papers with a chance of 0.3"
