"""Reads and checks the configuration: one TOML file and a few secrets."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from email.utils import parseaddr, quote
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from triage.errors import ConfigError

SECRET_FILE = "secret_key"  # noqa: S105 - a file name
SHORTEST_SECRET = 32
_NAME_AND_ADDRESS = re.compile(r"(.*)<([^<>]*)>")
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,185}")
# Account mail comes from an address with `+account` before the @, and 64 characters fit there.
_LONGEST_SENDER = 64 - len("+account")
# So long that a random secret contains none of them.
_PLACEHOLDERS = ("changeme", "change-me", "replace", "secret", "example", "xxxxxxxx")


def _web_address(value: str) -> str:
    TypeAdapter(HttpUrl).validate_python(value)
    return value.rstrip("/")


def _mail_address(value: str) -> str:
    """Return an address, with its name in quotes where `parseaddr` would read another one."""
    found = _NAME_AND_ADDRESS.fullmatch(value.strip())
    name, address = (found[1].strip(), found[2].strip()) if found else ("", value.strip())
    if found := re.fullmatch(r'"((?:[^"\\]|\\.)*)"', name):
        name = re.sub(r"\\(.)", r"\1", found[1])
    is_odd = re.search(r"[\0-\x1f\x7f<>]", name)
    if is_odd or not _ADDRESS.fullmatch(address):
        raise ValueError(
            "is not one mail address: write `papers@example.org` or `Papers <papers@example.org>`,"
            " with a domain outside ASCII as `xn--…`"
        )
    return value if parseaddr(value) == (name, address) else f'"{quote(name)}" <{address}>'


def _optional_address(value: str) -> str:
    return _mail_address(value) if value else value


def _pattern(pattern: str, message: str) -> AfterValidator:
    """Return a validator: the whole value must match, or the error is `message`."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


Category = Annotated[str, _pattern(r"[a-z-]+(\.[A-Za-z-]+)?", "is not a category such as cs.LG")]
_SLUG = "is not a short name of small letters, digits, - and _"
Slug = Annotated[str, _pattern(r"[a-z0-9][a-z0-9_-]{0,39}", _SLUG)]
# The token in a bounce address has 44 characters with its plus; a local part may have 64.
_BOUNCES = "is not a plain mail address with at most 20 characters before the @"
BounceAddress = Annotated[str, _pattern(r"([A-Za-z0-9._-]{1,20}@[A-Za-z0-9.-]{1,185})?", _BOUNCES)]
_FOLDER = "is not a folder's name as IMAP writes it: ASCII without quotes and backslashes"
ImapFolder = Annotated[str, _pattern(r"[ !#-\[\]-~]{1,200}", _FOLDER)]
ClockTime = Annotated[str, _pattern(r"([01]\d|2[0-3]):[0-5]\d", "is not a time such as 03:30")]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Seconds = Annotated[float, Field(ge=0)]
DailyRequests = Annotated[int, Field(ge=1)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Site(_Section):
    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\r\n]*$")] = "triage"
    base_url: WebAddress = "http://127.0.0.1:8000"
    contact: MailAddress = "triage@localhost"


class DatabaseSettings(_Section):
    url: str = "sqlite:///triage.db"


class ArxivSettings(_Section):
    enabled: bool = True
    categories: Annotated[tuple[Category, ...], Field(strict=False)] = ()
    rss_url: WebAddress = "https://rss.arxiv.org/rss"
    api_url: WebAddress = "https://export.arxiv.org/api/query"
    oai_url: WebAddress = "https://oaipmh.arxiv.org/oai"
    min_interval_s: Seconds = 3.0
    daily_requests: DailyRequests = 500


class _ServiceSettings(_Section):
    enabled: bool = False
    url: WebAddress
    min_interval_s: Seconds = 1.0
    daily_requests: DailyRequests = 500


class HuggingFaceDailySettings(_ServiceSettings):
    url: WebAddress = "https://huggingface.co/api/daily_papers"
    trending: bool = True


class BiorxivSettings(_ServiceSettings):
    url: WebAddress = "https://api.biorxiv.org"
    servers: Annotated[
        tuple[Literal["biorxiv", "medrxiv"], ...], Field(strict=False, min_length=1)
    ] = ("biorxiv", "medrxiv")


class SemanticScholarSettings(_ServiceSettings):
    url: WebAddress = "https://api.semanticscholar.org/graph/v1"


class CrossrefSettings(_ServiceSettings):
    url: WebAddress = "https://api.crossref.org"


class FeedSettings(_Section):
    """One RSS, Atom or JSON feed. Its address must be public, as it may come from anywhere."""

    name: Slug
    url: WebAddress
    allow_private: bool = False

    @model_validator(mode="after")
    def _is_public(self) -> Self:
        parts = urlsplit(self.url)
        if parts.username is not None:
            raise ValueError("the url has a user name: feeds are read without login")
        if self.allow_private:
            return self
        if parts.scheme != "https":
            raise ValueError("the url must begin with https://, or set allow_private = true")
        if parts.port not in {None, 443}:
            raise ValueError("the url has its own port: remove it, or set allow_private = true")
        if _is_private(parts.hostname or ""):
            raise ValueError(
                "the url is in a private network: set allow_private = true to allow it"
            )
        return self


def _is_private(host: str) -> bool:
    """Return whether the host itself shows this; names are resolved before each request."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


class SourcesSettings(_Section):
    arxiv: ArxivSettings = ArxivSettings()
    hf_daily: HuggingFaceDailySettings = HuggingFaceDailySettings()
    biorxiv: BiorxivSettings = BiorxivSettings()
    semantic_scholar: SemanticScholarSettings = SemanticScholarSettings()
    crossref: CrossrefSettings = CrossrefSettings()
    feed: Annotated[tuple[FeedSettings, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        taken = {*type(self).model_fields, "medrxiv"}
        for feed in self.feed:
            if feed.name in taken:
                raise ValueError(
                    f"two sources have the name {feed.name!r}: change the name of the feed"
                )
            taken.add(feed.name)
        return self


class DigestSettings(_Section):
    size: Annotated[int, Field(ge=1, le=60)] = 10
    max_age_days: Annotated[int, Field(ge=1, le=365)] = 14
    score_floor: Annotated[float, Field(ge=0, lt=1)] = 0.01
    exploration_slots: Annotated[int, Field(ge=0, le=1)] = 1


class MailSettings(_Section):
    transport: Literal["maildir", "smtp"] = "maildir"
    path: Annotated[str, Field(min_length=1)] = "mail"
    sender: Annotated[MailAddress, Field(alias="from")] = "triage <triage@localhost>"
    notes_from: Annotated[str, AfterValidator(_optional_address)] = ""
    bounces: BounceAddress = ""
    votes: Literal["links", "mailto", "both"] = "links"
    dkim_selector: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,63}$")] = ""
    host: Annotated[str, Field(min_length=1)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "smtps", "none"] = "starttls"
    username: str = ""
    helo_name: Annotated[str, Field(pattern=r"^([A-Za-z0-9.-]{1,253}|\[[A-Za-z0-9.:]+\])?$")] = ""
    connections: Annotated[int, Field(ge=1, le=16)] = 4
    per_second: Annotated[float, Field(ge=0)] = 0.0
    per_domain_per_second: Annotated[float, Field(ge=0)] = 0.0
    per_domain_connections: Annotated[int, Field(ge=0, le=16)] = 0
    ramp_up_per_hour: Annotated[float, Field(ge=0)] = 0.0
    spread_minutes: Annotated[float, Field(ge=0, le=180)] = 0.0
    ambiguous: Literal["resend", "hold"] = "resend"
    log: str = ""

    @model_validator(mode="after")
    def _account_mail_has_a_sender(self) -> Self:
        local = parseaddr(self.sender)[1].rpartition("@")[0]
        if not self.notes_from and len(local) > _LONGEST_SENDER:
            raise ValueError(
                f"`from` has more than {_LONGEST_SENDER} characters before the @: use a shorter"
                " address, or set `notes_from`, the address of account mail"
            )
        return self


class BouncesSettings(_Section):
    maildir: str = ""
    imap_host: str = ""
    imap_port: Annotated[int, Field(ge=1, le=65535)] = 993
    imap_folder: ImapFolder = "INBOX"
    username: str = ""
    authserv_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,253}$")] = ""


class TrainSettings(_Section):
    at: ClockTime = "03:30"


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            size = ip_network(text, strict=False).prefixlen
        except ValueError:
            raise ValueError(
                f"{text[:60]!r} is not a network such as `192.0.2.0/24` or `2001:db8::/48`"
            ) from None
        if size == 0:
            raise ValueError(f"{text!r} is the whole internet: name your own networks")
    return texts


class WebSettings(_Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    operator_port: Annotated[int, Field(ge=0, le=65535)] = 8017
    trusted_networks: Annotated[
        tuple[str, ...], Field(strict=False), AfterValidator(_networks)
    ] = ()


class EngineSettings(_Section):
    kind: Literal["processes", "dask"] = "processes"
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    address: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "processes" and self.address:
            raise ValueError('`address` is for kind = "dask": set it to "", or the kind to "dask"')
        if self.kind == "dask" and not re.fullmatch(r"(tcp|tls)://\S+:\d+", self.address):
            raise ValueError(
                'kind = "dask" needs the `address` of its scheduler, such as'
                ' "tls://scheduler.example.org:8786"'
            )
        if self.kind == "dask" and self.workers:
            raise ValueError(
                '`workers` is for kind = "processes": Dask\'s own commands start the workers of a'
                " cluster, so set it to 0"
            )
        return self


class Settings(_Section):
    """All settings. Relative paths are relative to `folder`."""

    site: Site = Site()
    database: DatabaseSettings = DatabaseSettings()
    sources: SourcesSettings = SourcesSettings()
    digest: DigestSettings = DigestSettings()
    mail: MailSettings = MailSettings()
    bounces: BouncesSettings = BouncesSettings()
    train: TrainSettings = TrainSettings()
    engine: EngineSettings = EngineSettings()
    web: WebSettings = WebSettings()
    folder: Annotated[Path, Field(exclude=True)] = Path()

    @model_validator(mode="after")
    def _workers_can_open_the_database(self) -> Self:
        if self.engine.kind == "dask" and self.database.url.startswith("sqlite"):
            raise ValueError(
                '[engine] kind = "dask" needs PostgreSQL in [database] url: other machines cannot'
                " open a file of SQLite"
            )
        return self

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database; None for a server or a database in memory."""
        path = self.database.url.removeprefix("sqlite:///")
        if path == self.database.url or path.startswith(":memory:"):
            return None
        return Path(path) if path.startswith("/") else (self.folder / path).resolve()

    @property
    def database_url(self) -> str:
        """The URL of the database; a relative SQLite path is made absolute."""
        return f"sqlite:///{self.database_file}" if self.database_file else self.database.url

    @property
    def mail_path(self) -> Path:
        return self.folder / self.mail.path

    @property
    def account_mail_sender(self) -> str:
        """The sender of account mail: another address, so that it has a reputation of its own."""
        if self.mail.notes_from:
            return self.mail.notes_from
        name, address = parseaddr(self.mail.sender)
        local, _, domain = address.rpartition("@")
        address = f"{local}+account@{domain}"
        return f'"{quote(name)}" <{address}>' if name else address

    @property
    def bounces_maildir(self) -> Path | None:
        """The Maildir with returned mail, or None."""
        return self.folder / self.bounces.maildir if self.bounces.maildir else None

    @property
    def mail_log(self) -> Path | None:
        """The log of the local Postfix, or None."""
        return self.folder / self.mail.log if self.mail.log else None

    @property
    def sent_log_path(self) -> Path:
        """The sent log: next to the database file or, with a server, in `folder`."""
        return (self.database_file or self.folder / "-").with_name("sent.journal")

    @property
    def backup_path(self) -> Path:
        """The folder of the nightly copies of the database."""
        return self.folder / "backups"

    @property
    def models_path(self) -> Path:
        """The folder of encoders and scorers."""
        return self.folder / "models"

    @property
    def search_path(self) -> Path:
        """The folder of the vectors that a search maps; it can be deleted at any time."""
        return self.folder / "search"


def load_settings(path: Path) -> Settings:
    """Read the config file.

    Raises:
        ConfigError: the file is missing, is not TOML, or has a wrong key or value; the message has
            the file, the key and, for an unknown key, the most similar valid one.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} does not exist: run `triage init`, or name a file with --config"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read as TOML: save it as UTF-8 ({error})") from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from error
    if "folder" in content:
        raise ConfigError(f"{path}: unknown key `folder`")
    try:
        return Settings(**content, folder=path.resolve().parent)
    except ValidationError as error:
        problems = "\n  ".join(_problem(details) for details in error.errors())
        raise ConfigError(f"{path}:\n  {problems}") from None


def _problem(details: Any) -> str:
    # A number is a position in a list, such as the second feed.
    place = [part for part in details["loc"] if isinstance(part, str)]
    numbers = [part + 1 for part in details["loc"] if isinstance(part, int)]
    key = f"`{'.'.join(place)}`" + "".join(f" (number {n})" for n in numbers)
    if details["type"] == "extra_forbidden":
        valid = _valid_keys(place)
        nearest = difflib.get_close_matches(place[-1], valid, n=1, cutoff=0.5)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"valid here: {', '.join(valid)}"
        return f"unknown key {key}: {hint}"
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "tuple_type":
        is_table = isinstance(details["input"], dict)
        message = f"write it as [[{'.'.join(place)}]]" if is_table else "Input should be a list"
    got = "" if isinstance(details["input"], dict) else f" (got {details['input']!r})"
    return f"{key}: {message}{got}" if place else message


def _valid_keys(place: list[str]) -> list[str]:
    section: type[BaseModel] = Settings
    for name in place[:-1]:
        annotation = section.model_fields[name].annotation if name in section.model_fields else None
        # For a list of sections, take the type of its items.
        annotation = next(iter(get_args(annotation)), annotation)
        if not isinstance(annotation, type) or not issubclass(annotation, BaseModel):
            return []
        section = annotation
    fields = section.model_fields.items()
    return [field.alias or name for name, field in fields if name != "folder"]


def read_secret(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the secret `TRIAGE_<NAME>`, or the content of the file `TRIAGE_<NAME>_FILE`.

    Raises:
        ConfigError: the file cannot be read.
    """
    value = environment.get(f"TRIAGE_{name}")
    if value:
        return value.removeprefix("\N{BYTE ORDER MARK}").strip()
    path = environment.get(f"TRIAGE_{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"TRIAGE_{name}_FILE names a file that cannot be read") from error


def read_signing_secret(folder: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Return the secret that signs links and model files.

    Raises:
        ConfigError: it is missing, too short or a placeholder. The message never contains it.
    """
    value = read_secret("SECRET_KEY", environment)
    if value is None:
        try:
            value = (folder / SECRET_FILE).read_text("utf-8-sig").strip()
        except FileNotFoundError:
            raise ConfigError(
                f"there is no signing secret: set TRIAGE_SECRET_KEY, restore the old one, or write"
                f" {SHORTEST_SECRET} or more random characters into {folder / SECRET_FILE}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{folder / SECRET_FILE} cannot be read") from error
    if len(value) < SHORTEST_SECRET or len(set(value)) < 8:
        raise ConfigError(
            f"the signing secret is too short: it needs {SHORTEST_SECRET} random characters"
        )
    if any(word in value.lower() for word in _PLACEHOLDERS):
        raise ConfigError("the signing secret is a placeholder: write a random one")
    return value
