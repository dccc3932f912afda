"""Subscribers come, pause, come back and leave, and the outbox hears of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.support.digests import digest
from tests.support.factories import NOON, slate
from tests.support.installation import rows, unsubscribe
from tests.support.web_world import ADDRESS, World, new_world
from triage import store
from triage.domain.records import (
    EventKind,
    Frequency,
    MessageState,
    OutgoingMessage,
    Subscriber,
    SubscriberState,
)
from triage.errors import ConfigError, NotFound, TriageError
from triage.store.tables import metadata
from triage.subscribers import subscriptions
from triage.subscribers.preferences import SubscriberPreferences


@pytest.fixture
def world(tmp_path: Path) -> World:
    return new_world(tmp_path)


def add(
    world: World, email: str = "new@example.org", likes: Sequence[str] = (), **chosen: Any
) -> subscriptions.AddResult:
    return subscriptions.add(
        world.db, email, world.clock, SubscriberPreferences(**chosen), likes=likes
    )


def message_state(world: World, reader: int = 0) -> MessageState:
    [slate] = [
        row["id"]
        for row in rows(world.db, "slates")
        if row["public_id"] == world.slates[reader].public_id
    ]
    [state] = [row["state"] for row in rows(world.db, "messages") if row["slate_id"] == slate]
    return MessageState(state)


def test_an_added_subscriber_is_active_and_as_asked_for(world: World) -> None:
    added = add(
        world,
        interests="  sparse\n attention ",
        categories=["cs.CL", "hep-th", "cs.CL"],
        likes=["2603.00001", "https://arxiv.org/pdf/2603.00002v2", "arXiv:2603.00001"],
        zone="Europe/Berlin",
        hour=6,
        frequency=Frequency.WEEKLY,
    )
    assert added.new
    someone = added.subscriber
    assert someone.email == "new@example.org"
    assert someone.state is SubscriberState.ACTIVE
    assert someone.interests == "sparse attention"
    assert someone.categories == ("cs.CL", "hep-th")
    assert (someone.zone, someone.hour) == ("Europe/Berlin", 6)
    assert someone.frequency is Frequency.WEEKLY
    assert someone.created_at == NOON
    assert len(someone.public_id) == 20
    with world.db.read() as conn:
        votes = store.events.votes(conn, someone.id)
    assert sorted((vote.paper_id, vote.kind) for vote in votes) == [
        (1, EventKind.VOTE_UP),
        (2, EventKind.VOTE_UP),
    ]


@pytest.mark.parametrize("again", [ADDRESS, ADDRESS.upper(), f"  {ADDRESS} "])
def test_adding_a_known_address_changes_nothing_and_says_so(world: World, again: str) -> None:
    before = world.everything()
    added = add(world, again, interests="something else", likes=["2603.00001"], hour=3)
    assert not added.new
    assert added.subscriber == world.readers[0]
    assert world.everything() == before


def test_public_ids_differ(world: World) -> None:
    ids = {add(world, f"reader{n}@example.org").subscriber.public_id for n in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"email": "nobody"}, "not a mail address"),
        ({"email": "a@b@c.org"}, "not a mail address"),
        ({"email": "x@example.org\r\nBcc: all@example.org"}, "not a mail address"),
        ({"email": "Ada <ada@example.org>"}, "not a mail address"),
        ({"email": ""}, "not a mail address"),
        ({"zone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
        ({"zone": "europe/berlin"}, "did you mean 'Europe/Berlin'"),
        ({"zone": "Berlin"}, "did you mean 'Europe/Berlin'"),
        ({"zone": "new york"}, "did you mean 'America/New_York'"),
        ({"zone": "../../etc/passwd"}, "no time zone"),
        ({"zone": ""}, "no time zone"),
        ({"hour": 24}, "from 0 to 23"),
        ({"hour": -1}, "from 0 to 23"),
        ({"categories": ["cs.CL", "cs AI"]}, "'cs AI' is not a category"),
        ({"categories": ["<b>"]}, "not a category"),
        ({"categories": [""]}, "not a category"),
        ({"interests": "x" * 2001}, "at most 2000"),
        ({"likes": ["2603.00001", "2603.77777"]}, "no paper '2603.77777': import"),
        ({"likes": ["nonsense", "2603.77777"]}, "and 1 more"),
    ],
)
def test_what_cannot_be_is_refused_with_advice_and_nothing_is_added(
    world: World, fields: dict[str, Any], says: str
) -> None:
    before = world.everything()
    with pytest.raises(TriageError, match=says):
        add(world, **fields)
    assert world.everything() == before


INTERNATIONAL = [
    ("u@bücher.example", "u@xn--bcher-kva.example"),
    ("u@xn--bcher-kva.example", "u@xn--bcher-kva.example"),
    ("U.V+w@BÜCHER.example", "U.V+w@xn--bcher-kva.example"),
    ("u@bu\u0308cher.example", "u@xn--bcher-kva.example"),
    ("u@例え.テスト", "u@xn--r8jz45g.xn--zckzah"),
    ("u@почта.рф", "u@xn--80a1acny.xn--p1ai"),
    ("u@faß.de", "u@xn--fa-hia.de"),
]


@pytest.mark.parametrize(("typed", "stored"), INTERNATIONAL)
def test_an_international_domain_is_stored_as_it_is_mailed(
    world: World, typed: str, stored: str
) -> None:
    added = add(world, typed)
    assert added.new
    assert added.subscriber.email == stored
    assert build_digest_for(added.subscriber).recipient == stored


@pytest.mark.parametrize(
    "again", ["u@bücher.example", "U@Bücher.Example", "u@XN--BCHER-KVA.example"]
)
@pytest.mark.parametrize("first", ["u@bücher.example", "u@xn--bcher-kva.example"])
def test_both_forms_of_a_domain_are_one_mailbox(world: World, first: str, again: str) -> None:
    added = add(world, first)
    assert add(world, again) == subscriptions.AddResult(added.subscriber, new=False)
    assert subscriptions.find(world.db, again) == added.subscriber


@pytest.mark.parametrize("typed", ["u@bücher.example", "u@xn--bcher-kva.example"])
def test_an_address_that_an_earlier_release_stored_in_unicode_keeps_working(
    world: World, typed: str
) -> None:
    earlier = replace(subscriptions.new_subscriber("u@bücher.example"), email="u@bücher.example")
    with world.db.write() as conn:
        key = "u@bücher.example"
        store.subscribers.add(conn, earlier, email_key=key, consent="", at=NOON)
    found = subscriptions.find(world.db, typed)
    assert found.email == "u@bücher.example"
    assert not add(world, typed).new
    assert b"\r\nTo: u@xn--bcher-kva.example\r\n" in build_digest_for(found).mime
    world.enrolment.ask_to_log_in(typed, "192.0.2.1")
    subscriptions.erase(world.db, typed)
    assert [row["email"] for row in rows(world.db, "signup_requests")] == []


@pytest.mark.parametrize(
    ("email", "says"),
    [
        ("käse@example.org", "before the @ has characters outside ASCII"),
        ("почта@почта.рф", "before the @ has characters outside ASCII"),
        ("用户@例子.测试", "before the @ has characters outside ASCII"),
        ("o’brien@example.org", "before the @ has characters outside ASCII"),
        ("jürgen@xn--bcher-kva.example", "before the @ has characters outside ASCII"),
        (f"u@{'a.' * 90}example.org", "the domain has more than 185 characters"),
        (f"u@{'bücher.' * 13}example", "the domain has more than 185 characters"),
        (f"{'u' * 65}@example.org", "before the @ has more than 64 characters"),
        ("u@xn--a.example", "not a mail address"),
        ("u@aא.example", "not a mail address"),
        ('"a b"@example.org', "not a mail address"),
        ("u@[192.0.2.1]", "not a mail address"),
    ],
)
def test_an_address_that_no_mail_can_go_to_is_refused_with_the_reason(
    world: World, email: str, says: str
) -> None:
    before = world.everything()
    with pytest.raises(ConfigError, match=says):
        add(world, email)
    with pytest.raises(ConfigError, match=says):
        world.enrolment.ask_to_log_in(email, "192.0.2.1")
    assert world.everything() == before


@settings(max_examples=300, deadline=None)
@given(
    st.emails()
    | st.text("aü.@-+ßя例\u0308'\"_ ", max_size=20).map(lambda text: f"u{text}@bücher.org")
)
def test_whatever_is_accepted_can_be_mailed(email: str) -> None:
    try:
        accepted = subscriptions.new_subscriber(email)
    except ConfigError:
        return
    assert build_digest_for(accepted).recipient == accepted.email


def build_digest_for(subscriber: Subscriber) -> OutgoingMessage:
    return digest(slate(1, subscriber=replace(subscriber, created_at=NOON))).message


def test_unsubscribing_cancels_what_waits_and_may_be_repeated(world: World) -> None:
    reader = world.readers[0]
    assert unsubscribe(world.db, reader.public_id, world.clock)
    assert world.state() is SubscriberState.UNSUBSCRIBED
    assert message_state(world) is MessageState.CANCELLED
    after = world.everything()
    world.clock.sleep(60)
    assert not unsubscribe(world.db, reader.public_id, world.clock)
    assert world.everything() == after
    assert world.state(reader=1) is SubscriberState.ACTIVE
    assert message_state(world, reader=1) is MessageState.RENDERED


def test_a_pause_ends_with_resume(world: World) -> None:
    assert subscriptions.pause(world.db, ADDRESS, world.clock)
    assert not subscriptions.pause(world.db, ADDRESS, world.clock)
    assert world.state() is SubscriberState.PAUSED
    assert message_state(world) is MessageState.CANCELLED
    assert subscriptions.resume(world.db, ADDRESS, world.clock)
    assert not subscriptions.resume(world.db, ADDRESS, world.clock)
    assert world.state() is SubscriberState.ACTIVE


def test_a_pause_does_not_undo_an_unsubscription(world: World) -> None:
    unsubscribe(world.db, world.readers[0].public_id, world.clock)
    assert not subscriptions.pause(world.db, ADDRESS, world.clock)
    assert world.state() is SubscriberState.UNSUBSCRIBED


def test_who_never_confirmed_cannot_be_resumed(world: World) -> None:
    with world.db.write() as conn:
        store.subscribers.set_state(conn, 1, SubscriberState.PENDING, NOON)
    with pytest.raises(ConfigError, match="never confirmed"):
        subscriptions.resume(world.db, ADDRESS, world.clock)


def test_erasing_leaves_no_row_and_no_byte_of_the_subscriber(world: World) -> None:
    world.client().post("/v/" + world.vote(), data={"vote": "vote_up"})
    subscriptions.erase(world.db, ADDRESS)
    everything = world.everything()
    assert ADDRESS not in everything
    assert world.readers[0].public_id not in everything
    with world.db.read() as conn:
        for table in metadata.sorted_tables:
            if "subscriber_id" in table.c:
                assert set(conn.scalars(select(table.c.subscriber_id))) <= {2}
    assert "other@example.org" in everything
    with pytest.raises(NotFound):
        subscriptions.find(world.db, ADDRESS)
    assert add(world, ADDRESS).new


@pytest.mark.parametrize("act", [subscriptions.pause, subscriptions.resume])
def test_nobody_is_not_found_and_the_address_is_not_repeated(world: World, act: Any) -> None:
    with pytest.raises(NotFound, match="subscriber list") as caught:
        act(world.db, "nobody@example.org", world.clock)
    assert "nobody" not in str(caught.value)
    with pytest.raises(NotFound):
        subscriptions.erase(world.db, "nobody@example.org")
    with pytest.raises(NotFound):
        subscriptions.find(world.db, "nobody@example.org")
