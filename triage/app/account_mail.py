"""Builds account mail: mails that are no digests, such as confirmations and login links."""

from __future__ import annotations

from datetime import datetime

from triage.delivery.dkim import load_account_mail_signer
from triage.digest.links import note_link
from triage.digest.message import build_note
from triage.digest.render import render_note
from triage.domain.records import OutgoingMessage
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
