"""Limits how often the people of one network may ask for something."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from triage.errors import TooManyRequests

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TRUSTED = "trusted"
"""The name of all networks that have no limit."""
# Each has few times, so that all of them together take some megabytes at most.
MOST_NETWORKS = 20_000


class Limit(NamedTuple):
    """At most so many requests in a time; `words` is this time in words, such as "an hour"."""

    most: int
    span: timedelta
    words: str


class NetworkLimit:
    """Counts the requests of each network in this process.

    It counts what was asked, whatever the answer was: so it tells nobody whether an address is
    subscribed.

    Args:
        trusted: networks without a limit.
    """

    def __init__(self, *limits: Limit, trusted: Sequence[Network] = ()) -> None:
        self._limits = limits
        self.trusted = tuple(trusted)
        self._longest = max(each.span for each in limits)
        self._lock = threading.Lock()
        self._times: dict[str, list[datetime]] = {}

    def name(self, peer: str) -> str:
        """Return the name of the network of an IP address; `TRUSTED` for all without a limit."""
        address = _address(peer)
        if address is not None and any(address in each for each in self.trusted):
            return TRUSTED
        return network(peer)

    def count(self, peer: str, now: datetime) -> None:
        """Count a request from an IP address.

        Raises:
            TooManyRequests: its network has reached a limit; this request is not counted.
        """
        name = self.name(peer)
        if name == TRUSTED:
            return
        with self._lock:
            # What was counted later than now was counted by a wrong clock.
            times = [at for at in self._times.get(name, ()) if now - self._longest < at <= now]
            for limit in self._limits:
                recent = [at for at in times if now - limit.span < at]
                if len(recent) >= limit.most:
                    raise _refusal(limit, recent[-limit.most] + limit.span, now)
            self._times.pop(name, None)
            self._times[name] = [*times, now]
            if len(self._times) > MOST_NETWORKS:
                # The one that has asked for nothing for the longest time comes first.
                del self._times[next(iter(self._times))]


def network(peer: str) -> str:
    """Return the /24 or /48 network of an IP address; its users count as one."""
    address = _address(peer)
    if address is None:
        return "unknown"
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address, that of IPv4 also where it is written as one of IPv6; else None."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _refusal(limit: Limit, at: datetime, now: datetime) -> TooManyRequests:
    seconds = max(1, -int((now - at).total_seconds() // 1))
    if seconds < 100:
        wait = "1 second" if seconds == 1 else f"{seconds} seconds"
    elif seconds < 100 * 60:
        wait = f"{-(-seconds // 60)} minutes, at {at:%H:%M} UTC"
    else:
        wait = f"{-(-seconds // 3600)} hours, at {at:%H:%M} UTC"
    return TooManyRequests(
        f"Too many requests have come from your network: at most {limit.most} {limit.words} are"
        f" possible. Please try again in {wait}.",
        seconds,
    )
