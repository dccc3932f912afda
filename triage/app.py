"""Composes the program from its settings: the one place where ports meet what is behind them."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from triage.clock import SystemClock
from triage.errors import ConfigError
from triage.settings import SECRET_FILE, Settings, load_settings, signing_secret

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from triage.digest import Composed, Nightly
    from triage.outbox import Outbox
    from triage.ports import Clock, Mailer
    from triage.records import Slate
    from triage.store import Database
    from triage.tokens import Keyring
    from triage.workshop import FileWorkshop

CONFIG_NAME = "triage.toml"


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
        from triage.tokens import Keyring

        return Keyring(self._secret)

    @cached_property
    def workshop(self) -> FileWorkshop:
        from triage.workshop import FileWorkshop

        # Models are sealed with a key of their own, so that neither key tells of the other.
        key = hashlib.sha256(b"triage models\0" + self._secret.encode()).digest()
        return FileWorkshop(self.settings.models_path, key)

    @cached_property
    def mailer(self) -> Mailer:
        from triage.mailbox import Maildir

        return self.own_mailer or Maildir(self.settings.mail_path)

    def nightly(self) -> Nightly:
        from triage.digest import Nightly
        from triage.ranking import DigestRules

        digest = self.settings.digest
        return Nightly(
            self.database,
            self.clock,
            sources=(),
            workshop=self.workshop,
            compose=self.compose,
            rules=DigestRules(
                size=digest.size,
                max_age_days=digest.max_age_days,
                score_floor=digest.score_floor,
                exploration_slots=digest.exploration_slots,
            ),
        )

    def outbox(self) -> Outbox:
        from triage.outbox import Outbox

        return Outbox(
            self.database, self.mailer, self.clock, owner=_this_process(), is_gone=_is_gone
        )

    def compose(self, slate: Slate, now: datetime) -> Composed:
        """Turn a slate into frozen bytes: links, then text and HTML, then the message."""
        from triage.digest import Composed
        from triage.links import digest_links
        from triage.mail import build_digest
        from triage.render import render_digest

        site = self.settings.site
        links = digest_links(slate, self.keyring, site.base_url, site.contact, now.date())
        rendered = render_digest(slate, links, site.name)
        message = build_digest(
            slate,
            links,
            rendered,
            sender=self.settings.mail.sender,
            reply_to=site.contact,
            site_name=site.name,
            date=now,
        )
        return Composed(message, rendered.n_papers)

    def web(self) -> Starlette:
        from triage.web import create_app

        return create_app(self.database, self.keyring, self.clock, self.settings.site)


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
    """Write config and secret, and make the database; an existing installation stays as it is.

    Args:
        example: the text of the config file to write.

    Returns:
        The config file, and whether it was written now.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from triage.migrate import upgrade

    config = folder / CONFIG_NAME
    fresh = not config.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if fresh:
            _write_private(config, example)
        if not (folder / SECRET_FILE).exists():
            _write_private(folder / SECRET_FILE, secrets.token_urlsafe(48) + "\n")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
    app = open_app(config)
    _make_private(app.settings.database_url)
    upgrade(app.unchecked_database)
    app.unchecked_database.close()
    return config, fresh


def _make_private(database_url: str) -> None:
    # SQLite gives its own files the mode of the database, and the database holds addresses.
    path = database_url.removeprefix("sqlite:///")
    if path != database_url and not path.startswith(":memory:"):
        Path(path).touch(mode=0o600)


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
