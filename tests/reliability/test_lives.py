"""Any order of subscribing, confirming, voting, leaving, coming back, erasing and sending.

What is stored and sent is compared with a model of a few lines after every step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.support import databases
from tests.support.factories import DAY
from tests.support.fakes import FakeMailer
from tests.support.guarantees import Guarantee
from tests.support.installation import empty_slate, queue
from tests.support.web_world import ADDRESS, Visitor, World, new_world
from triage import store
from triage.delivery.hand_over import SEND_WINDOW
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.domain.link_tokens import Purpose
from triage.domain.records import EventKind
from triage.domain.vote_texts import VOTE_TEXTS
from triage.subscribers.sessions import SESSION, fingerprint
from triage.subscribers.signup import CONFIRM_WITHIN
from triage.subscribers.votes import BURST

NEW = "new.reader@example.org"
ODD = "o'brien+%_--@example.org"
STAMP = re.compile('name="stamp" value="([^"]+)"')
SEAL = re.compile('name="seal" value="([^"]+)"')
PRIVATE = ["/digests", "/saved", "/likes", "/preferences"]
WORDS = ["", "decoding", "'; DROP TABLE subscribers;--", "{{7*7}}", '" OR ""="']


def pressed_on(page: httpx.Response) -> dict[int, set[str]]:
    """Return the pressed buttons of each card of a page, by the id of the paper."""
    kinds = {texts.link: kind for kind, texts in VOTE_TEXTS.items()}
    found: dict[int, set[str]] = {}
    for button in BeautifulSoup(page.text, "html.parser").select('.card [aria-pressed="true"]'):
        card = button.find_parent("article")
        assert card is not None
        found.setdefault(int(str(card["id"])[6:]), set()).add(kinds[button.get_text()])
    return found


@dataclass
class Reader:
    """What is expected of one subscriber: `events` by paper, in their order."""

    public_id: str
    state: str
    events: dict[int, list[EventKind]] = field(default_factory=dict)
    saved: set[int] = field(default_factory=set)

    @property
    def votes(self) -> dict[int, EventKind]:
        return {paper: kinds[-1] for paper, kinds in self.events.items() if kinds}

    @property
    def pressed(self) -> dict[int, set[str]]:
        """The pressed buttons of cards that only the subscriber sees."""
        kinds = {id: {str(vote)} - {"save"} for id, vote in self.votes.items()}
        kinds |= {id: {*kinds.get(id, ()), "save"} for id in self.saved}
        return {id: each for id, each in kinds.items() if each}

    def vote(self, paper: int, kind: EventKind) -> None:
        if self.votes.get(paper) is not kind:
            self.events.setdefault(paper, []).append(kind)
        if kind is EventKind.SAVE:
            self.saved.add(paper)

    def forget(self, paper: int, *, saves: bool) -> None:
        """Forget the saves of a paper, or the other votes."""
        kept = [kind for kind in self.events.get(paper, []) if (kind == "save") is not saves]
        self.events[paper] = kept


@dataclass
class Link:
    """A link that confirms, or that undoes leaving."""

    path: str
    public_id: str
    at: datetime
    is_used: bool = False


class Lives(RuleBasedStateMachine):
    """The pages and the outbox beside their model."""

    links: Bundle[Link] = Bundle("links")
    n_requests = 0

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
        self.folder = TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.world: World = new_world(Path(self.folder.name))
        self.readers = {each.email: Reader(each.public_id, "active") for each in self.world.readers}
        self.mailer = FakeMailer()
        self.outbox = Outbox(
            SenderContext(
                self.world.db,
                self.mailer,
                self.world.clock,
                owner="here/1/x",
                is_gone=lambda _: False,
                connections=1,
            )
        )
        now = self.world.clock.now()
        self.waiting = {
            f"<d.{each.public_id}@triage.example>": (each.subscriber.public_id, now)
            for each in self.world.slates
        }
        self.sent: list[str] = []
        self.n_queued = self.n_asked = self.n_sessions = 0

    def teardown(self) -> None:
        databases.end_of_test()
        self.folder.cleanup()

    def said(self, answer: httpx.Response) -> int:
        type(self).n_requests += 1
        assert answer.status_code < 500
        return answer.status_code

    def reader(self, public_id: str) -> Reader | None:
        return next((r for r in self.readers.values() if r.public_id == public_id), None)

    @rule(hours=st.sampled_from([0.1, 1, 13, 25, 200]))
    def time_passes(self, hours: float) -> None:
        self.world.clock.sleep(hours * 3600)

    @rule(target=links, email=st.sampled_from([ADDRESS, NEW, ODD]), words=st.sampled_from(WORDS))
    def subscribe(self, email: str, words: str) -> object:
        # From a network of its own: how often one may ask is no part of the model.
        self.n_asked += 1
        visitor = self.world.visitor(f"10.0.{self.n_asked}.1")
        stamp = STAMP.search(visitor.get("/subscribe").text)
        assert stamp is not None
        self.world.clock.sleep(10)
        wish = {"email": email, "interests": words, "stamp": stamp[1], "do": "subscribe"}
        wish |= {"zone": "UTC", "hour": "7"}
        asked = visitor.post("/subscribe", data=wish)
        assert self.said(asked) == 303
        found = []
        for note in self.world.answers():
            assert note.recipient == email
            known = self.readers.get(email)
            assert note.kind == ("already" if known and known.state == "active" else "confirm")
            if known is None:
                known = self.readers[email] = Reader(self.public_id(email), "pending")
            if note.kind == "confirm":
                found.append(Link(note.path, known.public_id, self.world.clock.now()))
        assert len(found) <= 1
        return multiple(*found)

    def public_id(self, email: str) -> str:
        with self.world.db.read() as conn:
            found = store.subscribers.by_email_key(conn, store.subscribers.email_key(email))
        assert found is not None
        return found.public_id

    @rule(link=links)
    def confirm(self, link: Link) -> None:
        visitor = self.world.visitor()
        page = visitor.get(link.path)
        reader = self.reader(link.public_id)
        if reader is None or self.world.clock.now() - link.at >= CONFIRM_WITHIN:
            assert self.said(page) == 410
            return
        assert self.said(page) == 200
        status = self.said(visitor.submit(page, "confirm"))
        if link.is_used and reader.state != "active":
            assert status == 410
            return
        assert status == 200
        link.is_used, reader.state = True, "active"

    @rule(
        n=st.sampled_from([0, 1]),
        position=st.integers(0, 3),
        kind=st.sampled_from(list(EventKind)),
        presses=st.lists(
            st.tuples(st.integers(1, 3), st.sampled_from([*EventKind, "none"])), max_size=3
        ),
    )
    def vote(self, n: int, position: int, kind: EventKind, presses: list[tuple[int, str]]) -> None:
        """Open a link to a vote, or to the page of a digest, and press some buttons there."""
        self.world.clock.sleep(BURST.total_seconds())
        token = self.world.token(Purpose.VOTE, position, kind, n)
        path = "/v/" + token if position else "/d/" + self.world.token(Purpose.DIGEST, 0, None, n)
        visitor = self.world.visitor()
        page = visitor.get(path)
        reader = self.reader(self.world.readers[n].public_id)
        shown = self.world.slates[n].impressions
        if reader is None or position > len(shown):
            status = 410 if reader is None else 404
            assert self.said(page) == status
            assert self.said(visitor.post(path, data={"vote": kind})) in {status, 405}
            return
        assert self.said(page) == 200
        stamp = STAMP.search(page.text)
        assert stamp is not None
        n_before = {id: len(kinds) for id, kinds in reader.events.items()}
        saved, pressed = set(reader.saved), dict[int, set[str]]()
        for at, choice in presses:
            if at > len(shown):
                continue
            self.world.clock.sleep(4)
            paper = shown[at - 1].paper.id
            token = self.world.token(
                Purpose.VOTE, at, EventKind(choice) if choice != "none" else kind, n
            )
            fields = {"vote": choice, "back": path, "stamp": stamp[1]}
            answer = visitor.post("/v/" + token, data=fields)
            assert self.said(answer) == 303
            assert answer.headers["location"] == f"{path}#paper-{paper}"
            if choice != "none":
                reader.vote(paper, EventKind(choice))
                pressed[paper] = {choice}
            elif pressed.pop(paper, None):
                # What was there before this visit counts again.
                gone = reader.events.get(paper, [])[n_before.get(paper, 0) :]
                del reader.events.get(paper, [])[n_before.get(paper, 0) :]
                if EventKind.SAVE in gone and paper not in saved:
                    reader.saved.discard(paper)
            assert pressed_on(visitor.get(path)) == pressed
        assert pressed_on(self.world.visitor().get(path)) == {}

    @rule(
        email=st.sampled_from([ADDRESS, "other@example.org", NEW]),
        paper=st.integers(1, 3),
        choice=st.sampled_from([*EventKind, "none", "unsave"]),
    )
    def vote_on_a_card(self, email: str, paper: int, choice: str) -> None:
        """Press a button of the home page, as who is logged in."""
        reader = self.readers.get(email)
        if reader is None or reader.state == "pending":
            return
        visitor = self.logged_in(email)
        page = visitor.get("/")
        assert self.said(page) == 200
        assert pressed_on(page) == reader.pressed
        seal = SEAL.search(page.text)
        assert seal is not None
        fields = {"seal": seal[1], "vote": choice, "back": "/"}
        answer = visitor.post(f"/papers/{paper}", data=fields)
        assert self.said(answer) == 303
        assert answer.headers["location"] == f"/#paper-{paper}"
        if choice == "none":
            reader.forget(paper, saves=False)
            if paper not in reader.saved:
                reader.forget(paper, saves=True)
        elif choice == "unsave":
            if paper in reader.saved:
                reader.saved.remove(paper)
                reader.forget(paper, saves=True)
        else:
            reader.vote(paper, EventKind(choice))
        titles = visitor.get("/saved").text
        for each in self.world.papers:
            assert (each.title in titles) == (each.id in reader.saved)

    @rule(email=st.sampled_from([ADDRESS, NEW]), path=st.sampled_from(PRIVATE))
    def log_in_from_a_page(self, email: str, path: str) -> None:
        """Ask for a page of subscribers; the login leads to it, and changes nothing."""
        visitor = self.world.visitor()
        led = visitor.get(path)
        assert self.said(led) == 303
        visitor.submit(visitor.get(led.headers["location"]), email=email)
        reader = self.readers.get(email)
        for note in self.world.answers():
            assert note.recipient == email
            assert note.kind.startswith("login-")
            assert reader is not None
            entered = visitor.submit(visitor.get(note.path))
            assert self.said(entered) == 200
            assert entered.history[0].headers["location"] == path

    def logged_in(self, email: str) -> Visitor:
        """Return the browser of a subscriber who has a session."""
        now, secret = self.world.clock.now(), f"secret of {email} {self.n_sessions}"
        self.n_sessions += 1
        with self.world.db.write() as conn:
            known = store.subscribers.by_public_id(conn, self.readers[email].public_id)
            assert known is not None
            store.signups.begin_session(conn, fingerprint(secret), known.id, now, now + SESSION)
        visitor = self.world.visitor()
        visitor.cookies["__Host-session"] = secret
        return visitor

    @rule(target=links, n=st.sampled_from([0, 1]))
    def unsubscribe(self, n: int) -> object:
        path = "/u/" + self.world.token(Purpose.UNSUBSCRIBE, reader=n)
        answer = self.world.client().post(path, data={"List-Unsubscribe": "One-Click"})
        reader = self.reader(self.world.readers[n].public_id)
        assert self.said(answer) == 200
        found = []
        for note in self.world.notes():
            assert reader is not None
            assert (reader.state, note.kind) == ("active", "goodbye")
            found.append(Link(note.path, reader.public_id, self.world.clock.now()))
        if reader is not None and reader.state != "pending":
            reader.state = "unsubscribed"
            self.forget_waiting(reader)
        return multiple(*found)

    def forget_waiting(self, reader: Reader) -> None:
        self.waiting = {id: row for id, row in self.waiting.items() if row[0] != reader.public_id}

    @rule(email=st.sampled_from([ADDRESS, "other@example.org", NEW, ODD]))
    def erase(self, email: str) -> None:
        reader = self.readers.get(email)
        if reader is None or reader.state == "pending":
            return
        visitor = self.logged_in(email)
        done = visitor.submit(visitor.get("/preferences/erase"), sure="yes")
        assert self.said(done) == 200
        del self.readers[email]
        self.forget_waiting(reader)

    @rule(n=st.sampled_from([0, 1]))
    def queue_a_digest(self, n: int) -> None:
        reader = self.world.readers[n]
        expected = self.reader(reader.public_id)
        if expected is None or expected.state != "active":
            return
        self.n_queued += 1
        chosen = empty_slate(reader, self.n_queued, on=DAY + timedelta(days=self.n_queued))
        now = self.world.clock.now()
        self.waiting[queue(self.world.db, chosen, at=now)] = (reader.public_id, now)

    @rule()
    def send(self) -> None:
        now, before = self.world.clock.now(), len(self.mailer.sent)
        self.outbox.drain()
        sent = [each.message_id for each in self.mailer.sent[before:]]
        expected = {id for id, (_, at) in self.waiting.items() if now - at < SEND_WINDOW}
        assert {id for id in sent if id.startswith("<d.")} == expected
        self.sent += sent
        self.waiting = {}

    @invariant()
    def what_is_stored_is_as_the_model_says(self) -> None:
        with self.world.db.read() as conn:
            stored = {each.email: each for each in store.subscribers.everyone(conn)}
            votes = {
                email: {vote.paper_id: vote.kind for vote in store.events.votes(conn, each.id)}
                for email, each in stored.items()
            }
        assert {email: (each.public_id, str(each.state)) for email, each in stored.items()} == {
            email: (reader.public_id, reader.state) for email, reader in self.readers.items()
        }
        assert votes == {email: reader.votes for email, reader in self.readers.items()}
        assert len(self.sent) == len(set(self.sent))


@pytest.mark.guarantee("R28")
def test_lives_go_as_the_model_says(guarantee: Guarantee) -> None:
    n_lives, n_steps = (2_000, 50) if guarantee.full else (6, 20)
    Lives.n_requests = 0
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=n_lives,
            stateful_step_count=n_steps,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            database=None,
            deadline=None,
        ),
    )
    guarantee.record(
        lives=n_lives, steps_of_each=n_steps, requests_of_lives=Lives.n_requests, divergences=0
    )
