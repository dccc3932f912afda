"""Subscribing and logging in: one row a wish, mails within limits, links that work once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import func, select

from tests.support import databases
from tests.support.factories import NOON
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from triage import store
from triage.app.account_mail import account_mail_builder
from triage.delivery.audit import audit
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.digest.message import part_of
from triage.domain.link_tokens import Keyring
from triage.domain.records import OutgoingMessage, Subscriber, SubscriberState
from triage.errors import ConfigError, NotFound, TokenError, TokenExpired, TooManyRequests
from triage.settings import MailSettings, Settings, Site
from triage.store import Database
from triage.store.tables import messages, metadata, signup_requests
from triage.subscribers import subscriptions
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.sessions import MOST_TRIES, SESSION, Sessions
from triage.subscribers.signup import (
    MOST_WAITING,
    NoteKind,
    Signup,
    mailbox,
    new_network_limit,
)

ADA = "ada@example.org"
HERE, ELSEWHERE = "192.0.2.7", "198.51.100.7"
SETTINGS = Settings(
    site=Site(name="Morning papers", base_url="https://papers.example"),
    mail=MailSettings(sender="Papers <digest@papers.example>"),
)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Office:
    """An installation's enrolment with its outbox, whose mails lie in `mailer.sent`."""

    db: Database
    clock: StoppedClock
    enrolment: Signup
    sessions: Sessions
    mailer: FakeMailer
    outbox: Outbox

    def subscribe(
        self, email: str = ADA, peer: str = HERE, likes: Sequence[int] = (), **wish: object
    ) -> None:
        preferences = SubscriberPreferences(**wish)  # type: ignore[arg-type]
        self.enrolment.ask_to_subscribe(email, preferences, peer, likes)

    def log_in(self, email: str = ADA, peer: str = HERE) -> tuple[str, str]:
        return self.enrolment.ask_to_log_in(email, peer)

    def answers(self) -> list[OutgoingMessage]:
        """Return the mails that go out now."""
        before = len(self.mailer.sent)
        self.enrolment.answer()
        self.outbox.drain()
        return self.mailer.sent[before:]

    def queued(self) -> list[str]:
        """Return to whom answers are queued now; none of them goes out."""
        with self.db.read() as conn:
            last = conn.scalar(select(func.max(messages.c.id))) or 0
        self.enrolment.answer()
        with self.db.read() as conn:
            return list(conn.scalars(select(messages.c.recipient).where(messages.c.id > last)))

    def reader(self, email: str = ADA) -> Subscriber | None:
        with self.db.read() as conn:
            return store.subscribers.by_email_key(conn, store.subscribers.email_key(email))

    def state(self, email: str = ADA) -> SubscriberState:
        reader = self.reader(email)
        assert reader is not None
        return reader.state

    def is_active(self, email: str = ADA) -> Subscriber:
        """Let an address be an active subscriber."""
        return subscriptions.add(self.db, email, self.clock).subscriber


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return new_office(tmp_path)


@pytest.fixture
def swift_office(tmp_path: Path) -> Iterator[Office]:
    """Return an office whose database is kept in memory where the machine has a place for that."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield new_office(Path(folder))
        databases.end_of_test()


def new_office(folder: Path) -> Office:
    db, clock, keyring = (
        databases.new_database(folder),
        StoppedClock(),
        Keyring("k" * 20 + "ey" * 20),
    )
    mailer = FakeMailer()
    outbox = Outbox(
        SenderContext(db, mailer, clock, owner="here/1/x", is_gone=lambda _: False, connections=1)
    )
    enrolment = Signup(
        db,
        clock,
        keyring,
        account_mail_builder(SETTINGS),
        address_hash=lambda email: f"hash of {email}",
    )
    return Office(db, clock, enrolment, Sessions(db, clock, keyring), mailer, outbox)


def token_in(mail: OutgoingMessage) -> str:
    text = part_of(mail.mime, "plain")
    [link] = [line for line in text.splitlines() if line.startswith("https://papers.example/")]
    return link.rpartition("/")[2]


def subject_of(mail: OutgoingMessage) -> str:
    [line] = [row for row in mail.mime.decode().split("\r\n") if row.startswith("Subject: ")]
    return line.removeprefix("Subject: ")


def n_rows(db: Database) -> dict[str, int]:
    with db.read() as conn:
        return {
            table.name: conn.scalar(select(func.count()).select_from(table)) or 0
            for table in metadata.sorted_tables
        }


# -- subscribing -----------------------------------------------------------------------------------


def test_a_wish_a_mail_and_a_button_make_a_subscriber(office: Office) -> None:
    office.subscribe(interests="knitting with light", categories=("cs.CL",), zone="Asia/Tokyo")
    assert office.reader() is None
    [mail] = office.answers()
    assert office.state() is SubscriberState.PENDING
    assert mail.recipient == ADA
    confirmed = office.enrolment.confirm(token_in(mail), "Send me the digest")
    assert confirmed.state is SubscriberState.ACTIVE
    reader = office.reader()
    assert reader is not None
    assert (reader.state, reader.interests, reader.categories, reader.zone, reader.hour) == (
        SubscriberState.ACTIVE, "knitting with light", ("cs.CL",), "Asia/Tokyo", 7,
    )  # fmt: skip
    with office.db.read() as conn:
        consent = store.subscribers.consent(conn, reader.id)
    assert (consent.words, consent.confirmed_at) == ("Send me the digest", NOON)


def test_confirming_twice_is_as_confirming_once(office: Office) -> None:
    office.subscribe()
    [mail] = office.answers()
    office.enrolment.confirm(token_in(mail), "yes")
    office.clock.at += HOUR
    office.enrolment.confirm(token_in(mail), "no")
    reader = office.reader()
    assert reader is not None
    with office.db.read() as conn:
        assert store.subscribers.consent(conn, reader.id).words == "yes"


def test_a_used_link_does_not_bring_back_who_has_left(office: Office) -> None:
    office.subscribe()
    [mail] = office.answers()
    reader = office.enrolment.confirm(token_in(mail), "yes")
    office.enrolment.leave(reader.public_id)
    with pytest.raises(TokenExpired):
        office.enrolment.confirm(token_in(mail), "yes")
    assert office.state() is SubscriberState.UNSUBSCRIBED


def test_what_cannot_be_is_refused_before_anything_is_stored(office: Office) -> None:
    for wish in ({"email": "nobody"}, {"zone": "Mars/Base"}, {"hour": 25}, {"categories": ("?",)}):
        with pytest.raises(ConfigError):
            office.subscribe(**{"email": ADA} | wish)  # type: ignore[arg-type]
    assert not any(n_rows(office.db).values())


def test_the_words_of_the_link_that_is_followed_count(office: Office) -> None:
    office.subscribe(interests="what a stranger thought")
    office.answers()
    office.clock.at += DAY + HOUR
    office.subscribe(interests="what I read")
    [mail] = office.answers()
    office.enrolment.confirm(token_in(mail), "yes")
    reader = office.reader()
    assert reader is not None
    assert reader.interests == "what I read"


def test_who_is_subscribed_already_is_told_so_and_nothing_changes(office: Office) -> None:
    before = office.is_active()
    office.subscribe(interests="something else")
    [mail] = office.answers()
    assert subject_of(mail) == "You are subscribed to Morning papers already"
    assert token_in(mail) == "login"
    assert office.reader() == before


def test_who_left_may_come_back_as_they_were(office: Office) -> None:
    reader = office.is_active()
    office.enrolment.leave(reader.public_id)
    office.outbox.drain()
    office.subscribe(interests="something else")
    [mail] = office.answers()
    assert office.state() is SubscriberState.UNSUBSCRIBED
    assert office.enrolment.confirm(token_in(mail), "yes").state is SubscriberState.ACTIVE
    again = office.reader()
    assert again is not None
    assert again.interests == reader.interests


def test_an_address_that_nobody_confirms_is_forgotten_after_seven_days(office: Office) -> None:
    office.subscribe()
    [mail] = office.answers()
    office.clock.at += 7 * DAY - HOUR
    office.enrolment.tidy()
    assert office.reader() is not None
    office.clock.at += 2 * HOUR
    office.enrolment.tidy()
    assert office.reader() is None
    with pytest.raises(TokenExpired):
        office.enrolment.confirm(token_in(mail), "yes")


def test_a_link_of_a_later_wish_lives_its_seven_days(office: Office) -> None:
    office.subscribe()
    office.answers()
    office.clock.at += 6 * DAY
    office.subscribe()
    [mail] = office.answers()
    office.clock.at += 6 * DAY
    office.enrolment.tidy()
    assert office.enrolment.confirm(token_in(mail), "yes").state is SubscriberState.ACTIVE


def test_a_suppressed_address_gets_nothing_whatever_it_asks_for(office: Office) -> None:
    office.is_active()
    with office.db.write() as conn:
        store.suppressions.add(conn, f"hash of {ADA}", "complaint", NOON)
    office.subscribe()
    office.log_in()
    assert office.answers() == []


def test_whose_address_is_suppressed_before_they_confirm_does_not_become_active(
    office: Office,
) -> None:
    office.subscribe()
    [mail] = office.answers()
    with office.db.write() as conn:
        store.suppressions.add(conn, f"hash of {ADA}", "operator", NOON)
    with pytest.raises(TokenError, match="nothing is sent"):
        office.enrolment.confirm(token_in(mail), "yes")
    with office.db.write() as conn:
        store.suppressions.remove(conn, f"hash of {ADA}")
    assert office.enrolment.confirm(token_in(mail), "yes").state is SubscriberState.ACTIVE


def test_one_address_that_no_mail_can_go_to_keeps_nobody_waiting(office: Office) -> None:
    office.subscribe("ada@example.org")
    with office.db.write() as conn:
        conn.execute(signup_requests.update().values(email="ada\n@example.org"))
    office.subscribe("ben@example.org")
    assert [mail.recipient for mail in office.answers()] == ["ben@example.org"]
    assert office.answers() == []


# -- the mails -------------------------------------------------------------------------------------


def every_note(office: Office) -> dict[NoteKind, OutgoingMessage]:
    office.subscribe("new@example.org")
    [confirm] = office.answers()
    reader = office.is_active()
    office.subscribe()
    [already] = office.answers()
    office.log_in()
    [login] = office.answers()
    office.enrolment.leave(reader.public_id)
    [goodbye] = office.answers()
    return {
        NoteKind.CONFIRM: confirm,
        NoteKind.ALREADY: already,
        NoteKind.LOGIN: login,
        NoteKind.GOODBYE: goodbye,
    }


def test_notes_are_of_no_list_and_of_another_address_than_digests(office: Office) -> None:
    for mail in every_note(office).values():
        head = mail.mime.decode().partition("\r\n\r\n")[0]
        names = [line.partition(":")[0] for line in head.split("\r\n") if line[0] not in " \t"]
        assert sorted(names) == sorted(
            "From To Date Message-ID Subject MIME-Version Reply-To Auto-Submitted Content-Type"
            " Content-Transfer-Encoding".split()
        )
        assert "\r\nReply-To: " in head
        assert 'From: "Papers" <digest+account@papers.example>' in head
        assert mail.message_id.startswith("<n.")


def test_no_word_of_a_stranger_is_in_a_confirmation(office: Office) -> None:
    evil = "Visit https://evil.example now"
    office.subscribe(interests=evil, categories=("evil.example",))
    [mail] = office.answers()
    assert "evil" not in part_of(mail.mime, "plain")
    assert "evil" not in mail.mime.decode()


def test_notes_go_before_digests_and_the_books_balance(office: Office) -> None:
    notes = every_note(office)
    assert len(notes) == 4
    with office.db.read() as conn:
        states = set(conn.scalars(select(messages.c.state)))
    assert states == {"sent"}
    assert audit(office.db).faults == ()


@pytest.mark.parametrize("state", ["pending", "active", "paused", "unsubscribed"])
def test_a_note_waits_for_no_state_but_suppression(office: Office, state: str) -> None:
    reader = office.is_active()
    with office.db.write() as conn:
        note = OutgoingMessage("<n.1@papers.example>", ADA, b"note")
        store.messages.add_note(conn, reader, "login-1", note, NOON)
        store.subscribers.set_state(conn, reader.id, SubscriberState(state), NOON)
    office.outbox.send_account_mail()
    assert [mail.message_id for mail in office.mailer.sent] == ["<n.1@papers.example>"]


def test_a_note_to_who_was_suppressed_is_cancelled(office: Office) -> None:
    reader = office.is_active()
    office.log_in()
    office.enrolment.answer()
    with office.db.write() as conn:
        store.subscribers.set_state(conn, reader.id, SubscriberState.SUPPRESSED, NOON)
    assert office.answers() == []
    with office.db.read() as conn:
        [row] = store.messages.listing(conn)
    assert (row["state"], row["reason"]) == ("cancelled", "suppressed")


# -- logging in ------------------------------------------------------------------------------------


def test_the_browser_that_asked_logs_in_once(office: Office) -> None:
    reader = office.is_active()
    kept, _ = office.log_in()
    [mail] = office.answers()
    token = token_in(mail)
    assert office.sessions.is_requesting_browser(token, kept)
    session = office.sessions.begin(token, kept, "")
    assert office.sessions.find_subscriber(session) == reader
    with pytest.raises(TokenExpired):
        office.sessions.begin(token, kept, "")
    with pytest.raises(TokenExpired):
        office.sessions.is_requesting_browser(token, kept)


def test_another_browser_needs_the_code(office: Office) -> None:
    reader = office.is_active()
    kept, code = office.log_in()
    [mail] = office.answers()
    token = token_in(mail)
    assert not office.sessions.is_requesting_browser(token, "")
    for wrong in ("", "é" * 6, code + "0", kept):
        with pytest.raises(TokenError):
            office.sessions.begin(token, "", wrong)
    session = office.sessions.begin(token, "another browser's", f" {code[:3]} {code[3:]} ")
    assert office.sessions.find_subscriber(session) == reader


def test_five_wrong_codes_use_a_link_up(office: Office) -> None:
    office.is_active()
    kept, code = office.log_in()
    [mail] = office.answers()
    for n in range(MOST_TRIES):
        with pytest.raises(TokenError) as refused:
            office.sessions.begin(token_in(mail), "", f"wrong{n}é")
        assert refused.type is TokenError
    for right in ({"cookie": kept, "code": ""}, {"cookie": "", "code": code}):
        with pytest.raises(TokenExpired):
            office.sessions.begin(token_in(mail), **right)


def test_what_one_browser_keeps_opens_no_link_of_another(office: Office) -> None:
    office.is_active()
    first, _ = office.log_in(peer=ELSEWHERE)
    second, _ = office.log_in()
    mails = office.answers()
    assert len(mails) == 2
    with pytest.raises(TokenError):
        office.sessions.begin(token_in(mails[1]), first, "")
    assert office.sessions.begin(token_in(mails[1]), second, "")


def test_a_link_to_log_in_is_old_after_a_quarter_of_an_hour(office: Office) -> None:
    office.is_active()
    kept, _ = office.log_in()
    [mail] = office.answers()
    office.clock.at += timedelta(minutes=15)
    with pytest.raises(TokenExpired):
        office.sessions.begin(token_in(mail), kept, "")


def test_only_subscribers_get_a_link_to_log_in(office: Office) -> None:
    office.subscribe("pending@example.org")
    office.answers()
    office.log_in("pending@example.org")
    office.log_in("nobody@example.org")
    assert office.answers() == []


def test_a_session_ends_by_time_by_wish_and_by_erasure(office: Office) -> None:
    def begun() -> str:
        kept, _ = office.log_in()
        [mail] = office.answers()
        return office.sessions.begin(token_in(mail), kept, "")

    reader = office.is_active()
    first, second = begun(), begun()
    office.clock.at += SESSION - HOUR
    assert office.sessions.find_subscriber(first) == reader
    office.clock.at += HOUR
    assert office.sessions.find_subscriber(first) is None
    third, fourth = begun(), begun()
    assert (
        office.sessions.find_subscriber(third) == office.sessions.find_subscriber(fourth) == reader
    )
    office.sessions.end_all(reader)
    assert office.sessions.find_subscriber(third) is office.sessions.find_subscriber(fourth) is None
    fifth = begun()
    subscriptions.erase(office.db, ADA)
    assert office.sessions.find_subscriber(fifth) is None
    assert office.sessions.find_subscriber(second) is office.sessions.find_subscriber("") is None
    assert not n_rows(office.db)["signup_requests"] + n_rows(office.db)["sessions"]


def test_no_secret_of_a_session_is_stored(office: Office) -> None:
    office.is_active()
    kept, _ = office.log_in()
    [mail] = office.answers()
    session = office.sessions.begin(token_in(mail), kept, "")
    with office.db.read() as conn:
        everything = repr([conn.execute(select(t)).all() for t in metadata.sorted_tables])
    assert kept not in everything
    assert session not in everything


# -- leaving ---------------------------------------------------------------------------------------


def test_who_leaves_gets_one_mail_with_a_way_back(office: Office) -> None:
    reader = office.is_active()
    undo = office.enrolment.leave(reader.public_id)
    [mail] = office.answers()
    assert subject_of(mail) == "You are unsubscribed from Morning papers"
    assert token_in(mail) == undo
    assert office.enrolment.leave(reader.public_id) == ""
    assert office.answers() == []
    office.enrolment.confirm(undo, "go on")
    assert office.state() is SubscriberState.ACTIVE


def test_a_second_goodbye_of_a_day_is_not_sent_but_can_be_undone(office: Office) -> None:
    reader = office.is_active()
    undo = office.enrolment.leave(reader.public_id)
    office.enrolment.confirm(undo, "go on")
    again = office.enrolment.leave(reader.public_id)
    assert len(office.answers()) == 1
    office.enrolment.confirm(again, "go on")
    assert office.state() is SubscriberState.ACTIVE
    office.clock.at += DAY
    office.enrolment.leave(reader.public_id)
    assert len(office.answers()) == 1


def test_the_way_back_is_good_once_and_for_seven_days(office: Office) -> None:
    reader = office.is_active()
    undo = office.enrolment.leave(reader.public_id)
    office.enrolment.confirm(undo, "go on")
    late = office.enrolment.leave(reader.public_id)
    with pytest.raises(TokenExpired):
        office.enrolment.confirm(undo, "go on")
    office.clock.at += 7 * DAY
    with pytest.raises(TokenExpired):
        office.enrolment.confirm(late, "go on")
    assert office.state() is SubscriberState.UNSUBSCRIBED


def test_an_old_link_to_leave_gives_no_way_back_to_a_stranger(office: Office) -> None:
    reader = office.is_active()
    office.enrolment.leave(reader.public_id)
    assert office.enrolment.leave(reader.public_id) == ""


def test_nobody_cannot_leave(office: Office) -> None:
    with pytest.raises(NotFound):
        office.enrolment.leave("0" * 20)


# -- nobody can ask who is subscribed --------------------------------------------------------------


def test_a_wish_stores_the_same_row_whoever_it_is_of(office: Office) -> None:
    office.is_active("known@example.org")
    office.log_in("known@example.org")
    office.log_in("other@example.org")
    office.subscribe("known@example.org")
    office.subscribe("other@example.org")
    with office.db.read() as conn:
        rows = [
            dict(row._mapping)
            for row in conn.execute(select(signup_requests).order_by(signup_requests.c.id))
        ]
    for known, other in ((rows[0], rows[1]), (rows[2], rows[3])):
        own = {"id", "public_id", "email", "address_key", "binding", "code"}
        assert {k: v for k, v in known.items() if k not in own} == {
            k: v for k, v in other.items() if k not in own
        }
        assert [len(str(known[k])) for k in own - {"id"}] == [
            len(str(other[k])) for k in own - {"id"}
        ]


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@example.org", "ada@EXAMPLE.org"),
        ("ada+x@example.org", "ada@example.org"),
        ("a.d.a+b@gmail.com", "ada@googlemail.com"),
    ],
)
def test_spellings_of_one_mailbox_share_its_limits(one: str, other: str) -> None:
    assert mailbox(one) == mailbox(other)
    assert mailbox("a.b@example.org") != mailbox("ab@example.org")


def test_one_address_gets_one_confirmation_a_day_and_three_a_month(swift_office: Office) -> None:
    office = swift_office
    sent_at: list[datetime] = []
    for n in range(33 * 2):
        office.subscribe(peer=f"10.{n}.1.1")
        sent_at += [office.clock.now() for _ in office.queued()]
        office.enrolment.tidy()
        office.clock.at += 13 * HOUR
    assert sent_at[:3] == [NOON, NOON + 26 * HOUR, NOON + 52 * HOUR]
    assert NOON + 30 * DAY < sent_at[3] < NOON + 31 * DAY


def test_a_month_is_counted_from_the_mail_however_long_a_wish_waited(swift_office: Office) -> None:
    office = swift_office
    sent_at: list[datetime] = []
    for n in range(37):
        office.subscribe(peer=f"10.{n}.1.1")
        if n >= 5:  # before, nobody answered
            sent_at += [office.clock.now() for _ in office.queued()]
        office.enrolment.tidy()
        office.clock.at += 26 * HOUR
    assert sent_at[:3] == [NOON + n * 26 * HOUR for n in (5, 6, 7)]
    assert sent_at[0] + 30 * DAY < sent_at[3] < sent_at[0] + 32 * DAY


def test_a_lab_behind_one_address_can_subscribe_fifteen_people_in_an_hour(office: Office) -> None:
    for n in range(15):
        office.subscribe(f"reader{n}@d{n}.example.org", peer=f"192.0.2.{n}")
    with pytest.raises(TooManyRequests, match="at most 15 an hour") as told:
        office.subscribe("one.more@example.org", peer="192.0.2.200")
    assert len(office.queued()) == 15
    office.clock.sleep(told.value.retry_after_s)
    office.subscribe("one.more@example.org", peer="192.0.2.200")
    assert office.queued() == ["one.more@example.org"]


def test_one_network_may_ask_for_thirty_mails_a_day(office: Office) -> None:
    sent = []
    for n in range(7):
        for m in range(20):
            with suppress(TooManyRequests):
                office.subscribe(f"reader{n}.{m}@d{n}{m}.example.org", peer=f"192.0.2.{n + m}")
        sent.append(len(office.queued()))
        office.clock.at += HOUR + timedelta(minutes=2)
    assert sent == [15, 15, 0, 0, 0, 0, 0]


def test_who_asked_another_process_gets_no_more_answers(office: Office) -> None:
    """The limit that is said is one process's own. That of the mails is in the database."""
    others = replace(office.enrolment, network_limit=new_network_limit())
    for n in range(15):
        office.subscribe(f"reader{n}@d{n}.example.org")
        others.ask_to_log_in(f"other{n}@d{n}.example.org", HERE)
        others.ask_to_subscribe(f"more{n}@d{n}.example.org", SubscriberPreferences(), ELSEWHERE)
    assert len(office.queued()) == 30


def test_the_limit_tells_nobody_who_is_subscribed(office: Office) -> None:
    """What counts is what was asked, and not which of it was answered."""
    office.is_active("known@example.org")
    waits = []
    for n, email in enumerate(("known@example.org", "other@example.org")):
        for _ in range(15):
            office.log_in(email, peer=f"10.0.{n}.1")
            office.queued()
        with pytest.raises(TooManyRequests) as told:
            office.log_in(email, peer=f"10.0.{n}.1")
        waits.append((str(told.value), told.value.retry_after_s))
    assert waits[0] == waits[1]


def test_trusted_networks_have_no_limit_of_their_own(office: Office) -> None:
    trusted = new_network_limit([ip_network("192.0.2.0/28")])
    office = replace(office, enrolment=replace(office.enrolment, network_limit=trusted))
    for n in range(45):
        office.subscribe(f"reader{n}@d{n}.example.org", peer="192.0.2.7")
    assert len(office.queued()) == 45
    # The rest of the /24 has one, which these requests did not use up.
    for n in range(15):
        office.subscribe(f"guest{n}@d{n}.example.com", peer="192.0.2.77")
    assert len(office.queued()) == 15
    with pytest.raises(TooManyRequests):
        office.subscribe("guest@example.com", peer="192.0.2.77")


def test_one_domain_gets_fifty_answers_an_hour(office: Office) -> None:
    for n in range(55):
        office.subscribe(f"reader{n}@example.org", peer=f"10.{n}.0.1")
    assert len(office.queued()) == 50


def test_whatever_is_asked_two_hundred_mails_an_hour_go_out(swift_office: Office) -> None:
    office = swift_office
    for n in range(210):
        office.subscribe(f"reader{n}@d{n}.example.org", peer=f"10.{n}.0.1")
    assert len(office.queued()) + len(office.queued()) == 200
    assert n_rows(office.db)["signup_requests"] == 200


def test_who_asks_to_log_in_too_often_waits(office: Office) -> None:
    office.is_active()
    for n in range(10):
        office.log_in(peer=f"10.{n}.0.1")
    assert len(office.queued()) == 3


def test_what_waits_never_grows_without_end(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.subscribers.signup.MOST_WAITING", 30)
    assert MOST_WAITING == 5_000
    for n in range(50):
        with suppress(TooManyRequests):
            office.subscribe(f"reader{n}@example.org", peer=HERE)
    assert n_rows(office.db)["signup_requests"] == 15
    for n in range(50):
        office.subscribe(f"reader{n}@example.org", peer=f"10.{n}.0.1")
    assert n_rows(office.db)["signup_requests"] == 30


def test_two_processes_answer_a_wish_once(office: Office) -> None:
    office.subscribe()
    with office.db.read() as conn:
        [waiting] = store.signups.unanswered(conn, 10)
    assert len(office.answers()) == 1
    with office.db.write() as conn:
        assert not store.signups.answer(conn, waiting, NOON)


@pytest.mark.guarantee("R25")
def test_the_forms_are_no_mail_bomb(swift_office: Office, guarantee: Guarantee) -> None:
    """Simulate an attack of an hour before forty days of a slower one, among honest sign-ups."""
    office = swift_office
    n_attack = 900_000 if guarantee.full else 1_500
    n_victims, n_networks = (10_000, 5_000) if guarantee.full else (60, 120)
    n_a_day = n_attack // 400
    chance = random.Random(25)  # noqa: S311 - a simulation
    victims = [f"victim{n}@d{n % 40}.example.net" for n in range(n_victims)]
    networks = [f"10.{n % 250}.{n // 250}.1" for n in range(n_networks)]
    # As many domains as share nothing with the hours: those of one hour are of all of them.
    honest = [
        f"{n}@h{n % 29}.example.com" for n in range(n_attack // 100 if guarantee.full else 30)
    ]
    sent: list[tuple[datetime, str]] = []
    most_rows = 0

    def posts(n: int, guests: Sequence[str], rounds: int, span: timedelta) -> None:
        nonlocal most_rows
        for each in range(rounds):
            for _ in range(n // rounds):
                with suppress(TooManyRequests):
                    office.subscribe(chance.choice(victims), peer=chance.choice(networks))
            for guest in guests[each::rounds]:
                host = int(guest.partition("@")[0])
                office.subscribe(guest, peer=f"172.{host // 250}.{host % 250}.9")
            while queued := office.queued():
                sent.extend((office.clock.now(), who) for who in queued)
            office.clock.at += span / rounds
        most_rows = max(most_rows, n_rows(office.db)["signup_requests"])
        office.enrolment.tidy()

    n_hours = -(-len(honest) // 100)
    for hour in range(n_hours):
        posts(0, honest[hour::n_hours], 2, HOUR)
    posts(n_attack, [], 360 if guarantee.full else 4, HOUR)
    for _ in range(40):
        posts(n_a_day, [], 2, DAY)

    times_of: dict[str, list[datetime]] = {}
    for at, who in sent:
        times_of.setdefault(who, []).append(at)
    in_30_days = max(_most_within(30 * DAY, times) for times in times_of.values())
    in_an_hour = _most_within(HOUR, [at for at, _ in sent])
    answered = sum(guest in times_of for guest in honest) / len(honest)
    assert in_30_days <= 3
    assert in_an_hour <= 200
    assert answered >= 0.95
    assert most_rows <= MOST_WAITING + len(sent)
    guarantee.record(
        signups=n_attack + len(honest) + 40 * n_a_day,
        mails_to_one_victim_in_30_days=in_30_days,
        mails_in_an_hour=in_an_hour,
        honest_answered=round(answered, 4),
        rows_at_most=most_rows,
    )


def _most_within(span: timedelta, times: Sequence[datetime]) -> int:
    """Return how many of these ascending times lie in one span at most."""
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= span:
            first += 1
        most = max(most, last - first + 1)
    return most
