"""A mail with a vote counts once, if the subscriber sent it, and whatever became of its subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from tests.support.bounce_corpus import About
from tests.support.bounce_corpus_more import ALL_CASES
from tests.support.installation import rows, unsubscribe
from tests.support.vote_mail import AUTHSERV_ID, write
from tests.support.web_world import World, new_world
from triage.delivery.bounces.classify import Kind
from triage.delivery.bounces.intake import Intake, IntakeResult
from triage.digest.links import digest_links
from triage.domain.link_tokens import LIFETIMES, Keyring, Purpose
from triage.domain.records import PaperLinks, SubscriberState
from triage.subscribers import subscriptions
from triage.subscribers.votes import record_mailed_vote

MAILBOX, CONTACT = "bounces@triage.example", "Help <help@triage.example>"
EVE = "eve@evil.example"


@dataclass
class Votes:
    """The digest of a subscriber, whose buttons write mails, and what reads them."""

    world: World
    mailbox: str = MAILBOX

    @property
    def ada(self) -> str:
        return self.world.readers[0].email

    def intake(self, authserv_id: str = "", keyring: Keyring | None = None) -> Intake:
        world = self.world
        return Intake(
            world.db,
            keyring or world.keyring,
            world.clock,
            str,
            record_mailed_vote,
            authserv_id,
        )

    def links(self, position: int = 1) -> PaperLinks:
        links = digest_links(
            self.world.slates[0],
            self.world.keyring,
            "http://127.0.0.1:8000",
            CONTACT,
            self.world.clock.now().date(),
            self.mailbox,
            "mailto",
        )
        return links.papers[position - 1]

    def write(self, url: str = "", sender: str = "", **headers: str) -> EmailMessage:
        """Return a mail from Ada, whose server put her address into Return-Path."""
        sender = sender or self.ada
        return write(url or self.links().up, sender, **({"Return_Path": f"<{self.ada}>"} | headers))

    def take(self, mail: EmailMessage | bytes, authserv_id: str = "") -> IntakeResult:
        raw = mail if isinstance(mail, bytes) else mail.as_bytes(policy=SMTP)
        return self.intake(authserv_id).take(raw)

    def status(self) -> str:
        return str(rows(self.world.db, "bounces")[-1]["status"])

    def stored(self) -> list[tuple[object, ...]]:
        return self.world.events()


@pytest.fixture
def votes(tmp_path: Path) -> Votes:
    return Votes(new_world(tmp_path))


@pytest.fixture(params=[MAILBOX, ""], ids=["token in the address", "token in the subject"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Votes:
    return Votes(new_world(tmp_path), request.param)


# -- what counts -----------------------------------------------------------------------------------


def test_each_button_is_its_vote(either: Votes) -> None:
    first, second = either.links(1), either.links(2)
    for url in (first.up, second.down, second.save, second.less):
        assert either.take(either.write(url)).kind is Kind.VOTE
    assert either.stored() == [
        (1, 1, "vote_up"),
        (1, 2, "vote_down"),
        (1, 2, "save"),
        (1, 2, "less_like_this"),
    ]
    [event, *_] = rows(either.world.db, "events")
    assert event["evidence"]["method"] == "mail"
    assert event["evidence"]["proof"] == "envelope"
    assert event["slate_id"] is not None


def test_a_mail_that_is_read_again_votes_once(either: Votes) -> None:
    like, less = either.write(either.links().up), either.write(either.links().less)
    assert either.take(like).kind is Kind.VOTE
    assert either.take(less).kind is Kind.VOTE
    copies = [
        like.as_bytes(policy=SMTP),
        like.as_bytes(),
        b"Delivered-To: x@y.example\r\n" + like.as_bytes(policy=SMTP),
        like.as_bytes(policy=SMTP)[:-5],
    ]
    for each in copies:
        assert either.take(each).known
    assert [kind for _, _, kind in either.stored()] == ["vote_up", "less_like_this"]
    assert len(rows(either.world.db, "bounces")) == 2


def test_a_mail_without_an_id_votes_once_too(votes: Votes) -> None:
    mail = votes.write()
    del mail["Message-ID"]
    assert [votes.take(mail).known for _ in range(2)] == [False, True]
    assert len(votes.stored()) == 1


def test_the_same_button_pressed_again_adds_no_event(votes: Votes) -> None:
    assert [votes.take(votes.write()).kind for _ in range(3)] == [Kind.VOTE] * 3
    assert len(votes.stored()) == 1


def test_one_mail_to_two_addresses_is_two_votes(votes: Votes) -> None:
    one, other = votes.write(votes.links(1).up), votes.write(votes.links(2).save)
    one.replace_header("To", f"{one['To']}, Help <{other['To']}>, {one['To']}")
    assert votes.take(one).kind is Kind.VOTE
    assert votes.stored() == [(1, 1, "vote_up"), (1, 2, "save")]


def test_a_signature_of_the_domain_counts_where_our_server_is_trusted(votes: Votes) -> None:
    domain = votes.ada.partition("@")[2]
    signed = {
        "Return_Path": "<bounce-17@relay.example>",
        "Authentication_Results": f"{AUTHSERV_ID}; dkim=pass header.d={domain}",
    }
    mail = votes.write(**signed)
    assert votes.take(mail).kind is Kind.IGNORED_VOTE
    assert votes.take(mail, "mx.other.example").known
    assert votes.stored() == []
    # After the setting was corrected, the same mail may be read again.
    assert votes.take(mail, AUTHSERV_ID).kind is Kind.VOTE
    assert len(votes.stored()) == 1


def test_who_has_left_or_waits_may_still_vote_and_stays_so(votes: Votes) -> None:
    unsubscribe(votes.world.db, votes.world.readers[0].public_id, votes.world.clock)
    assert votes.take(votes.write()).kind is Kind.VOTE
    assert votes.world.state() is SubscriberState.UNSUBSCRIBED


def test_a_vote_that_was_signed_with_an_old_secret_counts(votes: Votes) -> None:
    mail = votes.write()
    new = "another secret of the tests, 32 or more characters"
    with_old = Keyring(new, "a secret of the tests, 32 or more characters")
    assert votes.intake(keyring=Keyring(new)).take(mail.as_bytes()).kind is Kind.FORGED
    assert votes.intake(keyring=with_old).take(mail.as_bytes(policy=SMTP)).kind is Kind.VOTE


# -- what mail programs do to a mail ---------------------------------------------------------------

SUBJECTS: dict[str, Callable[[str], str]] = {
    "Re:": lambda subject: f"Re: {subject}",
    "AW: WG:": lambda subject: f"AW: WG: {subject}",
    "in capitals": str.upper,
    "folded": lambda subject: subject.replace(" ", "\r\n "),
    "encoded": lambda subject: Header(f"{subject} ü", "utf-8").encode(),
    "encoded in short words": lambda subject: Header(
        f"é{subject}", "utf-8", maxlinelen=30
    ).encode(),
    "percent-encoded": lambda subject: subject.replace(" ", "%20").replace("[", "%5B"),
    "with plus for spaces": lambda subject: subject.replace(" ", "+"),
    "with words around it": lambda subject: f"[EXTERNAL] {subject} - sent from a phone",
}


@pytest.mark.parametrize("change", SUBJECTS.values(), ids=SUBJECTS)
def test_a_changed_subject_is_the_same_vote(either: Votes, change: Callable[[str], str]) -> None:
    mail = either.write()
    raw = mail.as_bytes(policy=SMTP.clone(max_line_length=None))
    subject = str(mail["Subject"]).encode()
    assert raw.count(subject) == 1
    assert (
        either.take(raw.replace(subject, change(str(mail["Subject"])).encode())).kind is Kind.VOTE
    )
    assert either.stored() == [(1, 1, "vote_up")]


@pytest.mark.parametrize("subject", ["", "hello", "unsubscribe", "Like: v" + "a" * 42])
def test_the_address_is_enough(votes: Votes, subject: str) -> None:
    assert votes.take(votes.write(Subject=subject)).kind is Kind.VOTE


@pytest.mark.parametrize("change", [str.upper, str.title, str.lower])
def test_an_address_in_other_letters_is_the_same_vote(
    votes: Votes, change: Callable[[str], str]
) -> None:
    mail = votes.write(To=change(str(votes.write()["To"])), From=change(votes.ada))
    assert votes.take(mail).kind is Kind.VOTE


@pytest.mark.parametrize(
    "title",
    [
        "Vacation planning with out of office agents",
        "A problem that requires verification, and a vacation",
        "Confirm your email to me: sender verification",
        "Complaint about message from a spam report",
        "推理模型 的 自动回复 研究",
    ],
)
def test_no_title_makes_a_vote_automatic(votes: Votes, title: str) -> None:
    assert votes.take(votes.write(Subject=f"Like: {title}")).kind is Kind.VOTE


def test_a_mail_of_ten_megabytes_votes(votes: Votes) -> None:
    mail = votes.write()
    mail.add_attachment(b"x" * 7_500_000, maintype="image", subtype="png")
    raw = mail.as_bytes(policy=SMTP)
    assert len(raw) > 10_000_000
    assert votes.take(raw).kind is Kind.VOTE
    assert votes.take(raw[:1_000_000]).known, "an IMAP server was asked for the beginning"
    assert len(rows(votes.world.db, "bounces")[-1]["raw"]) <= 1_000_000


# -- what does not count, and is kept --------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"From": EVE, "Return_Path": f"<{EVE}>"}, "other sender"),
        ({"From": EVE}, "other sender"),
        ({"From": f'"ADA" <{EVE}>'}, "other sender"),
        ({"Return_Path": f"<{EVE}>"}, "unproved sender"),
        ({"Return_Path": f"<{EVE}>", "Reply_To": "ADA", "Sender": "ADA"}, "unproved sender"),
        ({"From": "reader2@example.org", "Return_Path": "<reader2@example.org>"}, "other sender"),
    ],
)
def test_a_copy_of_the_digest_lets_nobody_else_vote(
    either: Votes, headers: dict[str, str], status: str
) -> None:
    mail = either.write(**{k: v.replace("ADA", either.ada) for k, v in headers.items()})
    assert either.take(mail, AUTHSERV_ID).kind is Kind.IGNORED_VOTE
    assert either.stored() == []
    assert either.status() == status
    [kept] = rows(either.world.db, "bounces")
    assert kept["raw"] == mail.as_bytes(policy=SMTP), "nothing is lost"


@pytest.mark.parametrize(
    "lines",
    [
        "From: {eve}\r\nFrom: {ada}",
        "From: {ada}\r\nFrom: {eve}",
        "From: {ada}\r\nFrom : {eve}",
        "From: {ada}, {eve}",
    ],
)
def test_two_senders_do_not_vote(votes: Votes, lines: str) -> None:
    raw = votes.write().as_bytes(policy=SMTP)
    line = f"From: {votes.ada}"
    assert line.encode() in raw
    forged = raw.replace(line.encode(), lines.format(ada=votes.ada, eve=EVE).encode())
    assert votes.take(forged).kind is Kind.IGNORED_VOTE
    assert votes.stored() == []


def test_results_that_the_sender_wrote_below_those_of_our_server_do_not_vote(votes: Votes) -> None:
    domain = votes.ada.partition("@")[2]
    forged = votes.write(
        Return_Path=f"<{EVE}>",
        Authentication_Results=f"{AUTHSERV_ID}; dkim=pass header.d={domain}",
    )
    ours = f"Authentication-Results: {AUTHSERV_ID};\r\n dkim=none\r\n".encode()
    assert votes.take(ours + forged.as_bytes(policy=SMTP), AUTHSERV_ID).kind is Kind.IGNORED_VOTE
    assert votes.stored() == []


def test_a_signed_mail_to_somebody_else_is_no_vote_wherever_it_is_delivered(votes: Votes) -> None:
    """Whoever has a mail of Ada's may send it again, but not with another To."""
    domain = votes.ada.partition("@")[2]
    address = str(votes.write()["To"])
    old = votes.write(
        To=EVE, Authentication_Results=f"{AUTHSERV_ID}; dkim=pass header.d={domain}"
    ).as_bytes(policy=SMTP)
    for line in (f"Delivered-To: {address}", f"To: {address}", f"Cc: {address}", f"To : {address}"):
        taken = votes.take(line.encode() + b"\r\n" + old, AUTHSERV_ID)
        assert taken.kind in {Kind.UNKNOWN, Kind.IGNORED_VOTE}, line
    to_nobody = old.replace(f"To: {EVE}\r\n".encode(), f"Delivered-To: {address}\r\n".encode())
    assert to_nobody != old
    assert votes.take(to_nobody, AUTHSERV_ID).kind is Kind.UNKNOWN
    assert votes.stored() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Auto_Submitted": "auto-generated (vacation)"},
        {"Precedence": "bulk"},
        {"Precedence": "auto_reply"},
        {"Precedence": "list", "List_Id": "<lab.example.org>"},
        {"List_Id": "<lab.example.org>"},
        {"X_Autoreply": "yes"},
        {"Return_Path": "<>"},
        {"Subject": "Automatic reply: Like: Speculative decoding"},
        {"Subject": "Out of Office Re: Like"},
        {"Subject": "Abwesenheitsnotiz: Like"},
        {"Subject": "Your mail requires verification, verify#12"},
    ],
)
def test_what_a_program_wrote_is_no_vote(votes: Votes, headers: dict[str, str]) -> None:
    assert votes.take(votes.write(**headers)).kind is Kind.AUTO_REPLY
    assert votes.stored() == []


def test_a_vote_counts_as_long_as_a_link_would(votes: Votes) -> None:
    mail, later = votes.write(), votes.write(votes.links().save)
    votes.world.clock.at += LIFETIMES[Purpose.VOTE] - timedelta(days=1)
    assert votes.take(mail).kind is Kind.VOTE
    votes.world.clock.at += timedelta(days=1)
    assert votes.take(later).kind is Kind.IGNORED_VOTE
    assert votes.status() == "too old"
    assert len(votes.stored()) == 1


def test_of_who_was_erased_nothing_is_kept(votes: Votes) -> None:
    mail, address = votes.write(), votes.ada
    assert votes.take(votes.write(votes.links().save)).kind is Kind.VOTE
    assert votes.take(votes.write(sender=EVE)).kind is Kind.IGNORED_VOTE
    subscriptions.erase(votes.world.db, address)
    assert rows(votes.world.db, "bounces") == []
    assert votes.take(mail).kind is Kind.IGNORED_VOTE
    assert votes.status() == "no such digest"
    assert votes.stored() == []
    assert address not in votes.world.everything()


def test_no_report_votes_though_it_came_to_the_address_of_a_vote(votes: Votes) -> None:
    address = str(votes.write()["To"])
    about = About(votes.ada, address, address, "x")
    envelope = f"Return-Path: <{votes.ada}>\r\n".encode()
    for each in ALL_CASES:
        taken = votes.take(envelope + each.raw(about))
        is_from_ada = each.kind in {Kind.UNKNOWN, Kind.UNSUBSCRIBE}
        assert taken.kind is not Kind.VOTE or is_from_ada, each.name
    assert votes.world.state() is SubscriberState.ACTIVE, "and it is no report of a digest"


def test_a_vote_that_is_also_a_delivery_report_is_neither(votes: Votes) -> None:
    mail = votes.write()
    mail.replace_header(
        "Content-Type", 'multipart/report; report-type=delivery-status; boundary="b"'
    )
    mail.set_payload(
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n"
        f"Final-Recipient: rfc822; {votes.ada}\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n"
    )
    assert votes.take(mail).kind is Kind.UNKNOWN
    assert votes.stored() == []
    assert votes.world.state() is SubscriberState.ACTIVE


def test_a_mutated_token_is_forged_and_kept(either: Votes) -> None:
    mail = either.write()
    raw = mail.as_bytes(policy=SMTP)
    name = "To" if either.mailbox else "Subject"
    token = next(w for w in str(mail[name]).replace("+", " ").split() if len(w) > 40).strip("[]")
    token = token.partition("@")[0]
    for at in (1, 2, 5, 20, 42):
        other = "a" if token[at] != "a" else "b"
        forged = raw.replace(token.encode(), f"{token[:at]}{other}{token[at + 1 :]}".encode())
        assert forged != raw
        assert either.take(forged).kind is Kind.FORGED
    assert either.stored() == []
    assert len(rows(either.world.db, "bounces")) == 5
