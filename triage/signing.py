"""Signs messages with the key of their domain (DKIM, RFC 6376). The only user of dkimpy.

The signature covers every header of ours and the whole body. It is made once, when a message is
frozen, so each attempt to hand it over sends the same bytes. Keys are RSA: what is signed with
Ed25519 alone (RFC 8463) many receivers cannot check.
"""

from __future__ import annotations

import re
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.errors import ConfigError
from triage.settings import secret

if TYPE_CHECKING:
    from triage.settings import MailSettings, Settings

KEY_FILE = "dkim_key"
# Receivers believe no shorter one (RFC 8301, 3.2).
SHORTEST_KEY = 1024
_MAKE_ONE = "make one with `openssl genrsa -out dkim_key 2048`"
_FIELD_NAME = re.compile(rb"^([!-9;-~]+):", re.M)


class Signer:
    """Signs for one domain.

    Args:
        key: an RSA key in PEM, as PKCS #1 or PKCS #8.
        selector: names the key among those of the domain.

    Raises:
        ConfigError: dkimpy is not installed, or the key is none. The key is never shown.
    """

    def __init__(self, key: str, selector: str, domain: str) -> None:
        try:
            import dkim.crypto
        except ImportError as error:
            raise ConfigError(
                "there is a DKIM key, but what signs with it is not installed: run"
                " `pip install 'paper-triage[dkim]'`, or take the key away if your mail server"
                " signs"
            ) from error
        self._dkim: Any = dkim
        self._key = key.replace("\r\n", "\n").encode()
        self._selector = selector
        self.domain = domain
        try:
            parsed = dkim.crypto.parse_pem_private_key(self._key)
            self._public = (int(parsed["modulus"]), int(parsed["publicExponent"]))
        except Exception:
            # Whatever its parser says may hold the key.
            raise ConfigError(
                f"the DKIM key is not an RSA key in PEM without a password: {_MAKE_ONE}"
            ) from None
        if self._public[0].bit_length() < SHORTEST_KEY:
            raise ConfigError(
                f"the DKIM key has {self._public[0].bit_length()} bits, and receivers want"
                f" {SHORTEST_KEY} or more: {_MAKE_ONE}"
            )

    def sign(self, mime: bytes) -> bytes:
        """Return a finished message with its signature before it."""
        head = mime.partition(b"\r\n\r\n")[0]
        names = [name.decode("ascii").lower() for name in _FIELD_NAME.findall(head)]
        signature: bytes = self._dkim.sign(
            mime,
            self._selector.encode(),
            self.domain.encode(),
            self._key,
            canonicalize=(b"relaxed", b"relaxed"),
            # Once more than there are, so that nobody adds another one.
            include_headers=[*names, "from"],
        )
        return signature + mime

    def is_published_as(self, p: str) -> bool:
        """Tell whether the public key of a DNS record, its tag `p`, belongs to this key."""
        from base64 import b64decode

        try:
            public = self._dkim.crypto.parse_public_key(b64decode("".join(p.split())))
        except Exception:
            # A record may hold anything; it is not our key then.
            return False
        return (public["modulus"], public["publicExponent"]) == self._public


def signer(mail: MailSettings, folder: Path) -> Signer | None:
    """Return what signs, None where there is no key: then the mail server signs, or nobody.

    Args:
        folder: where the file `dkim_key` may lie, if the environment names no other one.

    Raises:
        ConfigError: there is a key and it cannot be used.
    """
    key = secret("DKIM_KEY")
    if key is None:
        try:
            key = (folder / KEY_FILE).read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{folder / KEY_FILE} cannot be read") from error
    if not mail.dkim_selector:
        raise ConfigError(
            "there is a DKIM key, and [mail] dkim_selector does not say under which name its"
            " public half is published"
        )
    domain = parseaddr(mail.sender)[1].rpartition("@")[2].lower()
    return Signer(key, mail.dkim_selector, domain)


def notes_signer(settings: Settings) -> Signer | None:
    """Return what signs the mails that are no digest: nothing if they are of another domain."""
    found = signer(settings.mail, settings.folder)
    domain = parseaddr(settings.notes_sender)[1].rpartition("@")[2].lower()
    return found if found is not None and found.domain == domain else None
