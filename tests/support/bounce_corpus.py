"""Messages as they come back to a sender of digests; every one of them is synthetic.

They are modelled on what the named programs and providers write. Each is about one digest, whose
address to bounce to and tokens the caller gives, so that it can be told for any reader and day.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from triage.delivery.bounces.classify import Kind


@dataclass(frozen=True)
class About:
    """A digest and its reader.

    Attributes:
        sender: the address that it was sent from and comes back to.
        leave: the address in its List-Unsubscribe.
        link: the token of its link to unsubscribe.
    """

    reader: str
    sender: str
    leave: str
    link: str
    mailbox: str = "bounces@triage.example"
    contact: str = "help@triage.example"

    def original(self, *, envelope: bool = False, mailto: bool = False, web: bool = False) -> str:
        """Return the head of the digest, with as much that names it as a reporter lets stand."""
        lines = [
            *([f"Return-Path: <{self.sender}>"] if envelope else []),
            "From: triage <digest@triage.example>",
            f"To: {self.reader}",
            "Subject: 6 papers: blocked sparse attention, spam filters, user unknown",
            "Date: Mon, 02 Mar 2026 06:30:00 +0000",
            *([f"List-Unsubscribe: <https://triage.example/u/{self.link}>"] if web else []),
            *([f"List-Unsubscribe: <mailto:{self.leave}?subject=unsubscribe>"] if mailto else []),
            "Content-Type: text/plain; charset=utf-8",
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Case:
    """A message and what it is."""

    name: str
    kind: Kind
    write: Callable[[About], str]

    def raw(self, about: About) -> bytes:
        return self.write(about).encode("utf-8").replace(b"\n", b"\r\n")


CASES: list[Case] = []
DAEMON = "MAILER-DAEMON@mx.example.net (Mail Delivery System)"
COPY = "\n\nThe policy of this paper: spam is blocked, 550 5.7.1 denied, 5.1.1 user unknown.\n"


def case(name: str, kind: Kind) -> Callable[[Callable[[About], str]], Callable[[About], str]]:
    def keep(write: Callable[[About], str]) -> Callable[[About], str]:
        CASES.append(Case(name, kind, write))
        return write

    return keep


def mail(to: str, sender: str, subject: str, text: str, *headers: str) -> str:
    lines = [
        *[header for header in headers if header.startswith(("Return-Path:", "Delivered-To:"))],
        "Received: from mx.example.net by mail.triage.example; Mon, 2 Mar 2026 07:00:00 +0000",
        f"From: {sender}",
        f"To: {to}",
        f"Subject: {subject}",
        "Date: Mon, 02 Mar 2026 07:00:00 +0000",
        f"Message-ID: <{zlib.crc32(f'{to} {subject}'.encode()):08x}@mx.example.net>",
        *[header for header in headers if not header.startswith(("Return-Path:", "Delivered-To:"))],
    ]
    return "\n".join(lines) + "\n\n" + text + "\n"


def multipart(
    to: str, sender: str, subject: str, report_type: str, parts: list[tuple[str, str]], *more: str
) -> str:
    body = "This is a MIME-encapsulated message.\n"
    for kind, content in parts:
        body += f"\n--part\nContent-Type: {kind}\n\n{content}\n"
    return mail(
        to,
        sender,
        subject,
        body + "\n--part--\n",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={report_type}; boundary="part"',
        *more,
    )


def dsn(
    about: About,
    status: str,
    diagnostic: str,
    *,
    action: str = "failed",
    said: str = "Your message could not be delivered.",
    subject: str = "Undelivered Mail Returned to Sender",
    sender: str = DAEMON,
    to: str = "",
    more: str = "",
    headers: tuple[str, ...] = ("Auto-Submitted: auto-replied",),
) -> str:
    fields = (
        f"Reporting-MTA: dns; mx.example.net\nArrival-Date: Mon, 2 Mar 2026 06:31:00 +0000\n{more}"
    )
    fields += f"\nFinal-Recipient: rfc822; {about.reader}\n"
    fields += f"Original-Recipient: rfc822;{about.reader}\n"
    fields += f"Action: {action}\nStatus: {status}\n"
    fields += f"Diagnostic-Code: {diagnostic}\n" if diagnostic else ""
    parts = [
        ("text/plain; charset=us-ascii", f"{said}\n\n<{about.reader}>: {diagnostic}"),
        ("message/delivery-status", fields),
        ("message/rfc822", about.original() + COPY),
    ]
    return multipart(to or about.sender, sender, subject, "delivery-status", parts, *headers)


def dsn_case(name: str, kind: Kind, status: str, diagnostic: str, **options: str) -> None:
    CASES.append(Case(name, kind, lambda about: dsn(about, status, diagnostic, **options)))  # type: ignore[arg-type]


# -- the mailbox is not there ----------------------------------------------------------------------

dsn_case(
    "postfix 5.1.1",
    Kind.HARD,
    "5.1.1",
    "smtp; 550 5.1.1 <reader@example.org>: Recipient address rejected: User unknown in virtual"
    "\n    mailbox table",
)
dsn_case("postfix lmtp", Kind.HARD, "5.1.1", "smtp; 550 5.1.1 <reader> User doesn't exist: reader")
dsn_case(
    "exchange online 5.1.10",
    Kind.HARD,
    "5.1.10",
    "smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient reader@example.org not found by"
    " SMTP address lookup",
    subject="Undeliverable: 6 papers",
    sender="<MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.org>",
)
dsn_case(
    "exchange on premises 5.1.1",
    Kind.HARD,
    "5.1.1",
    "smtp;550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found",
    subject="Undeliverable: 6 papers",
    sender='"postmaster@example.org" <postmaster@example.org>',
)
dsn_case(
    "gmail no such user",
    Kind.HARD,
    "5.1.1",
    "smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try\n"
    " 550-5.1.1 double-checking the recipient's email address for typos or\n"
    " 550-5.1.1 unnecessary spaces. 550 5.1.1 https://support.example/?p=NoSuchUser - gsmtp",
    subject="Delivery Status Notification (Failure)",
    sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
)
dsn_case(
    "gmail disabled 5.2.1",
    Kind.HARD,
    "5.2.1",
    "smtp; 550 5.2.1 The email account that you tried to reach is disabled. - gsmtp",
    subject="Delivery Status Notification (Failure)",
    sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
)
dsn_case(
    "sendmail 5.1.1",
    Kind.HARD,
    "5.1.1",
    "SMTP; 550 5.1.1 <reader@example.org>... User unknown",
    subject="Returned mail: see transcript for details",
    said="   ----- The following addresses had permanent fatal errors -----",
)
dsn_case(
    "exim report without a telling code",
    Kind.HARD,
    "5.0.0",
    "smtp; 550 No such user here",
    subject="Mail delivery failed: returning message to sender",
)
dsn_case(
    "amazon ses",
    Kind.HARD,
    "5.1.1",
    "smtp; 550 5.1.1 user unknown",
    sender="MAILER-DAEMON@amazonses.com",
    subject="Delivery Status Notification (Failure)",
)
dsn_case(
    "one passed on, one failed",
    Kind.HARD,
    "5.1.1",
    "smtp; 550 5.1.1 unknown user",
    more="\nFinal-Recipient: rfc822; copy@example.org\nAction: relayed\nStatus: 2.0.0\n",
)


@case("exim in words", Kind.HARD)
def _(about: About) -> str:
    text = f"""This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {about.reader}
    host mx.example.org [192.0.2.1]
    SMTP error from remote mail server after RCPT TO:<{about.reader}>:
    550 5.1.1 <{about.reader}>: Recipient address rejected: User unknown

------ This is a copy of the message, including all the headers. ------

{about.original()}{COPY}"""
    return mail(
        about.sender,
        "Mail Delivery System <Mailer-Daemon@mx.example.net>",
        "Mail delivery failed: returning message to sender",
        text,
        "Auto-Submitted: auto-replied",
        f"X-Failed-Recipients: {about.reader}",
    )


@case("exim cannot route", Kind.HARD)
def _(about: About) -> str:
    text = f"""This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {about.reader}
    Unrouteable address

------ This is a copy of the message, including all the headers. ------

{about.original()}"""
    return mail(
        about.sender,
        "Mail Delivery System <Mailer-Daemon@mx.example.net>",
        "Mail delivery failed: returning message to sender",
        text,
        "Auto-Submitted: auto-replied",
        f"X-Failed-Recipients: {about.reader}",
    )


def qmail(about: About, why: str) -> str:
    text = f"""Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{about.reader}>:
{why}

--- Below this line is a copy of the message.

Return-Path: <{about.sender}>
{about.original()}{COPY}"""
    return mail(about.sender, "MAILER-DAEMON@mx.example.net", "failure notice", text)


@case("qmail no mailbox", Kind.HARD)
def _(about: About) -> str:
    return qmail(about, "Sorry, no mailbox here by that name. (#5.1.1)")


@case("qmail remote refusal", Kind.HARD)
def _(about: About) -> str:
    why = "192.0.2.7 does not like recipient.\nRemote host said: 550 unknown user\nGiving up on it."
    return qmail(about, why)


@case("yahoo in words", Kind.HARD)
def _(about: About) -> str:
    text = f"""Message from yahoo.example.
Unable to deliver message to the following address(es).

<{about.reader}>:
This user doesn't have a yahoo.example account ({about.reader}) [0]

--- Original message follows.

{about.original()}"""
    return mail(about.sender, "MAILER-DAEMON@yahoo.example", "Failure Notice", text)


@case("postfix report without its fields", Kind.HARD)
def _(about: About) -> str:
    text = f"""--part
Content-Description: Notification
Content-Type: text/plain

This is the Postfix program at host mx.example.net.

                   The Postfix program

<{about.reader}>: unknown user: "reader"

--part
Content-Type: message/rfc822

{about.original()}{COPY}
--part--
"""
    head = 'Content-Type: multipart/mixed; boundary="part"'
    return mail(about.sender, DAEMON, "Undelivered Mail Returned to Sender", text, head)


# -- it cannot be reached, or is full --------------------------------------------------------------

dsn_case(
    "postfix gave up",
    Kind.SOFT,
    "4.4.1",
    "X-Postfix; connect to mx.example.org[192.0.2.1]:25: Connection timed out",
)
dsn_case(
    "postfix over quota",
    Kind.SOFT,
    "5.2.2",
    "smtp; 552 5.2.2 <reader@example.org> Quota exceeded (mailbox for user is full)",
)
dsn_case(
    "gmail over quota",
    Kind.SOFT,
    "4.2.2",
    "smtp; 452-4.2.2 The recipient's inbox is out of storage space. 452 4.2.2 - gsmtp",
    sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
)
dsn_case(
    "exchange full",
    Kind.SOFT,
    "5.2.2",
    "smtp;554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException",
    sender="postmaster@example.org",
)
dsn_case(
    "exchange expired",
    Kind.SOFT,
    "4.4.7",
    "smtp;550 4.4.7 QUEUE.Expired; message expired",
    sender="postmaster@example.org",
)
dsn_case(
    "postfix finds no host",
    Kind.SOFT,
    "5.4.4",
    "X-Postfix; Host or domain name not found. Name service error for name=example.org type=A:"
    " Host not found",
)
dsn_case(
    "outlook does not say",
    Kind.SOFT,
    "5.5.0",
    "smtp;550 5.5.0 Requested action not taken: mailbox unavailable.",
)


@case("exim gave up", Kind.SOFT)
def _(about: About) -> str:
    text = f"""This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {about.reader}
    retry timeout exceeded

------ This is a copy of the message, including all the headers. ------

{about.original()}{COPY}"""
    return mail(
        about.sender,
        "Mail Delivery System <Mailer-Daemon@mx.example.net>",
        "Mail delivery failed: returning message to sender",
        text,
        f"X-Failed-Recipients: {about.reader}",
        "Auto-Submitted: auto-replied",
    )


@case("qmail gave up", Kind.SOFT)
def _(about: About) -> str:
    return qmail(
        about,
        "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
        "I'm not going to try again; this message has been in the queue too long.",
    )


# -- we are not liked ------------------------------------------------------------------------------

dsn_case(
    "postfix 5.7.1",
    Kind.POLICY,
    "5.7.1",
    "smtp; 554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using zen.example",
)
dsn_case(
    "gmail not authenticated",
    Kind.POLICY,
    "5.7.26",
    "smtp; 550-5.7.26 This mail has been blocked because the sender is unauthenticated. - gsmtp",
)
dsn_case(
    "outlook 5.7.515",
    Kind.POLICY,
    "5.7.515",
    "smtp;550 5.7.515 Access denied, sending domain does not meet the required level",
)
dsn_case(
    "exchange restricted",
    Kind.POLICY,
    "5.7.1",
    "smtp;550 5.7.1 RESOLVER.RST.AuthRequired; authentication required",
    sender="postmaster@example.org",
)
dsn_case(
    "spam with a code that lies",
    Kind.POLICY,
    "5.1.1",
    "smtp; 550 5.1.1 Message identified as SPAM, see our list of blocked senders",
)
dsn_case(
    "spam without a code",
    Kind.POLICY,
    "5.0.0",
    "smtp; 554 Blocked - see https://support.example/bad-reputation",
)
dsn_case(
    "code within, policy outside",
    Kind.POLICY,
    "5.0.0",
    "smtp; 550 5.7.1 Mail rejected by content filter",
)
dsn_case(
    "our domain is not found",
    Kind.POLICY,
    "5.1.8",
    "smtp; 553 5.1.8 <sender>: Sender address rejected: Domain not found",
)
dsn_case(
    "too large for them", Kind.POLICY, "5.3.4", "smtp; 552 5.3.4 Message size exceeds fixed limit"
)
dsn_case(
    "gmail too many", Kind.POLICY, "4.7.28", "smtp; 421-4.7.28 unusual rate of mail from your IP"
)


@case("exim blocked", Kind.POLICY)
def _(about: About) -> str:
    text = f"""This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {about.reader}
    SMTP error from remote mail server after end of data:
    550 rejected because 192.0.2.9 is in a black list at zen.example

------ This is a copy of the message, including all the headers. ------

{about.original()}"""
    return mail(
        about.sender,
        "Mail Delivery System <Mailer-Daemon@mx.example.net>",
        "Mail delivery failed: returning message to sender",
        text,
        f"X-Failed-Recipients: {about.reader}",
    )


@case("qmail took it for spam", Kind.POLICY)
def _(about: About) -> str:
    return qmail(
        about, "192.0.2.7 failed after I sent the message.\n554 spam score too high (#5.7.1)"
    )


# -- reports of no failure -------------------------------------------------------------------------

dsn_case(
    "sendmail still tries",
    Kind.NOTICE,
    "4.4.1",
    "smtp; 451 4.4.1 reply: read error",
    action="delayed",
    subject="Warning: could not send message for past 4 hours",
)
dsn_case(
    "postfix delivered it",
    Kind.NOTICE,
    "2.0.0",
    "smtp; 250 2.0.0 Ok: queued as 4F3",
    action="delivered",
    subject="Successful Mail Delivery Report",
)
dsn_case(
    "exchange passed it on",
    Kind.NOTICE,
    "2.0.0",
    "",
    action="relayed",
    subject="Relayed: 6 papers",
    sender="postmaster@example.org",
)


@case("exim still tries", Kind.NOTICE)
def _(about: About) -> str:
    text = f"""This message was created automatically by mail delivery software.
A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue on mx.example.net.

The address to which the message has not yet been delivered is:

  {about.reader}

No action is required on your part. Delivery attempts will continue for
some time, and this warning may be repeated at intervals.
"""
    return mail(
        about.sender,
        "Mail Delivery System <Mailer-Daemon@mx.example.net>",
        "Warning: message 1abc delayed 24 hours",
        text,
    )


# -- complaints ------------------------------------------------------------------------------------


def feedback(
    about: About, says: str, original: str, *fields: str, headers_only: bool = False
) -> str:
    report = "\n".join(
        [f"Feedback-Type: {says}", "User-Agent: Feedback/1.0", "Version: 1", *fields]
    )
    parts = [
        ("text/plain", "This is an email abuse report for a message received on 2 March 2026."),
        ("message/feedback-report", report + "\n"),
        ("text/rfc822-headers" if headers_only else "message/rfc822", original),
    ]
    to, sender = "fbl@triage.example", "feedback@mx.example.net"
    return multipart(to, sender, "FW: 6 papers", "feedback-report", parts)


@case("abuse, by the envelope", Kind.COMPLAINT)
def _(about: About) -> str:
    return feedback(about, "abuse", about.original(), f"Original-Mail-From: <{about.sender}>")


@case("abuse, by the return path", Kind.COMPLAINT)
def _(about: About) -> str:
    return feedback(about, "abuse", about.original(envelope=True) + COPY)


@case("abuse, by the address to unsubscribe", Kind.COMPLAINT)
def _(about: About) -> str:
    return feedback(about, "abuse", about.original(mailto=True) + COPY)


@case("abuse, headers alone", Kind.COMPLAINT)
def _(about: About) -> str:
    return feedback(about, "abuse", about.original(envelope=True), headers_only=True)


@case("abuse, by the link to unsubscribe", Kind.COMPLAINT)
def _(about: About) -> str:
    return feedback(about, "abuse", about.original(web=True) + COPY)


@case("fraud", Kind.COMPLAINT)
def _(about: About) -> str:
    return feedback(about, "fraud", about.original(), f"Original-Mail-From: {about.sender}")


# -- nobody wrote it -------------------------------------------------------------------------------


def away(name: str, subject: str, text: str, *headers: str, sender: str = "") -> None:
    def write(about: About) -> str:
        return mail(about.sender, sender or f"Reader <{about.reader}>", subject, text, *headers)

    CASES.append(Case(name, Kind.AUTO_REPLY, write))


away(
    "vacation by RFC 3834",
    "Auto: 6 papers",
    "I am away until Monday.",
    "Return-Path: <>",
    "Auto-Submitted: auto-replied (vacation)",
)
away("vacation of old", "away from my mail", "I will read it later.", "Precedence: bulk")
away(
    "gmail responder",
    "Out of the office Re: 6 papers",
    "I am hiking.",
    "Auto-Submitted: auto-replied",
    "Precedence: bulk",
    "X-Autoreply: yes",
)
away(
    "outlook responder",
    "Automatic reply: 6 papers",
    "I am out of the office.",
    "X-Auto-Response-Suppress: All",
    "Auto-Submitted: auto-generated",
)
away("outlook in German", "Automatische Antwort: 6 papers", "Ich bin nicht im Büro.")
away("outlook in French", "=?utf-8?q?R=C3=A9ponse_automatique?= : 6 papers", "Je suis absent.")
away("in Japanese", "=?utf-8?b?6Ieq5YuV5b+c562U?=: 6 papers", "外出しております。")
away("without headers", "Out of office", "Back on Friday.")
away(
    "left for good",
    "Automatic reply: 6 papers",
    "This user is no longer active: no such user. Your message could not be delivered to\n"
    "<reader@example.org>: 550 5.1.1 user unknown\n\n- Sorry, no mailbox here by that name.",
    "Auto-Submitted: auto-replied",
)
away("by precedence", "Re: 6 papers", "Thank you for your mail.", "Precedence: auto_reply")
away(
    "a ticket",
    "[Ticket 4711] 6 papers",
    "We have received your request.",
    "Auto-Submitted: auto-generated",
    sender="Support <support@example.org>",
)
away(
    "challenge by TMDA",
    "Please confirm your message",
    "Reply to this message to release yours.",
    "Auto-Submitted: auto-replied",
    "X-Delivery-Agent: TMDA/1.1.12",
)
away("challenge by BoxTrapper", "Your email requires verification verify#8xK2", "Reply, please.")
away(
    "challenge that must be clicked",
    "Sender verification needed for your mail to reader",
    "Click here within 48 hours, or your message will not be delivered and is blocked as spam.",
)


# -- people, and what is nobody's ------------------------------------------------------------------


@case("apple mail unsubscribes", Kind.UNSUBSCRIBE)
def _(about: About) -> str:
    text = "Apple Mail sent this email to unsubscribe from the message."
    return mail(about.leave, about.reader, "unsubscribe", text)


@case("gmail unsubscribes by itself", Kind.UNSUBSCRIBE)
def _(about: About) -> str:
    text = "This message was automatically generated."
    return mail(about.leave, about.reader, "unsubscribe", text, "Auto-Submitted: auto-generated")


@case("in capitals and without a subject", Kind.UNSUBSCRIBE)
def _(about: About) -> str:
    return mail(about.leave.upper(), about.reader, "", "")


@case("to the contact", Kind.UNSUBSCRIBE)
def _(about: About) -> str:
    return mail(about.contact, about.reader, f"unsubscribe {about.link}", "")


@case("by another recipient's header", Kind.UNSUBSCRIBE)
def _(about: About) -> str:
    to = "undisclosed-recipients:;"
    return mail(to, about.reader, "unsubscribe", "stop", f"Delivered-To: {about.leave}")


@case("a person answers", Kind.UNKNOWN)
def _(about: About) -> str:
    return mail(about.sender, about.reader, "Re: 6 papers", "Thanks! Number 3 was great.")


@case("a person forwards a bounce", Kind.UNKNOWN)
def _(about: About) -> str:
    return dsn(
        about, "5.1.1", "smtp; 550 5.1.1 user unknown", to=about.contact, sender="ada@example.net"
    )


@case("backscatter", Kind.UNKNOWN)
def _(about: About) -> str:
    return dsn(about, "5.1.1", "smtp; 550 5.1.1 user unknown", to=about.mailbox)


@case("a complaint of nothing that is named", Kind.UNKNOWN)
def _(about: About) -> str:
    return feedback(about, "abuse", about.original())


@case("not spam", Kind.UNKNOWN)
def _(about: About) -> str:
    return feedback(about, "not-spam", about.original(), f"Original-Mail-From: {about.sender}")


@case("spam", Kind.UNKNOWN)
def _(about: About) -> str:
    return mail(about.mailbox, "prince@example.net", "Unsubscribe from poverty", "Dear friend,")


@case("nothing at all", Kind.UNKNOWN)
def _(about: About) -> str:
    return f"\n\n{about.reader}"


# -- forgeries -------------------------------------------------------------------------------------


def altered(address: str) -> str:
    """Change one letter of an address' token."""
    local, _, domain = address.partition("@")
    place = len(local) - 7
    other = "a" if local[place] != "a" else "b"
    return f"{local[:place]}{other}{local[place + 1 :]}@{domain}"


@case("forged report", Kind.FORGED)
def _(about: About) -> str:
    return dsn(about, "5.1.1", "smtp; 550 5.1.1 user unknown", to=altered(about.sender))


@case("forged in words", Kind.FORGED)
def _(about: About) -> str:
    wrong = altered(about.sender)
    return qmail(about, "Sorry, no mailbox here by that name. (#5.1.1)").replace(
        about.sender, wrong
    )


@case("report to the address to unsubscribe, turned into one to bounce to", Kind.FORGED)
def _(about: About) -> str:
    return dsn(about, "5.1.1", "smtp; 550 5.1.1 unknown", to=about.leave.replace("+u", "+b"))


@case("forged complaint", Kind.FORGED)
def _(about: About) -> str:
    wrong = altered(about.sender)
    return feedback(about, "abuse", about.original(), f"Original-Mail-From: <{wrong}>")


@case("forged wish to leave", Kind.FORGED)
def _(about: About) -> str:
    return mail(altered(about.leave), about.reader, "unsubscribe", "")


@case("forged link to leave", Kind.FORGED)
def _(about: About) -> str:
    wrong = about.link[:-3] + ("AAA" if not about.link.endswith("AAA") else "BBB")
    return mail(about.contact, about.reader, f"unsubscribe {wrong}", "")
