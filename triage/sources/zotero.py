"""Zotero's web API, version 3: the records of one person's library, read with their API key.

https://www.zotero.org/support/dev/web_api/v3/basics, November 2026: `/keys/current` returns the
owner of a key; `/users/ID/items/top?format=json` returns at most 100 records from `start` on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from triage.errors import SourceError
from triage.sources.http.client import PoliteClient
from triage.sources.text.json import dig, loads

URL: Final = "https://api.zotero.org"
PAGE: Final = 100
MOST_RECORDS: Final = 20_000
_KEY: Final = re.compile(r"[A-Za-z0-9]{8,64}")
_WHAT: Final = "Zotero's answer"


class Zotero:
    """Reads one person's library.

    Args:
        client: shared by all requests to Zotero.
        key: a read-only key that the owner made at https://www.zotero.org/settings/keys.

    Raises:
        SourceError: the key has not the form of one.
    """

    def __init__(self, client: PoliteClient, key: str, url: str = URL) -> None:
        if _KEY.fullmatch(key) is None:
            raise SourceError(
                "This is not a Zotero API key: make one at https://www.zotero.org/settings/keys."
            )
        self.client = client
        self._url = url.rstrip("/")
        self._secret = {"Zotero-API-Version": "3", "Zotero-API-Key": key}

    def library(self) -> str:
        """Return the records as one JSON list, as `subscribers.bibliography` reads it.

        Raises:
            SourceError: there was no usable answer, or the key does not allow access.
        """
        return json.dumps(list(self._records()), ensure_ascii=False)

    def _records(self) -> Iterator[dict[str, Any]]:
        number = dig(self._ask("/keys/current", {}), int, "userID")
        if not number:
            raise SourceError(f"{_WHAT} does not name the owner of the key: make a new one.")
        for start in range(0, MOST_RECORDS, PAGE):
            page = self._ask(
                f"/users/{number}/items/top",
                {"format": "json", "limit": str(PAGE), "start": str(start)},
            )
            if not isinstance(page, list):
                raise SourceError(f"{_WHAT} is no list of records.")
            yield from (record for record in page if isinstance(record, dict))
            if len(page) < PAGE:
                return

    def _ask(self, path: str, params: dict[str, str]) -> Any:
        return loads(self.client.get(self._url + path, params, secret=self._secret).body, _WHAT)
