"""`triage mail …`"""

from __future__ import annotations

import click

from triage.cli.app_context import load_app
from triage.errors import ConfigError, MailDeferred, MailRefused, MailUncertain


@click.group("mail")
def command() -> None:
    """Send a test mail."""


@command.command()
@click.argument("address")
def test(address: str) -> None:
    """Send one test mail to ADDRESS, and show what the mail server answers.

    It goes the way of a digest: the same server, login, sender and signature. Checks of `triage
    doctor`, rates and holds do not stop it, and `triage audit` does not count it.
    """
    from triage import store
    from triage.app.account_mail import build_test_mail
    from triage.subscribers.subscriptions import normal_address

    app = load_app()
    recipient = normal_address(address)
    with app.database.read() as conn:
        if store.suppressions.reason(conn, app.address_hash(recipient)) is not None:
            raise ConfigError(
                "this address is suppressed, so nothing is sent to it: test with another one, or"
                " run `triage outbox suppress EMAIL --lift` if its owner wants mail again"
            )
    message = build_test_mail(app.settings, recipient, app.clock.now())
    mail = app.settings.mail
    try:
        reply = app.mailer.send(message, lambda: None)
    except MailUncertain as error:
        raise MailUncertain(
            f"{mail.host}:{mail.port} got the whole mail and did not answer in time. Look whether"
            " it arrives; if it does not, ask the operator of this server"
        ) from error
    except MailRefused as error:
        raise MailRefused(
            f"{error}. The connection works, but the server does not take this mail: check the"
            " address and [mail] from, or test with another address"
        ) from error
    except MailDeferred as error:
        later = ". Try again in a few minutes; if it stays so, ask the operator of this server"
        raise MailDeferred(f"{error}{later if error.is_offered else ''}") from error
    finally:
        app.mailer.close()
    if mail.transport == "maildir":
        click.echo(f"wrote the mail to a file, and sent none: {app.settings.mail_path}: {reply}")
        click.echo('to send mail, set `transport = "smtp"` in [mail]')
    else:
        click.echo(f"{mail.host}:{mail.port} took the mail and answered: {reply}")
        click.echo("look whether it arrived, and not as spam")
