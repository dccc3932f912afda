"""The gate: spaced, patient, bounded. A loopback server logs what it was asked and when."""

from __future__ import annotations

import gzip
import random
import socket
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from tests.support.contracts import error_text
from tests.support.emulator import Fault, Upstreams
from tests.support.factories import NOON
from tests.support.fakes import StoppedClock
from triage.clock import SystemClock
from triage.domain.protocols import MustWait, WaitReason
from triage.domain.request_limits import MOST_FAILURES, Rules
from triage.errors import SourceError
from triage.sources.http import client
from triage.sources.http.client import PoliteClient, user_agent
from triage.sources.http.local_limiter import LocalRequestLimiter

RECORD = {
    "id": "2603.00001",
    "title": "A title",
    "abstract": "An abstract.",
    "authors": ["Ada Lovelace"],
    "categories": ["cs.LG"],
    "listed_date": "2026-03-02",
}
ON = date(2026, 3, 2)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def upstreams(clock: StoppedClock) -> Iterator[Upstreams]:
    with Upstreams([RECORD], clock=clock, takes_s=2.0) as upstreams:
        yield upstreams


def gate(clock: StoppedClock, deadline: datetime | None = None) -> PoliteClient:
    agent = user_agent("https://triage.example", "Papers <help@triage.example>")
    return PoliteClient(clock, agent, 3.0, deadline=deadline, chance=random.Random(1))  # noqa: S311


def test_the_gate_says_who_is_asking(clock: StoppedClock, upstreams: Upstreams) -> None:
    with gate(clock) as open_gate:
        answer = open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert b"2603.00001" in answer.body
    said = upstreams.log[0].headers["User-Agent"]
    assert said == "triage/0.1.0 (+https://triage.example; mailto:help@triage.example)"


def test_a_name_cannot_add_a_header() -> None:
    agent = user_agent("https://triage.example/\r\nX: y", "Zoë\n <a@b.example>")
    assert agent.isprintable()
    assert agent.isascii()


def test_three_seconds_pass_between_an_answer_and_the_next_question_whatever_the_address(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    with gate(clock) as open_gate:
        for n in range(3):
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
            open_gate.get(upstreams.api_url, {"id_list": f"2603.0000{n}"})
            clock.sleep(n)
    assert upstreams.gaps_s("rss", "api") == [3.0] * 5
    assert upstreams.most_at_once == 1


def test_time_already_passed_is_not_waited_for_again(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    with gate(clock) as open_gate:
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
        clock.sleep(100)
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert upstreams.gaps_s("rss") == [100.0]


def test_real_requests_keep_their_distance_on_one_connection() -> None:
    with (
        Upstreams([RECORD]) as upstreams,
        PoliteClient(SystemClock(), "triage", 0.05) as open_gate,
    ):
        upstreams.fail("rss", Fault.UNAVAILABLE, retry_after="0")
        for _ in range(4):
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
        assert len(upstreams.log) == 5
        assert min(upstreams.gaps_s("rss")) >= 0.05
        assert upstreams.most_at_once == 1


def test_what_has_not_changed_is_not_sent_again(clock: StoppedClock, upstreams: Upstreams) -> None:
    with gate(clock) as open_gate:
        first = open_gate.get(f"{upstreams.rss_url}/cs.LG")
        again = open_gate.get(f"{upstreams.rss_url}/cs.LG", etag=first.etag)
        assert again.not_modified
        assert again.body == b""
        upstreams.show(date(2026, 3, 3))
        assert not open_gate.get(f"{upstreams.rss_url}/cs.LG", etag=first.etag).not_modified


@pytest.mark.parametrize("fault", [Fault.TOO_MANY, Fault.UNAVAILABLE])
def test_retry_after_in_seconds_is_obeyed(
    clock: StoppedClock, upstreams: Upstreams, fault: Fault
) -> None:
    upstreams.fail("rss", fault, retry_after="120")
    with gate(clock) as open_gate:
        assert open_gate.get(f"{upstreams.rss_url}/cs.LG").status == 200
    assert upstreams.gaps_s("rss") == [120.0]


def test_retry_after_as_a_date_is_obeyed(clock: StoppedClock, upstreams: Upstreams) -> None:
    until = NOON + timedelta(minutes=10)
    upstreams.fail("rss", Fault.UNAVAILABLE, retry_after=format_datetime(until, usegmt=True))
    with gate(clock) as open_gate:
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert upstreams.log[1].started_at == until


@pytest.mark.parametrize("nonsense", ["", "soon", "-5", "1.5", "Mon, 99 Foo 2026", "٣"])
def test_a_retry_after_that_says_nothing_is_a_back_off(nonsense: str) -> None:
    assert client._retry_after(nonsense, NOON) is None


def test_more_than_an_hour_is_not_waited_for_and_not_ignored(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    upstreams.fail("rss", Fault.UNAVAILABLE, retry_after="7200")
    with gate(clock) as open_gate:
        with pytest.raises(SourceError) as caught:
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
        assert "2.0 hours" in error_text(caught.value)
        assert len(upstreams.log) == 1
        open_gate.get(upstreams.api_url, {"id_list": "2603.00001"})
    assert upstreams.gaps_s("rss", "api") == [7200.0]


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.DROPPED, Fault.TRUNCATED, Fault.TOO_MANY])
def test_trouble_is_met_with_growing_waits_and_then_reported(
    clock: StoppedClock, upstreams: Upstreams, fault: Fault
) -> None:
    upstreams.fail("rss", *[fault] * 3)
    with gate(clock) as open_gate:
        assert open_gate.get(f"{upstreams.rss_url}/cs.LG").status == 200
        waits = upstreams.gaps_s("rss")
        assert all(30 * 2**n <= wait <= 45 * 2**n for n, wait in enumerate(waits))
        assert len(waits) == 3

        upstreams.fail("rss", *[fault] * 9)
        with pytest.raises(SourceError) as caught:
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert "127.0.0.1" in error_text(caught.value)
    assert len(upstreams.log) == 8


def test_back_off_is_irregular() -> None:
    waits = set()
    for seed in range(5):
        clock = StoppedClock()
        with Upstreams([RECORD], clock=clock) as upstreams:
            upstreams.fail("rss", Fault.BROKEN)
            with PoliteClient(clock, "triage", 3.0, chance=random.Random(seed)) as open_gate:  # noqa: S311
                open_gate.get(f"{upstreams.rss_url}/cs.LG")
            waits.update(upstreams.gaps_s("rss"))
    assert len(waits) == 5


def test_a_refusal_is_not_repeated(clock: StoppedClock, upstreams: Upstreams) -> None:
    upstreams.fail("rss", Fault.NOT_FOUND)
    with gate(clock) as open_gate, pytest.raises(SourceError) as caught:
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert "404" in error_text(caught.value)
    assert len(upstreams.log) == 1


def test_nobody_there_is_an_error_for_people(clock: StoppedClock) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with gate(clock) as open_gate, pytest.raises(SourceError) as caught:
            open_gate.get(url)
    assert "could not be reached" in error_text(caught.value)


def test_a_wait_for_a_server_that_is_down_is_reported_with_its_end(clock: StoppedClock) -> None:
    reported: list[tuple[datetime, str]] = []
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        with gate(clock) as open_gate:
            open_gate.on_wait = lambda text: reported.append((clock.now(), text))
            with pytest.raises(SourceError):
                open_gate.get(f"http://{host}/")
    # At once, before each of the three waits, and never after their end.
    assert [at for at, _ in reported] == sorted({at for at, _ in reported})
    assert reported[0][0] == NOON
    for n, (at, text) in enumerate(reported):
        left = ("3 more tries", "2 more tries", "1 more try")[n]
        assert text.startswith(f"{host} could not be reached")
        assert f"; {left}: waiting until " in text
        until = text.removesuffix(" UTC").rpartition(" ")[2]
        assert f"{at:%H:%M:%S}" < until
        after = reported[n + 1][0] if n < 2 else clock.now()
        assert until == f"{after:%H:%M:%S}"
    assert len(reported) == 3


def test_a_wait_that_a_server_requests_is_reported(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    reported: list[str] = []
    upstreams.fail("rss", Fault.UNAVAILABLE, retry_after="120")
    with gate(clock) as open_gate:
        open_gate.on_wait = reported.append
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
    [text] = reported
    assert "answered 503" in text
    assert f"waiting until {NOON + timedelta(seconds=122):%H:%M:%S} UTC" in text


def test_the_usual_interval_is_not_reported(clock: StoppedClock, upstreams: Upstreams) -> None:
    reported: list[str] = []
    slow = PoliteClient(clock, "triage/test", 15.0)
    slow.on_wait = reported.append
    with slow, gate(clock) as open_gate:
        open_gate.on_wait = reported.append
        for each in (slow, open_gate):
            each.get(f"{upstreams.rss_url}/cs.LG")
            each.get(f"{upstreams.rss_url}/cs.LG")
    assert reported == []


def test_a_wait_for_another_process_is_reported_once(clock: StoppedClock) -> None:
    reported: list[str] = []
    limiter = LocalRequestLimiter(clock, Rules(30.0))
    held = iter([clock.now() + timedelta(seconds=n) for n in (1, 3, 5, 7, 9)])

    class Busy(LocalRequestLimiter):
        def acquire(self) -> MustWait | None:
            until = next(held, None)
            return MustWait(WaitReason.BUSY, until) if until else limiter.acquire()

    with Upstreams([RECORD], clock=clock) as servers:
        agent = "triage/test"
        with PoliteClient(clock, agent, 3.0, turns=Busy(clock, Rules(3.0))) as open_gate:
            open_gate.on_wait = reported.append
            open_gate.get(f"{servers.rss_url}/cs.LG")
    [text] = reported
    assert "another request is under way: waiting until " in text


def test_a_server_that_hangs_is_reported_while_it_does(
    clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_UNNOTICED_S", 0.05)
    reported: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        hung = PoliteClient(clock, "triage/test", 3.0, request_s=0.5)
        hung.on_wait = reported.append
        with hung, pytest.raises(SourceError):
            hung.get(f"http://{host}/")
    until = f"{NOON + timedelta(seconds=0.5):%H:%M:%S}"
    assert reported[0] == f"{host} has not answered yet: waiting until {until} UTC"
    assert "3 more tries" in reported[1]


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "file:///etc/passwd"])
def test_an_address_that_is_none_is_an_error_at_once(clock: StoppedClock, url: str) -> None:
    with gate(clock) as open_gate, pytest.raises(SourceError) as caught:
        open_gate.get(url)
    assert "Check the address" in error_text(caught.value)
    assert clock.now() == NOON


def test_a_wait_past_the_deadline_is_not_begun(clock: StoppedClock, upstreams: Upstreams) -> None:
    with gate(clock, deadline=NOON + timedelta(minutes=3)) as open_gate:
        upstreams.fail("rss", Fault.UNAVAILABLE, retry_after="600")
        with pytest.raises(SourceError) as caught:
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert "ran out of time" in error_text(caught.value)
    assert clock.now() < NOON + timedelta(seconds=10)
    assert len(upstreams.log) == 1


def test_a_hold_that_outlasts_a_later_deadline_is_an_error_at_once_and_still_obeyed(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    upstreams.fail("rss", Fault.UNAVAILABLE, retry_after="18000")
    with gate(clock) as open_gate:
        with pytest.raises(SourceError, match=r"5\.0 hours"):
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
        for _ in range(2):
            asked_at = clock.now()
            open_gate.deadline = asked_at + timedelta(minutes=2)
            with pytest.raises(SourceError) as caught:
                open_gate.get(upstreams.api_url, {"id_list": "2603.00001"})
            assert "ran out of time" in error_text(caught.value)
            assert clock.now() == asked_at
            clock.sleep(900)
        assert len(upstreams.log) == 1

        open_gate.deadline = None
        open_gate.get(upstreams.api_url, {"id_list": "2603.00001"})
    assert upstreams.gaps_s("rss", "api") == [18000.0]


def test_redirects_are_followed_at_the_same_distance_and_not_for_ever(clock: StoppedClock) -> None:
    with Upstreams([RECORD], clock=clock) as upstreams, gate(clock) as open_gate:
        upstreams.moved = {"/old": "/rss/cs.LG", "/round": "/round"}
        assert b"2603.00001" in open_gate.get(f"{upstreams.base}/old").body
        with pytest.raises(SourceError) as caught:
            open_gate.get(f"{upstreams.base}/round")
    assert "only sent redirects" in error_text(caught.value)
    assert len(upstreams.log) == 6
    assert set(upstreams.gaps_s("rss", "api")) == {3.0}


def test_a_compressed_flood_is_not_taken_in(clock: StoppedClock, upstreams: Upstreams) -> None:
    upstreams.bodies["rss"] = b" " * 15_000_000
    with gate(clock) as open_gate, pytest.raises(SourceError) as caught:
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert "sent too large an answer" in error_text(caught.value)


def sent(pieces: Sequence[bytes], coding: str) -> bytes:
    """Return the body of an answer that comes in these pieces with this Content-Encoding."""

    class Pieces(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(pieces)

    headers = {"Content-Encoding": coding, "Content-Type": "text/xml; charset=UTF-8"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=Pieces()))
    with PoliteClient(StoppedClock(), "triage", 0.0, transport=lambda _: transport) as open_gate:
        answer = open_gate.get("https://lab.example/feed")
    assert answer.charset == "utf-8"
    return answer.body


BODY = b"<rss> and so on </rss>" * 10
PACKED = gzip.compress(BODY)


@pytest.mark.parametrize("coding", ["gzip", "utf-8", "none", "", "identity", "x", "gzip, gzip"])
@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([BODY], BODY),
        ([PACKED], BODY),
        ([bytes([byte]) for byte in PACKED], BODY),
        ([bytes([byte]) for byte in BODY], BODY),
        ([b"", PACKED[:1], b"", PACKED[1:]], BODY),
        ([PACKED, b"bytes that do not belong to it"], BODY),
        ([b"\x1f"], b"\x1f"),
    ],
)
def test_a_body_is_unpacked_if_it_is_gzip_whatever_the_header_says(
    pieces: Sequence[bytes], body: bytes, coding: str
) -> None:
    assert sent(pieces, coding) == body


@pytest.mark.parametrize(
    ("pieces", "coding", "reason"),
    [
        ([PACKED[:-10]], "gzip", "ends in the middle"),
        ([PACKED[:-10]], "", "ends in the middle"),
        ([PACKED[:10], b"\xff" * 20], "gzip", "damaged gzip"),
        ([], "gzip", "ends in the middle"),
        ([BODY], "br", "'br', which was not requested"),
        ([BODY], "deflate", "'deflate', which was not requested"),
        ([gzip.compress(b" " * 15_000_000)], "utf-8", "too large an answer"),
    ],
)
def test_a_body_that_cannot_be_read_in_full_is_refused(
    pieces: Sequence[bytes], coding: str, reason: str
) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        sent(pieces, coding)
    error_text(caught.value)


def test_an_answer_of_more_than_20_mb_is_not_taken_in(
    clock: StoppedClock, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 2_000_000)
    upstreams.bodies["rss"] = random.Random(3).randbytes(2_100_000)  # noqa: S311
    assert len(gzip.compress(upstreams.bodies["rss"])) > 2_000_000
    with gate(clock) as open_gate, pytest.raises(SourceError) as caught:
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert "sent too large an answer" in error_text(caught.value)


def test_an_answer_that_drips_in_for_ever_is_given_up(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    upstreams.takes_s = 61.0
    with gate(clock) as open_gate, pytest.raises(SourceError) as caught:
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert "60 s" in error_text(caught.value)
    assert len(upstreams.log) == client.ATTEMPTS


def test_no_process_keeps_a_connection_to_itself(clock: StoppedClock, upstreams: Upstreams) -> None:
    with gate(clock) as open_gate:
        open_gate.get(f"{upstreams.rss_url}/cs.LG")
    assert upstreams.log[0].headers["Connection"] == "close"


def test_a_server_that_fails_again_and_again_is_left_alone_for_an_hour_and_asked_once_then(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    upstreams.fail("rss", Fault.BROKEN, times=MOST_FAILURES + 1)
    with gate(clock) as open_gate:
        with pytest.raises(SourceError, match="the last of 4 tries"):
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
        with pytest.raises(SourceError, match="gets no requests until") as caught:
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
        error_text(caught.value)
        assert len(upstreams.log) == MOST_FAILURES

        open_gate.deadline = clock.now() + timedelta(minutes=3)
        with pytest.raises(SourceError, match=r"may start in 3600 s\. It has failed 8 times"):
            open_gate.get(upstreams.api_url, {"id_list": "2603.00001"})
        assert len(upstreams.log) == MOST_FAILURES

        open_gate.deadline = None
        with pytest.raises(SourceError, match="gets no requests until"):
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
        assert len(upstreams.log) == MOST_FAILURES + 1
        assert open_gate.get(f"{upstreams.rss_url}/cs.LG").status == 200
    assert upstreams.gaps_s("rss")[-2:] == [3600.0, 3600.0]


def test_a_days_requests_are_bounded_and_the_error_says_until_when(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    turns = LocalRequestLimiter(clock, Rules(3.0, daily_requests=2))
    with PoliteClient(clock, "triage", 3.0, turns=turns) as open_gate:
        for _ in range(2):
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
        with pytest.raises(SourceError) as caught:
            open_gate.get(f"{upstreams.rss_url}/cs.LG")
        assert "2 requests today" in error_text(caught.value)
        assert "00:00 UTC" in str(caught.value)
        assert len(upstreams.log) == 2


def test_what_stays_the_same_all_day_is_asked_for_once(
    clock: StoppedClock, upstreams: Upstreams
) -> None:
    with gate(clock) as open_gate:
        answers = [
            open_gate.get(upstreams.api_url, {"id_list": id}, once=True)
            for id in ("2603.00001", "2603.00002", "2603.00001")
        ]
        assert answers[0] == answers[2] != answers[1]
        assert len(upstreams.log) == 2
        clock.sleep(86_400)
        open_gate.get(upstreams.api_url, {"id_list": "2603.00001"}, once=True)
        assert len(upstreams.log) == 3


def test_a_failure_is_no_answer_for_the_day(clock: StoppedClock, upstreams: Upstreams) -> None:
    with gate(clock) as open_gate:
        upstreams.fail("api", Fault.NOT_FOUND)
        with pytest.raises(SourceError):
            open_gate.get(upstreams.api_url, {"id_list": "2603.00001"}, once=True)
        answer = open_gate.get(upstreams.api_url, {"id_list": "2603.00001"}, once=True)
    assert b"2603.00001" in answer.body
