"""Sends messages by SMTP; a session is used for several messages.

What an answer means (RFC 5321, 4.2; RFC 3463 for the codes with dots):

    connection lost before the final dot, 4xx           not now: MailDeferred
    421, or words that this session had enough          this session ends: MailDeferred
    5xx about us (`refusals`), at any step              no message can be sent: MailerBroken
    any other 5xx                                       never: MailRefused
    no answer after the final dot                       unknown: MailUncertain

The body is written first, and its final dot separately. In between the message is marked as in
doubt. So if the connection is lost before the dot, the message was certainly not delivered.
"""

from __future__ import annotations

import ipaddress
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

from triage.delivery.refusals import Whom, classify, enhanced_code
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
_LOST = (OSError, smtplib.SMTPException)


@dataclass(frozen=True)
class SmtpServer:
    """A mail server and how to connect to it.

    Attributes:
        security: `starttls`, `smtps`, or `none` for a server on this machine.
        username: no login if it is empty.
        context: the TLS context; None trusts the system's certificate authorities.
        command_s: timeout for the answer to a command, in seconds.
        helo_name: how we introduce ourselves; by default our host name or our address.
        final_s: timeout for the answer to the final dot, in seconds.
        monotonic: a clock in seconds.
    """

    host: str
    port: int
    security: str
    username: str = ""
    password: str = field(default="", repr=False)
    context: ssl.SSLContext | None = None
    helo_name: str = ""
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
        self.works = False
        """Whether a message was sent since `close`: then the server only grants less than asked."""
        self.most = 0
        """After how many messages the server ended a session; 0 if it did not."""

    def cool(self, why: str) -> None:
        """Open no session for `COOL_S` seconds, unless others work."""
        if not self.works:
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
                # Without one that is not open, each thread gets back what works.
                if session.is_open:
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
            self.works, self.most = False, 0
        for session in sessions:
            session.close()


class _Session:
    """A connection to the server for several messages; one thread at a time may use it."""

    def __init__(self, mailer: SmtpMailer) -> None:
        self._mailer = mailer
        self._server = mailer.server
        self._smtp: smtplib.SMTP | None = None
        self._used_at = 0.0
        self._n_sent = 0

    @property
    def is_open(self) -> bool:
        return self._smtp is not None

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
            raise self._failure("end", code, text)
        self._used_at = self._server.monotonic()
        self._n_sent += 1
        self._mailer.works, self._mailer.cold = True, None
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
        is_idle = self._server.monotonic() - self._used_at > IDLE_S
        if self._smtp is not None and (is_idle or 0 < self._mailer.most <= self._n_sent):
            self.close()
        if self._smtp is not None:
            with suppress(*_LOST):
                code, text = self._smtp.docmd("mail", f"FROM:<{sender}>")
                if code == 250:
                    return self._smtp
                if code not in {421, -1}:
                    raise self._failure("mail", code, text)
                if code == 421:
                    self._mailer.most = self._n_sent or self._mailer.most
            self.close()
        smtp = self._connect()
        self._command(smtp, "mail", f"FROM:<{sender}>", {250})
        return smtp

    def _connect(self) -> smtplib.SMTP:
        cold = self._mailer.cold
        if cold and self._server.monotonic() < cold[0]:
            raise MailDeferred(cold[1], is_offered=False)
        self._mailer.cold = None
        try:
            self._smtp = smtp = self._open()
            self._secure(smtp)
            self._log_in(smtp)
        except BaseException as error:
            self.abandon()
            if isinstance(error, MailerBroken) or not isinstance(error, Exception):
                raise
            raise self._connect_error(error) from error
        self._n_sent = 0
        return smtp

    def _open(self) -> smtplib.SMTP:
        # smtplib would look up our full host name in DNS, which can take seconds.
        own = "localhost"
        server = self._server
        timeout = min(CONNECT_S, server.command_s)
        smtp: smtplib.SMTP
        if server.security == "smtps":
            tls = server.trust
            smtp = smtplib.SMTP_SSL(server.host, server.port, own, timeout=timeout, context=tls)
        else:
            smtp = smtplib.SMTP(server.host, server.port, own, timeout=timeout)
        assert smtp.sock is not None  # noqa: S101 - it has greeted us
        smtp.local_hostname = server.helo_name or _own_name(smtp.sock)
        smtp.sock.settimeout(server.command_s)
        # Without this the dot, which is written separately, waits for a delayed acknowledgement.
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return smtp

    def _secure(self, smtp: smtplib.SMTP) -> None:
        self._greet(smtp)
        if self._server.security != "starttls":
            return
        if not smtp.has_extn("starttls"):
            raise MailerBroken(
                f"{self._server} does not offer STARTTLS, and mail is not sent unencrypted."
                ' Set [mail] security to "smtps" and port to 465, or security to "none" for a'
                " trusted server on this machine"
            )
        smtp.starttls(context=self._server.trust)
        self._greet(smtp)

    def _greet(self, smtp: smtplib.SMTP) -> None:
        """Say EHLO; HELO only to a server that does not know EHLO (RFC 5321, 3.2)."""
        code, text = smtp.ehlo()
        if not (200 <= code < 300 or (code in {500, 502} and 200 <= smtp.helo()[0] < 300)):
            raise smtplib.SMTPHeloError(code, text)

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
        if isinstance(error, smtplib.SMTPHeloError) and 500 <= error.smtp_code < 600:
            return MailerBroken(
                f"{self._server} does not accept how this machine introduces itself (EHLO):"
                f" {_why(error)}. Set [mail] helo_name to this machine's name in DNS"
            )
        if isinstance(error, smtplib.SMTPResponseException) and 500 <= error.smtp_code < 600:
            return MailerBroken(
                f"{self._server} rejects the connection: {_why(error)}."
                " Ask its operator whether this machine may send through it"
            )
        if not isinstance(error, (*_LOST, MailDeferred)):
            return MailerBroken(
                f"{self._server} cannot be used: {type(error).__name__} while connecting or"
                f" logging in: {_why(error)}. Check [mail] host, security and username"
            )
        why = (
            f"{self._server} cannot be used now: {_why(error)}. If this continues, check [mail]"
            " host, port and security"
        )
        self._mailer.cool(why)
        return MailDeferred(
            str(error) if isinstance(error, MailDeferred) else why, is_offered=False
        )

    # -- one message -------------------------------------------------------------------------------

    def _command(self, smtp: smtplib.SMTP, command: str, rest: str, good: set[int]) -> None:
        """Send a command that comes before the final dot; raise if it is not accepted."""
        try:
            code, text = smtp.docmd(command, rest)
        except _LOST as error:
            raise self._lost(f"at {command.upper()}", error) from error
        if code not in good:
            raise self._failure(command, code, text)

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

    def _failure(self, step: str, code: int, text: bytes) -> MailError:
        """Return the error for an answer that is no success; reset or cut the session."""
        line = _one_line(code, text)
        answer = f"{self._server} answers {line}"
        if not 400 <= code < 600:
            self._reset()
            return MailDeferred(answer)
        words = text.decode("utf-8", "replace")
        blame = classify(step, code, enhanced_code(words), words)
        if blame.kind == "session" and (blame.is_temporary or self._n_sent):
            self.abandon()
            self._mailer.most = self._n_sent or self._mailer.most
            if not self._n_sent:
                self._mailer.cool(answer)
            # What a new session is told at once may be about this message.
            return MailDeferred(answer, is_offered=step != "mail" and not self._n_sent)
        self._reset()
        if blame.is_temporary:
            return MailDeferred(
                answer,
                is_unreachable=blame.is_unreachable,
                # MAIL says nothing of a message but its sender, which all of them share.
                is_offered=step != "mail" or blame.kind == "greylisted",
                is_about_us=blame.whom is Whom.US and blame.kind not in {"greylisted", "unknown"},
            )
        if blame.whom is Whom.US:
            self.close()
            where = "our message" if step == "end" else step.upper()
            return MailerBroken(
                f"{self._server} refuses us, in its answer to {where}: {line}. {blame.advice}"
            )
        return MailRefused(
            answer,
            reason="too_large" if blame.kind == "too_large" else "refused",
            no_such_mailbox=blame.kind == "gone",
            is_unreachable=blame.is_unreachable,
        )

    def _lost(self, when: str, error: Exception) -> MailDeferred:
        self.abandon()
        why = f"the connection to {self._server} was lost {when}: {_why(error)}"
        return MailDeferred(why, is_offered=not self._n_sent)

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


def _own_name(sock: socket.socket) -> str:
    """Return our name for EHLO: a domain, or an address that is not loopback (RFC 5321, 4.1.3)."""
    name = socket.gethostname()
    if re.fullmatch(r"(?!localhost)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", name):
        return name
    address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    if address.is_loopback:
        # The server is on this machine, so any domain does.
        return "triage.localdomain"
    return f"[{'IPv6:' if address.version == 6 else ''}{address}]"


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
