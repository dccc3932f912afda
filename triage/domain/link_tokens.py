"""Signed tokens in links. Each token allows one action.

A token is `v1.<kid>.<payload>.<mac>` in base64url without padding (RFC 4648 section 5), at most 66
characters. Each purpose has its own MAC key, so a token is invalid for every other purpose. The
payload is binary, big endian:

    1 byte   purpose (high half) and action (low half)
    1 byte   position on the slate, 0 for none
    4 bytes  minute of issue, counted from 2020-01-01T00:00Z
    10 bytes public id of the subscriber
    10 bytes public id of the slate, omitted if there is none

Mail addresses are short, and mail servers may change their case. A token in an address is a letter
for the purpose and 42 characters of base32 (RFC 4648 section 6): 16 for a public id and 26 for the
MAC. It has no key id, so all keys are tried. A vote also has two characters (8 bits position, 2
bits action), and 24 for the MAC. It has no minute of issue: its digest has a date.

Tokens contain no personal data, because public ids are random. But whoever has a token can use it,
so tokens never appear in logs and error pages.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from triage.domain.records import EventKind
from triage.errors import ConfigError, TokenError, TokenExpired

SECRET_LENGTH = 32
_MAC_BYTES = 16
# All that is left of the 43 characters of a vote in an address: 120 bits.
_VOTE_MAC_BYTES = 15
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_PUBLIC_ID = re.compile(r"[0-9a-f]{20}")
_TOKEN = re.compile(
    r"v1\.([A-Za-z0-9_-]{4})\.([A-Za-z0-9_-]{22,35})\.([A-Za-z0-9_-]{22})", re.ASCII
)
# Matches more than tokens: damaged, percent-encoded and cut ones must not reach a log either.
_REDACTED = re.compile(
    r"(?<=/[pvuclfd]/)[^\s\"'<>]+|v1(?:\.|%(?:25)*2e)[\w.%~-]{8,}"
    r"|(?:(?<=[+])|(?<=%2b))[buv][a-z2-7]{30,}(?=@)|v[a-z2-7]{42}",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"([bu])([a-z2-7]{16})([a-z2-7]{26})")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_VOTE_IN_ADDRESS = re.compile(r"(v[a-z2-7]{18})([a-z2-7]{24})")


class Purpose(StrEnum):
    """The purpose of a token. The order is part of the format: append, never reorder."""

    VOTE = "vote"
    UNSUBSCRIBE = "unsubscribe"
    PAPER = "paper"
    CONFIRM = "confirm"
    LOGIN = "login"
    FORM = "preferences"
    BOUNCE = "bounce"
    FEED = "feed"
    DIGEST = "digest"


# Tokens for other purposes have no end.
LIFETIMES: dict[Purpose, timedelta] = {
    Purpose.VOTE: timedelta(days=180),
    Purpose.CONFIRM: timedelta(days=7),
    Purpose.LOGIN: timedelta(minutes=15),
    Purpose.FORM: timedelta(hours=1),
    Purpose.DIGEST: timedelta(days=180),
}

_PURPOSES = tuple(Purpose)
_LETTERS = {Purpose.BOUNCE: "b", Purpose.UNSUBSCRIBE: "u"}
_ACTIONS = (None, *EventKind)


@dataclass(frozen=True, slots=True)
class Claims:
    """The content of a token.

    Attributes:
        subscriber: public id.
        issued_at: aware; tokens keep it to the minute.
        slate: public id, or "" if there is none.
        position: 1-based position on the slate, 0 for none.
        action: the vote, for vote tokens only.
    """

    subscriber: str
    issued_at: datetime
    slate: str = ""
    position: int = 0
    action: EventKind | None = None


class Keyring:
    """Signs tokens with the current key; verifies them with it and with older keys."""

    def __init__(self, secret: str, *old_secrets: str) -> None:
        """Derive the keys.

        Raises:
            ConfigError: a secret is shorter than SECRET_LENGTH.
        """
        self._keys: dict[str, dict[Purpose, bytes]] = {}
        for each in (secret, *old_secrets):
            kid, keys = _derive(each)
            self._keys.setdefault(kid, keys)
        self._current = next(iter(self._keys))

    def sign(self, purpose: Purpose, claims: Claims) -> str:
        """Return the token; equal claims give equal tokens.

        Raises:
            ValueError: a claim does not fit the format.
        """
        signed = f"v1.{self._current}.{_encode(_pack(purpose, claims))}"
        return f"{signed}.{_encode(_mac(self._keys[self._current][purpose], signed))}"

    def verify(self, token: str, purpose: Purpose, now: datetime) -> Claims:
        """Return the claims of a valid token of this purpose.

        The MAC covers the text and is compared as text in constant time, so a token has one
        spelling.

        Raises:
            TokenExpired: it is genuine and for this purpose, but too old.
            TokenError: it is not valid; the message does not contain the token.
        """
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise TokenError("this link is damaged or incomplete; open it from the mail again")
        kid, _, mac = parts.groups()
        keys = self._keys.get(kid)
        if keys is None:
            raise TokenError("this link was signed with a key that is no longer in use")
        signed, _, _ = token.rpartition(".")
        if not hmac.compare_digest(_encode(_mac(keys[purpose], signed)), mac):
            raise TokenError("this link is not for this page, or was altered")
        stated, claims = _unpack(base64.urlsafe_b64decode(f"{parts[2]}=="))
        if stated is not purpose:
            raise TokenError("this link is not for this page")
        lifetime = LIFETIMES.get(purpose)
        if lifetime is not None and now >= claims.issued_at + lifetime:
            raise TokenExpired("this link is too old; use one from a newer mail")
        return claims

    def seal(self, text: str) -> str:
        """Return a MAC that proves that we issued a form, for its time or its session."""
        return _seal(self._keys[self._current], text)

    def is_seal(self, seal: str, text: str) -> bool:
        """Return whether `seal` belongs to `text`."""
        given = seal.encode("utf-8", "replace")
        return any(
            hmac.compare_digest(_seal(keys, text).encode(), given) for keys in self._keys.values()
        )

    def sign_address(self, purpose: Purpose, public_id: str) -> str:
        """Return a token of 43 small letters and digits for the local part of a mail address.

        Args:
            purpose: `BOUNCE` or `UNSUBSCRIBE`.
            public_id: of the slate for `BOUNCE`, of the subscriber for `UNSUBSCRIBE`.

        Raises:
            ValueError: this is not a public id.
        """
        if _PUBLIC_ID.fullmatch(public_id) is None:
            raise ValueError("a public id is 20 lowercase hexadecimal characters")
        signed = _LETTERS[purpose] + _encode_address(bytes.fromhex(public_id))
        return signed + _encode_address(_mac(self._keys[self._current][purpose], signed))

    def verify_address(self, token: str) -> tuple[Purpose, str]:
        """Return the purpose and the public id of a token from a mail address.

        Raises:
            TokenError: it is not valid; the message does not contain the token.
        """
        parts = _IN_ADDRESS.fullmatch(token.lower())
        if parts is None:
            raise TokenError("this address is damaged or incomplete")
        letter, public_id, mac = parts.groups()
        purpose = {initial: each for each, initial in _LETTERS.items()}[letter]
        for keys in self._keys.values():
            expected = _encode_address(_mac(keys[purpose], letter + public_id))
            if hmac.compare_digest(expected, mac):
                return purpose, base64.b32decode(public_id.upper()).hex()
        raise TokenError("this address was altered, or signed with a key that is no longer in use")

    def sign_vote_address(self, slate: str, position: int, action: EventKind) -> str:
        """Return a token of 43 small letters and digits, with which a mail is a vote.

        Args:
            slate: the public id.
            position: 1-based position on the slate, at most 255.

        Raises:
            ValueError: a claim does not fit the format.
        """
        if _PUBLIC_ID.fullmatch(slate) is None or not 0 < position < 256:
            raise ValueError("a vote is about a position from 1 to 255 on a slate")
        vote = position << 2 | list(EventKind).index(action)
        signed = f"v{_BASE32[vote >> 5]}{_BASE32[vote & 31]}{_encode_address(bytes.fromhex(slate))}"
        return signed + _vote_mac(self._keys[self._current], signed)

    def verify_vote_address(self, token: str) -> tuple[str, int, EventKind]:
        """Return slate, position and action of a token that `sign_vote_address` made.

        Raises:
            TokenError: it is not valid; the message does not contain the token.
        """
        parts = _VOTE_IN_ADDRESS.fullmatch(token.lower())
        if parts is None:
            raise TokenError("this address is damaged or incomplete")
        signed, mac = parts.groups()
        if not any(
            hmac.compare_digest(_vote_mac(each, signed), mac) for each in self._keys.values()
        ):
            raise TokenError(
                "this address was altered, or signed with a key that is no longer in use"
            )
        vote = _BASE32.index(signed[1]) << 5 | _BASE32.index(signed[2])
        slate = base64.b32decode(signed[3:].upper()).hex()
        return slate, vote >> 2, list(EventKind)[vote & 3]


def redact(text: str) -> str:
    """Replace every token in `text`, also cut, changed or percent-encoded ones, by `[token]`."""
    return _REDACTED.sub("[token]", text)


def _derive(secret: str) -> tuple[str, dict[Purpose, bytes]]:
    """Return the key id and a key for each purpose (HKDF with one block, RFC 5869)."""
    if len(secret) < SECRET_LENGTH:
        raise ConfigError(
            f"the signing secret has {len(secret)} characters and needs at least {SECRET_LENGTH}; "
            "`triage init` in a new folder writes a good one"
        )
    extracted = hmac.digest(b"triage tokens v1", secret.encode(), "sha256")

    def expand(info: str) -> bytes:
        return hmac.digest(extracted, info.encode() + b"\x01", "sha256")

    return _encode(expand("key id")[:3]), {p: expand(f"purpose {p}") for p in Purpose}


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")[:_MAC_BYTES]


def _vote_mac(keys: dict[Purpose, bytes], signed: str) -> str:
    return _encode_address(_mac(keys[Purpose.VOTE], signed)[:_VOTE_MAC_BYTES])


def _seal(keys: dict[Purpose, bytes], text: str) -> str:
    return _encode(_mac(keys[Purpose.FORM], f"form {text}"))


def _pack(purpose: Purpose, claims: Claims) -> bytes:
    for public_id in (claims.subscriber, claims.slate or "0" * 20):
        if _PUBLIC_ID.fullmatch(public_id) is None:
            raise ValueError("a public id is 20 lowercase hexadecimal characters")
    what = _PURPOSES.index(purpose) << 4 | _ACTIONS.index(claims.action)
    minute = (claims.issued_at - _EPOCH) // timedelta(minutes=1)
    try:
        head = bytes((what, claims.position)) + minute.to_bytes(4, "big")
    except OverflowError as error:
        raise ValueError("a token is issued in 2020 or later") from error
    return head + bytes.fromhex(claims.subscriber) + bytes.fromhex(claims.slate)


def _unpack(payload: bytes) -> tuple[Purpose, Claims]:
    """Read a payload whose MAC was correct, so that its format is valid."""
    minute = int.from_bytes(payload[2:6], "big")
    return _PURPOSES[payload[0] >> 4], Claims(
        subscriber=payload[6:16].hex(),
        issued_at=_EPOCH + timedelta(minutes=minute),
        slate=payload[16:].hex(),
        position=payload[1],
        action=_ACTIONS[payload[0] & 15],
    )


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _encode_address(raw: bytes) -> str:
    return base64.b32encode(raw).rstrip(b"=").decode("ascii").lower()
