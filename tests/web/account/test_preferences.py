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

from tests.support.factories import NOON, impression, paper
from tests.support.installation import spoil
from tests.support.web_world import (
    ADDRESS,
    Visitor,
    World,
    add_papers,
    new_world,
    paper_row,
)
from triage import store
from triage.digest.preview import Preview
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
from triage.web.account.signup import PREVIEWS


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
    assert "Saved. Your" in page.text
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
    ("categories", "machine learning"),
    ("followed_authors", "x" * 101),
    ("paused_until", "soon"),
    ("paused_until", "2026-03-01"),
    ("paused_until", "2026-03-02"),
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
    html = BeautifulSoup(page.text, "html5lib")
    assert html.find(id=f"{name}-wrong")
    focused = html.select("[autofocus]")
    assert [each["id"] for each in focused] == [name]
    [listed] = html.select(".notice.bad li")
    assert listed.a is not None
    assert listed.a["href"] == f"#{name}"
    label = html.find("label", {"for": name}) or focused[0].find_parent("fieldset").legend  # type: ignore[union-attr]
    assert listed.a.text == label.text  # type: ignore[union-attr]
    assert "kept, too" in page.text
    assert world.everything() == before


def test_an_error_names_the_nearest_that_is_right(world: World, ada: Visitor) -> None:
    page = ada.get("/preferences")
    for typed, nearest in (("cs.LC", "did you mean cs.CL, cs.LO"), ("ai", "did you mean cs.AI?")):
        assert nearest in ada.submit(page, "save", categories=typed).text
    wrong = ada.submit(page, "save", paused_until="2020-02-02").text
    assert "2020-02-02 is not in the future: the nearest date is 2026-03-03" in wrong
    # At noon UTC, it is tomorrow already in Kiritimati.
    far = ada.submit(page, "save", paused_until="2026-03-03", zone="Pacific/Kiritimati").text
    assert "the nearest date is 2026-03-04" in far


def test_a_category_of_another_source_is_accepted_where_a_paper_has_it(
    world: World, ada: Visitor
) -> None:
    add_papers(world.db, [paper_row(9, source="biorxiv", categories=["neuroscience"])])
    page = ada.submit(ada.get("/preferences"), "save", categories="neuroscience")
    assert "Saved. Your" in page.text
    subscriptions.change(world.db, world.readers[0].public_id, categories=("from.before",))
    page = ada.submit(ada.get("/preferences"), "save", hour="9")
    assert "Saved. Your" in page.text


def test_a_pause_that_is_over_is_no_error(world: World, ada: Visitor) -> None:
    yesterday = NOON.date() - timedelta(days=1)
    subscriptions.change(world.db, world.readers[0].public_id, paused_until=yesterday)
    page = ada.submit(ada.get("/preferences"), "save", hour="9")
    assert "Saved. Your" in page.text
    assert reader_of(world).hour == 9


def test_saving_finds_the_interests_of_a_changed_text_again_and_of_no_other(
    world: World, ada: Visitor
) -> None:
    page = ada.submit(ada.get("/preferences"), "save", hour="9")
    assert world.refreshed == []
    page = ada.submit(page, "save", interests="glaciers")
    assert [each.interests for each in world.refreshed] == ["glaciers"]
    ada.submit(page, "save")
    assert len(world.refreshed) == 1


# -- no button loses what was typed ----------------------------------------------------------------

BUTTONS = ["mute 1", "rest 2", "feed", "leave"]


@pytest.mark.parametrize("button", BUTTONS)
def test_another_button_saves_what_was_typed(world: World, ada: Visitor, button: str) -> None:
    with_interests(world)
    page = ada.submit(ada.get("/preferences"), button, interests="typed and not saved")
    assert page.history[0].status_code == 303
    assert "What you typed is saved, too" in page.text
    assert reader_of(world).interests == "typed and not saved"


@pytest.mark.parametrize("button", BUTTONS)
def test_another_button_keeps_what_cannot_be_saved(world: World, ada: Visitor, button: str) -> None:
    with_interests(world)
    typed = {"categories": "cs.LC", "include_keywords": "typed"}
    page = ada.submit(ada.get("/preferences"), button, **typed)
    assert page.status_code == 422
    assert "What you typed is not saved yet" in page.text
    assert 'value="cs.LC"' in page.text
    assert ">\ntyped</textarea>" in page.text
    assert reader_of(world).include_keywords == ()
    if button == "leave":
        assert world.state() is SubscriberState.UNSUBSCRIBED
        assert "You are unsubscribed" in page.text


@pytest.mark.parametrize("button", BUTTONS)
def test_a_button_of_an_old_page_does_not_undo_what_was_saved_since(
    world: World, ada: Visitor, button: str
) -> None:
    with_interests(world)
    old = ada.get("/preferences")
    ada.submit(old, "save", interests="saved since", followed_authors="Ada\r\nBen")
    page = ada.submit(old, button)
    assert page.history[0].status_code == 303
    assert "saved, too" not in page.text
    assert reader_of(world).interests == "saved since"
    assert reader_of(world).followed_authors == ("Ada", "Ben")
    ada.submit(ada.get("/preferences"), "save")
    assert reader_of(world).interests == "saved since"


def test_the_enter_key_saves(ada: Visitor) -> None:
    """It presses the first button of its form (HTML, "implicit submission")."""
    [form] = BeautifulSoup(ada.get("/preferences").text, "html5lib").select("form[novalidate]")
    first = form.find("button")
    assert first is not None
    assert first["value"] == "save"  # type: ignore[index]


def test_reload_and_back_send_nothing_again(world: World, ada: Visitor) -> None:
    page = ada.submit(ada.get("/preferences"), "save", interests="lakes")
    assert page.history[0].headers["location"] == "/preferences"
    assert "Saved. Your" in page.text
    assert "Saved. Your" not in ada.get("/preferences").text


# -- the preview -----------------------------------------------------------------------------------


def test_a_preview_shows_what_other_words_would_give_and_saves_nothing(
    world: World, ada: Visitor
) -> None:
    found = (impression(1, paper=paper(1, title="Of yarn")),)
    world.shown = Preview(found, 312, (date(2026, 2, 27), date(2026, 3, 1), date(2026, 3, 2)))
    before = world.everything()
    page = ada.submit(ada.get("/preferences"), "preview", interests="yarn")
    assert page.status_code == 200
    assert "Of yarn" in page.text
    assert "The best of 312 papers of 27 February, 1 and 2 March 2026:" in page.text
    assert ">\nyarn</textarea>" in page.text
    assert world.everything() == before
    assert ada.submit(page, "preview", categories="cs.LC").status_code == 422
    saved = ada.submit(page, "save")
    assert "Saved. Your" in saved.text
    assert reader_of(world).interests == "yarn"


def test_previews_are_limited(ada: Visitor) -> None:
    page = ada.get("/preferences")
    statuses = [
        ada.submit(page, "preview", interests="yarn").status_code for _ in range(PREVIEWS.most + 1)
    ]
    assert statuses == [200] * PREVIEWS.most + [429]
    assert ">\nyarn</textarea>" in ada.submit(page, "preview", interests="yarn").text


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

    page = ada.submit(page, "mute 1")
    assert "This interest is muted: lakes" in page.text
    assert [each.muted for each in stored()] == [True, False]
    page = ada.submit(page, "rest 2")
    until = NOON.date() + timedelta(days=30)
    assert [each.paused_until for each in stored()] == [None, until]
    assert f"paused until {until}" in page.text
    ada.submit(ada.submit(page, "wake 1"), "wake 2")
    assert not any(each.rests(NOON.date()) for each in stored())


@pytest.mark.parametrize("number", ["", "7", "x", "-1", "1e3"])
def test_an_interest_that_is_not_there_cannot_be_muted(
    world: World, ada: Visitor, number: str
) -> None:
    with_interests(world)
    before = world.everything()
    page = ada.submit(ada.get("/preferences"), "mute 1", do=f"mute {number}")
    assert page.status_code == 422
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
        assert [len(store.events.votes(conn, reader)) for reader in (1, 2)] == [0, 2]
    page = ada.submit(page, "undo", interests="typed")
    assert "Your votes are back" in page.text
    assert reader_of(world).interests == "typed"
    with world.db.read() as conn:
        assert [len(store.events.votes(conn, reader)) for reader in (1, 2)] == [2, 2]


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


def test_who_was_logged_out_meanwhile_gets_what_they_typed_back(world: World, ada: Visitor) -> None:
    page = ada.get("/preferences")
    ada.cookies.clear()
    refused = ada.submit(page, "save", interests="the ecology of <alpine> lakes")
    assert refused.status_code == 403
    assert "the ecology of &lt;alpine&gt; lakes</textarea>" in refused.text


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
