"""The mails that are no digest, from what is to be said to frozen bytes."""

from __future__ import annotations

from datetime import datetime

from triage.delivery.dkim import load_account_mail_signer
from triage.digest.links import note_link
from triage.digest.message import build_note
from triage.digest.render import render_note
from triage.domain.records import OutgoingMessage
from triage.settings import Settings
from triage.subscribers.signup import AccountMail, Compose


def composer(settings: Settings) -> Compose:
    """Return what makes them, as the settings say."""
    site = settings.site
    signer = load_account_mail_signer(settings)

    def compose(note: AccountMail, now: datetime) -> OutgoingMessage:
        link = note_link(note.kind, note.token, site.base_url)
        return build_note(
            note.public_id,
            note.recipient,
            render_note(note.kind, link, site.name),
            sender=settings.notes_sender,
            reply_to=site.contact,
            date=now,
            sign=signer.sign if signer else bytes,
        )

    return compose
