"""Creates the objects of the program from the settings."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from email.utils import parseaddr
from functools import cached_property, partial
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from triage import __version__, store
from triage.app.lease_owner import is_gone, name_this_process
from triage.app.live_sources import LiveSources
from triage.clock import SystemClock, read_uptime
from triage.delivery.bounces.mailboxes import read_imap, read_maildir
from triage.delivery.dkim import Signer, load_signer
from triage.delivery.file_mailers import Maildir
from triage.delivery.postfix_log import read_delivery
from triage.delivery.sent_log import SentLog
from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.digest.links import digest_links, envelope_sender
from triage.digest.message import build_digest
from triage.digest.render import render_digest
from triage.domain.arxiv_categories import check_chosen
from triage.domain.link_tokens import Keyring
from triage.domain.protocols import Progress, silent
from triage.errors import ConfigError
from triage.settings import Settings, load_settings, read_secret, read_signing_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from triage.delivery.bounces.intake import Intake
    from triage.delivery.outbox import Outbox
    from triage.digest.nightly import Composed, Nightly, PaperKeys, QueueBlocks
    from triage.domain.paper_outcome import PaperOutcome
    from triage.domain.protocols import Clock, Mailer
    from triage.domain.records import Slate, Subscriber
    from triage.operations.doctor import Finding, Installation, Probes
    from triage.operations.doctor.before_sending import SendingGate
    from triage.operations.jobs import Schedule
    from triage.papers.enrich import EnrichReport
    from triage.papers.search import Search
    from triage.ranking.serving.model_store import ModelStore
    from triage.ranking.serving.ranker import DigestRules
    from triage.store import Database
    from triage.subscribers.signup import Signup

# A digest waits no longer for one source. Papers that are not read in time are read later.
LONGEST_FETCH = timedelta(minutes=3)
BOUNCES_EVERY = timedelta(minutes=10)
# After arXiv has published its feed, at midnight in New York.
ENRICH_AT = time(5, 30)


@dataclass
class App:
    """The objects of one installation, each created at its first use."""

    settings: Settings
    clock: Clock

    @cached_property
    def database(self) -> Database:
        """The database, after a check that it has the schema of this version."""
        database = self.unchecked_database
        database.check_schema()
        return database

    @cached_property
    def unchecked_database(self) -> Database:
        """The database without a check, for the commands that migrate or repair it."""
        from triage.store import open_database

        return open_database(self.settings.database_url)

    @cached_property
    def _secret(self) -> str:
        return read_signing_secret(self.settings.folder)

    def _derive_key(self, purpose: str) -> bytes:
        """Return a key for one purpose; it does not reveal the secret or other keys."""
        return hashlib.sha256(f"{purpose}\0{self._secret}".encode()).digest()

    @property
    def installation_id(self) -> str:
        """A name of this installation, which does not reveal the secret."""
        return self._derive_key("triage installation").hex()

    @property
    def identity(self) -> str:
        """What two machines with the same version and signing secret have in common; no secret."""
        return f"{__version__} {self.installation_id}"

    @cached_property
    def keyring(self) -> Keyring:
        # Links that were signed with an older secret work as long as the settings have it.
        return Keyring(self._secret, *(read_secret("SECRET_KEY_OLD") or "").split())

    @cached_property
    def model_store(self) -> ModelStore:
        from triage.ranking.serving.model_store import ModelStore

        return ModelStore(self.settings.models_path, self._derive_key("triage models"))

    @cached_property
    def mailer(self) -> Mailer:
        return self._new_mailer()

    def _new_mailer(self) -> Mailer:
        mail = self.settings.mail
        if mail.transport == "maildir":
            return Maildir(self.settings.mail_path)
        password = _password("MAIL_PASSWORD", "[mail] username") if mail.username else ""
        login = mail.security, mail.username, password
        server = SmtpServer(mail.host, mail.port, *login, helo_name=mail.helo_name)
        log = self.settings.mail_log
        return SmtpMailer(server, partial(self._look_up, log) if log else lambda _: None)

    def _look_up(self, log: Path, message_id: str) -> bool | None:
        """Return whether the local Postfix accepted a message; None if its log does not show it."""
        from triage import store

        with self.database.read() as conn:
            since = store.attempts.last_began_at(conn, message_id)
        return read_delivery(log, message_id, since)

    @cached_property
    def live_sources(self) -> LiveSources:
        """The sources and enrichers that are switched on."""
        return LiveSources(
            self.settings,
            self.clock,
            lambda: self.database,
            owner=name_this_process,
            is_gone=is_gone,
        )

    def enrich_recent_papers(self, progress: Progress = silent) -> EnrichReport:
        """Request more data about recent papers from the enrichers, for three minutes at most."""
        from triage.papers.enrich import enrich

        return enrich(
            self.database,
            self.live_sources.enrichers(self.clock.now() + LONGEST_FETCH),
            self.clock,
            max_age_days=self.settings.digest.max_age_days,
            progress=progress,
        )

    @cached_property
    def _signer(self) -> Signer | None:
        return load_signer(self.settings.mail, self.settings.folder)

    def new_nightly(self) -> Nightly:
        from triage.digest.nightly import Nightly

        # Loading the key now reports an unusable key before any digest is made.
        _ = self._signer
        return Nightly(
            self.database,
            self.clock,
            model_store=self.model_store,
            compose=self.build_message,
            rules=self._digest_rules,
            workers=self._choose_workers(),
        )

    def _choose_workers(self) -> QueueBlocks | None:
        """Return what makes blocks of digests elsewhere; None if this process makes them all."""
        from triage.app.engine import BlockJob, choose_workers, run_jobs

        start = choose_workers(self.settings.engine)
        if start is None:
            return None
        settings, clock = self.settings, self.clock
        return lambda blocks: run_jobs(
            start, [BlockJob(settings, clock, self.identity, block) for block in blocks]
        )

    @property
    def _digest_rules(self) -> DigestRules:
        from triage.ranking.serving.ranker import DigestRules

        return DigestRules(**self.settings.digest.model_dump())

    @cached_property
    def sent_log(self) -> SentLog:
        return SentLog(self.settings.sent_log_path)

    def installation(self) -> Installation:
        """Return what `triage doctor` examines."""
        from triage.operations.doctor import Installation

        return Installation(
            self.settings, self.clock, lambda: self.unchecked_database, lambda: self.model_store
        )

    def run_doctor(self, probes: Probes | None = None) -> list[Finding]:
        """Run all checks of `triage doctor`; `probes` replace those that use the network."""
        from triage.operations.doctor import examine

        upstreams = self.live_sources
        return examine(self.installation(), upstreams.addresses(), upstreams.days_behind(), probes)

    @cached_property
    def _gate(self) -> SendingGate:
        from triage.operations.doctor.before_sending import SendingGate

        return SendingGate(self.installation())

    def new_outbox(
        self, mailer: Mailer | None = None, red: Callable[[], str] | None = None
    ) -> Outbox:
        """Return the outbox, which sends the queued messages.

        Args:
            mailer: replaces the configured one.
            red: replaces the checks of the doctor; returns why the set-up forbids sending, or "".
        """
        from triage.delivery.outbox import Outbox
        from triage.delivery.preflight import Preflight
        from triage.delivery.rate_limits import RateLimits
        from triage.delivery.sender_context import SenderContext

        mail = self.settings.mail
        return Outbox(
            SenderContext(
                self.database,
                mailer or self.mailer,
                self.clock,
                owner=name_this_process(),
                is_gone=is_gone,
                ambiguous=mail.ambiguous,
                connections=mail.connections,
                pace=RateLimits(
                    mail.per_second,
                    mail.per_domain_per_second,
                    mail.per_domain_connections,
                    mail.ramp_up_per_hour,
                ),
                envelope_sender=partial(
                    envelope_sender, keyring=self.keyring, bounces=mail.bounces
                ),
                sender=parseaddr(mail.sender)[1],
                address_hash=self.address_hash,
                monotonic=read_uptime if isinstance(self.clock, SystemClock) else None,
                journal=self.sent_log,
            ),
            check=Preflight(
                self.database, self.sent_log, self.clock, red=red or (lambda: self._gate())
            ).check,
        )

    def address_hash(self, email: str) -> str:
        """Return the keyed hash of an address, for the blocklist: 64 hexadecimal digits."""
        from triage.store.subscribers import email_key

        key = self._derive_key("triage suppressions")
        return hmac.new(key, email_key(email).encode(), "sha256").hexdigest()

    def new_bounce_intake(self) -> Intake:
        from triage.delivery.bounces.intake import Intake
        from triage.subscribers.votes import record_mailed_vote

        trusted = self.settings.bounces.authserv_id
        return Intake(
            self.database, self.keyring, self.clock, self.address_hash, record_mailed_vote, trusted
        )

    def read_new_bounces(self) -> Iterator[bytes]:
        """Yield the new mails in the configured bounce mailboxes."""
        if folder := self.settings.bounces_maildir:
            yield from read_maildir(folder)
        bounces = self.settings.bounces
        if bounces.imap_host:
            password = _password("IMAP_PASSWORD", "[bounces] imap_host")
            account = bounces.imap_host, bounces.imap_port, bounces.username, password
            yield from read_imap(*account, folder=bounces.imap_folder)

    def build_message(
        self,
        slate: Slate,
        now: datetime,
        resent_on: date | None = None,
        keys: PaperKeys | None = None,
    ) -> Composed:
        """Build the message of a slate: links, then text and HTML, then signed bytes.

        Args:
            resent_on: the day on which a sent digest goes once more, so that the Message-ID is new.
            keys: the outside ids of the papers; by default they are read from the database.
        """
        from triage.digest.nightly import Composed

        site = self.settings.site
        mail = self.settings.mail
        if keys is None:
            shown = [each.paper.id for each in slate.impressions]
            keys = self.database.fetch(store.papers.keys_of, shown)
        links = digest_links(
            slate,
            self.keyring,
            site.base_url,
            site.contact,
            now.date(),
            mail.bounces,
            mail.votes,
            keys,
        )
        rendered = render_digest(slate, links, site.name)
        name = slate.public_id if resent_on is None else f"{slate.public_id}.{resent_on:%Y%m%d}"
        message = build_digest(
            replace(slate, public_id=name),
            links,
            rendered,
            sender=mail.sender,
            reply_to=site.contact,
            site_name=site.name,
            date=now,
            sign=self._signer.sign if self._signer else bytes,
        )
        return Composed(message, rendered.n_papers)

    @cached_property
    def signup(self) -> Signup:
        from triage.app.account_mail import account_mail_builder
        from triage.subscribers.signup import Signup, new_network_limit

        trusted = [ip_network(each, strict=False) for each in self.settings.web.trusted_networks]
        return Signup(
            self.database,
            self.clock,
            self.keyring,
            account_mail_builder(self.settings),
            address_hash=self.address_hash,
            network_limit=new_network_limit(trusted),
        )

    def account_mail_sender(self) -> Callable[[], None]:
        """Return the function that sends account mail, over its own connection."""
        outbox = self.new_outbox(self._new_mailer())

        def send() -> None:
            self.signup.answer()
            outbox.send_account_mail()

        return send

    def new_schedule(self) -> Schedule:
        from triage.delivery.audit import run_nightly_audit
        from triage.delivery.preflight import warn_if_sqlite_is_unsafe
        from triage.delivery.retention import forget_old_mail
        from triage.operations.backup import back_up
        from triage.operations.clock_trust import ClockTrust
        from triage.operations.jobs import Job, Schedule
        from triage.operations.worker_process import run_in_process
        from triage.ranking.serving.active_models import encode_stored
        from triage.subscribers.erasure import rewrite_after_erasures
        from triage.subscribers.named_papers import fetch_waiting

        settings, database, clock = self.settings, self.database, self.clock
        warn_if_sqlite_is_unsafe(database)
        at = time.fromisoformat(settings.train.at)
        enriches = settings.sources.crossref.enabled or settings.sources.semantic_scholar.enabled
        reads_bounces = bool(settings.bounces.maildir or settings.bounces.imap_host)

        def read_bounces() -> str:
            return str(self.new_bounce_intake().take_all(self.read_new_bounces()))

        reading = [Job("read bounces", time(), read_bounces, BOUNCES_EVERY)]
        enriching = [Job("enrich", ENRICH_AT, lambda: str(self.enrich_recent_papers()))]
        return Schedule(
            database,
            clock,
            partial(
                self.new_nightly().queue, spread=timedelta(minutes=settings.mail.spread_minutes)
            ),
            self.new_outbox(),
            sources=lambda: self.live_sources.sources(deadline=clock.now() + LONGEST_FETCH),
            fetch_named=lambda: fetch_waiting(database, self.live_sources.lookups(), clock),
            awaited=self.live_sources.days_behind(),
            jobs=[
                *(reading if reads_bounces else []),
                Job("back up", at, lambda: back_up(database, settings.backup_path, clock)),
                Job("audit", at, lambda: run_nightly_audit(database, self.sent_log, clock)),
                Job("train", at, lambda: run_in_process(_train, settings, clock)),
                Job("tidy", at, self.signup.tidy),
                Job("read Zotero", at, self._read_zotero_again),
                Job("forget mail", at, lambda: forget_old_mail(database, clock)),
                Job("rewrite", at, lambda: rewrite_after_erasures(database)),
                *(enriching if enriches else []),
            ],
            owner=name_this_process(),
            encode=lambda: encode_stored(database, self.model_store, clock),
            is_gone=is_gone,
            distrust=(
                ClockTrust(database, clock, read_uptime)
                if isinstance(clock, SystemClock)
                else lambda: ""
            ),
        )

    def _read_zotero_again(self) -> str:
        from triage.subscribers.library_import import read_zotero_again

        n_read, problems = read_zotero_again(
            self.database, self.clock, lambda key: self.live_sources.zotero(key).library()
        )
        read = f"{n_read} {'library' if n_read == 1 else 'libraries'} read"
        return "; ".join([read, *problems])

    def close(self) -> None:
        """Close the open connections to sources and the database, and the sent log."""
        for name in ("live_sources", "unchecked_database", "sent_log"):
            if name in self.__dict__:
                getattr(self, name).close()

    def find_outcome(self, subscriber: Subscriber, row: int) -> PaperOutcome:
        """Return what has become of a row of `papers` for a subscriber; this changes nothing."""
        from triage.ranking.serving.active_models import load_active_models
        from triage.ranking.serving.outcome_finder import OutcomeFinder

        pair = load_active_models(self.database, self.model_store)
        with self.database.read() as conn:
            outcomes = OutcomeFinder(conn, self.settings.digest.max_age_days, pair)
            return outcomes.find(subscriber, row, self.clock.now())

    def new_search(self) -> Search:
        from triage.papers.search import Search

        return Search(self.database, self.model_store.load_encoder, self.settings.search_path)

    def new_web_app(self) -> Starlette:
        from triage.digest.day_ranking import DayRankings
        from triage.digest.preview import Previews
        from triage.ranking.serving.interest_settings import refresh_interests_quickly
        from triage.subscribers.named_papers import find_schemes
        from triage.web import create_app
        from triage.web.context import RankingAnswers

        previews = Previews(self.database, self.model_store, self.clock, self._digest_rules)
        return create_app(
            self.database,
            self.keyring,
            self.clock,
            self.settings.site,
            self.signup,
            RankingAnswers(
                previews.of,
                self.find_outcome,
                DayRankings(self.database, self.model_store).of,
                partial(refresh_interests_quickly, self.database, self.model_store, self.clock),
            ),
            self.new_search(),
            find_schemes(self.live_sources.lookups()),
        )


def _train(settings: Settings, clock: Clock) -> str:
    from triage.training.train import train_in_words

    app = App(settings, clock)
    try:
        return train_in_words(app.database, app.model_store, clock)
    finally:
        app.close()


def open_app(config: Path, *, clock: Clock | None = None) -> App:
    """Read the config file and return the program; this opens no connections.

    Args:
        clock: replaces the system clock.

    Raises:
        ConfigError: the file is missing or invalid.
    """
    settings = load_settings(config)
    check_chosen(settings.sources.arxiv.categories, f"{config}:\n  `sources.arxiv.categories`")
    return App(settings, clock or SystemClock())


def _password(name: str, setting: str) -> str:
    password = read_secret(name)
    if password is None:
        raise ConfigError(
            f"{setting} is set but there is no password: set TRIAGE_{name}, or"
            f" TRIAGE_{name}_FILE to a file that contains it"
        )
    return password
