"""The HTTP client of all sources: rate-limited, with retries and bounded answers.

A source has one `PoliteClient` for all its addresses, so its requests never overlap and keep their
interval; a `RequestLimiter` in the database makes that hold for all processes together.
https://info.arxiv.org/help/api/tou.html asks for one connection and one request in three seconds,
for all of arXiv's interfaces together.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr, parsedate_to_datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from triage import __version__
from triage.domain.protocols import Clock, MustWait, Outcome, RequestLimiter, WaitReason
from triage.domain.request_limits import Rules
from triage.errors import NoAnswerInTime, SourceError
from triage.sources.http.local_limiter import LocalRequestLimiter
from triage.sources.http.time_limit import TimeLimit, call_if_longer

if TYPE_CHECKING:
    import ssl

    import httpx

MOST_BYTES: Final = 20 * 1024 * 1024
MOST_RATIO: Final = 100
REQUEST_S: Final = 60.0
ATTEMPTS: Final = 4
LONGEST_WAIT_S: Final = 3_600.0
_SILENCE_S: Final = 20.0
_UNNOTICED_S: Final = 4.0  # longer waits are reported
_REDIRECTS: Final = 3
_SMALL: Final = 1 << 16  # below this a ratio says nothing
_PIECE: Final = 1 << 16
_LONGEST_TAG: Final = 500
_MOST_KEPT: Final = 50
_GZIP: Final = b"\x1f\x8b"  # RFC 1952, 2.3.1
# Codings that hide what the body is; any other unknown name is a mistake, such as `utf-8`.
_OTHER_CODINGS: Final = frozenset({"br", "compress", "deflate", "zstd"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with status 200 or 304. `etag` and `modified` go into the next request.

    `charset` is that of the Content-Type header; empty if there is none.
    """

    status: int
    body: bytes = b""
    etag: str = ""
    modified: str = ""
    charset: str = ""

    @property
    def not_modified(self) -> bool:
        return self.status == 304


@dataclass(frozen=True, slots=True)
class _Request:
    """One request. `elsewhere` says whether redirects are followed."""

    url: str
    params: Mapping[str, str] | None
    headers: dict[str, str]
    body: bytes | None = None
    elsewhere: bool = True

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]


class _TemporaryError(Exception):
    """An error that a retry may cure. `wait_s` is the delay that the server requests."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def user_agent(base_url: str, contact: str) -> str:
    """Return the User-Agent header, with an address for questions (RFC 9110, 10.1.5)."""
    text = f"triage/{__version__} (+{base_url}; mailto:{parseaddr(contact)[1]})"
    return "".join(c for c in text if c.isascii() and c.isprintable())


class PoliteClient:
    """Sends one request at a time.

    Args:
        min_interval_s: the shortest time between the end of one request and the start of the next,
            retries and redirects included. Back-off starts at ten times this value.
        turns: the request limiter, with the same interval; by default one of this process alone.
        chance: makes the back-off irregular, so that many installations do not return together.
        transport: makes the transport that replaces httpx's own, from the TLS context.
        request_s: the most seconds that one answer may take, pauses and headers included.

    Attributes:
        deadline: when the caller must have its answer; None for no limit. Set it before each fetch.
            A wait that would pass it is not begun, but still holds for the next request.
        on_wait: called with a sentence for people when a wait is or becomes longer than 4 s, from
            another thread if a server hangs. The usual interval is not reported.
    """

    def __init__(
        self,
        clock: Clock,
        user_agent: str,
        min_interval_s: float,
        *,
        turns: RequestLimiter | None = None,
        deadline: datetime | None = None,
        chance: random.Random | None = None,
        transport: Callable[[ssl.SSLContext], httpx.BaseTransport] | None = None,
        request_s: float = REQUEST_S,
    ) -> None:
        self._clock = clock
        self._headers = {
            "User-Agent": user_agent,
            "Accept-Encoding": "gzip",
            # Otherwise each process that shares the limiter would keep a connection open.
            "Connection": "close",
        }
        self.min_interval_s = min_interval_s
        self._limiter = turns or LocalRequestLimiter(clock, Rules(min_interval_s))
        self.deadline = deadline
        self.on_wait: Callable[[str], None] | None = None
        self._trouble = ""
        self._rng = chance or random.Random()  # noqa: S311 - no secret
        self._transport = transport
        self._request_s = request_s
        self._limit = TimeLimit()
        self._client: httpx.Client | None = None
        self._cache: dict[tuple[object, ...], Answer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The client can be used again and keeps its interval."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        *,
        etag: str = "",
        modified: str = "",
        once: bool = False,
        secret: Mapping[str, str] | None = None,
    ) -> Answer:
        """Request `url`; with `etag` or `modified` of an earlier answer, only if it has changed.

        429, 5xx, broken connections and cut answers are retried, after the delay that the server
        requests (RFC 9110, 10.2.3) or a growing back-off.

        Args:
            once: cache the answer for the rest of the UTC day, as for a page of a past day.
            secret: headers for this address alone; redirects are then refused.

        Raises:
            SourceError: no usable answer came, or none can come before the deadline.
        """
        headers = {"If-None-Match": etag} if etag else {}
        headers |= {"If-Modified-Since": modified} if modified else {}
        headers |= secret or {}
        request = _Request(url, params, headers, elsewhere=not secret)
        if secret or not once:
            return self._send_with_retries(request)
        key = (self._clock.now().date(), url, *sorted((params or {}).items()))
        if key not in self._cache:
            self._cache[key] = self._send_with_retries(request)
            if len(self._cache) > _MOST_KEPT:
                del self._cache[next(iter(self._cache))]
        return self._cache[key]

    def post(
        self, url: str, params: Mapping[str, str], body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        """Send `body`, with retries as in `get`.

        Raises:
            SourceError: as for `get`, or the server redirected the request.
        """
        return self._send_with_retries(_Request(url, params, dict(headers), body, elsewhere=False))

    def _send_with_retries(self, request: _Request) -> Answer:
        reason = self._trouble = ""
        for left in reversed(range(ATTEMPTS)):
            try:
                return self._send_with_redirects(request, request.host)
            except _TemporaryError as error:
                reason = str(error)
                self._trouble = f"{reason}; {left} more {'try' if left == 1 else 'tries'}"
        raise SourceError(
            f"{request.host} {reason}, the last of {ATTEMPTS} tries. The next fetch tries again."
        )

    def _send_with_redirects(self, request: _Request, host: str) -> Answer:
        for _ in range(1 + (_REDIRECTS if request.elsewhere else 0)):
            self._connection()  # Before our turn, which then has the request alone.
            self._acquire_turn(host)
            try:
                answer = self._send(request, host)
            except _TemporaryError as error:
                stretch = self._rng.uniform(1, 1.5)
                closed = self._limiter.release(Outcome.FAILED, error.wait_s, stretch)
                _check_patience(error, closed, host)
                raise
            except BaseException:
                self._limiter.release(Outcome.REFUSED)
                raise
            self._limiter.release(Outcome.ANSWERED)
            if isinstance(answer, Answer):
                return answer
            request = replace(request, url=answer, params=None)
        raise SourceError(f"{host} only sent redirects. Check the address in the config.")

    def _acquire_turn(self, host: str) -> None:
        """Wait for our turn; SourceError if that is after the deadline or not today any more."""
        began, is_reported = self._clock.now(), False
        while True:
            now = self._clock.now()
            self._check_deadline(now, host)
            closed = self._limiter.acquire()
            if closed is None:
                return
            if closed.why is WaitReason.SPENT:
                raise SourceError(
                    f"{host} got {closed.count} requests today, which is the limit. The next one"
                    f" can be sent after {closed.until:%H:%M} UTC; daily_requests in the config"
                    " sets the limit."
                )
            self._check_deadline(now, host, closed)
            usual_s = max(_UNNOTICED_S, self.min_interval_s + 1)
            if not is_reported and (closed.until - began).total_seconds() > usual_s:
                why = f"{host} {self._trouble}" if self._trouble else f"{host}: {closed.why}"
                self._report_wait(why, closed.until)
                is_reported = True
            # A wait may end a little early, and a request must not.
            self._clock.sleep(max((closed.until - self._clock.now()).total_seconds(), 0.001))

    def _check_deadline(self, now: datetime, host: str, closed: MustWait | None = None) -> None:
        start = now if closed is None else max(closed.until, now)
        if self.deadline is None or start < self.deadline:
            return
        wait_s = (start - now).total_seconds()
        after = f": the next request may start in {wait_s:.0f} s" if wait_s >= 1 else ""
        why = ""
        if closed is not None and closed.why is WaitReason.BUSY:
            why = " Another process of this installation is sending it requests."
        elif closed is not None and closed.why is WaitReason.FAILING:
            why = f" It has failed {closed.count} times in a row."
        raise NoAnswerInTime(
            f"The fetch ran out of time before {host} had answered everything{after}.{why} "
            "What came is stored; the rest follows with the next fetch."
        )

    def _report_wait(self, why: str, until: datetime) -> None:
        if self.on_wait is not None:
            self.on_wait(f"{why}: waiting until {until:%H:%M:%S} UTC")

    def _send(self, request: _Request, host: str) -> Answer | str:
        """Return the answer, or the address of a redirect."""
        import httpx

        end = self._clock.now() + timedelta(seconds=self._request_s)
        if self.deadline is not None:
            end = min(end, self.deadline)
        left_s = max((end - self._clock.now()).total_seconds(), 0.1)
        timeout = httpx.Timeout(min(_SILENCE_S, left_s))
        report = partial(self._report_wait, f"{host} has not answered yet", end)
        try:
            with (
                self._limit.of(left_s),
                call_if_longer(_UNNOTICED_S, report),
                self._connection().stream(
                    "GET" if request.body is None else "POST",
                    request.url,
                    params=request.params,
                    headers=self._headers | request.headers,
                    content=request.body,
                    timeout=timeout,
                    extensions={"trace": self._limit.watch},
                ) as response,
            ):
                _check_status(response, self._clock.now(), host)
                if response.next_request is not None:
                    return str(response.next_request.url)
                return Answer(
                    status=response.status_code,
                    body=b"" if response.status_code == 304 else self._body(response, end, host),
                    etag=_sendable(response.headers.get("ETag", "")),
                    modified=_sendable(response.headers.get("Last-Modified", "")),
                    charset=(response.charset_encoding or "")[:_LONGEST_TAG],
                )
        except (httpx.TimeoutException, TimeoutError) as error:
            raise _TemporaryError("did not answer in time") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise SourceError(
                f"{host} cannot be requested ({_text(error)}). Check the address in the config."
            ) from error
        except httpx.TransportError as error:
            if self._limit.is_over:
                raise _TemporaryError(f"took longer than {left_s:.0f} s for one answer") from error
            raise _TemporaryError(f"could not be reached ({_text(error)})") from error
        finally:
            if self._client is not None and self._clock.now() >= end:
                self.close()

    def _connection(self) -> httpx.Client:
        import httpx

        if self._client is None:
            one = httpx.Limits(max_connections=1, max_keepalive_connections=1)
            self._client = httpx.Client(
                limits=one,
                follow_redirects=False,
                verify=_trust(),
                transport=self._transport and self._transport(_trust()),
            )
        return self._client

    def _body(self, response: httpx.Response, end: datetime, host: str) -> bytes:
        """Return the body, unpacked if it is gzip, whatever the Content-Encoding header says."""
        codings = response.headers.get("Content-Encoding", "").lower().split(",")
        other = _OTHER_CODINGS.intersection(coding.strip() for coding in codings)
        if other:
            raise SourceError(
                f"{host} answered in the coding {min(other)!r}, which was not requested."
            )
        unpack, head = None, b""
        body, n_raw = bytearray(), 0
        # As they come: httpx would wait for pieces of a given size, however slowly they come.
        for raw in response.iter_raw():
            if len(head) < len(_GZIP):
                head += raw[: len(_GZIP)]
                if head.startswith(_GZIP):
                    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
                    raw, body = bytes(body) + raw, bytearray()
            n_raw += len(raw)
            try:
                for piece in [raw] if unpack is None else _unpacked(unpack, raw):
                    body += piece
                    _check_size(len(body), n_raw, host)
            except zlib.error as error:
                raise _TemporaryError("sent a damaged gzip answer") from error
            if self._clock.now() > end:
                raise _TemporaryError(f"took longer than {self._request_s:.0f} s for one answer")
            if unpack is not None and unpack.eof:
                return bytes(body)  # Bytes behind the end of gzip data do not belong to it.
        if self._limit.is_over:
            # An answer without a length ends with the connection, which the time limit has shut.
            raise _TemporaryError(f"took longer than {self._request_s:.0f} s for one answer")
        if unpack is not None or (not body and "gzip" in codings):
            raise _TemporaryError("sent a gzip answer that ends in the middle")
        return bytes(body)


@cache
def _trust() -> ssl.SSLContext:
    """Return the TLS context; cached, since loading it takes 80 ms.

    It trusts the authorities of httpx and of this machine (or SSL_CERT_FILE), as mail does.
    """
    import httpx

    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def _check_patience(error: _TemporaryError, closed: MustWait, host: str) -> None:
    """Raise SourceError where a retry must not follow in this fetch."""
    if error.wait_s is not None and error.wait_s > LONGEST_WAIT_S:
        raise SourceError(
            f"{host} {error} and accepts no requests for {error.wait_s / 3600:.1f} hours. "
            "Try again after that."
        ) from error
    if closed.why is WaitReason.FAILING:
        raise SourceError(
            f"{host} {error}, the failure number {closed.count} in a row. It gets no requests until"
            f" {closed.until:%Y-%m-%d %H:%M} UTC, and one then."
        ) from error


def _unpacked(unpack: Any, raw: bytes) -> Any:
    """Yield the decompressed bytes of `raw`, at most `_PIECE` bytes at a time."""
    while raw and not unpack.eof:
        yield unpack.decompress(raw, _PIECE)
        raw = unpack.unconsumed_tail


def _check_size(n_body: int, n_raw: int, host: str) -> None:
    is_bomb = n_body > _SMALL and n_body > MOST_RATIO * n_raw
    if max(n_body, n_raw) > MOST_BYTES or is_bomb:
        raise SourceError(
            f"{host} sent too large an answer ({n_body:,} bytes from {n_raw:,}), so the rest was "
            "not read. Check the address in the config."
        )


def _sendable(value: str) -> str:
    """Return an ETag or date that may be sent back as it came; else nothing."""
    return value if value.isascii() and value.isprintable() and len(value) <= _LONGEST_TAG else ""


def _check_status(response: httpx.Response, now: datetime, host: str) -> None:
    status = response.status_code
    if status in {200, 304} or response.has_redirect_location:
        return
    reason = f"answered {status} {response.reason_phrase}".rstrip()
    if status in {429, 503}:
        raise _TemporaryError(reason, _retry_after(response.headers.get("Retry-After", ""), now))
    if status in {408, 425} or status >= 500:
        raise _TemporaryError(reason)
    if status in {401, 403}:
        raise SourceError(f"{host} {reason}. Check the key, if one is set, and the address.")
    raise SourceError(f"{host} {reason}. Check the address in the config, or whether it has moved.")


def _retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header; None if it is unusable."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((at - now).total_seconds(), 0.0)


def _text(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:120]
