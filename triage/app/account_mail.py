"""Builds mails that are no digests: confirmations, login links, and the mail of a test."""

from __future__ import annotations

import secrets
from datetime import datetime
from email.utils import format_datetime

from triage.delivery.dkim import load_account_mail_signer, load_signer
from triage.digest.links import note_link
from triage.digest.message import build_note
from triage.digest.render import render_note
from triage.domain.records import OutgoingMessage, RenderedNote
from triage.settings import Settings
from triage.subscribers.signup import AccountMail, Compose


def account_mail_builder(settings: Settings) -> Compose:
    """Return the function that turns an account mail into a message."""
    site = settings.site
    signer = load_account_mail_signer(settings)

    def compose(mail: AccountMail, now: datetime) -> OutgoingMessage:
        return build_note(
            mail.public_id,
            mail.recipient,
            render_note(mail.kind, note_link(mail.kind, mail.token, site.base_url), site.name),
            sender=settings.account_mail_sender,
            reply_to=site.contact,
            date=now,
            sign=signer.sign if signer else bytes,
        )

    return compose


_TEST = """\
{name} has sent you this mail, because somebody who operates it ran
`triage mail test` at {at}.

It comes from the address that digests come from. If it lies in the spam
folder, so will the digests. In most mail programs, "show original" says
whether SPF, DKIM and DMARC passed; `triage doctor` says how to set them.
"""


def build_test_mail(settings: Settings, recipient: str, now: datetime) -> OutgoingMessage:
    """Return a mail for a test of the transport, with the sender and signature of digests."""
    name = settings.site.name
    signer = load_signer(settings.mail, settings.folder)
    note = RenderedNote(f"Test mail of {name}", _TEST.format(name=name, at=format_datetime(now)))
    return build_note(
        f"test.{secrets.token_hex(10)}",
        recipient,
        note,
        sender=settings.mail.sender,
        reply_to=settings.site.contact,
        date=now,
        sign=signer.sign if signer else bytes,
    )
