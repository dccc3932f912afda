"""One config file, explained and checked; secrets that stand elsewhere and are never shown."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest

from triage.domain.chances import LENGTHS
from triage.errors import ConfigError
from triage.resources import example_config
from triage.settings import Settings, load_settings, read_secret, read_signing_secret

GOOD_SECRET = "q7Rk2mZx9Lw4Tb8Ny5Vc1Hd6Jf3Gs0Pa-QeWr"


def written(folder: Path, text: str) -> Path:
    path = folder / "triage.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert str(path) in message
    return message


# -- the example -----------------------------------------------------------------------------------


def defaults() -> dict[str, Any]:
    found = Settings().model_dump(by_alias=True, mode="json")
    # No feed is the default, and TOML has no way to write an empty [[sources.feed]].
    assert found["sources"].pop("feed") == []
    return found


def _leaves(value: object) -> int:
    return sum(map(_leaves, value.values())) if isinstance(value, dict) else 1


def test_the_example_equals_the_defaults() -> None:
    assert tomllib.loads(example_config()) == defaults()


def test_the_example_explains_every_key_right_above_it() -> None:
    lines = example_config().splitlines()
    explained = [
        (before, line) for before, line in itertools.pairwise(lines) if re.match(r"\w+ = ", line)
    ]
    n_keys = _leaves(defaults())
    assert len(explained) == n_keys
    alone = [line for before, line in explained if not before.startswith("# ")]
    # A host and its port are one thing to say.
    assert alone == ["port = 8000"]


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""))
    assert settings.model_dump(mode="json") == Settings().model_dump(mode="json")


def test_the_example_can_be_loaded_as_it_is(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, example_config()))
    assert settings.model_dump(mode="json") == Settings().model_dump(mode="json")


def test_the_example_of_a_feed_can_be_taken_as_it_is_and_has_every_key(tmp_path: Path) -> None:
    _, _, below = example_config().partition("# [[sources.feed]]\n")
    lines = ["[[sources.feed]]"]
    for line in itertools.takewhile(lambda line: line.startswith("# "), below.splitlines()):
        lines.append(line.removeprefix("# "))
    values = [line for line in lines if re.match(r"\w+ = ", line)]
    explained = [line for line in lines if line.startswith("# ")]
    (feed,) = load_settings(written(tmp_path, "\n".join(lines))).sources.feed
    assert [line.partition(" = ")[0] for line in values] == list(type(feed).model_fields)
    assert len(explained) == len(values)
    assert feed.allow_private is False


# -- values ----------------------------------------------------------------------------------------


def test_values_are_taken_and_the_rest_keeps_its_defaults(tmp_path: Path) -> None:
    settings = load_settings(
        written(
            tmp_path,
            """
            [site]
            base_url = "https://papers.example/triage/"
            [mail]
            from = "Morning papers <papers@example.org>"
            [digest]
            size = 7
            """,
        )
    )
    assert settings.site.base_url == "https://papers.example/triage"
    assert settings.mail.sender == "Morning papers <papers@example.org>"
    assert settings.digest.size == 7
    assert settings.digest.max_age_days == Settings().digest.max_age_days


def test_relative_paths_count_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    written(home, '[database]\nurl = "sqlite:///data/x.db"\n[mail]\npath = "box"\n')
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Path("home/triage.toml"))
    monkeypatch.chdir("/")
    assert settings.database_url == f"sqlite:///{home / 'data/x.db'}"
    assert settings.mail_path == home / "box"
    assert settings.models_path == home / "models"


@pytest.mark.parametrize("url", ["sqlite:////var/lib/triage.db", "sqlite:///:memory:"])
def test_an_absolute_database_address_stays_as_it_is(tmp_path: Path, url: str) -> None:
    assert load_settings(written(tmp_path, f'[database]\nurl = "{url}"')).database_url == url


def test_feeds_come_one_after_the_other(tmp_path: Path) -> None:
    text = """
        [[sources.feed]]
        name = "distill"
        url = "https://distill.pub/rss.xml"
        [[sources.feed]]
        name = "intranet"
        url = "http://10.0.0.7/papers.json"
        allow_private = true
        """
    feeds = load_settings(written(tmp_path, text)).sources.feed
    assert [(feed.name, feed.allow_private) for feed in feeds] == [
        ("distill", False),
        ("intranet", True),
    ]


def feed(name: str = "a", url: str = "https://example.org/feed", more: str = "") -> str:
    return f'[[sources.feed]]\nname = "{name}"\nurl = "{url}"\n{more}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (feed(name="My feed"), "is not a short name of small letters"),
        (feed(name=""), "is not a short name of small letters"),
        (feed(name="arxiv"), "two sources have the name 'arxiv'"),
        (feed(name="medrxiv"), "two sources have the name 'medrxiv'"),
        (feed() + feed(), "two sources have the name 'a'"),
        (feed(url="http://example.org/feed"), "must begin with https://"),
        (feed(url="file:///etc/passwd"), "`sources.feed.url` (number 1)"),
        (feed(url="https://127.0.0.1/feed"), "is in a private network"),
        (feed(url="https://169.254.169.254/latest"), "is in a private network"),
        (feed(url="https://[::1]/feed"), "is in a private network"),
        (feed(url="https://example.org:8443/feed"), "has its own port"),
        (feed(url="https://localhost/feed"), "is in a private network"),
        (feed(url="https://me:hunter2@example.org/feed"), "without login"),
        (feed() + feed("b", more="alow_private = true"), "did you mean `allow_private`?"),
        (feed() + feed("b", more='allow_private = "yes"'), "`sources.feed.allow_private` (number"),
        ("[sources.feed]\nname = 'a'", "write it as [[sources.feed]]"),
        ('[sources.arxiv]\ncategories = "cs.LG"', "Input should be a list (got 'cs.LG')"),
        ("[sources.biorxiv]\nservers = []", "`sources.biorxiv.servers`: "),
        ('[sources.biorxiv]\nservers = ["chemrxiv"]', "'biorxiv' or 'medrxiv' (got 'chemrxiv')"),
        ("[sources.crossref]\ndaily_requests = 0", "`sources.crossref.daily_requests`: "),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    message = refusal(tmp_path, text)
    assert words in message
    assert "hunter2" not in message


def test_a_feed_may_be_private_if_that_is_said(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:8080/feed", "http://localhost/feed", "https://10.1.2.3/x"):
        text = feed(url=url, more="allow_private = true")
        assert load_settings(written(tmp_path, text)).sources.feed[0].url == url


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""))
    with pytest.raises(ValueError, match="frozen"):
        settings.digest.size = 3


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "bounces",
        "triage <b@example.org>",
        "b+x@example.org",
        f"{'b' * 21}@example.org",
        "b@e x.org",
    ],
)
def test_a_mailbox_for_bounces_has_room_for_a_token(tmp_path: Path, address: str) -> None:
    message = refusal(tmp_path, f'[mail]\nbounces = "{address}"')
    assert "`mail.bounces`: is not a plain mail address with at most 20 characters" in message
    longest = f"{'b' * 20}@example.org"
    settings = load_settings(written(tmp_path, f'[mail]\nbounces = "{longest}"'))
    assert settings.mail.bounces == longest


def test_the_usual_length_is_a_bit_more(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "")).digest.score_floor == LENGTHS["more"]


def test_a_maildir_for_bounces_counts_from_the_file(tmp_path: Path) -> None:
    text = '[bounces]\nmaildir = "returned"'
    assert load_settings(written(tmp_path, text)).bounces_maildir == tmp_path / "returned"
    assert load_settings(written(tmp_path, "")).bounces_maildir is None


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[diggest]\nsize = 3", "diggest", "digest"),
        ("wep = 1", "wep", "web"),
        ("[digest]\nsise = 3", "digest.sise", "size"),
        ("[digest]\nscore_flor = 0.1", "digest.score_flor", "score_floor"),
        ("[mail]\nform = 'a@b.example'", "mail.form", "from"),
        ("[mail]\nsender_ = 'a@b.example'", "mail.sender_", None),
        ("[database]\nuri = 'sqlite:///x.db'", "database.uri", "url"),
        ("[web]\nprot = 80", "web.prot", "port"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(
    tmp_path: Path, text: str, key: str, nearest: str | None
) -> None:
    message = refusal(tmp_path, text)
    assert f"unknown key `{key}`" in message
    if nearest:
        assert f"did you mean `{nearest}`?" in message
    else:
        assert "valid here: transport, path, from" in message


def test_a_key_like_no_other_is_answered_with_all_valid_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, "[web]\nxyzzy = 1")
    assert "`web.xyzzy`: valid here: host, port" in message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[digest]\nsize = "ten"', "digest.size"),
        ('[digest]\nsize = "10"', "digest.size"),
        ("[digest]\nsize = true", "digest.size"),
        ("[digest]\nsize = 0", "digest.size"),
        ("[digest]\nscore_floor = 1.0", "digest.score_floor"),
        ("[digest]\nscore_floor = nan", "digest.score_floor"),
        ("[digest]\nexploration_slots = 2", "digest.exploration_slots"),
        ("[web]\nport = 70000", "web.port"),
        ("[site]\nname = 3", "site.name"),
        ('[site]\nname = "a\\nBcc: x@y.example"', "site.name"),
        ('[site]\nbase_url = "papers.example"', "site.base_url"),
        ('[site]\nbase_url = "javascript:alert(1)"', "site.base_url"),
        ('[site]\ncontact = "nobody"', "site.contact"),
        ('[mail]\nfrom = "a@b.example\\r\\nBcc: c@d.example"', "mail.from"),
        ('[mail]\ntransport = "pigeon"', "mail.transport"),
        ("site = 3", "site"),
        ("[[digest]]\nsize = 3", "digest"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(tmp_path: Path, text: str, key: str) -> None:
    assert f"`{key}`: " in refusal(tmp_path, text)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, '[digest]\nsise = 3\n[web]\nport = "x"\n[nope]\n')
    assert [key for key in ("digest.sise", "web.port", "nope") if f"`{key}`" in message] == [
        "digest.sise",
        "web.port",
        "nope",
    ]


def test_a_whole_number_may_stand_where_a_fraction_is_meant(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "[digest]\nscore_floor = 0"))
    assert settings.digest.score_floor == 0


@pytest.mark.parametrize("text", ["[site", "size == 3", "[digest]\nsize = 3\nsize = 4"])
def test_what_is_not_toml_is_told(tmp_path: Path, text: str) -> None:
    assert "cannot be read as TOML" in refusal(tmp_path, text)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "triage.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_settings(path)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run `triage init`, or name a file with --config"):
        load_settings(tmp_path / "none.toml")


def test_the_folder_is_not_for_the_file_to_say(tmp_path: Path) -> None:
    assert "unknown key `folder`" in refusal(tmp_path, 'folder = "/"')


# -- secrets ---------------------------------------------------------------------------------------


def test_a_secret_is_taken_from_the_environment_first(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("of the file " * 4)
    (tmp_path / "elsewhere").write_text("named file " * 4)
    environment = {
        "TRIAGE_SECRET_KEY": f" {GOOD_SECRET}\n",
        "TRIAGE_SECRET_KEY_FILE": str(tmp_path / "elsewhere"),
    }
    assert read_signing_secret(tmp_path, environment) == GOOD_SECRET


def test_then_from_the_file_that_the_environment_names(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("of the file " * 4)
    (tmp_path / "elsewhere").write_text(GOOD_SECRET + "\n")
    environment = {"TRIAGE_SECRET_KEY_FILE": str(tmp_path / "elsewhere")}
    assert read_signing_secret(tmp_path, environment) == GOOD_SECRET


def test_then_from_the_file_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text(GOOD_SECRET + "\n")
    assert read_signing_secret(tmp_path, {}) == GOOD_SECRET


def test_no_secret_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set TRIAGE_SECRET_KEY, restore the old one, or write"):
        read_signing_secret(tmp_path, {})


def test_a_secret_file_that_cannot_be_read_is_told_by_the_names_of_its_setting(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="TRIAGE_SECRET_KEY_FILE names a file that cannot"):
        read_signing_secret(tmp_path, {"TRIAGE_SECRET_KEY_FILE": str(tmp_path / "none")})
    (tmp_path / "secret_key").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_signing_secret(tmp_path, {})


@pytest.mark.parametrize(
    "weak",
    [
        "hunter2",
        GOOD_SECRET[:31],
        "a" * 60,
        "abcdefg" * 8,
        "changeme-" + GOOD_SECRET,
        "Replace-This-" + GOOD_SECRET,
        "my-SECRET-" + GOOD_SECRET,
        "xxxxxxxx" + GOOD_SECRET,
    ],
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_weak_secret_is_refused_and_never_shown(tmp_path: Path, weak: str, place: str) -> None:
    (tmp_path / "secret_key").write_text(weak)
    environment = {"TRIAGE_SECRET_KEY": weak} if place == "environment" else {}
    with pytest.raises(ConfigError, match=r"too short|placeholder") as caught:
        read_signing_secret(tmp_path, environment)
    assert weak not in str(caught.value)


def test_other_secrets_are_optional(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    assert read_secret("MAIL_PASSWORD", {}) is None
    assert read_secret("MAIL_PASSWORD", {"TRIAGE_MAIL_PASSWORD": ""}) is None
    assert read_secret("MAIL_PASSWORD", {"TRIAGE_MAIL_PASSWORD": "hunter2"}) == "hunter2"
    named = {"TRIAGE_MAIL_PASSWORD_FILE": str(tmp_path / "password")}
    assert read_secret("MAIL_PASSWORD", named) == "hunter2"


def test_a_secret_in_the_config_file_is_an_unknown_key(tmp_path: Path) -> None:
    message = refusal(tmp_path, f'secret_key = "{GOOD_SECRET}"')
    assert "unknown key `secret_key`" in message
    assert GOOD_SECRET not in message


# -- files of other editors ------------------------------------------------------------------------

BOM = "\N{BYTE ORDER MARK}".encode()


@pytest.mark.parametrize(
    "content",
    [
        BOM + b"[digest]\nsize = 7\n",
        BOM + b"[digest]\r\nsize = 7\r\n",
        b"[digest]\r\nsize = 7\r\n",
        BOM + b"\r\n# first a comment\r\n\r\n[digest]\r\nsize = 7",
        BOM + '[site]\r\nname = "Bücher"\r\n[digest]\r\nsize = 7\r\n'.encode(),
    ],
)
def test_a_config_that_notepad_saved_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "triage.toml"
    path.write_bytes(content)
    assert load_settings(path).digest.size == 7


def test_a_config_of_a_byte_order_mark_alone_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "triage.toml"
    path.write_bytes(BOM)
    assert load_settings(path) == Settings(folder=tmp_path)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_config_in_another_coding_is_answered_with_what_to_do(
    tmp_path: Path, coding: str
) -> None:
    path = tmp_path / "triage.toml"
    path.write_bytes("[site]\nname = 'Bücher ☃'".encode(coding, "replace"))
    with pytest.raises(ConfigError, match="cannot be read as TOML: save it as UTF-8"):
        load_settings(path)


@pytest.mark.parametrize("content", [BOM + b"hunter2", BOM + b"hunter2\r\n", b"hunter2\r\n\r\n"])
def test_a_password_file_that_notepad_saved_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    assert read_secret("MAIL_PASSWORD", {"TRIAGE_MAIL_PASSWORD_FILE": str(path)}) == "hunter2"


def test_a_secret_of_the_environment_may_come_from_such_a_file() -> None:
    environment = {"TRIAGE_MAIL_PASSWORD": "\N{BYTE ORDER MARK}hunter2\r\n"}
    assert read_secret("MAIL_PASSWORD", environment) == "hunter2"


def test_a_signing_secret_that_notepad_saved_is_the_same_secret(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_bytes(BOM + GOOD_SECRET.encode() + b"\r\n")
    assert read_signing_secret(tmp_path, {}) == GOOD_SECRET


# -- senders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Papers @ Lab <papers@example.org>", "Papers @ Lab"),
        ("Papers@Lab <papers@example.org>", "Papers@Lab"),
        ("Papers: daily <papers@example.org>", "Papers: daily"),
        ("Papers (daily) <papers@example.org>", "Papers (daily)"),
        ("Papers, daily <papers@example.org>", "Papers, daily"),
        ("Papers; daily <papers@example.org>", "Papers; daily"),
        ("Dr. A. Lovelace <papers@example.org>", "Dr. A. Lovelace"),
        ("[arXiv] papers! <papers@example.org>", "[arXiv] papers!"),
        ("Papers\\Lab <papers@example.org>", "Papers\\Lab"),
        ('"Papers @ Lab" <papers@example.org>', "Papers @ Lab"),
        ('"The \\"best\\" papers" <papers@example.org>', 'The "best" papers'),
        ('The "best" papers <papers@example.org>', 'The "best" papers'),
        ('"Papers <papers@example.org>', '"Papers'),
        ("Bücher, täglich <papers@example.org>", "Bücher, täglich"),
        ("論文: 毎日 <papers@example.org>", "論文: 毎日"),
        ("  Papers  <papers@example.org>  ", "Papers"),
        ("<papers@example.org>", ""),
        ("papers@example.org", ""),
    ],
)
def test_the_name_of_the_sender_may_have_any_characters(
    tmp_path: Path, value: str, name: str
) -> None:
    for section, key in (("mail", "from"), ("mail", "notes_from"), ("site", "contact")):
        settings = load_settings(written(tmp_path, f"[{section}]\n{key} = {json.dumps(value)}"))
        mail = settings.mail
        read = {
            "from": mail.sender,
            "notes_from": mail.notes_from,
            "contact": settings.site.contact,
        }
        assert parseaddr(read[key]) == (name, "papers@example.org")


def test_account_mail_has_the_same_odd_name(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, '[mail]\nfrom = "Papers @ Lab <p@example.org>"'))
    assert parseaddr(settings.account_mail_sender) == ("Papers @ Lab", "p+account@example.org")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Papers",
        "Papers <>",
        "Papers <papers>",
        "Papers papers@example.org",
        "papers@example.org (Papers)",
        "a@example.org, b@example.org",
        "A <a@example.org>, B <b@example.org>",
        "Papers <a@example.org> <b@example.org>",
        "Papers: a@example.org;",
        "Papers <a@b@example.org>",
        "Papers <papers @example.org>",
        "Papers <papers@[192.0.2.1]>",
        "Papers <käse@example.org>",
        "Papers <papers@bücher.example>",
        "Papers <mailto:papers@example.org>",
        f"Papers <{'p' * 65}@example.org>",
        f"Papers <p@{'a.' * 95}example>",
        "Pap\ners <papers@example.org>",
        "Pap\0ers <papers@example.org>",
    ],
)
def test_what_is_not_one_sender_is_refused(tmp_path: Path, value: str) -> None:
    message = refusal(tmp_path, f"[mail]\nfrom = {json.dumps(value)}")
    assert "`mail.from`: is not one mail address: write `papers@example.org`" in message


def test_a_sender_that_leaves_no_room_for_account_mail_is_refused(tmp_path: Path) -> None:
    longest, longer = f"{'p' * 56}@example.org", f"{'p' * 57}@example.org"
    assert load_settings(written(tmp_path, f'[mail]\nfrom = "{longest}"')).account_mail_sender
    assert "more than 56 characters" in refusal(tmp_path, f'[mail]\nfrom = "{longer}"')
    apart = f'[mail]\nfrom = "{longer}"\nnotes_from = "us@example.org"'
    assert load_settings(written(tmp_path, apart)).account_mail_sender == "us@example.org"


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ('["lab"]', "'lab' is not a network such as"),
        ('["192.0.2.0/33"]', "'192.0.2.0/33' is not a network such as"),
        ('["0.0.0.0/0"]', "the whole internet"),
        ('["::/0"]', "the whole internet"),
        ('"192.0.2.0/24"', "should be a list"),
        ("[7]", "string"),
    ],
)
def test_what_is_no_trusted_network_is_refused(tmp_path: Path, networks: str, words: str) -> None:
    message = refusal(tmp_path, f"[web]\ntrusted_networks = {networks}\n")
    assert "`web.trusted_networks" in message
    assert words in message
