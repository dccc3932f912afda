"""One polite way to ask a server: spaced, patient, bounded. Gatekeeper of httpx.

A source has one `Gate` for all its addresses, whatever their hosts, so that its requests never
overlap and never follow one another too closely; with `Turns` in the database that holds for all
processes together. https://info.arxiv.org/help/api/tou.html asks for one connection and one request
in three seconds, for all of arXiv's interfaces together.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr, parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from triage import __version__
from triage.domain.protocols import Clock, Closed, MustWait, Outcome, RequestLimiter
from triage.domain.request_limits import Rules
from triage.errors import SourceError
from triage.sources.http.local_limiter import LocalRequestLimiter
from triage.sources.http.time_limit import TimeLimit

if TYPE_CHECKING:
    import ssl

    import httpx

MOST_BYTES: Final = 20 * 1024 * 1024
MOST_RATIO: Final = 100
REQUEST_S: Final = 60.0
ATTEMPTS: Final = 4
LONGEST_WAIT_S: Final = 3_600.0
_SILENCE_S: Final = 20.0
_REDIRECTS: Final = 3
_SMALL: Final = 1 << 16  # below this a ratio says nothing
_PIECE: Final = 1 << 16
_LONGEST_TAG: Final = 500
_MOST_KEPT: Final = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said with status 200 or 304. `etag` and `modified` go into the next request."""

    status: int
    body: bytes = b""
    etag: str = ""
    modified: str = ""

    @property
    def not_modified(self) -> bool:
        return self.status == 304


@dataclass(frozen=True, slots=True)
class _Question:
    """One request. `elsewhere` says whether the server may send us to another address."""

    url: str
    params: Mapping[str, str] | None
    headers: dict[str, str]
    body: bytes | None = None
    elsewhere: bool = True

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]


class _Temporary(Exception):
    """An answer that may be better next time. `wait_s` is what the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def user_agent(base_url: str, contact: str) -> str:
    """Return who we are and whom to ask, as servers' operators want it (RFC 9110, 10.1.5)."""
    text = f"triage/{__version__} (+{base_url}; mailto:{parseaddr(contact)[1]})"
    return "".join(c for c in text if c.isascii() and c.isprintable())


class PoliteClient:
    """Lets one request at a time through.

    Args:
        user_agent: sent with every request.
        min_interval_s: at least so long is between the end of one request and the start of the
            next, retries and redirects included. Back-off starts at ten times it.
        turns: decides when a request may be made, by the same interval; what other processes ask
            counts, too, where they share it. By default this gate keeps its own.
        deadline: the first value of the attribute.
        chance: makes the back-off irregular, so that many installations do not return together.
        transport: makes what reaches the server instead of httpx's own, given whom we trust.
        request_s: how long one answer may take in all, its pauses and its headers included.

    Attributes:
        min_interval_s: as given.
        deadline: when the caller must have its answer; None if that may take any time. A wait that
            would pass it is not begun but still owed, even where an earlier answer asked for it.
            Whoever keeps a gate sets it before each fetch.
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
            # Kept open, each process that shares the turns would hold a connection of its own.
            "Connection": "close",
        }
        self.min_interval_s = min_interval_s
        self._turns = turns or LocalRequestLimiter(clock, Rules(min_interval_s))
        self.deadline = deadline
        self._chance = chance or random.Random()  # noqa: S311 - no secret
        self._transport = transport
        self._request_s = request_s
        self._limit = TimeLimit()
        self._client: httpx.Client | None = None
        self._answered: dict[tuple[object, ...], Answer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The gate can be used again and keeps its distance."""
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
        """Ask for `url`; with `etag` or `modified` of an earlier answer, only for what is new.

        429, 5xx, broken connections and cut answers are tried again, after what the server asked
        for (RFC 9110, 10.2.3) or a growing wait.

        Args:
            once: its answer stays the same all day, as that of a page of a past day: asked again on
                one UTC day, the gate gives the answer that it had. Not for what is polled, nor for
                what is asked again because the answer was wrong.
            secret: headers that go to this address alone: who sends us elsewhere is refused.

        Raises:
            SourceError: no usable answer came, or none can come before the deadline.
        """
        headers = {"If-None-Match": etag} if etag else {}
        headers |= {"If-Modified-Since": modified} if modified else {}
        if secret or not once:
            headers |= secret or {}
            return self._ask_patiently(_Question(url, params, headers, elsewhere=not secret))
        key = (self._clock.now().date(), url, *sorted((params or {}).items()))
        if key not in self._answered:
            self._answered[key] = self._ask_patiently(_Question(url, params, headers))
            if len(self._answered) > _MOST_KEPT:
                del self._answered[next(iter(self._answered))]
        return self._answered[key]

    def post(
        self, url: str, params: Mapping[str, str], body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        """Ask a question too long for an address, as `get` does; a secret header goes nowhere else.

        Raises:
            SourceError: as for `get`, or the server sent us to another address.
        """
        question = _Question(url, params, dict(headers), body, elsewhere=False)
        return self._ask_patiently(question)

    def _ask_patiently(self, question: _Question) -> Answer:
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                return self._follow(question, question.host)
            except _Temporary as error:
                reason = str(error)
        raise SourceError(
            f"{question.host} {reason}, the last of {ATTEMPTS} tries. It is asked again at the next"
            " fetch."
        )

    def _follow(self, question: _Question, host: str) -> Answer:
        for _ in range(1 + (_REDIRECTS if question.elsewhere else 0)):
            self._connection()  # Made before our turn, which is then a request and nothing else.
            self._wait(host)
            try:
                answer = self._ask(question, host)
            except _Temporary as error:
                stretch = self._chance.uniform(1, 1.5)
                closed = self._turns.release(Outcome.FAILED, error.wait_s, stretch)
                _check_patience(error, closed, host)
                raise
            except BaseException:
                self._turns.release(Outcome.REFUSED)
                raise
            self._turns.release(Outcome.ANSWERED)
            if isinstance(answer, Answer):
                return answer
            question = replace(question, url=answer, params=None)
        raise SourceError(f"{host} only sent us elsewhere. Check the address in the config.")

    def _wait(self, host: str) -> None:
        """Wait until it is our turn, and take it.

        Raises:
            SourceError: that would be after the deadline, or today's requests are spent.
        """
        while True:
            now = self._clock.now()
            self._check_deadline(now, host)
            closed = self._turns.acquire()
            if closed is None:
                return
            if closed.why is Closed.SPENT:
                raise SourceError(
                    f"{host} has been asked {closed.count} times today, as often as may be. It is"
                    f" asked again after {closed.until:%H:%M} UTC; daily_requests in the config"
                    " says how often."
                )
            self._check_deadline(now, host, closed)
            # A wait may end a little early, and a request must not.
            self._clock.sleep(max((closed.until - self._clock.now()).total_seconds(), 0.001))

    def _check_deadline(self, now: datetime, host: str, closed: MustWait | None = None) -> None:
        start = now if closed is None else max(closed.until, now)
        if self.deadline is None or start < self.deadline:
            return
        wait_s = (start - now).total_seconds()
        after = f": it may be asked again in {wait_s:.0f} s" if wait_s >= 1 else ""
        why = ""
        if closed is not None and closed.why is Closed.BUSY:
            why = " Another process of this installation is asking it."
        elif closed is not None and closed.why is Closed.FAILING:
            why = f" It has failed {closed.count} times in a row."
        raise SourceError(
            f"The fetch ran out of time before {host} had answered everything{after}.{why} "
            "What came is stored; the rest follows with the next fetch."
        )

    def _ask(self, question: _Question, host: str) -> Answer | str:
        """Return the answer, or the address that the server sent us to."""
        import httpx

        end = self._clock.now() + timedelta(seconds=self._request_s)
        if self.deadline is not None:
            end = min(end, self.deadline)
        left_s = max((end - self._clock.now()).total_seconds(), 0.1)
        timeout = httpx.Timeout(min(_SILENCE_S, left_s))
        try:
            with (
                self._limit.of(left_s),
                self._connection().stream(
                    "GET" if question.body is None else "POST",
                    question.url,
                    params=question.params,
                    headers=self._headers | question.headers,
                    content=question.body,
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
                )
        except (httpx.TimeoutException, TimeoutError) as error:
            raise _Temporary("did not answer in time") from error
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise SourceError(
                f"{host} cannot be asked ({_said(error)}). Check the address in the config."
            ) from error
        except httpx.TransportError as error:
            if self._limit.is_over:
                raise _Temporary(f"took longer than {left_s:.0f} s for one answer") from error
            raise _Temporary(f"could not be reached ({_said(error)})") from error
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
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in {"identity", "gzip", "x-gzip"}:
            raise SourceError(
                f"{host} answered in the coding {coding[:20]!r}, which was not asked."
            )
        unpack = None if coding == "identity" else zlib.decompressobj(16 + zlib.MAX_WBITS)
        body, n_raw = bytearray(), 0
        # As they come: pieces of a given size would be waited for, however slowly they drip in.
        for raw in response.iter_raw():
            n_raw += len(raw)
            try:
                for piece in [raw] if unpack is None else _unpacked(unpack, raw):
                    body += piece
                    _check_size(len(body), n_raw, host)
            except zlib.error as error:
                raise _Temporary("sent a damaged gzip answer") from error
            if self._clock.now() > end:
                raise _Temporary(f"took longer than {self._request_s:.0f} s for one answer")
            if unpack is not None and unpack.eof:
                return bytes(body)  # Nothing that belongs to it follows.
        if self._limit.is_over:
            # An answer without a length ends where the connection does, and we have shut that.
            raise _Temporary(f"took longer than {self._request_s:.0f} s for one answer")
        if unpack is not None:
            raise _Temporary("sent a gzip answer that ends in the middle")
        return bytes(body)


@cache
def _trust() -> ssl.SSLContext:
    """Return whom we trust over TLS; reading that takes 80 ms, so once is enough.

    The public authorities that httpx brings, and whom this machine trusts besides, which
    SSL_CERT_FILE can name, as for mail.
    """
    import httpx

    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def _check_patience(error: _Temporary, closed: MustWait, host: str) -> None:
    """Raise SourceError where trying again is not for now."""
    if error.wait_s is not None and error.wait_s > LONGEST_WAIT_S:
        raise SourceError(
            f"{host} {error} and asked to be left alone for {error.wait_s / 3600:.1f} hours. "
            "Try again after that."
        ) from error
    if closed.why is Closed.FAILING:
        raise SourceError(
            f"{host} {error}, the failure number {closed.count} in a row. It is left alone until"
            f" {closed.until:%Y-%m-%d %H:%M} UTC, and asked once then."
        ) from error


def _unpacked(unpack: Any, raw: bytes) -> Any:
    """Yield what `raw` holds, never more than a piece at a time."""
    while raw and not unpack.eof:
        yield unpack.decompress(raw, _PIECE)
        raw = unpack.unconsumed_tail


def _check_size(n_body: int, n_raw: int, host: str) -> None:
    is_bomb = n_body > _SMALL and n_body > MOST_RATIO * n_raw
    if max(n_body, n_raw) > MOST_BYTES or is_bomb:
        raise SourceError(
            f"{host} sent more than an answer can be ({n_body:,} bytes from {n_raw:,}), so it was "
            "not read on. Check the address in the config."
        )


def _sendable(value: str) -> str:
    """Return what may be sent back as it came; else nothing, so the next request is for all."""
    return value if value.isascii() and value.isprintable() and len(value) <= _LONGEST_TAG else ""


def _check_status(response: httpx.Response, now: datetime, host: str) -> None:
    status = response.status_code
    if status in {200, 304} or response.has_redirect_location:
        return
    said = f"answered {status} {response.reason_phrase}".rstrip()
    if status in {429, 503}:
        raise _Temporary(said, _retry_after(response.headers.get("Retry-After", ""), now))
    if status in {408, 425} or status >= 500:
        raise _Temporary(said)
    if status in {401, 403}:
        raise SourceError(f"{host} {said}. Check the key, if one is set, and the address.")
    raise SourceError(f"{host} {said}. Check the address in the config, or whether it has moved.")


def _retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for; None if it says nothing usable."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((at - now).total_seconds(), 0.0)


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:120]
