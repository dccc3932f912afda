"""A transport to public addresses only, for feeds, whose links and redirects may be hostile.

A name is resolved once, all its addresses must be public, and the connection goes to one of them.
So a name cannot lead into the operator's network by a second DNS answer. Imported only where a feed
is read, since it needs httpx.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

import httpx

from triage.errors import SourceError

Resolve = Callable[[str, int], Sequence[str]]

_PORTS: Final = {"https": 443, "http": 80}
_TRIED: Final = 2
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+", re.ASCII)
_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
# In addition to `is_global`, which knows fewer of them in older Pythons.
_NOT_PUBLIC: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # RFC 6890, 2.2.2
    ipaddress.IPv4Network("192.88.99.0/24"),  # RFC 7526: leads to whoever offers 6to4
    ipaddress.IPv4Network("240.0.0.0/4"),
    ipaddress.IPv6Network("2001::/23"),  # RFC 2928; Teredo is in it
    ipaddress.IPv6Network("2001:db8::/32"),
    ipaddress.IPv6Network("2002::/16"),  # RFC 3056: 6to4 holds an IPv4 address
    ipaddress.IPv6Network("3fff::/20"),  # RFC 9637
)
# The only part of IPv6 with addresses of the internet (RFC 4291, 2.4 and IANA's registry). Mapped
# IPv4 addresses, as in ::ffff:0:0/96 and 64:ff9b::/96, are outside.
_IPV6_INTERNET: Final = ipaddress.IPv6Network("2000::/3")


class PinnedTransport(httpx.BaseTransport):
    """Sends a request to the checked address of its host.

    Args:
        trust: the TLS context; certificates are checked against the host's name.
        plain: allows http, for a feed that is configured so.
        resolve: from host and port to all addresses, as text.
    """

    def __init__(
        self, trust: ssl.SSLContext, *, plain: bool = False, resolve: Resolve | None = None
    ) -> None:
        # No connection is reused: another host at the same address has another certificate.
        self._inner = httpx.HTTPTransport(
            verify=trust,
            trust_env=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
        )
        self._schemes = {"https", "http"} if plain else {"https"}
        self._resolve = resolve or _resolve

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; a redirect is another request.

        Raises:
            SourceError: its address is not public, or no web address.
        """
        host = self._checked_host(request.url)
        port = request.url.port or _PORTS[request.url.scheme]
        error: httpx.TransportError = httpx.ConnectError("the name has no address")
        for address in self._addresses(host, port)[:_TRIED]:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions | {"sni_hostname": host},
            )
            try:
                return self._inner.handle_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
                error = failure
        raise error

    def close(self) -> None:
        self._inner.close()

    def _checked_host(self, url: httpx.URL) -> str:
        """Return the host in lower case."""
        if url.scheme not in self._schemes:
            raise SourceError(
                f"A feed's address leads to {url.scheme[:20]!r}, so it was not followed: "
                f"feeds are read by {' or '.join(sorted(self._schemes))} only."
            )
        if url.userinfo:
            raise SourceError("A feed's address contains a user name, so it was not followed.")
        if url.port not in {None, 80, 443}:
            raise SourceError(
                f"A feed's address leads to port {url.port}, so it was not followed: only 80 and "
                "443 are allowed."
            )
        host = url.raw_host.decode("ascii").lower()
        if is_address(host):
            return host
        if not _HOST.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2]):
            raise SourceError(
                f"A feed's address leads to {host[:80]!r}, which cannot be the name of a public "
                "server, so it was not followed."
            )
        return host

    def _addresses(self, host: str, port: int) -> list[str]:
        """Return the host's addresses if all are public."""
        try:
            addresses = [host] if is_address(host) else list(self._resolve(host, port))
        except OSError as error:
            raise httpx.ConnectError(f"the name cannot be resolved: {error.strerror}") from error
        if not all(is_public(address) for address in addresses):
            raise SourceError(
                f"{host[:80]} leads into a private network, so no request was sent. If that is "
                "intended, set `allow_private = true` beside the feed's url."
            )
        return addresses


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address in its plain form: dotted quad or IPv6."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Tell whether `address` is a unicast address of the public internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip.version == 6 and (ip not in _IPV6_INTERNET or ip.scope_id is not None):
        return False
    if any(ip.version == net.version and ip in net for net in _NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
