"""Mail stops for who is not there or complains, at once or in time, and for nobody else."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.support.bounce_corpus import About
from tests.support.bounce_corpus_more import ALL_CASES as CASES
from tests.support.databases import on_postgres
from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import (
    SPOILT,
    add_reader,
    empty_slate,
    installed,
    queue,
    rows,
    spoil,
    unsubscribe,
)
from tests.support.mail_servers import inbox, script
from tests.support.web_world import everything
from triage import store
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli import cli
from triage.delivery.bounces import intake as bounce_intake
from triage.delivery.bounces.classify import Kind
from triage.delivery.bounces.intake import Intake, why_suppress
from triage.delivery.outbox import Outbox
from triage.delivery.recovery import lift_refused_since
from triage.delivery.sender_context import SenderContext
from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.digest.links import envelope_sender
from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.records import MessageState, OutgoingMessage, Subscriber, SubscriberState
from triage.errors import ConfigError
from triage.store import Database
from triage.subscribers import subscriptions
from triage.subscribers.votes import record_mailed_vote

SECRET = "a secret of the tests, 32 or more characters"
MAILBOX = "bounces@triage.example"
HARMLESS = {Kind.POLICY, Kind.NOTICE, Kind.AUTO_REPLY, Kind.UNKNOWN, Kind.FORGED}
BY_NAME = {case.name: case for case in CASES}


@dataclass
class Post:
    """An installation whose digests come back."""

    db: Database
    clock: StoppedClock = field(default_factory=StoppedClock)
    keyring: Keyring = field(default_factory=lambda: Keyring(SECRET))
    n_digests: int = 0

    @property
    def intake(self) -> Intake:
        return Intake(self.db, self.keyring, self.clock, self.hashed, record_mailed_vote)

    @staticmethod
    def hashed(email: str) -> str:
        return f"hash of {store.subscribers.email_key(email)}"

    def reader(self, n: int = 1) -> Subscriber:
        return add_reader(self.db, n)

    def digest(self, reader: Subscriber, days_later: int = 0) -> About:
        """Queue a digest that is so many days later than the first, and return all about it."""
        self.n_digests += 1
        on = DAY + timedelta(days=days_later)
        chosen = empty_slate(reader, self.n_digests, on=on)
        queue(self.db, chosen, at=NOON + timedelta(days=days_later))
        leave = self.keyring.sign_address(Purpose.UNSUBSCRIBE, reader.public_id)
        message_id = f"<d.{chosen.public_id}@triage.example>"
        return About(
            reader.email,
            envelope_sender(message_id, self.keyring, MAILBOX),
            MAILBOX.replace("@", f"+{leave}@"),
            self.keyring.sign(Purpose.UNSUBSCRIBE, Claims(reader.public_id, NOON)),
        )

    def state(self, reader: Subscriber) -> SubscriberState:
        with self.db.read() as conn:
            found = store.subscribers.by_id(conn, reader.id)
        assert found is not None
        return found.state

    def states(self) -> list[str]:
        with self.db.read() as conn:
            return [str(each.state) for each in store.subscribers.contacts(conn)]

    def reason(self, reader: Subscriber) -> str | None:
        with self.db.read() as conn:
            return store.suppressions.reason(conn, self.hashed(reader.email))

    def come_back(self, case: str, *abouts: About) -> None:
        for about in abouts:
            assert self.intake.take(BY_NAME[case].raw(about)).kind is BY_NAME[case].kind


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with installed(tmp_path) as db:
        yield Post(db)


# -- the guarantee ---------------------------------------------------------------------------------


@pytest.mark.guarantee("R6")
def test_each_message_of_the_corpus_is_what_it_is_and_stops_only_what_it_must(
    post: Post, guarantee: Guarantee
) -> None:
    readers = [post.reader(n) for n in range(1, len(CASES) + 1)]
    raws = [case.raw(post.digest(reader)) for case, reader in zip(CASES, readers, strict=True)]
    taken = [post.intake.take(raw) for raw in raws]
    wrong = {
        case.name: str(each.kind)
        for case, each in zip(CASES, taken, strict=True)
        if each.kind is not case.kind
    }
    n_right = len(CASES) - len(wrong)
    assert wrong == {}
    assert len(CASES) >= 200

    for case, reader in zip(CASES, readers, strict=True):
        expected = {
            Kind.COMPLAINT: SubscriberState.SUPPRESSED,
            Kind.UNSUBSCRIBE: SubscriberState.UNSUBSCRIBED,
        }.get(case.kind, SubscriberState.ACTIVE)
        assert post.state(reader) is expected, case.name
    assert [row["raw"] for row in rows(post.db, "bounces")] == raws, "everything is kept"

    after = everything(post.db)
    rng, n_replays = random.Random(6), 10 if guarantee.full else 3  # noqa: S311
    for _ in range(n_replays):
        rng.shuffle(raws)
        assert all(post.intake.take(raw).known for raw in raws)
    assert everything(post.db) == after
    guarantee.record(n_messages=len(CASES), n_right_class=n_right, n_replays=n_replays)


@pytest.mark.guarantee("R6")
def test_nothing_harmless_ever_suppresses_however_often_it_comes(
    post: Post, guarantee: Guarantee
) -> None:
    n_days = 12 if guarantee.full else 3
    harmless = [case for case in CASES if case.kind in HARMLESS]
    readers = [post.reader(n) for n in range(1, len(harmless) + 1)]
    for case, reader in zip(harmless, readers, strict=True):
        for day in range(n_days):
            raw = case.raw(post.digest(reader, day)) + f"\r\n{day}".encode()
            assert post.intake.take(raw).kind is case.kind, case.name
    assert rows(post.db, "suppressions") == []
    assert {post.state(reader) for reader in readers} == {SubscriberState.ACTIVE}
    assert len(rows(post.db, "bounces")) == len(harmless) * n_days
    guarantee.record(n_harmless_messages=len(harmless) * n_days, n_wrongly_suppressed=0)


@pytest.mark.guarantee("R6")
def test_a_mailbox_that_is_refused_at_the_door_gets_nothing_more_after_two_dates(
    post: Post, guarantee: Guarantee
) -> None:
    gone = ["550 5.1.1 no such user", "550 5.1.10 null MX", "550 5.2.1 disabled"]
    there = ["552 5.2.2 full", "550", "554 5.7.124 only for members", "451 4.7.1 greylisted"]
    readers = [post.reader(n + 1) for n in range(len(gone + there))]
    for day in range(2):
        assert {post.state(reader) for reader in readers} == {SubscriberState.ACTIVE}
        post.clock.at = NOON + timedelta(days=day)
        for reader in readers:
            post.digest(reader, day)
        with script() as server:
            # What was put off on the first date comes first again, and is given up.
            server.answer_to = dict(zip([r.email for r in readers], gone + there, strict=True))
            mailer = SmtpMailer(SmtpServer("127.0.0.1", server.port, "none"))
            Outbox(
                SenderContext(
                    post.db,
                    mailer,
                    post.clock,
                    owner="us",
                    is_gone=lambda _: False,
                    envelope_sender=lambda _: MAILBOX,
                    address_hash=post.hashed,
                )
            ).drain()
    reasons = [post.reason(reader) for reader in readers]
    assert reasons == ["no such mailbox"] * len(gone) + [None] * len(there)
    suppressed, active = SubscriberState.SUPPRESSED, SubscriberState.ACTIVE
    states = [post.state(reader) for reader in readers]
    assert states == [suppressed] * len(gone) + [active] * len(there)
    guarantee.record(n_refusals_at_rcpt_that_suppress=len(gone))


# -- what counts, and how much ---------------------------------------------------------------------


def test_a_complaint_stops_all_mail_at_once(post: Post) -> None:
    reader = post.reader()
    about, _waiting = post.digest(reader), post.digest(reader, 1)
    post.come_back("abuse, by the envelope", about)
    assert post.state(reader) is SubscriberState.SUPPRESSED
    assert post.reason(reader) == "complaint"
    assert {row["state"] for row in rows(post.db, "messages")} == {MessageState.CANCELLED}


def test_a_mailbox_is_gone_when_digests_of_two_days_say_so(post: Post) -> None:
    reader = post.reader()
    monday, tuesday = post.digest(reader), post.digest(reader, 1)
    post.come_back("postfix 5.1.1", monday)
    post.come_back("qmail no mailbox", monday)
    assert post.state(reader) is SubscriberState.ACTIVE, "two reports of one day are one"
    post.come_back("exim in words", tuesday)
    assert post.state(reader) is SubscriberState.SUPPRESSED
    assert post.reason(reader) == "no such mailbox"


def test_a_full_mailbox_is_given_ten_days(post: Post) -> None:
    reader = post.reader()
    days = [post.digest(reader, day) for day in range(10)]
    post.come_back("postfix over quota", *days[:9])
    post.come_back("gmail over quota", *days[:9])
    assert post.state(reader) is SubscriberState.ACTIVE
    post.come_back("exchange full", days[9])
    assert post.reason(reader) == "unreachable"


def test_other_readers_stay(post: Post) -> None:
    reader, other = post.reader(1), post.reader(2)
    post.digest(other)
    post.come_back("fraud", post.digest(reader))
    assert post.state(other) is SubscriberState.ACTIVE
    assert [row["state"] for row in rows(post.db, "messages")] == ["rendered", "cancelled"]


def test_who_left_has_left_and_is_suppressed_besides(post: Post) -> None:
    reader = post.reader()
    about = post.digest(reader)
    unsubscribe(post.db, reader.public_id, post.clock)
    post.come_back("fraud", about)
    assert post.state(reader) is SubscriberState.UNSUBSCRIBED
    assert post.reason(reader) == "complaint"


def test_what_is_erased_is_not_asked_for(post: Post) -> None:
    reader = post.reader()
    about = post.digest(reader)
    post.come_back("a person answers", about)
    subscriptions.erase(post.db, reader.email)
    assert rows(post.db, "bounces") == [], "a message about a reader goes with the reader"
    for name in ("postfix 5.1.1", "fraud", "apple mail unsubscribes", "vacation by RFC 3834"):
        post.come_back(name, about)
    assert rows(post.db, "suppressions") == []


def test_failures_before_a_return_do_not_count(post: Post) -> None:
    reader = post.reader()
    post.come_back("postfix 5.1.1", *(post.digest(reader, day) for day in (0, 1)))
    assert post.state(reader) is SubscriberState.SUPPRESSED
    post.clock.sleep(timedelta(days=2).total_seconds())
    assert bounce_intake.lift(post.db, reader.email, post.clock, post.hashed)
    assert post.state(reader) is SubscriberState.ACTIVE
    post.come_back("postfix 5.1.1", post.digest(reader, 3))
    assert post.state(reader) is SubscriberState.ACTIVE
    post.come_back("postfix 5.1.1", post.digest(reader, 4))
    assert post.state(reader) is SubscriberState.SUPPRESSED


def test_a_bounce_of_another_installation_is_a_forgery(post: Post) -> None:
    reader = post.reader()
    about = post.digest(reader)
    theirs = Intake(post.db, Keyring(SECRET[::-1]), post.clock, post.hashed, record_mailed_vote)
    assert theirs.take(BY_NAME["postfix 5.1.1"].raw(about)).kind is Kind.FORGED
    with_old = Intake(
        post.db, Keyring(SECRET[::-1], SECRET), post.clock, post.hashed, record_mailed_vote
    )
    again = BY_NAME["postfix lmtp"].raw(about)
    assert with_old.take(again).kind is Kind.HARD, "an old key still verifies"


on_days = st.dates(date(2026, 1, 1), date(2026, 4, 30))


@given(st.lists(st.tuples(on_days, st.sampled_from(["hard", "soft"]))), st.randoms())
def test_the_order_of_failures_and_repetitions_do_not_matter(
    failures: list[tuple[date, str]], rng: random.Random
) -> None:
    mixed = failures + rng.choices(failures, k=3) if failures else []
    rng.shuffle(mixed)
    assert why_suppress(mixed) == why_suppress(failures)


@pytest.mark.parametrize(
    ("days", "kind", "says"),
    [
        ([], "soft", None),
        ([0], "hard", None),
        ([0, 1], "hard", "no such mailbox"),
        ([0, 7], "hard", "no such mailbox"),
        ([0, 31], "hard", None),
        (range(9), "soft", None),
        (range(10), "soft", "unreachable"),
        (range(0, 70, 7), "soft", "unreachable"),
        (range(0, 80, 8), "soft", None),
        ([*range(9), 16], "soft", None),
        ([*range(9), 15], "soft", "unreachable"),
    ],
)
def test_points_are_counted_by_days_and_forgotten_after_a_week(
    days: list[int], kind: str, says: str | None
) -> None:
    assert why_suppress([(DAY + timedelta(days=day), kind) for day in days]) == says


# -- leaving by mail -------------------------------------------------------------------------------


def test_mail_to_the_address_of_list_unsubscribe_unsubscribes_once(post: Post) -> None:
    reader = post.reader()
    about = post.digest(reader)
    first = post.intake.take(BY_NAME["apple mail unsubscribes"].raw(about))
    assert first.stopped is SubscriberState.UNSUBSCRIBED
    second = post.intake.take(BY_NAME["gmail unsubscribes by itself"].raw(about))
    assert (second.kind, second.stopped) == (Kind.UNSUBSCRIBE, None)
    assert post.reason(reader) is None, "who leaves may come back"


# -- the list of suppressed addresses --------------------------------------------------------------


def test_a_suppressed_address_cannot_be_added_or_resumed_until_it_is_lifted(post: Post) -> None:
    reader = post.reader()
    assert bounce_intake.suppress(post.db, reader.email.upper(), post.clock, post.hashed)
    assert not bounce_intake.suppress(post.db, reader.email, post.clock, post.hashed)
    assert post.state(reader) is SubscriberState.SUPPRESSED
    with pytest.raises(ConfigError, match="suppress EMAIL --lift"):
        subscriptions.resume(post.db, reader.email, post.clock, post.hashed)
    subscriptions.erase(post.db, reader.email)
    with pytest.raises(ConfigError, match="suppress EMAIL --lift") as caught:
        subscriptions.add(post.db, reader.email, post.clock, address_hash=post.hashed)
    assert reader.email not in str(caught.value)
    assert bounce_intake.lift(post.db, reader.email, post.clock, post.hashed)
    assert not bounce_intake.lift(post.db, reader.email, post.clock, post.hashed)
    assert subscriptions.add(post.db, reader.email, post.clock, address_hash=post.hashed).new


@pytest.mark.parametrize(
    "before", ["pending", "active", "paused", "unsubscribed"], ids=lambda state: state
)
def test_who_is_lifted_is_what_they_were_before(post: Post, before: str) -> None:
    reader = post.reader()
    with post.db.write() as conn:
        store.subscribers.set_state(conn, reader.id, SubscriberState(before), NOON)
    assert bounce_intake.suppress(post.db, reader.email, post.clock, post.hashed)
    assert post.reason(reader) == "operator"
    assert bounce_intake.lift(post.db, reader.email, post.clock, post.hashed)
    assert post.reason(reader) is None
    assert post.state(reader) == before


def test_who_never_confirmed_and_was_suppressed_by_an_earlier_release_is_pending(
    post: Post,
) -> None:
    reader = post.reader()
    spoil(post.db, reader.email, "state", "suppressed")
    spoil(post.db, reader.email, "confirmed_at", None)
    spoil(post.db, reader.email, "consent", "")
    assert bounce_intake.lift(post.db, reader.email, post.clock, post.hashed)
    assert post.state(reader) is SubscriberState.PENDING


# -- one subscriber's trouble ----------------------------------------------------------------------


@pytest.mark.skipif(on_postgres(), reason="PostgreSQL refuses such values itself")
@pytest.mark.parametrize("trouble", SPOILT)
def test_a_row_that_cannot_be_read_keeps_no_report_from_being_taken_in(
    post: Post, trouble: str
) -> None:
    reader, other = post.reader(1), post.reader(2)
    abouts = [post.digest(each, day) for each in (reader, other) for day in (0, 1)]
    spoil(post.db, reader.email, *SPOILT[trouble])
    report = post.intake.take_all([BY_NAME["postfix 5.1.1"].raw(about) for about in abouts])
    assert report.kinds == {Kind.HARD: 4}
    # Without the time of the last change of state nobody knows which failures count.
    expected = ["active" if "time" in trouble else "suppressed", "suppressed"]
    assert post.states() == expected
    bounce_intake.suppress(post.db, reader.email, post.clock, post.hashed)
    assert bounce_intake.lift(post.db, reader.email, post.clock, post.hashed)
    assert bounce_intake.suppress(post.db, reader.email, post.clock, post.hashed)


@pytest.mark.skipif(on_postgres(), reason="PostgreSQL refuses such values itself")
@pytest.mark.parametrize("trouble", SPOILT)
def test_a_refused_mailbox_whose_row_cannot_be_read_costs_nobody_else_a_digest(
    post: Post, trouble: str
) -> None:
    reader, other = post.reader(1), post.reader(2)
    spoil(post.db, reader.email, *SPOILT[trouble])
    for day in range(2):
        post.clock.at = NOON + timedelta(days=day)
        post.digest(reader, day)
        post.digest(other, day)
        with script() as server:
            server.answer_to = {reader.email: "550 5.1.1 no such user"}
            mailer = SmtpMailer(SmtpServer("127.0.0.1", server.port, "none"))
            context = SenderContext(
                post.db, mailer, post.clock, owner="us", is_gone=lambda _: False,
                envelope_sender=lambda _: MAILBOX, address_hash=post.hashed,
            )  # fmt: skip
            report = Outbox(context).drain()
        # A pause until a date that is none has not ended.
        assert (report.sent, report.failed + report.cancelled) == (1, 1)
    is_unclear = trouble in {"a time that is none", "a date that is none"}
    assert post.states() == ["active" if is_unclear else "suppressed", "active"]


# -- a bad night -----------------------------------------------------------------------------------


def test_after_a_bad_night_nobody_has_points_from_it(post: Post) -> None:
    readers = [post.reader(n) for n in (1, 2, 3)]
    post.come_back("postfix 5.1.1", post.digest(readers[0]))
    post.clock.at = night = NOON + timedelta(days=1)
    post.come_back("postfix 5.1.1", *(post.digest(reader, 1) for reader in readers[:2]))
    third = post.digest(readers[2], 1)
    post.come_back("postfix over quota", third)
    post.come_back("fraud", third)
    assert [post.reason(reader) for reader in readers] == ["no such mailbox", None, "complaint"]
    before = everything(post.db)
    assert lift_refused_since(post.db, post.clock, night, post.hashed, dry_run=True) == (1, 3)
    assert everything(post.db) == before
    assert lift_refused_since(post.db, post.clock, night, post.hashed) == (1, 3)
    assert lift_refused_since(post.db, post.clock, night, post.hashed) == (0, 0)
    assert [post.reason(reader) for reader in readers] == [None, None, "complaint"]
    # One more date is the first again.
    post.clock.at = night + timedelta(days=1)
    post.come_back("postfix 5.1.1", *(post.digest(reader, 2) for reader in readers[:2]))
    assert [post.state(reader) for reader in readers[:2]] == [SubscriberState.ACTIVE] * 2
    post.come_back("postfix 5.1.1", *(post.digest(reader, 3) for reader in readers[:2]))
    assert [post.state(reader) for reader in readers[:2]] == [SubscriberState.SUPPRESSED] * 2


def test_points_from_before_a_bad_night_stay(post: Post) -> None:
    reader = post.reader()
    post.come_back("postfix 5.1.1", post.digest(reader))
    assert lift_refused_since(post.db, post.clock, NOON + timedelta(hours=1), post.hashed) == (0, 0)
    post.come_back("postfix 5.1.1", post.digest(reader, 1))
    assert post.reason(reader) == "no such mailbox"


def test_what_is_no_address_is_refused(post: Post) -> None:
    with pytest.raises(ConfigError, match="not a mail address"):
        bounce_intake.suppress(post.db, "@", post.clock, post.hashed)


# -- the envelope ----------------------------------------------------------------------------------


def test_a_digest_leaves_with_the_address_that_its_bounce_comes_to() -> None:
    keyring = Keyring(SECRET)
    sender = envelope_sender(f"<d.{'a1' * 10}@triage.example>", keyring, MAILBOX)
    local, _, domain = sender.partition("@")
    assert local.startswith("bounces+b")
    assert domain == "triage.example"
    assert len(local) <= 64, "RFC 5321, 4.5.3.1.1"
    assert keyring.verify_address(local.partition("+")[2]) == (Purpose.BOUNCE, "a1" * 10)
    mime = b"From: triage <digest@triage.example>\r\n\r\nhello\r\n"
    with inbox() as (port, kept):
        mailer = SmtpMailer(SmtpServer("127.0.0.1", port, "none"))
        mailer.send(OutgoingMessage("<1@x>", "reader@example.org", mime, sender), lambda: None)
        mailer.send(OutgoingMessage("<2@x>", "reader@example.org", mime), lambda: None)
        mailer.close()
    assert [envelope[0] for envelope in kept.envelopes] == [sender, "digest@triage.example"]


def test_what_is_no_digest_or_has_no_mailbox_has_no_such_address() -> None:
    keyring = Keyring(SECRET)
    assert envelope_sender("<x@y>", keyring, MAILBOX) == ""
    assert envelope_sender(f"<d.{'a1' * 10}@triage.example>", keyring, "") == ""


# -- the commands ----------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    from triage.resources import example_config

    text = example_config().replace('\nbounces = ""', f'\nbounces = "{MAILBOX}"')
    return create_installation(tmp_path / "installation", text)[0]


@pytest.fixture
def app(config: Path) -> Iterator[App]:
    app = open_app(config)
    yield app
    app.close()


def told(app: App, reader: Subscriber) -> Post:
    """Return an installation's digests as the tests above have them."""
    return Post(app.database, keyring=app.keyring)


def run(config: Path, *arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["--config", str(config), *arguments], input=stdin)


def test_the_program_sends_each_digest_from_its_own_address_end_to_end(
    config: Path, app: App
) -> None:
    reader = subscriptions.add(app.database, "reader@example.org", app.clock).subscriber
    queue(
        app.database, empty_slate(reader), b"From: d@triage.example\r\n\r\nx\r\n", app.clock.now()
    )
    with inbox() as (port, kept):
        app.mailer = SmtpMailer(SmtpServer("127.0.0.1", port, "none"))
        assert app.new_outbox().drain().sent == 1
    [(sender, _)] = kept.envelopes
    about = About(reader.email, sender, "", "")
    raw = BY_NAME["abuse, by the envelope"].raw(about)
    piped = run(config, "bounces", "intake", "-", stdin=raw)
    assert (piped.exit_code, piped.output) == (
        0,
        "1 new (1 complaint), 0 known; 1 suppressed, 0 unsubscribed\n",
    )
    listed = json.loads(run(config, "bounces", "list", "--json").output)
    assert [(row["kind"], row["subscriber"]) for row in listed] == [("complaint", reader.email)]
    assert run(config, "bounces", "show", str(listed[0]["id"])).stdout_bytes == raw
    assert run(config, "bounces", "show", "77").exit_code == 1
    refused = run(config, "subscriber", "resume", reader.email)
    assert isinstance(refused.exception, ConfigError)
    assert run(config, "outbox", "suppress", reader.email, "--lift").output == "may receive again\n"
    assert run(config, "outbox", "suppress", reader.email).output == "suppressed\n"


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe\x00", b"From: a@b\n\nhello", b"\n" * 5000])
def test_a_pipe_takes_whatever_it_is_given(config: Path, raw: bytes) -> None:
    taken = run(config, "bounces", "intake", "-", stdin=raw)
    assert taken.exit_code == 0, taken.output
    assert taken.output.startswith("1 new (1 unknown), 0 known;")


def test_a_pipe_that_cannot_store_asks_the_mail_server_to_try_again(
    config: Path, tmp_path: Path
) -> None:
    (config.parent / "triage.db").write_bytes(b"")
    failed = run(config, "bounces", "intake", "-", stdin=b"x")
    assert failed.exit_code == 75
    assert run(tmp_path / "none.toml", "bounces", "intake", "-").exit_code == 75


def test_files_are_taken_and_missing_ones_are_named(config: Path, tmp_path: Path) -> None:
    there, missing = tmp_path / "one.eml", tmp_path / "two.eml"
    there.write_bytes(b"From: a@b\n\nhello")
    taken = run(config, "bounces", "intake", str(there), str(missing))
    assert taken.exit_code == 3
    assert "two.eml cannot be read" in taken.output
    assert run(config, "bounces", "intake", str(missing)).exit_code == 1
    assert run(config, "bounces", "intake").exit_code == 2


def test_a_maildir_is_read_by_command_and_on_schedule(config: Path) -> None:
    folder = config.parent / "returned"
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "new" / "1.a").write_bytes(b"From: a@b\n\none")
    taken = run(config, "bounces", "intake", "--maildir", str(folder))
    assert taken.output.startswith("1 new (1 unknown)")
    assert run(config, "bounces", "intake", "--imap").exit_code != 0
    text = config.read_text().replace('maildir = ""', 'maildir = "returned"')
    config.write_text(text)
    (folder / "new" / "2.b").write_bytes(b"From: a@b\n\ntwo")
    clock = StoppedClock()
    app = open_app(config, clock=clock)
    try:
        [job] = [each for each in app.new_schedule().jobs if each.name == "read bounces"]
        assert job.is_due(None, NOON)
        assert not job.is_due(NOON, NOON + timedelta(minutes=9))
        assert job.is_due(NOON, NOON + timedelta(minutes=10))
        assert job.do().startswith("1 new (1 unknown), 0 known")
        assert job.do().startswith("0 new, 0 known")
    finally:
        app.close()
    assert Counter(p.parent.name for p in folder.rglob("*") if p.is_file()) == {"cur": 2}
