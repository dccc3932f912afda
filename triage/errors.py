"""Every error that triage raises on purpose.

    TriageError
    ├── ConfigError              the config file, a secret or an option is wrong        exit 2
    ├── DatabaseError            missing, not migrated, locked, full or damaged         exit 1
    │   └── SchemaError          the schema is older or newer than this program         exit 1
    ├── SourceError              a source could not be read at all                      exit 3
    │   └── RejectedRecord       one record of a source could not be used
    ├── NotFound                 a paper, subscriber, digest or model does not exist    exit 1
    ├── ModelError               an encoder or scorer file is missing, damaged, foreign exit 1
    ├── NotEnoughFeedback        there is too little to train on                        exit 1
    ├── MessageError             a message would not be lawful or safe to send        exit 1
    ├── InboxError               a mailbox that should be read cannot be                exit 1
    ├── TokenError               a link's token is malformed, forged or for something else
    │   └── TokenExpired         it was good once; its time is over
    └── MailError                a message could not be handed over
        ├── MailDeferred         not now: try the same bytes again later
        ├── MailRefused          never: the receiver refused for good
        ├── MailUncertain        only the receiver knows: it had all of it and gave no answer
        └── MailerBroken         no message would go: a person must mend something first

`str(error)` says what is wrong and what to do about it; it never holds a secret or an address.
"""

from __future__ import annotations


class TriageError(Exception):
    """Base of the tree. `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(TriageError):
    exit_code = 2


class DatabaseError(TriageError):
    pass


class SchemaError(DatabaseError):
    pass


class SourceError(TriageError):
    exit_code = 3


class RejectedRecord(SourceError):
    """One record that cannot be used; the ones around it can."""


class NotFound(TriageError):
    pass


class ModelError(TriageError):
    pass


class NotEnoughFeedback(TriageError):
    pass


class BadBenchmark(TriageError):
    """A benchmark's files are not what they should be."""

    exit_code = 2


class MessageError(TriageError):
    pass


class InboxError(TriageError):
    pass


class TokenError(TriageError):
    pass


class TokenExpired(TokenError):
    pass


class MailError(TriageError):
    pass


class MailDeferred(MailError):
    pass


class MailRefused(MailError):
    """The receiver refused for good.

    Attributes:
        reason: one word for the outbox.
        no_such_mailbox: nothing sent to this address will ever arrive.
    """

    def __init__(
        self, message: str, *, reason: str = "refused", no_such_mailbox: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.no_such_mailbox = no_such_mailbox


class MailUncertain(MailError):
    pass


class MailerBroken(MailError):
    pass
