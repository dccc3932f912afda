"""Signs messages with the DKIM key of their domain (RFC 6376). The only user of dkimpy.

The signature covers every header of ours and the whole body, and forbids to add headers that a
receiver acts on. A message is signed once, when it is composed, so each attempt sends the same
bytes. Keys are RSA, since many receivers cannot check
Ed25519 (RFC 8463).
"""

from __future__ import annotations

import re
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.errors import ConfigError
from triage.settings import read_secret

if TYPE_CHECKING:
    from triage.settings import MailSettings, Settings

KEY_FILE = "dkim_key"
# In bits; receivers reject shorter keys (RFC 8301, 3.2).
SHORTEST_KEY = 1024
_MAKE_ONE = "make one with `openssl genrsa -out dkim_key 2048`"
_FIELD_NAME = re.compile(rb"^([!-9;-~]+):", re.M)
# Headers that may stand once and that a receiver acts on or shows (RFC 5322, 3.6; RFC 2045, RFC
# 2369, RFC 2919 and RFC 8058). Each is signed once more than it occurs, so that a second one, or
# the first of one that we do not write, breaks the signature (RFC 6376, 5.4.2).
OVERSIGNED = (
    "from sender reply-to to cc subject date message-id in-reply-to references mime-version "
    "content-type content-transfer-encoding list-id list-unsubscribe list-unsubscribe-post"
).split()


class Signer:
    """Signs for one domain.

    Args:
        key: an RSA key in PEM, as PKCS #1 or PKCS #8.
        selector: the name under which the public key is published in DNS.

    Raises:
        ConfigError: dkimpy is not installed, or the key is invalid. The key is never shown.
    """

    def __init__(self, key: str, selector: str, domain: str) -> None:
        try:
            import dkim.crypto
        except ImportError as error:
            raise ConfigError(
                "there is a DKIM key, but dkimpy is not installed: run"
                " `pip install 'paper-triage[dkim]'`, or remove the key if your mail server signs"
            ) from error
        self._dkim: Any = dkim
        self._key = key.replace("\r\n", "\n").encode()
        self._selector = selector
        self.domain = domain
        try:
            parsed = dkim.crypto.parse_pem_private_key(self._key)
            self._public = (int(parsed["modulus"]), int(parsed["publicExponent"]))
        except Exception:
            # The parser's message may contain the key.
            raise ConfigError(
                f"the DKIM key is not an RSA key in PEM without a password: {_MAKE_ONE}"
            ) from None
        if self._public[0].bit_length() < SHORTEST_KEY:
            raise ConfigError(
                f"the DKIM key has {self._public[0].bit_length()} bits, and receivers require"
                f" {SHORTEST_KEY} or more: {_MAKE_ONE}"
            )

    def sign(self, mime: bytes) -> bytes:
        """Return a complete message with the signature header before it."""
        head = mime.partition(b"\r\n\r\n")[0]
        names = [name.decode("ascii").lower() for name in _FIELD_NAME.findall(head)]
        signature: bytes = self._dkim.sign(
            mime,
            self._selector.encode(),
            self.domain.encode(),
            self._key,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[*names, *OVERSIGNED],
        )
        return signature + mime

    def is_published_as(self, p: str) -> bool:
        """Return whether the tag `p` of a DNS record is the public key of this key."""
        from base64 import b64decode

        try:
            public = self._dkim.crypto.parse_public_key(b64decode("".join(p.split())))
        except Exception:
            # A record may contain anything; then it is not our key.
            return False
        return (public["modulus"], public["publicExponent"]) == self._public


def load_signer(mail: MailSettings, folder: Path) -> Signer | None:
    """Return the signer; None without a key (the mail server may sign then).

    Args:
        folder: where the file `dkim_key` is, if the environment has no key.

    Raises:
        ConfigError: there is a key, and it cannot be used.
    """
    key = read_secret("DKIM_KEY")
    if key is None:
        try:
            key = (folder / KEY_FILE).read_text("utf-8-sig")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{folder / KEY_FILE} cannot be read: correct its permissions and content"
            ) from error
    if not mail.dkim_selector:
        raise ConfigError(
            "there is a DKIM key, but no [mail] dkim_selector: set it to the name under which the"
            " public key is published"
        )
    domain = parseaddr(mail.sender)[1].rpartition("@")[2].lower()
    return Signer(key, mail.dkim_selector, domain)


def load_account_mail_signer(settings: Settings) -> Signer | None:
    """Return the signer of account mails; None without a key, or for another sender domain."""
    found = load_signer(settings.mail, settings.folder)
    domain = parseaddr(settings.account_mail_sender)[1].rpartition("@")[2].lower()
    return found if found is not None and found.domain == domain else None
