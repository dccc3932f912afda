"""Composes the program from its settings: the one place where ports meet what is behind them."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from email.utils import parseaddr
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from triage.clock import SystemClock, seconds_up
from triage.domain.protocols import Progress, silent
from triage.errors import ConfigError
from triage.settings import SECRET_FILE, Settings, load_settings, secret, signing_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette
    from starlette.types import ASGIApp

    from triage.app.live_sources import Upstreams
    from triage.delivery.bounces.intake import Intake
    from triage.delivery.dkim import Signer
    from triage.delivery.outbox import Outbox
    from triage.delivery.sent_log import SentLog
    from triage.digest.nightly import Composed, Nightly
    from triage.domain.link_tokens import Keyring
    from triage.domain.protocols import Clock, Mailer
    from triage.domain.records import Slate
    from triage.operations.doctor import Finding, Installation, Probes
    from triage.operations.doctor.before_sending import SendingGate
    from triage.operations.jobs import Schedule
    from triage.papers.enrich import EnrichReport
    from triage.ranking.serving.model_store import FileModelStore
    from triage.ranking.serving.ranker import DigestRules
    from triage.store import Database
    from triage.subscribers.signup import Signup

CONFIG_NAME = "triage.toml"
# No digest waits longer for one source; what does not come in time is asked for again later.
LONGEST_FETCH = timedelta(minutes=3)
BOUNCES_EVERY = timedelta(minutes=10)
# After arXiv's feed, which is there at midnight in New York.
ENRICH_AT = time(5, 30)


@dataclass
class App:
    """Everything that the edges need, each made when it is first asked for."""

    settings: Settings
    clock: Clock
    own_mailer: Mailer | None = None

    @cached_property
    def database(self) -> Database:
        """The database, at this program's schema."""
        database = self.unchecked_database
        database.check_schema()
        return database

    @cached_property
    def unchecked_database(self) -> Database:
        """The database as it is: for the commands that mend it."""
        from triage.store import open_database

        return open_database(self.settings.database_url)

    @cached_property
    def _secret(self) -> str:
        return signing_secret(self.settings.folder)

    @cached_property
    def keyring(self) -> Keyring:
        from triage.domain.link_tokens import Keyring

        # Links that an older secret signed stay good for as long as it is named.
        return Keyring(self._secret, *(secret("SECRET_KEY_OLD") or "").split())

    @cached_property
    def workshop(self) -> FileModelStore:
        from triage.ranking.serving.model_store import FileModelStore

        # Models are sealed with a key of their own, so that neither key tells of the other.
        key = hashlib.sha256(b"triage models\0" + self._secret.encode()).digest()
        return FileModelStore(self.settings.models_path, key)

    @cached_property
    def mailer(self) -> Mailer:
        return self._new_mailer()

    def _new_mailer(self) -> Mailer:
        mail = self.settings.mail
        if self.own_mailer is not None:
            return self.own_mailer
        if mail.transport == "maildir":
            from triage.delivery.file_mailers import Maildir

            return Maildir(self.settings.mail_path)
        from triage.delivery.smtp import SmtpMailer, SmtpServer

        password = secret("MAIL_PASSWORD")
        if mail.username and password is None:
            raise ConfigError(
                "[mail] username is set but there is no password: set TRIAGE_MAIL_PASSWORD, or"
                " TRIAGE_MAIL_PASSWORD_FILE to a file that holds it"
            )
        server = SmtpServer(mail.host, mail.port, mail.security, mail.username, password or "")
        return SmtpMailer(server, self._oracle())

    def _oracle(self) -> Callable[[str], bool | None]:
        """Return who knows of a Message-ID whether the mail server took it."""
        from triage.delivery.postfix_log import read_delivery

        log = self.settings.mail_log
        return partial(read_delivery, log) if log else lambda _: None

    @cached_property
    def upstreams(self) -> Upstreams:
        """The sources and enrichers that are switched on, with their gates."""
        from triage.app.live_sources import Upstreams

        return Upstreams(
            self.settings, self.clock, lambda: self.database, owner=_this_process, is_gone=_is_gone
        )

    def enrich(self, progress: Progress = silent) -> EnrichReport:
        """Ask those who know more about recent papers, for a few minutes at most."""
        from triage.papers.enrich import enrich

        return enrich(
            self.database,
            self.upstreams.enrichers(self.clock.now() + LONGEST_FETCH),
            self.clock,
            max_age_days=self.settings.digest.max_age_days,
            progress=progress,
        )

    @cached_property
    def _signer(self) -> Signer | None:
        from triage.delivery.dkim import load_signer

        return load_signer(self.settings.mail, self.settings.folder)

    def nightly(self) -> Nightly:
        from triage.digest.nightly import Nightly

        # A key that cannot be used is found before anybody's digest is made.
        _ = self._signer
        return Nightly(
            self.database,
            self.clock,
            workshop=self.workshop,
            compose=self.compose,
            rules=self._rules(),
        )

    def _rules(self) -> DigestRules:
        from triage.ranking.serving.ranker import DigestRules

        digest = self.settings.digest
        return DigestRules(
            size=digest.size,
            max_age_days=digest.max_age_days,
            score_floor=digest.score_floor,
            exploration_slots=digest.exploration_slots,
        )

    @cached_property
    def journal(self) -> SentLog:
        from triage.delivery.sent_log import SentLog

        return SentLog(self.settings.journal_path)

    def installation(self) -> Installation:
        """Return what the doctor looks at."""
        from triage.operations.doctor import Installation

        return Installation(
            self.settings, self.clock, lambda: self.unchecked_database, lambda: self.workshop
        )

    def examine(self, probes: Probes | None = None) -> list[Finding]:
        """Let the doctor look at everything.

        Args:
            probes: instead of those that ask other machines.
        """
        from triage.operations.doctor import examine

        upstreams = self.upstreams
        return examine(self.installation(), upstreams.addresses(), upstreams.awaited(), probes)

    @cached_property
    def _gate(self) -> SendingGate:
        from triage.operations.doctor.before_sending import SendingGate

        return SendingGate(self.installation())

    def outbox(self, mailer: Mailer | None = None, red: Callable[[], str] | None = None) -> Outbox:
        """Return what sends.

        Args:
            mailer: instead of the configured one.
            red: says what of the set-up keeps mail back, instead of the doctor.
        """
        from triage.delivery.outbox import Outbox
        from triage.delivery.preflight import Preflight
        from triage.delivery.rate_limits import RateLimits
        from triage.delivery.sender_context import Rules, SenderContext, WhenUnknown

        mail = self.settings.mail
        return Outbox(
            SenderContext(
                self.database,
                mailer or self.mailer,
                self.clock,
                owner=_this_process(),
                is_gone=_is_gone,
                rules=Rules(
                    ambiguous=WhenUnknown(mail.ambiguous),
                    connections=mail.connections,
                    pace=RateLimits(
                        mail.per_second,
                        mail.per_domain_per_second,
                        mail.per_domain_connections,
                        mail.ramp_up_per_hour,
                    ),
                    envelope_sender=self.envelope_sender,
                    sender=parseaddr(mail.sender)[1],
                ),
                address_hash=self.address_hash,
                monotonic=seconds_up if isinstance(self.clock, SystemClock) else None,
                journal=self.journal,
            ),
            refusal=Preflight(
                self.database, self.journal, self.clock, red=red or (lambda: self._gate())
            ).check,
        )

    def address_hash(self, email: str) -> str:
        """Return the name under which an address is suppressed: noise to who has not our key."""
        from triage.store.subscribers import email_key

        key = hashlib.sha256(b"triage suppressions\0" + self._secret.encode()).digest()
        return hmac.new(key, email_key(email).encode(), "sha256").hexdigest()

    def envelope_sender(self, message_id: str) -> str:
        """Return the address to which a message comes back if it cannot be delivered, or ""."""
        from triage.digest.links import envelope_sender

        return envelope_sender(message_id, self.keyring, self.settings.mail.bounces)

    def intake(self) -> Intake:
        from triage.delivery.bounces.intake import Intake

        return Intake(self.database, self.keyring, self.clock, self.address_hash)

    def unread_bounces(self) -> Iterator[bytes]:
        """Yield what came back since the last time to the mailboxes that are configured."""
        from triage.delivery.bounces.mailboxes import read_imap, read_maildir

        if folder := self.settings.bounces_maildir:
            yield from read_maildir(folder)
        bounces = self.settings.bounces
        if bounces.imap_host:
            password = secret("IMAP_PASSWORD")
            if password is None:
                raise ConfigError(
                    "[bounces] imap_host is set but there is no password: set TRIAGE_IMAP_PASSWORD,"
                    " or TRIAGE_IMAP_PASSWORD_FILE to a file that holds it"
                )
            yield from read_imap(bounces.imap_host, bounces.imap_port, bounces.username, password)

    def compose(self, slate: Slate, now: datetime) -> Composed:
        """Turn a slate into frozen bytes: links, then text and HTML, then the message."""
        from triage.digest.links import digest_links
        from triage.digest.message import build_digest
        from triage.digest.nightly import Composed
        from triage.digest.render import render_digest

        site = self.settings.site
        links = digest_links(
            slate,
            self.keyring,
            site.base_url,
            site.contact,
            now.date(),
            self.settings.mail.bounces,
        )
        rendered = render_digest(slate, links, site.name)
        message = build_digest(
            slate,
            links,
            rendered,
            sender=self.settings.mail.sender,
            reply_to=site.contact,
            site_name=site.name,
            date=now,
            sign=self._signer.sign if self._signer else bytes,
        )
        return Composed(message, rendered.n_papers)

    @cached_property
    def enrolment(self) -> Signup:
        from triage.app.account_mail import composer
        from triage.subscribers.signup import Signup

        return Signup(
            self.database,
            self.clock,
            self.keyring,
            composer(self.settings),
            address_hash=self.address_hash,
        )

    def answers(self) -> Callable[[], None]:
        """Return what mails whoever asked on the pages, over a connection of its own."""
        outbox = self.outbox(self._new_mailer())

        def answer() -> None:
            self.enrolment.answer()
            outbox.send_account_mail()

        return answer

    def schedule(self) -> Schedule:
        from triage.delivery.audit import run_nightly_audit
        from triage.delivery.preflight import warn_if_sqlite_is_unsafe
        from triage.delivery.retention import forget_old_mail
        from triage.operations.backup import back_up
        from triage.operations.jobs import Job, Schedule
        from triage.operations.worker_process import run_in_process
        from triage.subscribers.erasure import rewrite_after_erasures

        warn_if_sqlite_is_unsafe(self.database)
        settings = self.settings
        at = time.fromisoformat(settings.train.at)
        enriches = settings.sources.crossref.enabled or settings.sources.semantic_scholar.enabled
        reads_bounces = bool(settings.bounces.maildir or settings.bounces.imap_host)

        def take_in() -> str:
            return str(self.intake().take_all(self.unread_bounces()))

        return Schedule(
            self.database,
            self.clock,
            partial(self.nightly().queue, spread=timedelta(minutes=settings.mail.spread_minutes)),
            self.outbox(),
            sources=lambda: self.upstreams.sources(deadline=self.clock.now() + LONGEST_FETCH),
            awaited=self.upstreams.awaited(),
            chores=[
                *([Job("read bounces", time(), take_in, BOUNCES_EVERY)] if reads_bounces else []),
                Job(
                    "back up", at, lambda: back_up(self.database, settings.backup_path, self.clock)
                ),
                Job(
                    "audit", at, lambda: run_nightly_audit(self.database, self.journal, self.clock)
                ),
                Job("train", at, lambda: run_in_process(_train, settings, self.clock)),
                Job("tidy", at, self.enrolment.tidy),
                Job("forget mail", at, lambda: forget_old_mail(self.database, self.clock)),
                Job("rewrite", at, lambda: rewrite_after_erasures(self.database)),
                *([Job("enrich", ENRICH_AT, lambda: str(self.enrich()))] if enriches else []),
            ],
            owner=_this_process(),
        )

    def close(self) -> None:
        """Close what was opened: connections to sources and to the database."""
        for name in ("upstreams", "unchecked_database", "journal"):
            if name in self.__dict__:
                getattr(self, name).close()

    def web(self) -> Starlette:
        from triage.digest.preview import Previews
        from triage.papers.search import Search
        from triage.web import create_app

        return create_app(
            self.database,
            self.keyring,
            self.clock,
            self.settings.site,
            self.enrolment,
            Previews(self.database, self.workshop, self.clock, self._rules()).of,
            Search(self.database, self.workshop),
        )

    def operators_page(self) -> ASGIApp:
        from triage.web.operator import create_operator_page

        return create_operator_page(self.database, self.clock, self.settings.site)


def _train(settings: Settings, clock: Clock) -> str:
    from triage.training.train import train_in_words

    app = App(settings, clock)
    try:
        return train_in_words(app.database, app.workshop, clock)
    finally:
        app.close()


def open_app(config: Path, *, clock: Clock | None = None, mailer: Mailer | None = None) -> App:
    """Read the config file and compose the program; nothing is opened yet.

    Args:
        clock: instead of the machine's.
        mailer: instead of the configured one.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return App(load_settings(config), clock or SystemClock(), mailer)


def initialise(folder: Path, example: str) -> tuple[Path, bool]:
    """Write secret and config, and make the database; beside a config nothing is changed.

    Args:
        example: the text of the config file to write.

    Returns:
        The config file, and whether it was written now.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from triage.delivery.sent_log_check import check_sent_log
    from triage.store.migrate import upgrade

    config = folder / CONFIG_NAME
    if config.exists():
        return config, False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / SECRET_FILE).exists():
            _write_private(folder / SECRET_FILE, secrets.token_urlsafe(48) + "\n")
        # The config comes last: whatever was cut short before it, the next call makes whole.
        _write_private(config, example)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
    app = open_app(config)
    if app.settings.database_file is not None:
        # SQLite gives its own files the mode of the database, and the database holds addresses.
        app.settings.database_file.touch(mode=0o600)
    upgrade(app.unchecked_database)
    # The two know each other from the first day on, so that neither is lost unnoticed.
    check_sent_log(app.database, app.journal, app.clock)
    app.close()
    return config, True


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _this_process() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


def _is_gone(owner: str) -> bool:
    """Tell whether a lease's owner was a process of this machine that has ended."""
    host, _, rest = owner.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
