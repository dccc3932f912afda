"""Hands messages over by SMTP; sessions are kept from one message to the next.

What an answer means (RFC 5321, 4.2; RFC 3463 for the codes with dots):

    connection lost, 4xx, 421 before the final dot      not now: MailDeferred
    5xx to RCPT or DATA                                 never: MailRefused
    certificate, log-in or sender not accepted          no message would go: MailerBroken
    no answer after the final dot                       nobody knows: MailUncertain

The body is written first and the dot that ends it by itself: in between the message is marked as in
doubt, and a connection that is lost before the dot is known to have delivered nothing.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from functools import cached_property

from triage.errors import MailDeferred, MailerBroken, MailError, MailRefused, MailUncertain
from triage.killpoint import pass_by
from triage.records import OutgoingMessage

CONNECT_S = 30.0
# RFC 5321, 4.5.3.2: five minutes for a command, ten for the answer to the final dot.
COMMAND_S = 300.0
FINAL_S = 600.0
# Servers and routers forget idle connections, some without a word.
IDLE_S = 30.0
# So long after a failed connection the other messages of a run do not try again each by itself.
COOL_S = 60.0

_ENVELOPE = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")
_ENHANCED = re.compile(r"\b5\.(\d{1,3})\.(\d{1,3})\b")
_NO_SUCH_MAILBOX = {("1", minor) for minor in ("0", "1", "2", "3", "6", "10")} | {("2", "1")}
_ABOUT_US = re.compile(r"spam|block|list|polic|relay|denied|reputation|auth|spf|dkim|dmarc", re.I)
_LOST = (OSError, smtplib.SMTPException)


@dataclass(frozen=True)
class SmtpServer:
    """A mail server and how to get to it.

    Attributes:
        security: `starttls`, `smtps`, or `none` for a server on this machine.
        username: logs in if it is not empty.
        context: whom TLS trusts; None trusts the system's authorities.
        command_s: how long the answer to a command may take.
        final_s: how long the answer to the final dot may take.
        monotonic: a clock in seconds.
    """

    host: str
    port: int
    security: str
    username: str = ""
    password: str = field(default="", repr=False)
    context: ssl.SSLContext | None = None
    command_s: float = COMMAND_S
    final_s: float = FINAL_S
    monotonic: Callable[[], float] = time.monotonic

    @cached_property
    def trust(self) -> ssl.SSLContext:
        return self.context or ssl.create_default_context()

    def __str__(self) -> str:
        return f"the mail server {self.host}:{self.port}"


class SmtpMailer:
    """A mail server that takes our messages; each thread that sends has a session of its own.

    Args:
        oracle: tells of a Message-ID whether the server took it, where somebody knows.
    """

    name = "smtp"

    def __init__(
        self, server: SmtpServer, oracle: Callable[[str], bool | None] = lambda _: None
    ) -> None:
        self.server = server
        self._oracle = oracle
        self._guard = threading.Lock()
        self._idle: list[_Session] = []
        self.cold: tuple[float, str] | None = None
        """Until when no session is opened, and why; None where nothing is wrong."""

    def cool(self, why: str) -> None:
        """Open no session for a while."""
        self.cold = (self.server.monotonic() + COOL_S, why)

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        """Hand over one message to one recipient and return the server's reply.

        Raises:
            MailDeferred: nothing was handed over; the same bytes may be tried again.
            MailRefused: the server refused this message or its recipient for good.
            MailerBroken: no message can be handed over until a person mends something.
            MailUncertain: the connection was lost when only the server knew the outcome.
        """
        sender = message.envelope_sender or _sender_of(message.mime)
        if not _ENVELOPE.fullmatch(sender):
            raise MailerBroken("the message has no sender: correct [mail] from")
        if not _ENVELOPE.fullmatch(message.recipient):
            raise MailRefused("the recipient's address cannot be written in SMTP")
        with self._guard:
            session = self._idle.pop() if self._idle else _Session(self)
        try:
            return session.send(sender, message, about_to_end)
        except BaseException as error:
            if not isinstance(error, MailError):
                session.abandon()
            raise
        finally:
            with self._guard:
                self._idle.append(session)

    def delivered(self, message_id: str) -> bool | None:
        """Tell what the oracle knows; a server itself cannot be asked what it did."""
        return self._oracle(message_id)

    def close(self) -> None:
        """End the sessions; the next message opens another one."""
        with self._guard:
            sessions, self._idle = self._idle, []
        for session in sessions:
            session.close()


class _Session:
    """A connection to the server, kept from one message to the next; for one thread at a time."""

    def __init__(self, mailer: SmtpMailer) -> None:
        self._mailer = mailer
        self._server = mailer.server
        self._smtp: smtplib.SMTP | None = None
        self._used_at = 0.0

    def send(self, sender: str, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        smtp = self._begun(sender)
        pass_by("sender_given")
        self._must(smtp, "rcpt", f"TO:<{message.recipient}>", {250, 251, 252})
        pass_by("recipient_given")
        self._must(smtp, "data", "", {354})
        pass_by("body_begun")
        body = message.mime
        if body.startswith(b".") or b"\n." in body:
            body = re.sub(rb"(?m)^\.", b"..", body)
        try:
            smtp.send(body if body.endswith(b"\r\n") else body + b"\r\n")
        except _LOST as error:
            raise self._lost("while the message was written", error) from error
        pass_by("body_written")
        try:
            about_to_end()
        except BaseException:
            self.abandon()
            raise
        code, text = self._end(smtp)
        if not 200 <= code < 300:
            raise self._failure("the message", code, text)
        self._used_at = self._server.monotonic()
        return _told(code, text)

    def close(self) -> None:
        """End the session; the next message opens another one."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            with suppress(*_LOST):
                if smtp.sock is not None:
                    smtp.sock.settimeout(2)
                smtp.quit()
            smtp.close()

    def abandon(self) -> None:
        """Cut the connection: whatever was begun on it is not ended."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    # -- the session -------------------------------------------------------------------------------

    def _begun(self, sender: str) -> smtplib.SMTP:
        """Return a session that has accepted the sender; one that has ended is replaced."""
        if self._smtp is not None and self._server.monotonic() - self._used_at > IDLE_S:
            self.close()
        if self._smtp is not None:
            with suppress(*_LOST):
                code, text = self._smtp.docmd("mail", f"FROM:<{sender}>")
                if code not in {-1, 421}:
                    return self._welcomed(self._smtp, code, text)
            self.close()
        smtp = self._connected()
        try:
            code, text = smtp.docmd("mail", f"FROM:<{sender}>")
        except _LOST as error:
            raise self._lost("at MAIL", error) from error
        return self._welcomed(smtp, code, text)

    def _welcomed(self, smtp: smtplib.SMTP, code: int, text: bytes) -> smtplib.SMTP:
        if code == 250:
            return smtp
        if 500 <= code < 600 and not _too_large(code, text):
            self.close()
            raise MailerBroken(
                f"{self._server} does not take mail from our address: {_told(code, text)}."
                " Set [mail] from to an address that this account may send from"
            )
        raise self._failure("the sender", code, text)

    def _connected(self) -> smtplib.SMTP:
        cold = self._mailer.cold
        if cold and self._server.monotonic() < cold[0]:
            raise MailDeferred(cold[1])
        self._mailer.cold = None
        try:
            self._smtp = smtp = self._opened()
            self._secure(smtp)
            self._log_in(smtp)
        except BaseException as error:
            self.abandon()
            if isinstance(error, (*_LOST, MailDeferred)):
                raise self._unwelcome(error) from error
            raise
        return smtp

    def _opened(self) -> smtplib.SMTP:
        # Asking DNS for one's own full name, as smtplib would, can take seconds.
        own = socket.gethostname()
        own = own if "." in own else "[127.0.0.1]"
        server = self._server
        patience = min(CONNECT_S, server.command_s)
        smtp: smtplib.SMTP
        if server.security == "smtps":
            tls = server.trust
            smtp = smtplib.SMTP_SSL(server.host, server.port, own, timeout=patience, context=tls)
        else:
            smtp = smtplib.SMTP(server.host, server.port, own, timeout=patience)
        assert smtp.sock is not None  # noqa: S101 - it has greeted us
        smtp.sock.settimeout(server.command_s)
        # The dot is written by itself: without this it would wait for the delayed acknowledgement.
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return smtp

    def _secure(self, smtp: smtplib.SMTP) -> None:
        smtp.ehlo_or_helo_if_needed()
        if self._server.security != "starttls":
            return
        if not smtp.has_extn("starttls"):
            raise MailerBroken(
                f"{self._server} does not offer STARTTLS, and nothing is sent in the clear."
                ' Set [mail] security to "smtps" and its port (465), or to "none" for a server'
                " that you trust on this machine"
            )
        smtp.starttls(context=self._server.trust)
        smtp.ehlo()

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        if not self._server.username:
            return
        try:
            smtp.login(self._server.username, self._server.password)
        except smtplib.SMTPAuthenticationError as error:
            told = _told(error.smtp_code, error.smtp_error)
            if 400 <= error.smtp_code < 500:
                raise MailDeferred(f"{self._server} cannot log us in now: {told}") from error
            raise MailerBroken(
                f"{self._server} refuses user name and password: {told}."
                " Correct [mail] username and TRIAGE_MAIL_PASSWORD; many providers want an app"
                " password"
            ) from error
        except (smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException):
            raise
        except smtplib.SMTPException as error:
            raise MailerBroken(
                f"{self._server} offers no way to log in that this program knows. Check [mail]"
                " security and port, or leave out username if none is needed"
            ) from error
        except UnicodeError as error:
            raise MailerBroken(
                "[mail] username and TRIAGE_MAIL_PASSWORD must be plain ASCII"
            ) from error

    def _unwelcome(self, error: Exception) -> MailDeferred | MailerBroken:
        """Say what it means that no session came about."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return MailerBroken(
                f"{self._server} has no valid certificate: {error.verify_message}. Correct [mail]"
                " host, or install the authority's certificate on this machine"
            )
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return MailerBroken(
                f"{self._server} fails at TLS: {error.reason or 'no common version'}. Check [mail]"
                ' security: "smtps" is for port 465, "starttls" for 587 and 25'
            )
        if isinstance(error, smtplib.SMTPResponseException) and 500 <= error.smtp_code < 600:
            return MailerBroken(
                f"{self._server} does not serve us: {_told(error.smtp_code, error.smtp_error)}."
                " Ask who runs it whether this machine may send through it"
            )
        told = f"{self._server} cannot be used now: {_why(error)}. If it stays so, check [mail]"
        told += " host, port and security"
        self._mailer.cool(told)
        return error if isinstance(error, MailDeferred) else MailDeferred(told)

    # -- one message -------------------------------------------------------------------------------

    def _must(self, smtp: smtplib.SMTP, command: str, rest: str, good: set[int]) -> None:
        """Give a command before the final dot and go on only if it is accepted."""
        try:
            code, text = smtp.docmd(command, rest)
        except _LOST as error:
            raise self._lost(f"at {command.upper()}", error) from error
        if code not in good:
            raise self._failure("the recipient" if command == "rcpt" else "the message", code, text)

    def _end(self, smtp: smtplib.SMTP) -> tuple[int, bytes]:
        """Write the final dot and return the answer; in between the server may own the message."""
        try:
            if smtp.sock is None:
                raise ConnectionResetError("it hung up")
            smtp.sock.settimeout(self._server.final_s)
            smtp.sock.sendall(b".\r\n")
        except ConnectionError as error:
            # The three bytes never left this machine.
            raise self._lost("before the message was ended", error) from error
        except _LOST as error:
            raise self._uncertain(_why(error)) from error
        pass_by("dot_written")
        try:
            code, text = smtp.getreply()
            smtp.sock.settimeout(self._server.command_s)
        except _LOST as error:
            raise self._uncertain(_why(error)) from error
        if not (200 <= code < 300 or 400 <= code < 600):
            raise self._uncertain(f"it answered {_told(code, text)}")
        return code, text

    def _uncertain(self, why: str) -> MailUncertain:
        self.abandon()
        return MailUncertain(
            f"{self._server} had the whole message, but whether it took it is unknown: {why}."
            " `triage outbox list` shows what became of it"
        )

    def _failure(self, what: str, code: int, text: bytes) -> MailDeferred | MailRefused:
        """Say what an answer means that is no success, and make the session fit for the next."""
        told = f"{self._server} answers {_told(code, text)}"
        if code == 421:
            self.abandon()
            self._mailer.cool(told)
        else:
            self._reset()
        if not 500 <= code < 600:
            return MailDeferred(told)
        if _too_large(code, text):
            return MailRefused(told, reason="too_large")
        return MailRefused(told, no_such_mailbox=what == "the recipient" and _is_gone(code, text))

    def _lost(self, when: str, error: Exception) -> MailDeferred:
        self.abandon()
        return MailDeferred(f"{self._server} was lost {when}: {_why(error)}")

    def _reset(self) -> None:
        if self._smtp is not None:
            with suppress(*_LOST):
                if self._smtp.rset()[0] == 250:
                    self._used_at = self._server.monotonic()
                    return
            self.close()


def _sender_of(mime: bytes) -> str:
    head, _, _ = mime.partition(b"\r\n\r\n")
    return parseaddr(str(BytesHeaderParser().parsebytes(head)["From"] or ""))[1]


def _too_large(code: int, text: bytes) -> bool:
    return b"5.3.4" in text or (code == 552 and b"5.2.2" not in text)


def _is_gone(code: int, text: bytes) -> bool:
    """Tell whether an answer to RCPT means that the mailbox is not there, and not that we are bad.

    Policy and blocks (5.7.x) say nothing of the reader, a full mailbox (5.2.2) passes.
    """
    told = text.decode("utf-8", "replace")
    enhanced = _ENHANCED.search(told)
    if enhanced and enhanced[1] != "0":
        return enhanced.groups() in _NO_SUCH_MAILBOX
    return code in {550, 551, 553} and not _ABOUT_US.search(told)


def _told(code: int, text: bytes | str) -> str:
    """Return an answer on one line, without addresses: it is kept and logged."""
    told = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    told = re.sub(r"<?[^\s<>@]+@[^\s<>@]+>?", "(address)", told)
    told = "".join(c if c.isprintable() else " " for c in told)
    return f"{code} {' '.join(told.split())[:200]}".strip()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, smtplib.SMTPResponseException):
        return _told(error.smtp_code, error.smtp_error)
    return re.sub(r"\S+@\S+", "(address)", str(error))[:200] or type(error).__name__
