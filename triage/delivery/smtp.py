"""Sends messages by SMTP; a session is used for several messages.

What an answer means (RFC 5321, 4.2; RFC 3463 for the codes with dots):

    connection lost, 4xx, 421 before the final dot      not now: MailDeferred
    5xx to RCPT or DATA                                 never: MailRefused
    certificate, login or sender not accepted           no message can be sent: MailerBroken
    no answer after the final dot                       unknown: MailUncertain

The body is written first, and its final dot separately. In between the message is marked as in
doubt. So if the connection is lost before the dot, the message was certainly not delivered.
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

from triage.domain.crash_points import crash_point
from triage.domain.records import OutgoingMessage
from triage.errors import MailDeferred, MailerBroken, MailError, MailRefused, MailUncertain

CONNECT_S = 30.0
# RFC 5321, 4.5.3.2: five minutes for a command, ten for the answer to the final dot.
COMMAND_S = 300.0
FINAL_S = 600.0
# Servers and routers drop idle connections, some without notice.
IDLE_S = 30.0
# So long after a failed connection no message opens another one.
COOL_S = 60.0

_ENVELOPE = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")
_ENHANCED = re.compile(r"\b5\.(\d{1,3})\.(\d{1,3})\b")
_NO_SUCH_MAILBOX = {("1", minor) for minor in ("0", "1", "2", "3", "6", "10")} | {("2", "1")}
_ABOUT_US = re.compile(r"spam|block|list|polic|relay|denied|reputation|auth|spf|dkim|dmarc", re.I)
_LOST = (OSError, smtplib.SMTPException)


@dataclass(frozen=True)
class SmtpServer:
    """A mail server and how to connect to it.

    Attributes:
        security: `starttls`, `smtps`, or `none` for a server on this machine.
        username: no login if it is empty.
        context: the TLS context; None trusts the system's certificate authorities.
        command_s: timeout for the answer to a command, in seconds.
        final_s: timeout for the answer to the final dot, in seconds.
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
    """Sends through a mail server; each sending thread has its own session.

    Args:
        oracle: returns whether the server took the message of a Message-ID; None if unknown.
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
        """Until when no session is opened (by the monotonic clock), and why; None for no limit."""

    def cool(self, why: str) -> None:
        """Open no session for `COOL_S` seconds."""
        self.cold = (self.server.monotonic() + COOL_S, why)

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        """Send one message to one recipient; return the server's reply.

        Raises:
            MailDeferred: the message was not sent; the same bytes may be tried again.
            MailRefused: the server refused this message or its recipient permanently.
            MailerBroken: no message can be sent until an operator corrects something.
            MailUncertain: there was no answer to the final dot, so the outcome is unknown.
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

    def greet(self) -> str:
        """Connect and log in without sending mail; return the steps that were done.

        Raises:
            MailDeferred, MailerBroken: see `send`.
        """
        return _Session(self).greet()

    def delivered(self, message_id: str) -> bool | None:
        """Return what the oracle reports; SMTP has no command for this."""
        return self._oracle(message_id)

    def close(self) -> None:
        """Close all sessions; the next message opens a new one."""
        with self._guard:
            sessions, self._idle = self._idle, []
        for session in sessions:
            session.close()


class _Session:
    """A connection to the server for several messages; one thread at a time may use it."""

    def __init__(self, mailer: SmtpMailer) -> None:
        self._mailer = mailer
        self._server = mailer.server
        self._smtp: smtplib.SMTP | None = None
        self._used_at = 0.0

    def send(self, sender: str, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        smtp = self._begin(sender)
        crash_point("sender_given")
        self._command(smtp, "rcpt", f"TO:<{message.recipient}>", {250, 251, 252})
        crash_point("recipient_given")
        self._command(smtp, "data", "", {354})
        crash_point("body_begun")
        body = message.mime
        if body.startswith(b".") or b"\n." in body:
            body = re.sub(rb"(?m)^\.", b"..", body)
        try:
            smtp.send(body if body.endswith(b"\r\n") else body + b"\r\n")
        except _LOST as error:
            raise self._lost("while the message was written", error) from error
        crash_point("body_written")
        try:
            about_to_end()
        except BaseException:
            self.abandon()
            raise
        code, text = self._end(smtp)
        if not 200 <= code < 300:
            raise self._failure(code, text)
        self._used_at = self._server.monotonic()
        return _one_line(code, text)

    def greet(self) -> str:
        smtp = self._connect()
        tls = [str(smtp.sock.version())] if isinstance(smtp.sock, ssl.SSLSocket) else []
        self.close()
        return ", ".join(["greeted", *tls, *(["logged in"] if self._server.username else [])])

    def close(self) -> None:
        """End the session politely; the next message opens a new one."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            with suppress(*_LOST):
                if smtp.sock is not None:
                    smtp.sock.settimeout(2)
                smtp.quit()
            smtp.close()

    def abandon(self) -> None:
        """Cut the connection, so that the server drops an incomplete message."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    # -- the session -------------------------------------------------------------------------------

    def _begin(self, sender: str) -> smtplib.SMTP:
        """Return a connection on which the sender was accepted; open a new one if needed."""
        if self._smtp is not None and self._server.monotonic() - self._used_at > IDLE_S:
            self.close()
        if self._smtp is not None:
            with suppress(*_LOST):
                code, text = self._smtp.docmd("mail", f"FROM:<{sender}>")
                if code not in {-1, 421}:
                    return self._check_sender(self._smtp, code, text)
            self.close()
        smtp = self._connect()
        try:
            code, text = smtp.docmd("mail", f"FROM:<{sender}>")
        except _LOST as error:
            raise self._lost("at MAIL", error) from error
        return self._check_sender(smtp, code, text)

    def _check_sender(self, smtp: smtplib.SMTP, code: int, text: bytes) -> smtplib.SMTP:
        if code == 250:
            return smtp
        if 500 <= code < 600 and not _too_large(code, text):
            self.close()
            raise MailerBroken(
                f"{self._server} does not accept mail from our address: {_one_line(code, text)}."
                " Set [mail] from to an address that this account may send from"
            )
        raise self._failure(code, text)

    def _connect(self) -> smtplib.SMTP:
        cold = self._mailer.cold
        if cold and self._server.monotonic() < cold[0]:
            raise MailDeferred(cold[1])
        self._mailer.cold = None
        try:
            self._smtp = smtp = self._open()
            self._secure(smtp)
            self._log_in(smtp)
        except BaseException as error:
            self.abandon()
            if isinstance(error, (*_LOST, MailDeferred)):
                raise self._connect_error(error) from error
            raise
        return smtp

    def _open(self) -> smtplib.SMTP:
        # smtplib would look up our full host name in DNS, which can take seconds.
        own = socket.gethostname()
        own = own if "." in own else "[127.0.0.1]"
        server = self._server
        timeout = min(CONNECT_S, server.command_s)
        smtp: smtplib.SMTP
        if server.security == "smtps":
            tls = server.trust
            smtp = smtplib.SMTP_SSL(server.host, server.port, own, timeout=timeout, context=tls)
        else:
            smtp = smtplib.SMTP(server.host, server.port, own, timeout=timeout)
        assert smtp.sock is not None  # noqa: S101 - it has greeted us
        smtp.sock.settimeout(server.command_s)
        # Without this the dot, which is written separately, waits for a delayed acknowledgement.
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return smtp

    def _secure(self, smtp: smtplib.SMTP) -> None:
        smtp.ehlo_or_helo_if_needed()
        if self._server.security != "starttls":
            return
        if not smtp.has_extn("starttls"):
            raise MailerBroken(
                f"{self._server} does not offer STARTTLS, and mail is not sent unencrypted."
                ' Set [mail] security to "smtps" and port to 465, or security to "none" for a'
                " trusted server on this machine"
            )
        smtp.starttls(context=self._server.trust)
        smtp.ehlo()

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        if not self._server.username:
            return
        try:
            smtp.login(self._server.username, self._server.password)
        except smtplib.SMTPAuthenticationError as error:
            answer = _one_line(error.smtp_code, error.smtp_error)
            if 400 <= error.smtp_code < 500:
                raise MailDeferred(f"{self._server} cannot log us in now: {answer}") from error
            raise MailerBroken(
                f"{self._server} refuses the user name or password: {answer}."
                " Correct [mail] username and TRIAGE_MAIL_PASSWORD; many providers require an app"
                " password"
            ) from error
        except (smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException):
            raise
        except smtplib.SMTPException as error:
            raise MailerBroken(
                f"{self._server} offers no login method that this program supports. Check [mail]"
                " security and port, or remove username if no login is needed"
            ) from error
        except UnicodeError as error:
            raise MailerBroken(
                "[mail] username and TRIAGE_MAIL_PASSWORD must be plain ASCII"
            ) from error

    def _connect_error(self, error: Exception) -> MailDeferred | MailerBroken:
        """Return the error for a failed connection; after a temporary one, cool the mailer."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return MailerBroken(
                f"{self._server} has no valid certificate: {error.verify_message}. Correct [mail]"
                " host, or install the certificate of its authority on this machine"
            )
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return MailerBroken(
                f"TLS fails with {self._server}: {error.reason or 'no common version'}. Check"
                ' [mail] security: use "smtps" for port 465, "starttls" for ports 587 and 25'
            )
        if isinstance(error, smtplib.SMTPResponseException) and 500 <= error.smtp_code < 600:
            return MailerBroken(
                f"{self._server} rejects the connection: {_why(error)}."
                " Ask its operator whether this machine may send through it"
            )
        why = (
            f"{self._server} cannot be used now: {_why(error)}. If this continues, check [mail]"
            " host, port and security"
        )
        self._mailer.cool(why)
        return error if isinstance(error, MailDeferred) else MailDeferred(why)

    # -- one message -------------------------------------------------------------------------------

    def _command(self, smtp: smtplib.SMTP, command: str, rest: str, good: set[int]) -> None:
        """Send a command that comes before the final dot; raise if it is not accepted."""
        try:
            code, text = smtp.docmd(command, rest)
        except _LOST as error:
            raise self._lost(f"at {command.upper()}", error) from error
        if code not in good:
            raise self._failure(code, text, at_rcpt=command == "rcpt")

    def _end(self, smtp: smtplib.SMTP) -> tuple[int, bytes]:
        """Write the final dot and return the answer; in between the outcome is unknown."""
        try:
            if smtp.sock is None:
                raise ConnectionResetError("it closed the connection")
            smtp.sock.settimeout(self._server.final_s)
            smtp.sock.sendall(b".\r\n")
        except ConnectionError as error:
            # The three bytes never left this machine.
            raise self._lost("before the message was ended", error) from error
        except _LOST as error:
            raise self._uncertain(_why(error)) from error
        crash_point("dot_written")
        try:
            code, text = smtp.getreply()
            smtp.sock.settimeout(self._server.command_s)
        except _LOST as error:
            raise self._uncertain(_why(error)) from error
        if not (200 <= code < 300 or 400 <= code < 600):
            raise self._uncertain(f"it answered {_one_line(code, text)}")
        return code, text

    def _uncertain(self, why: str) -> MailUncertain:
        self.abandon()
        return MailUncertain(
            f"{self._server} received the whole message, but it is unknown whether it accepted it:"
            f" {why}. `triage outbox list` shows the outcome later"
        )

    def _failure(
        self, code: int, text: bytes, *, at_rcpt: bool = False
    ) -> MailDeferred | MailRefused:
        """Return the error for an answer that is no success; reset or cut the session."""
        answer = f"{self._server} answers {_one_line(code, text)}"
        if code == 421:
            self.abandon()
            self._mailer.cool(answer)
        else:
            self._reset()
        if not 500 <= code < 600:
            return MailDeferred(answer)
        if _too_large(code, text):
            return MailRefused(answer, reason="too_large")
        return MailRefused(answer, no_such_mailbox=at_rcpt and _is_gone(code, text))

    def _lost(self, when: str, error: Exception) -> MailDeferred:
        self.abandon()
        return MailDeferred(f"the connection to {self._server} was lost {when}: {_why(error)}")

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
    """Return whether an answer to RCPT means that the mailbox does not exist.

    Policy and blocks (5.7.x) say nothing about the mailbox; a full mailbox (5.2.2) is temporary.
    """
    answer = text.decode("utf-8", "replace")
    enhanced = _ENHANCED.search(answer)
    if enhanced and enhanced[1] != "0":
        return enhanced.groups() in _NO_SUCH_MAILBOX
    return code in {550, 551, 553} and not _ABOUT_US.search(answer)


def _one_line(code: int, text: bytes | str) -> str:
    """Return an answer on one line, without mail addresses, since it is stored and logged."""
    answer = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    answer = re.sub(r"<?[^\s<>@]+@[^\s<>@]+>?", "(address)", answer)
    answer = "".join(c if c.isprintable() else " " for c in answer)
    return f"{code} {' '.join(answer.split())[:200]}".strip()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, smtplib.SMTPResponseException):
        return _one_line(error.smtp_code, error.smtp_error)
    return re.sub(r"\S+@\S+", "(address)", str(error))[:200] or type(error).__name__
