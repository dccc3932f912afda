"""Whoever subscribes or logs in waits for no digest, however many there are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.guarantees import Guarantee
from tests.support.web_world import World, new_crowd
from triage.clock import SystemClock
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.digest.message import HEADERS
from triage.domain.records import OutgoingMessage
from triage.operations.scheduler import ANSWER_EVERY_S
from triage.subscribers.preferences import SubscriberPreferences


class SlowMailer:
    """Takes every message, each after a while; `taken` holds ids and when that was, in seconds."""

    name = "slow"
    taken: list[tuple[str, float]]

    def __init__(self, taken: list[tuple[str, float]], each_s: float) -> None:
        self.taken, self._each_s = taken, each_s

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        time.sleep(self._each_s)
        about_to_end()
        self.taken.append((message.message_id, time.monotonic()))
        return "taken"

    def delivered(self, message_id: str) -> bool | None:
        return None

    def close(self) -> None:
        pass


def headers_of(mime: bytes) -> set[str]:
    head = mime.decode("ascii").partition("\r\n\r\n")[0]
    return {line.partition(":")[0] for line in head.split("\r\n") if line[:1] not in {" ", "\t"}}


@pytest.mark.guarantee("R5")
def test_confirmations_overtake_a_run_of_digests(tmp_path: Path, guarantee: Guarantee) -> None:
    n_digests, n_notes = (10_000, 50) if guarantee.full else (120, 5)
    every_s, each_s = (ANSWER_EVERY_S, 0.01) if guarantee.full else (0.1, 0.02)
    world = new_crowd(tmp_path, n_digests, 1)
    world.clock = SystemClock()  # type: ignore[assignment]
    taken: list[tuple[str, float]] = []

    def outbox(owner: str, connections: int) -> Outbox:
        return Outbox(
            SenderContext(
                world.db,
                SlowMailer(taken, each_s),
                SystemClock(),
                owner=owner,
                is_gone=lambda _: False,
                connections=connections,
            )
        )

    with world.db.write() as conn:
        # They were queued just now, and so their time is not over.
        now = world.clock.now().strftime("%Y-%m-%d %H:%M:%S.%f")
        conn.exec_driver_sql(f"UPDATE messages SET created_at = '{now}'")  # noqa: S608
    digests = threading.Thread(target=outbox("digests/1/x", 4).drain)
    digests.start()
    while len(taken) < n_digests // 20:
        time.sleep(0.005)
    asked_at = time.monotonic()
    for n in range(n_notes):
        evil = SubscriberPreferences(interests="See https://evil.example/now")
        world.enrolment.ask_to_subscribe(f"new.{n}@d{n}.example.org", evil, f"10.{n}.0.1")
    notes = outbox("notes/1/x", 1)
    while digests.is_alive():
        world.enrolment.answer()
        notes.send_account_mail()
        if sum(id.startswith("<n.") for id, _ in taken) == n_notes:
            break
        time.sleep(every_s)
    n_before = len(taken) - n_notes
    digests.join()

    waits_s = sorted(at - asked_at for id, at in taken if id.startswith("<n."))
    assert len(waits_s) == n_notes
    assert n_before < n_digests
    assert len(taken) == len({id for id, _ in taken}) == n_digests + n_notes
    p95_s = waits_s[int(0.95 * n_notes)]
    if guarantee.full:
        assert p95_s <= 60
    guarantee.record(digests=n_digests, confirmations=n_notes, p95_until_taken_s=round(p95_s, 1))


@pytest.mark.guarantee("R5")
def test_confirmations_are_of_another_stream_and_hold_no_word_of_a_stranger(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    world: World = new_crowd(tmp_path, 1, 1)
    evil = SubscriberPreferences(interests="Ada <script> https://evil.example/now")
    world.enrolment.ask_to_subscribe("new@example.org", evil, "192.0.2.1")
    [note] = world.answers()
    digest = world.mail().mime
    assert headers_of(digest) == {*HEADERS, "Content-Type"}
    assert headers_of(note.mime) == {
        "From", "To", "Date", "Message-ID", "Subject", "MIME-Version", "Reply-To",
        "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
    }  # fmt: skip
    assert b"digest+account@triage.example" in note.mime
    assert b"digest+account@" not in digest
    assert b"evil" not in note.mime
    assert "evil" not in note.text
    guarantee.record(strangers_words_in_confirmations=0)
