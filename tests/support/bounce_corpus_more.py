"""More messages that come back: encoded and global reports, other servers, other languages.

Like those of `bounce_corpus`, every one of them is synthetic. `ALL_CASES` has both.
"""

from __future__ import annotations

import base64
import quopri

from tests.support.bounce_corpus import CASES, COPY, DAEMON, About, Case, case, dsn_case, mail
from triage.delivery.bounces.classify import Kind

UNKNOWN_USER = "smtp; 550 5.1.1 <reader>: Recipient address rejected: User unknown"


def encoded(kind: str, text: str, coding: str = "", charset: str = "") -> str:
    """Return a part with its headers, in the encoding `coding`."""
    head = f"Content-Type: {kind}" + (f"; charset={charset}" if charset else "")
    raw = text.encode(charset or "utf-8")
    match coding:
        case "base64":
            text = base64.encodebytes(raw).decode()
        case "quoted-printable":
            text = quopri.encodestring(raw).decode()
        case _:
            return f"{head}\n\n{text}"
    return f"{head}\nContent-Transfer-Encoding: {coding}\n\n{text}"


def several(to: str, sender: str, subject: str, kind: str, *parts: str) -> str:
    body = "".join(f"\n--part\n{part}\n" for part in parts)
    head = f'Content-Type: {kind}; boundary="part"'
    return mail(to, sender, subject, f"{body}\n--part--\n", "MIME-Version: 1.0", head)


def fields(about: About, status: str, diagnostic: str, action: str = "failed") -> str:
    return (
        "Reporting-MTA: dns; mx.example.net\n\n"
        f"Final-Recipient: rfc822; {about.reader}\nAction: {action}\nStatus: {status}\n"
        + (f"Diagnostic-Code: {diagnostic}\n" if diagnostic else "")
    )


def encoded_dsn(
    name: str,
    kind: Kind,
    *,
    status: str = "5.1.1",
    diagnostic: str = UNKNOWN_USER,
    action: str = "failed",
    said: str = "Your message could not be delivered.",
    said_in: tuple[str, str] = ("", "utf-8"),
    report: str = "message/delivery-status",
    report_in: str = "",
    original: str = "message/rfc822",
    original_in: str = "",
    token_only_there: bool = False,
    sender: str = DAEMON,
) -> None:
    """Add a report whose parts are encoded as told."""

    def write(about: About) -> str:
        copy = about.original(envelope=True) + ("" if original.startswith("text/") else COPY)
        return several(
            about.mailbox if token_only_there else about.sender,
            sender,
            "Undelivered Mail",
            "multipart/report; report-type=delivery-status",
            encoded("text/plain", said, *said_in),
            encoded(report, fields(about, status, diagnostic, action), report_in),
            encoded(original, copy, original_in),
        )

    CASES.append(Case(name, kind, write))


# -- encoded and global ----------------------------------------------------------------------------

GLOBAL = "message/global-delivery-status"
encoded_dsn("global", Kind.HARD, report=GLOBAL, original="message/global")
encoded_dsn("global, headers alone", Kind.HARD, report=GLOBAL, original="message/global-headers")
encoded_dsn("global in base64", Kind.HARD, report=GLOBAL, report_in="base64")
encoded_dsn("global in quoted-printable", Kind.HARD, report=GLOBAL, report_in="quoted-printable")
encoded_dsn("global, in capitals", Kind.HARD, report="Message/Global-Delivery-Status")
encoded_dsn("global, delayed", Kind.NOTICE, report=GLOBAL, action="delayed", status="4.4.1")
encoded_dsn("fields in base64", Kind.HARD, report_in="base64")
encoded_dsn("fields in BASE64", Kind.HARD, report_in="base64", report="MESSAGE/DELIVERY-STATUS")
encoded_dsn("fields in quoted-printable", Kind.HARD, report_in="quoted-printable")
encoded_dsn("fields as text", Kind.HARD, report="text/delivery-status; charset=utf-8")
encoded_dsn("fields in a named part", Kind.HARD, report='message/delivery-status; name="a.txt"')
for original in (
    "message/rfc822",
    "message/global",
    "text/rfc822-headers",
    "message/global-headers",
):
    for coding in ("base64", "quoted-printable"):
        encoded_dsn(
            f"token only in {original} in {coding}",
            Kind.HARD,
            original=original,
            original_in=coding,
            token_only_there=True,
        )
encoded_dsn(
    "all parts in base64, quota",
    Kind.SOFT,
    status="5.2.2",
    diagnostic="smtp; 552 5.2.2 mailbox full",
    said_in=("base64", "utf-8"),
    report_in="base64",
    original_in="base64",
    token_only_there=True,
)
encoded_dsn(
    "a long line in quoted-printable",
    Kind.HARD,
    status="5.0.0",
    diagnostic="smtp; 550 "
    + "The mail server at the host mx.example.org said this. " * 4
    + "5.1.1 no",
    report_in="quoted-printable",
)
for n, action in enumerate(
    (
        "failed (bad destination mailbox address)",
        "(permanent) failed",
        "FAILED",
        "failed; see below",
        "failed (a (nested) comment)",
        "(a (nested) comment) failed",
    )
):
    encoded_dsn(f"action with a comment {n}", Kind.HARD, action=action)
encoded_dsn("delayed with a comment", Kind.NOTICE, action="delayed (not failed)", status="4.4.1")
encoded_dsn("status with a comment", Kind.HARD, status="5.1.1 (no such mailbox)", diagnostic="")
encoded_dsn(
    "diagnostic as an encoded word",
    Kind.HARD,
    status="5.0.0",
    diagnostic="smtp; =?utf-8?b?" + base64.b64encode("550 用户不存在".encode()).decode() + "?=",
)

# -- about us: never about the reader --------------------------------------------------------------

for name, status, words in (
    ("exim", "5.0.0", "550-Verification failed for <papers@x.org>\n 550-No Such User Here\n 550"
     " Sender verify failed"),
    ("exim, short", "5.0.0", "550 Sender verify failed"),
    ("postfix", "5.1.0", "550 5.1.0 <p@x.org>: Sender address rejected: User unknown in local"
     " recipient table"),
    ("postfix, 5.1.1", "5.1.1", "550 5.1.1 <p@x.org>: Sender address rejected: User unknown"),
    ("callout", "5.1.1", "550 5.1.1 sender verification callout: no such user"),
    ("domain", "5.1.8", "550 5.1.8 Sender's domain does not exist"),
    ("qq frequency", "5.0.0", "550 Ip frequency limited"),
    ("qq suspected", "5.0.0", "550 Domain frequency limited"),
    ("cpanel", "5.0.0", "550 Domain x.org has exceeded the max emails per hour (300/300 (100%))"
     " allowed.  Message discarded."),
    ("cpanel, defers", "5.0.0", "550 Domain x.org has exceeded the max defers and failures per"
     " hour"),
    ("hourly limit", "5.0.0", "550 hourly sending limit exceeded"),
    ("m365 5.7.708", "5.7.708", "550 5.7.708 Service unavailable. Access denied, traffic not"
     " accepted from this IP"),
    ("dmarc", "5.7.1", "550 5.7.1 Unauthenticated email from x.org is not accepted due to domain's"
     " DMARC policy"),
    ("spf", "5.7.23", "550 5.7.23 SPF validation failed"),
    ("reputation", "5.0.0", "554 Your IP address has a poor reputation"),
    ("relay", "5.7.1", "554 5.7.1 <reader>: Relay access denied"),
    ("mimecast, spoofing", "5.0.0", "550 Rejected by header based Anti-Spoofing policy"),
    ("postmark signature", "5.7.1", "550 5.7.1 The 'From' address you supplied"
     " (papers@x.org) is not a Sender Signature on your account."),
    ("mailing limit of a tenant", "5.7.705", "550 5.7.705 Access denied, tenant has exceeded"
     " threshold"),
    ("daily limit", "5.1.90", "550 5.1.90 Your message can't be sent because you've reached your"
     " daily limit for message recipients"),
    ("italian", "5.1.1", "550 Indirizzo del mittente rifiutato: utente sconosciuto"),
    ("portuguese", "5.1.1", "550 Remetente rejeitado: usuário desconhecido"),
    ("dutch", "5.1.1", "550 Afzender geweigerd: gebruiker onbekend"),
    ("polish", "5.1.1", "550 Adres nadawcy odrzucony: konto nie istnieje"),
    ("japanese", "5.1.1", "550 送信者のアドレスが存在しません"),
    ("reverse dns", "5.7.25", "550 5.7.25 the sending IP has no PTR record"),
    ("helo", "5.5.2", "504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname"),
    ("german", "5.0.0", "550 Absenderadresse unbekannt"),
    ("french", "5.0.0", "550 Adresse de l'expéditeur refusée : utilisateur inconnu"),
    ("spanish", "5.0.0", "550 Remitente rechazado: usuario desconocido"),
    ("chinese", "5.0.0", "550 发件人不存在"),
    ("russian", "5.0.0", "550 адрес отправителя не найден"),
):  # fmt: skip
    dsn_case(f"about us: {name}", Kind.POLICY, status, f"smtp; {words}")

# -- providers -------------------------------------------------------------------------------------

for name, kind, status, words in (
    ("m365 access denied", Kind.HARD, "5.4.1", "550 5.4.1 Recipient address rejected: Access"
     " denied. AS(201806281) [XX0EUR00FT000.eop-EUR00.prod.protection.example.com]"),
    ("m365 access denied, short", Kind.HARD, "5.4.1", "550 5.4.1 [reader@x.org]: Recipient address"
     " rejected: Access denied"),
    ("m365 relay", Kind.POLICY, "5.4.1", "550 5.4.1 Relay Access Denied"),
    ("gmail rate", Kind.SOFT, "5.2.1", "550-5.2.1 The user you are trying to contact is receiving"
     " mail at a rate that\n 550-5.2.1 prevents additional messages from being delivered. 550"
     " 5.2.1 - gsmtp"),
    ("gmail rate, 4xx", Kind.SOFT, "4.2.1", "450-4.2.1 The user you are trying to contact is"
     " receiving mail at a rate that prevents"),
    ("gmail too quickly", Kind.SOFT, "5.2.1", "450 5.2.1 The user you are trying to contact is"
     " receiving mail too quickly"),
    ("gmail inactive", Kind.HARD, "5.2.1", "550 5.2.1 The email account that you tried to reach is"
     " inactive"),
    ("coremail", Kind.HARD, "5.1.1", "550 User not found: reader@163.example"),
    ("163 without a code", Kind.HARD, "", "550 User not found"),
    ("qq no mailbox", Kind.HARD, "5.0.0", "550 Mailbox not found. http://service.mail.example"),
    ("qq full", Kind.SOFT, "5.2.2", "552 5.2.2 邮箱已满"),
    ("yandex", Kind.HARD, "5.1.1", "550 5.1.1 No such user!"),
    ("mail.ru", Kind.HARD, "5.0.0", "550 Message was not accepted -- invalid mailbox.  Local"
     " mailbox reader@mail.example is unavailable: user not found"),
    ("outlook mailbox unavailable", Kind.SOFT, "5.5.0", "550 5.5.0 Requested action not taken:"
     " mailbox unavailable (S2017062302)"),
    ("cisco address rejected", Kind.SOFT, "5.1.0", "5.1.0 - Unknown address error 550-'#5.1.0"
     " Address rejected.'"),
    ("moved", Kind.HARD, "5.1.6", "551 5.1.6 User not local; please try <new@x.org>"),
    ("m365 remote unknown", Kind.HARD, "5.1.351", "550 5.1.351 Remote server returned unknown"
     " recipient or mailbox unavailable"),
    ("m365 forwards", Kind.POLICY, "5.7.520", "550 5.7.520 Access denied, Your organization does"
     " not allow external forwarding."),
    ("ses suppression list", Kind.SOFT, "5.0.0", "554 recipient is on the suppression list"),
    ("icloud full", Kind.SOFT, "5.2.2", "552 5.2.2 <reader>: user is over quota"),
    ("full by messages", Kind.SOFT, "5.2.2", "552 5.2.2 Message quota exceeded"),
    ("free.fr asleep", Kind.HARD, "5.2.1", "550 5.2.1 This mailbox has been blocked due to"
     " inactivity"),
    ("proofpoint unknown", Kind.HARD, "5.1.1", "550 5.1.1 User Unknown"),
    ("zimbra closed", Kind.HARD, "5.2.1", "550 5.2.1 Account is closed: reader@x.org"),
    ("gmx", Kind.HARD, "5.1.1", "550 Requested action not taken: mailbox unavailable, user not"
     " found"),
):  # fmt: skip
    dsn_case(f"provider: {name}", kind, status, f"smtp; {words}")

for name, diagnostic, said in (
    ("domino, fields", "X-Notes; User reader (reader@x.org) not listed in Domino Directory", ""),
    ("domino, words", "", "was not delivered to:\n\n  reader\n\nbecause:\n\n  User reader"
     " (reader@x.org) not listed in Domino Directory"),
    ("domino of old", "", "User reader (reader@x.org) not listed in public Name & Address Book"),
    ("domino, german, directory", "", "Benutzer reader nicht im Domino-Verzeichnis aufgeführt"),
    ("domino, german", "", "wurde nicht zugestellt an:\n  reader\nweil:\n  Benutzer reader nicht"
     " gefunden"),
):  # fmt: skip
    encoded_dsn(
        name,
        Kind.HARD,
        status="5.0.0",
        diagnostic=diagnostic,
        said=said,
        said_in=("base64", "utf-8"),
        report_in="base64",
        original_in="base64",
        sender="Postmaster@domino.example",
    )

# -- languages, in the fields and in words ---------------------------------------------------------

for name, kind, charset, words in (
    ("german", Kind.HARD, "iso-8859-1", "Empfänger unbekannt"),
    ("german, full", Kind.SOFT, "utf-8", "Das Postfach ist voll"),
    ("german, exists not", Kind.HARD, "utf-8", "Das Postfach existiert nicht"),
    ("french", Kind.HARD, "iso-8859-15", "Destinataire inconnu"),
    ("french, no more", Kind.HARD, "utf-8", "Cette adresse n'existe plus"),
    ("french, full", Kind.SOFT, "utf-8", "La boîte aux lettres du destinataire est pleine"),
    ("spanish", Kind.HARD, "iso-8859-1", "El usuario no existe"),
    ("spanish, unknown", Kind.HARD, "utf-8", "Destinatario desconocido"),
    ("spanish, full", Kind.SOFT, "utf-8", "El buzón del destinatario está lleno"),
    ("chinese", Kind.HARD, "gb18030", "抱歉，您的邮件被退回来了。收件人不存在，邮件无法送达。"),
    ("chinese, full", Kind.SOFT, "gb2312", "对方的邮箱已满，邮件无法送达。"),
    ("russian", Kind.HARD, "koi8-r", "Пользователь не найден"),
    ("russian, windows", Kind.HARD, "windows-1251", "Нет такого пользователя"),
    ("russian, full", Kind.SOFT, "utf-8", "Почтовый ящик переполнен"),
    ("italian", Kind.HARD, "utf-8", "Utente sconosciuto"),
    ("italian, full", Kind.SOFT, "iso-8859-1", "La casella del destinatario è piena"),
    ("portuguese", Kind.HARD, "iso-8859-1", "Usuário desconhecido"),
    ("portuguese, full", Kind.SOFT, "utf-8", "A caixa postal está cheia"),
    ("polish", Kind.HARD, "iso-8859-2", "Użytkownik nie istnieje"),
    ("polish, full", Kind.SOFT, "utf-8", "Skrzynka odbiorcy jest pełna"),
    ("czech", Kind.HARD, "iso-8859-2", "Uživatel neexistuje"),
    ("dutch", Kind.HARD, "utf-8", "Deze gebruiker bestaat niet"),
    ("dutch, full", Kind.SOFT, "utf-8", "De postbus is vol"),
    ("german, umlauts as letters", Kind.HARD, "us-ascii", "Empfaenger unbekannt"),
    ("japanese", Kind.HARD, "iso-2022-jp", "宛先のユーザーが見つかりません。"),
    ("japanese, address", Kind.HARD, "shift_jis", "メールアドレスが存在しません。"),
    ("japanese, with a code", Kind.HARD, "iso-2022-jp", "配信できませんでした。\n550 5.1.1"),
):  # fmt: skip
    encoded_dsn(
        f"fields of nothing, words in {name}",
        kind,
        status="5.0.0",
        diagnostic="",
        said=words,
        said_in=("base64", charset),
    )

    def in_words(about: About, charset: str = charset, words: str = words) -> str:
        said = f"postmaster@mx.example.net\n\n{words}\n<{about.reader}>\n\n--- \n"
        said += f"Return-Path: <{about.sender}>\n{about.original()}"
        body = base64.encodebytes(said.encode(charset)).decode()
        head = f"Content-Type: text/plain; charset={charset}"
        coding = "Content-Transfer-Encoding: base64"
        sender = "Postmaster <postmaster@mx.example.net>"
        return mail(about.sender, sender, "Systems bounce", body, "MIME-Version: 1.0", head, coding)

    CASES.append(Case(f"only words in {name}", kind, in_words))


def opensmtpd(name: str, kind: Kind, happened: str, why: str) -> None:
    def write(about: About) -> str:
        text = (
            "    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this email.\n\n"
            f"    {happened}\n    the following list of recipients:\n\n{about.reader}: {why}\n\n"
            "    Below is a copy of the original message:\n\n"
            f"Return-Path: <{about.sender}>\n{about.original()}{COPY}"
        )
        sender = "Mailer Daemon <MAILER-DAEMON@mx.example.net>"
        return mail(about.sender, sender, "Delivery status notification: error", text)

    CASES.append(Case(name, kind, write))


ERROR = "An error has occurred while attempting to deliver a message for"
DELAYED = "A message is delayed for more than 4 hours for"
opensmtpd("opensmtpd unknown", Kind.HARD, ERROR, "550 5.1.1 User unknown")
opensmtpd("opensmtpd invalid", Kind.HARD, ERROR, "550 Invalid recipient")
opensmtpd("opensmtpd spam", Kind.POLICY, ERROR, "554 5.7.1 rejected as spam")
opensmtpd("opensmtpd expired", Kind.SOFT, ERROR, "Envelope expired: 451 4.4.1 timed out")
opensmtpd("opensmtpd still tries", Kind.NOTICE, DELAYED, "451 4.3.0 try later")


@case("qq in HTML", Kind.HARD)
def _(about: About) -> str:
    body = (
        "<html><head><style>p {color: red}</style></head><body><p>抱歉，您的邮件被退回来了</p>"
        f"<p>收件人邮件地址（{about.reader}）不存在，邮件无法送达。</p></body></html>"
    )
    return several(
        about.sender,
        "PostMaster <PostMaster@qq.example>",
        "系统退信/Systems bounce",
        "multipart/mixed",
        encoded("text/html", body, "base64", "gb18030"),
    )


# -- complaints ------------------------------------------------------------------------------------

FBL = ("fbl@triage.example", "feedback@mx.example.net", "FW: 6 papers")


def arf(
    name: str,
    kind: Kind,
    says: str,
    report_in: str,
    original_in: str,
    original: str = "message/rfc822",
    **shown: bool,
) -> None:
    def write(about: About) -> str:
        return several(
            *FBL,
            "multipart/report; report-type=feedback-report",
            encoded("text/plain", "This is an abuse report.", report_in, "utf-8"),
            encoded("message/feedback-report", f"{says}\nVersion: 1\n", report_in),
            encoded(original, about.original(**shown) + "\n", original_in),
        )

    CASES.append(Case(name, kind, write))


for by in ("envelope", "mailto", "web"):
    for coding in ("base64", "quoted-printable"):
        arf(f"abuse by {by} in {coding}", Kind.COMPLAINT, "Feedback-Type: abuse", coding, coding,
            **{by: True})  # fmt: skip
HEADERS = "text/rfc822-headers"
arf("headers in base64", Kind.COMPLAINT, "Feedback-Type: abuse", "", "base64", HEADERS,
    envelope=True)  # fmt: skip
arf("web in headers", Kind.COMPLAINT, "Feedback-Type: abuse", "", "base64", HEADERS, web=True)
arf("type with a comment", Kind.COMPLAINT, "Feedback-Type: (so) Abuse", "", "", envelope=True)
arf("not spam, in base64", Kind.UNKNOWN, "Feedback-Type: not-spam", "base64", "base64",
    envelope=True)  # fmt: skip


def junked(name: str, subject: str, *, marked: bool, coding: str = "", **shown: bool) -> None:
    def write(about: About) -> str:
        mark = f"X-HmXmrOriginalRecipient: <{about.reader}>\n" if marked else ""
        original = encoded("message/rfc822", mark + about.original(**shown) + COPY, coding)
        sender = "staff@hotmail.example"
        return several("fbl@triage.example", sender, subject, "multipart/mixed", original)

    CASES.append(Case(name, Kind.COMPLAINT, write))


JUNK = "complaint about message from 192.0.2.9"
junked("jmrp", JUNK, marked=True, envelope=True)
junked("jmrp by its address to unsubscribe", JUNK, marked=True, mailto=True)
junked("jmrp by its link to unsubscribe", JUNK, marked=True, web=True)
junked("jmrp in base64", JUNK, marked=True, coding="base64", envelope=True)
junked("jmrp by its mark", "6 papers", marked=True, envelope=True)
junked("jmrp by its subject", JUNK, marked=False, envelope=True)
junked("aol of old", "Email Feedback Report for IP 192.0.2.9", marked=False, envelope=True)


@case("the same subject from a server about nothing of ours", Kind.UNKNOWN)
def _(about: About) -> str:
    original = encoded("message/rfc822", about.original())
    return several("fbl@triage.example", "a@example.net", JUNK, "multipart/mixed", original)


ALL_CASES = CASES
"""The messages of both modules."""
