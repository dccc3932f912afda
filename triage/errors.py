"""All errors that triage raises on purpose.

`str(error)` says what is wrong and what to do. It never contains a secret or an address.
"""

from __future__ import annotations


class TriageError(Exception):
    """Base class of all errors. The command line exits with `exit_code`."""

    exit_code = 1


class ConfigError(TriageError):
    """The config file, a secret or an option is wrong."""

    exit_code = 2


class DatabaseError(TriageError):
    """The database is missing, not migrated, locked, full or damaged."""


class SchemaError(DatabaseError):
    """The schema is older or newer than this program."""


class SourceError(TriageError):
    """A source cannot be read at all."""

    exit_code = 3


class NoAnswerInTime(SourceError):
    """A source did not answer before the deadline of the caller."""


class RejectedRecord(SourceError):
    """One record of a source cannot be used; the others can."""


class NotFound(TriageError):
    """A paper, subscriber, digest or model does not exist."""


class ModelError(TriageError):
    """An encoder or scorer file is missing, damaged or not from this installation."""


class NotEnoughFeedback(TriageError):
    """There are too few votes to train."""


class BadBenchmark(TriageError):
    """A file of a benchmark has wrong content."""

    exit_code = 2


class MessageError(TriageError):
    """A message would not be lawful or safe to send."""


class InboxError(TriageError):
    """A mailbox cannot be read."""


class TokenError(TriageError):
    """The token of a link is malformed, forged or for another purpose."""


class TooManyRequests(TriageError):
    """A network has asked too often; `retry_after_s` tells in how many seconds it may again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TokenExpired(TokenError):
    """The token was valid, but is too old now."""


class MailError(TriageError):
    """A message could not be handed over."""


class MailDeferred(MailError):
    """The server does not accept the message now: send the same bytes again later.

    Attributes:
        is_offered: False if the session ended, or our address was refused, before the server was
            asked about the message.
        is_unreachable: the mailbox is full or cannot be reached.
        is_about_us: no other message would be accepted now, either.
    """

    def __init__(
        self,
        message: str,
        *,
        is_offered: bool = True,
        is_unreachable: bool = False,
        is_about_us: bool = False,
    ) -> None:
        super().__init__(message)
        self.is_offered = is_offered
        self.is_unreachable = is_unreachable
        self.is_about_us = is_about_us


class MailRefused(MailError):
    """The server refuses the message permanently.

    Attributes:
        reason: one word for the outbox.
        no_such_mailbox: the server says that there is no mailbox with this address.
        is_unreachable: the mailbox is full or cannot be reached.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "refused",
        no_such_mailbox: bool = False,
        is_unreachable: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.no_such_mailbox = no_such_mailbox
        self.is_unreachable = is_unreachable


class MailUncertain(MailError):
    """The server got the whole message but gave no answer, so it may have accepted it."""


class MailerBroken(MailError):
    """No message can be sent until a person repairs something."""
