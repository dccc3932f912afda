"""How often one network may ask: what a network is, what counts, and when it may ask again."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest

from tests.support.factories import NOON
from triage.errors import TooManyRequests
from triage.subscribers import network_limit
from triage.subscribers.network_limit import TRUSTED, Limit, NetworkLimit, network

HERE, ELSEWHERE = "192.0.2.7", "198.51.100.7"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("peer", "shared"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("unix socket", "unknown"),
    ],
)
def test_a_network_is_what_one_person_may_own(peer: str, shared: str) -> None:
    assert network(peer) == shared


def refused(limit: NetworkLimit, peer: str, now: object) -> TooManyRequests:
    with pytest.raises(TooManyRequests) as told:
        limit.count(peer, now)  # type: ignore[arg-type]
    return told.value


def test_a_limit_holds_for_any_time_of_its_length() -> None:
    limit = NetworkLimit(Limit(3, HOUR, "an hour"))
    for minutes in (0, 50, 55):
        limit.count(HERE, NOON + minutes * MINUTE)
    assert refused(limit, HERE, NOON + 59 * MINUTE).retry_after_s == 60
    # What was refused does not count: the first request is an hour old, and makes room for one.
    limit.count(HERE, NOON + 60 * MINUTE)
    assert refused(limit, HERE, NOON + 60 * MINUTE).retry_after_s == 50 * 60


@pytest.mark.parametrize(
    ("span", "after", "says"),
    [
        (MINUTE, 20 * SECOND, "at most 1 a while are possible. Please try again in 40 seconds."),
        (MINUTE, 59.5 * SECOND, "Please try again in 1 second."),
        (HOUR, 20 * MINUTE, "Please try again in 40 minutes, at 13:00 UTC."),
        (HOUR, 20.5 * MINUTE, "Please try again in 40 minutes, at 13:00 UTC."),
        (24 * HOUR, HOUR, "Please try again in 23 hours, at 12:00 UTC."),
    ],
)
def test_a_refusal_says_when_it_is_possible_again(
    span: timedelta, after: timedelta, says: str
) -> None:
    limit = NetworkLimit(Limit(1, span, "a while"))
    limit.count(HERE, NOON)
    told = refused(limit, HERE, NOON + after)
    assert says in str(told)
    wait = timedelta(seconds=told.retry_after_s)
    assert NOON + span <= NOON + after + wait < NOON + span + SECOND
    limit.count(HERE, NOON + after + wait)


def test_each_of_several_limits_holds() -> None:
    limit = NetworkLimit(Limit(2, MINUTE, "a minute"), Limit(3, HOUR, "an hour"))
    limit.count(HERE, NOON)
    limit.count(HERE, NOON)
    assert "2 a minute" in str(refused(limit, HERE, NOON))
    limit.count(HERE, NOON + MINUTE)
    assert "3 an hour" in str(refused(limit, HERE, NOON + MINUTE))


def test_networks_do_not_share_a_limit_and_their_members_do() -> None:
    limit = NetworkLimit(Limit(1, HOUR, "an hour"))
    limit.count(HERE, NOON)
    limit.count(ELSEWHERE, NOON)
    refused(limit, "192.0.2.250", NOON)


@pytest.mark.parametrize("peer", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"])
def test_trusted_networks_have_no_limit(peer: str) -> None:
    trusted = [ip_network("192.0.2.0/28"), ip_network("2001:db8::/64")]
    limit = NetworkLimit(Limit(1, HOUR, "an hour"), trusted=trusted)
    for _ in range(3):
        limit.count(peer, NOON)
    assert limit.name(peer) == TRUSTED
    assert limit.name("192.0.2.16") == "192.0.2.0/24"
    assert limit.name("unix socket") == "unknown"


def test_a_clock_that_was_ahead_blocks_nobody() -> None:
    limit = NetworkLimit(Limit(1, HOUR, "an hour"))
    limit.count(HERE, NOON + 1_000 * HOUR)
    limit.count(HERE, NOON)
    refused(limit, HERE, NOON)


def test_the_networks_that_are_remembered_never_grow_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_limit, "MOST_NETWORKS", 3)
    limit = NetworkLimit(Limit(2, HOUR, "an hour"))
    for n in (1, 2, 3, 1, 4):
        limit.count(f"10.0.{n}.1", NOON)
    assert list(limit._times) == ["10.0.3.0/24", "10.0.1.0/24", "10.0.4.0/24"]
    refused(limit, "10.0.1.1", NOON)
